"""What the cache's operations cost from 100 to 1,000,000 entries, its stretches, its memory.

`python -m benchmarks.cache_growth`

The CacheLayer's own code runs in this thread, message by message, its effects applied to the view
that readers see; what it tells the planner and Metrics is dropped. Beside each operation stands the
same one on a bare `dict` of that size, in turn within each round; the goal is for how far their
ratio grows from the smallest to the largest size.

Stretches: a million entries outlive their layers at one moment, and a million are invalidated by
one prefix. A stretch is the processor time from taking a message or tick to being ready for the
next one, sending included. Readers must see the invalidation before the first stretch has begun.

Memory: what is allocated for each entry, with the planner's record of it, without the key and the
value. `beyond its content` leaves out the `Content` too, which is what a reader is handed.
"""

import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import date
from statistics import median, quantiles
from typing import Any, cast

from benchmarks.figures import Figure, figure, finish, parser
from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.base import Home
from prefetch_scheduler.actors.cache import CacheLayer
from prefetch_scheduler.actors.inbox import Inbox
from prefetch_scheduler.actors.timer import Timer
from prefetch_scheduler.actors.view import PublishedView
from prefetch_scheduler.policies.cache_events import (
    Acknowledged,
    CacheReport,
    Drain,
    Holding,
    Invalidate,
    Invalidated,
    Put,
    Removed,
    Stored,
)
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.vocabulary import Priority

LONG = True
SEED = 20_260_303
SIZES = (100, 10_000, 1_000_000)
OPERATIONS = 2_000
MS = 1e-6
"""Of a nanosecond."""


