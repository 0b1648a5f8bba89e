"""Short blocking calls of source code beside the loads: estimates and follow-up predictions.

They answer within a limit or not at all. A source whose calls do not come back is not called any
more until they do, so that it costs a bounded number of threads.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from prefetch_scheduler.actors.runs import describe
from prefetch_scheduler.actors.slot_threads import SlotThreads
from prefetch_scheduler.policies.values import define, frozen

logger = logging.getLogger(__name__)

MAX_RUNNING = 4
"""Calls of one source at once; further ones wait, within their limit."""
MAX_OVERDUE = 2
"""Calls of one source past their limit, from which on it is not called."""

_T = TypeVar("_T")


class Host(Protocol):
    """The actor that the calls are made for."""

    def post(self, event: Any) -> None: ...

    def later(self, delay_s: float, action: Callable[[], None]) -> asyncio.TimerHandle: ...


@define(eq=False)
class _Aside:
    source: int
    work: Callable[[], Any]
    then: Callable[[Any], None]
    limit: asyncio.TimerHandle | None = None
    running: bool = False
    over: bool = False


@frozen
class _Returned:
    aside: _Aside
    value: Any


class Asides:
    """Runs the calls for one pool; all methods in the pool's own thread.

    Args:
        host: the pool.
        slots: its threads.
        name_of: a source's name by its id.
    """

    def __init__(self, host: Host, slots: SlotThreads, name_of: Callable[[int], str]) -> None:
        self._host = host
        self._slots = slots
        self._name_of = name_of
        self._running: Counter[int] = Counter()
        self._overdue: Counter[int] = Counter()
        self._waiting: dict[int, deque[_Aside]] = {}

    def run(
        self,
        source: int,
        work: Callable[[], _T],
        then: Callable[[_T | None], None],
        limit_s: float,
    ) -> None:
        """Call `work()` in a slot thread, then `then(result)` in the pool's.

        `then(None)` where it raises, takes longer than `limit_s` real seconds, or where the
        source has not come back from earlier calls.
        """
        aside = _Aside(source, work, then)
        if self._overdue[source] >= MAX_OVERDUE:
            then(None)
            return
        aside.limit = self._host.later(limit_s, lambda: self._overran(aside))
        if self._running[source] >= MAX_RUNNING:
            self._waiting.setdefault(source, deque()).append(aside)
        else:
            self._start(aside)

    def returned(self, event: object) -> None:
        """A call has come back."""
        if not isinstance(event, _Returned):
            raise TypeError(f"not an event of this pool: {event!r}")
        aside = event.aside
        if aside.over:
            self._overdue[aside.source] -= 1
        else:
            self._running[aside.source] -= 1
            self._finish(aside, event.value)
        self._start_waiting(aside.source)

    def _start(self, aside: _Aside) -> None:
        def job() -> None:
            try:
                value = aside.work()
            except BaseException as error:  # noqa: BLE001 - source code may raise anything
                logger.warning("%s: %s", self._name_of(aside.source), describe(error))
                value = None
            self._host.post(_Returned(aside, value))

        aside.running = True
        self._running[aside.source] += 1
        try:
            self._slots.run(job, self._name_of(aside.source))
        except RuntimeError as error:
            logger.warning("%s: %s", self._name_of(aside.source), error)
            self._running[aside.source] -= 1
            self._finish(aside, None)

    def _start_waiting(self, source: int) -> None:
        waiting = self._waiting.get(source)
        while waiting and self._running[source] < MAX_RUNNING:
            aside = waiting.popleft()
            if not aside.over:
                self._start(aside)
        if not waiting:
            self._waiting.pop(source, None)

    def _finish(self, aside: _Aside, value: Any) -> None:
        aside.over = True
        if aside.limit is not None:
            aside.limit.cancel()
        aside.then(value)

    def _overran(self, aside: _Aside) -> None:
        if aside.over:
            return
        if aside.running:
            logger.warning("%s takes too long beside its loads", self._name_of(aside.source))
            self._running[aside.source] -= 1
            self._overdue[aside.source] += 1
        self._finish(aside, None)
