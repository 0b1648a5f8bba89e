"""From submits to plans: surveys, the plan, and who is told of it (decisions D9 to D12, D25)."""

from collections.abc import Iterable, Mapping, Sequence

from prefetch_scheduler.policies import admitting, ending
from prefetch_scheduler.policies.candidates import candidate
from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.flights import State
from prefetch_scheduler.policies.metrics_events import BudgetGranted, P0NotResident, Predicted
from prefetch_scheduler.policies.plan import Candidate, Plan, candidate_faults
from prefetch_scheduler.policies.planner_events import PlanMade, Submit, ToPool
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.planning import make_plan, merged
from prefetch_scheduler.policies.pool_events import Surveyed, SurveyNames
from prefetch_scheduler.policies.prediction import Prediction, Terms
from prefetch_scheduler.policies.sessions import (
    MadePlan,
    PendingPlan,
    PlanState,
    SessionState,
)
from prefetch_scheduler.policies.source_info import Survey
from prefetch_scheduler.policies.vocabulary import (
    Cause,
    Lane,
    Pool,
    Priority,
    Reason,
)
from prefetch_scheduler.policies.yaml_text import printable

SURVEY_POOL = Pool.P1
"""Surveys are short and precede everything else, so they run where urgent loads do."""


def on_submit(s: PlannerState, event: Submit, now: float) -> None:
    """Take on a submit; the session's context has been settled by the caller."""
    crossing = s.crossing.pop(event.session, None) is not None
    request(
        s,
        event.session,
        event.predictions,
        event.terms,
        Cause.PREDICTION,
        now,
        ticket=event.ticket,
        replaces=True,
        crossing=crossing and s.config.cancel_on_context_change,
    )


def request(
    s: PlannerState,
    session: str,
    predictions: Sequence[Prediction],
    terms: Terms,
    cause: Cause,
    now: float,
    *,
    ticket: object = None,
    replaces: bool = False,
    crossing: bool = False,
    parent: PlanState | None = None,
    depth: int = 0,
) -> None:
    """Plan predictions, once the sources that can have said what they know of them."""
    s.last_plan += 1
    pending = PendingPlan(
        id=s.last_plan,
        session=session,
        predictions=tuple(predictions),
        terms=terms,
        cause=cause,
        deadline=now + s.config.execution.survey_timeout_ms / 1000,
        ticket=ticket,
        parent=parent,
        depth=depth,
        replaces=replaces,
        crossing=crossing,
    )
    if replaces:  # plans of one session are made in the order of their submits
        for earlier in [p for p in s.pending.values() if p.session == session and p.replaces]:
            pending.crossing = pending.crossing or earlier.crossing
            plan_now(s, earlier, {}, now)
    if s.config.enable_speculative_prefetch or cause is not Cause.PREDICTION:
        pending.names = tuple(_names_to_survey(s, pending.predictions))
    if not pending.names:
        plan_now(s, pending, {}, now)
        return
    s.pending[pending.id] = pending
    asked = tuple((source, key.partition(":")[2]) for key, source in pending.names)
    s.emit(ToPool(SURVEY_POOL, SurveyNames(pending.id, asked)))


def _names_to_survey(
    s: PlannerState, predictions: Iterable[Prediction]
) -> Iterable[tuple[str, int]]:
    seen: set[str] = set()
    for prediction in predictions:
        if prediction.key in seen:
            continue
        seen.add(prediction.key)
        sources = s.prefetch_sources(prediction.key)
        if sources and sources[0].surveys:
            yield prediction.key, sources[0].id


def on_surveyed(s: PlannerState, event: Surveyed, now: float) -> None:
    pending = s.pending.get(event.plan_id)
    if pending is not None:  # else its time ran out, and it was planned without
        keys = (key for key, _ in pending.names)
        plan_now(s, pending, dict(zip(keys, event.surveys, strict=False)), now)


def plan_overdue(s: PlannerState, now: float) -> None:
    """Plan what has waited long enough for its survey, by experience alone."""
    for pending in [p for p in s.pending.values() if p.deadline <= now]:
        s.log(
            "warning",
            "sources did not say in time what they know of their names",
            "",
            pending.session,
        )
        plan_now(s, pending, {}, now)


def plan_now(
    s: PlannerState, pending: PendingPlan, surveys: Mapping[str, Survey | None], now: float
) -> None:
    s.pending.pop(pending.id, None)
    session = s.session(pending.session)
    items = merged(pending.predictions)
    keys = {s.stored(item.key, session) for item in items}
    if pending.replaces:
        admitting.drop_unrepeated(s, session, keys, crossing=pending.crossing)
    candidates = [
        candidate(s, session, item, surveys.get(item.key), pending, now) for item in items
    ]
    plan = _made(s, session, pending, candidates)
    state = _plan_state(s, session, pending, plan)
    admitting.admit(s, session, pending, plan, state, now)
    s.made.append(MadePlan(pending, plan, state))


