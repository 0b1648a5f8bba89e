"""Loads of one async source that begin together: one task for what need not wait, none held up."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from prefetch_scheduler.actors.cancel import CancelToken
from prefetch_scheduler.actors.loop_loads import Active, Group, LoopLoads
from prefetch_scheduler.actors.runs import Outcome
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.pool import Run
from prefetch_scheduler.policies.pool_events import LoadFailure, LoadRequest, LoadResult

Code = Callable[[], Coroutine[Any, Any, str]]


def numbered(number: int) -> Active:
    request = LoadRequest(number, 0, f"k:{number}", str(number), 9.0, 9.0)
    return Active(Run((request,), number + 1), CancelToken())


class Together:
    """Runs loads on a loop of its own; what each one does is a coroutine function.

    `then`: begin, one for each that has ended, whenever something may follow.
    """

    def __init__(self, *codes: Code, then: tuple[Code, ...] = ()) -> None:
        self.codes = [*codes, *then]
        self.first = self.begun = len(codes)
        self.ended: dict[int, list[Outcome]] = {}
        self.tasks: dict[int, asyncio.Task[Any] | None] = {}
        self.loads = LoopLoads(self.load, self.end, self.follow)

    async def load(self, active: Active) -> list[Outcome]:
        self.tasks[active.run.id] = asyncio.current_task()
        try:
            return [LoadResult(Content(await self.codes[active.run.id]()), 0.0)]
        except BaseException as error:  # noqa: BLE001 - as `load_async`
            return [LoadFailure(repr(error), error)]

    def end(self, active: Active, outcomes: list[Outcome]) -> None:
        self.ended[active.run.id] = outcomes

    def follow(self) -> None:
        last = min(self.first + len(self.ended), len(self.codes))
        for number in range(self.begun, last):
            self.loads.add(numbered(number))
        self.begun = max(self.begun, last)

    def begin(self) -> tuple[list[Active], Group]:
        actives = [numbered(number) for number in range(self.first)]
        for active in actives:
            self.loads.add(active)
        begun = self.loads.begin(asyncio.get_running_loop())
        assert begun is not None
        return actives, begun

    async def run(self) -> None:
        _, begun = self.begin()
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        self.loads.each_its_own(loop, begun)
        while len(self.ended) < len(self.codes):
            await asyncio.sleep(0)

    def value(self, number: int) -> object:
        (outcome,) = self.ended[number]
        return outcome.content.value if isinstance(outcome, LoadResult) else outcome.exception


async def at_once() -> str:
    return "done"


def one_waits_for_the_other() -> tuple[Code, Code]:
    gate: list[asyncio.Event] = []

    async def waits() -> str:
        gate.append(asyncio.Event())
        await gate[0].wait()
        return "waited"

    async def opens() -> str:
        gate[0].set()
        return "opened"

    return waits, opens


def test_what_need_not_wait_ends_with_the_first_step_of_one_task() -> None:
    together = Together(*[at_once] * 5)

    async def main() -> None:
        together.begin()
        await asyncio.sleep(0)
        assert list(together.ended) == [0, 1, 2, 3, 4]

    asyncio.run(main())
    assert len(set(together.tasks.values())) == 1


def test_what_follows_from_loads_that_have_ended_ends_in_the_same_step() -> None:
    together = Together(at_once, at_once, then=(at_once,) * 5)

    async def main() -> None:
        together.begin()
        await asyncio.sleep(0)
        assert list(together.ended) == [0, 1, 2, 3, 4, 5, 6]

    asyncio.run(main())
    assert len(set(together.tasks.values())) == 1


def test_what_follows_is_held_up_by_no_load_that_waits() -> None:
    waits, opens = one_waits_for_the_other()
    together = Together(at_once, at_once, then=(waits, opens))
    asyncio.run(together.run())
    assert [together.value(n) for n in range(4)] == ["done", "done", "waited", "opened"]
    assert list(together.ended) == [0, 1, 3, 2]
    assert together.tasks[0] is together.tasks[2] is not together.tasks[3]


def test_once_a_load_has_had_to_wait_what_follows_is_left_for_the_next_turn() -> None:
    async def waits() -> str:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "waited"

    together = Together(waits, then=(at_once,))

    async def main() -> None:
        _, begun = together.begin()
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        together.loads.each_its_own(loop, begun)
        while 0 not in together.ended:
            await asyncio.sleep(0)
        assert 1 not in together.ended
        together.follow()
        together.loads.begin(loop)
        while 1 not in together.ended:
            await asyncio.sleep(0)

    asyncio.run(main())
    assert together.tasks[0] is not together.tasks[1]


def test_a_load_that_waits_holds_up_no_other() -> None:
    waits, opens = one_waits_for_the_other()
    together = Together(at_once, waits, at_once, opens)
    asyncio.run(together.run())
    assert [together.value(n) for n in range(4)] == ["done", "waited", "done", "opened"]
    assert list(together.ended)[-1] == 1
    assert together.tasks[0] is together.tasks[1]
    assert len(set(together.tasks.values())) == 3


def test_what_one_load_sets_in_its_context_is_not_seen_by_the_next() -> None:
    mark: ContextVar[str] = ContextVar("mark", default="unset")

    async def sets() -> str:
        seen = mark.get()
        mark.set("set")
        await asyncio.sleep(0)
        return f"{seen}, {mark.get()}"

    async def looks() -> str:
        mark.set("mine")
        return mark.get()

    together = Together(looks, sets, sets)
    asyncio.run(together.run())
    assert [together.value(n) for n in range(3)] == ["mine", "unset, set", "unset, set"]


def test_a_load_that_cancels_its_own_task_ends_no_other() -> None:
    async def cancels_itself() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "done"

    async def waits() -> str:
        await asyncio.sleep(0)
        return "waited"

    together = Together(cancels_itself, waits, waits)
    asyncio.run(together.run())
    assert [together.value(n) for n in range(3)] == ["done", "waited", "waited"]


def test_time_outs_and_cancels_meet_the_load_that_they_are_meant_for() -> None:
    async def times_out() -> str:
        async with asyncio.timeout(0):
            await asyncio.sleep(60)
        return "never"

    async def cancelled() -> str:
        await asyncio.sleep(60)
        return "never"

    together = Together(at_once, cancelled, times_out, at_once)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        actives, begun = together.begin()
        for active in actives[:2]:  # none has begun; the first ends before its cancel comes
            together.loads.cancel(loop, active)
        await asyncio.sleep(0)
        together.loads.each_its_own(loop, begun)
        while len(together.ended) < 4:
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert [together.value(n) for n in (0, 3)] == ["done", "done"]
    assert isinstance(together.value(1), asyncio.CancelledError)
    assert isinstance(together.value(2), TimeoutError)


def test_a_load_whose_task_is_cancelled_before_its_first_step_is_called_all_the_same() -> None:
    together = Together(at_once, at_once)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        _, begun = together.begin()
        for task in asyncio.all_tasks(loop) - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)
        together.loads.each_its_own(loop, begun)
        for task in asyncio.all_tasks(loop) - {asyncio.current_task()}:
            if len(together.ended) == 0 and task.get_name().startswith("load"):
                task.cancel()
                break
        while len(together.ended) < 2:
            await asyncio.sleep(0)

    asyncio.run(main())
    outcomes = [outcome for ended in together.ended.values() for outcome in ended]
    assert sorted(isinstance(o, LoadFailure) and o.cancelled for o in outcomes) == [False, True]
