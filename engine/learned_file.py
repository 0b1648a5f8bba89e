"""The file in which an engine keeps what it has learned: JSON with a version, of figures alone.

It is written beside the cold store's file and by the engine that has that one, as a whole: readers
see the old or the new one. What cannot be read is renamed, never overwritten.
"""

import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

logger = logging.getLogger("prefetch_scheduler.learned")

FORMAT = "prefetch-scheduler learned"
VERSION = 2
"""Raised with every change of the form; files of other versions are set aside."""
MOST_BYTES = 16 << 20
SUFFIX = ".learned.json"


class Unreadable(Exception):
    """The file is damaged, or none of ours, or of another version; the message says which."""


def fingerprint(kind: str, origin: str) -> str:
    """A name for a source that tells nothing of it, the same in every run."""
    return hashlib.sha256(f"{kind}\n{origin}".encode("utf-8", "surrogatepass")).hexdigest()[:20]


def read(path: str) -> dict[str, Any] | None:
    """What the file holds; None: there is none.

    Raises:
        Unreadable: it is not to be trusted.
        OSError: it cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable("it is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MOST_BYTES:
        raise Unreadable(f"it is longer than {MOST_BYTES:,} bytes")
    try:
        document = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is no JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise Unreadable(f"its format is not {FORMAT!r}")
    if document.get("version") != VERSION:
        raise Unreadable(f"its version is {document.get('version')!r:.20}, not {VERSION}")
    learned = document.get("learned")
    if not isinstance(learned, dict) or not isinstance(learned.get("sources"), dict):
        raise Unreadable("it holds no figures of sources")
    return learned


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no number")


def write(path: str, learned: Mapping[str, Any]) -> None:
    """Put it in the file's place as a whole, readable and writable by its owner alone.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    document = {"format": FORMAT, "version": VERSION, "learned": learned}
    data = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    fresh = f"{path}.new"
    with suppress(FileNotFoundError):
        os.unlink(fresh)  # of an engine that was killed while it wrote
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    try:
        with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(fresh)
        raise


def set_aside(path: str) -> str:
    """Rename a file that cannot be used; returns its new name.

    Raises:
        OSError: it cannot be renamed.
    """
    stem = f"{path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    aside, number = stem, 1
    while os.path.lexists(aside):
        number += 1
        aside = f"{stem}-{number}"
    os.rename(path, aside)
    return aside
