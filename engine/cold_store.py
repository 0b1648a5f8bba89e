"""A cold layer that lasts: what is resident is mirrored in a file, and comes back after a restart.

The CacheLayer tells what is resident; that only fills a bounded table of what is to be written. One
thread of the store's own writes it, a batch at a time, and does all else that touches the disk;
only the engine's start waits for it, until the file is open.

What is kept, and what comes back:

- only what can be checked after a restart: content that its source judges at each read (`verify`,
  `version`), or content with a `max_age_s`. The former comes back always, since each read checks it
  as ever. The latter comes back by the wall clock, and only where the last engine ended in good
  order: otherwise something may have changed whose removal did not reach the file;
- nothing that its source excludes from prefetching (secrets), and nothing of a private source;
- nothing of a source that is not there any more, or is another one by its class, root or function.

Whatever is wrong with the file, the engine goes on with its memory alone and says so once.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Hashable
from enum import StrEnum, auto

from prefetch_scheduler.actors.ports import Clock
from prefetch_scheduler.engine.cold_file import ColdFile, ColdUnusable
from prefetch_scheduler.engine.cold_record import Damaged, Record, Unkeepable, decode, encode
from prefetch_scheduler.engine.follower_thread import FollowerThread
from prefetch_scheduler.engine.sources.registry import SourceRegistry
from prefetch_scheduler.policies.cache_events import Restore
from prefetch_scheduler.policies.content import Entry
from prefetch_scheduler.policies.keys import PARTITION, kind_of
from prefetch_scheduler.policies.metrics_events import Dropped, MetricsEvent
from prefetch_scheduler.policies.values import frozen

logger = logging.getLogger("prefetch_scheduler.cold")

GATHER_S = 0.05
"""Real seconds for which changes are gathered before they are written together."""
OPEN_S = 5.0
"""Real seconds for which the engine's start waits for the file."""
CHECK_S = 10.0
"""Real seconds after which it is looked whether the file is still there, though nothing is to be
written.
"""
MAX_PENDING = 4096
"""Entries that may wait to be written."""
MAX_PENDING_BYTES = 64 << 20
CHUNK = 64
"""Entries that are brought back in one message."""


class ColdState(StrEnum):
    """Where a store is."""

    STARTING = auto()
    RUNNING = auto()
    OFF = auto()  # stopped, or given up: the cache is in memory alone


@frozen
class _Seen:
    """Which content of a key was seen last: an entry that only moves is not written again."""

    entry: Entry
    version: Hashable


