"""What is counted (decisions D34 to D40). Each actor tells Metrics; nobody waits for it."""

from typing import get_args

from prefetch_scheduler.policies.learned_figures import LearnedFigures
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import Cause, RemovalCause
from prefetch_scheduler.policies.worth import Worth


@frozen
class SessionOpened:
    session: str
    project: str | None = None
    user: str | None = None


@frozen
class SessionClosed:
    session: str


@frozen
class Learned:
    """What the planner has learned by now; replaces what it told before."""

    figures: LearnedFigures


@frozen
class BudgetGranted:
    """A plan of this session was given so many tokens."""

    session: str
    tokens: int


@frozen
class Predicted:
    """These keys were predicted in this session (feedback needs it; merged, without repeats)."""

    session: str
    keys: tuple[str, ...]


@frozen
class PrefetchStarted:
    """A load was started by prediction, prefill or reload (decision D34)."""

    id: int
    session: str
    key: str
    cause: Cause
    tokens: int
    """The estimate, until the real size is known."""
    reason: str = ""
    loaded: int | None = None
    """Where it has ended well by now: its tokens, and no `PrefetchLoaded` follows."""
    load_s: float = 0.0
    """Seconds of its load, where it has been loaded."""


@frozen
class PrefetchLoaded:
    id: int
    tokens: int
    load_s: float


@frozen
class PrefetchUsed:
    """The first reader got it: `waited_s` is what that reader still waited (decision D37)."""

    id: int
    session: str
    waited_s: float = 0.0


@frozen
class PrefetchWasted:
    """It left the cache, or its session ended, unread. Final."""

    id: int
    reason: str


@frozen
class PrefetchCancelled:
    """Cancelled, or overtaken by a change; its tokens are wasted."""

    id: int
    reason: str


OVERTAKEN = "overtaken by a change"
"""Why a prefetch was cancelled whose resource changed while it was loaded or stored."""


@frozen
class PrefetchFailed:
    id: int
    reason: str


@frozen
class Hits:
    """Reads served from the layers, by layer name."""

    session: str
    count: int


@frozen
class LateHit:
    """A reader joined a prefetch under way."""

    session: str
    key: str


@frozen
class Joined:
    """A reader waited for another reader's load."""

    session: str
    key: str


@frozen
class Miss:
    """A reader's own demand had to load."""

    session: str
    key: str
    predicted: bool
    reason: str = ""
    """Where it was predicted: why it was not there."""


@frozen
class DemandLoaded:
    """A reader's demand was loaded."""

    session: str
    key: str
    tokens: int
    load_s: float


@frozen
class KeysRead:
    """Keys read from the layers lately, as drained from the readers' notes; some may be lost.

    Counts no hit (`Hits` does): it tells the predictor's feedback which predictions came true.
    """

    session: str
    keys: tuple[str, ...]


@frozen
class P0NotResident:
    session: str
    key: str


@frozen
class ServedStale:
    """A reader got content past its age, as its source allows; `why` says under which rule.

    It does not take the place of the hit or the miss that the read is counted as.
    """

    session: str
    key: str
    why: str


@frozen
class EntryRemoved:
    key: str
    cause: RemovalCause
    session: str = ""
    """The session that last read it, or for which it was loaded; empty: only the total counts."""


@frozen
class Dropped:
    """A late result, a notification or a message was dropped, by name of what it was."""

    what: str
    count: int = 1


@frozen
class Note:
    """One line of a key's story for `explain(key)`."""

    key: str
    event: str
    reason: str = ""
    session: str = ""
    worth: Worth | None = None
    """How it was weighed: put into words when somebody asks."""


Told = tuple[str, str, str, Worth | None]
"""A key, what is told of it, why, and how it was weighed."""


@frozen
class Planned:
    """What a plan made of keys: a line in the story of each."""

    session: str
    keys: tuple[Told, ...]


SessionEvent = (
    BudgetGranted
    | Predicted
    | Hits
    | KeysRead
    | LateHit
    | Joined
    | Miss
    | DemandLoaded
    | P0NotResident
    | ServedStale
)
"""What concerns one session's predictions and reads."""

PrefetchEnding = PrefetchUsed | PrefetchWasted | PrefetchCancelled | PrefetchFailed

MetricsEvent = (
    SessionOpened
    | SessionClosed
    | PrefetchStarted
    | PrefetchLoaded
    | PrefetchEnding
    | SessionEvent
    | EntryRemoved
    | Dropped
    | Note
    | Planned
    | Learned
)


EVENT_TYPES = frozenset[type](get_args(MetricsEvent))
"""To tell an event from other effects by its type: to look through a union takes microseconds."""


@frozen
class Events:
    """Several events in order, in one message. `today`: ordinal of the local calendar day."""

    events: tuple[MetricsEvent, ...]
