"""Contexts, sessions, pins and what the cache reports (decisions D13, D25, D27, D31 to D33)."""

from math import inf
from typing import assert_never

from attrs import evolve

from prefetch_scheduler.policies import demanding, ending, loading, reloading, submitting
from prefetch_scheduler.policies.cache_events import (
    Accessed,
    Acknowledged,
    CacheNotice,
    CacheReport,
    EndSession,
    Holding,
    Invalidated,
    Pin,
    Refused,
    Removed,
    SessionLeft,
    Stored,
    Unpin,
)
from prefetch_scheduler.policies.config import MAX_PINS
from prefetch_scheduler.policies.errors import PrefetchError
from prefetch_scheduler.policies.flights import Flight, State
from prefetch_scheduler.policies.keys import kind_of, public_key
from prefetch_scheduler.policies.metrics_events import Learned, SessionClosed, SessionOpened
from prefetch_scheduler.policies.planner_events import (
    CancelKey,
    CancelPlan,
    ContextChanged,
    ContextSwitched,
    Done,
    PinKey,
    Refuse,
    Retry,
    SessionEnded,
    SessionStarted,
    Tell,
    ToCache,
    UnpinKey,
)
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.prediction import Prediction, Terms
from prefetch_scheduler.policies.sessions import PendingPlan, SessionState
from prefetch_scheduler.policies.vocabulary import (
    Cause,
    Lane,
    Pool,
    Priority,
    Reason,
    RemovalCause,
    Role,
)
from prefetch_scheduler.policies.yaml_text import printable

FAMILIAR_WEIGHED = 50
"""Keys that most sessions of a project read, of which a new session loads those worth it."""
HABITUAL = 0.99
"""Stated confidence in what earlier sessions used most, while too little is known to weigh it."""
LEAVING_KEPT = 256
"""Sessions that are over and wait for word of their last reads."""

# ---- contexts -------------------------------------------------------------------------------


def on_context_changed(s: PlannerState, event: ContextChanged, now: float) -> None:
    """The session turned to something else: what that does not predict is cancelled soon (D25)."""
    session = s.session(event.session)
    if session.context == event.context:
        return
    first = session.context is None and session.plan is None
    session.context = event.context
    s.emit(Tell(ContextSwitched(session.id, event.context)))
    if s.config.cancel_on_context_change and not first:
        s.crossing.pop(session.id, None)  # so that the earliest stands first
        s.crossing[session.id] = now + s.config.execution.context_grace_s


def cross_overdue(s: PlannerState, now: float) -> None:
    """No submit came under the new context: nothing of the old one is wanted any more."""
    for name in [name for name, due in s.crossing.items() if due <= now]:
        del s.crossing[name]
        for pending in [p for p in s.pending.values() if p.session == name and p.large]:
            if pending.replaces and not pending.admitted:  # submitted under the old context
                submitting.give_up(s, pending, Reason.CONTEXT_CHANGED)
        for flight in s.flights.wanted_by(name):
            ending.drop_want(s, flight, name, Reason.CONTEXT_CHANGED)


def on_cancel_plan(s: PlannerState, event: CancelPlan) -> None:
    """The host takes a submit back: what only that plan wanted is dropped."""
    for pending in [p for p in s.pending.values() if p.ticket is event.ticket]:
        _plan_nothing(s, pending)
    plan = next((p for p in s.plans.values() if p.ticket is event.ticket), None)
    if plan is None:
        return
    for flight in s.flights.wanted_by(plan.session):
        if flight.wants[plan.session].plan == plan.id:
            ending.drop_want(s, flight, plan.session, Reason.HOST_CANCELLED)
    # What a later submit took over goes on for that one; this one counts on nothing any more.
    for stored in sorted(plan.outstanding):
        ending.settle(s, plan, stored, ok=False)


def on_cancel_key(s: PlannerState, event: CancelKey) -> None:
    """The host takes one key back, whichever submit wanted it. Pins and readers stay."""
    session = s.session(event.session)
    flight = s.flights.live.get(s.stored(event.key, session))
    if flight is not None and session.id in flight.wants:
        ending.drop_want(s, flight, session.id, Reason.HOST_CANCELLED)


def _plan_nothing(s: PlannerState, pending: PendingPlan) -> None:
    """Nobody wants it any more; one whose loads are queued already is told of first."""
    submitting.finish_draft(s, pending)
    if not pending.admitted:
        pending.predictions = ()
        pending.replaces = False
        submitting.plan_now(s, pending)


# ---- sessions -------------------------------------------------------------------------------


def on_session_started(s: PlannerState, event: SessionStarted, now: float) -> None:
    session = s.session(event.session)
    session.project = event.project if event.project is not None else session.project
    session.user = event.user if event.user is not None else session.user
    s.learning.began(session.id, session.project)
    s.count(SessionOpened(session.id, session.project, session.user))
    for stored, key, at in s.early.taken(session.id):
        demanding.note_reader(s, session, stored, key, at)
    for key in s.config.pins:
        on_pin(s, PinKey(session.id, key), now)
    prefill(s, session, s.config.prefill.session_start, demanding.habit_groups(session), now)


