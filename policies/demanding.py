"""Readers whose content is not resident: joining, single flight, demand first (D16, D36)."""

from prefetch_scheduler.policies import ending, loading
from prefetch_scheduler.policies.errors import UnknownKind
from prefetch_scheduler.policies.flights import Flight, State, Waiter
from prefetch_scheduler.policies.keys import kind_of
from prefetch_scheduler.policies.metrics_events import Hits, Joined, LateHit, Miss, PrefetchUsed
from prefetch_scheduler.policies.planner_events import (
    Answer,
    Demand,
    Forsake,
    Refuse,
    Retry,
)
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.sessions import SessionState
from prefetch_scheduler.policies.vocabulary import Cause, Lane, Pool, Priority, Reason
from prefetch_scheduler.policies.worth import with_worth

MOST_RETRIES = 2
"""How often a reader is sent back to the view before its demand is loaded whatever it holds."""


def on_demand(s: PlannerState, event: Demand, now: float) -> None:
    session = s.met(event.session)
    sources = s.table.by_kind.get(kind_of(event.key), ())
    if not sources:
        s.emit(Refuse(event.ticket, UnknownKind(kind_of(event.key), s.table.kinds)))
        return
    stored = event.stored or s.stored(event.key, session)
    if not event.counted and event.attempt == 0:
        note_use(s, session, stored, event.key, now)
        if event.session not in s.sessions:  # its read has overtaken its start, or it is over
            s.early.note(event.session, stored, event.key, now)
    if event.attempt < MOST_RETRIES and _newer_resident(s, stored, event):
        s.emit(Retry(event.ticket, event.counted, event.session, event.key))
        return
    flight = s.flights.live.get(stored)
    if flight is None and event.whole is not None and _join_whole(s, session, event, now):
        return
    if flight is None:
        _load(s, session, event, stored, now)
    elif _overdue(s, flight, now):
        why = f"{Reason.OVERDUE.value}: loaded afresh"
        if not event.counted:
            s.count(Miss(session.id, event.key, predicted=True, reason=why))
        s.note(flight.key, "loaded afresh", Reason.OVERDUE, session.id)
        flight.waiters += (Waiter(event.ticket, session.id, event.at),)
        loading.afresh(s, flight, now)
    else:
        _join(s, flight, event, Waiter(event.ticket, session.id, event.at))


def _overdue(s: PlannerState, flight: Flight, now: float) -> bool:
    """Whether a reader had better load afresh than join a prefetch: it has gone on for so long that
    what is left of it is likely to take longer than a fresh load, and its source has room for one.
    """
    if not flight.prefetch_id or flight.waiters or flight.parts:
        return False
    if flight.state not in (State.RUNNING, State.LINGERING):
        return False
    source = flight.source
    return (
        s.estimator.overdue(source.id, now - flight.began_at)
        and s.source_open(source, demand=True)
        and not s.choked(source)
    )


def note_use(s: PlannerState, session: SessionState, stored: str, key: str, at: float) -> None:
    """A read, for recency, daily use and what later sessions are prefilled with (D6, D33)."""
    s.usage.note(stored, at, s.today)
    note_reader(s, session, stored, key, at)


def note_reader(s: PlannerState, session: SessionState, stored: str, key: str, at: float) -> None:
    """What of a read depends on who its session is."""
    s.learning.read(session.id, stored, at)
    for group in habit_groups(session):
        s.habits.note(group, key)


def habit_groups(session: SessionState) -> list[str]:
    groups = []
    if session.project is not None:
        groups.append(f"project:{session.project}")
    if session.user is not None:
        groups.append(f"user:{session.user}")
    return groups


def _newer_resident(s: PlannerState, stored: str, event: Demand) -> bool:
    """Whether the view holds something that the reader had not seen when it asked."""
    entry = s.resident.get(stored)
    if entry is not None and entry.loaded_at > event.seen:
        return True
    # A whole that came to be resident after the reader looked holds the part that it asks for.
    return event.attempt == 0 and event.whole_stored in s.resident


def _load(s: PlannerState, session: SessionState, event: Demand, stored: str, now: float) -> None:
    if not event.counted:
        known = session.predicted.get(event.key)
        why = with_worth(*known) if known is not None and known[0] else ""
        s.count(Miss(session.id, event.key, predicted=known is not None, reason=why))
    flight = Flight(
        id=s.flights.next_id(),
        stored=stored,
        key=event.key,
        name=event.key.partition(":")[2],
        sources=s.table.by_kind[kind_of(event.key)],
        cause=Cause.DEMAND,
        priority=Priority.P0,
        density=0.0,
        pool=Pool.DEMAND,
        lane=Lane.IMMEDIATE,
        session=session.id,
        created_at=now,
        ready_at=now,
        waiters=(Waiter(event.ticket, session.id, event.at),),
    )
    s.flights.add(flight)
    s.enqueue(flight)


