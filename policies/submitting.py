"""From predictions to queued loads: candidates, the plan, and what it replaces (D4 to D12, D25)."""

from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve

from prefetch_scheduler.policies import ending
from prefetch_scheduler.policies.cache_events import Pin
from prefetch_scheduler.policies.config import MAX_PINS
from prefetch_scheduler.policies.content import Entry
from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.flights import Flight, Rank, State, Want
from prefetch_scheduler.policies.keys import kind_of
from prefetch_scheduler.policies.metrics_events import BudgetGranted, P0NotResident, Predicted
from prefetch_scheduler.policies.plan import Candidate, Plan, PlanItem, candidate_faults
from prefetch_scheduler.policies.planner_events import PlanMade, Submit, ToCache, ToPool
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.planning import Merged, make_plan, merged
from prefetch_scheduler.policies.pool_events import Expanded, Surveyed, SurveyNames, Withdraw
from prefetch_scheduler.policies.prediction import FollowUp, Prediction, Terms
from prefetch_scheduler.policies.sessions import (
    Expanding,
    MadePlan,
    PendingPlan,
    PlanState,
    SessionState,
)
from prefetch_scheduler.policies.source_info import SourceInfo, Survey
from prefetch_scheduler.policies.vocabulary import (
    Cause,
    Lane,
    Mode,
    Pool,
    Priority,
    Reason,
    Relation,
    Role,
)
from prefetch_scheduler.policies.yaml_text import printable

SURVEY_POOL = Pool.P1
"""Surveys are short and precede everything else, so they run where urgent loads do."""

EXPANDING_KEPT = 1_000
"""Loads whose follow-up predictions are waited for; past them the oldest are forgotten."""

FOLLOWED: Mapping[Mode, frozenset[Relation]] = {
    Mode.ECONOMY: frozenset({Relation.CONTEXT}),
    Mode.STANDARD: frozenset({Relation.CONTEXT, Relation.DEPENDENCY}),
    Mode.PREMIUM: frozenset({Relation.CONTEXT, Relation.DEPENDENCY}),
    Mode.CRITICAL: frozenset(Relation),
}


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
        _drop_unrepeated(s, session, keys, crossing=pending.crossing)
    candidates = [
        _candidate(s, session, item, surveys.get(item.key), pending, now) for item in items
    ]
    plan = _made(s, session, pending, candidates)
    state = _plan_state(s, session, pending, plan)
    _admit(s, session, pending, plan, state, now)
    s.made.append(MadePlan(pending, plan, state))


def publish_plans(s: PlannerState) -> None:
    """Tell of the plans just made. Called once what can start has been handed to the pools:

    only then is it known what the queue has no room for (decision D17).
    """
    dropped = {flight.stored for flight in _shed(s)}
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


def _candidate(
    s: PlannerState,
    session: SessionState,
    item: Merged,
    survey: Survey | None,
    pending: PendingPlan,
    now: float,
) -> Candidate:
    stored = s.stored(item.key, session)
    sources = s.prefetch_sources(item.key)
    source = sources[0] if sources else None
    obstacle, detail = _obstacle(s, item.key, stored, source, survey, pending.cause, now)
    name = item.key.partition(":")[2]
    figures = s.estimator.estimate(source, name, survey, item.tokens, item.load_s)
    rules = s.config.priorities
    return Candidate(
        key=item.key,
        stored=stored,
        role=Role(item.role),
        confidence=item.confidence,
        reasons=item.reasons,
        tokens=figures.tokens,
        load_s=figures.load_s,
        value=item.value,
        source_id=source.id if source else None,
        obstacle=obstacle,
        detail=detail,
        recent=s.usage.recent(stored, now, rules.recent_access_s),
        frequent=s.usage.uses_today(stored, s.today) > rules.frequent_uses,
        pending=stored in s.flights.live,
        survey=survey,
    )


def _obstacle(
    s: PlannerState,
    key: str,
    stored: str,
    source: SourceInfo | None,
    survey: Survey | None,
    cause: Cause,
    now: float,
) -> tuple[Reason | None, str]:
    """Why an item cannot be loaded ahead, and the words for people."""
    if source is None:
        served = s.table.by_kind.get(kind_of(key))
        if not served:
            return Reason.NO_SOURCE, f"no source serves the kind {kind_of(key)!r}"
        if not any(info.read_only for info in served):
            return Reason.NOT_READ_ONLY, "its source does not declare itself read-only"
        return Reason.REMOTE_NOT_ALLOWED, "its source is remote; see execution.prefetch_remote"
    if cause is Cause.PREDICTION and not s.config.enable_speculative_prefetch:
        return Reason.SPECULATION_OFF, "enable_speculative_prefetch is false"
    entry = s.resident.get(stored)
    if entry is not None and _current(entry, survey, now):
        return Reason.CACHED, "in the cache"
    if survey is not None and survey.excluded:
        return Reason.EXCLUDED, survey.excluded
    blocked = s.availability.blocked(stored, now)
    if blocked is not None:
        return Reason.UNAVAILABLE, blocked
    return None, ""


def _current(entry: Entry, survey: Survey | None, now: float) -> bool:
    """Whether a resident entry would still be served, as far as can be told without a read."""
    content = entry.content
    if content.max_age_s is not None and now - entry.loaded_at > content.max_age_s:
        return False
    if survey is None or survey.version is None:
        return True
    try:
        return bool(survey.version == content.version)
    except Exception:  # noqa: BLE001 - versions are a source's own objects, comparisons included
        return False


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


