"""Names of what MCP servers hold: `<server>/<uri>`, and `<server>/<tool>?<arguments>`."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

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


def split_tool(rest: str) -> tuple[str, dict[str, Any]]:
    """A tool and its arguments, of `<tool>?<arguments>`; without `?` there are none.

    Raises:
        ValueError: the arguments are not one JSON object.
    """
    tool, mark, written = rest.partition("?")
    if not tool:
        raise ValueError("it names no tool")
    if not mark:
        return tool, {}
    try:
        arguments = json.loads(
            written, parse_constant=_no_constant, object_pairs_hook=_without_repeats
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the arguments after '?' are no JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise ValueError("the arguments after '?' are no JSON object")
    return tool, arguments


def canonical_tool(tool: str, arguments: Mapping[str, Any]) -> str:
    """The one spelling of a call: names sorted, no white space (as in RFC 8785, numbers aside).

    Raises:
        ValueError: an argument cannot be written as JSON.
    """
    try:
        written = json.dumps(
            arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
    except (TypeError, RecursionError) as error:
        raise ValueError(f"the arguments of {tool!r} are no JSON: {error}") from None
    return f"{tool}?{written}"


def tool_key(server: str, tool: str, arguments: Mapping[str, Any] | None = None) -> str:
    """The key of a tool's result: `mcp-tool:<server>/<tool>?<canonical arguments>`.

    Raises:
        ValueError: an argument cannot be written as JSON.
    """
    return f"mcp-tool:{server}/{canonical_tool(tool, arguments or {})}"


def resource_key(server: str, uri: str) -> str:
    """The key of a resource: `mcp:<server>/<uri>`."""
    return f"mcp:{server}/{uri}"


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON value")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
