"""The figures of one policy over all sessions, as `simulate --json` gives them.

Sums over all sessions come first, then ratios. `demand_p50_ms` and `demand_p99_ms` are over the
waits of *all* reads, hits included with their 0: so they can be compared between policies, which
would not be so over the reads that waited, since prefetching leaves the hard ones over.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from attrs import field

from prefetch_scheduler.engine.simulation.trace import Trace
from prefetch_scheduler.policies.counts import Counts, ratio
from prefetch_scheduler.policies.values import define

BUCKETS_S = (0.0, *(10 ** (exponent / 4) for exponent in range(-16, 9)))
"""Upper bounds of the wait histogram: no wait, then four to a decade, 0.1 ms to 100 s."""


@define(eq=False)
class Waits:
    """The waits of all reads, in seconds."""

    _all: "array[float]" = field(init=False, factory=lambda: array("d"))

    def add(self, trace: Trace) -> None:
        self._all.extend(read.wait_s for read in trace.reads)

    @property
    def count(self) -> int:
        return len(self._all)

    @property
    def total_s(self) -> float:
        return math.fsum(self._all)

    def percentiles(self, *shares: float) -> list[float]:
        """The least wait that so large a share of the reads do not exceed; 0 without reads."""
        ordered = sorted(self._all)
        if not ordered:
            return [0.0 for _ in shares]
        last = len(ordered)
        return [ordered[max(0, math.ceil(share * last) - 1)] for share in shares]

    def histogram(self) -> list[list[float]]:
        """`[upper bound in seconds, reads]` of each bucket up to the last that holds one."""
        counts = [0] * len(BUCKETS_S)
        for wait in self._all:
            counts[min(bisect_left(BUCKETS_S, wait), len(counts) - 1)] += 1
        while counts and not counts[-1]:
            counts.pop()
        return [[bound, held] for bound, held in zip(BUCKETS_S, counts, strict=False)]


def policy_figures(waits: Waits, counts: Counts) -> dict[str, Any]:
    """What one policy came to: the contract's fields but for `hidden_fraction`, which needs the
    waits of `none`. A rate of nothing is None.
    """
    p50, p99 = waits.percentiles(0.5, 0.99)
    return {
        "wait_s": round(waits.total_s, 6),
        "hit_rate": _rounded(counts.hit_rate),
        "late_hit_rate": _rounded(ratio(counts.late_hits, counts.reads)),
        "prefetch_accuracy": _rounded(counts.accuracy),
        "prefetches": counts.prefetches,
        "tokens_prefetched": counts.tokens_prefetched,
        "tokens_wasted": counts.tokens_wasted,
        "wasted_fraction": _rounded(counts.wasted_fraction),
        "demand_p50_ms": round(p50 * 1000, 3),
        "demand_p99_ms": round(p99 * 1000, 3),
    }


def with_hidden(figures: Mapping[str, Any], base_wait_s: float) -> dict[str, Any]:
    """The figures with `hidden_fraction`, against what `none` waited in all."""
    waited = ratio(figures["wait_s"], base_wait_s)
    hidden = None if waited is None else _rounded(1 - waited)
    return {"wait_s": figures["wait_s"], "hidden_fraction": hidden, **figures}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6) + 0.0  # no minus zero
