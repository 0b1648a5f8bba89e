"""Whether a file is still what was loaded from it, told from its `stat` alone where that suffices.

Theory. A change of a file sets its `ctime` to the file system's clock, which moves in ticks (4 to
10 ms on Linux, 1 to 2 s where stamps have no part below the second). A second change within the
tick of the first leaves `ctime`, `mtime` and perhaps the size as they were: the "racy git" problem.
So a stamp proves something only once it is *settled*: when, at the moment the file was read, its
last change lay more than a tick in the past. Any change after that moment then gets another stamp.
Until then, content is compared with content, and afterwards it is stamped anew.

What no `stat` can show: writes through a memory mapping move the stamps when they first dirty a
page, and not again until the page has been written back. So a write to a page that is dirty
already changes content under a stamp that stays as it is. Who writes files in this way has to say
so: `FileChanged`, or `invalidate`. (`msync` and `munmap` with write-back move the stamps.)
"""

import os
from collections.abc import Hashable

from attrs import evolve, field

from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.values import frozen

FINE_TICK_NS = 30_000_000
"""Well above the tick of the kernels known (10 ms; 15.6 ms on Windows)."""
COARSE_TICK_NS = 2_100_000_000
"""Above FAT's 2 s, for stamps that have no part below the second."""
_SECOND_NS = 1_000_000_000


@frozen
class FileStamp:
    """Which state of a file content was read from. Two are equal when the `stat` fields are."""

    mtime_ns: int
    ctime_ns: int
    size: int
    """Bytes; -1 for a file that was not there."""
    inode: int
    device: int
    settled: bool = field(default=False, eq=False)
    """Whether every later change must show in the fields above."""
    path: str | None = field(default=None, eq=False, repr=False)
    """Where it was read, so that a check need not put the path together; None: not known."""


ABSENT = FileStamp(0, 0, -1, 0, 0)
"""The stamp of content that the host handed over while no file was there."""


def tick_ns(stat: os.stat_result) -> int:
    """The longest time, in nanoseconds, for which the file's stamps may stand still."""
    whole = stat.st_mtime_ns % _SECOND_NS == 0 or stat.st_ctime_ns % _SECOND_NS == 0
    return COARSE_TICK_NS if whole else FINE_TICK_NS


def stamp_of(stat: os.stat_result, read_at_ns: int) -> FileStamp:
    """The stamp of what was read from `read_at_ns` (wall clock) on.

    A stamp in the future never settles: the clock that wrote it is not the clock that reads it.
    """
    changed = max(stat.st_mtime_ns, stat.st_ctime_ns)
    return FileStamp(
        stat.st_mtime_ns,
        stat.st_ctime_ns,
        stat.st_size,
        stat.st_ino,
        stat.st_dev,
        settled=changed + tick_ns(stat) < read_at_ns,
    )


def unsettled(stat: os.stat_result) -> FileStamp:
    """A stamp that makes the next read compare content with content."""
    return evolve(stamp_of(stat, 0), settled=False)


def shows(stamp: FileStamp, stat: os.stat_result) -> bool:
    """Whether `stat` shows the state that `stamp` was taken of."""
    return (
        stat.st_mtime_ns == stamp.mtime_ns
        and stat.st_ctime_ns == stamp.ctime_ns
        and stat.st_size == stamp.size
        and stat.st_ino == stamp.inode
        and stat.st_dev == stamp.device
    )


def with_version(content: Content, version: Hashable) -> Content:
    """The same content under another version; keeps what the engine has set on it."""
    copy = evolve(content, version=version)
    if not content.key:
        return copy
    return copy.placed(
        key=content.key, source=content.source, loaded_at=content.loaded_at, layer=content.layer
    )
