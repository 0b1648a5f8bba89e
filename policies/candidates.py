"""One predicted resource with all that the planner knows of it, and what is in its way."""

from typing import Literal

from prefetch_scheduler.policies.calibration import Group, whose
from prefetch_scheduler.policies.config import Priorities
from prefetch_scheduler.policies.content import Entry
from prefetch_scheduler.policies.estimates import Estimate
from prefetch_scheduler.policies.keys import cache_key, kind_of
from prefetch_scheduler.policies.plan import Candidate
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.planning import Merged
from prefetch_scheduler.policies.prediction import Terms
from prefetch_scheduler.policies.sessions import SessionState
from prefetch_scheduler.policies.source_info import SourceInfo, Survey
from prefetch_scheduler.policies.thresholds import Thresholds
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import (
    Cause,
    Priority,
    Reason,
)
from prefetch_scheduler.policies.weighing import Weighing
from prefetch_scheduler.policies.worth import Worth

_USUAL = Terms()


class _Groups(dict[Group, Group]):
    """One object for each group, however many predictions are counted with it."""

    def __missing__(self, group: Group) -> Group:
        source, role = group
        found = self[group] = source, str(role)  # plain, where it is a word of an enumeration
        return found


@frozen
class Moment:
    """What is the same for every item of one plan that is worked on now."""

    s: PlannerState
    session: SessionState
    cause: Cause
    now: float
    rules: Priorities
    predicted: bool
    """Whether these are predictions, and not what is prefilled."""
    hindered: bool
    """Whether anything is in the way of some item, but that it is in the cache already."""
    groups: "_Groups"
    weighing: Weighing | None
    """None: the specification's thresholds decide."""
    thresholds: Thresholds | None
    """The yardstick of spending; None: it is not limited, or these are no predictions."""

    @classmethod
    def of(
        cls,
        s: PlannerState,
        session: SessionState,
        cause: Cause,
        terms: Terms = _USUAL,
    ) -> "Moment":
        """`terms`: of the plan."""
        weighing = thresholds = None
        if s.weighs:
            left = min(terms.limits.values()) if terms.limits else None
            weighing = s.learning.moment(session.id, s.now, s.loads_ahead, left)
            if s.learning.spending is not None and cause is Cause.PREDICTION:
                thresholds = Thresholds.of(s.learning.spending, terms, s.config)
        predicted = cause is Cause.PREDICTION
        failing = len(s.availability) > 0 or s.breakers.any_open
        hindered = failing or (predicted and not s.speculates)
        rules, groups = s.config.priorities, _Groups()
        return cls(
            s, session, cause, s.now, rules, predicted, hindered, groups, weighing, thresholds
        )


def candidate(moment: Moment, item: Merged, survey: Survey | None) -> Candidate:
    s, key, now = moment.s, item.key, moment.now
    kind = s.kind(key)
    stored = cache_key(key, moment.session.user, private=True) if kind.private else key
    source = kind.prefetched[0] if kind.prefetched else None
    obstacle: Reason | None = None
    detail = ""
    if moment.hindered or source is None or survey is not None or stored in s.resident:
        obstacle, detail = _obstacle(s, key, stored, source, survey, moment.cause, now)
    name = key[key.index(":") + 1 :]
    usage = s.usage
    used = stored in usage
    rules = moment.rules
    recent = used and usage.recent(stored, now, rules.recent_access_s)
    frequent = used and usage.uses_today(stored, s.today) > rules.frequent_uses
    figures = s.estimator.estimate(source, name, survey, item.tokens, item.load_s)
    pending = stored in s.flights.live
    worth = None
    if source is not None and moment.weighing is not None:
        weighed = obstacle is None and not pending
        worth = _worth(moment, moment.weighing, item, stored, source.id, weighed and figures)
        if moment.thresholds is not None:
            missing = obstacle is None or (
                obstacle is Reason.CACHED and moment.weighing.loaded_ahead(stored)
            )
            if missing:
                expected = moment.weighing.of(stored)
                moment.thresholds.count(
                    item, expected, figures.tokens, recent=recent, frequent=frequent
                )
        if weighed and s.learning.wasteful.any_open:
            obstacle, detail = _wasteful(moment, item, source.id, worth)
    return Candidate(  # by position, which is much faster: one is made for each prediction
        key,
        stored,
        item.role,
        item.confidence,
        item.reasons,
        figures.tokens,
        figures.load_s,
        item.value,
        source.id if source else None,
        obstacle,
        detail,
        recent,
        frequent,
        pending,
        survey,
        worth,
        item.predictor,
    )


def _worth(
    moment: Moment,
    weighing: Weighing,
    item: Merged,
    stored: str,
    source: int,
    figures: Estimate | Literal[False],
) -> Worth | None:
    """What loading it ahead is worth; None where thresholds decide.

    What is P0 by its role, and what the configuration has prefilled, is loaded in any case.

    Args:
        figures: its size and time; False: it is not going to be loaded, only noted as predicted.
    """
    role, confidence = item.role, item.confidence
    rules = moment.rules
    if not moment.predicted:
        if not figures or confidence == 1:
            return None
        factor = rules.value_multipliers[role]
        return weighing.unasked(stored, source, figures.tokens, figures.load_s, factor)
    group = moment.groups[source, whose(role, item.predictor) if item.predictor else role]
    expected = weighing.predicted(stored, source, group, confidence)
    if not figures:
        return None
    if item.value is None:
        factor = rules.value_multipliers[role]  # decision D8
    else:
        factor = item.value / max(confidence, 0.01)
    worth = weighing.worth(expected, group, confidence, figures.tokens, figures.load_s, factor)
    return None if rules.base[role] == Priority.P0 else worth


def _wasteful(
    moment: Moment, item: Merged, source: int, worth: Worth | None
) -> tuple[Reason | None, str]:
    """Whether so little of what was predicted so was read that it is left out for a while."""
    worthless = worth is not None and worth.net_s <= 0
    if not moment.predicted or worthless or moment.rules.base[item.role] == Priority.P0:
        return None, ""
    held = moment.s.learning.held_back((source, whose(item.role.value, item.predictor)))
    return (None, "") if held is None else (Reason.WASTEFUL, held.words())


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
