"""What the engine adds to each load, from submit to readable: `python -m benchmarks.load_overhead`.

Many items that cost nothing to load are submitted, and timed until the handles of the submits say
that all are loaded, which they do once all can be read: afterwards, untimed, `peek` has to find
every one of them. Beside it, in turn, in the same process: the same function called under
`asyncio.gather` with a semaphore of 8 (for the async source), and through `ThreadPoolExecutor(8)`
(for the blocking one), each result put into a dict. These do none of what the engine is for: no
plan, no budget, no order, no cache layers, no counts, no stories, no cancelling.

Timed: validating, planning, queueing, loading, storing, publishing, counting. Not timed: starting
and stopping the engine, making the predictions. Biases: the engine's limits are raised so that no
item is shed; that the handles are told is in the engine's time, and a little later than the last
item can be read; where other programs compete for the processors the engine, which is several
threads that hand work to one another, loses more than the peers. So every ratio is given twice: of
wall time, and of CPU time, which competition hardly touches.

The breakdown is CPU time by thread: the submitter (validation, and the wait), the planner, the
pool, the cache, metrics; and within the planner by step, from a run of its machine alone.

Prints a table and writes `benchmarks/results/load_overhead.json`.
"""

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from attrs import frozen

from benchmarks.figures import Figure, figure, finish, parser
from prefetch_scheduler.actors.base import EngineActor
from prefetch_scheduler.engine import CallableSource, Prediction, PrefetchEngine
from prefetch_scheduler.policies.cache_events import Put
from prefetch_scheduler.policies.candidates import Moment, candidate
from prefetch_scheduler.policies.config import CacheRules, Config, Execution
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import (
    PlannerEffect,
    PlannerTick,
    Submit,
    ToPool,
)
from prefetch_scheduler.policies.planning import make_plan, merged
from prefetch_scheduler.policies.pool_events import Fetch, Loaded, LoadResult, PoolReport
from prefetch_scheduler.policies.prediction import Terms, checked_predictions
from prefetch_scheduler.policies.slots import pool_capacity
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable
from prefetch_scheduler.policies.vocabulary import Cause, Pool

AT_ONCE = 8
US = 1e6


def load(name: str) -> str:
    return name


async def aload(name: str) -> str:
    return name


@frozen
class Cost:
    """Microseconds for each item."""

    wall: float
    cpu: float
    by_thread: dict[str, float]


def roomy(items: int) -> Config:
    """A configuration under which so many items of one plan are all loaded, and kept."""
    return Config(
        max_prefetch_tokens=10**9,
        time_budget_ms=1e9,
        max_concurrent_fetches=AT_ONCE,
        max_background_queue=items,
        hot_cache_size=items,
        warm_cache_size=items,
        cold_cache_size=items,
        cache=CacheRules(unread_share=1.0),
        execution=Execution(immediate_reserved=0, max_source_concurrency=AT_ONCE),
    )


def predictions(items: int) -> list[Prediction]:
    return [Prediction(f"k:{number}", "main_file", 0.85) for number in range(items)]


class ThreadTimes:
    """CPU time of each actor's thread while it is watched."""

    def __init__(self) -> None:
        self._clocks: dict[str, int] = {}
        self._loop = EngineActor._actor_loop_setup

    def __enter__(self) -> "ThreadTimes":
        clocks, setup = self._clocks, self._loop

        def noting(actor: EngineActor) -> None:
            clocks[actor.home.role] = time.pthread_getcpuclockid(threading.get_ident())
            setup(actor)

        EngineActor._actor_loop_setup = noting  # type: ignore[method-assign]  # for this run
        return self

    def __exit__(self, *_: object) -> None:
        EngineActor._actor_loop_setup = self._loop  # type: ignore[method-assign]  # as it was

    def now(self) -> dict[str, float]:
        """Seconds by role; call while the threads live."""
        own = {"submitter": time.thread_time()}
        return own | {role: time.clock_gettime(clock) for role, clock in self._clocks.items()}


def engine_cost(function: Callable[[str], Any], items: int, each: int) -> Cost:
    """Of `items` loads in submits of `each`, every submit in a session of its own."""
    made = predictions(items)
    source = CallableSource("k", function, read_only=True)
    with (
        ThreadTimes() as times,
        PrefetchEngine(config=roomy(items), sources=[source]) as engine,
    ):
        sessions = [engine.session(f"s{number}") for number in range(0, items, each)]
        engine.report()  # so that all of the engine's threads have begun
        gc.collect()
        before, cpu, began = times.now(), time.process_time(), time.perf_counter()
        handles = [
            session.submit(made[number * each : (number + 1) * each])
            for number, session in enumerate(sessions)
        ]
        assert all(handle.wait_immediate(600) for handle in handles)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        after = times.now()
        assert all(engine.peek(prediction.key) is not None for prediction in made)
    shares = {role: (after[role] - before[role]) / items * US for role in before}
    return Cost(wall / items * US, cpu / items * US, shares)


def gathered(items: int) -> tuple[float, float]:
    """A bare event loop with a semaphore: wall and CPU microseconds for each item."""
    found: dict[int, str] = {}

    async def run() -> tuple[float, float]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with gate:
                found[number] = await aload(f"k:{number}")

        cpu, began = time.process_time(), time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(items)))
        return time.perf_counter() - began, time.process_time() - cpu

    gc.collect()
    wall, cpu = asyncio.run(run())
    assert len(found) == items
    return wall / items * US, cpu / items * US


