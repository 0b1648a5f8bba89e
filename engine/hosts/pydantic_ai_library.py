"""The library behind the extra `pydantic-ai`, with an error that says how to have it."""

try:
    from pydantic_ai.capabilities import AbstractCapability
except ImportError as error:
    raise ImportError(
        "PrefetchCapability needs the package pydantic-ai-slim, 2.68 or newer:"
        " pip install 'prefetch-scheduler[pydantic-ai]'"
    ) from error

__all__ = ["AbstractCapability"]
