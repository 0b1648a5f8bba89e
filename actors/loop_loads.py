"""Loads of async sources on a pool's event loop: one task for all that need not wait.

A task and its callbacks cost more than many a load. So loads of one source that begin together
are called one after the other in a single task, and after them those that begin because they have
ended; at the first that really waits the others get tasks of their own, in the next turn of the
loop. Each has its own `contextvars` in any case.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from prefetch_scheduler.actors.cancel import CancelToken
from prefetch_scheduler.actors.runs import Outcome, cancelled
from prefetch_scheduler.policies.pool import Run
from prefetch_scheduler.policies.values import define

_LOAD_TASK = "load from source "

T = TypeVar("T")


@define(eq=False)
class Active:
    """A run whose code has been called, or is about to be, and has not returned."""

    run: Run
    token: CancelToken
    in_loop: bool = False
    task: "asyncio.Task[None] | None" = None
    """In which it runs, from its first step to its end."""
    ended: bool = False


@define(eq=False)
class Line:
    """Loads of one source that are called one after the other."""

    actives: deque[Active]
    """Not called yet."""
    grows: bool = True
    """Whether loads may be added at its end: while none of them has had to wait."""


Group = dict[int, Line]
"""By source."""


class LoopLoads:
    """The loads of one pool. All calls come from its event loop.

    Args:
        load: makes the coroutine of a load; it does not raise.
        ended: told the outcomes of each.
        follow: calls `add` for what begins because of what has ended. It need not: then that is
            left for the loop's next turn.
    """

    def __init__(
        self,
        load: Callable[[Active], Coroutine[Any, Any, list[Outcome]]],
        ended: Callable[[Active, list[Outcome]], None],
        follow: Callable[[], None],
    ) -> None:
        self._load = load
        self._ended = ended
        self._follow = follow
        self._gathered: dict[int, deque[Active]] = {}

    def add(self, active: Active) -> None:
        """A load that begins with the next call of `begin`."""
        active.in_loop = True
        self._gathered.setdefault(active.run.requests[0].source_id, deque()).append(active)

    def begin(self, loop: asyncio.AbstractEventLoop) -> Group | None:
        """Call what was added: its first steps are made in the loop's next turn. What it returns is
        for `each_its_own`, right after those; None: nothing was added.
        """
        if not self._gathered:
            return None
        gathered, self._gathered = self._gathered, {}
        begun = {source: Line(actives) for source, actives in gathered.items()}
        for source, line in begun.items():
            self._spawn(loop, source, line)
        return begun

    def each_its_own(self, loop: asyncio.AbstractEventLoop, begun: Group) -> None:
        """Do not let loads wait for one of their source that has to wait."""
        for source, line in begun.items():
            line.grows = False
            while line.actives:
                alone = Line(deque((line.actives.popleft(),)), grows=False)
                self._spawn(loop, source, alone)

    def cancel(self, loop: asyncio.AbstractEventLoop, active: Active) -> None:
        """End a load; behind its first step, since it has been reported as started."""
        if active.ended:
            return
        if active.task is not None:
            active.task.cancel()
        else:
            loop.call_soon(self.cancel, loop, active)

    @staticmethod
    def culprit(loop: asyncio.AbstractEventLoop | None) -> int | None:
        """The source whose coroutine a loop that hangs is in, if it is in one. Any thread."""
        task = asyncio.current_task(loop) if loop is not None else None
        return None if task is None else LoopLoads.source_of(task)

    @staticmethod
    def source_of(task: asyncio.Task[Any]) -> int | None:
        """The source of whose loads a task is; None: of none."""
        name = task.get_name()
        number = name.removeprefix(_LOAD_TASK)
        return int(number) if number != name and number.isdigit() else None

    def _spawn(self, loop: asyncio.AbstractEventLoop, source: int, line: Line) -> None:
        task = loop.create_task(self._in_turn(source, line), name=f"{_LOAD_TASK}{source}")
        task.add_done_callback(lambda _: self._never_called(line.actives))

    async def _in_turn(self, source: int, line: Line) -> None:
        task, actives = asyncio.current_task(), line.actives
        # A source's code may have cancelled the task that it shares: it alone is to bear that.
        while task is not None and not task.cancelling() and (actives or self._more(source, line)):
            active = actives.popleft()
            active.task = task
            self._end(active, await Apart(self._load(active)))

    def _more(self, source: int, line: Line) -> bool:
        """Whether there is another load to call: one that follows from those that have ended."""
        if line.grows:
            self._follow()
            line.actives.extend(self._gathered.pop(source, ()))
        return bool(line.actives)

    def _never_called(self, actives: deque[Active]) -> None:
        """A task that somebody cancelled before its first step never ran any of its own code."""
        while actives:
            active = actives.popleft()
            self._end(active, cancelled(active.run))

    def _end(self, active: Active, outcomes: list[Outcome]) -> None:
        active.task, active.ended = None, True
        self._ended(active, outcomes)


class Apart(Generic[T]):
    """Awaits a coroutine in a context of its own, as a task of its own would run it."""

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, T]:
        run, coroutine = copy_context().run, self._coroutine
        try:
            awaited = run(coroutine.send, None)
            while True:
                try:
                    value = yield awaited
                except BaseException as error:  # noqa: BLE001 - the coroutine's to handle
                    awaited = run(coroutine.throw, error)
                else:
                    awaited = run(coroutine.send, value)
        except StopIteration as end:
            result: T = end.value
            return result
