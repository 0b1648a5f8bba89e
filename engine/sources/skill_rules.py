"""What the public layout of Agent Skills asks of a skill's front matter; broken rules only warn."""

import re
from collections.abc import Iterator

from prefetch_scheduler.engine.sources.skill_meta import SkillMeta

NAME_LENGTH = 64
DESCRIPTION_LENGTH = 1024
COMPATIBILITY_LENGTH = 500

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


def broken_rules(meta: SkillMeta, folder: str) -> Iterator[str]:
    """What is not as the layout has it, in words; `folder` is the name of the skill's own folder.

    What is missing altogether is among the faults of `meta` itself.
    """
    if meta.name:
        if not _NAME.fullmatch(meta.name):
            yield f"name {meta.name!r}: only a-z, 0-9 and single '-' between them are allowed"
        if len(meta.name) > NAME_LENGTH:
            yield f"name of {len(meta.name)} characters; at most {NAME_LENGTH} are allowed"
        if meta.name != folder:
            yield f"name {meta.name!r} is not that of its folder, {folder!r}"
    for word, text, most in (
        ("description", meta.description, DESCRIPTION_LENGTH),
        ("compatibility", meta.compatibility, COMPATIBILITY_LENGTH),
    ):
        if len(text) > most:
            yield f"{word} of {len(text)} characters; at most {most} are allowed"
