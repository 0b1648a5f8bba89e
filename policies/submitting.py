"""From submits to plans: surveys, the plan, and who is told of it (decisions D9 to D12, D25)."""

from collections.abc import Mapping, Sequence
from math import inf

from prefetch_scheduler.policies import admitting, ending
from prefetch_scheduler.policies.candidates import Moment, candidate
from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.flights import State
from prefetch_scheduler.policies.keys import kind_of
from prefetch_scheduler.policies.metrics_events import (
    BudgetGranted,
    P0NotResident,
    Planned,
    Predicted,
    Told,
)
from prefetch_scheduler.policies.plan import LOADED_LANES, Candidate, Plan, candidate_faults
from prefetch_scheduler.policies.planner_events import ImmediateDone, PlanMade, Submit, ToPool
from prefetch_scheduler.policies.planner_state import PLANS_LIMIT, PlannerState
from prefetch_scheduler.policies.planning import merging, planning
from prefetch_scheduler.policies.pool_events import Surveyed, SurveyNames
from prefetch_scheduler.policies.prediction import Prediction, Terms
from prefetch_scheduler.policies.sessions import (
    MadePlan,
    PendingPlan,
    PlanState,
    SessionState,
)
from prefetch_scheduler.policies.source_info import Survey
from prefetch_scheduler.policies.steps import QUICK, Steps, at_once, in_steps
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
    if replaces:
        for earlier in [p for p in s.pending.values() if p.session == session and p.replaces]:
            if not earlier.admitted:
                pending.crossing = pending.crossing or earlier.crossing
                _overtake(s, earlier)
    s.pending[pending.id] = pending
    _work_on(s, pending, _ask_sources(s, pending))


def _overtake(s: PlannerState, earlier: PendingPlan) -> None:
    """Plans of one session are made in the order of their submits; a large one that is not made
    yet is given up instead, since nearly all of it would be replaced at once (decision D25).
    """
    if earlier.large:
        give_up(s, earlier, Reason.REPLACED)
    else:
        plan_now(s, earlier)


def give_up(s: PlannerState, pending: PendingPlan, reason: Reason) -> None:
    """Answer a submit that is not planned any more."""
    _forget_pending(s, pending)
    plan = Plan.of_nothing(pending.session, len(pending.predictions), reason)
    s.log(
        "info", f"a submit of {len(pending.predictions)} was given up: {reason}", "", plan.session
    )
    if pending.ticket is not None:
        s.emit(PlanMade(pending.ticket, plan))
        s.emit(ImmediateDone(pending.ticket, ok=False))


def _forget_pending(s: PlannerState, pending: PendingPlan) -> None:
    s.pending.pop(pending.id, None)
    s.drafts.pop(pending.id, None)


# ---- in steps --------------------------------------------------------------------------------


def _work_on(s: PlannerState, pending: PendingPlan, steps: Steps[None]) -> None:
    """Do it now; of a large plan one step at a time, whenever `draft` is called."""
    if pending.large:
        pending.deadline = inf
        s.drafts[pending.id] = steps
    else:
        at_once(steps)


def draft(s: PlannerState) -> None:
    """One step of one large plan; of several each in turn."""
    if not s.drafts:
        return
    number = next(iter(s.drafts))
    steps = s.drafts[number]
    try:
        next(steps)
    except StopIteration:
        if s.drafts.get(number) is steps:
            del s.drafts[number]
    else:
        s.drafts.move_to_end(number)


def finish_draft(s: PlannerState, pending: PendingPlan) -> None:
    """Tell of an admitted plan at once, which would be told of in steps."""
    steps = s.drafts.pop(pending.id, None)
    if pending.admitted and steps is not None:
        at_once(steps)


