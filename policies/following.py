"""Predictions that loaded content brings up (decisions D11, D23)."""

from collections.abc import Mapping

from attrs import evolve

from prefetch_scheduler.policies import submitting
from prefetch_scheduler.policies.flights import Flight
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.pool_events import Expanded
from prefetch_scheduler.policies.prediction import FollowUp, Prediction
from prefetch_scheduler.policies.sessions import (
    Expanding,
)
from prefetch_scheduler.policies.vocabulary import (
    Cause,
    Mode,
    Reason,
    Relation,
)

EXPANDING_KEPT = 1_000
"""Loads whose follow-up predictions are waited for; past them the oldest are forgotten."""

FOLLOWED: Mapping[Mode, frozenset[Relation]] = {
    Mode.ECONOMY: frozenset({Relation.CONTEXT}),
    Mode.STANDARD: frozenset({Relation.CONTEXT, Relation.DEPENDENCY}),
    Mode.PREMIUM: frozenset({Relation.CONTEXT, Relation.DEPENDENCY}),
    Mode.CRITICAL: frozenset(Relation),
}


def await_follow_ups(s: PlannerState, flight: Flight, owner: str) -> None:
    """Remember on whose behalf the loaded content is expanded; the flight itself is over soon."""
    want = flight.wants.get(owner)
    session = s.sessions.get(owner)  # None: it has ended, and must not come into being again
    if session is None:
        return
    plan = s.plans.get(want.plan) if want is not None else session.plan
    depth = (want.depth if want is not None else 0) + 1
    if plan is None or depth > s.config.execution.follow_up_depth:
        return
    s.expanding[flight.id] = Expanding(owner, plan, depth, flight.key)
    if len(s.expanding) > EXPANDING_KEPT:
        s.expanding.popitem(last=False)


def on_expanded(s: PlannerState, event: Expanded, now: float) -> None:
    """Plan what loaded content brought up, within what its plan has left (decision D23)."""
    origin = s.expanding.pop(event.id, None)
    if origin is None or origin.session not in s.sessions:
        return
    followed = FOLLOWED[origin.plan.terms.mode]
    chosen: list[Prediction] = []
    for follow_up in event.follow_ups:
        if follow_up.relation in followed:
            chosen.append(with_reason(follow_up, origin.key))
        else:
            key = follow_up.prediction.key
            s.note(key, "not followed", Reason.MODE_DOES_NOT_FOLLOW, origin.session)
    if chosen:
        terms, depth = origin.plan.terms, origin.depth
        submitting.request(
            s, origin.session, chosen, terms, Cause.PREDICTION, now, parent=origin.plan, depth=depth
        )


def with_reason(follow_up: FollowUp, parent: str) -> Prediction:
    """The prediction, with where it came from as its reason if it states none."""
    prediction = follow_up.prediction
    reason = prediction.reason or f"{follow_up.relation} of {parent}"
    return evolve(prediction, reason=reason)
