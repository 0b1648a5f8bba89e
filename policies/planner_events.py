"""What the planner is told by hosts, and the effects it asks for.

Tickets are opaque here: whatever the shell passes in, it gets back in the answering effect.
"""

from typing import Any, Literal

from attrs import field

from prefetch_scheduler.policies.cache_events import CacheCommand, CacheReport, Put
from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.errors import PrefetchError
from prefetch_scheduler.policies.metrics_events import MetricsEvent
from prefetch_scheduler.policies.plan import Plan
from prefetch_scheduler.policies.pool_events import Expanded, PoolCommand, PoolReport, Surveyed
from prefetch_scheduler.policies.prediction import Prediction, Terms, as_terms
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import Cause, Layer, Pool, Reason, RemovalCause

DEFAULT_SESSION = "default"

# ---- from hosts ----------------------------------------------------------------------------


@frozen
class Submit:
    """Plan these predictions for a session. Answered by `PlanMade`, then `ImmediateDone`."""

    session: str
    predictions: tuple[Prediction, ...]
    terms: Terms = field(factory=Terms, converter=as_terms)
    """`Constraints` are checked and taken too: a fault raises `InvalidPrediction` here."""
    context: str | None = None
    """The context they belong to; None: the session's present one."""
    ticket: Any = field(default=None, eq=False)


@frozen
class Demand:
    """A reader needs this now. Answered by `Answer`, `Refuse` or `Retry`."""

    session: str
    key: str
    ticket: Any = field(default=None, eq=False)
    at: float = 0.0
    """Engine time at which the reader asked."""
    seen: float = -1.0
    """`loaded_at` of the resident entry that the reader turned down as stale; -1: it saw none."""
    not_before: float = -1.0
    """A load dispatched before this is too old to join."""
    whole: str | None = None
    """Key of the whole that this key is a part of."""
    attempt: int = 0
    """How often this read has been asked before."""
    counted: bool = False
    """Whether this read has been counted already as a hit, late hit, joined or miss."""
    stored: str = ""
    """Cache key that the reader looked under; empty: as the session's user has it."""
    whole_stored: str | None = None
    turn: list[None] | None = field(default=None, eq=False, repr=False)
    """Emptied by whoever counts the read: the planner, or a reader that does without it while
    this message still waits. None: nobody but the planner counts it.
    """

    def claim(self) -> bool:
        """Take the turn to count this read. False: it is counted, or another was first."""
        if self.counted:
            return False
        if self.turn is None:
            return True
        try:
            self.turn.pop()
        except IndexError:
            return False
        return True


@frozen
class Revalidate:
    """A reader was served content past its age: load it again in the background.

    Nothing is done where that is under way, the key is unavailable, or the content is not past its
    age any more.
    """

    session: str
    key: str
    stored: str


@frozen
class Forsake:
    """The reader of this ticket waits no longer."""

    ticket: Any = field(eq=False)
    stored: str = ""
    """Cache key it waits for; empty: looked for among all that wait."""
    whole_stored: str | None = None


@frozen
class CancelPlan:
    """The host takes back the submit of this ticket."""

    ticket: Any = field(eq=False)


@frozen
class CancelKey:
    """A session wants a key no longer: its load ends, queued or running, unless others want it."""

    session: str
    key: str


@frozen
class SessionStarted:
    """A session begins: its pins and prefill are loaded."""

    session: str
    project: str | None = None
    user: str | None = None


@frozen
class SessionEnded:
    """A session is over: its loads are cancelled, its pins released."""

    session: str


@frozen
class ProjectSwitched:
    """A session turned to another project: that project's prefill is loaded."""

    session: str
    project: str


@frozen
class UserLoggedIn:
    """A session's user is known: their prefill is loaded, private content is theirs."""

    session: str
    user: str


@frozen
class ContextChanged:
    """A session turned to something else; its next `Submit` says what is still wanted."""

    session: str
    context: str


@frozen
class HostBusy:
    """The host declares itself busy: no background load starts until `HostIdle`."""


@frozen
class HostIdle:
    """The host has time again."""


