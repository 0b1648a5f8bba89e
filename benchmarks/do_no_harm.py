"""What wrong predictions cost a reader: `python -m benchmarks.do_no_harm`.

Two real engines in real time, one with `enable_speculative_prefetch` off. Both are given the same
adversarial predictions (keys that are never read) before each burst of reads, and the same reads;
they take turns, so that both see the machine's moods. Timed: each `get` of a key that is not
resident, from call to return. Not timed: `submit`, and the pauses between turns.

The source is one of blocking loads that take a set time, so a read cannot be faster than that;
what is measured is what is added. Bias: loads sleep and use no CPU, as remote ones do; a source
that computes would share the interpreter's lock with the reader, prefetched or not.
"""

import random
import statistics
import sys
import time
from collections.abc import Sequence

from attrs import define, field

from benchmarks.figures import Figure, figure, finish, parser
from prefetch_scheduler.engine import CallableSource, Constraints, Prediction, PrefetchEngine

LOAD_S = 0.005
WRONG = 40
"""Predictions of a turn, all wrong."""
READS = 10
"""Reads of a turn, one after another, as an agent reads."""
MS = 1000.0
ROLES = "main_file", "related_file", "documentation"
SEED = 5


def load(name: str) -> str:
    """A load that takes its time elsewhere, as one from a network does."""
    time.sleep(LOAD_S)
    return name * 40


@define
class Side:
    """One engine and what its readers waited, in milliseconds."""

    engine: PrefetchEngine
    waits: list[float] = field(factory=list)
    """Of the round in hand."""

    def turn(self, number: int, pick: random.Random) -> None:
        """An agent's turn: predictions come in, then it reads."""
        wrong = [
            Prediction(f"k:wrong-{number}-{n}", pick.choice(ROLES), 0.55 + 0.4 * pick.random(), 50)
            for n in range(WRONG)
        ]
        self.engine.submit(wrong, Constraints(urgency="high"))
        for n in range(READS):
            began = time.perf_counter()
            self.engine.get(f"k:read-{number}-{n}")
            self.waits.append((time.perf_counter() - began) * MS)


def made(*, prefetching: bool) -> PrefetchEngine:
    """An engine whose budget does not bind: all that is predicted is loaded."""
    config = {"enable_speculative_prefetch": prefetching, "max_prefetch_tokens": 10**9}
    source = CallableSource("k", load, read_only=True, tokens=50, load_s=LOAD_S)
    return PrefetchEngine(config, sources=[source])


def high(samples: Sequence[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(samples, n=100, method="inclusive")[98]


def rounds(count: int, turns: int) -> list[Figure]:
    """Percentiles of each side in each of `count` rounds of `turns` turns, and their ratios."""
    p50: list[tuple[float, float]] = []
    p99: list[tuple[float, float]] = []
    with made(prefetching=True) as first, made(prefetching=False) as second:
        on, off = Side(first), Side(second)
        for round_ in range(count):
            for turn in range(turns):
                number = round_ * turns + turn
                sides = (on, off) if turn % 2 else (off, on)
                for side in sides:
                    side.turn(number, random.Random(f"{SEED} {number}"))
                    time.sleep(
                        0.02
                    )  # what is still loading ahead for one is not in the other's way
            p50.append((statistics.median(on.waits), statistics.median(off.waits)))
            p99.append((high(on.waits), high(off.waits)))
            on.waits.clear()
            off.waits.clear()
        started = first.report().to_dict()["prefetch_report"]["session_summary"]["total_prefetches"]
        useless = second.report().to_dict()["prefetch_report"]["session_summary"]
    assert started > 0, "nothing was loaded ahead: there is nothing to compare"
    assert useless["total_prefetches"] == 0, "the other engine loads ahead too"
    return [
        figure("demand p50, prefetching on", [on for on, _ in p50], "ms"),
        figure("demand p50, prefetching off", [off for _, off in p50], "ms"),
        figure("demand p50: on by off", [on / off for on, off in p50], "x", 1.05),
        figure("demand p99, prefetching on", [on for on, _ in p99], "ms"),
        figure("demand p99, prefetching off", [off for _, off in p99], "ms"),
        figure("demand p99: on by off", [on / off for on, off in p99], "x", 1.1),
        figure("wrong prefetches started for each read", [started / (count * turns * READS)], ""),
    ]


def main() -> int:
    """Measure; the exit code is 1 where a goal is missed."""
    options = parser(__doc__).parse_args()
    figures = rounds(3, 10) if options.quick else rounds(12, 20)
    return finish("do_no_harm", figures, options, seed=SEED)


if __name__ == "__main__":
    sys.exit(main())
