"""What the CacheLayer is told, and what it reports to the planner."""

from attrs import field

from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import Layer, RemovalCause

# ---- to the CacheLayer ---------------------------------------------------------------------


@frozen
class Put:
    """Store what was loaded. Answered by `Stored`, or by `Refused` where a change overtook it or
    the CacheLayer failed.
    """

    entry: Entry
    flight_id: int = 0
    pin_for: tuple[str, ...] = ()
    """Sessions for which the entry is pinned from the start."""


@frozen
class Puts:
    """Several in order, in one message."""

    puts: tuple[Put, ...]


@frozen
class Restore:
    """Entries that a store kept over a restart, the longest unused first. They are no prefetches,
    and nobody has asked for them: they enter cold, where there is room.
    """

    entries: tuple[Entry, ...]
    last: bool = False
    """Nothing more will come."""


@frozen
class Invalidate:
    """A resource changed. `content`: what it is now, where the host hands it over (decision D31);
    with a prefix it is ignored.
    """

    pattern: str
    """A key, or a prefix ending in `*`."""
    epoch: int = 0
    """Its mark's number on the board of invalidations; 0: none yet, the CacheLayer sets one."""
    content: Content | None = None
    source_id: int = -1
    user: str | None = None
    session: str = ""
    stored: str = ""
    """Cache key under which `content` is kept; empty: the key itself. What is private needs it."""


@frozen
class Acknowledged:
    """The planner has taken note of an invalidation: no load older than it will be put any more."""

    epoch: int


@frozen
class Restamp:
    """A reader found an entry's content unchanged under a new version: serve `content` now."""

    old: Entry
    content: Content


@frozen
class Pin:
    """Keep the entry of this cache key for a session; if it is not resident, once it is put."""

    stored: str
    session: str


@frozen
class Unpin:
    """A session keeps the entry of this cache key no longer."""

    stored: str
    session: str


@frozen
class EndSession:
    """Demote the session's hot entries, release its pins; what it prefetched unread is wasted."""

    session: str


@frozen
class Read:
    """One read from the published view: recency and frequency only, it may be lost."""

    stored: str
    session: str
    at: float


@frozen
class FirstRead:
    """A prefetched entry was read for the first time. Never lost."""

    prefetch_id: int
    stored: str
    session: str
    at: float


@frozen
class Drain:
    """Take in what readers have noted. Answered, when asked, once that is done."""


@frozen
class Resident:
    """Ask for the keys held, e.g. by a planner that has just started; answered by `Holding`."""


CacheCommand = (
    Put
    | Restore
    | Invalidate
    | Acknowledged
    | Restamp
    | Pin
    | Unpin
    | EndSession
    | Drain
    | Resident
)

# ---- from the CacheLayer, to the planner ---------------------------------------------------


@frozen
class Stored:
    """An entry is resident: put, handed over (flight 0), or found unchanged under a new version."""

    stored: str
    flight_id: int
    entry: Entry | None = field(default=None, eq=False)


@frozen
class Refused:
    """Not stored: the resource changed after the load was dispatched."""

    stored: str
    flight_id: int
    lost: bool = False
    """Not for that, but because the CacheLayer failed on it or before it reported it."""


@frozen
class Removed:
    """An entry left the cache."""

    stored: str
    cause: RemovalCause
    was_read: bool
    session: str
    """The session that last read it, or for which it was loaded."""
    tokens: int = 0
    layer: Layer | None = None
    """The layer it was served from."""
    pinned: bool = False
    """Whether a session keeps its key pinned; the pin stands until a new entry comes."""


@frozen
class Invalidated:
    """An invalidation took effect; loads dispatched before it must not be stored."""

    pattern: str
    epoch: int


@frozen
class Holding:
    """The entries held now."""

    entries: tuple[Entry, ...]


@frozen
class Accessed:
    """Reads drained from the view, oldest first."""

    reads: tuple[Read, ...]


@frozen
class SessionLeft:
    """All that a session has read is told of, and what it had here has been settled."""

    session: str


CacheNotice = Stored | Refused | Removed | Invalidated | Holding | Accessed | SessionLeft


# ---- from the CacheLayer, to the view that readers see ---------------------------------------


@frozen(eq=False)
class Publish:
    """Readers get this entry for this cache key from now on, in place of any other."""

    stored: str
    entry: Entry


@frozen
class Withdraw:
    """Readers find nothing under this cache key any more."""

    stored: str


ViewEffect = Publish | Withdraw


@frozen
class CacheReport:
    """What happened in the cache, in order."""

    notices: tuple[CacheNotice, ...]