def _ask_sources(s: PlannerState, pending: PendingPlan) -> Steps[None]:
    """Ask those sources that can what they know of their names; plan at once where none can."""
    if s.config.enable_speculative_prefetch or pending.cause is not Cause.PREDICTION:
        pending.names = yield from _names_to_survey(s, pending.predictions)
    if not pending.names:
        yield from _plan(s, pending, {})
        return
    pending.deadline = s.now + s.config.execution.survey_timeout_ms / 1000
    asked = tuple((source, key.partition(":")[2]) for key, source in pending.names)
    s.emit(ToPool(SURVEY_POOL, SurveyNames(pending.id, asked)))


def _names_to_survey(
    s: PlannerState, predictions: Sequence[Prediction]
) -> Steps[tuple[tuple[str, int], ...]]:
    names: dict[str, int] = {}
    if not s.surveying:
        return ()
    for some in in_steps(predictions, QUICK):
        for key in dict.fromkeys([p.key for p in some if kind_of(p.key) in s.surveying]):
            sources = s.prefetch_sources(key)
            if sources and sources[0].surveys:
                names[key] = sources[0].id
        yield
    return tuple(names.items())


def on_surveyed(s: PlannerState, event: Surveyed) -> None:
    pending = s.pending.get(event.plan_id)
    if pending is None or pending.deadline == inf:
        return  # its time ran out, and it is planned without
    keys = (key for key, _ in pending.names)
    surveys = dict(zip(keys, event.surveys, strict=False))
    _work_on(s, pending, _plan(s, pending, surveys))


def plan_overdue(s: PlannerState, now: float) -> None:
    """Plan what has waited long enough for its survey, by experience alone."""
    for pending in [p for p in s.pending.values() if p.deadline <= now]:
        s.log(
            "warning",
            "sources did not say in time what they know of their names",
            "",
            pending.session,
        )
        _work_on(s, pending, _plan(s, pending, {}))


def plan_now(s: PlannerState, pending: PendingPlan) -> None:
    """Plan without another step in between, whatever had been begun of it."""
    finish_draft(s, pending)
    if not pending.admitted:
        at_once(_plan(s, pending, {}))


def _plan(
    s: PlannerState, pending: PendingPlan, surveys: Mapping[str, Survey | None]
) -> Steps[None]:
    """Make the plan and queue its loads. What was found out steps ago may have changed: a load of
    the same key that has begun meanwhile is joined.
    """
    session = s.session(pending.session)
    items = yield from merging(pending.predictions)
    candidates: list[Candidate] = []
    for some in in_steps(items):
        moment = Moment.of(s, session, pending.cause, pending.terms)
        candidates.extend([candidate(moment, item, surveys.get(item.key)) for item in some])
        yield
    # First, since what is dropped is not charged to the plan.
    if pending.replaces and s.flights.wanted_by(session.id):
        keys = {c.stored for c in candidates}
        admitting.drop_unrepeated(s, session, keys, crossing=pending.crossing)
    plan = yield from _made(s, session, pending, candidates)
    if pending.terms.limits and s.weighs:
        s.learning.planned(session.id, plan.tokens_planned)
    state = _plan_state(s, session, pending, plan)
    admitting.admit(s, session, pending, plan, state, s.now)
    pending.admitted = True
    if not pending.large:
        _forget_pending(s, pending)
    s.made.append(MadePlan(pending, plan, state))


def publish_plans(s: PlannerState) -> None:
    """Tell of the plans just made. Called once what can start has been handed to the pools:

    only then is it known what the queue has no room for (decision D17).
    """
    dropped = {flight.stored for flight in admitting.shed(s)}
    made, s.made = s.made, []
    for entry in made:
        plan = entry.plan.without(dropped, Reason.QUEUE_FULL) if dropped else entry.plan
        _work_on(s, entry.pending, _publish(s, entry, plan))


def _publish(s: PlannerState, entry: MadePlan, plan: Plan) -> Steps[None]:
    pending = entry.pending
    session = s.sessions.get(pending.session)
    if session is not None:  # else it has just ended
        yield from _account(s, session, plan, pending)
    if pending.ticket is not None:
        s.emit(PlanMade(pending.ticket, plan))
    ending.report_immediate(s, entry.state)
    s.pending.pop(pending.id, None)


