"""What the actor runtime costs, and how fast it recovers: `python -m benchmarks.runtime`.

Prints a table and writes `benchmarks/results/runtime.json`.
"""

import gc
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import pykka
from attrs import evolve

from benchmarks.figures import Figure, figure, finish, parser
from prefetch_scheduler.actors.base import EngineActor, Home
from prefetch_scheduler.actors.messages import (
    POOL_CONTROL,
    AlertsQuery,
    CancelLoad,
    Drain,
    Fetch,
    PlannerStatusQuery,
    Withdraw,
)
from prefetch_scheduler.actors.pool import FetcherPool
from prefetch_scheduler.actors.system import ActorSystem
from prefetch_scheduler.engine import CallableSource, Prediction, PrefetchEngine, PrefetchError
from prefetch_scheduler.engine import runtime as engine_runtime
from prefetch_scheduler.engine.care import Care
from prefetch_scheduler.engine.sources.registry import SourceRegistry
from prefetch_scheduler.policies.pool import PoolMachine
from prefetch_scheduler.policies.pool_events import LoadRequest
from prefetch_scheduler.policies.restarts import RestartRule
from prefetch_scheduler.policies.vocabulary import Pool

MS = 1000.0


# ---- crash to next message -------------------------------------------------------------------

PROBES: dict[str, Any] = {
    "planner": PlannerStatusQuery(),
    "cache": Drain(),
    "metrics": AlertsQuery(),
    "pool-p1": Withdraw(-1),
}
"""What each actor is asked behind the message that kills it."""


@contextmanager
def loaded_engine() -> Iterator[PrefetchEngine]:
    """An engine that one thread reads from and another submits to, as fast as hosts do."""
    rule = RestartRule(intensity=10**9, base_s=0.0, most_s=0.0)
    engine_runtime.CARE = Care(rule=rule)
    source = CallableSource("k", lambda name: name * 50, read_only=True)
    over = threading.Event()

    def read(engine: PrefetchEngine) -> None:
        pick = random.Random(1)
        while not over.wait(0.001):
            engine.get(f"k:{pick.randrange(400)}")

    def submit(engine: PrefetchEngine) -> None:
        pick = random.Random(2)
        while not over.wait(0.005):
            keys = {f"k:{pick.randrange(4000)}" for _ in range(10)}
            engine.submit([Prediction(key, "related_file", 0.8) for key in sorted(keys)])

    with PrefetchEngine(sources=[source]) as engine:
        threads = [threading.Thread(target=work, args=(engine,)) for work in (read, submit)]
        for thread in threads:
            thread.start()
        try:
            yield engine
        finally:
            over.set()
            for thread in threads:
                thread.join()
            engine_runtime.CARE = Care()


def crashes(repeat: int) -> list[Figure]:
    figures = []
    for role, probe in PROBES.items():
        with loaded_engine() as engine:
            runtime = engine._runtime
            address = {
                "planner": runtime.planner,
                "cache": runtime.cache,
                "metrics": runtime.metrics,
                "pool-p1": runtime.pools[Pool.P1],
            }[role]
            samples = []
            for _ in range(repeat):
                time.sleep(0.01)
                address.tell(object())
                began = time.perf_counter()
                address.ask(probe)
                samples.append((time.perf_counter() - began) * MS)
        figures.append(
            figure(f"{role}: killed under load, next message answered", samples, "ms", 5)
        )
    return figures


# ---- cancels ---------------------------------------------------------------------------------


class HeldPool(FetcherPool):
    """A pool that can be held up, so that messages pile up behind it, and notes its cancels."""

    cancelled_at: ClassVar[list[float]] = []

    def _cancel(self, active: Any) -> None:
        super()._cancel(active)
        self.cancelled_at.append(time.perf_counter())

    def on_receive(self, message: Any) -> None:
        if isinstance(message, threading.Event):
            message.wait()
            return
        super().on_receive(message)


def cancels(repeat: int, backlog: int = 10_000) -> list[Figure]:
    """From the cancel to the load's token being set, with so many messages waiting before it, and
    to its callback in a thread of its own, which has to wait for the interpreter as well.
    """
    begun, cancelled = threading.Event(), threading.Event()
    ended: list[float] = []

    def load(name: str, cancel: Any) -> str:
        def note() -> None:
            ended.append(time.perf_counter())
            cancelled.set()

        cancel.on_cancel(note)
        begun.set()
        cancelled.wait(10)
        return name

    registry = SourceRegistry([CallableSource("k", load, read_only=True)])
    token, callback = [], []
    for number in range(1, repeat + 1):
        system = ActorSystem("bench")
        address = system.address("pool", control=POOL_CONTROL, bound=10 * backlog)
        planner = system.address("planner", bound=10 * backlog)
        machine = PoolMachine(Pool.P1, 8, permits=False, batch=False, table=registry.table)
        system.timer.start()
        slots = system.slots("pool")
        home = system.home(address, supervised=False)
        HeldPool.start(home, machine, registry, planner, slots, registry.table)
        begun.clear()
        cancelled.clear()
        address.tell(Fetch((LoadRequest(number, 0, "k:x", "x", 60.0, 60.0),)))
        begun.wait(10)
        gate = threading.Event()
        address.tell(gate)
        while address.fill()[0]:
            time.sleep(0.001)
        for _ in range(backlog):
            address.tell(Withdraw(-1))
        began = time.perf_counter()
        address.tell(CancelLoad(number))
        gate.set()
        cancelled.wait(10)
        token.append((HeldPool.cancelled_at[-1] - began) * MS)
        callback.append((ended[-1] - began) * MS)
        pykka.ActorRegistry.stop_all()
        system.stop(2)
    name = f"cancel behind {backlog:,} queued messages"
    return [figure(name, token, "ms", 1), figure(f"{name}: its callback", callback, "ms")]


