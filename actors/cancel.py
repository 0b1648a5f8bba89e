"""The token by which a running load learns that nobody wants it any more."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class CancelToken:
    """Read by a source's code in any thread, set by the pool that runs it."""

    __slots__ = ("_callbacks", "_cancelled", "_lock")

    def __init__(self) -> None:
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()  # of this load alone

    @property
    def cancelled(self) -> bool:
        """Whether the load should end: what it returns will be dropped."""
        return self._cancelled

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when the load is cancelled; at once where it is already.

        It may run in any thread, should be short (close a socket, set an event), and what it
        raises is logged.
        """
        with self._lock:
            if not self._cancelled:
                self._callbacks.append(callback)
                return
        _guarded(callback)

    def cancel(self, run: Callable[[Callable[[], None]], None] | None = None) -> None:
        """Cancel; further calls do nothing.

        Args:
            run: carries out the callbacks elsewhere; None: here.
        """
        with self._lock:
            self._cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        if not callbacks:
            return

        def call_all() -> None:
            for callback in callbacks:
                _guarded(callback)

        if run is None:
            call_all()
        else:
            run(call_all)


def _guarded(callback: Callable[[], None]) -> None:
    try:
        callback()
    except BaseException:  # source code must not harm who cancels it
        logger.warning("a source's on_cancel callback failed", exc_info=True)
