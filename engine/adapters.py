"""What the components around the scheduler send, turned into its own values.

Each function takes parsed YAML or JSON, ignores fields that it does not know, and raises one
`InvalidPrediction` that names every wrong field by its path:
`skills.primary.confidence: 1.7 is not in 0..1`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve

from prefetch_scheduler.engine.budget_adapter import (
    BudgetAlert,
    budget_alerts,
    constraints,
    read_constraints,
)
from prefetch_scheduler.engine.fields import FieldReader, join, type_name
from prefetch_scheduler.engine.intent_adapter import Intent, intent
from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.figures import MAX_LOAD_S
from prefetch_scheduler.policies.prediction import Constraints, Prediction
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import Mode, Role

__all__ = [
    "BudgetAlert",
    "Intent",
    "Recommendation",
    "budget_alerts",
    "constraints",
    "intent",
    "predictions",
    "read_constraints",
    "read_predictions",
    "recommendations",
    "suggested_constraints",
]


@frozen
class Recommendation:
    """A line of the predictor's prose for people. Kept as a reason, never executed."""

    when: str
    """`immediate`, `background` or `defer`."""
    text: str


def predictions(given: object) -> tuple[Prediction, ...]:
    """Predictions from the Pattern Predictor's output, or from a list of `Prediction` mappings.

    The output's top key `prediction_output` may be left out. A file named both as likely read
    and as likely modified gives two predictions; the planner merges them.

    Raises:
        InvalidPrediction: a field is wrong; names the path and fault of every one.
    """
    reader = FieldReader()
    if isinstance(given, Mapping):
        if "key" in given and "confidence" in given:
            raise InvalidPrediction("this is one prediction; put it into a list: [{...}]")
        body = _predictor_body(reader, given)
        _known(body)
        result = _from_predictor(reader, body)
        result = _with_recommendations(result, _recommendations(reader, body))
    elif isinstance(given, Iterable) and not isinstance(given, str | bytes):
        result = read_predictions(reader, {"predictions": list(given)}, "predictions")
    else:
        raise InvalidPrediction(
            "expected the Pattern Predictor's output (a mapping) or a list of predictions,"
            f" got {type_name(given)}"
        )
    reader.check()
    return result


_FIELDS = (
    "timestamp",
    "skills",
    "files",
    "behaviors",
    "resources",
    "prefetch_recommendations",
    "confidence",
)


def _known(body: Mapping[Any, Any]) -> None:
    """A mapping that holds nothing of the predictor's output is some other document."""
    if body and not any(name in body for name in _FIELDS):
        found = ", ".join(sorted(map(str, body)))
        raise InvalidPrediction(
            f"nothing of the Pattern Predictor's output in this mapping: it has {found}; expected"
            f" some of {', '.join(_FIELDS)}, or a list of predictions with no key above it"
        )


def suggested_constraints(given: object) -> Constraints:
    """What the predictor itself suggests: its `resources.suggested_mode`, where it names one.

    Raises:
        InvalidPrediction: the suggested mode is not one of the quality modes.
    """
    if not isinstance(given, Mapping):
        return Constraints()
    reader = FieldReader()
    mode = _suggested_mode(reader, _predictor_body(reader, given))
    reader.check()
    return Constraints(mode=mode or Mode.STANDARD.value)


def recommendations(given: object) -> tuple[Recommendation, ...]:
    """The predictor's `prefetch_recommendations`, in order; empty where it has none.

    Raises:
        InvalidPrediction: one of the lists is not a list of strings.
    """
    if not isinstance(given, Mapping):
        return ()
    reader = FieldReader()
    result = _recommendations(reader, _predictor_body(reader, given))
    reader.check()
    return result


