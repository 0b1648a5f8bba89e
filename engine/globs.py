"""Finds the files of a workspace that a glob pattern names: `src/**/*.ts`, `docs/*.{md,rst}`."""

import fnmatch
import os
import re
from collections.abc import Iterator
from pathlib import Path

MAX_MATCHES = 50
"""Files that one pattern may stand for; what lies beyond is left out."""
MAX_FILES = 50_000
"""Files looked at for one pattern, so that a huge tree costs a bounded time."""

_SKIPPED_FOLDERS = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv"})
_SPECIAL = re.compile(r"[*?\[{]")


def is_glob(text: str) -> bool:
    """Whether a path holds a wildcard."""
    return _SPECIAL.search(text) is not None


def matching_files(root: str | os.PathLike[str], pattern: str) -> tuple[str, ...]:
    """Paths below `root`, POSIX, relative to it and sorted, of the files that `pattern` matches.

    `*` and `?` stay within one folder, `**` crosses folders, `{a,b}` are alternatives. Symbolic
    links to folders are not followed, version control and dependency folders are passed over.
    At most `MAX_MATCHES` paths, looking at no more than `MAX_FILES` files.
    """
    expression = re.compile("|".join(_expression(variant) for variant in _alternatives(pattern)))
    matches: list[str] = []
    for seen, path in enumerate(_files(Path(root))):
        if seen >= MAX_FILES or len(matches) >= MAX_MATCHES:
            break
        if expression.fullmatch(path):
            matches.append(path)
    return tuple(sorted(matches))


def _files(root: Path) -> Iterator[str]:
    """Sorted within each folder, files before folders, so that what a limit keeps is certain."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - _SKIPPED_FOLDERS)
        below = Path(folder).relative_to(root).as_posix()
        for name in sorted(names):
            yield name if below == "." else f"{below}/{name}"


def _alternatives(pattern: str) -> Iterator[str]:
    """The patterns that `{a,b}` stands for; braces do not nest."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        yield pattern
        return
    for choice in found[1].split(","):
        yield from _alternatives(pattern[: found.start()] + choice + pattern[found.end() :])


def _expression(pattern: str) -> str:
    segments = [segment for segment in pattern.split("/") if segment not in ("", ".")]
    parts: list[str] = []
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        if segment == "**":
            parts.append(".*" if last else "(?:[^/]+/)*")
        else:
            parts.append(_segment(segment) + ("" if last else "/"))
    return "".join(parts)


def _segment(segment: str) -> str:
    """`fnmatch` knows character classes; its wildcards would cross folders, so they are bound."""
    pieces = re.split(r"(\[[^\]]+\]|\*|\?)", segment)
    wild = {"*": "[^/]*", "?": "[^/]"}
    return "".join(
        wild[piece]
        if piece in wild
        else _class(piece)
        if piece.startswith("[") and piece.endswith("]")
        else re.escape(piece)
        for piece in pieces
    )


def _class(piece: str) -> str:
    return fnmatch.translate(piece).removeprefix("(?s:").removesuffix(r")\Z")
