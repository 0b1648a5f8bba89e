"""Deadlines of things that mostly end before them."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

LEAST = 64
"""Deadlines that are kept before those that are void are looked for."""


class Deadlines:
    """When each number is due, the earliest first.

    Args:
        due_of: when a number is due now; None: it is not. A deadline that was set for another time
            than that is void.

    Runtime complexity: O(log n) to set one and to take one.
    """

    def __init__(self, due_of: Callable[[int], float | None]) -> None:
        self._due_of = due_of
        self._heap: list[tuple[float, int, int]] = []  # (due, order of setting, number)
        self._order = count()
        self._limit = LEAST

    def set(self, number: int, due: float) -> None:
        heappush(self._heap, (due, next(self._order), number))
        if len(self._heap) > self._limit:
            self._heap = sorted(d for d in self._heap if self._due_of(d[2]) == d[0])
            self._limit = max(LEAST, 2 * len(self._heap))

    def first(self) -> float | None:
        """The earliest that is not void."""
        while self._heap:
            due, _, number = self._heap[0]
            if self._due_of(number) == due:
                return due
            heappop(self._heap)
        return None

    def passed(self, now: float) -> int | None:
        """Take out the earliest if that is not later than `now`: its number, or None."""
        due = self.first()
        if due is None or due > now:
            return None
        return heappop(self._heap)[2]

    def __len__(self) -> int:
        """How many are kept, void ones included."""
        return len(self._heap)
