"""What becomes of loads: results, failures, alternatives, cancels (decisions D15, D22 to D25)."""

from typing import Literal, assert_never

from prefetch_scheduler.policies import ending, following
from prefetch_scheduler.policies.breakers import blames_source
from prefetch_scheduler.policies.cache_events import Put
from prefetch_scheduler.policies.content import Entry, unread_token
from prefetch_scheduler.policies.errors import LoadTimeout, PrefetchError, ResourceUnavailable
from prefetch_scheduler.policies.expectations import Why
from prefetch_scheduler.policies.flights import NO_PARTS, Flight, State, Waiter
from prefetch_scheduler.policies.metrics_events import (
    OVERTAKEN,
    DemandLoaded,
    Dropped,
    LateHit,
    Miss,
    PrefetchCancelled,
    PrefetchFailed,
    PrefetchLoaded,
    PrefetchStarted,
    PrefetchUsed,
)
from prefetch_scheduler.policies.planner_events import (
    Answer,
    Refuse,
    ResourceFailed,
    ResourceLoaded,
    Retry,
    Tell,
)
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.pool_events import (
    Abandoned,
    Ended,
    Failed,
    Loaded,
    LoadReport,
    LoadResult,
    PartLoaded,
    PoolReport,
    Released,
    Started,
)
from prefetch_scheduler.policies.slots import STANDBY_S
from prefetch_scheduler.policies.vocabulary import Cause, Lane, Layer, Pool, Reason
from prefetch_scheduler.policies.yaml_text import printable

TELLING = 16
"""So many loads at the end of one report tell how large and slow the loads of a source are; one
that takes time always does."""

_WHY = {Cause.RELOAD: Why.READ_BEFORE, Cause.PREFILL: Why.FAMILIAR}


def on_pool_report(s: PlannerState, report: PoolReport, now: float) -> None:
    if report.reset:
        _pool_restarted(s, report, now)
    else:
        s.slots.grant(report.pool, report.credits)
        s.slots.permits -= report.permits_returned
    telling = len(report.reports) - TELLING
    for place, item in enumerate(report.reports):
        flight = s.flights.by_id.get(item.id)
        if flight is not None:
            _on_report(s, report.pool, flight, item, now, telling=place >= telling)


def _praise(s: PlannerState, flight: Flight) -> None:
    """A load has ended well: its source works."""
    source = flight.source
    if s.breakers.succeeded(source.id):
        s.log("info", f"source {source.name!r} works again", "", flight.owner, source.name)


def _blame(s: PlannerState, flight: Flight, now: float) -> None:
    """A load has not ended, or not well, and that is its source's fault."""
    source = flight.source
    pause = s.breakers.failed(source.id, now)
    if pause is not None:
        text = f"source {source.name!r} keeps failing: no loads ahead for {pause:g} s"
        s.log("warning", text, "", flight.owner, source.name)


def _on_report(
    s: PlannerState, pool: Pool, flight: Flight, item: LoadReport, now: float, *, telling: bool
) -> None:
    match item:
        case Started():
            _started(s, pool, flight)
        case Loaded():
            told = item.began and _started(s, pool, flight, item.result)
            _praise(s, flight)
            s.slots.release(pool, item.id)
            s.flights.free_source(flight)
            _loaded(s, flight, item.result, now, telling=telling, told=told)
        case Released():
            _released(s, pool, flight, item)
        case PartLoaded():
            _part(s, flight, item, now)
        case Failed():
            if item.began:
                _started(s, pool, flight)
            if not item.excluded and blames_source(item.exception):
                _blame(s, flight, now)
            s.slots.release(pool, item.id)
            s.flights.free_source(flight)
            if flight.state is State.GONE:
                pass
            elif item.excluded:
                _not_to_be_prefetched(s, flight, item.error, now)
            else:
                attempt_failed(s, flight, item.error, now, item.exception)
        case Abandoned():
            _blame(s, flight, now)
            s.slots.release(pool, item.id)
            s.flights.mark_stuck(flight)
            if flight.state is not State.GONE:
                s.estimator.given_up(flight.source.id, now - flight.began_at)
                seconds = flight.source.load_timeout_s or s.config.execution.load_timeout_s
                attempt_failed(s, flight, f"not loaded within {seconds:g} s", now, late=True)
        case Ended():
            s.slots.release(pool, item.id)
            s.flights.free_source(flight)
            s.count(Dropped("late_result"))
        case _:
            assert_never(item)


