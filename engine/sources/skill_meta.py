"""The known fields of a skill's front matter, however they are written."""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from attrs import field

from prefetch_scheduler.engine.sources.front_matter import FrontMatter
from prefetch_scheduler.policies.values import frozen

_MAX_WORDS = 200
_NAMES = ("skill_id", "skill", "id", "name", "behavior")
_NOTHING = ("none", "null", "~", "n/a", "-")
_TOOL = re.compile(r"[^\s,()]+(?:\([^)]*\))?")
_ESTIMATE = re.compile(
    r"[~≈<\s]*(\d{1,3}(?:[,_]\d{3})+|\d{1,9})(\.\d+)?\s*(k)?(?:\s*tokens?)?\s*", re.IGNORECASE
)
"""`4000`, `4,000`, `~4k`, `4.5k tokens`."""


@frozen
class SkillMeta:
    """What a skill says of itself."""

    name: str
    """Empty where it does not say, as any field here."""
    description: str
    version: str
    behaviors: tuple[str, ...]
    dependencies: tuple[str, ...]
    """Skill ids as written."""
    token_estimate: int | None
    """Tokens: the typical estimate, else the greatest, else the least."""
    license: str = ""
    compatibility: str = ""
    """What it needs of its surroundings, in words."""
    allowed_tools: tuple[str, ...] = ()
    """Tools that it asks to use without a question. Shown; whether to allow them is the host's."""
    extra: Mapping[str, str] = field(factory=dict)
    """Its `metadata`: further names and values, for whoever knows them."""
    faults: tuple[str, ...] = ()
    """What is missing or could not be read."""


def skill_meta(document: FrontMatter) -> SkillMeta:
    """The known fields of a skill's front matter, each as well as it can be read."""
    fields = document.fields
    faults = list(document.faults)
    faults += [f"no {word}" for word in ("name", "description") if not _text(fields.get(word))]
    written = fields.get("token_estimate", fields.get("tokens"))
    estimate = _estimate(written)
    if estimate is None and written not in (None, ""):
        faults.append(f"token_estimate {written!r} holds no number of tokens")
    return SkillMeta(
        name=_text(fields.get("name")),
        description=_text(fields.get("description")),
        version=_text(fields.get("version")),
        behaviors=_ids(fields.get("behaviors")),
        dependencies=_ids(fields.get("dependencies")),
        token_estimate=estimate,
        license=_text(fields.get("license")),
        compatibility=_text(fields.get("compatibility")),
        allowed_tools=_tools(fields.get("allowed_tools")),
        extra=_extra(fields.get("metadata"), faults),
        faults=tuple(faults),
    )


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _ids(value: Any) -> tuple[str, ...]:
    # Aliases let a few lines of YAML stand for millions of words.
    return tuple(dict.fromkeys(islice(_words(value), _MAX_WORDS)))


def _tools(value: Any) -> tuple[str, ...]:
    """`Read Bash(git add:*)`, with spaces or commas between them, or a list of such."""
    texts = value if isinstance(value, list) else [value]
    found = (
        word for text in texts if isinstance(text, str) for word in _TOOL.findall(text.strip("[] "))
    )
    return tuple(dict.fromkeys(islice(found, _MAX_WORDS)))


def _extra(value: Any, faults: list[str]) -> Mapping[str, str]:
    if value in (None, ""):
        return {}
    if not isinstance(value, Mapping):
        faults.append(f"metadata is {type(value).__name__}, not names with values")
        return {}
    plain = {name: text for name, text in value.items() if isinstance(text, str)}
    if len(plain) < len(value):
        nested = ", ".join(str(name) for name in islice(value, 20) if name not in plain)
        faults.append(f"metadata: the values of {nested} are no text; left out")
    return dict(islice(plain.items(), _MAX_WORDS))


def _words(value: Any, depth: int = 3) -> Iterator[str]:
    """Ids, however they are written: a list, `a, b`, `{required: [...]}` or `[{skill: a}]`."""
    if isinstance(value, str):
        for word in value.strip("[] ").split(","):
            cleaned = word.strip().strip("\"'")
            if cleaned and cleaned.lower() not in _NOTHING:
                yield cleaned
    elif depth and isinstance(value, list):
        for item in value:
            yield from _words(item, depth - 1)
    elif depth and isinstance(value, Mapping):
        named = next((value[word] for word in _NAMES if word in value), None)
        for item in value.values() if named is None else (named,):
            yield from _words(item, depth - 1)


def _estimate(value: Any) -> int | None:
    if isinstance(value, Mapping):
        return next(
            (
                n
                for word in ("typical", "max", "min")
                if (n := _estimate(value.get(word))) is not None
            ),
            None,
        )
    if not isinstance(value, str):
        return None
    found = _ESTIMATE.fullmatch(value)
    if found is None:
        return None
    number = float(re.sub(r"[,_]", "", found[1]) + (found[2] or ""))
    return round(number * (1000 if found[3] else 1))