def _drop_unrepeated(
    s: PlannerState, session: SessionState, repeated: set[str], *, crossing: bool
) -> None:
    """What a submit ends (decision D25): under a new context all that it does not predict;

    within a context only predicted items that are still queued.
    """
    for flight in s.flights.wanted_by(session.id):
        if flight.stored in repeated:
            continue
        queued = flight.state in (State.QUEUED, State.HANDED)
        if crossing:
            ending.drop_want(s, flight, session.id, Reason.CONTEXT_CHANGED)
        elif queued and flight.wants[session.id].cause is Cause.PREDICTION:
            ending.drop_want(s, flight, session.id, Reason.REPLACED)


def _admit(
    s: PlannerState,
    session: SessionState,
    pending: PendingPlan,
    plan: Plan,
    state: PlanState,
    now: float,
) -> None:
    """Queue what the plan loads, and take over what is under way already."""
    for item in plan.items:
        if s.config.priorities.base[item.role] == Priority.P0:
            _pin(s, session, item)
        expected = (
            item.priority <= Priority.P1 and pending.depth == 0 and item.reason is not Reason.CACHED
        )
        if expected:
            _expect(state, item)
        want = Want(session.id, pending.cause, state.id, pending.depth)
        if item.reason is Reason.PENDING:
            flight = s.flights.live.get(item.stored)
            if flight is not None:
                flight.wants[session.id] = want
                _rank_anew(s, flight, item)
        elif item.admitted:
            _enqueue(s, session, item, want, now)
        elif item.lane is Lane.DEFERRED:
            _defer(s, session, item)
        if expected and item.stored in state.outstanding:
            s.flights.live[item.stored].expected_by.add(state.id)


def _defer(s: PlannerState, session: SessionState, item: PlanItem) -> None:
    """What is queued and now stated too unlikely is not loaded after all (decisions D4, D20)."""
    flight = s.flights.live.get(item.stored)
    if flight is None or flight.state not in (State.QUEUED, State.HANDED):
        return
    want = flight.wants.get(session.id)
    if want is not None and want.cause is Cause.PREDICTION:
        ending.drop_want(s, flight, session.id, item.reason)


def _pin(s: PlannerState, session: SessionState, item: PlanItem) -> None:
    """What is P0 by its role stays resident until the session ends (decision D13)."""
    cached = item.reason is Reason.CACHED
    if not cached and item.lane not in (Lane.IMMEDIATE, Lane.BACKGROUND):
        return
    if item.stored not in session.pins and len(session.pins) < MAX_PINS:
        session.pins.add(item.stored)
        s.emit(ToCache(Pin(item.stored, session.id)))


def _expect(state: PlanState, item: PlanItem) -> None:
    """A P0 or P1 item is waited for, or has failed already if it is not going to be loaded."""
    if item.lane in (Lane.IMMEDIATE, Lane.BACKGROUND):
        state.outstanding.add(item.stored)
    else:
        state.failed = True


def _enqueue(
    s: PlannerState, session: SessionState, item: PlanItem, want: Want, now: float
) -> Flight:
    background = item.lane is Lane.BACKGROUND
    flight = Flight(
        id=s.flights.next_id(),
        stored=item.stored,
        key=item.key,
        name=item.key.partition(":")[2],
        sources=s.table.by_kind[kind_of(item.key)],
        source_at=s.first_prefetch_source(item.key),
        cause=want.cause,
        rank=Rank(item.priority, item.density, item.key),
        pool=Pool.P3,
        lane=item.lane,
        session=session.id,
        created_at=now,
        ready_at=now + (s.config.background_start_delay_ms / 1000 if background else 0.0),
        tokens=item.tokens,
        load_s=item.load_s,
        survey=item.survey,
        reason="; ".join(item.reasons),
        wants={session.id: want},
    )
    flight.pool = flight.own_pool
    s.flights.add(flight)
    s.queue.add(flight)
    return flight


def _rank_anew(s: PlannerState, flight: Flight, item: PlanItem) -> None:
    """A flight under way is predicted again: it keeps the more urgent of its sessions' ranks."""
    others = len(flight.wants) > 1
    rank = Rank(item.priority, item.density, item.key)
    if (others or flight.waiters) and flight.rank.order < rank.order:
        return
    queued = s.queue.remove(flight)
    flight.rank = rank
    flight.lane = item.lane
    if queued:
        if flight.pool is not Pool.DEMAND:
            flight.pool = flight.own_pool
        s.queue.add(flight)
    elif flight.state is State.HANDED and flight.own_pool is not Pool.P3:
        flight.requeue = True
        s.emit(ToPool(Pool.P3, Withdraw(flight.id)))


def _shed(s: PlannerState) -> list[Flight]:
    """Drop the least valuable background items past what may wait (decision D17)."""
    shed: list[Flight] = []
    while s.queue.length(Pool.P3) > s.config.max_background_queue:
        flight = s.queue.least(Pool.P3)
        ending.cancel(s, flight, Reason.QUEUE_FULL)
        shed.append(flight)
    return shed


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
        request(
            s, origin.session, chosen, terms, Cause.PREDICTION, now, parent=origin.plan, depth=depth
        )


def with_reason(follow_up: FollowUp, parent: str) -> Prediction:
    """The prediction, with where it came from as its reason if it states none."""
    prediction = follow_up.prediction
    reason = prediction.reason or f"{follow_up.relation} of {parent}"
    return evolve(prediction, reason=reason)
