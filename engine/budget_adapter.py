"""The Token Economy Manager's budgets and mode: constraints of a plan, and alerts on its limits."""

from collections.abc import Mapping
from typing import Any, Literal

from attrs import evolve

from prefetch_scheduler.engine.fields import FieldReader, join, type_name
from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.prediction import Constraints, checked_constraints
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import Mode, Urgency

WARNING_SHARE = 0.8
CRITICAL_SHARE = 0.95

_LIMITS = ("daily", "session", "task")


@frozen
class BudgetAlert:
    """A token limit of the manager is nearly used up."""

    limit: str
    """Which one: `daily`, `session` or `task`."""
    level: Literal["warning", "critical"]
    used_share: float
    """Used tokens / allocated tokens."""
    allocated: float
    remaining: float

    def __str__(self) -> str:
        return (
            f"{self.limit} token limit {self.level}: {self.used_share:.0%} used,"
            f" {self.remaining:g} of {self.allocated:g} tokens remain"
        )


def constraints(
    given: object, *, suggested: Constraints | None = None, urgency: str | None = None
) -> Constraints:
    """Constraints from the Token Economy Manager's budgets and mode.

    `daily_limit`, `session_limit`, `task_limit` with `daily_remaining`, `session_remaining`,
    `task_remaining` in tokens (null: none), and `mode`; they may stand under the top key
    `token_economy`. What remains binds, or the limit where nothing is said of the rest. The
    plain fields of `Constraints` are taken too.

    Args:
        suggested: the predictor's `suggested_constraints`; the manager's own mode wins over
            its (decision D11).
        urgency: the Intent Parser's, where the mapping names none.

    Raises:
        InvalidPrediction: a field is wrong; names the path and fault of every one.
    """
    reader = FieldReader()
    body = _manager_body(reader, given)
    result = read_constraints(reader, body)
    reader.check()
    if suggested is not None and body.get("mode") is None:
        result = evolve(result, mode=suggested.mode)
    if urgency is not None and body.get("urgency") is None:
        result = evolve(result, urgency=urgency)
    return result


def read_constraints(reader: FieldReader, body: Mapping[str, Any], where: str = "") -> Constraints:
    """The same from a section of a larger mapping; faults go to the reader."""
    budget = reader.number(body, "token_budget", where, whole=True)
    plain = reader.mapping(body, "limits", where)
    limits = {str(name): reader.number(plain, name, join(where, "limits")) for name in plain}
    for name in _LIMITS:
        allocated = reader.number(body, f"{name}_limit", where)
        remaining = reader.number(body, f"{name}_remaining", where)
        bounds = [bound for bound in (allocated, remaining) if bound is not None]
        if bounds:
            limits[name] = min(bounds)
    result = Constraints(
        token_budget=None if budget is None else int(budget),
        time_budget_ms=reader.number(body, "time_budget_ms", where),
        urgency=reader.word(body, "urgency", list(Urgency), where) or Urgency.MEDIUM.value,
        priority_override=body.get("priority_override"),
        mode=reader.word(body, "mode", list(Mode), where) or Mode.STANDARD.value,
        limits=limits or None,
    )
    _check_override(reader, result, where)
    return result


def _check_override(reader: FieldReader, given: Constraints, where: str) -> None:
    try:
        checked_constraints(Constraints(priority_override=given.priority_override))
    except InvalidPrediction as error:
        for fault in error.faults:
            reader.fault("", join(where, fault.removeprefix("constraints.")))


def budget_alerts(given: object) -> tuple[BudgetAlert, ...]:
    """Which of the manager's limits are used to 0.8 (`warning`) or 0.95 (`critical`) and beyond.

    Only limits of which both the allocation and what remains are known.

    Raises:
        InvalidPrediction: a limit or remainder is not a number of at least 0.
    """
    reader = FieldReader()
    body = _manager_body(reader, given)
    result: list[BudgetAlert] = []
    for name in _LIMITS:
        allocated = reader.number(body, f"{name}_limit")
        remaining = reader.number(body, f"{name}_remaining")
        if allocated is None or remaining is None:
            continue
        used = 1.0 if allocated == 0 else max(0.0, 1 - remaining / allocated)
        # A share such as 1 - 200/1000 falls a rounding error short of the threshold it states.
        if used + 1e-9 >= WARNING_SHARE:
            level: Literal["warning", "critical"] = (
                "critical" if used + 1e-9 >= CRITICAL_SHARE else "warning"
            )
            result.append(BudgetAlert(name, level, used, allocated, remaining))
    reader.check()
    return tuple(result)


def _manager_body(reader: FieldReader, given: object) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidPrediction(f"constraints: expected a mapping, got {type_name(given)}")
    return reader.mapping(given, "token_economy") if "token_economy" in given else given
