"""The file that sessions are recorded to: appended to, and set aside when it is full."""

import gzip
import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prefetch_scheduler.engine.recording_events import EndEvent
from prefetch_scheduler.engine.recording_format import MAX_LINE_BYTES, parse_event
from prefetch_scheduler.policies.errors import ConfigError

SUFFIXES = (".jsonl.gz", ".jsonl")


class RecordingFile:
    """`NAME.jsonl` or `NAME.jsonl.gz`; full ones are `NAME.1.jsonl` (the newest), `NAME.2.jsonl`…

    Whole sessions are written at once, so that each file can be read by itself.

    Args:
        path: where to record.
        max_bytes: a file that this much would not fit into is set aside first.
        kept: how many files there may be, the one that is written to among them.

    Raises:
        ConfigError: the name has another suffix.
    """

    def __init__(self, path: str | os.PathLike[str], max_bytes: int, kept: int) -> None:
        self.path = Path(path)
        name = self.path.name
        suffix = next((s for s in SUFFIXES if name.endswith(s) and name != s), None)
        if suffix is None:
            raise ConfigError(f"record: {name!r} does not end in {' or '.join(SUFFIXES)}")
        self._stem, self._suffix = name.removesuffix(suffix), suffix
        self._max_bytes = max_bytes
        self._kept = kept

    def check(self) -> None:
        """Make sure that it can be written to.

        Raises:
            ConfigError: it cannot; says why.
        """
        try:
            with self.path.open("ab"):
                pass
            if self._is_torn():
                self._set_aside()
        except OSError as error:
            why = error.strerror or error
            raise ConfigError(f"record: {self.path} cannot be written: {why}") from None

    def append(self, lines: Iterable[str]) -> None:
        """Write the lines of one whole session.

        Raises:
            OSError: they could not be written, or the full file not be set aside.
        """
        # A name that is not UTF-8 holds lone surrogates; within JSON their escapes mean the same.
        data = "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
        if self._suffix.endswith(".gz"):
            data = gzip.compress(data)
        size = self.path.stat().st_size if self.path.exists() else 0
        if size and size + len(data) > self._max_bytes:
            self._set_aside()
            size = 0
        try:
            with self.path.open("ab", buffering=0) as file:
                written = file.write(data)
                if written != len(data):
                    raise OSError(f"{written} of {len(data)} bytes written")
        except OSError:
            # A part of a session would make all that follows it unreadable.
            with suppress(OSError):
                os.truncate(self.path, size)
            raise

    def files(self) -> list[Path]:
        """All files that there are, the oldest first."""
        numbered = [self._numbered(number) for number in range(self._kept - 1, 0, -1)]
        return [path for path in (*numbered, self.path) if path.exists()]

    def _is_torn(self) -> bool:
        """Whether it does not end with the end of a session, after a crash or a full disk: nothing
        that followed would be read.
        """
        try:
            last = self._last_line()
            if last is None:
                return False
            return not (last.endswith(b"\n") and isinstance(parse_event(last.decode()), EndEvent))
        except (EOFError, gzip.BadGzipFile, zlib.error, ValueError):
            return True

    def _last_line(self) -> bytes | None:
        """None where there is no line. Of a compressed file all has to be read for it."""
        if self._suffix.endswith(".gz"):
            last = None
            with gzip.open(self.path, "rb") as lines:
                while line := lines.readline(MAX_LINE_BYTES):
                    last = line
            return last
        with self.path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_LINE_BYTES))
            tail = file.read().splitlines(keepends=True)
            return tail[-1] if tail else None

    def _set_aside(self) -> None:
        if self._kept == 1:
            self.path.unlink()
            return
        for number in range(self._kept - 1, 1, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        self.path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self._stem}.{number}{self._suffix}")