def publish_plans(s: PlannerState) -> None:
    """Tell of the plans just made. Called once what can start has been handed to the pools:

    only then is it known what the queue has no room for (decision D17).
    """
    dropped = {flight.stored for flight in admitting.shed(s)}
    made, s.made = s.made, []
    for entry in made:
        pending = entry.pending
        plan = entry.plan.without(dropped, Reason.QUEUE_FULL) if dropped else entry.plan
        session = s.sessions.get(pending.session)
        if session is not None:  # else it has just ended
            _account(s, session, plan, pending)
        if pending.ticket is not None:
            s.emit(PlanMade(pending.ticket, plan))
        ending.report_immediate(s, entry.state)


def _make(
    s: PlannerState, session: SessionState, pending: PendingPlan, candidates: Sequence[Candidate]
) -> Plan:
    if pending.parent is not None:
        parent = pending.parent
        return make_plan(
            session.id,
            candidates,
            pending.terms,
            s.config,
            charged_background=parent.background_used,
            budget=parent.remaining,
        )
    held = [f for f in s.flights.wanted_by(session.id) if f.state is not State.STORING]
    return make_plan(
        session.id,
        candidates,
        pending.terms,
        s.config,
        charged_tokens=sum(f.tokens for f in held),
        charged_background=sum(f.tokens for f in held if f.lane is Lane.BACKGROUND),
    )


def _made(
    s: PlannerState, session: SessionState, pending: PendingPlan, candidates: Sequence[Candidate]
) -> Plan:
    """The plan; where figures make it impossible, the plan of the candidates that have none such.

    What a host and its sources state is checked before it comes here: this keeps the planner
    alive should something slip through.
    """
    try:
        return _make(s, session, pending, candidates)
    except InvalidPrediction:
        sound: list[Candidate] = []
        for candidate in candidates:
            faults = "; ".join(candidate_faults(candidate))
            if not faults:
                sound.append(candidate)
                continue
            s.note(candidate.key, "left out of the plan", faults, session.id)
            s.log("warning", f"left out of the plan: {faults}", candidate.key, session.id)
        return _make(s, session, pending, sound)


def _plan_state(
    s: PlannerState, session: SessionState, pending: PendingPlan, plan: Plan
) -> PlanState:
    background = sum(i.tokens for i in plan.items if i.lane is Lane.BACKGROUND and i.admitted)
    if pending.parent is not None:
        parent = pending.parent
        parent.remaining -= plan.tokens_planned
        parent.background_used += background
        return parent
    state = PlanState(
        id=pending.id,
        session=session.id,
        terms=pending.terms,
        ticket=pending.ticket,
        remaining=max(0, plan.token_budget - plan.tokens_charged - plan.tokens_planned),
        background_used=background,
    )
    s.plans[state.id] = state
    if pending.cause is Cause.PREDICTION:
        session.plan = state
    _forget_plans(s)
    return state


def _forget_plans(s: PlannerState) -> None:
    """Keep the plans that something may still come of: each session's latest, and unsettled."""
    if len(s.plans) < 64:
        return
    latest = {session.plan.id for session in s.sessions.values() if session.plan is not None}
    wanted = {want.plan for flight in s.flights.live.values() for want in flight.wants.values()}
    for number in [n for n in s.plans if n not in latest and n not in wanted]:
        plan = s.plans.pop(number)
        plan.failed = plan.failed or bool(plan.outstanding)
        plan.outstanding.clear()
        ending.report_immediate(s, plan)


def _account(s: PlannerState, session: SessionState, plan: Plan, pending: PendingPlan) -> None:
    """Tell metrics, the log and the keys' stories what was decided."""
    for item in plan.items:
        loaded = item.admitted or item.reason in (Reason.PENDING, Reason.CACHED)
        session.note_predicted(item.key, "" if loaded else str(item.reason))
    if pending.cause is not Cause.PREDICTION or pending.parent is not None:
        return
    s.count(BudgetGranted(session.id, plan.token_budget))
    s.count(Predicted(session.id, tuple(item.key for item in plan.items)))
    over_budget: list[str] = []
    for item in plan.items:
        text = f"{item.reason}: {item.detail}" if item.detail else str(item.reason)
        s.note(item.key, f"planned {item.priority.name} {item.lane}", text, session.id)
        if item.priority is Priority.P0 and item.reason is not Reason.CACHED:
            s.count(P0NotResident(session.id, item.key))
        if item.reason in (Reason.TOKEN_BUDGET_EXCEEDED, Reason.BACKGROUND_TOKENS_EXCEEDED):
            over_budget.append(item.key)
    if over_budget:
        skipped = printable(", ".join(over_budget[:10]))
        text = f"token budget {plan.token_budget} exceeded; skipped: {skipped}"
        s.log("info", text, session=session.id)
