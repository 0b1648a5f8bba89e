"""Ending an engine once, to the end, whatever becomes of the calls that ask for it."""

import threading
from collections.abc import Callable

from prefetch_scheduler.engine.loops import running_loop

CLOSING_S = 0.1
"""Real seconds past its time-out that a call waits for a work that keeps to the same time-out."""


class _Attempt:
    """One run of the work, in a thread of its own."""

    def __init__(self, run: Callable[["_Attempt", float], None], name: str, limit_s: float) -> None:
        self.caller = threading.current_thread()
        self.done = threading.Event()
        self.error: BaseException | None = None
        self.turn: list[None] = [None]  # held by who does the work: popping is atomic
        self.thread = threading.Thread(target=run, args=(self, limit_s), name=name, daemon=True)


class Ending:
    """Runs the work of ending in a thread of its own, at the first call; every call waits for it.

    A caller may be interrupted, as by Ctrl-C; a work in another thread is not: it goes on, and the
    next call waits for what is left of it. Where it failed, the next call runs it again. All
    methods may be called from any thread, and in a signal's handler.

    Args:
        work: `work(limit_s, caller)`: ends everything within so many real seconds, and does not
            wait for the thread of that identifier, which waits for the work.
        name: of its thread.
    """

    def __init__(self, work: Callable[[float, int], object], name: str) -> None:
        self._work = work
        self._name = name
        self._lock = threading.RLock()  # a handler may interrupt a call in its own thread
        self._attempt: _Attempt | None = None

    def run(self, limit_s: float, *, awaited: Callable[[], bool]) -> None:
        """Begin, unless an earlier call has, and wait until the work is done.

        Args:
            limit_s: real seconds to wait, and for the work where this call begins it.
            awaited: whether the work waits for the calling thread. Such a thread, and one with a
                running event loop, does not wait for a work that another began: it may be the very
                one that the work waits for.

        Raises:
            BaseException: what the work raised.
        """
        with self._lock:
            attempt = self._attempt
            if attempt is None or (attempt.done.is_set() and attempt.error is not None):
                attempt = self._attempt = _Attempt(self._run, self._name, limit_s)
            if attempt.thread.ident is None:  # also where an earlier call was interrupted here
                self._start(attempt, limit_s)
        first = attempt.caller is threading.current_thread()
        if not first and (running_loop() is not None or awaited()):
            return
        if attempt.done.wait(limit_s + CLOSING_S) and attempt.thread.ident is not None:
            attempt.thread.join(CLOSING_S)
        if attempt.error is not None:
            raise attempt.error

    def _start(self, attempt: _Attempt, limit_s: float) -> None:
        try:
            attempt.thread.start()
        except RuntimeError:  # no thread to be had, as at the interpreter's exit
            self._run(attempt, limit_s)

    def _run(self, attempt: _Attempt, limit_s: float) -> None:
        try:
            attempt.turn.pop()
        except IndexError:
            return
        try:
            self._work(limit_s, attempt.caller.ident or 0)
        except BaseException as error:  # noqa: BLE001 - handed over to who waits
            attempt.error = error
        finally:
            attempt.done.set()
