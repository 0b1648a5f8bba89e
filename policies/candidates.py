"""One predicted resource with all that the planner knows of it, and what is in its way."""

from prefetch_scheduler.policies.content import Entry
from prefetch_scheduler.policies.estimates import Estimate
from prefetch_scheduler.policies.keys import cache_key, kind_of
from prefetch_scheduler.policies.plan import Candidate
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.planning import Merged
from prefetch_scheduler.policies.sessions import (
    PendingPlan,
    SessionState,
)
from prefetch_scheduler.policies.source_info import SourceInfo, Survey
from prefetch_scheduler.policies.vocabulary import (
    Cause,
    Priority,
    Reason,
)
from prefetch_scheduler.policies.worth import Worth


def candidate(
    s: PlannerState,
    session: SessionState,
    item: Merged,
    survey: Survey | None,
    pending: PendingPlan,
    now: float,
) -> Candidate:
    kind = s.kind(item.key)
    stored = cache_key(item.key, session.user, private=kind.private)
    source = kind.prefetched[0] if kind.prefetched else None
    obstacle, detail = _obstacle(s, item.key, stored, source, survey, pending.cause, now)
    name = item.key.partition(":")[2]
    usage = s.usage
    figures = s.estimator.estimate(source, name, survey, item.tokens, item.load_s)
    rules = s.config.priorities
    worth = None
    if source is not None and s.weighs:
        worth = _weighed(s, session, item, stored, source, figures, obstacle, pending, now)
    return Candidate(
        key=item.key,
        stored=stored,
        role=item.role,
        confidence=item.confidence,
        reasons=item.reasons,
        tokens=figures.tokens,
        load_s=figures.load_s,
        value=item.value,
        source_id=source.id if source else None,
        obstacle=obstacle,
        detail=detail,
        recent=usage.recent(stored, now, rules.recent_access_s),
        frequent=usage.uses_today(stored, s.today) > rules.frequent_uses,
        pending=stored in s.flights.live,
        survey=survey,
        worth=worth,
    )


def _weighed(
    s: PlannerState,
    session: SessionState,
    item: Merged,
    stored: str,
    source: SourceInfo,
    figures: Estimate,
    obstacle: Reason | None,
    pending: PendingPlan,
    now: float,
) -> Worth | None:
    """What loading it ahead is worth; None where thresholds decide.

    What is P0 by its role, and what the configuration has prefilled, is loaded in any case.
    """
    learning, role = s.learning, item.role
    predicted = pending.cause is Cause.PREDICTION
    if predicted:
        learning.predicted(session.id, stored, source.id, role, item.confidence, now)
    if obstacle is not None or stored in s.flights.live:
        return None
    load_s = figures.load_s
    worth = learning.weigh(
        session.id,
        stored,
        source.id,
        (source.id, role) if predicted else None,
        item.confidence,
        tokens=figures.tokens,
        load_s=load_s,
        queue_s=s.queue_s(load_s),
        factor=_factor(s, item),
        now=now,
    )
    configured = not predicted and item.confidence == 1
    return None if configured or s.config.priorities.base[role] == Priority.P0 else worth


def _factor(s: PlannerState, item: Merged) -> float:
    """By how much its role, or the host's own value, makes it worth more (decision D8)."""
    if item.value is None:
        return s.config.priorities.value_multipliers[item.role]
    return item.value / max(item.confidence, 0.01)


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
    if cause is Cause.PREDICTION and not s.speculates:
        key = "speculation.mode is off" if s.config.enable_speculative_prefetch else ""
        return Reason.SPECULATION_OFF, key or "enable_speculative_prefetch is false"
    entry = s.resident.get(stored)
    if entry is not None and _current(entry, survey, now):
        return Reason.CACHED, "in the cache"
    if survey is not None and survey.excluded:
        return Reason.EXCLUDED, survey.excluded
    blocked = s.availability.blocked(stored, now)
    if blocked is not None:
        return Reason.UNAVAILABLE, blocked
    pause = s.breakers.wait(source.id, now)
    if pause:
        return Reason.UNAVAILABLE, f"source {source.name!r} keeps failing; probed in {pause:.1f} s"
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
