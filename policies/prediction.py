"""Predictions and constraints as a host states them, and the one place that checks them."""

from collections.abc import Iterable, Mapping

from attrs import evolve, field

from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.figures import (
    MAX_LOAD_S,
    MAX_TIME_MS,
    MAX_TOKENS,
    MAX_VALUE,
    is_number,
    shown,
    within,
)
from prefetch_scheduler.policies.keys import key_fault, plain_key
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import Mode, Priority, Relation, Role, Urgency

MAX_PREDICTOR = 40
"""Characters of a predictor's name."""


@frozen
class Prediction:
    """A resource that the agent is expected to need. Checked when it is submitted."""

    key: str
    role: str
    """One of `Role`."""
    confidence: float
    """Stated probability that it will be read, 0..1."""
    tokens: int | None = None
    """Size in tokens where the predictor knows it, 0..10**12; None: the source or experience
    tells."""
    load_s: float | None = None
    """Load time in seconds where the predictor knows it, 0..1e9."""
    value: float | None = None
    """Replaces confidence times the role's multiplier; 0..1e12."""
    reason: str = ""
    predictor: str = ""
    """Who made it, where a host has several: each is believed by what came of its own predictions.
    At most `MAX_PREDICTOR` printable characters.
    """


@frozen
class FollowUp:
    """A prediction that came out of loaded content, and how (decisions D11, D23)."""

    prediction: Prediction
    relation: Relation = Relation.CONTEXT


@frozen
class Constraints:
    """Limits of one plan, each at most 10**12. None: the configuration's value."""

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


def _number_fault(where: str, value: object, most: float, *, whole: bool) -> str | None:
    """What is wrong with a number that has to be in 0..most."""
    if (isinstance(value, int | float) and is_number(value, whole=whole)) and within(value, most):
        return None
    return f"{where}: {shown(value)} is not a {'whole ' if whole else ''}number in 0..{most:g}"


_ROLES = tuple(Role)


_ROLE_SET, _WORDS = frozenset(Role), (str, Role)
_FLOAT, _INT = (float, int), (int, type(None))
_MAYBE = (float, int, type(None))


def _sound(item: Prediction) -> bool:
    """Whether a prediction is plainly well formed; where not, `prediction_faults` tells."""
    tokens, load_s, value = item.tokens, item.load_s, item.value
    return (
        type(item.key) is str
        and type(item.reason) is str
        and type(item.confidence) in _FLOAT
        and type(tokens) in _INT
        and type(load_s) in _MAYBE
        and type(value) in _MAYBE
        and type(item.role) in _WORDS
        and item.role in _ROLE_SET
        and 0 <= item.confidence <= 1
        and (tokens is None or 0 <= tokens <= MAX_TOKENS)
        and (load_s is None or 0 <= load_s <= MAX_LOAD_S)
        and (value is None or 0 <= value <= MAX_VALUE)
        and (item.predictor == "" or not predictor_fault(item.predictor))
        and key_fault(item.key) is None
    )


def prediction_faults(where: str, item: Prediction) -> Iterable[str]:
    """Every fault of one prediction; `where` names it in the messages."""
    fault = key_fault(item.key)
    if fault is not None:
        yield f"{where}: {fault}"
    if item.role not in _ROLES:
        yield f"{where}.role: {shown(item.role)} is not a role; allowed: {', '.join(Role)}"
    for name, value, most, whole in (
        ("confidence", item.confidence, 1, False),
        ("tokens", item.tokens, MAX_TOKENS, True),
        ("load_s", item.load_s, MAX_LOAD_S, False),
        ("value", item.value, MAX_VALUE, False),
    ):
        if value is None and name != "confidence":
            continue
        fault = _number_fault(f"{where}.{name}", value, most, whole=whole)
        if fault is not None:
            yield fault
    reason: object = item.reason  # hosts need not use a type checker
    if not isinstance(reason, str):
        yield f"{where}.reason: {shown(reason)} is not a string"
    if fault := predictor_fault(item.predictor):
        yield f"{where}.predictor: {fault}"