class ColdStore(FollowerThread):
    """Follows the CacheLayer (`actors.ports.Follower`), from any one thread at a time.

    Args:
        path: the file.
        items, size: most entries and bytes in it.
        registry: the sources, which say what may be kept and whether it still holds.
        restore: sends `Restore` messages to the CacheLayer; False: not taken.
        count: counts an event; must not block.
        name: of its thread.
    """

    def __init__(
        self,
        path: str,
        *,
        items: int,
        size: int,
        registry: SourceRegistry,
        clock: Clock,
        restore: Callable[[Restore], bool],
        count: Callable[[MetricsEvent], object],
        name: str,
    ) -> None:
        super().__init__(name)
        self.path = path
        self.reason: str | None = None
        """Why it was given up; None: it was not."""
        self._items = items
        self._size = size
        self._registry = registry
        self._clock = clock
        self._restore = restore
        self._count = count
        self._lock = threading.Lock()
        self._pending: dict[str, Entry | None] = {}
        self._pending_bytes = 0
        self._wipe = False
        self._dropped = 0
        self._seen: dict[str, _Seen] = {}
        self._whole = False
        """All that was in the file has been brought back or removed: what it holds, and nothing
        else, is resident, so that every change of it is told."""
        self._state = ColdState.STARTING
        self._opened = threading.Event()
        """The file is marked as in use, or cannot be used."""
        self._too_late = False

    @property
    def state(self) -> ColdState:
        return self._state

    def start(self) -> None:
        """Start its thread, and wait until the file is marked as in use: a change that is told
        after that, and does not reach the file because the engine is killed, is known to be
        missing. A file that takes longer than `OPEN_S` to open is done without.
        """
        super().start()
        self._too_late = not self._opened.wait(OPEN_S)

    # ---- what the CacheLayer tells --------------------------------------------------------------

    def resident(self, entry: Entry) -> None:
        if self._state is ColdState.OFF:
            return
        stored = entry.stored
        seen = self._seen.get(stored)
        if seen is not None and seen.entry is entry:
            if seen.version is entry.content.version:
                return
        elif not self._keepable(entry):
            if seen is not None:
                self.gone(stored)
            return
        self._seen[stored] = _Seen(entry, entry.content.version)
        with self._lock:
            self._forget_pending(stored)
            full = len(self._pending) >= MAX_PENDING or (
                self._pending_bytes + entry.content.size > MAX_PENDING_BYTES
            )
            if full:
                self._dropped += 1
                self._remove(stored)  # what is there is older
            else:
                self._pending[stored] = entry
                self._pending_bytes += entry.content.size
        self._work.set()

    def gone(self, stored: str) -> None:
        if self._state is ColdState.OFF:
            return
        self._seen.pop(stored, None)
        with self._lock:
            self._forget_pending(stored)
            self._remove(stored)
        self._work.set()

    def _remove(self, stored: str) -> None:
        if len(self._pending) < 2 * MAX_PENDING:
            self._pending[stored] = None
            return
        # A removal is never lost: rather is everything removed.
        self._wipe = True
        self._pending.clear()
        self._pending_bytes = 0
        self._seen.clear()

    def _forget_pending(self, stored: str) -> None:
        pending = self._pending.pop(stored, None)
        if pending is not None:
            self._pending_bytes -= pending.content.size

    def _keepable(self, entry: Entry) -> bool:
        """What can be told at once; the rest is looked at before it is written."""
        if entry.source_id < 0 or PARTITION in entry.stored:
            return False
        info = self._registry.table.infos[entry.source_id]
        content = entry.content
        judged = self._registry.judges(entry.source_id, content)
        return not info.private and (judged or content.max_age_s is not None)

    # ---- its thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        file: ColdFile | None = None  # never an attribute: a forked child must not come by it
        try:
            file = ColdFile(self.path, items=self._items, size=self._size)
            self._opened.set()
            if self._too_late:
                raise ColdUnusable(f"it took more than {OPEN_S:g} s to open")
            if file.set_aside is not None:
                logger.warning(
                    "cold store %s: it was damaged, or of another version, and begins anew;"
                    " the old file is now %s",
                    self.path,
                    file.set_aside,
                )
            self._bring_back(file)
            self._state = ColdState.RUNNING
            while not self._ending.is_set():
                self._work.wait(CHECK_S)
                self._ending.wait(GATHER_S)
                self._write(file)
            self._write(file)
        except ColdUnusable as error:
            self._give_up(str(error))
        except sqlite3.Error as error:
            self._give_up(_set_aside(file, error))
            file = None
        except BaseException as error:
            logger.exception("cold store %s failed", self.path)
            self._give_up(repr(error))
        finally:
            self._state = ColdState.OFF
            self._opened.set()
            if not self._whole:
                self._restore(Restore((), last=True))
            with self._lock:
                self._pending.clear()
            if file is not None:
                self._close(file)

    def _give_up(self, why: str) -> None:
        self.reason = why
        logger.warning(
            "cold store %s: %s. The cache is kept in memory alone: reads are right as ever, and"
            " nothing of it outlives this run",
            self.path,
            why,
        )

    def _close(self, file: ColdFile) -> None:
        try:
            file.close(clean=self._whole and self.reason is None)
        except sqlite3.Error as error:
            logger.warning("cold store %s could not be closed: %s", self.path, error)

    # ---- bringing back --------------------------------------------------------------------------

    def _bring_back(self, file: ColdFile) -> None:
        useless: dict[str, bytes | None] = {}
        chunk: list[Entry] = []
        for stored, data in file.rows():
            if self._ending.is_set():
                return
            entry = self._returning(stored, data, clean=file.clean)
            if entry is None:
                useless[stored] = None
                continue
            chunk.append(entry)
            if len(chunk) == CHUNK:
                self._send(chunk, useless)
                chunk = []
        self._send(chunk, useless, last=True)
        if useless:
            file.write(useless)
        self._whole = True

    def _send(
        self, chunk: list[Entry], useless: dict[str, bytes | None], *, last: bool = False
    ) -> None:
        if not self._restore(Restore(tuple(chunk), last=last)):
            useless.update(dict.fromkeys((entry.stored for entry in chunk), None))

    def _returning(self, stored: str, data: bytes, *, clean: bool) -> Entry | None:
        """The entry to bring back; None where it cannot be trusted to the checks of a read."""
        try:
            record = decode(stored, data)
        except Damaged as error:
            logger.warning("cold store %s: an entry is left out: %s", self.path, error)
            return None
        source_id = self._registry.by_origin(kind_of(stored), record.origin)
        if source_id is None or self._registry.table.is_private(kind_of(stored)):
            return None
        age = self._age(record, source_id, clean=clean)
        if age is None:
            return None
        name = self._registry.table.infos[source_id].name
        return record.entry(stored, source_id, name, now=self._clock.now(), age=age)

    def _age(self, record: Record, source_id: int, *, clean: bool) -> float | None:
        """Seconds since it was loaded; None where it must not be served any more."""
        age = self._clock.wall() - record.loaded_at
        limit = record.content.max_age_s
        judged = self._registry.judges(source_id, record.content)
        if limit is None:
            return max(age, 0.0) if judged else None
        if not 0 <= age <= limit:  # below 0: the wall clock was set back, and says nothing
            return None
        return age if judged or clean else None

    # ---- writing --------------------------------------------------------------------------------

    def _write(self, file: ColdFile) -> None:
        file.check()
        self._work.clear()
        with self._lock:
            pending, self._pending, self._pending_bytes = self._pending, {}, 0
            wipe, self._wipe = self._wipe, False
            dropped, self._dropped = self._dropped, 0
        if dropped:
            self._count(Dropped("cold_write", dropped))
        if pending or wipe:
            changes = {stored: self._record(entry) for stored, entry in pending.items()}
            file.write(changes, wipe=wipe)

    def _record(self, entry: Entry | None) -> bytes | None:
        """The bytes to keep of an entry; None: nothing of it is to be kept."""
        if entry is None or entry.content.loaded_at is None:
            return None
        name = entry.stored.partition(":")[2]
        source_id = entry.source_id
        # Looked at on both sides of the check that this is what the name stands for now: a link
        # may be turned from a secret to something else at any time.
        if self._registry.excluded(source_id, name) is not None:
            return None
        if self._registry.fresh(source_id, name, entry.content) is None:
            return None
        if self._registry.excluded(source_id, name) is not None:
            return None
        try:
            return encode(entry, self._registry.origin(source_id))
        except Unkeepable as error:
            logger.debug("cold store: %s is not kept: %s", entry.stored, error)
            return None


def _set_aside(file: ColdFile | None, error: sqlite3.Error) -> str:
    """Close a file that failed, damaged or not; returns what to say of it."""
    if file is None:
        return str(error)
    try:
        before = file.set_aside
        file.give_up(error)
    except ColdUnusable as worse:
        return f"{error}; {worse}"
    return str(error) if file.set_aside == before else f"{error}; it is now {file.set_aside}"


def cold_path(path: str) -> str:
    """A configured path as it is used: absolute, `~` being the user's home folder."""
    return os.path.abspath(os.path.expanduser(path))
