"""Requests that a pool has before there is a slot for them, see `Fetch.standby`.

Each waits for a load of its source that ends well, and begins in the slot of that one.
"""

from collections import deque

from prefetch_scheduler.policies.pool_events import LoadRequest


class Standby:
    """Those of one pool, by number: a line for each source, first come first served."""

    def __init__(self) -> None:
        self._lines: dict[int, deque[int]] = {}
        self._left: dict[int, int] = {}
        """Source -> slots that were left to its line and not taken yet."""
        self._unended: set[int] = set()

    def __bool__(self) -> bool:
        """Whether any waits."""
        return bool(self._lines)

    @property
    def unended(self) -> bool:
        """Whether one of them has not ended, be it that it waits or that it has begun."""
        return bool(self._unended)

    def add(self, request: LoadRequest) -> None:
        self._lines.setdefault(request.source_id, deque()).append(request.id)
        self._unended.add(request.id)

    def remove(self, request: LoadRequest) -> bool:
        """Take one back. False: it does not wait here."""
        line = self._lines.get(request.source_id)
        if line is None or request.id not in line:
            return False
        line.remove(request.id)
        if not line:
            del self._lines[request.source_id]
        self._unended.discard(request.id)
        return True

    def ended(self, request: LoadRequest) -> None:
        """It has no slot any more, if it had stood by at all."""
        self._unended.discard(request.id)

    def leave(self, source: int) -> None:
        """Leave a slot to whoever waits for one of that source."""
        if source in self._lines:
            self._left[source] = self._left.get(source, 0) + 1

    def take(self) -> list[int]:
        """Those who take the slots that were left to them, out of their lines."""
        taken: list[int] = []
        for source, slots in self._left.items():
            line = self._lines.get(source, deque())
            taken += [line.popleft() for _ in range(min(slots, len(line)))]
            if not line:
                self._lines.pop(source, None)
        self._left.clear()
        return taken

    def waiting(self, source: int) -> list[int]:
        """Those who wait for a slot of that source."""
        return list(self._lines.get(source, ()))

    def in_vain(self, source: int) -> bool:
        """Whether somebody waits for this source and has been left no slot: in vain, unless one of
        its loads runs.
        """
        return source in self._lines and source not in self._left

    def clear(self) -> None:
        self._lines.clear()
        self._left.clear()
        self._unended.clear()