def predictor_fault(name: object) -> str:
    """What is wrong with a predictor's name; empty: nothing."""
    if type(name) is str and len(name) <= MAX_PREDICTOR and name.isprintable():
        return ""
    allowed = f"a string of at most {MAX_PREDICTOR} printable characters"
    return f"{shown(name)} is not a predictor's name: {allowed}"


def with_plain_key(item: Prediction) -> Prediction:
    """The prediction with a key that is a plain `str`, where it is a subclass of it."""
    if type(item.key) is str or not isinstance(item.key, str):
        return item
    return evolve(item, key=plain_key(item.key))


def checked_predictions(items: object) -> tuple[Prediction, ...]:
    """The predictions, or one error that names every fault of all of them.

    Raises:
        InvalidPrediction: an item is not a `Prediction`, or one of its fields is wrong; or what
            was given is no collection of them.
    """
    if isinstance(items, str | bytes) or not isinstance(items, Iterable):
        raise InvalidPrediction(
            f"predictions: expected a list of Prediction, got {type(items).__name__}"
        )
    faults: list[str] = []
    result: list[Prediction] = []
    for index, item in enumerate(items):
        if type(item) is Prediction and _sound(item):
            result.append(item)
            continue
        where = f"predictions[{index}]"
        if not isinstance(item, Prediction):
            faults.append(f"{where}: expected a Prediction, got {type(item).__name__}")
            continue
        faults.extend(prediction_faults(where, item))
        result.append(with_plain_key(item))
    if faults:
        raise InvalidPrediction(faults)
    return tuple(result)


def checked_constraints(constraints: object) -> Terms:
    """The constraints with their words resolved.

    Raises:
        InvalidPrediction: a word or number is not one of those allowed; names every fault.
    """
    c = DEFAULT_CONSTRAINTS if constraints is None else constraints
    if not isinstance(c, Constraints):
        advice = "; write them as Constraints(token_budget=5)" if isinstance(c, Mapping) else ""
        raise InvalidPrediction(
            f"constraints: expected Constraints or None, got {type(c).__name__}{advice}"
        )
    faults: list[str] = []
    for name, value, most, whole in (
        ("token_budget", c.token_budget, MAX_TOKENS, True),
        ("time_budget_ms", c.time_budget_ms, MAX_TIME_MS, False),
    ):
        if value is not None:
            fault = _number_fault(f"constraints.{name}", value, most, whole=whole)
            if fault is not None:
                faults.append(fault)
    for name, word, words in (("urgency", c.urgency, list(Urgency)), ("mode", c.mode, list(Mode))):
        if word not in words:
            faults.append(f"constraints.{name}: {shown(word)} is not one of {', '.join(words)}")
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


def as_terms(given: object) -> Terms:
    """Terms as they are, or constraints resolved.

    Raises:
        InvalidPrediction: neither, or the constraints have faults.
    """
    if isinstance(given, Terms):
        return given
    if given is None or isinstance(given, Constraints):
        return checked_constraints(given)
    raise InvalidPrediction(f"terms: expected Constraints, got {type(given).__name__}")


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
        fault = _number_fault(f"constraints.limits.{name}", value, MAX_TOKENS, whole=False)
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
            faults.append(f"constraints.priority_override: {shown(given)} is not one of P0..P4")
        return priority, {}
    result: dict[str, Priority] = {}
    for key, value in given.items():
        priority = to_priority(value)
        fault = key_fault(key)
        if fault is not None:
            faults.append(f"constraints.priority_override: {fault}")
        elif priority is None:
            faults.append(
                f"constraints.priority_override[{key!r}]: {shown(value)} is not one of P0..P4"
            )
        else:
            result[plain_key(key)] = priority
    return None, result
