"""An engine that is given more than it can do: `python -m benchmarks.overload`.

- A million predictions, submitted as fast as one thread can: how much memory that takes, and what
  becomes of the reads of another thread, against its reads beside one busy thread. Predictions are
  made as they are submitted, as a host makes them, and handles are thrown away.
- One submit of 100,000 predictions: how long a read that comes right after it waits.
- 40 loads of one source that hang beside 160 of a healthy one: who completes, in how many threads.
- A source that hangs on a fifth of its own keys.

Prints a table and writes `benchmarks/results/overload.json`.
"""

import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.figures import Figure, figure, finish, parser
from benchmarks.runtime import busy_threads
from benchmarks.soak import memory_mb
from prefetch_scheduler.engine import (
    CallableSource,
    Prediction,
    PrefetchEngine,
    PrefetchError,
    ResourceUnavailable,
)

MS = 1000.0
US = 1e6
READS = 100
"""Reads in one block, whose median is one sample."""
MEMORY_MB = 64.0
"""By how much a million predictions may raise the memory of the process."""


# ---- a million predictions -----------------------------------------------------------------------


def hits(engine: PrefetchEngine) -> float:
    """Median microseconds of a read of what is cached; now and then others get a turn."""
    samples = []
    for number in range(READS):
        key = f"k:warm{number % 20}"
        began = time.perf_counter()
        engine.get(key)
        samples.append(time.perf_counter() - began)
        if number % 20 == 19:
            time.sleep(0.0005)
    return statistics.median(samples) * US


def misses(engine: PrefetchEngine, numbers: Iterator[int], count: int = 5) -> float:
    """Median milliseconds of a read that has to be loaded."""
    samples = []
    for _ in range(count):
        key = f"k:cold{next(numbers)}"
        began = time.perf_counter()
        engine.get(key)
        samples.append(time.perf_counter() - began)
    return statistics.median(samples) * MS


class Flood:
    """Submits in a thread of its own until so many predictions have been handed in."""

    def __init__(self, engine: PrefetchEngine, predictions: int, size: int) -> None:
        self.engine = engine
        self.predictions = predictions
        self.size = size
        self.seconds = 0.0
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        began = time.perf_counter()
        for start in range(0, self.predictions, self.size):
            self.engine.submit(
                [
                    Prediction(f"k:{number % 50_000}", "related_file", 0.6)
                    for number in range(start, start + self.size)
                ]
            )
        self.seconds = time.perf_counter() - began


@contextmanager
def warm() -> Iterator[PrefetchEngine]:
    source = CallableSource("k", lambda name: name * 20, read_only=True)
    with PrefetchEngine(sources=[source]) as engine:
        for number in range(20):
            engine.get(f"k:warm{number}")
            engine.get(f"k:warm{number}")
        yield engine


def flood(predictions: int, size: int) -> list[Figure]:
    numbers = iter(range(10**9))
    with warm() as engine:
        beside_busy, beside_flood = [], []
        cold_busy, cold_flood = [], []
        base = memory_mb()
        peak = base
        with busy_threads(1):
            for _ in range(20):
                beside_busy.append(hits(engine))
                cold_busy.append(misses(engine, numbers))
        job = Flood(engine, predictions, size)
        job.thread.start()
        while job.thread.is_alive():
            beside_flood.append(hits(engine))
            cold_flood.append(misses(engine, numbers))
            peak = max(peak, memory_mb())
        job.thread.join()
        peak = max(peak, memory_mb())
    name = f"{predictions:,} predictions, {size} a submit"
    busy, during = statistics.median(beside_busy), statistics.median(beside_flood)
    return [
        figure(f"{name}: submitted", [predictions / job.seconds / 1000], "k/s"),
        figure(f"{name}: memory", [peak - base], "MB", MEMORY_MB),
        figure(f"{name}: hit, beside a busy thread", beside_busy, "us"),
        figure(f"{name}: hit, meanwhile", beside_flood, "us"),
        figure(f"{name}: hit, ratio", [during / busy], "x", 2),
        figure(f"{name}: miss, beside a busy thread", cold_busy, "ms"),
        figure(f"{name}: miss, meanwhile", cold_flood, "ms"),
        figure(
            f"{name}: miss, ratio",
            [statistics.median(cold_flood) / statistics.median(cold_busy)],
            "x",
            2,
        ),
    ]


# ---- one large submit ----------------------------------------------------------------------------