def pooled(items: int) -> tuple[float, float]:
    """`ThreadPoolExecutor`: wall and CPU microseconds for each item."""
    gc.collect()
    with ThreadPoolExecutor(AT_ONCE) as executor:
        cpu, began = time.process_time(), time.perf_counter()
        futures = {n: executor.submit(load, f"k:{n}") for n in range(items)}
        found = {number: future.result() for number, future in futures.items()}
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert len(found) == items
    return wall / items * US, cpu / items * US


def compared(
    name: str,
    function: Callable[[str], Any],
    peer: Callable[[int], tuple[float, float]],
    goal: float,
    sizes: tuple[int, int, int],
) -> list[Figure]:
    repeat, items, each = sizes
    ours: list[Cost] = []
    theirs: list[tuple[float, float]] = []
    for _ in range(repeat):  # in turn: the machine's mood changes
        theirs.append(peer(items))
        ours.append(engine_cost(function, items, each))
    pairs = list(zip(ours, theirs, strict=True))
    roles = sorted(role for role, spent in ours[0].by_thread.items() if spent >= 0.5)
    return [
        figure(f"{name}: engine, wall", [cost.wall for cost in ours], "us"),
        figure(f"{name}: engine, CPU", [cost.cpu for cost in ours], "us"),
        figure(f"{name}: peer, wall", [wall for wall, _ in theirs], "us"),
        figure(f"{name}: peer, CPU", [cpu for _, cpu in theirs], "us"),
        figure(f"{name}: ratio of wall", [o.wall / t[0] for o, t in pairs], "x", goal),
        figure(f"{name}: ratio of CPU", [o.cpu / t[1] for o, t in pairs], "x"),
        *(
            figure(f"{name}: CPU in {role}", [c.by_thread.get(role, 0.0) for c in ours], "us")
            for role in roles
        ),
    ]


# ---- the steps of the decisions -------------------------------------------------------------


def steps(items: int, repeat: int) -> list[Figure]:
    """CPU time of the decisions for each item, without any actor, step by step."""
    samples: dict[str, list[float]] = {}
    for _ in range(repeat):
        gc.collect()
        for name, seconds in _steps_once(items).items():
            samples.setdefault(name, []).append(seconds / items * US)
    return [figure(f"decisions: {name}", found, "us") for name, found in samples.items()]


def _steps_once(items: int) -> dict[str, float]:
    config = roomy(items)
    machine = PlannerMachine(config, SourceTable((SourceInfo(0, "k", "k", read_only=True),)))
    s = machine.state
    for pool in Pool:
        capacity = pool_capacity(config, pool)
        machine.handle(PoolReport(pool, credits=capacity, reset=True), 0.0)
    found: dict[str, float] = {}

    def timed(name: str, action: Callable[[], Any]) -> Any:
        began = time.thread_time()
        result = action()
        found[name] = found.get(name, 0.0) + time.thread_time() - began
        return result

    checked = timed("validate", lambda: checked_predictions(predictions(items)))
    distinct = timed("merge", lambda: merged(checked))
    moment = Moment.of(s, s.session("s"), Cause.PREDICTION)
    candidates = timed("candidates", lambda: [candidate(moment, item, None) for item in distinct])
    timed("plan", lambda: make_plan("s", candidates, Terms(), config))
    submit = Submit("s", checked, Terms())
    effects = timed("submit in all (with the three above)", lambda: handled(machine, submit))
    loaded = 0
    while loaded < items:
        requests = [
            request
            for effect in effects
            if isinstance(effect, ToPool) and isinstance(effect.command, Fetch)
            for request in effect.command.requests
        ]
        assert requests, f"nothing more is dispatched after {loaded} of {items}"
        loaded += len(requests)
        report = _report(requests)
        effects = timed("loaded, and the next dispatched", lambda r=report: machine.handle(r, 0.0))
        assert any(isinstance(effect, Put) for effect in effects)
    return found


def handled(machine: PlannerMachine, submit: Submit) -> list[PlannerEffect]:
    """The effects of a submit, all of the planner's steps included."""
    effects = machine.handle(submit, 0.0)
    while machine.drafting:
        effects += machine.handle(PlannerTick(), 0.0)
    return effects


def _report(requests: Sequence[Any]) -> PoolReport:
    results = [LoadResult(Content.counted("x", 1, 1), 0.0) for _ in requests]
    ends = [Loaded(r.id, result, True) for r, result in zip(requests, results, strict=True)]
    return PoolReport(Pool.P1, tuple(ends), credits=len(requests))


# ---- all of it ------------------------------------------------------------------------------


def main() -> int:
    """Measure everything; the exit code is 1 where a goal is missed."""
    options = parser(__doc__).parse_args()
    sizes = (2, 1_000, 500) if options.quick else (5, 10_000, 500)
    figures = [
        *compared("async", aload, gathered, 15, sizes),
        *compared("blocking", load, pooled, 8, sizes),
        *steps(1_000 if options.quick else 5_000, sizes[0]),
    ]
    details = {"items": sizes[1], "each submit": sizes[2], "at once": AT_ONCE}
    return finish("load_overhead", figures, options, details=details)


if __name__ == "__main__":
    sys.exit(main())
