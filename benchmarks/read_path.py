"""What a hit costs through the public `peek` and `get`, beside other caches.

`python -m benchmarks.read_path` (needs the extra `bench`)

Each side looks up the same keys, in the same order, in the same kind of loop; keys are equal to
those that were stored, not identical. Sides take turns within each round, and all goals are for
ratios within one round. A figure is the processor time of the reading threads for each lookup: on
a busy machine elapsed time would measure the neighbours. With several readers it is their mean.

Peers: a bare `dict` (subscript); `cachetools.TTLCache` under a lock, as its manual asks for;
`cachebox.LRUCache` by subscript, the fastest reads of that library (`cachebox.TTLCache`, which also
expires, is reported beside it). `os.stat` is measured on the same files, by their absolute paths.
With several readers each `stat` gives the interpreter's lock away and has to get it back from
another reader: the longer a side holds it, the more that costs, and it is in those rows. So there
is a control: `os.stat`, then a Python loop that does nothing for so long that one reader of it
takes as long as one of ours. It shows what any Python around a `stat` pays with more readers.
The writer hands new content over (`put`) 200 times a second, and does the same to each peer.
"""

import asyncio
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from attrs import frozen

from benchmarks.figures import Figure, figure, finish, parser
from prefetch_scheduler.engine import CallableSource, FileSource, PrefetchEngine

SEED = 20_260_301
KEYS = 128
WRITES_PER_S = 200
THREADS = (1, 2, 4)
PEERS = ("cachetools", "cachebox")

Loop = Callable[[Sequence[str]], None]
"""Looks all keys up."""


@frozen
class Side:
    """One way to look keys up, and to replace one key's content."""

    name: str
    loop: Loop
    keys: Sequence[str]
    write: Callable[[str], None]


def calling(read: Callable[[str], Any]) -> Loop:
    """A loop that calls `read`."""

    def loop(keys: Sequence[str]) -> None:
        for key in keys:
            read(key)

    return loop


def subscribing(held: Any) -> Loop:
    """A loop that takes `held[key]`."""

    def loop(keys: Sequence[str]) -> None:
        for key in keys:
            held[key]

    return loop


def awaiting(read: Callable[[str], Any]) -> Loop:
    """A loop that awaits `read`, all within one task."""

    async def all_of(keys: Sequence[str]) -> None:
        for key in keys:
            await read(key)

    return lambda keys: asyncio.run(all_of(keys))


def peers(keys: Sequence[str], asked: Sequence[str]) -> list[Side]:
    """The other caches, filled, each with room for everything."""
    import cachebox
    import cachetools

    content = {key: f"text of {key}" for key in keys}
    lock = threading.Lock()
    timed: Any = cachetools.TTLCache(maxsize=4 * len(keys), ttl=3600)
    timed.update(content)

    def timed_get(key: str) -> str:
        with lock:
            text: str = timed[key]
        return text

    def timed_set(key: str) -> None:
        with lock:
            timed[key] = "written"

    sides = [
        Side("dict", subscribing(content), asked, lambda key: content.update({key: "written"})),
        Side("cachetools", calling(timed_get), asked, timed_set),
    ]
    for name, cache in (
        ("cachebox", cachebox.LRUCache(4 * len(keys))),
        ("cachebox ttl", cachebox.TTLCache(4 * len(keys), 3600)),
    ):
        cache.update(content)

        def write(key: str, cache: Any = cache) -> None:
            cache[key] = "written"

        sides.append(Side(name, subscribing(cache), asked, write))
    return sides


# ---- measuring ---------------------------------------------------------------------------------


