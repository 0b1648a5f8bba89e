"""From a plan to the queues: what it starts, takes over, replaces and sheds (D13, D17, D25)."""

from collections.abc import Mapping

from prefetch_scheduler.policies import ending
from prefetch_scheduler.policies.cache_events import Pin
from prefetch_scheduler.policies.calibration import whose
from prefetch_scheduler.policies.config import MAX_PINS
from prefetch_scheduler.policies.flights import Flight, State, Want
from prefetch_scheduler.policies.plan import Plan, PlanItem
from prefetch_scheduler.policies.planner_events import Shed, ToCache
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.sessions import (
    PendingPlan,
    PlanState,
    SessionState,
)
from prefetch_scheduler.policies.vocabulary import (
    Cause,
    Lane,
    Pool,
    Priority,
    Reason,
)

URGENT_POOLS = (Pool.P0, Pool.P1, Pool.P2)

MOST_QUEUED = 10_000
"""Loads of P0 to P2 that wait in the planner at most."""


def drop_unrepeated(
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


def admit(
    s: PlannerState,
    session: SessionState,
    pending: PendingPlan,
    plan: Plan,
    state: PlanState,
    now: float,
) -> None:
    """Queue what the plan loads, and take over what is under way already."""
    pinned = {role for role, base in s.config.priorities.base.items() if base == Priority.P0}
    want = Want(session.id, pending.cause, state.id, pending.depth)
    wants = {session.id: want}
    this_plan = (state.id,)
    new: list[Flight] = []
    for item in plan.items:
        stored = item.stored
        if item.role in pinned:
            _pin(s, session, item)
        flight = s.flights.live.get(stored)
        over = item.reason is Reason.PENDING and flight is None  # it ended while this was planned
        expected = (
            item.priority <= Priority.P1
            and pending.depth == 0
            and item.reason is not Reason.CACHED
            and not over
        )
        if expected:
            _expect(state, item)
        if flight is not None and (item.reason is Reason.PENDING or item.admitted):
            s.flights.want(flight, want)
            _rank_anew(s, flight, item)
        elif item.admitted:
            new.append(_flight(s, session, item, wants, now))
        elif item.lane is Lane.DEFERRED:
            _defer(s, session, item)
        if expected and stored in state.outstanding:
            flight = s.flights.live[stored]
            if not flight.expected_by:
                flight.expected_by = this_plan
            elif state.id not in flight.expected_by:
                flight.expected_by += this_plan
    s.enqueue_all(new)


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


def _flight(
    s: PlannerState, session: SessionState, item: PlanItem, wants: Mapping[str, Want], now: float
) -> Flight:
    cause, background = wants[session.id].cause, item.lane is Lane.BACKGROUND
    c, key = item.candidate, item.key
    kind, predicted = s.kind(key), cause is Cause.PREDICTION
    flight = Flight(  # by position, which is much faster: one is made for each load
        s.flights.next_id(),
        c.stored,
        key,
        key[key.index(":") + 1 :],
        kind.sources,
        cause,
        item.priority,
        item.density,
        Pool.P3,
        item.lane,
        session.id,
        now,
        now + (s.config.background_start_delay_ms / 1000 if background else 0.0),
        c.tokens,
        c.load_s,
        c.survey,
        "; ".join(c.reasons) if c.reasons else "",
        whose(str(c.role), c.predictor) if predicted else "",
        State.QUEUED,
        kind.first,
        wants,
    )
    flight.pool = flight.own_pool
    s.flights.add(flight)
    return flight


def _rank_anew(s: PlannerState, flight: Flight, item: PlanItem) -> None:
    """A flight under way is predicted again: it keeps the more urgent of its sessions' ranks."""
    others = len(flight.wants) > 1
    if (others or flight.waiters) and flight.order < item.rank:
        return
    queued = s.queue.remove(flight)
    flight.priority, flight.density = item.priority, item.density
    flight.lane = item.lane
    if queued:
        if flight.pool is not Pool.DEMAND:
            flight.pool = flight.own_pool
        s.enqueue(flight)
    elif flight.state is State.HANDED and flight.own_pool is not flight.pool:
        ending.withdraw(s, flight)


def shed(s: PlannerState) -> list[Flight]:
    """Keep the queues within their bounds: the least valuable of the least urgent class goes.

    Of background items `max_background_queue` may wait (decision D17), of P0 to P2 together
    `MOST_QUEUED`. What a reader waits for is in the queue of demand, and never shed.
    """
    dropped: list[Flight] = []
    if not len(s.queue):
        return dropped
    while s.queue.length(Pool.P3) > s.config.max_background_queue:
        dropped.append(_shed_least(s, Pool.P3))
    while sum(map(s.queue.length, URGENT_POOLS)) > MOST_QUEUED:
        pool = next(pool for pool in reversed(URGENT_POOLS) if s.queue.length(pool))
        dropped.append(_shed_least(s, pool))
    return dropped


def _shed_least(s: PlannerState, pool: Pool) -> Flight:
    flight = s.queue.least(pool)
    for want in flight.wants.values():
        plan = s.plans.get(want.plan)
        if plan is not None and plan.ticket is not None:
            s.emit(Shed(plan.ticket, flight.key, Reason.QUEUE_FULL))
    ending.cancel(s, flight, Reason.QUEUE_FULL)
    return flight
