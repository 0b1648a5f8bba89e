"""What sources of files have in common: reading within a root, freshness, exclusions, estimates."""

import os
import stat as stat_module
from collections.abc import Iterable

from prefetch_scheduler.engine.sources.exclusions import DEFAULT_EXCLUDES, Exclusions
from prefetch_scheduler.engine.sources.folder import FileRead, RootFolder
from prefetch_scheduler.engine.sources.freshness import (
    ABSENT,
    FileStamp,
    shows,
    unsettled,
    with_version,
)
from prefetch_scheduler.engine.sources.text import looks_binary
from prefetch_scheduler.engine.sources.validation import require_source
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import ConfigError, ResourceUnavailable
from prefetch_scheduler.policies.tokens import BYTES_PER_TOKEN, suffix_of, tokens_of_size
from prefetch_scheduler.policies.yaml_text import printable

MAX_PREFETCH_BYTES = 1 << 20
"""Files above this are loaded only on demand: they are far past any plan's token budget."""
MAX_BYTES = 256 << 20
"""Files above this are not loaded at all, so that one key cannot take the host's memory."""
_COMPARED_BYTES = 1 << 20
"""Above this, content is loaded anew rather than compared in the reader's thread."""
_SAMPLE_BYTES = 8192


def require_sizes(**sizes: int) -> None:
    """Raises:
    ConfigError: one of the arguments is no size in bytes.
    """
    for word, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ConfigError(f"{word}: {value!r} is not a whole number of bytes of at least 0")


class FileBacked:
    """A source whose every name stands for content made from one file below a root.

    A subclass says which file (`file_of`) and what is made of its bytes (`derive`).
    """

    read_only = True
    remote = False
    load_s = None

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        kind: str,
        name: str | None,
        exclude: Iterable[str] = DEFAULT_EXCLUDES,
        max_prefetch_bytes: int = MAX_PREFETCH_BYTES,
        max_bytes: int = MAX_BYTES,
        private: bool = False,
        max_concurrency: int | None = None,
        load_timeout_s: float | None = None,
    ) -> None:
        require_sizes(max_prefetch_bytes=max_prefetch_bytes, max_bytes=max_bytes)
        self.kind = kind
        self.name = kind if name is None else name
        self.private = private
        self.max_concurrency = max_concurrency
        self.load_timeout_s = load_timeout_s
        self.folder = RootFolder(root)
        self.exclusions = Exclusions(exclude)
        self.max_prefetch_bytes = max_prefetch_bytes
        self.max_bytes = max_bytes
        require_source(self, type(self).__name__)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.folder.path!r}, kind={self.kind!r})"

    @property
    def root(self) -> str:
        """The root folder's real path."""
        return self.folder.path

    # ---- for subclasses ---------------------------------------------------------------------

    def file_of(self, name: str) -> str:
        """The file, relative to the root, that a normalised name's content is made from."""
        raise NotImplementedError

    def derive(self, name: str, read: FileRead) -> Content:
        """The content of a name, made from its file's bytes, under the file's stamp."""
        raise NotImplementedError

    def normalise(self, name: str) -> str:
        """The one spelling of a name.

        Raises:
            ValueError: the name is not allowed; says why.
        """
        raise NotImplementedError

    def same(self, held: Content, found: Content, raw: bytes) -> bool:
        """Whether `held` is what the file holds now: `found`, made from `raw`."""
        return held.value == (raw if isinstance(held.value, bytes) else found.value)

    # ---- loading ----------------------------------------------------------------------------

    def load(self, name: str) -> Content:
        """Read the file.

        Raises:
            ResourceUnavailable: it is missing, outside the root, no regular file, too large,
                not readable, or the name is not allowed; the message says which.
        """
        name = self._checked(name)
        return self.derive(name, self.folder.read(self.file_of(name), limit=self.max_bytes))

    def _checked(self, name: str) -> str:
        try:
            return self.normalise(name)
        except ValueError as error:
            raise ResourceUnavailable(f"{printable(f'{self.kind}:{name}')}: {error}") from error

    def tokens(self, name: str) -> int | None:
        """Estimated tokens, from the file's size; None where there is no such file."""
        path = self.file_of(self.normalise(name))
        found = self._regular(path)
        return None if found is None else tokens_of_size(found.st_size, suffix_of(path))

    def _regular(self, path: str) -> os.stat_result | None:
        try:
            found = self.folder.stat(path)
        except OSError:
            return None
        return found if stat_module.S_ISREG(found.st_mode) else None

    def excluded(self, name: str) -> str | None:
        """Why this name is not prefetched; None: it may be. Links are judged by where they lead."""
        path = self.file_of(self.normalise(name))
        try:
            resolved = self.folder.resolved(path)
        except ResourceUnavailable as error:
            return str(error)
        for candidate in dict.fromkeys((path, resolved)):
            pattern = self.exclusions.matching(candidate)
            if pattern is not None:
                return f"{candidate!r} matches the exclusion {pattern!r}"
        found = self._regular(resolved)
        if found is None:
            return None  # loading it will say what is wrong
        if found.st_size > self.max_prefetch_bytes:
            return f"{found.st_size} bytes: more than max_prefetch_bytes, {self.max_prefetch_bytes}"
        return self._binary(resolved)

    def _binary(self, path: str) -> str | None:
        if suffix_of(path) in BYTES_PER_TOKEN:
            return None  # known to be text: not worth opening
        try:
            sample = self.folder.sample(path, _SAMPLE_BYTES)
        except ResourceUnavailable:
            return None
        return "not text: its first bytes are binary" if looks_binary(sample) else None

    # ---- freshness --------------------------------------------------------------------------

    def version(self, name: str) -> FileStamp | None:
        """The stamp of the file as it is now; None where there is none."""
        try:
            return unsettled(self.folder.stat(self.file_of(name)))
        except OSError:
            return None

    def verify(self, name: str, content: Content) -> Content | None:
        """Whether the file still holds `content`; one `stat` where its stamp is settled.

        Otherwise, and where a file of the same size has another stamp, content is compared with
        content. Returns `content`, or a copy under a newer stamp, or None where it is stale.
        """
        held = content.version
        if not isinstance(held, FileStamp):
            return None
        path = self.file_of(name)
        try:
            found = self.folder.stat(path)
        except OSError:
            return content if held == ABSENT else None
        unchanged = shows(held, found)
        if unchanged and held.settled:
            return content
        if found.st_size > _COMPARED_BYTES or (held.settled and found.st_size != held.size):
            return None
        try:
            read = self.folder.read(path, limit=_COMPARED_BYTES, attempts=1)
            now = self.derive(name, read)
        except ResourceUnavailable:
            return None
        if not self.same(content, now, read.raw):
            return None
        if held == read.stamp and held.settled == read.stamp.settled:
            return content
        return with_version(content, now.version)

    def watched(self, name: str) -> tuple[str, ...]:
        """The file's path, and that of the file which it stands for where it is a link."""
        file = self.file_of(name)
        return tuple(dict.fromkeys((self.folder.prefix + file, self.folder.real(file))))

    def stamped(self, name: str, content: Content) -> Content:
        """Content that the host handed over, so stamped that its first read compares it.

        Where no such file exists it is served until one appears.
        """
        try:
            stamp = unsettled(self.folder.stat(self.file_of(name)))
        except OSError:
            stamp = ABSENT
        return with_version(content, stamp)
