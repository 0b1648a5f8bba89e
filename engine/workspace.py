"""The sources of a workspace folder: its files, and the skills in the usual places."""

import os
from pathlib import Path

from prefetch_scheduler.engine.sources.files import FileSource
from prefetch_scheduler.engine.sources.skills import SkillSource

SKILL_FOLDERS = ("skills", ".agents/skills", ".claude/skills")
"""Where skills are looked for below a workspace; an earlier one is asked first (decision D24)."""


def workspace_sources(
    folder: str | os.PathLike[str], *, load_timeout_s: float | None = None
) -> list[FileSource | SkillSource]:
    """A `FileSource`, and a `SkillSource` for each skill folder that exists.

    Args:
        load_timeout_s: engine seconds after which a load is given up; None: the configuration's.

    Raises:
        ConfigError: `folder` is not an existing folder.
    """
    sources: list[FileSource | SkillSource] = [FileSource(folder, load_timeout_s=load_timeout_s)]
    for below in SKILL_FOLDERS:
        root = Path(folder, below)
        if root.is_dir():
            sources.append(SkillSource(root, name=below, load_timeout_s=load_timeout_s))
    return sources