def on_project_switched(s: PlannerState, session_name: str, project: str, now: float) -> None:
    session = s.session(session_name)
    session.project = project
    s.learning.began(session.id, project)
    configured = s.config.prefill.project_switch.get(project, ())
    prefill(s, session, configured, [f"project:{project}"], now)


def on_user_logged_in(s: PlannerState, session_name: str, user: str, now: float) -> None:
    session = s.session(session_name)
    session.user = user
    configured = s.config.prefill.user_login.get(user, ())
    prefill(s, session, configured, [f"user:{user}"], now)


def prefill(
    s: PlannerState,
    session: SessionState,
    configured: tuple[str, ...],
    groups: list[str],
    now: float,
) -> None:
    """Load configured keys, and those that earlier sessions read most (decision D33).

    Where enough has been learned, these are as many as are worth it, eagerly; before that they
    are the most used few, in the background.
    """
    learned: dict[str, tuple[float, Priority]] = {}
    if s.weighs and s.learning.experienced:
        if s.config.prefill.learned:
            for stored, share in s.learning.familiar.most(session.project, FAMILIAR_WEIGHED):
                key = public_key(stored)
                if s.stored(key, session) == stored:  # not what others' own is called
                    learned[key] = (share, Priority.P2)
    else:
        top = [key for group in groups for key in s.habits.top(group, s.config.prefill.learned)]
        learned = dict.fromkeys(top, (HABITUAL, Priority.P3))
    chosen = learned | dict.fromkeys(configured, (1.0, Priority.P2))
    if not chosen:
        return
    predictions = [
        Prediction(key, Role.EXTENDED_CONTEXT, confidence, reason="prefill")
        for key, (confidence, _) in chosen.items()
    ]
    terms = Terms(override={key: priority for key, (_, priority) in chosen.items()})
    submitting.request(s, session.id, predictions, terms, Cause.PREFILL, now)


def on_session_ended(s: PlannerState, event: SessionEnded) -> None:
    s.crossing.pop(event.session, None)
    for pending in [p for p in s.pending.values() if p.session == event.session]:
        _plan_nothing(s, pending)
    for flight in [f for f in s.flights.live.values() if event.session in f.pin_for]:
        _unpin_flight(s, flight, event.session)
    for flight in s.flights.wanted_by(event.session):
        ending.drop_want(s, flight, event.session, Reason.SESSION_ENDED)
    ended = s.sessions.pop(event.session, None)
    if ended is not None:
        s.leaving[event.session] = ended
        if len(s.leaving) > LEAVING_KEPT:
            _left(s, next(iter(s.leaving)))
    s.emit(ToCache(EndSession(event.session)))
    s.count(SessionClosed(event.session))


def _left(s: PlannerState, session: str) -> None:
    """A session that is over has read what it has: reads are told of some time after they happen,
    and only now is it known which predictions of it came true.
    """
    s.leaving.pop(session, None)
    s.learning.ended(session)
    report_learned(s)


def report_learned(s: PlannerState) -> None:
    """Tell metrics what has been learned, and the log where a promise is not kept any more."""
    if not s.weighs:
        return
    tell_turned(s)
    sources = tuple(info.name for info in s.table.infos)
    figures = evolve(s.learning.figures(), sources=sources)
    s.count(Learned(figures))
    if s.promise_kept and not figures.kept and figures.wasted is not None:
        s.log(
            "warning",
            f"waste is {figures.wasted:.0%} of what is prefetched, {figures.promised:.0%} was"
            f" promised: only what is {figures.least_chance:.0%} likely to be read is loaded ahead",
        )
    s.promise_kept = figures.kept


def tell_turned(s: PlannerState) -> None:
    """Log whose loads ahead have been stopped because they were wasted, and whose go on again."""
    turned, s.learning.turned = s.learning.turned, []
    for (source, role), held in turned:
        whose = f"source {s.table.infos[source].name!r}" + (f", role {role}" if role else "")
        if held is None:
            s.log("info", f"{whose}: what is predicted is read again; it is loaded ahead again")
        else:
            s.log("warning", f"{whose}: nothing is loaded ahead for a while: {held.words()}")


# ---- pins -----------------------------------------------------------------------------------


def on_pin(s: PlannerState, event: PinKey, now: float) -> None:
    session = s.session(event.session)
    stored = s.stored(event.key, session)
    if stored not in session.pins and len(session.pins) >= MAX_PINS:
        named = f"{printable(event.key)}: session {session.id!r}"
        text = f"{named} has {MAX_PINS} pins already; unpin one first"
        s.log("warning", text, event.key, session.id)
        if event.ticket is not None:
            s.emit(Refuse(event.ticket, PrefetchError(text)))
        return
    session.pins.add(stored)
    s.emit(ToCache(Pin(stored, session.id)))
    s.emit(Done(event.ticket))
    if stored not in s.resident:
        _load_pin(s, session, event.key, stored, now)