def _started(s: PlannerState, pool: Pool, flight: Flight, result: LoadResult | None = None) -> bool:
    """Its source was called, and perhaps has brought this already. True: that has been counted."""
    if result is None or pool is Pool.P3:  # else what it has held is given back at once
        s.slots.started(pool, flight.id)
        if flight.standby:
            s.flights.take_source(flight)
    if flight.state is State.HANDED:
        flight.state = State.RUNNING
        flight.began_at = s.now
        flight.requeue = False
        for waiter in flight.waiters:
            if waiter.uncounted:
                waiter.uncounted = False
                s.count(LateHit(waiter.session, flight.key))
    if not flight.is_prefetch or flight.prefetch_id:
        return False
    number = flight.prefetch_id = flight.id
    start = number, flight.owner, flight.key, flight.cause, flight.tokens, flight.reason
    if flight.state is State.GONE:  # the cancel crossed its start
        s.count(PrefetchStarted(*start))
        s.count(PrefetchCancelled(number, Reason.REPLACED))
    elif result is None:
        s.count(PrefetchStarted(*start))
    else:
        s.count(PrefetchStarted(*start, result.content.tokens or 0, result.load_s))
        return True
    return False


def _released(s: PlannerState, pool: Pool, flight: Flight, item: Released) -> None:
    s.slots.release(pool, item.id)
    if not item.started:
        s.flights.free_source(flight)
        if flight.state in (State.HANDED, State.RUNNING):  # else it was cancelled
            _requeue_withdrawn(s, flight)
        return
    s.flights.mark_stuck(flight)
    if item.timed_out and flight.state is State.RUNNING:
        flight.state = State.LINGERING
        late = f"not loaded within {pool.upper()}'s time; going on without it"
        text = f"{printable(flight.key)}: {late}"
        s.log("warning", text, flight.key, flight.owner, flight.source.name)
        why = f"past {pool.upper()}'s time; the load goes on"
        s.note(flight.key, "slot given back", why, flight.owner)


def _requeue_withdrawn(s: PlannerState, flight: Flight) -> None:
    flight.requeue = False
    flight.state = State.QUEUED
    flight.pool = Pool.DEMAND if flight.waiters else flight.own_pool
    if flight.waiters and flight.prefetch_id == 0:
        flight.cause = Cause.DEMAND
    _count_as_misses(s, flight)
    if flight.waiters or flight.wants or flight.pin_for:
        s.enqueue(flight)
    else:  # its reader has given up meanwhile
        ending.cancel(s, flight, Reason.HOST_CANCELLED)


def _count_as_misses(s: PlannerState, flight: Flight) -> None:
    """Readers of which it was not known yet: the load that they joined had not begun."""
    for waiter in flight.waiters:
        if waiter.uncounted:
            waiter.uncounted = False
            s.count(Miss(waiter.session, flight.key, predicted=True, reason="not started yet"))


def _part(s: PlannerState, flight: Flight, item: PartLoaded, now: float) -> None:
    if flight.state is State.GONE:
        return
    content = item.content.placed(
        key=item.key, source=flight.source.name, loaded_at=s.wall, layer=None
    )
    flight.parts = {**flight.parts, item.key: content}
    for waiter in [w for w in flight.waiters if w.part == item.key]:
        flight.no_longer_awaited_by(waiter)
        _mark_used(s, flight, waiter, now)
        s.emit(Answer(waiter.ticket, content, flight.asked_at, flight.epoch, flight.source.id))


def _mark_used(s: PlannerState, flight: Flight, waiter: Waiter, now: float) -> None:
    if flight.prefetch_id and not flight.used:
        flight.used = True
        s.count(PrefetchUsed(flight.prefetch_id, waiter.session, now - waiter.since))
        s.learning.used(flight.group, flight.tokens)


