"""One MCP server: its connection, what it holds, and what it says has changed."""

import asyncio
import logging
import os
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Hashable,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TextIO, TypeVar

from prefetch_scheduler.engine.sources.mcp_connection import McpConnection, told
from prefetch_scheduler.engine.sources.mcp_library import (
    Client,
    MCPError,
    ResourcesListChanged,
    ResourceUpdated,
    StdioServerParameters,
    ToolsListChanged,
    create_mcp_http_client,
    stdio_client,
    streamable_http_client,
)
from prefetch_scheduler.engine.sources.mcp_library import (
    mcp_types as types,
)
from prefetch_scheduler.engine.sources.mcp_names import is_server_name
from prefetch_scheduler.engine.sources.own_loop import OwnLoop
from prefetch_scheduler.policies.config_rules import LARGEST
from prefetch_scheduler.policies.errors import ConfigError, ResourceUnavailable
from prefetch_scheduler.policies.figures import is_number, shown, within

logger = logging.getLogger(__name__)

_PAGES = 50
_LISTED = 1000
_STREAMS = 32
_REVISIONS = 10_000
_MODERN = "2026"
"""Versions of the protocol from that year on have subscriptions by `listen`."""

_T = TypeVar("_T")


class McpServer:
    """An MCP server, started as a process or reached by streamable HTTP.

    ::

        McpServer("docs", command=["docs-server", "--stdio"])
        McpServer("issues", url="https://mcp.example.org/mcp", headers={"Authorization": "..."})

    Name only servers that you trust: which of its tools only read is what the server itself says.

    Args:
        name: its part of a key, `[A-Za-z0-9][A-Za-z0-9._-]*`.
        command: the program and its arguments. It gets a few variables of this process's
            environment (`PATH`, `HOME`...), and `env`.
        url: in place of a command, the server's end point.
        env: further environment variables of the program.
        cwd: the program's working folder; None: this process's.
        headers: sent with every request to `url`.
        tools: which of its tools may be called, by name; None: all that are marked as read-only
            and idempotent. What is not marked so is never called.
        assumed_max_age_s: seconds for which an answer that states no age may be served; None:
            until the server says that it changed.
        connect_timeout_s: seconds within which it has to be connected, its start included.
        call_timeout_s: seconds within which it has to answer a request.
        mode: how the protocol's version is found: "auto", "legacy" (before 2026), or a version.

    Raises:
        ConfigError: an argument is wrong; says which, and what is allowed.
    """

    def __init__(
        self,
        name: str,
        *,
        command: Sequence[str] | None = None,
        url: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        headers: Mapping[str, str] | None = None,
        tools: Collection[str] | None = None,
        assumed_max_age_s: float | None = 30.0,
        connect_timeout_s: float = 30.0,
        call_timeout_s: float = 30.0,
        mode: str = "auto",
    ) -> None:
        if not is_server_name(name):
            raise ConfigError(f"name: {shown(name)} does not match [A-Za-z0-9][A-Za-z0-9._-]*")
        if (command is None) is (url is None):
            raise ConfigError(f"McpServer({name!r}): give either a command or a url")
        if command is not None and (isinstance(command, str) or not command):
            raise ConfigError(f"command: {command!r} is not a list such as ['server', '--stdio']")
        for word, value, optional in (
            ("assumed_max_age_s", assumed_max_age_s, True),
            ("connect_timeout_s", connect_timeout_s, False),
            ("call_timeout_s", call_timeout_s, False),
        ):
            good = is_number(value) and within(value, LARGEST["seconds"])
            if not (good or (optional and value is None)):
                raise ConfigError(f"{word}: {shown(value)} is not a number of seconds")
        self.name = name
        self.remote = url is not None
        self.assumed_max_age_s = assumed_max_age_s
        self.resources: Mapping[str, types.Resource] = {}
        """What it lists, by URI; replaced whole."""
        self.tools: Mapping[str, types.Tool] | None = None
        """What it lists, by name; None: it has not been asked yet."""
        self._command = tuple(command or ())
        self._url = url
        self._env = dict(env or {})
        self._cwd = None if cwd is None else os.fspath(cwd)
        self._headers = dict(headers or {})
        self._allowed = None if tools is None else frozenset(tools)
        self._call_timeout_s = call_timeout_s
        self._mode = mode
        self._revisions: dict[str, int] = {}
        self._resources_epoch = self._tools_epoch = 0
        self._connected_before = False
        self._modern = False
        self._listeners: list[Callable[[str, str], None]] = []
        self._covered: dict[str, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = OwnLoop(f"mcp-{name}", self._finish)
        self._connection: McpConnection | None = None
        self._connect_timeout_s = connect_timeout_s

    def __repr__(self) -> str:
        how = f"url={self._url!r}" if self._url is not None else f"command={list(self._command)!r}"
        return f"McpServer({self.name!r}, {how})"

    # ---- life, from any thread ----------------------------------------------------------------

    def open(self, changed: Callable[[str, str], None]) -> None:
        """Begin to connect; `changed("resource" or "tool", pattern)` is told of changes."""
        self._listeners.append(changed)
        self._loop.hold()
        self._loop.begin(self._begin())

    def close(self) -> None:
        """Close the connection, and end the process, when nobody else holds it open."""
        self._loop.release()

    async def _begin(self) -> None:
        self._kept().begin()

    async def _finish(self) -> None:
        connection, self._connection = self._connection, None
        self._listeners.clear()
        if connection is not None:
            await connection.end()

    def _kept(self) -> McpConnection:
        if self._connection is None:
            self._connection = McpConnection(
                self.name, self._connect, self._prepare, self._connect_timeout_s
            )
        return self._connection

    # ---- freshness, from any thread -----------------------------------------------------------

    def revision(self, uri: str) -> tuple[int, int]:
        """Changes with every change of a resource that the server tells of."""
        return self._resources_epoch, self._revisions.get(uri, 0)

    @property
    def tools_revision(self) -> int:
        """Changes when the server's tools do, and when the host says that something was written."""
        return self._tools_epoch

    def written(self) -> None:
        """Something on the server was changed, by a tool that the host called itself: what its
        resources and tools gave before is stale.
        """
        self._resources_epoch += 1
        self._tools_epoch += 1
        self._tell("resource", "*")
        self._tell("tool", "*")

    def why_not(self, tool: str) -> str | None:
        """Why a tool must not be called by us; None: it may be, or is not known yet."""
        if self._allowed is not None and tool not in self._allowed:
            return f"the tool {tool!r} is not among the allowed ones of the server {self.name!r}"
        if self.tools is None:
            return None
        found = self.tools.get(tool)
        if found is None:
            return f"the server {self.name!r} has no tool {tool!r}"
        hints = found.annotations
        if hints is None or not (hints.read_only_hint and hints.idempotent_hint):
            return (
                f"the tool {tool!r} of the server {self.name!r} is not marked with readOnlyHint "
                "and idempotentHint, so it is only for the agent itself to call"
            )
        return None

    # ---- requests, from any loop ---------------------------------------------------------------

    async def read(self, uri: str) -> tuple[types.ReadResourceResult, Hashable]:
        """Read a resource, having asked to be told of its changes first; with its `revision`.

        Raises:
            ResourceUnavailable: the server cannot be reached, or refuses.
        """

        async def ask(client: Client) -> tuple[types.ReadResourceResult, Hashable]:
            await self._cover(client, uri)
            revision = self.revision(uri)
            return await client.read_resource(uri, cache_mode="bypass"), revision

        return await self._loop.run(self._ask(ask))

    async def call(
        self, tool: str, arguments: dict[str, Any]
    ) -> tuple[types.CallToolResult, Hashable]:
        """Call a tool that only reads; with the `tools_revision`.

        Raises:
            ResourceUnavailable: it may not be called, or the server cannot be reached or refuses.
        """

        async def ask(client: Client) -> tuple[types.CallToolResult, Hashable]:
            why = self.why_not(tool)
            if why is not None:
                raise ResourceUnavailable(why)
            revision = self.tools_revision
            return await client.call_tool(tool, arguments), revision

        return await self._loop.run(self._ask(ask))

    async def _ask(self, ask: Callable[[Client], Awaitable[_T]]) -> _T:
        connection = self._kept()
        client = await connection.client()
        try:
            return await asyncio.wait_for(ask(client), self._call_timeout_s)
        except ResourceUnavailable:
            raise
        except TimeoutError:
            raise ResourceUnavailable(
                f"the MCP server {self.name!r} did not answer within {self._call_timeout_s:g} s"
            ) from None
        except MCPError as error:
            if error.code != types.CONNECTION_CLOSED:
                raise ResourceUnavailable(
                    f"the MCP server {self.name!r} refuses: {told(error)}"
                ) from error
            connection.lose()
            raise self._broken(error) from error
        except Exception as error:
            connection.lose()
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> ResourceUnavailable:
        return ResourceUnavailable(
            f"the connection to the MCP server {self.name!r} broke: {told(error)}"
        )

    # ---- the connection, on its loop -----------------------------------------------------------

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Client]:
        async with AsyncExitStack() as stack:
            if self._url is not None:
                http = await stack.enter_async_context(
                    create_mcp_http_client(headers=self._headers)
                )
                transport = streamable_http_client(self._url, http_client=http)
            else:
                parameters = StdioServerParameters(
                    command=self._command[0],
                    args=list(self._command[1:]),
                    env=self._env,
                    cwd=self._cwd,
                )
                # What it logs is the server's own affair; a library does not write to stderr.
                transport = stdio_client(parameters, errlog=stack.enter_context(_nowhere()))
            client = Client(
                transport,
                mode=self._mode,
                read_timeout_seconds=self._call_timeout_s,
                message_handler=self._heard,
                cache=None,  # the engine's layers are the cache
            )
            try:
                yield await stack.enter_async_context(client)
            finally:
                for task in list(self._tasks):
                    task.cancel()
                if self._tasks:
                    await asyncio.wait(list(self._tasks))

    async def _prepare(self, client: Client) -> None:
        """Learn what it holds, and ask to be told of changes: before, so that none is missed."""
        self._covered = {}
        self._modern = client.protocol_version >= _MODERN
        await self._listen(client, (), lists=True)
        await self._learn(client)
        await self._listen(client, list(self.resources), lists=False)
        if self._connected_before:  # changes while there was no connection went unheard
            self._all_changed("resource")
            self._all_changed("tool")
        self._connected_before = True

    async def _learn(self, client: Client) -> None:
        able = client.server_capabilities
        if able.resources is not None:
            self.resources = {
                resource.uri: resource
                async for page in _pages(client.list_resources)
                for resource in page.resources
            }
        self.tools = {}
        if able.tools is not None:
            self.tools = {
                tool.name: tool async for page in _pages(client.list_tools) for tool in page.tools
            }

    async def _listen(self, client: Client, uris: Sequence[str], *, lists: bool) -> None:
        """Ask to be told: of changed lists, or of changes of these resources."""
        uris = uris[:_LISTED]
        if not lists and not uris:
            return
        covered = asyncio.get_running_loop().create_future()
        self._covered.update(dict.fromkeys(uris, covered))
        if self._modern:
            task = asyncio.create_task(self._follow(client, uris, lists, covered))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.shield(covered)
            return
        try:
            able = client.server_capabilities.resources
            if able is not None and able.subscribe:
                for uri in uris:
                    request = types.SubscribeRequest(params=types.SubscribeRequestParams(uri=uri))
                    await client.session.send_request(request, types.EmptyResult)
        finally:
            covered.set_result(None)

    async def _follow(
        self, client: Client, uris: Sequence[str], lists: bool, covered: "asyncio.Future[None]"
    ) -> None:
        """One stream of events, to its end."""
        try:
            async with client.listen(
                tools_list_changed=lists,
                resources_list_changed=lists,
                resource_subscriptions=uris,
            ) as events:
                covered.set_result(None)
                async for event in events:
                    match event:
                        case ResourceUpdated(uri=uri):
                            self._updated(uri)
                        case ResourcesListChanged():
                            self._list_changed(client, "resource")
                        case ToolsListChanged():
                            self._list_changed(client, "tool")
                        case _:
                            pass  # of prompts, which are not served
            self._lost(EOFError("the server closed them"))
        except MCPError as error:
            if error.code == types.METHOD_NOT_FOUND and not covered.done():
                return  # it tells of no changes: ages alone hold
            self._lost(error)
        except Exception as error:  # noqa: BLE001 - the stream ended, however it did
            self._lost(error)
        finally:
            if not covered.done():
                covered.set_result(None)

    def _lost(self, error: Exception) -> None:
        logger.debug("MCP server %r: its events ended: %s", self.name, told(error))
        if self._connection is not None:
            self._connection.lose()

    async def _cover(self, client: Client, uri: str) -> None:
        """Ask to be told of changes of a resource that is not listed."""
        covered = self._covered.get(uri)
        if covered is not None:
            await asyncio.shield(covered)
        elif len(self._tasks) < _STREAMS and len(self._covered) < _LISTED:
            await self._listen(client, [uri], lists=False)

    # ---- what it says, on its loop -------------------------------------------------------------

    async def _heard(self, message: object) -> None:
        """A message of a server before 2026; those of later ones come by streams of events."""
        if self._modern:
            return
        match message:
            case types.ResourceUpdatedNotification(params=params):
                self._updated(params.uri)
            case types.ResourceListChangedNotification():
                self._list_changed(None, "resource")
            case types.ToolListChangedNotification():
                self._list_changed(None, "tool")
            case _:
                pass

    def _updated(self, uri: str) -> None:
        # The URI may be one below that of the resource that is followed.
        below = [held for held in self._covered if uri.startswith(held.rstrip("/") + "/")]
        if len(self._revisions) > _REVISIONS:
            self._revisions.clear()
            self._all_changed("resource")
        for changed in {uri, *below}:
            self._revisions[changed] = self._revisions.get(changed, 0) + 1
            self._tell("resource", changed)

    def _list_changed(self, client: Client | None, what: str) -> None:
        self._all_changed(what)
        if client is None and self._connection is None:
            return
        task = asyncio.create_task(self._learn_again(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _learn_again(self, client: Client | None) -> None:
        try:
            await self._learn(client if client is not None else await self._kept().client())
        except Exception as error:  # noqa: BLE001 - the next connection learns it
            logger.info("MCP server %r: not listed again: %s", self.name, told(error))

    def _all_changed(self, what: str) -> None:
        if what == "resource":
            self._resources_epoch += 1
        else:
            self._tools_epoch += 1
        self._tell(what, "*")

    def _tell(self, what: str, pattern: str) -> None:
        for listener in list(self._listeners):
            listener(what, f"{self.name}/{pattern}")


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


async def _pages(ask: Callable[..., Awaitable[_T]]) -> AsyncIterator[_T]:
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await ask(cursor=cursor)
        yield page
        cursor = getattr(page, "next_cursor", None)
        if not cursor:
            return
