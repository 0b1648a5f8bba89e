"""Predictions and constraints as a host states them, and the one place that checks them."""

import math
from collections.abc import Iterable, Mapping

from attrs import field, frozen

from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.keys import key_fault
from prefetch_scheduler.policies.vocabulary import Mode, Priority, Relation, Role, Urgency


@frozen
class Prediction:
    """A resource that the agent is expected to need. Checked when it is submitted."""

    key: str
    role: str
    """One of `Role`."""
    confidence: float
    """Stated probability that it will be read, 0..1."""
    tokens: int | None = None
    """Size in tokens where the predictor knows it; None: the source or experience tells."""
    load_s: float | None = None
    """Load time in seconds where the predictor knows it."""
    value: float | None = None
    """Replaces confidence times the role's multiplier."""
    reason: str = ""


@frozen
class FollowUp:
    """A prediction that came out of loaded content, and how (decisions D11, D23)."""

    prediction: Prediction
    relation: Relation = Relation.CONTEXT


@frozen
class Constraints:
    """Limits of one plan. None: the configuration's value."""

    token_budget: int | None = None
    time_budget_ms: float | None = None
    urgency: str = "medium"
    priority_override: object = None
    """One priority for all items, or a mapping key -> priority: `"P1"`, 1 or `Priority.P1`."""
    mode: str = "standard"
    limits: Mapping[str, float | None] | None = None
    """What remains of the token limits, name -> tokens (None: no limit). The smallest binds."""


DEFAULT_CONSTRAINTS = Constraints()


@frozen
class Terms:
    """Constraints after checking: enums instead of words, a priority for each override."""

    urgency: Urgency = Urgency.MEDIUM
    mode: Mode = Mode.STANDARD
    token_budget: int | None = None
    time_budget_ms: float | None = None
    override_all: Priority | None = None
    override: Mapping[str, Priority] = field(factory=dict)
    limits: Mapping[str, float] = field(factory=dict)


def to_priority(value: object) -> Priority | None:
    """`"P1"`, 1 or `Priority.P1` as a `Priority`; None where it is none of these."""
    if isinstance(value, Priority):
        return value
    if isinstance(value, str) and value.upper() in Priority.__members__:
        return Priority[value.upper()]
    if isinstance(value, int) and not isinstance(value, bool) and value in list(Priority):
        return Priority(value)
    return None


def _number_fault(
    where: str, value: object, low: float, high: float | None, *, whole: bool
) -> str | None:
    allowed = f"a {'whole ' if whole else ''}number of at least {low:g}"
    if high is not None:
        allowed = f"a number in {low:g}..{high:g}"
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        return f"{where}: {value!r} is not {allowed}"
    if not math.isfinite(value) or value < low or (high is not None and value > high):
        return (
            f"{where}: {value!r} is not in {low:g}..{high:g}"
            if high is not None
            else (f"{where}: {value!r} is not {allowed}")
        )
    return None


def prediction_faults(where: str, item: Prediction) -> Iterable[str]:
    """Every fault of one prediction; `where` names it in the messages."""
    fault = key_fault(item.key)
    if fault is not None:
        yield f"{where}: {fault}"
    if item.role not in list(Role):
        yield f"{where}.role: {item.role!r} is not a role; allowed: {', '.join(Role)}"
    checks = (
        ("confidence", item.confidence, 0.0, 1.0, False, True),
        ("tokens", item.tokens, 0.0, None, True, False),
        ("load_s", item.load_s, 0.0, None, False, False),
        ("value", item.value, 0.0, None, False, False),
    )
    for name, value, low, high, whole, required in checks:
        if value is None and not required:
            continue
        fault = _number_fault(f"{where}.{name}", value, low, high, whole=whole)
        if fault is not None:
            yield fault


def checked_predictions(items: Iterable[object]) -> tuple[Prediction, ...]:
    """The predictions, or one error that names every fault of all of them.

    Raises:
        InvalidPrediction: an item is not a `Prediction`, or one of its fields is wrong.
    """
    faults: list[str] = []
    result: list[Prediction] = []
    for index, item in enumerate(items):
        where = f"predictions[{index}]"
        if not isinstance(item, Prediction):
            faults.append(f"{where}: expected a Prediction, got {type(item).__name__}")
            continue
        faults.extend(prediction_faults(where, item))
        result.append(item)
    if faults:
        raise InvalidPrediction(faults)
    return tuple(result)


def checked_constraints(constraints: Constraints | None) -> Terms:
    """The constraints with their words resolved.

    Raises:
        InvalidPrediction: a word or number is not one of those allowed; names every fault.
    """
    c = constraints or DEFAULT_CONSTRAINTS
    faults: list[str] = []
    for name, value, whole in (
        ("token_budget", c.token_budget, True),
        ("time_budget_ms", c.time_budget_ms, False),
    ):
        fault = (
            None
            if value is None
            else _number_fault(f"constraints.{name}", value, 0, None, whole=whole)
        )
        if fault is not None:
            faults.append(fault)
    for name, word, words in (("urgency", c.urgency, list(Urgency)), ("mode", c.mode, list(Mode))):
        if word not in words:
            faults.append(f"constraints.{name}: {word!r} is not one of {', '.join(words)}")
    limits = _checked_limits(c.limits, faults)
    override_all, override = _checked_override(c.priority_override, faults)
    if faults:
        raise InvalidPrediction(faults)
    return Terms(
        urgency=Urgency(c.urgency),
        mode=Mode(c.mode),
        token_budget=c.token_budget,
        time_budget_ms=c.time_budget_ms,
        override_all=override_all,
        override=override,
        limits=limits,
    )


def _checked_limits(limits: object, faults: list[str]) -> dict[str, float]:
    if limits is None:
        return {}
    if not isinstance(limits, Mapping):
        faults.append(
            f"constraints.limits: expected a mapping name -> tokens, got {type(limits).__name__}"
        )
        return {}
    result: dict[str, float] = {}
    for name, value in limits.items():
        if value is None:
            continue
        fault = _number_fault(f"constraints.limits.{name}", value, 0, None, whole=False)
        if fault is None:
            result[str(name)] = value
        else:
            faults.append(fault)
    return result


def _checked_override(
    given: object, faults: list[str]
) -> tuple[Priority | None, dict[str, Priority]]:
    if given is None:
        return None, {}
    if not isinstance(given, Mapping):
        priority = to_priority(given)
        if priority is None:
            faults.append(f"constraints.priority_override: {given!r} is not one of P0..P4")
        return priority, {}
    result: dict[str, Priority] = {}
    for key, value in given.items():
        priority = to_priority(value)
        fault = key_fault(key)
        if fault is not None:
            faults.append(f"constraints.priority_override: {fault}")
        elif priority is None:
            faults.append(f"constraints.priority_override[{key!r}]: {value!r} is not one of P0..P4")
        else:
            result[key] = priority
    return None, result
