"""The library behind the extra `openai-agents`, with an error that says how to have it."""

try:
    from agents import FunctionTool, RunHooks, function_tool
except ImportError as error:
    raise ImportError(
        "PrefetchHooks needs the package openai-agents, 0.24 or newer:"
        " pip install 'prefetch-scheduler[openai-agents]'"
    ) from error

__all__ = ["FunctionTool", "RunHooks", "function_tool"]
