"""Names of what MCP servers hold: `<server>/<uri>`, and `<server>/<tool>?<arguments>`."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from prefetch_scheduler.engine.sources.call_names import canonical_call

_SERVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def is_server_name(name: object) -> bool:
    """Whether a server may be called so."""
    return isinstance(name, str) and _SERVER.fullmatch(name) is not None


def split_server(name: str, servers: Iterable[str]) -> tuple[str, str]:
    """The server of a name, and the rest.

    Raises:
        ValueError: there is no such server, or no rest.
    """
    server, slash, rest = name.partition("/")
    if server not in servers:
        known = ", ".join(sorted(servers))
        raise ValueError(f"there is no MCP server {server!r}; those known are {known}")
    if not slash or not rest:
        raise ValueError(f"after {server!r} there has to be '/' and what is meant of it")
    return server, rest


def tool_key(server: str, tool: str, arguments: Mapping[str, Any] | None = None) -> str:
    """The key of a tool's result: `mcp-tool:<server>/<tool>?<canonical arguments>`.

    Raises:
        ValueError: an argument cannot be written as JSON.
    """
    return f"mcp-tool:{server}/{canonical_call(tool, arguments or {})}"


def resource_key(server: str, uri: str) -> str:
    """The key of a resource: `mcp:<server>/<uri>`."""
    return f"mcp:{server}/{uri}"
