"""Names of what a Git repository holds, taken apart and spelt in one way.

::

    <rev>                 a commit's or a tag's own text
    <rev>:<path>          a file, or the listing of a folder
    <rev>:                the listing of the root folder
    <full object id>      the object of that id
    <rev>..<rev>          a diff
    <rev>..<rev>:<path>   the diff of one file or folder
"""

import re

from prefetch_scheduler.engine.sources.folder import plain_path
from prefetch_scheduler.policies.values import frozen

_FULL_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f*?\[\\]|\^\{/")
"""What no reference may hold, and `^{/text}`, which searches the whole history."""
_CONTROL = re.compile(r"[\x00\n]")
_LONGEST = 3500
"""Bytes: a request must fit in the pipe's atomic 4096."""
_EXAMPLES = "'HEAD:src/a.py', 'main..HEAD', 'main..HEAD:src'"


@frozen
class GitName:
    """A name taken apart."""

    rev: str
    other: str | None = None
    """The second revision of a diff; None: it is no diff."""
    path: str | None = None
    """Relative to the repository's root, empty for the root itself; None: the name has none."""

    def __str__(self) -> str:
        revs = self.rev if self.other is None else f"{self.rev}..{self.other}"
        return revs if self.path is None else f"{revs}:{self.path}"

    @property
    def immutable(self) -> bool:
        """Whether it stands for the same bytes for ever: its revisions are full object ids."""
        return all(_FULL_ID.fullmatch(rev) for rev in (self.rev, self.other) if rev is not None)

    def at(self, rev: str) -> str:
        """Git's own name of what is at that revision of it, or of its path there."""
        return f"{rev}:{self.path}" if self.path is not None else rev


def parse_git_name(name: str) -> GitName:
    """Take a name apart.

    Raises:
        ValueError: it is none; says why.
    """
    if _CONTROL.search(name):
        raise ValueError("it holds a line feed or a NUL, which no request to git can hold")
    try:
        length = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        raise ValueError("it holds a character that no name in git can hold") from None
    if length > _LONGEST:
        raise ValueError(f"it is {length} bytes long; at most {_LONGEST} are allowed")
    revs, colon, written = name.partition(":")
    if "..." in revs:
        raise ValueError("'a...b' is not served; give the merge base itself: 'base..b'")
    rev, dots, other = revs.partition("..")
    for part in (rev, other) if dots else (rev,):
        _check_revision(part)
    path = _path(written) if colon else None
    if path == "" and dots:
        path = None  # of the whole repository, as without a path
    return GitName(rev, other if dots else None, path)


def _path(written: str) -> str:
    if written.startswith("/"):
        raise ValueError("its path begins with '/'; paths are relative to the repository's root")
    return plain_path(written)


def _check_revision(rev: str) -> None:
    if not rev:
        raise ValueError(f"it names no revision; names are like {_EXAMPLES}")
    if rev.startswith("-"):
        raise ValueError(f"the revision {rev!r} begins with '-'")
    found = _FORBIDDEN.search(rev)
    if found is not None:
        raise ValueError(f"the revision {rev!r} holds {found[0]!r}; names are like {_EXAMPLES}")
