"""The library behind the extra `mcp`, with an error that says how to have it."""

try:
    import anyio
    import mcp_types
    from mcp import Client, MCPError, StdioServerParameters
    from mcp.client.stdio import stdio_client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated, ToolsListChanged
    from mcp.shared._httpx_utils import create_mcp_http_client
except ImportError as error:
    raise ImportError(
        "McpServer needs the package mcp, 2.3 or newer: pip install 'prefetch-scheduler[mcp]'"
    ) from error

__all__ = [
    "Client",
    "MCPError",
    "ResourceUpdated",
    "ResourcesListChanged",
    "StdioServerParameters",
    "ToolsListChanged",
    "anyio",
    "create_mcp_http_client",
    "mcp_types",
    "stdio_client",
    "streamable_http_client",
]
