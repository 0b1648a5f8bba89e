"""The public messages, by mailbox. All are immutable; every mailbox has one union.

Whatever the facade does can be done with these: `tell` them to an engine's addresses, or `ask`
and get the answer named here.

================  ==========================================================================
to the planner    `Submit` (asked: the `Plan`), `Demand` (asked: an `Answer`), `Forsake`,
                  `Revalidate`, `CancelPlan`, `CancelKey`, `SessionStarted`, `SessionEnded`,
                  `ProjectSwitched`, `UserLoggedIn`, `ContextChanged`, `HostBusy`, `HostIdle`,
                  `PinKey`, `UnpinKey`, `PlannerStatusQuery` (asked: a `PlannerStatus`),
                  `LearnedQuery` (asked: what it has learned, as plain data)
to the cache      `Invalidate`, `Restamp`, `Drain` (asked: None once it is done),
                  `CacheStatusQuery` (asked: a `LayersSnapshot`)
to metrics        `Events`, `ReportQuery` (asked: a `Report`), `StoryQuery` (asked: story
                  lines), `LatestQuery` (asked: the newest of them), `ExportQuery` (asked: a
                  `Snapshot`), `AlertsQuery`
to the supervisor `HealthQuery` (asked: a `Health`)
================  ==========================================================================

The rest is what the actors tell each other: `PoolCommand` to a pool, `PoolReport` and `Surveyed`
from it, `CacheCommand` to the CacheLayer and `CacheReport` from it.
"""

from attrs import field

from prefetch_scheduler.actors.children import HealthQuery
from prefetch_scheduler.actors.desk import ChangeWaiting, SubmitWaiting
from prefetch_scheduler.policies.cache_events import (
    Acknowledged,
    CacheCommand,
    CacheReport,
    Drain,
    EndSession,
    Invalidate,
    Pin,
    Put,
    Puts,
    Resident,
    Restamp,
    Restore,
    Unpin,
)
from prefetch_scheduler.policies.metrics_events import Events
from prefetch_scheduler.policies.planner_events import (
    Answer,
    CancelKey,
    CancelPlan,
    ContextChanged,
    Demand,
    Forsake,
    HostBusy,
    HostIdle,
    PinKey,
    PlannerEvent,
    ProjectSwitched,
    Retry,
    Revalidate,
    SessionEnded,
    SessionStarted,
    Submit,
    UnpinKey,
    UserLoggedIn,
)
from prefetch_scheduler.policies.pool_events import (
    CancelLoad,
    Expanded,
    Fetch,
    Permit,
    PoolCommand,
    PoolReport,
    ResetPool,
    Surveyed,
    SurveyNames,
    TakeOver,
    UnderWay,
    Withdraw,
)
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import Pool


@frozen
class PlannerStatusQuery:
    """Ask the planner how full it is; answered with a `PlannerStatus`."""


@frozen
class PlannerStatus:
    """How full the planner is."""

    queued: dict[Pool, int]
    """Flights waiting in each queue of the planner."""
    running: dict[Pool, int]
    """Loads that hold a slot of each pool."""
    credits: dict[Pool, int]
    """Requests that each pool would take now."""
    stuck: dict[str, int]
    """Loads past their claim that have not ended, by source."""
    sessions: int
    flights: int
    host_busy: bool
    next_deadline: float | None = None
    pending: int = 0
    """Plans that wait for the sources' own estimates, or are being made in steps."""
    held_off: dict[str, float] = field(factory=dict)
    """Sources that keep failing -> engine seconds until something is loaded ahead from them."""
    held_back: dict[str, str] = field(factory=dict)
    """Sources, or `source, role`, whose loads ahead were wasted -> what was counted, in words."""


@frozen
class CacheStatusQuery:
    """Ask the CacheLayer what it holds; answered with a `LayersSnapshot`."""


@frozen
class ReportQuery:
    """Ask Metrics for a report; answered with a `Report`."""

    session: str | None = None
    """None: all sessions together."""


@frozen
class StoryQuery:
    """Ask Metrics for a key's story; answered with a tuple of `StoryLine`."""

    key: str


@frozen
class LatestQuery:
    """Ask Metrics for the newest story lines of all keys; answered with `(key, StoryLine)` pairs,
    the newest last.
    """

    count: int = 20


@frozen
class ExportQuery:
    """Ask Metrics for its figures in full; answered with a `Snapshot`."""

    session: str | None = None
    """None: all sessions together."""


@frozen
class AlertsQuery:
    """Ask Metrics for the alerts that stand; answered with a mapping session -> breaches."""


@frozen
class LearnedQuery:
    """Ask the planner for what it has learned; answered with plain data, as `remembered` gives."""


PlannerMessage = PlannerEvent | SubmitWaiting | UnderWay | PlannerStatusQuery | LearnedQuery
CacheMessage = CacheCommand | Puts | ChangeWaiting | Drain | CacheStatusQuery
MetricsMessage = Events | ReportQuery | StoryQuery | LatestQuery | ExportQuery | AlertsQuery

PLANNER_CONTROL: tuple[type, ...] = (CancelPlan, CancelKey, HostBusy, HostIdle, CacheReport)
"""Planner messages that overtake queued work: what ends or outdates it.

Not a change of context: it must stay behind the submits that were made before it.
"""

CACHE_CONTROL: tuple[type, ...] = ()
"""None: an invalidation that overtook a put, or an acknowledgement that overtook one, would err."""

POOL_CONTROL: tuple[type, ...] = (CancelLoad, TakeOver)
"""Pool messages that overtake queued fetches; one that overtakes its own fetch is remembered."""

__all__ = [
    "CACHE_CONTROL",
    "PLANNER_CONTROL",
    "POOL_CONTROL",
    "Acknowledged",
    "AlertsQuery",
    "Answer",
    "CacheCommand",
    "CacheMessage",
    "CacheReport",
    "CacheStatusQuery",
    "CancelKey",
    "CancelLoad",
    "CancelPlan",
    "ChangeWaiting",
    "ContextChanged",
    "Demand",
    "Drain",
    "EndSession",
    "Events",
    "Expanded",
    "ExportQuery",
    "Fetch",
    "Forsake",
    "HealthQuery",
    "HostBusy",
    "HostIdle",
    "Invalidate",
    "LatestQuery",
    "LearnedQuery",
    "MetricsMessage",
    "Permit",
    "Pin",
    "PinKey",
    "PlannerEvent",
    "PlannerMessage",
    "PlannerStatus",
    "PlannerStatusQuery",
    "PoolCommand",
    "PoolReport",
    "ProjectSwitched",
    "Put",
    "Puts",
    "ReportQuery",
    "ResetPool",
    "Resident",
    "Restamp",
    "Restore",
    "Retry",
    "Revalidate",
    "SessionEnded",
    "SessionStarted",
    "StoryQuery",
    "Submit",
    "SubmitWaiting",
    "SurveyNames",
    "Surveyed",
    "TakeOver",
    "UnderWay",
    "Unpin",
    "UnpinKey",
    "UserLoggedIn",
    "Withdraw",
]
