"""One predicted resource with all that the planner knows of it, and what is in its way."""

from prefetch_scheduler.policies.content import Entry
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
    Reason,
)


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