def large_submit(repeat: int, predictions: int) -> list[Figure]:
    first, planned = [], []
    for _ in range(repeat):
        with warm() as engine:
            given = [
                Prediction(f"k:{number}", "related_file", 0.5 + 0.4 * (number % 97) / 97)
                for number in range(predictions)
            ]
            handle = engine.submit(given)
            began = time.perf_counter()
            engine.get("k:wanted")
            first.append((time.perf_counter() - began) * MS)
            handle.plan(120)
            planned.append((time.perf_counter() - began) * MS)
    name = f"a submit of {predictions:,}"
    return [
        figure(f"{name}: the read right after it", first, "ms", 100),
        figure(f"{name}: its plan", planned, "ms"),
    ]


# ---- sources that hang ---------------------------------------------------------------------------


def together(engine: PrefetchEngine, keys: list[str], timeout: float) -> list[PrefetchError | None]:
    """Read all keys at once, each in a thread of its own; what each read raised."""
    outcomes: list[PrefetchError | None] = [None] * len(keys)

    def read(place: int) -> None:
        try:
            engine.get(keys[place], timeout=timeout)
        except PrefetchError as error:
            outcomes[place] = error

    threads = [threading.Thread(target=read, args=(n,), daemon=True) for n in range(len(keys))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def isolation(repeat: int, hanging: int = 40, healthy: int = 160) -> list[Figure]:
    done, threads_used, stops = [], [], []
    for _ in range(repeat):
        gate = threading.Event()
        sources = [
            CallableSource("hang", lambda _, gate=gate: gate.wait(120), read_only=True),
            CallableSource("well", lambda name: time.sleep(0.01) or name, read_only=True),
        ]
        engine = PrefetchEngine(sources=sources).start()
        stuck = threading.Thread(
            target=together,
            args=(engine, [f"hang:{n}" for n in range(hanging)], 60.0),
            daemon=True,
        )
        stuck.start()
        time.sleep(0.05)
        outcomes = together(engine, [f"well:{n}" for n in range(healthy)], 30.0)
        done.append(float(outcomes.count(None)))
        own = [t for t in threading.enumerate() if t.name.startswith("prefetch-")]
        threads_used.append(float(len(own)))
        began = time.perf_counter()
        engine.stop(timeout=2)
        stops.append(time.perf_counter() - began)
        gate.set()
        stuck.join()
    name = f"{hanging} loads hang"
    return [
        figure(f"{name}: of {healthy} others done", done, "", healthy, at_most=False),
        figure(f"{name}: threads of the engine", threads_used, "", 64),
        figure(f"{name}: stop()", stops, "s", 2),
    ]


def a_fifth_hangs(repeat: int) -> list[Figure]:
    """Reads one after another: every fifth key hangs, until 16 are stuck; then it comes back."""
    before, refused_ms, back = [], [], []
    for _ in range(repeat):
        gate = threading.Event()

        def load(name: str, gate: threading.Event = gate) -> str:
            if int(name) % 5 == 0:
                gate.wait(120)
            return name

        source = CallableSource("k", load, read_only=True)
        with PrefetchEngine(sources=[source]) as engine:
            number, well, failed = 0, 0, 0
            while engine.health().stuck_loads.get(source.name, 0) < 16:
                number += 1
                if number % 5:
                    well += 1
                    failed += together(engine, [f"k:{number}"], 10.0) != [None]
                else:
                    together(engine, [f"k:{number}"], 0.05)
                    time.sleep(0.3 if number > 70 else 0)  # until it counts as stuck
                if number > 400:
                    break
            before.append(100.0 * (well - failed) / well)
            began = time.perf_counter()
            (error,) = together(engine, ["k:1000001"], 10.0)
            refused_ms.append((time.perf_counter() - began) * MS)
            assert isinstance(error, ResourceUnavailable), error
            gate.set()
            end = time.monotonic() + 10
            while together(engine, ["k:1000002"], 10.0) != [None] and time.monotonic() < end:
                time.sleep(0.01)
            back.append(100.0 * (together(engine, ["k:1000003"], 10.0) == [None]))
    name = "a fifth of a source's keys hang"
    return [
        figure(f"{name}: others read, fewer than 16 stuck", before, "%", 100, at_most=False),
        figure(f"{name}: refused with 16 stuck, after", refused_ms, "ms"),
        figure(f"{name}: back once they end", back, "%", 100, at_most=False),
    ]


# ---- all of it -----------------------------------------------------------------------------------


def main() -> int:
    """Measure everything; the exit code is 1 where a goal is missed."""
    options = parser(__doc__).parse_args()
    share = 10 if options.quick else 1
    figures = [
        *flood(1_000_000 // share, 10),
        *flood(1_000_000 // share, 1_000),
        *large_submit(max(1, 5 // share), 100_000 // share),
        *isolation(max(1, 5 // share)),
        *a_fifth_hangs(max(1, 3 // share)),
    ]
    return finish("overload", figures, options)


if __name__ == "__main__":
    sys.exit(main())