def _predictor_body(reader: FieldReader, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return reader.mapping(given, "prediction_output") if "prediction_output" in given else given


def _suggested_mode(reader: FieldReader, body: Mapping[str, Any]) -> str | None:
    return reader.word(reader.mapping(body, "resources"), "suggested_mode", list(Mode), "resources")


def _recommendations(reader: FieldReader, body: Mapping[str, Any]) -> tuple[Recommendation, ...]:
    section = reader.mapping(body, "prefetch_recommendations")
    result: list[Recommendation] = []
    for when in ("immediate", "background", "defer"):
        for path, text in reader.items(section, when, "prefetch_recommendations"):
            if isinstance(text, str):
                result.append(Recommendation(when, text))
            else:
                reader.fault(path, f"{text!r} is not a string")
    return tuple(result)


def _with_recommendations(
    items: Sequence[Prediction], advice: Sequence[Recommendation]
) -> tuple[Prediction, ...]:
    """Adds each line to the reasons of the predictions that it names, word for word."""
    result = []
    for item in items:
        name = re.escape(item.key.partition(":")[2])
        named = [a for a in advice if re.search(rf"(?<![\w/.-]){name}(?![\w/-])", a.text)]
        notes = [item.reason, *(f"recommended ({a.when}): {a.text}" for a in named)]
        result.append(evolve(item, reason="; ".join(note for note in notes if note)))
    return tuple(result)


def _from_predictor(reader: FieldReader, body: Mapping[str, Any]) -> tuple[Prediction, ...]:
    _suggested_mode(reader, body)
    skills = reader.mapping(body, "skills")
    items: list[Prediction] = []
    if skills.get("primary") is not None:
        primary = reader.mapping(skills, "primary", "skills")
        if primary or isinstance(skills["primary"], Mapping):
            items.append(_skill(reader, primary, "skills.primary", Role.PRIMARY_SKILL))
    items += [
        _skill(reader, entry, path, Role.SECONDARY_SKILL)
        for path, entry in reader.mappings(skills, "secondary", "skills")
    ]
    items += _files(reader, reader.mapping(body, "files"))
    behaviors = reader.mapping(body, "behaviors")
    for path, entry in reader.mappings(behaviors, "predicted_chain", "behaviors"):
        name = reader.text(entry, "behavior", path, required=True)
        items.append(_prediction(reader, entry, path, f"behavior:{name}", Role.BEHAVIOR))
    return tuple(items)


def _skill(reader: FieldReader, entry: Mapping[str, Any], path: str, role: Role) -> Prediction:
    name = reader.text(entry, "skill_id", path, required=True)
    skill_id = reader.relative_path(name, join(path, "skill_id")) if name.strip() else ""
    return _prediction(reader, entry, path, f"skill:{skill_id}", role)


def _files(reader: FieldReader, files: Mapping[str, Any]) -> list[Prediction]:
    """The most confident file of `likely_modified`, else of `likely_read`, is the main file."""
    lists = {
        name: [
            _file(reader, entry, path, role)
            for path, entry in reader.mappings(files, name, "files")
        ]
        for name, role in (
            ("likely_modified", Role.RELATED_FILE),
            ("likely_read", Role.RELATED_FILE),
            ("likely_tests", Role.TEST_FILE),
        )
    }
    candidates = lists["likely_modified"] or lists["likely_read"]
    if candidates:
        main = max(range(len(candidates)), key=lambda index: candidates[index].confidence)
        candidates[main] = evolve(candidates[main], role=Role.MAIN_FILE.value)
    return [item for entries in lists.values() for item in entries]


def _file(reader: FieldReader, entry: Mapping[str, Any], path: str, role: Role) -> Prediction:
    name = reader.text(entry, "path", path, required=True)
    relative = reader.relative_path(name, join(path, "path")) if name.strip() else ""
    return _prediction(reader, entry, path, f"file:{relative}", role)


def _prediction(
    reader: FieldReader, entry: Mapping[str, Any], path: str, key: str, role: Role
) -> Prediction:
    confidence = reader.number(entry, "confidence", path, high=1, required=True)
    return Prediction(key, role.value, confidence or 0.0, reason=reader.text(entry, "reason", path))


def read_predictions(
    reader: FieldReader, parent: Mapping[str, Any], name: str, where: str = ""
) -> tuple[Prediction, ...]:
    """A list of `Prediction`s or of mappings with their fields; faults go to the reader."""
    result: list[Prediction] = []
    for path, entry in reader.items(parent, name, where):
        if isinstance(entry, Prediction):
            result.append(entry)
        elif isinstance(entry, Mapping):
            result.append(_listed(reader, entry, path))
        else:
            reader.fault(
                path, f"expected a mapping with key, role and confidence, got {type_name(entry)}"
            )
    return tuple(result)


_ROLES = tuple(Role)


def _listed(reader: FieldReader, entry: Mapping[str, Any], path: str) -> Prediction:
    role = reader.word(entry, "role", _ROLES, path)
    if entry.get("role") is None:
        reader.fault(join(path, "role"), f"missing; expected one of {', '.join(Role)}")
    confidence = reader.number(entry, "confidence", path, high=1, required=True)
    tokens = reader.number(entry, "tokens", path, whole=True)
    return Prediction(
        reader.key(entry, "key", path),
        role or "",
        confidence or 0.0,
        tokens=None if tokens is None else int(tokens),
        load_s=reader.number(entry, "load_s", path, most=MAX_LOAD_S),
        value=reader.number(entry, "value", path),
        reason=reader.text(entry, "reason", path),
        predictor=reader.text(entry, "predictor", path),
    )
