"""The SQLite file of a cold store: opened with care, written in batches, bounded, never trusted.

One engine uses it at a time: it takes the exclusive lock for as long as it runs, so that nobody
else can bring back what this engine knows to have changed. A file that is damaged is set aside
under another name; one that belongs to another program is not touched.

`clean` in the file says whether the engine that used it last ended in good order. Where it did not,
its last removals may not have reached the file.
"""

import os
import sqlite3
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress

SCHEMA = 1
"""Raised with every change of the tables or of a record's form; other files are set aside."""
APPLICATION_ID = 0x50465343
"""Marks the file as one of ours, in SQLite's header."""

_LOCK_WAIT_S = 1.0
_HEADER = 100
_SQLITE = b"SQLite format 3\x00"
_ERRORS = "surrogatepass"

_in_use: set[tuple[int, int]] = set()
_using = threading.Lock()
"""Of this process. Closing any descriptor of a file ends all locks that a process holds on it, so a
second engine must not as much as look into the file of the first."""


class ColdUnusable(Exception):
    """The file cannot be used; the message says why and what to do."""


class ColdFile:
    """An open file. All calls come from the thread that opened it.

    Args:
        path: where it is, or is to be made, readable and writable by its owner alone.
        items: most entries.
        size: most bytes of all entries together.

    Raises:
        ColdUnusable: it belongs to another program, is in use, or cannot be read or written.
    """

    def __init__(self, path: str, *, items: int, size: int) -> None:
        self.path = path
        self.set_aside: str | None = None
        """Under which name a damaged file that was found lies now; None: none was found."""
        self.clean = True
        """Whether whoever used it last ended in good order."""
        self._items = items
        self._size = size
        self._sizes: OrderedDict[str, int] = OrderedDict()
        """Bytes of each entry, the one written longest ago first."""
        self._total = 0
        self._last = 0
        self._identity = self._claim()
        try:
            self._db = self._open_or_replace()
        except BaseException:
            self._release()
            raise

    # ---- opening ----------------------------------------------------------------------------

    def _claim(self) -> tuple[int, int]:
        """Make the file where there is none; no other engine of this process may use it."""
        try:
            os.makedirs(os.path.dirname(self.path) or ".", mode=0o700, exist_ok=True)
            try:
                found = os.lstat(self.path)
            except FileNotFoundError:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
                os.close(os.open(self.path, flags, 0o600))
                found = os.lstat(self.path)
        except (OSError, ValueError) as error:
            raise ColdUnusable(f"it cannot be made: {error}") from error
        if not stat.S_ISREG(found.st_mode):
            raise ColdUnusable("it is not a regular file; name another one in cache.cold_path")
        identity = (found.st_dev, found.st_ino)
        with _using:
            if identity in _in_use:
                raise ColdUnusable("another engine of this process uses it; give each its own")
            _in_use.add(identity)
        return identity

    def _release(self) -> None:
        with _using:
            _in_use.discard(self._identity)

    def _open_or_replace(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise ColdUnusable(_why(error)) from error
        except _Outdated:
            pass
        self._put_aside()
        try:
            return self._open()
        except (sqlite3.Error, _Outdated) as error:
            raise ColdUnusable(f"it cannot be made anew: {error}") from error

    def _open(self) -> sqlite3.Connection:
        self._look()
        db = sqlite3.connect(self.path, timeout=_LOCK_WAIT_S, isolation_level=None)
        try:
            os.chmod(self.path, 0o600)
            self._prepare(db)
        except OSError as error:
            db.close()
            raise ColdUnusable(f"it cannot be made private to its owner: {error}") from error
        except BaseException:
            db.close()
            raise
        return db

    def _look(self) -> None:
        """Whether it may be opened at all, from its first bytes."""
        try:
            with open(self.path, "rb") as file:
                head = file.read(_HEADER)
        except OSError as error:
            raise ColdUnusable(f"it cannot be read: {error}") from error
        if not head:
            return
        if not head.startswith(_SQLITE) or len(head) < _HEADER:
            raise sqlite3.DatabaseError("file is not a database")
        if int.from_bytes(head[68:72], "big") != APPLICATION_ID:
            raise ColdUnusable(
                "it is a database of another program; name another file in cache.cold_path"
            )

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("PRAGMA trusted_schema=OFF")
        schema = db.execute("PRAGMA user_version").fetchone()[0]
        if schema not in (0, SCHEMA):
            raise _Outdated
        if not schema:
            db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA journal_size_limit=4194304")
        found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(f"database disk image is malformed: {found}")
        db.execute("BEGIN EXCLUSIVE")
        if not schema:
            db.execute(
                "CREATE TABLE entries (stored BLOB PRIMARY KEY, seq INTEGER NOT NULL,"
                " record BLOB NOT NULL) WITHOUT ROWID"
            )
            db.execute("CREATE UNIQUE INDEX by_age ON entries (seq)")
            db.execute("CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL)")
            db.execute("INSERT INTO state VALUES ('clean', 1)")
            db.execute(f"PRAGMA user_version={SCHEMA}")
        self.clean = bool(db.execute("SELECT value FROM state WHERE name='clean'").fetchone()[0])
        db.execute("UPDATE state SET value=0 WHERE name='clean'")
        db.execute("COMMIT")
        rows = db.execute("SELECT stored, seq, length(record) FROM entries ORDER BY seq")
        self._sizes.clear()
        self._total = self._last = 0
        for stored, seq, length in rows:
            self._sizes[_text(stored)] = length
            self._total += length
            self._last = seq

    def _put_aside(self) -> None:
        """Keep a damaged file, and what belongs to it, under another name."""
        aside = f"{self.path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        try:
            for suffix in ("", "-wal", "-shm", "-journal"):
                if os.path.lexists(self.path + suffix):
                    os.rename(self.path + suffix, aside + suffix)
            self._release()
            self._identity = self._claim()
        except OSError as error:
            raise ColdUnusable(f"it is damaged and cannot be set aside: {error}") from error
        self.set_aside = aside

    # ---- reading and writing -----------------------------------------------------------------

    def rows(self) -> Iterator[tuple[str, bytes]]:
        """`(cache key, record)` of every entry, the one written longest ago first.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        for stored, record in self._db.execute("SELECT stored, record FROM entries ORDER BY seq"):
            yield _text(stored), record

    def check(self) -> None:
        """Look whether it is still there; costs one `stat`.

        Raises:
            ColdUnusable: what is written would be lost: its name stands for another file by now,
                or for none.
        """
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            raise ColdUnusable("it was deleted while it was in use") from None
        except OSError as error:
            raise ColdUnusable(f"it cannot be found any more: {error}") from error
        if (found.st_dev, found.st_ino) != self._identity:
            raise ColdUnusable("another file was put in its place while it was in use")

    def write(self, changes: Mapping[str, bytes | None], *, wipe: bool = False) -> None:
        """Carry out changes at once or not at all: a record, or None to remove the entry.

        Args:
            wipe: remove all entries first.

        Raises:
            sqlite3.Error: it cannot be written; nothing of the changes was.
        """
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            if wipe:
                db.execute("DELETE FROM entries")
                self._sizes.clear()
                self._total = 0
            for stored, record in changes.items():
                self._total -= self._sizes.pop(stored, 0)
                if record is None or len(record) > self._size:
                    db.execute("DELETE FROM entries WHERE stored=?", (_bytes(stored),))
                    continue
                self._last += 1
                row = (_bytes(stored), self._last, record)
                db.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", row)
                self._sizes[stored] = len(record)
                self._total += len(record)
            self._prune()
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _prune(self) -> None:
        """Remove what was written longest ago, down to the bounds."""
        while self._sizes and (len(self._sizes) > self._items or self._total > self._size):
            stored, length = self._sizes.popitem(last=False)
            self._total -= length
            self._db.execute("DELETE FROM entries WHERE stored=?", (_bytes(stored),))

    def close(self, *, clean: bool) -> None:
        """End its use. `clean`: all that was to be removed has been.

        Raises:
            sqlite3.Error: it could not be marked as ended in good order, and is not.
        """
        try:
            if clean:
                self._db.execute("UPDATE state SET value=1 WHERE name='clean'")
        finally:
            self._db.close()
            self._release()

    def give_up(self, error: sqlite3.Error) -> None:
        """End its use because of an error; where it turned out to be damaged, set it aside."""
        with suppress(sqlite3.Error):  # what matters is the error that came first
            self._db.close()
        try:
            if _is_damage(error):
                self._put_aside()
        finally:
            self._release()


class _Outdated(Exception):
    """It was written by another version of this library."""


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    # Ours, or a table that is not there although the header says so.
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.OperationalError
    )


def _why(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "it is in use by another process; give each engine a file of its own"
    return str(error)


def _bytes(stored: str) -> bytes:
    return stored.encode("utf-8", _ERRORS)


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", _ERRORS)
