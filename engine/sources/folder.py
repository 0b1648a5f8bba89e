"""One folder that files are read from, and out of which no name leads.

A name is resolved without trusting what the file system shows between two looks at it: every part
of the path is opened relative to the one before and without following links, so that what has been
opened lies inside the root by construction. Only where that meets a link is the path resolved
first, checked, and then walked in the same way.
"""

import errno
import os
import re
import stat as stat_module
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prefetch_scheduler.engine.sources.freshness import FileStamp, stamp_of
from prefetch_scheduler.policies.errors import ConfigError, ResourceUnavailable
from prefetch_scheduler.policies.values import frozen

_ODD = re.compile(r"\x00|(?:^|/)\.{0,2}(?:/|\Z)")
"""A NUL, or a part of a path that is empty, `.` or `..`."""
_RACES = 16
"""How often a path that changes between two looks at it is looked at anew."""
_READS = 6
_FIRST_PAUSE_S = 0.001
_CHUNK = 1 << 20
_SPARE = 4096
"""Bytes asked for past the expected end: none come, unless the file grew or had no size."""

# Of these, some systems have only a part. O_NONBLOCK: a FIFO put there meanwhile must not block.
_FLAGS = os.O_RDONLY
for _name in ("O_CLOEXEC", "O_NOCTTY", "O_BINARY", "O_NONBLOCK"):
    _FLAGS |= getattr(os, _name, 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
_CAN_WALK = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd and bool(_NOFOLLOW)
_KINDS = (
    (stat_module.S_ISDIR, "a folder"),
    (stat_module.S_ISFIFO, "a FIFO"),
    (stat_module.S_ISSOCK, "a socket"),
    (stat_module.S_ISCHR, "a character device"),
    (stat_module.S_ISBLK, "a block device"),
)


@frozen
class FileRead:
    """What one undisturbed reading of a file brought."""

    raw: bytes
    stamp: FileStamp


class RootFolder:
    """A root folder and the files below it.

    Args:
        root: an existing folder; symbolic links in its own path are resolved once, here.

    Raises:
        ConfigError: it is not a folder.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        if not isinstance(root, str | os.PathLike) or isinstance(os.fspath(root), bytes):
            raise ConfigError(f"root: expected a path, got {root!r}")
        given = os.path.abspath(root)
        self.path = os.path.realpath(given)
        if not os.path.isdir(self.path):
            raise ConfigError(f"root: {os.fspath(root)!r} is not a folder; give an existing one")
        self._roots = tuple({given: None, self.path: None})
        self.prefix = os.path.join(self.path, "")
        """What stands before a name in its path."""

    def __repr__(self) -> str:
        return f"RootFolder({self.path!r})"

    # ---- names ------------------------------------------------------------------------------

    def normalise(self, name: str) -> str:
        """The name as a POSIX path relative to the root, without `.`, `..` or empty parts.

        `..` is taken by the letter, as in a URL: `link/../a` is `a`.

        Raises:
            ValueError: the name leaves the root, is the root itself, or holds a NUL or a character
                that file names cannot hold.
        """
        try:
            os.fsencode(name)
        except UnicodeEncodeError:
            raise ValueError("it holds a character that no file name can hold here") from None
        if os.sep != "/":
            name = name.replace(os.sep, "/")
        if not _ODD.search(name) and not os.path.isabs(name):
            return name
        if "\x00" in name:
            raise ValueError("a file name cannot hold a NUL character")
        path = plain_path(self._below(name) if os.path.isabs(name) else name)
        if not path:
            raise ValueError("it is the root folder itself; name a file inside it")
        return path

    def _below(self, name: str) -> str:
        # POSIX lets two leading slashes stand for something else; no file system here does.
        path = os.path.normpath("/" + name.lstrip("/") if os.sep == "/" else name)
        for root in self._roots:
            if path == root or path.startswith(os.path.join(root, "")):
                return path[len(root) :].replace(os.sep, "/")
        raise ValueError("it leaves the root folder: an absolute path has to lie below the root")

    def stat(self, name: str) -> os.stat_result:
        """`os.stat` of a normalised name. Follows links wherever they lead: it reads nothing.

        Raises:
            OSError: there is no such file, or it cannot be looked at.
        """
        return os.stat(self.prefix + name)

    def real(self, name: str) -> str:
        """The path of the file that a normalised name stands for, links followed anywhere.

        Raises:
            ResourceUnavailable: it changes all the time.
        """
        for _ in range(_RACES):
            with suppress(OSError):  # a link was replaced, or removed, before it could be read
                return os.path.realpath(self.prefix + name)
        raise _restless(name)

    def resolved(self, name: str) -> str:
        """The name of the file that a normalised name stands for, links followed.

        Raises:
            ResourceUnavailable: a link leads out of the root, or it changes all the time.
        """
        real = self.real(name)
        if not real.startswith(self.prefix):
            raise ResourceUnavailable(
                f"{name!r} leads out of its root folder through a symbolic link; it is not read"
            )
        return real[len(self.prefix) :].replace(os.sep, "/")

    def listing(self, folder: str, limit: int) -> list[str]:
        """The first `limit` names, sorted, of regular files directly in a folder below the root."""
        try:
            with os.scandir(self.prefix + self.resolved(folder)) as entries:
                names = [entry.name for entry in entries if entry.is_file()]
        except (OSError, ResourceUnavailable):
            return []
        return sorted(names)[:limit]

    # ---- reading ----------------------------------------------------------------------------

    def read(self, name: str, *, limit: int, attempts: int = _READS) -> FileRead:
        """A file's bytes, all from one state of it; may wait some milliseconds for one.

        A file that is only ever appended to is given as it was when reading began.

        Raises:
            ResourceUnavailable: it is not there, is not a regular file, lies outside the root,
                holds more than `limit` bytes, may not be read, or changes all the time.
        """
        earlier: FileRead | None = None
        for attempt in range(attempts):
            if attempt:
                time.sleep(_FIRST_PAUSE_S * 2**attempt)
            with self._opened(name) as descriptor:
                begun_ns = time.time_ns()
                before = stamp_of(os.fstat(descriptor), begun_ns)
                if before.size > limit:
                    raise _too_large(name, f"{before.size}", limit)
                raw = _read_all(descriptor, before.size, limit)
                after = stamp_of(os.fstat(descriptor), begun_ns)
            if len(raw) > limit:
                raise _too_large(name, f"more than {limit}", limit)
            # A size of 0 says nothing in file systems like /proc, whose files are made when read.
            if before == after and len(raw) in (before.size, before.size or len(raw)):
                return FileRead(raw, before)
            if earlier is not None and earlier.raw and raw.startswith(earlier.raw):
                return earlier
            earlier = FileRead(raw[: before.size], before)
        raise ResourceUnavailable(f"{name!r} kept changing while it was read ({attempts} attempts)")

    def sample(self, name: str, size: int) -> bytes:
        """At most the first `size` bytes.

        Raises:
            ResourceUnavailable: as `read` does, but for the size.
        """
        with self._opened(name) as descriptor:
            return os.read(descriptor, size)

    @contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        try:
            descriptor = self._open(name)
        except OSError as error:
            where = f" in {self.path}" if _is_missing(error) else ""
            raise ResourceUnavailable(f"{name!r} cannot be read: {_why(error)}{where}") from error
        try:
            yield descriptor
        except OSError as error:
            raise ResourceUnavailable(f"{name!r} cannot be read: {_why(error)}") from error
        finally:
            os.close(descriptor)

    def _open(self, name: str) -> int:
        if not _CAN_WALK:
            return self._open_and_compare(name)
        path = name
        failed: OSError | None = None
        for _ in range(_RACES):
            try:
                return self._walk(path.split("/"))
            except OSError as error:
                # What a link looks like to O_NOFOLLOW; ENOTDIR may also be what it says. Where a
                # link led may be gone by now, as it is when another takes its place.
                links = error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)
                if not (links or (error.errno == errno.ENOENT and path != name)):
                    raise
                failed = error
            # The same path once more may be one that was replaced between two looks.
            path = self.resolved(name)
        raise failed or _restless(name)

    def _walk(self, parts: list[str]) -> int:
        folder = os.open(self.path, _FLAGS | _DIRECTORY)
        try:
            for part in parts[:-1]:
                inner = os.open(part, _FLAGS | _DIRECTORY | _NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = inner
            last = parts[-1]
            # Looked at before it is opened: opening a device may already do something to it.
            found = os.stat(last, dir_fd=folder, follow_symlinks=False)
            if stat_module.S_ISLNK(found.st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            _require_regular("/".join(parts), found)
            return _regular(os.open(last, _FLAGS | _NOFOLLOW, dir_fd=folder), "/".join(parts))
        finally:
            os.close(folder)

    def _open_and_compare(self, name: str) -> int:
        """For systems that cannot open relative to a folder: open, then see what was opened."""
        failed: OSError | None = None
        for _ in range(_RACES):
            path = self.prefix + self.resolved(name)
            try:
                _require_regular(name, os.stat(path))
                descriptor = _regular(os.open(path, _FLAGS), name)
            except FileNotFoundError as error:
                if path == self.prefix + name:
                    raise
                failed = error  # where a link led is gone, as when another takes its place
                continue
            try:
                if self.prefix + self.resolved(name) == path and os.path.samestat(
                    os.fstat(descriptor), os.stat(path)
                ):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        raise failed or _restless(name)


def plain_path(path: str) -> str:
    """A relative POSIX path without `.`, `..` and empty parts; empty for the root itself.

    Raises:
        ValueError: it leaves the root.
    """
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                raise ValueError(
                    "it leaves the root folder; names are relative to it, e.g. 'src/auth.py'"
                )
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _regular(descriptor: int, name: str) -> int:
    try:
        _require_regular(name, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(name: str, found: os.stat_result) -> None:
    if stat_module.S_ISREG(found.st_mode):
        return
    what = next((word for is_kind, word in _KINDS if is_kind(found.st_mode)), "not a regular file")
    raise ResourceUnavailable(f"{name!r} is {what}; only regular files are read")


def _read_all(descriptor: int, size: int, limit: int) -> bytes:
    """Everything up to the end, or a little more than `limit` bytes of it."""
    chunks: list[bytes] = []
    length = 0
    while length <= limit:
        chunk = os.read(descriptor, min(max(size - length, _SPARE), _CHUNK))
        if not chunk:
            break
        chunks.append(chunk)
        length += len(chunk)
    return b"".join(chunks)


def _restless(name: str) -> ResourceUnavailable:
    return ResourceUnavailable(f"{name!r}: its path kept changing while it was looked at")


def _too_large(name: str, size: str, limit: int) -> ResourceUnavailable:
    return ResourceUnavailable(
        f"{name!r} holds {size} bytes; at most {limit} are read (max_bytes of its source)"
    )


def _is_missing(error: OSError) -> bool:
    return error.errno in (errno.ENOENT, errno.ENOTDIR)


def _why(error: OSError) -> str:
    if _is_missing(error):
        return "there is no such file"
    return error.strerror or str(error)
