"""The token by which a running load learns that nobody wants it any more."""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial

logger = logging.getLogger(__name__)


class CancelToken:
    """Read by a source's code in any thread, set by the pool that runs it.

    Without a lock, which nearly every load would be given for nothing: a callback is called by
    whoever takes it out of the list, and of many threads only one gets it.
    """

    __slots__ = ("_callbacks", "_cancelled")

    def __init__(self) -> None:
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Whether the load should end: what it returns will be dropped."""
        return self._cancelled

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when the load is cancelled; at once where it is already.

        It may run in any thread, should be short (close a socket, set an event), and what it
        raises is logged.
        """
        self._callbacks.append(callback)
        if self._cancelled:  # after it is in the list: else `cancel` finds it there
            _call_all(self._taken())

    def cancel(self, run: Callable[[Callable[[], None]], None] | None = None) -> None:
        """Cancel; further calls do nothing.

        Args:
            run: carries out the callbacks elsewhere; None: here.
        """
        self._cancelled = True
        callbacks = self._taken()
        if not callbacks:
            return
        if run is None:
            _call_all(callbacks)
        else:
            run(partial(_call_all, callbacks))

    def _taken(self) -> list[Callable[[], None]]:
        taken: list[Callable[[], None]] = []
        with suppress(IndexError):
            while True:
                taken.append(self._callbacks.pop(0))
        return taken


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        try:
            callback()
        except BaseException:  # source code must not harm who cancels it
            logger.warning("a source's on_cancel callback failed", exc_info=True)
