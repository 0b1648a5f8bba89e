"""What readers in any thread see without a lock, a message or an await.

`PublishedView.entries` is a plain dict of immutable entries. Only the CacheLayer's thread changes
it; a lookup is one atomic dict access. Three small structures go with it, each safe by itself:

- the board of invalidations: a change is visible to every reader from the moment `note` returns,
  before the CacheLayer has seen the message;
- the log of reads: lossy, for recency and frequency only;
- tallies of hits and the log of first reads: exact.

`PublishedView.direct` is the short cut that most hits take: content that may be handed to whoever
names its key. A mark takes what it covers out of there before it stands, and the CacheLayer puts
nothing there that a mark covers; so readers of it need not look at the board.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any
from weakref import WeakSet

from prefetch_scheduler.policies.cache_events import FirstRead
from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.keys import PARTITION, exactly, matches, public_key

READ_LOG_BOUND = 1024
"""Reads kept for the CacheLayer; past them the oldest are forgotten. To take in as many holds it
up for about a millisecond.
"""


class InvalidationBoard:
    """Changes that not everyone has taken note of yet.

    A mark stands from `note` until the CacheLayer has dropped what it covers *and* the planner
    has marked the loads it overtakes. An entry is stale where a mark newer than the entry's own
    epoch covers it. The lock orders marks among host threads; no reader takes it.

    Args:
        hide: called with each pattern, under the lock that its mark is set under.
    """

    def __init__(self, hide: Callable[[str], None] = lambda _: None) -> None:
        self.lock = threading.Lock()
        self._hide = hide
        self._last = 0
        self.standing = False
        """Whether there is any mark."""
        self._prefixes: dict[int, str] = {}
        self._keys: dict[str, int] = {}

    def note(self, pattern: str) -> int:
        """Mark a key, or a prefix ending in `*`; returns the mark's epoch."""
        with self.lock:
            self._last += 1
            if pattern.endswith("*"):
                self._prefixes = {**self._prefixes, self._last: pattern}
            else:
                self._keys[public_key(pattern)] = self._last
            self.standing = True
            self._hide(pattern)
            return self._last

    def discard(self, epoch: int, pattern: str) -> None:
        """Everybody has taken note of this mark. A newer mark of the same key stays."""
        with self.lock:
            if pattern.endswith("*"):
                self._prefixes = {e: p for e, p in self._prefixes.items() if e != epoch}
            elif self._keys.get(public_key(pattern)) == epoch:
                del self._keys[public_key(pattern)]
            self.standing = bool(self._keys or self._prefixes)

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
        with self.lock:
            keys = [(epoch, exactly(key)) for key, epoch in self._keys.items()]
            return sorted([*keys, *self._prefixes.items()])

    def __len__(self) -> int:
        return len(self._keys) + len(self._prefixes)


class Tally:
    """An exact count that many threads add to without a lock.

    To take a number from `hits` is one call into C, which the interpreter does not interrupt: no
    two threads get the same. Whoever takes the count takes a number too, and leaves it out.
    """

    __slots__ = ("__weakref__", "_next", "_owners", "hits")

    def __init__(self) -> None:
        self.hits = count(1)
        """`next(hits)` counts one."""
        self._next = 1
        self._owners: WeakSet[Any] = WeakSet()

    def take(self) -> int:
        """What was counted since the last take. One thread at a time."""
        number = next(self.hits)
        fresh, self._next = number - self._next, number + 1
        return fresh

    def belongs_to(self, owner: object) -> None:
        """As long as `owner` lives it may add to this count."""
        self._owners.add(owner)

    @property
    def owned(self) -> bool:
        """Whether anybody may still add to it who holds on to it."""
        return bool(self._owners)