def _loaded(
    s: PlannerState, flight: Flight, result: LoadResult, now: float, *, telling: bool, told: bool
) -> None:
    """`told`: metrics know of it."""
    content, source, survey = result.content, flight.source, flight.survey
    tokens, expected = content.tokens or 0, flight.tokens
    s.estimator.observe(
        source,
        flight.name,
        estimated_tokens=survey.tokens if survey else None,
        estimated_load_s=survey.load_s if survey else None,
        tokens=tokens,
        load_s=result.load_s,
        typical=telling or result.load_s > STANDBY_S,
    )
    if flight.state is State.GONE:
        s.count(Dropped("late_result"))
        return
    s.availability.succeeded(flight.stored)
    if told:
        pass
    elif flight.prefetch_id:
        s.count(PrefetchLoaded(flight.prefetch_id, tokens, result.load_s))
    else:
        s.count(DemandLoaded(flight.owner, flight.key, tokens, result.load_s))
    flight.tokens = tokens
    if flight.overtaken:
        if flight.prefetch_id and not flight.used:
            s.learning.given_up(tokens)
        overtaken(s, flight, now)
        return
    owner = flight.owner
    entry = _entry(s, flight, owner, result, now)
    for waiter in flight.waiters:
        s.emit(Answer(waiter.ticket, entry.content, flight.asked_at, flight.epoch, entry.source_id))
    flight.waiters = ()
    flight.state = State.STORING
    flight.entry = entry
    if entry.prefetch_id:
        why = _WHY.get(flight.cause, Why.PREDICTED)
        s.learning.loaded(owner, flight.stored, flight.group, tokens, expected=expected, why=why)
    pin_for = tuple(sorted(flight.pin_for)) if flight.pin_for else ()
    s.emit(Put(entry, flight.id, pin_for))
    if s.heard:
        news = ResourceLoaded(
            flight.key, owner, tokens, flight.cause, source.name, result.load_s, s.wall
        )
        s.emit(Tell(news))
    if flight.expands:
        following.await_follow_ups(s, flight, owner)


def _entry(s: PlannerState, flight: Flight, owner: str, result: LoadResult, now: float) -> Entry:
    """The cache's record; unread only where nobody waited for the prefetch."""
    source = flight.source
    for waiter in flight.waiters:
        _mark_used(s, flight, waiter, now)
    unread = bool(flight.prefetch_id) and not flight.used
    # What is unread is stored in warm; the cache need not make a copy that says so.
    layer = Layer.WARM if unread else None
    content = result.content.placed(
        key=flight.key, source=source.name, loaded_at=s.wall, layer=layer
    )
    return Entry(  # by position, which is much faster: one is made for each load
        flight.stored,
        content,
        source.id,
        flight.epoch,
        flight.asked_at,
        now,
        result.load_s,
        owner,
        flight.priority,
        flight.lane if unread else None,
        flight.prefetch_id if unread else 0,
        unread_token() if unread else (),
    )


def overtaken(s: PlannerState, flight: Flight, now: float) -> None:
    """The resource changed while it was loaded: load it again for whoever still wants it."""
    resident = s.resident.get(flight.stored)
    if resident is not None and resident.epoch > flight.epoch:
        superseded(s, flight)
        return
    if flight.prefetch_id and not flight.used:
        s.count(PrefetchCancelled(flight.prefetch_id, OVERTAKEN))
    s.note(flight.key, "overtaken", "changed while it was loaded", flight.owner)
    _once_more(s, flight, now)


def lost(s: PlannerState, flight: Flight, now: float) -> None:
    """The CacheLayer failed before it had stored it."""
    s.note(flight.key, "lost", "the cache was restarted", flight.owner)
    _once_more(s, flight, now)


def _once_more(s: PlannerState, flight: Flight, now: float) -> None:
    """Load it again for its waiters; for those who only predicted it once, and no more."""
    if not flight.waiters and (flight.reloaded or not flight.wants):
        ending.resolve(s, flight, ok=False)
        s.flights.detach(flight)
        return
    again(s, flight, now, demand=bool(flight.waiters))


def superseded(s: PlannerState, flight: Flight) -> None:
    """The host handed over newer content (decision D31): that is what readers get, at once."""
    for waiter in flight.waiters:
        if waiter.uncounted:
            s.count(Miss(waiter.session, flight.key, predicted=True, reason="not started yet"))
        s.emit(Retry(waiter.ticket, counted=True))
    flight.waiters = ()
    s.note(flight.key, "superseded", "newer content was handed over", flight.owner)
    ending.resolve(s, flight, ok=True)
    if flight.state is State.STORING:  # the cache refuses it, and counts that
        s.flights.detach(flight)
    else:
        ending.cancel(s, flight, Reason.REPLACED)


def afresh(s: PlannerState, flight: Flight, now: float) -> None:
    """Load for readers anew what is overdue, instead of waiting for it any longer."""
    if flight.prefetch_id and not flight.used:
        s.count(PrefetchCancelled(flight.prefetch_id, Reason.OVERDUE))
        s.learning.given_up(flight.tokens)
    ending.give_up_load(s, flight)
    again(s, flight, now, demand=True)


def again(
    s: PlannerState, flight: Flight, now: float, *, demand: bool, source_at: int | None = None
) -> None:
    """Queue another attempt at a flight under a new number, from that of its sources."""
    s.flights.renumber(flight)  # first: what the old number holds is a slot of the old source
    if source_at is not None:
        flight.turn_to(source_at)
    flight.state = State.QUEUED
    flight.prefetch_id = 0
    flight.used = flight.overtaken = False
    flight.parts = NO_PARTS
    flight.created_at = now
    if demand:
        flight.turn_to(0)
        flight.cause = Cause.DEMAND
        flight.pool = Pool.DEMAND
    else:
        flight.reloaded = True
        ending.leave_to_wants(s, flight)
        flight.pool = flight.own_pool
    s.enqueue(flight, first=demand)


