"""Invalidations that the planner has not acknowledged: loads older than these are not stored."""

from collections import OrderedDict

from prefetch_scheduler.policies.keys import matches, public_key

MAX_MARKS = 1024
"""Marks kept apart. Past them all are folded into one that covers every key."""

MAX_ACKNOWLEDGED = 1024
"""Keys whose newest acknowledged change is remembered."""


class Marks:
    """Which loads an invalidation overtakes (decision D27).

    A mark covers what its pattern matches and was dispatched under an older epoch. Epochs are
    given out in the order of the changes, but may arrive in another.
    """

    def __init__(self) -> None:
        self._patterns: dict[int, str] = {}
        self._keys: dict[str, int] = {}  # key -> the newest of its marks
        self._prefixes: dict[int, str] = {}
        self._folded = 0  # how many are folded, and not acknowledged
        self._floor = 0  # the newest of these
        self._acknowledged: OrderedDict[str, int] = OrderedDict()  # key -> its newest
        self._forgotten = 0  # the newest acknowledged one that is not remembered by its key

    def note(self, epoch: int, pattern: str) -> None:
        if epoch in self._patterns:
            return
        if len(self._patterns) >= MAX_MARKS:
            self._folded += len(self._patterns)
            self._floor = max(self._floor, *self._patterns)
            self._patterns.clear()
            self._keys.clear()
            self._prefixes.clear()
        self._patterns[epoch] = pattern
        if pattern.endswith("*"):
            self._prefixes[epoch] = pattern
        else:
            key = public_key(pattern)
            self._keys[key] = max(epoch, self._keys.get(key, 0))

    def acknowledged(self, epoch: int) -> None:
        """Loads older than this mark will not come any more."""
        pattern = self._patterns.pop(epoch, None)
        if pattern is None:
            self._forgotten = max(self._forgotten, epoch)
            self._folded = max(0, self._folded - 1)
            if not self._folded:
                self._floor = 0
        elif self._prefixes.pop(epoch, None) is not None:
            self._forgotten = max(self._forgotten, epoch)
        else:
            key = public_key(pattern)
            if self._keys.get(key) == epoch:
                del self._keys[key]
            self._remember(key, epoch)

    def remember_as(self, earlier: "Marks") -> None:
        """After a restart: what has been acknowledged stays known. Marks that stand come anew."""
        self._acknowledged = OrderedDict(earlier._acknowledged)
        self._forgotten = earlier._forgotten

    def _remember(self, key: str, epoch: int) -> None:
        self._acknowledged[key] = max(epoch, self._acknowledged.get(key, 0))
        self._acknowledged.move_to_end(key)
        if len(self._acknowledged) > MAX_ACKNOWLEDGED:
            _, oldest = self._acknowledged.popitem(last=False)
            self._forgotten = max(self._forgotten, oldest)

    def covers(self, stored: str, epoch: int) -> bool:
        """Whether what was dispatched under `epoch` has been overtaken."""
        if self._floor > epoch or self._keys.get(public_key(stored), 0) > epoch:
            return True
        if not self._prefixes:  # as most often
            return False
        return any(e > epoch and matches(p, stored) for e, p in self._prefixes.items())

    def newest_of(self, stored: str, epoch: int) -> bool:
        """Whether no later change than `epoch` can have been made to this key.

        Not every acknowledged change is remembered by its key, so this may say no where it is
        yes: then what the host handed over is loaded once more, and never stale.
        """
        newest = max(self._forgotten, self._acknowledged.get(public_key(stored), 0))
        return epoch >= newest and not self.covers(stored, epoch)

    def pending(self) -> list[tuple[int, str]]:
        """`(epoch, pattern)` of all marks, for a planner that has just started."""
        if not self._folded:
            return list(self._patterns.items())
        self._folded = 1  # that planner acknowledges all that was folded at once
        return [(self._floor, "*"), *self._patterns.items()]

    def __len__(self) -> int:
        return len(self._patterns) + self._folded
