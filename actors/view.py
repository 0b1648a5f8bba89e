"""What readers in any thread see without a lock, a message or an await.

`PublishedView.entries` is a plain dict of immutable entries. Only the CacheLayer's thread changes
it; a lookup is one atomic dict access. Three small structures go with it, each safe by itself:

- the board of invalidations: a change is visible to every reader from the moment `note` returns,
  before the CacheLayer has seen the message;
- the log of reads: lossy, for recency and frequency only;
- tallies of hits and the log of first reads: exact.
"""

import threading
from collections import deque

from prefetch_scheduler.policies.cache_events import FirstRead
from prefetch_scheduler.policies.content import Entry
from prefetch_scheduler.policies.keys import exactly, matches, public_key

READ_LOG_BOUND = 4096
"""Reads kept for the CacheLayer; past them the oldest are forgotten."""

DRAIN_AT = 512
"""Noted reads at which the reader asks the CacheLayer to take them in."""


class InvalidationBoard:
    """Changes that not everyone has taken note of yet.

    A mark stands from `note` until the CacheLayer has dropped what it covers *and* the planner
    has marked the loads it overtakes. An entry is stale where a mark newer than the entry's own
    epoch covers it. The lock orders marks among host threads; no reader takes it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._prefixes: dict[int, str] = {}
        self._keys: dict[str, int] = {}

    def note(self, pattern: str) -> int:
        """Mark a key, or a prefix ending in `*`; returns the mark's epoch."""
        with self._lock:
            self._last += 1
            if pattern.endswith("*"):
                self._prefixes = {**self._prefixes, self._last: pattern}
            else:
                self._keys[public_key(pattern)] = self._last
            return self._last

    def discard(self, epoch: int, pattern: str) -> None:
        """Everybody has taken note of this mark. A newer mark of the same key stays."""
        with self._lock:
            if pattern.endswith("*"):
                self._prefixes = {e: p for e, p in self._prefixes.items() if e != epoch}
            elif self._keys.get(public_key(pattern)) == epoch:
                del self._keys[public_key(pattern)]

    def newest(self, stored: str) -> int:
        """Epoch of the newest mark that covers a cache key; 0 where none does.

        A reader looks here *before* it fetches the entry: a mark that is gone by then was taken
        away only after what it covers was, so an older entry cannot be fetched any more.
        """
        newest = self._keys.get(public_key(stored), 0) if self._keys else 0
        prefixes = self._prefixes  # replaced whole, so safe to walk
        if prefixes:
            covering = (e for e, p in prefixes.items() if matches(p, stored))
            newest = max(newest, max(covering, default=0))
        return newest

    def marks(self) -> list[tuple[int, str]]:
        """`(epoch, pattern)` of every mark, oldest first."""
        with self._lock:
            keys = [(epoch, exactly(key)) for key, epoch in self._keys.items()]
            return sorted([*keys, *self._prefixes.items()])

    def __len__(self) -> int:
        return len(self._keys) + len(self._prefixes)


class Tally:
    """An exact count that many threads add to without a lock: a cell for each thread."""

    def __init__(self) -> None:
        self._cells: dict[int, list[int]] = {}
        self._taken = 0

    def add(self) -> None:
        """Count one. Only a thread itself writes its cell; a later thread of the same
        identifier goes on with it, when the first is dead.
        """
        ident = threading.get_ident()
        try:
            self._cells[ident][0] += 1
        except KeyError:
            self._cells[ident] = [1]

    def take(self) -> int:
        """What was counted since the last take. One thread at a time."""
        total = sum(cell[0] for cell in list(self._cells.values()))
        fresh, self._taken = total - self._taken, total
        return fresh


class PublishedView:
    """The entries that readers see, and what they note down."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.board = InvalidationBoard()
        self.reads: deque[tuple[str, str]] = deque(maxlen=READ_LOG_BOUND)
        """(cache key, session) of reads, oldest first."""
        self.first_reads: deque[FirstRead] = deque()
        """Bounded by the number of prefetched entries that were resident since the last drain."""
        self.tallies: dict[str, Tally] = {}
        """Hits for each session."""

    def tally(self, session: str) -> Tally:
        """The session's count of hits, made when first asked for."""
        found = self.tallies.get(session)
        return found if found is not None else self.tallies.setdefault(session, Tally())

    def note_hit(self, entry: Entry, session: str, at: float) -> bool:
        """Count a hit and note the read; True when the CacheLayer should take the notes in."""
        tally = self.tallies.get(session)
        (tally if tally is not None else self.tally(session)).add()
        self.reads.append((entry.stored, session))
        if entry.first_read:
            self.take_first_read(entry, session, at)
        return len(self.reads) == DRAIN_AT

    def take_first_read(self, entry: Entry, session: str, at: float) -> None:
        """Of all readers of a prefetched entry exactly one gets to note its first read."""
        try:
            entry.first_read.pop()
        except IndexError:
            return
        self.first_reads.append(FirstRead(entry.prefetch_id, entry.stored, session, at))
