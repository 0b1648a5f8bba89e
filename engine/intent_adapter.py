"""The Intent Parser's output: urgency, the task it belongs to, and what it suggests to load."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any

from prefetch_scheduler.engine.fields import FieldReader, type_name
from prefetch_scheduler.engine.globs import is_glob, matching_files
from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.prediction import Prediction
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import Role, Urgency

INTENTS = (
    "DEBUG",
    "DEVELOP",
    "REFACTOR",
    "REVIEW",
    "DOCUMENT",
    "TEST",
    "DEPLOY",
    "ANALYZE",
    "CONFIGURE",
    "EXPLORE",
)

NAMED_CONFIDENCE = 0.9
"""Of a file that the user named; the parser states no confidence of its own."""
SKILL_CONFIDENCE = 0.8
FILE_CONFIDENCE = 0.7
GLOB_CONFIDENCE = 0.5
"""Of each file that a pattern stands for: just enough to be loaded in the background."""

_TASK_FIELDS = ("context", "context_id", "task_id")


@frozen
class Intent:
    """What a request asks for, as far as the scheduler is concerned."""

    urgency: str
    """`critical`, `high`, `medium` or `low`; `medium` where the parser names none."""
    context: str
    """Equal for requests of one task: a new one is a context change."""
    predictions: tuple[Prediction, ...] = ()
    primary_intent: str | None = None
    unmatched: tuple[str, ...] = ()
    """Patterns that stand for no file, or for which there was no workspace to look in."""

    def is_new_task(self, context: str | None) -> bool:
        """Whether a session that stands at `context` changes its context with this intent."""
        return context != self.context


def intent(
    given: object,
    *,
    workspace: str | os.PathLike[str] | Callable[[str], Iterable[str]] | None = None,
) -> Intent:
    """Reads the Intent Parser's output; its top key `intent_output` may be left out.

    Files that the user named become `main_file` (the first) and `related_file`, suggested skills
    `primary_skill` and `secondary_skill`, suggested files `related_file`. The task is what
    `task_id`, `context_id` or `context` names, else a digest of intent and entities.

    Args:
        workspace: the folder in which patterns are looked up, or a function from a pattern to
            paths relative to the workspace. None: patterns are left in `unmatched`.

    Raises:
        InvalidPrediction: a field is wrong; names the path and fault of every one.
    """
    if not isinstance(given, Mapping):
        raise InvalidPrediction(f"intent: expected a mapping, got {type_name(given)}")
    reader = FieldReader()
    body = reader.mapping(given, "intent_output") if "intent_output" in given else given
    urgency = reader.word(body, "urgency", list(Urgency)) or Urgency.MEDIUM.value
    primary = reader.word(body, "primary_intent", [word.lower() for word in INTENTS])
    collected = _Suggestions(reader, _expander(workspace))
    entities = reader.mapping(body, "entities")
    hints = reader.mapping(body, "context_hints")
    collected.files(entities, "files", "entities", NAMED_CONFIDENCE, Role.MAIN_FILE)
    collected.skills(hints, "suggested_skills", "context_hints")
    collected.files(hints, "suggested_files", "context_hints", FILE_CONFIDENCE, Role.RELATED_FILE)
    context = _task(reader, body, entities, primary)
    reader.check()
    return Intent(
        urgency,
        context,
        tuple(collected.predictions.values()),
        primary.upper() if primary else None,
        tuple(collected.unmatched),
    )


def _expander(
    workspace: str | os.PathLike[str] | Callable[[str], Iterable[str]] | None,
) -> Callable[[str], Iterable[str]]:
    if workspace is None:
        return lambda _: ()
    if callable(workspace):
        return workspace
    return partial(matching_files, workspace)


def _task(
    reader: FieldReader, body: Mapping[str, Any], entities: Mapping[str, Any], primary: str | None
) -> str:
    for name in _TASK_FIELDS:
        value = body.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is not None:
            return reader.text(body, name, required=True)
    # The order in which entities are listed says nothing about the task.
    named = {
        str(name): sorted(map(str, values)) if isinstance(values, list) else str(values)
        for name, values in entities.items()
    }
    digest = blake2b(json.dumps(named, sort_keys=True).encode(), digest_size=6).hexdigest()
    return f"{primary or 'task'}-{digest}"


class _Suggestions:
    """Gathers predictions, the first that names a key winning: what the user named comes first."""

    def __init__(self, reader: FieldReader, expand: Callable[[str], Iterable[str]]) -> None:
        self.predictions: dict[str, Prediction] = {}
        self.unmatched: list[str] = []
        self._reader = reader
        self._expand = expand

    def _add(self, key: str, role: Role, confidence: float, reason: str) -> None:
        self.predictions.setdefault(key, Prediction(key, role.value, confidence, reason=reason))

    def skills(self, parent: Mapping[str, Any], name: str, where: str) -> None:
        role = Role.PRIMARY_SKILL
        for path, element in self._reader.items(parent, name, where):
            text, confidence = self._entry(element, path, "skill_id", SKILL_CONFIDENCE)
            skill_id = self._reader.relative_path(text, path) if text else ""
            if skill_id:
                self._add(f"skill:{skill_id}", role, confidence, "suggested by the intent")
                role = Role.SECONDARY_SKILL

    def files(
        self, parent: Mapping[str, Any], name: str, where: str, confidence: float, first: Role
    ) -> None:
        role = first
        reason = "named by the request" if first is Role.MAIN_FILE else "suggested by the intent"
        for path, element in self._reader.items(parent, name, where):
            text, stated = self._entry(element, path, "path", confidence)
            relative = self._reader.relative_path(text, path) if text else ""
            if not relative:
                continue
            if not is_glob(relative):
                self._add(f"file:{relative}", role, stated, reason)
                role = Role.RELATED_FILE
                continue
            found = list(self._expand(relative))
            if not found:
                self.unmatched.append(relative)
            for match in found:
                self._add(
                    f"file:{match}",
                    Role.RELATED_FILE,
                    min(stated, GLOB_CONFIDENCE),
                    f"{reason} as {relative}",
                )

    def _entry(self, element: object, path: str, field: str, default: float) -> tuple[str, float]:
        """An entry is a string, or a mapping that may state its own confidence."""
        if isinstance(element, str):
            if not element.strip():
                self._reader.fault(path, "empty; expected a string that is not empty")
            return element.strip(), default
        if isinstance(element, Mapping):
            stated = self._reader.number(element, "confidence", path, high=1)
            return self._reader.text(
                element, field, path, required=True
            ), default if stated is None else stated
        self._reader.fault(
            path, f"expected a string or a mapping with {field}, got {type_name(element)}"
        )
        return "", default