def _make(
    s: PlannerState, session: SessionState, pending: PendingPlan, candidates: Sequence[Candidate]
) -> Steps[Plan]:
    if pending.parent is not None:
        parent = pending.parent
        return planning(
            session.id,
            candidates,
            pending.terms,
            s.config,
            charged_background=parent.background_used,
            budget=parent.remaining,
        )
    held = [f for f in s.flights.wanted_by(session.id) if f.state is not State.STORING]
    return planning(
        session.id,
        candidates,
        pending.terms,
        s.config,
        charged_tokens=sum(f.tokens for f in held),
        charged_background=sum(f.tokens for f in held if f.lane is Lane.BACKGROUND),
        named=pending.cause is not Cause.PREDICTION,
    )


def _made(
    s: PlannerState, session: SessionState, pending: PendingPlan, candidates: Sequence[Candidate]
) -> Steps[Plan]:
    """The plan; where figures make it impossible, the plan of the candidates that have none such.

    What a host and its sources state is checked before it comes here: this keeps the planner
    alive should something slip through.
    """
    try:
        return (yield from _make(s, session, pending, candidates))
    except InvalidPrediction:
        sound: list[Candidate] = []
        for candidate in candidates:
            faults = "; ".join(candidate_faults(candidate))
            if not faults:
                sound.append(candidate)
                continue
            s.note(candidate.key, "left out of the plan", faults, session.id)
            s.log("warning", f"left out of the plan: {faults}", candidate.key, session.id)
        return (yield from _make(s, session, pending, sound))


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
    """Keep the plans that something may still come of: each session's latest, and unsettled.

    All flights are looked at for it, so only where the plans have doubled in number since.
    """
    if len(s.plans) < s.plans_limit:
        return
    latest = {session.plan.id for session in s.sessions.values() if session.plan is not None}
    wanted = {want.plan for flight in s.flights.live.values() for want in flight.wants.values()}
    for number in [n for n in s.plans if n not in latest and n not in wanted]:
        plan = s.plans.pop(number)
        plan.failed = plan.failed or bool(plan.outstanding)
        plan.outstanding.clear()
        ending.report_immediate(s, plan)
    s.plans_limit = max(PLANS_LIMIT, 2 * len(s.plans))


_OVER_BUDGET = (Reason.TOKEN_BUDGET_EXCEEDED, Reason.BACKGROUND_TOKENS_EXCEEDED)

_PLANNED = {
    (priority, lane): f"planned {priority.name} {lane}" for priority in Priority for lane in Lane
}


def _account(
    s: PlannerState, session: SessionState, plan: Plan, pending: PendingPlan
) -> Steps[None]:
    """Tell metrics, the log and the keys' stories what was decided."""
    told = pending.cause is Cause.PREDICTION and pending.parent is None
    if told:
        s.count(BudgetGranted(session.id, plan.token_budget))
        s.count(Predicted(session.id, tuple([item.candidate.key for item in plan.items])))
    over_budget: list[str] = []
    for some in in_steps(plan.items, QUICK):
        lines: list[Told] = []
        for item in some:
            c, cached = item.candidate, item.reason is Reason.CACHED
            key, reason = c.key, str(item.reason)
            loaded = item.lane in LOADED_LANES or cached
            session.note_predicted(key, "" if loaded else reason, c.worth)
            text = f"{reason}: {item.detail}" if item.detail else reason
            lines.append((key, _PLANNED[item.priority, item.lane], text, c.worth))
            if told and item.priority is Priority.P0 and not cached:
                s.count(P0NotResident(session.id, key))
            if item.reason in _OVER_BUDGET:
                over_budget.append(key)
        if told:
            s.count(Planned(session.id, tuple(lines)))
        yield
    if told and over_budget:
        skipped = printable(", ".join(over_budget[:10]))
        text = f"token budget {plan.token_budget} exceeded; skipped: {skipped}"
        s.log("info", text, session=session.id)
