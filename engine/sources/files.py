"""Files below a root folder."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from attrs import evolve

from prefetch_scheduler.engine.sources.exclusions import DEFAULT_EXCLUDES
from prefetch_scheduler.engine.sources.file_backed import MAX_BYTES, MAX_PREFETCH_BYTES, FileBacked
from prefetch_scheduler.engine.sources.folder import FileRead
from prefetch_scheduler.engine.sources.text import decode
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import ConfigError
from prefetch_scheduler.policies.tokens import suffix_of, tokens_of_size


class FileSource(FileBacked):
    """Serves `file:path`, with POSIX paths relative to `root`; nothing outside it is ever read.

    Content is `str` where the file is text in an encoding that can be told, else `bytes`. Every
    read is checked against the file system, so an edit by anybody shows at once.

    Args:
        root: an existing folder.
        kind: the kind of key that it serves.
        name: what logs and reports call it; None: its kind.
        exclude: patterns of what is never *prefetched* (`exclusions` describes them); explicit
            reads are not concerned. To add to the default: `(*DEFAULT_EXCLUDES, "*.gen.ts")`.
        max_prefetch_bytes: larger files are loaded on demand only.
        max_bytes: larger files are refused.
        encoding: tried first, before detection; None: detection alone.
        private: content is kept apart for each user.
        max_concurrency: loads at once; None: the engine's limits.
        load_timeout_s: seconds after which a load is given up; None: the configuration's.

    Raises:
        ConfigError: an argument is wrong; says which, and what is allowed.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        kind: str = "file",
        name: str | None = None,
        exclude: Iterable[str] = DEFAULT_EXCLUDES,
        max_prefetch_bytes: int = MAX_PREFETCH_BYTES,
        max_bytes: int = MAX_BYTES,
        encoding: str | None = None,
        private: bool = False,
        max_concurrency: int | None = None,
        load_timeout_s: float | None = None,
    ) -> None:
        super().__init__(
            root,
            kind=kind,
            name=name,
            exclude=exclude,
            max_prefetch_bytes=max_prefetch_bytes,
            max_bytes=max_bytes,
            private=private,
            max_concurrency=max_concurrency,
            load_timeout_s=load_timeout_s,
        )
        if encoding is not None:
            try:
                b"x".decode(encoding)
            except UnicodeError:
                pass  # it is a text encoding; this is just no text in it
            except (LookupError, TypeError):
                raise ConfigError(
                    f"encoding: {encoding!r} is not a text encoding that Python knows"
                ) from None
        self.encoding = encoding

    def normalise(self, name: str) -> str:
        """`./a` and `b/../a` are `a`; an absolute path below the root becomes relative.

        Raises:
            ValueError: it leaves the root, or names no file.
        """
        return self.folder.normalise(name)

    def file_of(self, name: str) -> str:
        """The name itself."""
        return name

    def quick_check(self) -> Callable[[str, Content], Content | None]:
        """`(key, content)` -> the content where one `stat` shows that its file holds it still, as
        `verify` finds in most cases; None says nothing. Made for each read of each file: a function
        without an object to look things up in.
        """

        def confirmed(
            key: str,
            content: Content,
            name_at: int = len(self.kind) + 1,
            prefix: str = self.folder.prefix,
            stat: Callable[[str], os.stat_result] = os.stat,
        ) -> Content | None:
            held: Any = content.version
            try:
                found = stat(held.path or prefix + key[name_at:])
                if (
                    found.st_mtime_ns == held.mtime_ns
                    and found.st_ctime_ns == held.ctime_ns
                    and found.st_size == held.size
                    and found.st_ino == held.inode
                    and found.st_dev == held.device
                    and held.settled
                ):
                    return content
            except (OSError, ValueError, AttributeError):  # no file, or another kind of version
                pass
            return None

        return confirmed

    def derive(self, name: str, read: FileRead) -> Content:
        """Text in the encoding detected, or the bytes."""
        decoded = decode(read.raw, encoding=self.encoding)
        return Content(
            decoded.value,
            tokens=tokens_of_size(len(read.raw), suffix_of(name)),
            version=evolve(read.stamp, path=self.folder.prefix + name),
            media_type=decoded.media_type,
        )
