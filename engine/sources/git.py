"""Files, folders, commits and diffs of a Git repository, without touching its working tree."""

import os
import subprocess
from collections.abc import Hashable, Iterable, Sequence

from prefetch_scheduler.engine.sources.exclusions import DEFAULT_EXCLUDES, Exclusions
from prefetch_scheduler.engine.sources.file_backed import (
    MAX_BYTES,
    MAX_PREFETCH_BYTES,
    require_sizes,
)
from prefetch_scheduler.engine.sources.git_names import GitName, parse_git_name
from prefetch_scheduler.engine.sources.git_process import (
    BatchProcess,
    Cancel,
    environment,
    run_git,
)
from prefetch_scheduler.engine.sources.text import decode
from prefetch_scheduler.engine.sources.validation import require_source
from prefetch_scheduler.policies.config_rules import LARGEST
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import ConfigError, ResourceUnavailable
from prefetch_scheduler.policies.figures import is_number, shown, within
from prefetch_scheduler.policies.tokens import suffix_of, tokens_of_size
from prefetch_scheduler.policies.values import frozen

TIMEOUT_S = 10.0
_DIFF = ("diff-tree", "-r", "-M", "--no-ext-diff", "--no-textconv", "--no-color")
_CHECK_S = 5.0


@frozen
class _Found:
    """What git says of an object."""

    id: str
    type: str
    size: int


