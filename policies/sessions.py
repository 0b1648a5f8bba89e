"""What the planner knows of each session: its context, its plans, what was predicted in it."""

from collections import OrderedDict
from functools import lru_cache
from typing import Any

from attrs import Factory, field

from prefetch_scheduler.policies.plan import Plan
from prefetch_scheduler.policies.prediction import Prediction, Terms
from prefetch_scheduler.policies.steps import LARGE
from prefetch_scheduler.policies.values import define
from prefetch_scheduler.policies.vocabulary import Cause
from prefetch_scheduler.policies.worth import Worth

PREDICTED_KEPT = 2_000
"""Predicted keys remembered for each session, newest; past them a miss counts as not predicted."""


@lru_cache(64)
def _plain(why: str) -> tuple[str, None]:
    """One tuple for all keys of which no more than this reason is to be remembered."""
    return why, None


@define(eq=False)
class PlanState:
    """A plan whose items may still be under way."""

    id: int
    session: str
    terms: Terms
    ticket: Any = None
    remaining: int = 0
    """Tokens of its budget that nothing was admitted for; follow-ups may use them (D23)."""
    background_used: int = 0
    """Background tokens admitted so far, follow-ups included."""
    outstanding: set[str] = Factory(set)
    """Cache keys of its P0 and P1 items that are not loaded yet."""
    failed: bool = False
    reported: bool = False


@define(eq=False)
class PendingPlan:
    """A submit, prefill or set of follow-ups that waits for the sources' own estimates."""

    id: int
    session: str
    predictions: tuple[Prediction, ...]
    terms: Terms
    cause: Cause
    deadline: float
    ticket: Any = None
    names: tuple[tuple[str, int], ...] = ()
    """(key, source id) for each name asked about, in the order asked."""
    parent: PlanState | None = None
    """The plan whose budget the follow-ups share; None for a plan of its own."""
    depth: int = 0
    replaces: bool = True
    """Whether what the session queued before and this does not repeat is dropped (D25)."""
    crossing: bool = False
    """Whether it is the first submit under a new context: running loads are dropped too."""
    admitted: bool = False
    """Whether its loads are queued, and only its submitter has not been told yet."""

    @property
    def large(self) -> bool:
        """Whether it is planned in steps, between which other events are handled."""
        return len(self.predictions) > LARGE


@define(eq=False)
class MadePlan:
    """A plan that its submitter has not been told of yet."""

    pending: PendingPlan
    plan: Plan
    state: PlanState


@define(eq=False)
class Expanding:
    """A load whose content is being asked for follow-up predictions (decision D23)."""

    session: str
    plan: PlanState
    depth: int
    key: str


@define(eq=False)
class SessionState:
    """One session of the host."""

    id: str
    project: str | None = None
    user: str | None = None
    context: str | None = None
    plan: PlanState | None = None
    """The latest plan that a host submitted."""
    predicted: OrderedDict[str, tuple[str, Worth | None]] = field(
        init=False, default=Factory(OrderedDict)
    )
    """Key -> why it was not loaded ahead, or an empty string, and how it was weighed; newest last.
    """
    pins: set[str] = field(init=False, default=Factory(set))

    def note_predicted(self, key: str, why: str, worth: Worth | None) -> None:
        self.predicted[key] = (why, worth) if worth else _plain(why)
        self.predicted.move_to_end(key)
        if len(self.predicted) > PREDICTED_KEPT:
            self.predicted.popitem(last=False)
