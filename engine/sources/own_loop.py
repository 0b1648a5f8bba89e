"""An event loop in a thread of its own, for a source whose connections outlive a single load.

A connection belongs to the loop that it was opened on, while each pool of an engine has a loop of
its own, and they come and go with their actors. So the source's coroutines all run here; a load
that is cancelled over there is cancelled here.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from prefetch_scheduler.actors.slot_threads import SlotExecutor, SlotThreads

logger = logging.getLogger(__name__)

END_S = 5.0
"""Real seconds that its connections have to be closed in."""

_T = TypeVar("_T")


class OwnLoop:
    """Starts with the first use, ends when as many have released as have held it.

    All methods may be called from any thread.

    Args:
        name: what its thread is called.
        finish: awaited on the loop before it ends: closes what is open.
    """

    def __init__(self, name: str, finish: Callable[[], Awaitable[object]]) -> None:
        self._name = f"prefetch-source-{name}"
        self._finish = finish
        self._lock = threading.Lock()
        self._holders = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def hold(self) -> None:
        """One more uses it."""
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        """One less; the last one ends the loop and waits until it has, for a limited time."""
        with self._lock:
            self._holders = max(0, self._holders - 1)
            if self._holders:
                return
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(self._end(loop), loop)
            if thread is not threading.current_thread():
                thread.join(END_S * 2)

    def begin(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine that nobody waits for; what it raises is logged."""
        asyncio.run_coroutine_threadsafe(_logged(coroutine), self._running())

    async def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Await a coroutine on this loop from another one; a cancellation is passed on."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._running())
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.cancel()  # now: the other loop may not run long enough to pass it on
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop, self._name), name=self._name, daemon=True
                )
                self._thread.start()
            return self._loop

    async def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            # First, in order: a cancellation from without could leave a process behind.
            await asyncio.wait_for(asyncio.ensure_future(self._finish()), END_S)
        except Exception:  # a connection that does not close ends with its process
            logger.debug("%s: not closed in order", self._name, exc_info=True)
        me = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not me]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=END_S)
        loop.stop()


def _serve(loop: asyncio.AbstractEventLoop, name: str) -> None:
    slots = SlotThreads(name)  # for name look-ups: asyncio's own threads hold up interpreter exit
    loop.set_default_executor(SlotExecutor(slots))
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        slots.stop()
        asyncio.set_event_loop(None)
        loop.close()


async def _logged(coroutine: Coroutine[Any, Any, object]) -> None:
    try:
        await coroutine
    except Exception:  # nobody else hears of it
        logger.warning("a source's own task failed", exc_info=True)