class GitSource:
    """Serves `git:<rev>:<path>` (a file or a folder's listing), `git:<rev>` (a commit's own text),
    `git:<full object id>`, and the diffs `git:<rev>..<rev>` and `git:<rev>..<rev>:<path>`.

    Nothing is checked out. Objects come from one `git cat-file --batch` process, and what a
    revision stands for now from one `--batch-check`; both start with the first read, are started
    again when they die, and end with the engine. Nothing is ever fetched over the network, no
    program that the repository's configuration names is run, and no name becomes an option.

    Args:
        repository: a folder of the repository, or a bare repository.
        kind: the kind of key that it serves.
        name: what logs and reports call it; None: its kind.
        exclude: patterns of paths that are never prefetched, as for `FileSource`; a diff is not
            prefetched where one of the files that it changes matches.
        max_prefetch_bytes: larger objects are loaded on demand only.
        max_bytes: larger objects and diffs are refused.
        timeout_s: seconds within which git has to answer.
        private: content is kept apart for each user.
        max_concurrency: loads at once; None: the engine's limits.
        load_timeout_s: seconds after which a load is given up; None: the configuration's.
        git: the program.

    Raises:
        ConfigError: an argument is wrong, or `repository` is none that git can read.
    """

    read_only = True
    remote = False
    load_s = None

    def __init__(
        self,
        repository: str | os.PathLike[str] = ".",
        *,
        kind: str = "git",
        name: str | None = None,
        exclude: Iterable[str] = DEFAULT_EXCLUDES,
        max_prefetch_bytes: int = MAX_PREFETCH_BYTES,
        max_bytes: int = MAX_BYTES,
        timeout_s: float = TIMEOUT_S,
        private: bool = False,
        max_concurrency: int | None = None,
        load_timeout_s: float | None = None,
        git: str = "git",
    ) -> None:
        require_sizes(max_prefetch_bytes=max_prefetch_bytes, max_bytes=max_bytes)
        if not (is_number(timeout_s) and within(timeout_s, LARGEST["seconds"]) and timeout_s > 0):
            raise ConfigError(f"timeout_s: {shown(timeout_s)} is not a number of seconds above 0")
        self.kind = kind
        self.name = kind if name is None else name
        self.private = private
        self.max_concurrency = max_concurrency
        self.load_timeout_s = load_timeout_s
        self.exclusions = Exclusions(exclude)
        self.max_prefetch_bytes = max_prefetch_bytes
        self.max_bytes = max_bytes
        self.timeout_s = timeout_s
        require_source(self, type(self).__name__)
        self.directory = _git_directory(git, repository)
        """The repository's own folder, such as `.git`."""
        self._git = (git, f"--git-dir={self.directory}", "--no-pager")
        self._objects = BatchProcess((*self._git, "cat-file", "--batch"), timeout_s)
        self._check = BatchProcess((*self._git, "cat-file", "--batch-check"), timeout_s)

    def __repr__(self) -> str:
        return f"GitSource({self.directory!r}, kind={self.kind!r})"

    @property
    def processes(self) -> tuple[int, ...]:
        """The ids of its processes that run now."""
        pids = (self._objects.pid, self._check.pid)
        return tuple(pid for pid in pids if pid is not None)

    def close(self) -> None:
        """End the processes. A later read starts them again."""
        self._objects.close()
        self._check.close()

    # ---- names ------------------------------------------------------------------------------

    def normalise(self, name: str) -> str:
        """`HEAD:./a` and `HEAD:b/../a` are `HEAD:a`; revisions stay as they are written.

        Raises:
            ValueError: the name is not allowed; says why.
        """
        return str(parse_git_name(name))

    # ---- loading ----------------------------------------------------------------------------

    def load(self, name: str, cancel: Cancel | None = None) -> Content:
        """Read an object, or make a diff.

        Raises:
            ResourceUnavailable: there is no such revision or path, it is too large, or git does
                not answer; the message says which.
        """
        try:
            parsed = parse_git_name(name)
        except ValueError as error:
            raise ResourceUnavailable(str(error)) from error
        if parsed.other is None:
            return self._object(parsed, cancel)
        return self._diff(parsed, cancel)

    def load_many(
        self, names: Sequence[str], cancel: Cancel | None = None
    ) -> list[Content | Exception]:
        """As `load`, one after another: there is one process to ask."""
        loaded: list[Content | Exception] = []
        for name in names:
            try:
                loaded.append(self.load(name, cancel))
            except ResourceUnavailable as error:
                loaded.append(error)
        return loaded

    def _object(self, name: GitName, cancel: Cancel | None) -> Content:
        found = self._required(name.at(name.rev))
        if found.size > self.max_bytes:
            raise ResourceUnavailable(
                f"{found.size} bytes; at most {self.max_bytes} are read (max_bytes of its source)"
            )
        raw = self._objects.contents(found.id, found.size, cancel)
        if found.type == "tree":
            raw = _listing(raw, len(found.id) // 2)
        decoded = decode(raw)
        return Content(
            decoded.value,
            tokens=tokens_of_size(len(raw), suffix_of(name.path or "")),
            version=found.id,
            media_type=decoded.media_type,
        )

    def _diff(self, name: GitName, cancel: Cancel | None) -> Content:
        trees = self._trees(name)
        version = self._sides(name, trees)
        command = (*self._git, *_DIFF, "--patch", *trees, "--", *_paths(name))
        raw = run_git(command, limit=self.max_bytes, timeout_s=self.timeout_s, cancel=cancel)
        decoded = decode(raw)
        return Content(
            decoded.value,
            tokens=tokens_of_size(len(raw), ".diff"),
            version=version,
            media_type="text/x-diff" if isinstance(decoded.value, str) else decoded.media_type,
        )

    def _trees(self, name: GitName) -> tuple[str, str]:
        """The ids of the two whole trees: what comes after is about what does not change."""
        first, second = (self._required(f"{rev}^{{tree}}").id for rev in (name.rev, name.other))
        return first, second

    def _sides(self, name: GitName, trees: tuple[str, str]) -> tuple[str | None, str | None]:
        """The ids of what is compared: of the path, so that other paths' changes do not count."""
        if name.path is None:
            return trees
        first, second = (self._find(name.at(tree)) for tree in trees)
        if first is None and second is None:
            raise ResourceUnavailable(f"neither revision has the path {name.path!r}")
        return first.id if first else None, second.id if second else None

    # ---- freshness --------------------------------------------------------------------------

    def version(self, name: str) -> Hashable:
        """The id of the object that the name stands for now; of a diff, those of its two sides.

        One round trip to a process that waits for it; none where the revision is a full object id.
        None where there is nothing.
        """
        parsed = parse_git_name(name)
        try:
            if parsed.other is None:
                if parsed.immutable and parsed.path is None:
                    return parsed.rev
                found = self._find(parsed.at(parsed.rev))
                return None if found is None else found.id
            return self._sides(parsed, self._trees(parsed))
        except ResourceUnavailable:
            return None

    def verify(self, name: str, content: Content) -> Content | None:
        """Whether the name still stands for what was loaded; without git where it always does."""
        if parse_git_name(name).immutable and content.version is not None:
            return content
        now = self.version(name)
        return content if now is not None and now == content.version else None

    # ---- before loading ---------------------------------------------------------------------

    def tokens(self, name: str) -> int | None:
        """Estimated tokens, from an object's size; None of diffs, and where there is no object."""
        parsed = parse_git_name(name)
        found = self._find(parsed.at(parsed.rev)) if parsed.other is None else None
        return None if found is None else tokens_of_size(found.size, suffix_of(parsed.path or ""))

    def excluded(self, name: str) -> str | None:
        """Why this name is not prefetched; None: it may be."""
        parsed = parse_git_name(name)
        if parsed.other is not None:
            return self._excluded_of(self._changed_paths(parsed))
        if parsed.path and (why := self._excluded_of([parsed.path])):
            return why
        found = self._find(parsed.at(parsed.rev))
        if found is not None and found.size > self.max_prefetch_bytes:
            return f"{found.size} bytes: more than max_prefetch_bytes, {self.max_prefetch_bytes}"
        return None

    def _excluded_of(self, paths: Iterable[str]) -> str | None:
        for path in paths:
            pattern = self.exclusions.matching(path)
            if pattern is not None:
                return f"{path!r} matches the exclusion {pattern!r}"
        return None

    def _changed_paths(self, name: GitName) -> list[str]:
        command = (*self._git, *_DIFF, "--no-renames", "--name-only", "-z", *self._trees(name))
        raw = run_git(
            (*command, "--", *_paths(name)), limit=self.max_bytes, timeout_s=self.timeout_s
        )
        return [os.fsdecode(path) for path in raw.split(b"\0") if path]

    # ---- asking git -------------------------------------------------------------------------

    def _required(self, what: str) -> _Found:
        found = self._find(what)
        if found is None:
            raise ResourceUnavailable(f"git knows no {what!r} here, or not only one")
        return found

    def _find(self, what: str) -> _Found | None:
        # `<id> <type> <size>`, else `<what> missing` or `<what> ambiguous`; `what` may hold spaces.
        header = self._check.header(what)
        if header == f"{what} missing".encode() or header == f"{what} ambiguous".encode():
            return None
        words = header.split(b" ")
        if len(words) != 3 or not words[2].isdigit():
            return None
        return _Found(words[0].decode(), words[1].decode(), int(words[2]))


def _paths(name: GitName) -> tuple[str, ...]:
    return () if name.path is None else (name.path,)


def _listing(raw: bytes, id_bytes: int) -> bytes:
    """A tree object as names, one a line, folders with a `/` at the end.

    An entry is `<mode> <name>`, a NUL, and the id's bytes (Git's documentation: gitformat-pack).
    """
    lines: list[bytes] = []
    place = 0
    while place < len(raw):
        end = raw.index(b"\0", place)
        mode, _, name = raw[place:end].partition(b" ")
        lines.append(name + (b"/\n" if mode == b"40000" else b"\n"))
        place = end + 1 + id_bytes
    return b"".join(lines)


def _git_directory(git: str, repository: str | os.PathLike[str]) -> str:
    """Raises:
    ConfigError: git is not there, or sees no repository there; says what git says.
    """
    if not isinstance(repository, str | os.PathLike) or not os.path.isdir(repository):
        raise ConfigError(f"repository: {repository!r} is not a folder; give one of a repository")
    command = (git, "rev-parse", "--absolute-git-dir")
    try:
        found = subprocess.run(
            command,
            cwd=repository,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CHECK_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"git: {git!r} cannot be run: {error}") from error
    if found.returncode:
        said = found.stderr.decode("utf-8", "replace").strip() or f"status {found.returncode}"
        raise ConfigError(f"repository: {os.fspath(repository)!r}: git says: {said}")
    return os.fsdecode(found.stdout.removesuffix(b"\n"))
