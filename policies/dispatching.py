"""From the queues to the pools: who starts next (decisions D15 to D19, D21)."""

from collections.abc import Sequence

from prefetch_scheduler.policies import ending, loading
from prefetch_scheduler.policies.flights import Flight, State
from prefetch_scheduler.policies.planner_events import ToPool
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.pool_events import Fetch, LoadRequest, Permit
from prefetch_scheduler.policies.slots import STANDBY, STANDBY_S, STANDING_BY
from prefetch_scheduler.policies.vocabulary import Pool, Reason

ORDER = (Pool.DEMAND, Pool.P0, Pool.P1, Pool.P2, Pool.P3)
URGENT = ORDER[:3]


def pump(s: PlannerState, now: float) -> None:
    """Start whatever may start now, most urgent first. Called once an event is fully handled,

    so that requests which become ready together go out together (decision D21).
    """
    if len(s.queue):
        _refuse_choked(s, now)
        for pool in ORDER:
            _send(s, pool, now)
    _grant_permits(s, now)
    if len(s.queue):
        _call_back(s)


def _refuse_choked(s: PlannerState, now: float) -> None:
    if not s.flights.stuck:
        return
    for flight in s.queue.queued(Pool.DEMAND):
        while flight in s.queue and s.choked(flight.source):  # the alternative may be choked too
            s.queue.remove(flight)
            stuck = s.flights.stuck_at(flight.source.id)
            loading.attempt_failed(
                s, flight, f"source {flight.source.name!r} has {stuck} loads stuck", now
            )


def _send(s: PlannerState, pool: Pool, now: float) -> None:
    if not s.queue.length(pool):
        return
    room, claim_s = s.slots.room(pool), _claim_s(s, pool)
    requests: list[LoadRequest] = []
    while len(requests) < room:
        flights = _next(s, pool, room - len(requests))
        if not flights:
            break
        for flight in flights:
            if _speculative(flight):
                if s.breakers.wait(flight.source.id, now):
                    ending.cancel(s, flight, Reason.UNAVAILABLE)
                    continue
                s.breakers.begin(flight.source.id, now)
            requests.append(_dispatched(s, flight, claim_s, now))
    if not requests:
        return
    further = _stand_by(s, pool, requests)
    requests += [_dispatched(s, flight, claim_s, now, standby=True) for flight in further]
    start = pool is not Pool.P3
    s.emit(ToPool(pool, Fetch(tuple(requests), start, standby=len(further))))


def _stand_by(s: PlannerState, pool: Pool, started: Sequence[LoadRequest]) -> list[Flight]:
    """Loads to hand over before they have a slot, out of the queue.

    Where loads take less time than it takes to tell of their end, the pool goes from one to the
    next by itself; as many wait there as end within `STANDBY_S`. Only of the one source of whose
    loads those that start now are, while nothing else waits for a slot: the order of the loads
    stays as it would be.
    """
    if pool not in STANDING_BY or not s.queue.length(pool) or _more_urgent(s, pool):
        return []
    heads = s.queue.heads(pool)
    source = heads[0].source
    if len(heads) > 1 or source.batches or s.breakers.failing(source.id):
        return []
    slots = sum(1 for request in started if request.source_id == source.id)
    most = min(STANDBY - len(s.slots.standby[pool]), s.slots.credits[pool])
    return s.queue.take(
        pool, source.id, min(most, slots * s.estimator.loads_within(source.id, STANDBY_S))
    )


def _more_urgent(s: PlannerState, pool: Pool) -> bool:
    """Whether something waits for a slot before what waits for this pool's."""
    return any(s.queue.length(other) for other in ORDER[: ORDER.index(pool)])


def _call_back(s: PlannerState) -> None:
    """What stands by makes way for what is more urgent."""
    for pool in STANDING_BY:
        if s.slots.standby[pool] and _more_urgent(s, pool):
            for id_ in sorted(s.slots.standby[pool]):
                flight = s.flights.by_id.get(id_)
                if flight is not None and flight.state is State.HANDED:
                    ending.withdraw(s, flight)