def _load_pin(s: PlannerState, session: SessionState, key: str, stored: str, now: float) -> None:
    """Pins are loaded outside every budget, most urgently (decisions D10, D13)."""
    flight = s.flights.live.get(stored)
    sources = s.prefetch_sources(key)
    if flight is None and not sources:
        why = (
            "no source serves its kind"
            if not s.table.by_kind.get(kind_of(key))
            else "not read-only"
        )
        s.log("warning", f"{printable(key)}: pinned, but not loaded ahead: {why}", key, session.id)
        return
    if flight is None:
        figures = s.estimator.estimate(sources[0], key.partition(":")[2], None, None, None)
        flight = Flight(
            id=s.flights.next_id(),
            stored=stored,
            key=key,
            name=key.partition(":")[2],
            sources=s.table.by_kind[kind_of(key)],
            source_at=s.first_prefetch_source(key),
            cause=Cause.PREFILL,
            priority=Priority.P0,
            density=inf,
            pool=Pool.P0,
            lane=Lane.IMMEDIATE,
            session=session.id,
            created_at=now,
            ready_at=now,
            tokens=figures.tokens,
            load_s=figures.load_s,
            reason="pinned",
        )
        s.flights.add(flight)
        s.enqueue(flight)
    flight.pin_for |= {session.id}


def on_unpin(s: PlannerState, event: UnpinKey) -> None:
    session = s.met(event.session)
    stored = s.stored(event.key, session)
    session.pins.discard(stored)
    flight = s.flights.live.get(stored)
    if flight is not None:
        _unpin_flight(s, flight, session.id)
    s.emit(ToCache(Unpin(stored, session.id)))


def _unpin_flight(s: PlannerState, flight: Flight, session: str) -> None:
    flight.pin_for -= {session}
    if not (flight.wants or flight.waiters or flight.pin_for):
        ending.cancel(s, flight, Reason.SESSION_ENDED)


# ---- what the cache reports -------------------------------------------------------------------


def on_cache_report(s: PlannerState, report: CacheReport, now: float) -> None:
    for notice in report.notices:  # first: what is loaded again is expected from then on
        if isinstance(notice, Accessed):
            _accessed(s, notice)
        elif isinstance(notice, Invalidated):
            s.learning.changed(notice.pattern)
    for notice in report.notices:
        _on_notice(s, notice, now)
    if s.learning.turned:
        tell_turned(s)


def _on_notice(s: PlannerState, notice: CacheNotice, now: float) -> None:
    match notice:
        case Stored():
            _stored(s, notice)
        case Refused():
            _refused(s, notice, now)
        case Removed():
            s.resident.pop(notice.stored, None)
            s.learning.left(notice.stored)
            if notice.cause is RemovalCause.INVALIDATED and (notice.was_read or notice.pinned):
                reloading.reload(s, notice, now)
        case Invalidated():
            _invalidated(s, notice)
        case Holding():
            s.resident = {entry.stored: entry for entry in notice.entries}
        case Accessed():
            pass  # taken in before the others
        case SessionLeft(session):
            if session not in s.sessions:  # else it has begun again meanwhile
                _left(s, session)
        case _:
            assert_never(notice)


def _accessed(s: PlannerState, notice: Accessed) -> None:
    for read in notice.reads:
        session = s.sessions.get(read.session) or s.leaving.get(read.session)
        if session is not None:
            demanding.note_use(s, session, read.stored, public_key(read.stored), read.at)


def _stored(s: PlannerState, notice: Stored) -> None:
    if notice.entry is not None:
        s.resident[notice.stored] = notice.entry
    flight = s.flights.by_id.get(notice.flight_id)
    if flight is not None and flight.state is State.STORING:
        for waiter in flight.waiters:
            s.emit(Retry(waiter.ticket, counted=True))
        flight.waiters = ()
        ending.resolve(s, flight, ok=True)
        s.flights.detach(flight)
        return
    live = s.flights.live.get(notice.stored)
    if live is not None and notice.entry is not None and live.epoch < notice.entry.epoch:
        loading.superseded(s, live)


def _refused(s: PlannerState, notice: Refused, now: float) -> None:
    """A change overtook the load between its end and its storing, or the cache failed on it."""
    flight = s.flights.by_id.get(notice.flight_id)
    if flight is not None and flight.state is State.STORING:
        flight.used = True  # how the prefetch ended is counted: by the cache, or by its reader
        flight.entry = None
        s.learning.left(flight.stored)
        if notice.lost:
            loading.lost(s, flight, now)
        else:
            loading.overtaken(s, flight, now)


def _invalidated(s: PlannerState, notice: Invalidated) -> None:
    s.epoch = max(s.epoch, notice.epoch)
    s.availability.changed(notice.pattern)
    for flight in s.flights.covered_by(notice.pattern):
        # One that is being stored will be refused: from now on nobody may be answered with it.
        if flight.dispatched and flight.epoch < notice.epoch:
            flight.overtaken = True
    s.emit(ToCache(Acknowledged(notice.epoch)))
