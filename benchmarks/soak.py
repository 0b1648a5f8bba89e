"""An engine under high load for a quarter of an hour: `python -m benchmarks.soak`.

Options: `--minutes 15`, `--warm-up 20` (minutes of the same load before the first sample: until
then the engine's bounded tables fill, and the allocator's memory with the holes that changing them
leaves; what rises after that would rise for weeks).

Readers, submits, changes of context, edits, sessions that come and go, sources that fail or hang
now and then, and an actor killed every ten seconds. Each second memory, threads, open files and
queued messages are noted. A straight line fitted to the last two thirds must rise by less than 1 %
of its mean in ten minutes.

Writes `benchmarks/results/soak.json` with every sample.
"""

import asyncio
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.figures import Figure, figure, finish, parser
from prefetch_scheduler.engine import (
    CallableSource,
    ContextChanged,
    Prediction,
    PrefetchEngine,
    PrefetchError,
    SessionEnded,
)
from prefetch_scheduler.engine import runtime as engine_runtime
from prefetch_scheduler.engine.care import Care
from prefetch_scheduler.policies.restarts import RestartRule

LONG = True
TEN_MINUTES = 600.0
SEED = 8
PAUSE_S = 0.002
EDIT_S = 0.02
"""What changes all the time is rightly not loaded ahead."""
KILL_EVERY_S = 10.0
LOAD_S = 0.01
PARTS = 20
KEYS = 400
"""So few that what is learned of each is full before the last two thirds begin: every table of the
engine is bounded, but some take an hour to fill at 3,000 keys, and rise until then."""
ROLES = ("main_file", "related_file", "documentation", "error_context")


def number(pick: random.Random, tail: float) -> int:
    """Of a key: half of the time any of them, so that each has soon been seen as often as is ever
    remembered; else mostly one of the first few, and the fewer the larger `tail` is.
    """
    return pick.randrange(KEYS) if pick.random() < 0.5 else int(pick.paretovariate(tail)) % KEYS