class PublishedView:
    """The entries that readers see, and what they note down.

    Args:
        unchecked: the sources whose content is served without asking them; -1 stands for what
            the host handed over and no source serves.
    """

    def __init__(self, unchecked: Iterable[int] = ()) -> None:
        self.entries: dict[str, Entry] = {}
        self.direct: dict[str, Content] = {}
        """Content that whoever names its key may have at once, and that no mark on the board
        covers. Only a shortcut: what is not here is looked for in `entries`.
        """
        self.guarded: dict[str, Entry] = {}
        """As `direct`, where the source has to confirm the content at each read."""
        self.board = InvalidationBoard(self._hide)
        self.reads: deque[tuple[str, str]] = deque(maxlen=READ_LOG_BOUND)
        """(cache key, session) of reads, oldest first."""
        self.first_reads: deque[FirstRead] = deque()
        """Bounded by the number of prefetched entries that were resident since the last drain."""
        self.tallies: dict[str, Tally] = {}
        """Hits for each session."""
        self._unchecked = frozenset(unchecked)
        self._writer: object = None
        self.closed = False
        """Whether readers may take nothing without asking whether the engine runs."""

    # ---- for the CacheLayer ----------------------------------------------------------------

    def taken_over(self, writer: object) -> dict[str, Entry]:
        """The entries for a new writer: a copy, so that an old one writes where nobody reads."""
        with self.board.lock:
            self._writer = writer
            self.entries = dict(self.entries)
            self.direct, self.guarded = {}, {}
        return self.entries

    def publish(self, entry: Entry, writer: object) -> None:
        """Serve an entry that `entries` holds by its key alone, where that is allowed."""
        stored, content = entry.stored, entry.content
        if content.max_age_s is not None or entry.first_read or PARTITION in stored:
            self.withdraw(stored, writer)
            return
        unchecked = entry.source_id in self._unchecked
        # Under the lock no mark can come between the look at the board and the write.
        with self.board.lock:
            if self._writer is not writer or self.closed:
                return
            covered = self.board.standing and entry.epoch < self.board.newest(stored)
            if covered:
                self.withdraw(stored, writer)
            elif unchecked:
                self.guarded.pop(stored, None)
                self.direct[stored] = content
            else:
                self.direct.pop(stored, None)
                self.guarded[stored] = entry

    def holds(self, stored: str) -> bool:
        """Whether it is served by its key alone."""
        return stored in self.direct or stored in self.guarded

    def withdraw(self, stored: str, writer: object) -> None:
        """What `entries` no longer holds is not served by its key alone either."""
        if self._writer is writer:
            self.direct.pop(stored, None)
            self.guarded.pop(stored, None)

    # ---- for readers and hosts --------------------------------------------------------------

    def close(self) -> None:
        """The engine does not run any more: nothing is served by its key alone."""
        with self.board.lock:
            self.closed = True
            self.direct, self.guarded = {}, {}

    def _hide(self, pattern: str) -> None:
        """Called with the board's lock, before a mark's number is given out."""
        if pattern.endswith("*"):
            self.direct, self.guarded = {}, {}  # they fill again as entries are read
        else:
            self.direct.pop(public_key(pattern), None)
            self.guarded.pop(public_key(pattern), None)

    def tally(self, session: str) -> Tally:
        """The session's count of hits, made when first asked for."""
        found = self.tallies.get(session)
        return found if found is not None else self.tallies.setdefault(session, Tally())

    def note_hit(self, entry: Entry, session: str, at: float, tally: Tally | None = None) -> None:
        """Count a hit and note the read. The CacheLayer takes the notes in from time to time, and
        before what it does next: to be asked by busy readers would only take time from them.
        """
        tally = tally if tally is not None else self.tally(session)
        self.reads.append((entry.stored, session))
        if entry.first_read:
            self.take_first_read(entry, session, at)
        next(tally.hits)

    def take_first_read(self, entry: Entry, session: str, at: float) -> None:
        """Of all readers of a prefetched entry exactly one gets to note its first read."""
        if entry.claim():
            self.first_reads.append(FirstRead(entry.prefetch_id, entry.stored, session, at))
