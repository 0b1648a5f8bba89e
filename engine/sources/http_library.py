"""The library behind the extra `http`, with an error that says how to have it."""

try:
    import httpx2
except ImportError as error:
    raise ImportError(
        "HttpSource needs the package httpx2: pip install 'prefetch-scheduler[http]'"
    ) from error

__all__ = ["httpx2"]