class Host:
    """What hammers on the engine: each method runs in a thread of its own until it is over."""

    def __init__(self, engine: PrefetchEngine) -> None:
        self.engine = engine
        self.over = threading.Event()
        self.reads = 0
        self.predictions = 0
        self.errors = 0

    def read(self, seed: int) -> None:
        pick = random.Random(seed)
        session = self.engine.session(f"reader{seed}")
        while not self.over.wait(PAUSE_S):
            flaky = pick.random() < 0.02
            key = f"flaky:{pick.randrange(14)}" if flaky else f"k:{number(pick, 0.7)}"
            try:
                session.get(key, timeout=5)
            except PrefetchError:
                self.errors += 1
            self.reads += 1

    def submit(self, seed: int) -> None:
        pick = random.Random(seed)
        turn = 0
        before: list[str] = []
        while not self.over.wait(PAUSE_S):
            turn += 1
            session = self.engine.session(f"s{turn // 200 % 7}")
            keys = {f"k:{number(pick, 0.5)}" for _ in range(20)}
            session.submit(
                [Prediction(key, pick.choice(ROLES), pick.uniform(0.3, 1)) for key in sorted(keys)]
            )
            self.predictions += len(keys)
            for key in before:
                session.get(key, timeout=5)
                self.reads += 1
            # Read in the next turn, so that loading them ahead pays.
            before = pick.sample(sorted(keys), len(keys) // 2)
            if turn % 20 == 0:
                session.trigger(ContextChanged(f"context {turn}"))
            if turn % 40 == 0:  # so that the latest ended ones are soon as many as are kept
                session.trigger(SessionEnded())

    def edit(self, seed: int) -> None:
        pick = random.Random(seed)
        while not self.over.wait(EDIT_S):
            key = f"k:{number(pick, 0.7)}"
            if pick.random() < 0.1:
                self.engine.put(key, "edited " * pick.randrange(50))
            else:
                self.engine.invalidate(key)

    def kill(self, _: int) -> None:
        """One actor after another gets a message that it does not know."""
        runtime = self.engine._runtime
        turn = 0
        while not self.over.wait(KILL_EVERY_S):
            addresses = (runtime.cache, runtime.planner, runtime.metrics, *runtime.pools.values())
            addresses[turn % len(addresses)].tell(object())
            turn += 1


async def remote(name: str) -> str:
    """Takes as long as a quick server: what takes no time is not worth loading ahead."""
    await asyncio.sleep(LOAD_S)
    return name * 200


def flaky(name: str) -> str:
    """Fails for a seventh of its names, and takes long for another."""
    if int(name) % 7 == 0:
        raise OSError("not today")
    if int(name) % 7 == 1:
        time.sleep(0.2)
    return name


# ---- samples -----------------------------------------------------------------------------------


def memory_mb() -> float:
    """Resident memory of this process, in megabytes."""
    with Path("/proc/self/statm").open(encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files() -> float:
    return float(len(list(Path("/proc/self/fd").iterdir())))


def queued(engine: PrefetchEngine) -> float:
    """Messages and loads that wait, all queues together."""
    return float(sum(waiting for waiting, _ in engine.health().queues.values()))


def sample(engine: PrefetchEngine, minutes: float) -> dict[str, list[float]]:
    """One value a second of each measure."""
    measures: dict[str, Callable[[], float]] = {
        "memory (MB)": memory_mb,
        "threads": lambda: float(threading.active_count()),
        "open files": open_files,
        "queued": lambda: queued(engine),
    }
    samples: dict[str, list[float]] = {name: [] for name in measures}
    began = time.monotonic()
    for second in range(int(minutes * 60)):
        time.sleep(max(0.0, began + second + 1 - time.monotonic()))
        for name, measure in measures.items():
            samples[name].append(measure())
    return samples


def rise(values: Sequence[float]) -> tuple[float, float]:
    """`(rise in ten minutes, its standard error)` in percent of the mean.

    A straight line is fitted to the means of each twentieth, whose scatter tells how sure it is.
    """
    size = max(1, len(values) // PARTS)
    parts = [
        statistics.fmean(values[start : start + size])
        for start in range(0, len(values) - size + 1, size)
    ]
    mean = statistics.fmean(parts)
    times = [size * (place + 0.5) for place in range(len(parts))]
    slope, intercept = statistics.linear_regression(times, parts)
    left = [part - intercept - slope * at for at, part in zip(times, parts, strict=True)]
    middle = statistics.fmean(times)
    around = sum((at - middle) ** 2 for at in times)
    error = (sum(each**2 for each in left) / (len(parts) - 2) / around) ** 0.5
    per_cent = 100 * TEN_MINUTES / mean if mean else 0.0
    return slope * per_cent, error * per_cent


def judged(samples: dict[str, list[float]]) -> list[Figure]:
    """Two rows for each measure: what it was, and its rise in ten minutes of the last two thirds.

    The length of queues is mostly chance: what is judged there is what the rise is at least, with
    a confidence of 95 %. The spread of a rise is its standard error.
    """
    rows = []
    for name, values in samples.items():
        late = values[len(values) // 3 :]
        more, error = rise(late)
        rows.append(figure(name, late, ""))
        title, least = f"{name}: rise in ten minutes", more
        if name == "queued":
            title, least = f"{title}, at least", more - 2 * error
        rows.append(Figure(title, least, "%", (more - error, more + error), 1.0))
    return rows


# ---- all of it -----------------------------------------------------------------------------------


def soak(minutes: float, warm_up: float) -> tuple[dict[str, list[float]], Host]:
    """The samples, taken after so many minutes of the same load, and the host with its counts."""
    engine_runtime.CARE = Care(rule=RestartRule(intensity=10**9))
    sources = [
        CallableSource("k", remote, read_only=True),
        CallableSource("flaky", flaky, read_only=True),
    ]
    with PrefetchEngine(sources=sources) as engine:
        host = Host(engine)
        work = [(host.read, 1), (host.read, 2), (host.submit, 3), (host.edit, 4), (host.kill, 5)]
        threads = [threading.Thread(target=run, args=(seed,), daemon=True) for run, seed in work]
        for thread in threads:
            thread.start()
        try:
            time.sleep(warm_up * 60)
            host.reads = host.predictions = 0
            samples = sample(engine, minutes)
            dead = [thread for thread in threads if not thread.is_alive()]
            assert not dead, f"{len(dead)} of the host's threads ended by an error"
        finally:
            host.over.set()
            for thread in threads:
                with suppress(RuntimeError):
                    thread.join()
    return samples, host


def main() -> int:
    """Run it; the exit code is 1 where something rises."""
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=None, help="how long; 15 unless --quick")
    options.add_argument(
        "--warm-up", type=float, default=None, help="minutes before; 20 unless --quick"
    )
    chosen = options.parse_args()
    minutes = chosen.minutes or (0.5 if chosen.quick else 15.0)
    warm_up = (0.0 if chosen.quick else 20.0) if chosen.warm_up is None else chosen.warm_up
    samples, host = soak(minutes, warm_up)
    seconds = minutes * 60
    figures = [
        *judged(samples),
        figure("reads", [host.reads / seconds], "1/s"),
        figure("predictions", [host.predictions / seconds], "1/s"),
    ]
    details = {"minutes of warm-up": warm_up, "samples": samples}
    return finish("soak", figures, chosen, seed=SEED, details=details)


if __name__ == "__main__":
    sys.exit(main())