@frozen
class PinKey:
    """Load a key if need be and keep it for the session. Answered by `Done` or `Refuse`."""

    session: str
    key: str
    ticket: Any = field(default=None, eq=False)


@frozen
class UnpinKey:
    """Release a session's pin; an unknown one is no error."""

    session: str
    key: str


@frozen
class PlannerTick:
    """The machine's next deadline has come."""


PlannerEvent = (
    Submit
    | Demand
    | Forsake
    | Revalidate
    | CancelPlan
    | CancelKey
    | SessionStarted
    | SessionEnded
    | ProjectSwitched
    | UserLoggedIn
    | ContextChanged
    | HostBusy
    | HostIdle
    | PinKey
    | UnpinKey
    | PlannerTick
    | PoolReport
    | Surveyed
    | Expanded
    | CacheReport
)

# ---- effects -------------------------------------------------------------------------------


@frozen
class ToPool:
    pool: Pool
    command: PoolCommand


@frozen
class ToCache:
    command: CacheCommand


@frozen
class Answer:
    """The content for a reader, with what it must check before it uses it."""

    ticket: Any = field(eq=False)
    content: Content
    asked_at: float
    """Engine time at which the load was dispatched."""
    epoch: int
    source_id: int
    entry: Entry | None = field(default=None, eq=False)


@frozen
class Refuse:
    """There is no content for this reader, and why."""

    ticket: Any = field(eq=False)
    error: PrefetchError = field(eq=False)


@frozen
class Retry:
    """Read the published view again: it holds something newer than the reader saw."""

    ticket: Any = field(eq=False)
    counted: bool = False
    """The read was counted before its planner failed; it must not be counted again."""
    session: str = ""
    key: str = ""
    """Of a read that is still to be counted by its reader: what it is, should nobody wait."""


@frozen
class PlanMade:
    ticket: Any = field(eq=False)
    plan: Plan


@frozen
class ImmediateDone:
    """All P0 and P1 items of the plan are loaded (`ok`), or one of them cannot be."""

    ticket: Any = field(eq=False)
    ok: bool


@frozen
class Shed:
    """One item of the plan of this ticket was given up to keep a queue within its bound."""

    ticket: Any = field(eq=False)
    key: str
    reason: Reason


@frozen
class Done:
    """What this ticket asked for has been taken on."""

    ticket: Any = field(eq=False)


@frozen
class Log:
    level: Literal["debug", "info", "warning", "error"]
    text: str
    key: str = ""
    session: str = ""
    source: str = ""


# ---- what subscribers are told -------------------------------------------------------------


@frozen
class ResourceLoaded:
    """A resource was loaded and is being stored; `cause` says what for."""

    key: str
    session: str
    tokens: int
    cause: Cause
    source: str = ""
    load_s: float = 0.0
    """How long its source took, in engine seconds."""
    wall: float = 0.0
    """When it was loaded: wall-clock seconds since the epoch."""


@frozen
class ResourceFailed:
    """Every source of a resource failed: it is left alone for a while (decision D24)."""

    key: str
    session: str
    error: str
    source: str = ""
    """The last one that was tried."""
    load_s: float = 0.0
    """How long that one took to fail, in engine seconds."""
    wall: float = 0.0
    """When it failed: wall-clock seconds since the epoch."""
    cause: Cause = Cause.DEMAND


@frozen
class ResourceEvicted:
    """An entry left the cache; `cause` says why."""

    key: str
    cause: RemovalCause
    layer: Layer | None = None


@frozen
class ContextSwitched:
    """A session turned to another context."""

    session: str
    context: str


HostEvent = ResourceLoaded | ResourceFailed | ResourceEvicted | ContextSwitched


@frozen
class Tell:
    """Tell the host's subscribers."""

    event: HostEvent


PlannerEffect = (
    ToPool
    | ToCache
    | Put
    | MetricsEvent
    | Answer
    | Refuse
    | Retry
    | PlanMade
    | ImmediateDone
    | Shed
    | Done
    | Log
    | Tell
)