def _join_whole(s: PlannerState, session: SessionState, event: Demand, now: float) -> bool:
    """Wait for a part on the load of its whole, if that is under way (decision D22)."""
    whole = s.flights.live.get(event.whole_stored or s.stored(event.whole or "", session))
    if whole is None or not whole.dispatched or whole.overtaken:
        return False
    if whole.asked_at < event.not_before:
        return False
    waiter = Waiter(event.ticket, session.id, event.at, part=event.key)
    part = whole.parts.get(event.key)
    if part is None or whole.state is State.STORING:
        _join(s, whole, event, waiter)
        return True
    _count_join(s, whole, event, waiter)
    if whole.prefetch_id and not whole.used:
        whole.used = True
        s.count(PrefetchUsed(whole.prefetch_id, session.id, now - event.at))
    s.emit(Answer(event.ticket, part, whole.asked_at, whole.epoch, whole.source.id))
    return True


def _join(s: PlannerState, flight: Flight, event: Demand, waiter: Waiter) -> None:
    """Wait for a load that is queued or under way; a queued one becomes demand at once."""
    too_old = flight.dispatched and flight.asked_at < event.not_before
    storing = flight.state is State.STORING and not flight.overtaken
    if storing and flight.entry is not None and not too_old:
        _count_join(s, flight, event, waiter)
        entry = flight.entry
        answer = Answer(
            waiter.ticket, entry.content, flight.asked_at, flight.epoch, entry.source_id, entry
        )
        s.emit(answer)
        return
    if too_old:
        flight.overtaken = True  # what it brings is too old for this reader: it is loaded again
    _count_join(s, flight, event, waiter)
    flight.waiters += (waiter,)
    s.note(flight.key, "demanded", f"while {flight.state.name.lower()}", event.session)
    match flight.state:
        case State.QUEUED:
            s.queue.remove(flight)
            _make_demand(flight)
            s.enqueue(flight)
        case State.HANDED:
            ending.withdraw(s, flight)
        case State.RUNNING | State.LINGERING:
            flight.priority = Priority.P0
        case State.STORING:
            pass  # a change overtook it: once the cache has answered, the reader asks again
        case State.GONE:
            raise AssertionError(f"flight {flight.id} is {flight.state} but live")


def _make_demand(flight: Flight) -> None:
    flight.pool = Pool.DEMAND
    if flight.prefetch_id == 0:  # it was never started
        flight.cause = Cause.DEMAND
        flight.turn_to(0)


def _count_join(s: PlannerState, flight: Flight, event: Demand, waiter: Waiter) -> None:
    """Which of hit, late hit, joined and miss this read is (decision D36)."""
    if event.counted:
        return
    if flight.state is State.STORING and not flight.overtaken:
        s.count(Hits(event.session, 1))  # loaded already, only not in its layer yet
    elif not flight.is_prefetch:
        s.count(Joined(event.session, event.key))
    elif flight.state is State.HANDED:
        waiter.uncounted = True
    elif flight.state is State.QUEUED and flight.prefetch_id == 0:
        s.count(Miss(event.session, event.key, predicted=True, reason="not started yet"))
    else:
        s.count(LateHit(event.session, event.key))


def on_forsake(s: PlannerState, event: Forsake) -> None:
    """A reader gave up. A load that runs goes on: what it brings is kept for the next reader.

    One still queued that nobody else waits for must not keep others waiting: it goes back to the
    queue of the prediction that wanted it, or goes.
    """
    found = s.flights.find_waiter(event.ticket, event.stored, event.whole_stored)
    if found is None:
        return
    flight, waiter = found
    flight.no_longer_awaited_by(waiter)
    if waiter.uncounted:
        s.count(Miss(waiter.session, flight.key, predicted=True, reason="not started yet"))
    s.note(flight.key, "forsaken", Reason.HOST_CANCELLED, waiter.session)
    if flight.waiters or flight.state is not State.QUEUED:
        return
    if not (flight.wants or flight.pin_for):
        ending.cancel(s, flight, Reason.HOST_CANCELLED)
        return
    s.queue.remove(flight)
    ending.leave_to_wants(s, flight)
    flight.pool = flight.own_pool
    s.enqueue(flight)
