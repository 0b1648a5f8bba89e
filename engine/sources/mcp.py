"""Resources and read-only tools of MCP servers. Needs the extra `mcp`."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

from prefetch_scheduler.engine.sources.call_names import canonical_call, split_call
from prefetch_scheduler.engine.sources.freshness import with_version
from prefetch_scheduler.engine.sources.mcp_names import resource_key, split_server, tool_key
from prefetch_scheduler.engine.sources.mcp_results import (
    McpContent,
    resource_content,
    tool_content,
)
from prefetch_scheduler.engine.sources.mcp_server import McpServer
from prefetch_scheduler.engine.sources.validation import require_source
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import ConfigError, ResourceUnavailable
from prefetch_scheduler.policies.prediction import FollowUp, Prediction
from prefetch_scheduler.policies.tokens import suffix_of, tokens_of_size
from prefetch_scheduler.policies.vocabulary import Relation, Role

__all__ = ["McpServer", "McpSource", "McpToolSource", "mcp_sources", "resource_key", "tool_key"]

LINKED_CONFIDENCE = 0.6
"""Of a resource that a result points to without saying how much it matters."""
_FOLLOWED = 0.7
"""Importance from which a resource that is pointed to counts as a dependency."""
_MAX_LINKS = 50


class _McpKind:
    """What both kinds have in common."""

    read_only = True
    load_s = None
    what = ""

    def __init__(
        self,
        servers: Iterable[McpServer],
        *,
        kind: str,
        name: str | None = None,
        remote: bool | None = None,
        private: bool = True,
        stale_if_error_s: float | None = None,
        stale_while_revalidate_s: float | None = None,
        max_concurrency: int | None = None,
        load_timeout_s: float | None = None,
    ) -> None:
        listed = [servers] if isinstance(servers, McpServer) else list(servers)
        if not listed or not all(isinstance(server, McpServer) for server in listed):
            raise ConfigError("servers: expected a list of McpServer that is not empty")
        self.servers: Mapping[str, McpServer] = {server.name: server for server in listed}
        if len(self.servers) < len(listed):
            raise ConfigError("servers: two have the same name; keys could not tell them apart")
        self.kind = kind
        self.name = kind if name is None else name
        self.remote = any(server.remote for server in listed) if remote is None else remote
        self.private = private
        self.max_concurrency = max_concurrency
        self.load_timeout_s = load_timeout_s
        self.stale_if_error_s = stale_if_error_s
        self.stale_while_revalidate_s = stale_while_revalidate_s
        require_source(self, type(self).__name__)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.servers.values())!r})"

    def open(self, changed: Callable[[str], None]) -> None:
        """Connect to all servers, each on its own."""

        def told_of(what: str, pattern: str) -> None:
            if what == self.what:
                changed(pattern)

        for server in self.servers.values():
            server.open(told_of)

    def close(self) -> None:
        """Close all connections. A later load opens them again."""
        for server in self.servers.values():
            server.close()

    def _split(self, name: str) -> tuple[McpServer, str]:
        server, rest = split_server(name, self.servers)
        return self.servers[server], rest

    def _max_age(self, server: McpServer, ttl_ms: int, scope: str, *, modern: bool) -> float | None:
        if modern and scope == "private" and not self.private:
            return 0.0  # it may go to no other user than the one who reads it now
        # A server that states nothing sends 0, so 0 cannot be told from nothing.
        return ttl_ms / 1000 if ttl_ms else server.assumed_max_age_s

    def load(self, name: str) -> Any:
        raise NotImplementedError


class McpSource(_McpKind):
    """Serves `mcp:<server>/<uri>`, the resources of MCP servers.

    Connections are opened when the engine starts, and opened again when they are lost. What a
    server says has changed is loaded anew by the next read. An answer is served for its `ttlMs`;
    one that states none, for the server's `assumed_max_age_s`. Use `mcp_sources` to have the tools
    as well.

    Args:
        servers: each with a name of its own.
        kind: the kind of key that it serves.
        name: what logs and reports call it; None: its kind.
        remote: whether asking leaves this machine; None: where one of the servers has a URL.
        private: content is kept apart for each user, as `cacheScope: private` demands. With
            False, answers of that scope are served to the reader who asked and to nobody else.
        stale_if_error_s: seconds past its age for which content is served while its server fails.
        stale_while_revalidate_s: seconds past its age for which content is served while it is
            loaded anew.
        max_concurrency: loads at once, of all servers; None: the engine's limits.
        load_timeout_s: seconds after which a load is given up; None: the configuration's.

    Raises:
        ConfigError: an argument is wrong; says which, and what is allowed.
    """

    what = "resource"

    def __init__(self, servers: Iterable[McpServer], *, kind: str = "mcp", **options: Any) -> None:
        super().__init__(servers, kind=kind, **options)

    def normalise(self, name: str) -> str:
        """The name as it is.

        Raises:
            ValueError: there is no such server, or it names no resource.
        """
        split_server(name, self.servers)
        return name

    async def load(self, name: str) -> Content:
        """Read a resource.

        Raises:
            ResourceUnavailable: the server cannot be reached, refuses, or answers with nothing.
        """
        try:
            server, uri = self._split(name)
            result, revision = await server.read(uri)
            modern = "ttl_ms" in result.model_fields_set
            age = self._max_age(server, result.ttl_ms, result.cache_scope, modern=modern)
            return with_version(resource_content(result, age), revision)
        except ValueError as error:
            raise ResourceUnavailable(str(error)) from error

    def version(self, name: str) -> Hashable:
        """Changes with every change that the server tells of."""
        server, uri = self._split(name)
        return server.revision(uri)

    def tokens(self, name: str) -> int | None:
        """Estimated tokens, from the size that the server lists; None where it lists none."""
        server, uri = self._split(name)
        listed = server.resources.get(uri)
        if listed is None or listed.size is None:
            return None
        return tokens_of_size(listed.size, suffix_of(uri))

    def predictions(self, limit: int = 20) -> list[Prediction]:
        """The resources that servers list with a priority, most important first: what a host may
        submit when a session starts. Their priority is the confidence.
        """
        found = [
            (resource.annotations.priority, server.name, resource)
            for server in self.servers.values()
            for resource in server.resources.values()
            if resource.annotations is not None and resource.annotations.priority
        ]
        found.sort(key=lambda item: (-item[0], item[1], item[2].uri))
        return [
            Prediction(
                f"{self.kind}:{server}/{resource.uri}",
                Role.DOCUMENTATION,
                priority,
                tokens=self.tokens(f"{server}/{resource.uri}"),
                reason=f"listed by the MCP server {server} with priority {priority:g}",
            )
            for priority, server, resource in found[:limit]
        ]


class McpToolSource(_McpKind):
    """Serves `mcp-tool:<server>/<tool>?<arguments>`, results of tools that only read.

    Only tools that their server marks with `readOnlyHint` and `idempotentHint` are ever called.
    The arguments are a JSON object in one spelling; `tool_key` writes it. What a result points to
    is given as further predictions.

    Args:
        servers: each with a name of its own.
        kind: the kind of key that it serves.
        resource_kind: the kind of the resources that results point to.
        options: as for `McpSource`.

    Raises:
        ConfigError: an argument is wrong; says which, and what is allowed.
    """

    what = "tool"

    def __init__(
        self,
        servers: Iterable[McpServer],
        *,
        kind: str = "mcp-tool",
        resource_kind: str = "mcp",
        **options: Any,
    ) -> None:
        super().__init__(servers, kind=kind, **options)
        self.resource_kind = resource_kind

    def normalise(self, name: str) -> str:
        """The arguments in their one spelling; without any it ends in `?{}`.

        Raises:
            ValueError: there is no such server, or the arguments are no JSON object.
        """
        server, rest = split_server(name, self.servers)
        return f"{server}/{canonical_call(*split_call(rest))}"

    def excluded(self, name: str) -> str | None:
        """Why this call is not made ahead; None: it may be."""
        server, rest = self._split(name)
        return server.why_not(split_call(rest)[0])

    async def load(self, name: str) -> Content:
        """Call a tool.

        Raises:
            ResourceUnavailable: it is not marked as read-only and idempotent, it fails, or its
                server cannot be reached.
        """
        try:
            server, rest = self._split(name)
            result, revision = await server.call(*split_call(rest))
            return with_version(tool_content(result, server.assumed_max_age_s), revision)
        except ValueError as error:
            raise ResourceUnavailable(str(error)) from error

    def version(self, name: str) -> Hashable:
        """Changes when the server's tools do, and with `McpServer.written`."""
        return self._split(name)[0].tools_revision

    def expand(self, content: Content) -> Iterable[FollowUp]:
        """The resources that a result points to."""
        if not isinstance(content, McpContent) or not content.key:
            return
        server = content.key.partition(":")[2].partition("/")[0]
        for uri, priority in content.links[:_MAX_LINKS]:
            prediction = Prediction(
                f"{self.resource_kind}:{server}/{uri}",
                Role.RELATED_FILE,
                LINKED_CONFIDENCE if priority is None else priority,
                reason=f"a result of the MCP server {server} points to it",
            )
            matters = priority is not None and priority >= _FOLLOWED
            yield FollowUp(prediction, Relation.DEPENDENCY if matters else Relation.REFERENCE)


_Source = TypeVar("_Source", McpSource, McpToolSource)


def mcp_sources(*servers: McpServer, **options: Any) -> list[McpSource | McpToolSource]:
    """The resources and the tools of these servers: `sources=[*mcp_sources(server), ...]`.

    Args:
        servers: each with a name of its own.
        options: as for `McpSource`.

    Raises:
        ConfigError: an argument is wrong; says which, and what is allowed.
    """
    return [McpSource(servers, **options), McpToolSource(servers, **options)]
