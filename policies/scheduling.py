"""List scheduling of planned loads onto the prefetch slots (decisions D3, D16, D19).

The limits are those of `slots`, which decides in real time: P0 and P1 may take any slot; P2 and
background together leave the reserved ones alone, and each has a limit of its own. Every limit
is a sorted list of the times at which its places become free; a load starts when each limit that
binds it has a place. Graham, "Bounds on Multiprocessing Timing Anomalies" (1969).
"""

from bisect import bisect_right, insort
from typing import NamedTuple

from attrs import field

from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.values import define
from prefetch_scheduler.policies.vocabulary import Priority

TOLERANCE_S = 1e-9
"""Sums of decimal fractions are not exact: twenty loads of 0.1 s do fit two seconds."""


class Placed(NamedTuple):
    """A load's predicted times in seconds from the plan."""

    start_s: float
    finish_s: float
    in_time: bool
    """Whether it meets its deadline; if not, it has taken no slot."""


@define
class SlotSchedule:
    """When loads would start and finish, in seconds from the plan, if taken in the order asked.

    Ask for P0 and P1 first, then P2, then background: a load never starts before one asked for
    earlier under the same limits, and what was placed is never moved.
    """

    config: Config
    _all: list[float] = field(init=False)
    _unreserved: list[float] = field(init=False)
    _eager: list[float] = field(init=False)
    _background: list[float] = field(init=False)
    _urgent_end: float = field(init=False, default=0.0)
    """When the last P0 or P1 load ends; until then background waits (D19)."""

    def __attrs_post_init__(self) -> None:
        run = self.config.execution
        total = self.config.max_concurrent_fetches
        open_to_all = total - self.config.reserved_slots
        self._all = [0.0] * total
        self._unreserved = [0.0] * open_to_all
        self._eager = [0.0] * min(run.eager_max_concurrent, open_to_all)
        self._background = [0.0] * min(run.background_max_concurrent, open_to_all)

    def immediate(self, priority: Priority, load_s: float, deadline_s: float | None) -> Placed:
        """Place a P0 to P2 load of `load_s` seconds.

        It takes a slot unless it would finish after `deadline_s`; None: whenever it finishes.
        """
        urgent = priority <= Priority.P1
        if urgent:
            limits: tuple[list[float], ...] = (self._all,)
            start = self._all[0]
        else:
            limits = self._all, self._unreserved, self._eager
            start = max([free[0] for free in limits])
        finish = start + load_s
        if deadline_s is not None and finish > deadline_s + TOLERANCE_S:
            return Placed(start, finish, False)
        if urgent and finish > self._urgent_end:
            self._urgent_end = finish
        _occupy(limits, start, finish)
        return Placed(start, finish, True)

    def background(self, load_s: float) -> tuple[float, float]:
        """`(start, finish)` of a background load; ask when all immediate ones are placed."""
        limits = (self._all, self._unreserved, self._background)
        earliest = max(self.config.background_start_delay_ms / 1000, self._urgent_end)
        start = max(earliest, *(free[0] for free in limits))
        finish = start + load_s
        _occupy(limits, start, finish)
        return start, finish


def _occupy(limits: tuple[list[float], ...], start: float, finish: float) -> None:
    for free in limits:
        # The place that became free last is taken: those free for longer may serve a load that
        # is bound by other limits and can start sooner.
        del free[bisect_right(free, start) - 1]
        insort(free, finish)
