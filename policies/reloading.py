"""Loading again in the background: what changed after it was read (decision D31), and what readers
were served past its age.
"""

from prefetch_scheduler.policies.cache_events import Removed
from prefetch_scheduler.policies.flights import Flight, Want
from prefetch_scheduler.policies.keys import kind_of, public_key
from prefetch_scheduler.policies.planner_events import Revalidate
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.vocabulary import Cause, Lane, Pool, Priority, Reason


def reload(s: PlannerState, notice: Removed, now: float) -> None:
    """What was read and has changed is loaded again in the background (decision D31)."""
    key = public_key(notice.stored)
    sources = s.prefetch_sources(key)
    if not (sources and s.reloads_on_change) or notice.stored in s.flights.live:
        return
    if notice.session not in s.sessions:
        return
    if not _worth_it(s, notice, key, now):
        return
    allowance = s.config.background_tokens
    reloads = [f for f in s.flights.live.values() if f.cause is Cause.RELOAD]
    if sum(f.tokens for f in reloads) + notice.tokens > allowance:
        s.note(key, "not reloaded", Reason.BACKGROUND_TOKENS_EXCEEDED, notice.session)
        return
    _queue(
        s,
        notice.stored,
        notice.session,
        s.first_prefetch_source(key),
        notice.tokens,
        "changed after it was read",
        now,
    )


def _worth_it(s: PlannerState, notice: Removed, key: str, now: float) -> bool:
    """Whether another read of it is likely enough; as long as too little is known, it is."""
    source = s.prefetch_sources(key)[0]
    figures = s.estimator.estimate(source, key.partition(":")[2], None, notice.tokens, None)
    moment = s.learning.moment(notice.session, now, s.loads_ahead)
    worth = moment.unasked(notice.stored, source.id, figures.tokens, figures.load_s, factor=1.0)
    if worth is not None and worth.net_s <= 0:
        s.note(key, "not reloaded", Reason.NOT_WORTH_IT, notice.session, worth)
        return False
    return not s.observes


def on_revalidate(s: PlannerState, event: Revalidate, now: float) -> None:
    """What a reader was served past its age is loaded again: a reader asked for it, so this is no
    speculation, and the source it came from may be remote.
    """
    entry = s.resident.get(event.stored)
    if entry is None or entry.source_id < 0 or event.stored in s.flights.live:
        return
    limit = entry.content.max_age_s
    if limit is None or now - entry.loaded_at <= limit:
        return
    if s.availability.blocked(event.stored, now) is not None:
        return
    served = [info.id for info in s.table.by_kind[kind_of(event.key)]]
    s.session(event.session)
    _queue(
        s,
        event.stored,
        event.session,
        served.index(entry.source_id),
        entry.tokens,
        "served past its age",
        now,
    )


def _queue(
    s: PlannerState,
    stored: str,
    session: str,
    source_at: int,
    tokens: int,
    reason: str,
    now: float,
) -> None:
    key = public_key(stored)
    flight = Flight(
        id=s.flights.next_id(),
        stored=stored,
        key=key,
        name=key.partition(":")[2],
        sources=s.table.by_kind[kind_of(key)],
        source_at=source_at,
        cause=Cause.RELOAD,
        priority=Priority.P3,
        density=1.0,
        pool=Pool.P3,
        lane=Lane.BACKGROUND,
        session=session,
        created_at=now,
        ready_at=now + s.config.background_start_delay_ms / 1000,
        tokens=tokens,
        reason=reason,
        wants={session: Want(session, Cause.RELOAD)},
    )
    s.flights.add(flight)
    s.enqueue(flight)
    s.note(key, "reload queued", reason, session)
