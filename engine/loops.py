"""Which event loop, if any, the calling thread runs."""

import asyncio


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread, or None: then it may wait."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