def attempt_failed(
    s: PlannerState,
    flight: Flight,
    error: str,
    now: float,
    exception: BaseException | None = None,
    *,
    late: bool = False,
) -> None:
    """One source failed: try the next one, else mark the key unavailable (decision D24).

    `late`: the load was abandoned (decision D15). Its source's code may still be running.
    """
    text = f"{printable(flight.key)}: {flight.source.name}: {error}"
    level: Literal["warning", "error"] = "warning" if late else "error"
    s.log(level, text, flight.key, flight.owner, flight.source.name)
    s.note(flight.key, "failed", f"{flight.source.name}: {error}", flight.owner)
    following = _next_source(s, flight)
    if following is not None:
        s.flights.renumber(flight)
        flight.turn_to(following)
        flight.state = State.QUEUED
        flight.parts = NO_PARTS
        if flight.waiters:
            flight.pool = Pool.DEMAND
        s.enqueue(flight, first=flight.pool is Pool.DEMAND)
        s.note(flight.key, "alternative", flight.source.name, flight.owner)
        return
    _refuse_waiters(s, flight, error, exception, late=late)
    if flight.prefetch_id and not flight.used:
        s.count(PrefetchFailed(flight.prefetch_id, error))
    if late and flight.wants and not flight.reloaded:
        _retry_in_background(s, flight, now)
        return
    pause = s.availability.failed(flight.stored, now, error)
    s.note(flight.key, "unavailable", f"for {pause:.1f} s", flight.owner)
    took = max(0.0, now - flight.began_at)
    source, cause = flight.source.name, flight.cause
    s.emit(Tell(ResourceFailed(flight.key, flight.owner, error, source, took, s.wall, cause)))
    ending.resolve(s, flight, ok=False)
    s.flights.detach(flight)


def _not_to_be_prefetched(s: PlannerState, flight: Flight, error: str, now: float) -> None:
    """The source was asked too late for the plan; a reader who joined gets it all the same."""
    s.note(flight.key, "not loaded ahead", error, flight.owner)
    if flight.prefetch_id and not flight.used:
        s.count(PrefetchCancelled(flight.prefetch_id, Reason.EXCLUDED))
    if flight.waiters:
        again(s, flight, now, demand=True)
        return
    ending.resolve(s, flight, ok=False)
    s.flights.detach(flight)


def _next_source(s: PlannerState, flight: Flight) -> int | None:
    demanded = flight.pool is Pool.DEMAND or bool(flight.waiters)
    for index in range(flight.source_at + 1, len(flight.sources)):
        if demanded or s.may_prefetch(flight.sources[index]):
            return index
    return None


def _retry_in_background(s: PlannerState, flight: Flight, now: float) -> None:
    flight.lane = Lane.BACKGROUND
    flight.ready_at = now + s.config.background_start_delay_ms / 1000
    again(s, flight, now, demand=False, source_at=s.first_prefetch_source(flight.key))


def _refuse_waiters(
    s: PlannerState,
    flight: Flight,
    error: str,
    exception: BaseException | None,
    *,
    late: bool,
) -> None:
    for waiter in flight.waiters:
        refusal: PrefetchError = (
            LoadTimeout(f"{printable(flight.key)}: {error}")
            if late
            else ResourceUnavailable(f"{printable(flight.key)}: {error}")
        )
        refusal.__cause__ = exception
        s.emit(Refuse(waiter.ticket, refusal))
    flight.waiters = ()


def _pool_restarted(s: PlannerState, report: PoolReport, now: float) -> None:
    """A pool's new incarnation knows nothing of what was under way: queue that again."""
    s.slots.reset(report.pool, report.credits)
    lost = [f for f in s.flights.by_id.values() if f.pool is report.pool and f.dispatched]
    for flight in lost:
        if flight.state is State.STORING:
            continue
        s.flights.free_source(flight)
        if flight.prefetch_id and not flight.used:
            s.count(PrefetchFailed(flight.prefetch_id, "its pool was restarted"))
        _count_as_misses(s, flight)
        again(s, flight, now, demand=bool(flight.waiters))
    for flight in [f for f in s.flights.by_id.values() if f.state is State.GONE]:
        if flight.pool is report.pool:
            s.flights.free_source(flight)
