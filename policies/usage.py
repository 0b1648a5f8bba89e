"""What was read lately, how often today, and what earlier sessions used most. All of it bounded."""

from collections import OrderedDict
from heapq import nsmallest

from attrs import field

from prefetch_scheduler.policies.values import define


@define
class _Use:
    at: float
    day: int
    uses: int


@define
class UsageHistory:
    """Last read and today's uses of each resource, for the modifiers of decision D6."""

    capacity: int = 10_000
    """Resources remembered; past it the one that was read longest ago is forgotten."""
    _uses: OrderedDict[str, _Use] = field(init=False, factory=OrderedDict)

    def note(self, stored: str, at: float, day: int) -> None:
        """A reader read it at engine time `at` (seconds), on the local calendar day `day`."""
        use = self._uses.get(stored)
        if use is None:
            self._uses[stored] = _Use(at, day, 1)
            if len(self._uses) > self.capacity:
                self._uses.popitem(last=False)
            return
        use.at = max(use.at, at)  # reads are reported in batches, not always in order
        use.uses = use.uses + 1 if use.day == day else 1
        use.day = day
        self._uses.move_to_end(stored)

    def recent(self, stored: str, now: float, within_s: float) -> bool:
        """Whether it was read in the last `within_s` seconds before `now`."""
        use = self._uses.get(stored)
        return use is not None and now - use.at <= within_s

    def uses_today(self, stored: str, day: int) -> int:
        """How often it was read on that day; 0 where it is not remembered."""
        use = self._uses.get(stored)
        return use.uses if use is not None and use.day == day else 0

    def __contains__(self, stored: str) -> bool:
        """Whether a read of it is remembered."""
        return stored in self._uses

    def __len__(self) -> int:
        return len(self._uses)


EARLY_SESSIONS = 64
EARLY_READS = 64


@define
class EarlyReads:
    """Reads of sessions whose start is still on its way: readers overtake what else a host says."""

    _reads: OrderedDict[str, list[tuple[str, str, float]]] = field(init=False, factory=OrderedDict)

    def note(self, session: str, stored: str, key: str, at: float) -> None:
        """A session that is not known read a key at engine time `at`."""
        reads = self._reads.get(session)
        if reads is None:
            reads = self._reads[session] = []
            if len(self._reads) > EARLY_SESSIONS:
                self._reads.popitem(last=False)
        if len(reads) < EARLY_READS:
            reads.append((stored, key, at))

    def taken(self, session: str) -> list[tuple[str, str, float]]:
        """`(cache key, key, at)` of what a session that starts has read already."""
        return self._reads.pop(session, [])


DECAY_AFTER = 10
"""Counts are halved after this many notes for each key that a group may hold."""


@define
class _Group:
    counts: dict[str, int] = field(factory=dict)
    """Key -> uses, in the order of the last use."""
    notes: int = 0


@define
class Habits:
    """What the sessions of a project or user used, for prefilling later ones (decision D33).

    Counts are halved now and then, so that habits of long ago fade (the reset of TinyLFU, Einziger,
    Friedman and Manes 2017). A full group keeps the most used three quarters of its keys.
    """

    groups: int = 200
    """Groups remembered; past it the one that was noted longest ago is forgotten."""
    keys: int = 500
    """Keys remembered in each group."""
    _groups: OrderedDict[str, _Group] = field(init=False, factory=OrderedDict)

    def note(self, group: str, key: str) -> None:
        """A session of that group used `key` once."""
        known = self._groups.get(group)
        if known is None:
            known = self._groups[group] = _Group()
            if len(self._groups) > self.groups:
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        known.counts[key] = known.counts.pop(key, 0) + 1
        known.notes += 1
        if known.notes >= DECAY_AFTER * self.keys:
            known.counts = {k: n // 2 for k, n in known.counts.items() if n > 1}
            known.notes = 0
        if len(known.counts) > self.keys:
            self._prune(known)

    def _prune(self, group: _Group) -> None:
        """Forget the least used quarter; of equals those used longest ago.

        A quarter and not one key, so that a stream of new keys does not cost a sort for each.
        The newest key always stays: otherwise none could ever enter a group of well-used ones.
        """
        *earlier, newest = group.counts.items()
        ranked = sorted(enumerate(earlier), key=lambda row: (row[1][1], row[0]), reverse=True)
        kept = sorted(ranked[: max(0, self.keys * 3 // 4 - 1)])
        group.counts = dict([*(item for _, item in kept), newest])

    def top(self, group: str, count: int) -> tuple[str, ...]:
        """The `count` keys used most, most used first, equals by key."""
        known = self._groups.get(group)
        if known is None or count <= 0:
            return ()
        ranked = nsmallest(count, known.counts.items(), key=lambda item: (-item[1], item[0]))
        return tuple(key for key, _ in ranked)

    def __len__(self) -> int:
        return len(self._groups)