@contextmanager
def writing(side: Side, wanted: bool) -> Iterator[None]:
    """A thread that replaces contents while the block runs."""
    if not wanted:
        yield
        return
    ended = threading.Event()
    keys = list(dict.fromkeys(side.keys))

    def run() -> None:
        number = 0
        while not ended.wait(1 / WRITES_PER_S):
            side.write(keys[number % len(keys)])
            number += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def cost_ns(side: Side, threads: int, passes: int) -> float:
    """Processor time of a lookup in the reading threads, in nanoseconds."""
    spent: list[int] = []
    barrier = threading.Barrier(threads)

    def read() -> None:
        barrier.wait()
        begun = time.thread_time_ns()
        for _ in range(passes):
            side.loop(side.keys)
        spent.append(time.thread_time_ns() - begun)

    if threads == 1:
        read()
    else:
        readers = [threading.Thread(target=read) for _ in range(threads)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    return sum(spent) / (threads * passes * len(side.keys))


def median_call_ns(read: Callable[[str], Any], keys: Sequence[str]) -> float:
    """Elapsed time of a single call, with that of reading the timer."""
    timer, taken = time.perf_counter_ns, []
    for key in keys:
        begun = timer()
        read(key)
        taken.append(timer() - begun)
    return median(taken)


def settled(engine: PrefetchEngine, keys: Sequence[str]) -> None:
    """Every key resident, published, and its files' stamps settled."""
    for _ in range(2):
        for key in keys:
            engine.get(key)
        engine.report()
        time.sleep(0.1)
    assert all(engine.peek(key) is not None for key in keys)


def ratios(
    sides: Sequence[Side], rounds: int, threads: int, passes: int, *, writer: bool
) -> dict[str, list[float]]:
    """Cost of each side in each round, sides in turn."""
    costs: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(rounds + 1):
        for side in sides:
            with writing(side, writer):
                cost = cost_ns(side, threads, passes)
            if number:  # the first round warms up
                costs[side.name].append(cost)
    return costs


def over(upper: Sequence[float], lower: Sequence[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(upper, lower, strict=True)]


def padded_stat(paths: Sequence[str], wanted_ns: float) -> Loop:
    """A loop that calls `os.stat` and then does nothing for as long as one reader's call of both
    takes so many nanoseconds.
    """

    def loop_of(turns: int) -> Loop:
        nothing = [None] * turns

        def loop(keys: Sequence[str], stat: Callable[[str], Any] = os.stat) -> None:
            for key in keys:
                stat(key)
                for _ in nothing:
                    pass

        return loop

    def cost(turns: int) -> float:
        side = Side("padded", loop_of(turns), paths, lambda _: None)
        return median(cost_ns(side, 1, 2) for _ in range(5))

    bare, each = cost(0), (cost(200) - cost(0)) / 200
    return loop_of(max(0, round((wanted_ns - bare) / each)))


# ---- the figures ------------------------------------------------------------------------------


def unchecked(rounds: int, passes: int) -> list[Figure]:
    """Hits on entries whose source needs no look."""
    chance = random.Random(SEED)
    keys = [f"doc:src/package_{n}/module_{n}.py" for n in range(KEYS)]
    asked = ["".join(list(key)) for key in chance.choices(keys, k=2048)]
    figures: list[Figure] = []
    config = {"hot_cache_size": 4 * KEYS}
    source = CallableSource("doc", lambda name: f"text of {name}", read_only=True)
    with PrefetchEngine(config, sources=[source]) as engine:
        session = engine.session("one")
        settled(engine, keys)

        def put(key: str) -> None:
            engine.put(key, "written")

        ours = [
            Side("engine.peek", calling(engine.peek), asked, put),
            Side("engine.get", calling(engine.get), asked, put),
            Side("session.peek", calling(session.peek), asked, put),
            Side("session.get", calling(session.get), asked, put),
        ]
        others = peers(keys, asked)
        for threads in THREADS:
            for writer in (False, True):
                where = f"{threads} reader{'s' * (threads > 1)}{', a writer' * writer}"
                costs = ratios([*others, *ours], rounds, threads, passes, writer=writer)
                figures += [figure(f"dict, {where}", costs["dict"], "ns")]
                for side in ours:
                    mine = costs[side.name]
                    name = f"{side.name}, {where}"
                    figures += [
                        figure(name, mine, "ns"),
                        figure(f"{name} / dict", over(mine, costs["dict"]), "x", 20),
                        figure(f"{name} / cachebox", over(mine, costs["cachebox"]), "x", 6),
                        figure(f"{name} / cachebox ttl", over(mine, costs["cachebox ttl"]), "x"),
                        figure(f"{name} / cachetools", over(mine, costs["cachetools"]), "x", 0.5),
                    ]
        awaited = Side("engine.aget", awaiting(engine.aget), asked, put)
        costs = ratios([others[0], awaited], rounds, 1, passes, writer=False)
        figures += [
            figure("engine.aget, 1 reader", costs["engine.aget"], "ns"),
            figure(
                "engine.aget, 1 reader / dict", over(costs["engine.aget"], costs["dict"]), "x", 20
            ),
        ]
        figures += [
            figure(f"{name}, one call, p50", [median_call_ns(read, asked)], "ns")
            for name, read in (
                ("nothing", lambda _: None),
                ("engine.peek", engine.peek),
                ("engine.get", engine.get),
            )
        ]
    return figures


def checked(rounds: int, passes: int) -> list[Figure]:
    """Hits on files, each checked by one `stat`. The bound is what a hit without a check may cost,
    6 times cachebox, and 1.5 times `os.stat`.
    """
    chance = random.Random(SEED)
    names = [f"package_{n % 8}/module_{n}.py" for n in range(KEYS)]
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in names:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(f"text of {name}\n")
        time.sleep(0.1)  # past the file system's tick: stamps prove something at once
        source = CallableSource("doc", lambda name: f"text of {name}", read_only=True)
        config = {"hot_cache_size": 4 * KEYS}
        with PrefetchEngine(config, sources=[FileSource(root), source]) as engine:
            files = [f"file:{name}" for name in names]
            plain = [f"doc:{name}" for name in names]
            settled(engine, files)
            settled(engine, plain)
            order = chance.choices(range(KEYS), k=1024)
            asked = ["".join(list(files[n])) for n in order]
            unasked = ["".join(list(plain[n])) for n in order]
            paths = [os.path.join(os.path.realpath(root), names[n]) for n in order]

            def nothing(_: str) -> None:
                """These are measured without a writer."""

            for word in ("peek", "get"):
                read = getattr(engine, word)
                cachebox = next(side for side in peers(plain, unasked) if side.name == "cachebox")
                check = Side("checked", calling(read), asked, nothing)
                alone = median(cost_ns(check, 1, 2) for _ in range(5))
                sides = [
                    Side("os.stat", calling(os.stat), paths, nothing),
                    cachebox,
                    Side("plain", calling(read), unasked, nothing),
                    Side("padded", padded_stat(paths, alone), paths, nothing),
                    check,
                ]
                for threads in THREADS:
                    costs = ratios(sides, rounds, threads, max(1, passes // 4), writer=False)
                    bound, ours = (
                        [hit + 1.5 * stat for hit, stat in zip(hits, costs["os.stat"], strict=True)]
                        for hits in ([6 * cost for cost in costs["cachebox"]], costs["plain"])
                    )
                    where = f"{threads} reader{'s' * (threads > 1)}"
                    figures += [
                        figure(f"os.stat, {where}", costs["os.stat"], "ns"),
                        figure(f"engine.{word} of a file, {where}", costs["checked"], "ns"),
                        figure(
                            f"engine.{word} of a file, {where} / (6 cachebox + 1.5 os.stat)",
                            over(costs["checked"], bound),
                            "x",
                            1,
                        ),
                        figure(
                            f"engine.{word} of a file, {where} / (our hit + 1.5 os.stat)",
                            over(costs["checked"], ours),
                            "x",
                        ),
                        figure(
                            f"engine.{word} of a file, {where} / os.stat and as much Python",
                            over(costs["checked"], costs["padded"]),
                            "x",
                        ),
                    ]
    return figures


def main() -> int:
    options = parser(__doc__).parse_args()
    rounds, passes = (3, 2) if options.quick else (15, 8)
    figures = [*unchecked(rounds, passes), *checked(rounds, passes)]
    return finish("read_path", figures, options, peers=PEERS, seed=SEED)


if __name__ == "__main__":
    raise SystemExit(main())
