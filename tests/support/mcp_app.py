"""An MCP server by the SDK, run as a process by the tests: `mcp_app.py stdio`, or `http PORT`.

It counts what it is asked in `count://<what>`; its tools `change` and `add` change what it holds.
"""

import asyncio
import os
import socket
import sys
from collections import Counter

import uvicorn
from mcp.server.caching import CacheHint
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import Annotations, ResourceLink, TextContent, ToolAnnotations

READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True)
TTL_MS = int(os.environ.get("TTL_MS", "0"))
SCOPE = os.environ.get("SCOPE", "private")

server = MCPServer(
    "tests",
    cache_hints={"resources/read": CacheHint(ttl_ms=TTL_MS, scope=SCOPE)},
    log_level="ERROR",
)
counts: Counter[str] = Counter()
note = ["one"]


@server.resource("note://it", mime_type="text/plain", annotations=Annotations(priority=0.9))
async def the_note() -> str:
    counts["note"] += 1
    await asyncio.sleep(0.1)  # long enough for others to come meanwhile
    return note[0]


@server.resource("item://{number}")
def item(number: str) -> str:
    return f"item {number} of {note[0]}"


@server.resource("count://{what}")
def count(what: str) -> str:
    return str(counts[what])


@server.resource("bytes://it", annotations=Annotations(priority=0.2))
def raw() -> bytes:
    return b"\x00\x01"


@server.resource("dies://it")
def dies() -> str:
    os._exit(3)


@server.tool(annotations=READS)
async def search(query: str, most: int = 3) -> list[TextContent | ResourceLink]:
    """Finds items."""
    counts["search"] += 1
    await asyncio.sleep(0.1)
    link = ResourceLink(uri="item://7", name="seven", annotations=Annotations(priority=0.9))
    return [TextContent(text=f"{query}: {most}"), link]


@server.tool(annotations=READS)
def fails() -> str:
    """Fails."""
    raise ToolError("nothing found")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def only_half() -> str:
    """Is not marked as idempotent."""
    counts["only_half"] += 1
    return "half"


@server.tool()
async def change(to: str, context: Context) -> str:
    """Changes the note, and says so."""
    note[0] = to
    await context.notify_resource_updated("note://it")
    await context.notify_resource_updated("item://1")
    return "done"


@server.tool()
async def add(uri: str, context: Context) -> str:
    """Adds a resource, and says so."""

    def added() -> str:
        return "added"

    server.resource(uri)(added)
    await context.notify_resources_changed()
    return "done"


def main() -> None:
    how, *rest = sys.argv[1:]
    if how == "stdio":
        server.run("stdio")
        return
    listening = socket.create_server(("127.0.0.1", int(rest[0])))
    print(listening.getsockname()[1], flush=True)
    app = server.streamable_http_app()
    config = uvicorn.Config(app, log_level="error")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    main()