def _next(s: PlannerState, pool: Pool, most: int) -> list[Flight]:
    """The first in the pool's order whose source takes more loads, out of the queue; where all wait
    for one source, as many as it takes, up to `most`.
    """
    heads = s.queue.heads(pool)
    for flight in heads:
        takes = s.source_room(flight.source, demand=pool is Pool.DEMAND)
        if takes > 0 and len(heads) == 1:
            return s.queue.take(pool, flight.source.id, min(takes, most))
        if takes > 0:
            s.queue.remove(flight)
            return [flight]
    return []


def _speculative(flight: Flight) -> bool:
    """Whether nobody asked for it: neither a reader, nor the host by a pin."""
    return flight.pool is not Pool.DEMAND and not (flight.waiters or flight.pin_for)


def _dispatched(
    s: PlannerState, flight: Flight, claim_s: float, now: float, *, standby: bool = False
) -> LoadRequest:
    background = flight.pool is Pool.P3
    flight.state = State.HANDED if background or standby else State.RUNNING
    if background:
        s.flights.handed[id(flight)] = flight
    flight.asked_at = flight.began_at = now
    flight.epoch = s.epoch
    flight.overtaken = flight.requeue = False
    s.slots.claim(flight.pool, flight.id, standby=standby)
    if standby:
        flight.standby = True
    else:
        s.flights.take_source(flight)
    source = flight.source
    flight.expands = source.expands and _depth(flight) < s.config.execution.follow_up_depth
    ask_first = source.surveys and flight.pool is not Pool.DEMAND and flight.survey is None
    return LoadRequest(  # by position, which is faster: one is made for each load
        flight.id,
        source.id,
        flight.key,
        flight.name,
        claim_s,
        source.load_timeout_s or s.config.execution.load_timeout_s,
        flight.expands,
        ask_first,
    )


def _depth(flight: Flight) -> int:
    return min((want.depth for want in flight.wants.values()), default=0)


def _claim_s(s: PlannerState, pool: Pool) -> float:
    match pool:
        case Pool.DEMAND:
            milliseconds = s.config.execution.demand_stuck_ms
        case Pool.P0 | Pool.P1:
            milliseconds = s.config.max_immediate_time_ms
        case Pool.P2:
            milliseconds = s.config.max_eager_time_ms
        case Pool.P3:
            milliseconds = s.config.execution.max_background_time_ms
    return milliseconds / 1000


def deferred(s: PlannerState) -> bool:
    """Whether background loads wait for something more urgent (decision D19)."""
    return (
        s.host_busy or s.slots.urgent_claims() > 0 or any(s.queue.length(pool) for pool in URGENT)
    )


def handed(s: PlannerState) -> list[Flight]:
    """Background flights that wait in their pool for a permit."""
    found = s.flights.handed
    for place, flight in list(found.items()):
        if flight.state is not State.HANDED or flight.pool is not Pool.P3:  # or it stands by
            del found[place]
    return list(found.values())


def _grant_permits(s: PlannerState, now: float) -> None:
    if not s.flights.handed or s.slots.permits_free() == 0 or deferred(s):
        return
    unused = s.slots.permits - len(s.slots.claims[Pool.P3])
    ready = sum(1 for flight in handed(s) if flight.ready_at <= now) - unused
    count = min(s.slots.permits_free(), ready)
    if count > 0:
        s.slots.permits += count
        s.emit(ToPool(Pool.P3, Permit(count)))


def expire_unstarted(s: PlannerState, now: float) -> None:
    """Drop background items that were not started in time (decision D18)."""
    for flight in s.unstarted.take_overdue(now, s.config.execution.start_expiry_s):
        ending.cancel(s, flight, Reason.START_EXPIRED)


def next_start(s: PlannerState) -> float | None:
    """When a background item becomes ready, or is dropped because it was not started.

    Only what is to come: an item that is ready already waits for a permit, a credit or its source,
    and the report that frees one brings its start about.
    """
    due: list[float] = []
    oldest = s.unstarted.first()
    if oldest is not None:
        due.append(oldest.created_at + s.config.execution.start_expiry_s)
    if s.flights.handed and not deferred(s) and s.slots.permits_free() > 0:
        due.extend(f.ready_at for f in handed(s) if f.ready_at > s.now)
    return min(due, default=None)
