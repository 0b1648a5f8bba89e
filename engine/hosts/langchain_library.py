"""The library behind the extra `langchain`, with an error that says how to have it."""

try:
    from langchain.agents.middleware import AgentMiddleware
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import StructuredTool
except ImportError as error:
    raise ImportError(
        "PrefetchMiddleware needs the package langchain, 1.4 or newer:"
        " pip install 'prefetch-scheduler[langchain]'"
    ) from error

__all__ = ["AgentMiddleware", "HumanMessage", "StructuredTool", "ToolMessage"]