# ---- the immediate budget --------------------------------------------------------------------


@contextmanager
def busy_threads(count: int) -> Iterator[None]:
    """Threads that never let go of the interpreter of their own accord."""
    over = threading.Event()

    def spin() -> None:
        while not over.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=spin, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def budgets(repeat: int, busy: int) -> Figure:
    slow = CallableSource("k", lambda name: time.sleep(0.3) or name, read_only=True)
    samples = []
    with PrefetchEngine(sources=[slow]) as engine, busy_threads(busy):
        for number in range(repeat):
            began = time.perf_counter()
            handle = engine.submit([Prediction(f"k:{number}", "main_file", 0.9)])
            assert handle.wait_immediate() is False
            samples.append((time.perf_counter() - began) * MS)
            time.sleep(0.35)
    beside = f"beside {busy} busy threads" if busy else "idle"
    goal = None if busy else 115
    return figure(f"100 ms immediate budget, caller free ({beside})", samples, "ms", goal)


# ---- stopping --------------------------------------------------------------------------------


def stops(repeat: int, loads: int = 40) -> list[Figure]:
    samples, threads_used = [], []
    for _ in range(repeat):
        gate = threading.Event()
        kinds = [f"h{n}" for n in range(4)]
        sources = [
            CallableSource(kind, lambda _, gate=gate: gate.wait(60), read_only=True)
            for kind in kinds
        ]
        engine = PrefetchEngine(sources=sources).start()
        readers = []
        for number in range(loads):

            def read(key: str = f"{kinds[number % 4]}:{number}") -> None:
                with suppress(PrefetchError):
                    engine.get(key)  # noqa: B023 - ended before the next turn

            readers.append(threading.Thread(target=read, daemon=True))
        for reader in readers:
            reader.start()
        end = time.monotonic() + 10
        while len(engine._runtime.system.stuck_threads()) < loads and time.monotonic() < end:
            time.sleep(0.005)
        stuck = engine._runtime.system.stuck_threads()
        assert len(stuck) >= loads, f"only {len(stuck)} loads hang"
        own = [t for t in threading.enumerate() if t.name.startswith("prefetch-")]
        threads_used.append(float(len(own)))
        began = time.perf_counter()
        engine.stop(timeout=2)
        samples.append(time.perf_counter() - began)
        gate.set()
        for reader in readers:
            reader.join()
    return [
        figure(f"stop() with {loads} hanging loads", samples, "s", 2),
        figure(f"threads of an engine with {loads} hanging loads", threads_used, "", 64),
    ]


# ---- against stock Pykka ---------------------------------------------------------------------


class Ours(EngineActor):
    def on_receive(self, message: Any) -> Any:
        if isinstance(message, threading.Event):
            message.set()
        return message


class Stock(pykka.ThreadingActor):
    use_daemon_thread = True

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, threading.Event):
            message.set()
        return message


def throughput(tell: Callable[[Any], Any], messages: int) -> float:
    done = threading.Event()
    began = time.perf_counter()
    for number in range(messages):
        tell(number)
    tell(done)
    done.wait()
    return messages / (time.perf_counter() - began) / 1000


def latency(ask: Callable[[Any], Any], messages: int) -> float:
    samples = []
    for number in range(messages):
        began = time.perf_counter()
        ask(number)
        samples.append(time.perf_counter() - began)
    return statistics.median(samples) * 1e6


def against_stock(repeat: int) -> list[Figure]:
    system = ActorSystem("bench")
    system.timer.start()
    address = system.address("ours", bound=10**6)
    home: Home = evolve(system.home(address), supervisor=None)
    Ours.start(home)
    stock = Stock.start()
    tells: list[tuple[float, float]] = []
    asks: list[tuple[float, float]] = []
    for _ in range(repeat):  # in turn: the machine's mood changes
        gc.collect()
        tells.append((throughput(address.tell, 50_000), throughput(stock.tell, 50_000)))
        asks.append((latency(address.ask, 3_000), latency(stock.ask, 3_000)))
    stock.stop()
    pykka.ActorRegistry.stop_all()
    system.stop(2)
    return [
        figure("tell: this runtime", [ours for ours, _ in tells], "k/s"),
        figure("tell: stock Pykka", [theirs for _, theirs in tells], "k/s"),
        figure("tell: ratio", [o / t for o, t in tells], "x", 1, at_most=False),
        figure("ask: this runtime, median", [ours for ours, _ in asks], "us"),
        figure("ask: stock Pykka, median", [theirs for _, theirs in asks], "us"),
        figure("ask: stock's time by ours", [t / o for o, t in asks], "x", 1, at_most=False),
    ]


def idle_cost(seconds: float) -> Figure:
    """CPU of an engine that does nothing but ping its actors once a second."""
    with PrefetchEngine(sources=[CallableSource("k", str, read_only=True)]):
        time.sleep(0.5)
        began, cpu = time.perf_counter(), time.process_time()
        time.sleep(seconds)
        share = (time.process_time() - cpu) / (time.perf_counter() - began)
    return figure("CPU of an idle engine, watchdog included", [share * 100], "%", 1)


# ---- all of it -------------------------------------------------------------------------------


def main() -> int:
    """Measure everything; the exit code is 1 where a goal is missed."""
    options = parser(__doc__).parse_args()
    share = 5 if options.quick else 1
    figures = [
        *crashes(100 // share),
        *cancels(25 // share),
        budgets(20 // share, 0),
        budgets(20 // share, 2),
        *stops(10 // share),
        *against_stock(15 // share),
        idle_cost(10.0 / share),
    ]
    return finish("runtime", figures, options)


if __name__ == "__main__":
    sys.exit(main())
