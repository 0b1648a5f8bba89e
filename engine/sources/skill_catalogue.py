"""The first tier of skills: which there are, by name and description.

The usual places are those of the public layout: a project's own folders before the user's, so that
a project's skill takes the place of a user's of the same name.
"""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from prefetch_scheduler.engine.sources.folder import RootFolder
from prefetch_scheduler.engine.sources.skill_meta import SkillMeta
from prefetch_scheduler.policies.values import frozen

SKILL_FILE = "SKILL.md"
AGENT_FOLDERS = (".agents/skills", ".claude/skills")
"""Where skills lie, below a project's folder and below a user's home."""
MAX_DEPTH = 6
MAX_FOLDERS = 2000
_SKIPPED = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv"})


@frozen
class SkillEntry:
    """One line of a catalogue."""

    key: str
    meta: SkillMeta
    tokens: int
    """Of its name and description, which is what an agent is shown of it first."""
    trusted: bool
    """Whether its body may be read: see `SkillSource.trust`."""


def find_skills(folder: RootFolder) -> Iterator[str]:
    """The ids of the skills below a folder, those nearest to it first, then by name.

    Looks at most `MAX_DEPTH` folders down and into `MAX_FOLDERS` folders. Inside a skill there is
    no other. Links are followed where they stay below the folder.
    """
    waiting: deque[tuple[str, int]] = deque([("", 0)])
    seen: set[str] = set()
    while waiting and len(seen) < MAX_FOLDERS:
        name, depth = waiting.popleft()
        real = os.path.realpath(os.path.join(folder.path, name))
        inside = real == folder.path or real.startswith(os.path.join(folder.path, ""))
        if real in seen or not inside:
            continue
        seen.add(real)
        try:
            with os.scandir(real) as entries:
                found = {entry.name: entry.is_dir() for entry in entries}
        except OSError:
            continue
        if name and SKILL_FILE in found:
            yield name
        elif depth < MAX_DEPTH:
            below = (word for word in sorted(found) if found[word] and word not in _SKIPPED)
            waiting.extend((f"{name}/{word}" if name else word, depth + 1) for word in below)


def agent_folders(
    project: str | os.PathLike[str] | None, home: str | os.PathLike[str] | None
) -> Iterator[tuple[Path, bool]]:
    """The usual folders of skills that exist, a project's first; True: it is the project's."""
    for base, own in ((project, True), (home, False)):
        if base is None:
            continue
        for below in AGENT_FOLDERS:
            folder = Path(base, below)
            if folder.is_dir():
                yield folder, own