class StoppedClock:
    """Engine time that stands where it is put."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return 1.7e9 + self.at

    def today(self) -> int:
        return date(2026, 1, 1).toordinal()

    def real(self, seconds: float) -> float:
        return seconds


class Planner:
    """Keeps what the planner keeps of each entry, and forgets the rest."""

    def __init__(self) -> None:
        self.resident: dict[str, Entry | None] = {}

    def tell(self, message: Any) -> bool:
        if isinstance(message, CacheReport):
            for notice in message.notices:
                match notice:
                    case Stored(stored, _, entry):
                        self.resident[stored] = entry
                    case Removed(stored):
                        self.resident.pop(stored, None)
                    case Holding() | Invalidated():
                        pass
        return True


class Metrics:
    """Is told, and counts nothing."""

    def tell(self, _: Any) -> bool:
        return True


class Shell:
    """The CacheLayer, run in this thread, with room for so many entries in each layer."""

    def __init__(self, hot: int, warm: int, cold: int) -> None:
        self.clock = StoppedClock()
        self.view = PublishedView([0])
        self.planner = Planner()
        address = Address("cache", Inbox("cache"))
        self.actor = cast(
            Any,
            CacheLayer(
                Home("benchmark", "cache", address, self.clock, Timer("unused")),
                config=Config(hot_cache_size=hot, warm_cache_size=warm, cold_cache_size=cold),
                view=self.view,
                planner=cast(Address, self.planner),
                metrics=cast(Address, Metrics()),
                publish=lambda _: None,
            ),
        )
        self.actor.on_start()

    @property
    def moves(self) -> int:
        """Entries that have been moved or dropped so far."""
        moved: int = self.actor._machine._residents.moves
        return moved

    def tell(self, message: Any) -> None:
        """One message, with what is sent after it."""
        self.actor.on_receive(message)
        self.actor.after_batch()

    def put(self, key: str, epoch: int = 0) -> None:
        now = self.clock.at
        content = Content("text", tokens=1).placed(
            key=key, source="doc", loaded_at=1.7e9 + now, layer=None
        )
        self.tell(Put(Entry(key, content, 0, epoch, now, now, 0.01, "s", Priority.P1)))

    def invalidate(self, pattern: str) -> None:
        epoch = self.view.board.note(pattern)
        self.tell(Invalidate(pattern, epoch))
        self.tell(Acknowledged(epoch))

    def stretches(self) -> list[int]:
        """Ticks until nothing is due; the processor time of each, in nanoseconds."""
        taken = []
        while (due := self.actor._machine.next_deadline()) is not None and due <= self.clock.at:
            begun = time.thread_time_ns()
            self.actor.on_tick(self.clock.at)
            self.actor.after_batch()
            taken.append(time.thread_time_ns() - begun)
        return taken


def keys_of(first: int, count: int) -> list[str]:
    return [f"doc:src/package_{n}/module_{n}.py" for n in range(first, first + count)]


def cost(action: Callable[[str], object], keys: Sequence[str]) -> float:
    """Nanoseconds for each key."""
    begun = time.thread_time_ns()
    for key in keys:
        action(key)
    return (time.thread_time_ns() - begun) / len(keys)


# ---- growth --------------------------------------------------------------------------------------


class Sized:
    """The cache and a bare dict, both full, and the operations of both."""

    def __init__(self, size: int) -> None:
        hot, warm = size * 20 // 170, size * 50 // 170
        self.size = size
        self.shell = Shell(hot, warm, size - hot - warm)
        self.chance = random.Random(SEED)
        self.next = 2 * size
        self.bare: dict[str, str] = {}
        self.fill(keys_of(0, size + size // 20 + 2))

    def fill(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.shell.put(key, self.shell.view.board._last)
        self.bare = dict.fromkeys(self.shell.view.entries, "text")

    def some(self) -> list[str]:
        """Random resident keys, equal to those that are stored and not identical."""
        count = min(OPERATIONS, self.size // 2)
        listed = self.chance.sample(list(self.shell.view.entries), count)
        return ["".join(list(key)) for key in listed]

    def fresh(self) -> list[str]:
        count = min(OPERATIONS, self.size // 2)
        self.next += count
        return keys_of(self.next - count, count)

    def round(self) -> dict[str, tuple[float, float]]:
        """Name -> (the cache, the bare dict)."""
        shell, bare, direct = self.shell, self.bare, self.shell.view.direct
        found: dict[str, tuple[float, float]] = {}
        keys, absent = self.some(), self.fresh()
        assert all(key in direct for key in keys)
        for name, asked in (("hit", keys), ("miss", absent)):
            view, log, hits = shell.view, shell.view.reads, shell.view.tally("s").hits

            def read(key: str) -> Content | None:  # what `Reads.get` does of it
                content = view.direct.get(key)  # noqa: B023 - used within this round
                if content is not None:
                    log.append((key, "s"))  # noqa: B023
                    next(hits)  # noqa: B023
                return content

            found[name] = cost(read, asked), cost(bare.get, asked)
        shell.tell(Drain())

        def noted(key: str) -> None:
            shell.view.reads.append((key, "s"))
            shell.tell(Drain())

        found["take a read in"] = cost(noted, keys), found["hit"][1]
        oldest = iter(list(bare))

        def replace(key: str) -> None:
            bare[key] = "text"
            del bare[next(oldest)]

        found["insert and evict"] = cost(shell.put, self.fresh()), cost(replace, self.fresh())
        keys = [key for key in self.some() if key in bare]
        found["invalidate"] = cost(shell.invalidate, keys), cost(bare.pop, keys)
        self.fill(self.fresh())
        return found

    def expiry(self) -> tuple[float, float]:
        """Everything outlives hot, then warm, then cold."""
        shell, moved, taken = self.shell, self.shell.moves, 0
        for _ in range(3):
            shell.clock.at += 3700
            taken += sum(shell.stretches())
        keys = list(self.bare)
        return taken / (shell.moves - moved), cost(self.bare.pop, keys)


def growth(sizes: Sequence[int], rounds: int) -> list[Figure]:
    """Each operation at each size, beside the dict, and how far the ratio grows."""
    ratios: dict[str, dict[int, list[float]]] = {}
    figures = []
    for size in sizes:
        sized = Sized(size)
        sized.round()
        found = [sized.round() for _ in range(rounds)]
        times = [*found[0]]
        for name in times:
            mine, bare = zip(*(each[name] for each in found), strict=True)
            figures.append(figure(f"{name}, {size:,} entries", mine, "ns"))
            ratios.setdefault(name, {})[size] = [a / b for a, b in zip(mine, bare, strict=True)]
        expiries = []
        for _ in range(rounds if size <= 10_000 else 1):
            expiries.append(sized.expiry())
            if size <= 10_000:
                sized.fill(keys_of(sized.next, size + size // 20 + 2))
        figures.append(figure(f"expire, {size:,} entries", [a for a, _ in expiries], "ns"))
        ratios.setdefault("expire", {})[size] = [a / b for a, b in expiries]
        del sized
        gc.collect()
    for name, by_size in ratios.items():
        for size, values in by_size.items():
            figures.append(figure(f"{name} / dict, {size:,} entries", values, "x"))
        first = median(by_size[sizes[0]])
        grown = [value / first for value in by_size[sizes[-1]]]
        figures.append(
            figure(f"{name} / dict, growth to {sizes[-1]:,}", grown, "x", 2, at_most=True)
        )
    return figures


# ---- stretches -----------------------------------------------------------------------------------


def stretches(count: int) -> list[Figure]:
    """A mass expiry, three times, and the invalidation of everything by one prefix."""
    shell = Shell(count, count, count)
    for key in keys_of(0, count):
        shell.put(key)
    assert len(shell.view.direct) == count
    figures = []
    for what, seconds in (("hot to warm", 301), ("warm to cold", 901), ("out of cold", 3601)):
        shell.clock.at += seconds
        taken = shell.stretches()
        figures += stretch_figures(f"{count:,} entries expire, {what}", taken)
    assert not shell.view.entries
    for key in keys_of(0, count):
        shell.put(key)
    epoch = shell.view.board.note("doc:*")
    assert not shell.view.direct, "readers see it at once"
    assert shell.view.board.newest(keys_of(0, 1)[0]) == epoch
    begun = time.thread_time_ns()
    shell.tell(Invalidate("doc:*", epoch))
    first = time.thread_time_ns() - begun
    figures += stretch_figures(f"{count:,} entries invalidated by prefix", shell.stretches())
    figures.append(Figure("  its first stretch", first * MS, "ms", (first * MS, first * MS)))
    assert not shell.view.entries
    return figures


def stretch_figures(name: str, taken: Sequence[int]) -> list[Figure]:
    """The 99th percentile has the goal; its spread is the median and the longest."""
    hundredths = quantiles(taken, n=100, method="inclusive")
    spread = (hundredths[49] * MS, max(taken) * MS)
    return [Figure(f"{name}: p99 (median .. longest)", hundredths[98] * MS, "ms", spread, 5)]


# ---- memory --------------------------------------------------------------------------------------


def memory(count: int) -> list[Figure]:
    """Bytes that are allocated for an entry that was put and is in hot."""
    keys = keys_of(0, count)
    values = [f"text of {n} ".ljust(600, ".") for n in range(count)]
    gc.collect()
    tracemalloc.start()
    contents = [
        Content(value, tokens=150 + n % 100).placed(
            key=key, source="doc", loaded_at=1.7e9 + n / 1000, layer=None
        )
        for n, (key, value) in enumerate(zip(keys, values, strict=True))
    ]
    sizes = [content.size for content in contents]
    of_content = tracemalloc.get_traced_memory()[0] / count
    del contents, sizes
    gc.collect()
    shell = Shell(count, count, count)
    before = tracemalloc.get_traced_memory()[0]
    for n, (key, value) in enumerate(zip(keys, values, strict=True)):
        shell.clock.at = n / 1000
        content = Content(value, tokens=150 + n % 100).placed(
            key=key, source="doc", loaded_at=1.7e9 + shell.clock.at, layer=None
        )
        asked = shell.clock.at - 0.002
        loaded = shell.clock.at - 0.001
        entry = Entry(key, content, 0, 0, asked, loaded, loaded - asked, "s", Priority.P1)
        shell.tell(Put(entry))
        del content, entry
    gc.collect()
    of_entry = (tracemalloc.get_traced_memory()[0] - before) / count
    tracemalloc.stop()
    beyond = of_entry - of_content
    return [
        Figure(f"an entry, {count:,} of them", of_entry, "B", (of_entry, of_entry)),
        Figure("  its Content without the value", of_content, "B", (of_content, of_content)),
        Figure("  beyond its content", beyond, "B", (beyond, beyond), 600),
    ]


def main() -> int:
    options = parser(__doc__).parse_args()
    sizes = (100, 10_000) if options.quick else SIZES
    figures = growth(sizes, 3 if options.quick else 7)
    figures += stretches(sizes[-1])
    for count in (10_000,) if options.quick else (100_000,):
        figures += memory(count)
    return finish("cache_growth", figures, options, seed=SEED)


if __name__ == "__main__":
    raise SystemExit(main())
