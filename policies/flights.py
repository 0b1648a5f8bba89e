"""Loads from the wish to the end: who wants them, who waits, and what they hold.

At most one live flight for each cache key. A flight whose result nobody may use any more
(cancelled, abandoned) leaves the table of live ones, but keeps its source's slot until the
source's code has really ended.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, auto
from typing import Any

from attrs import Factory, field

from prefetch_scheduler.policies.calibration import Group
from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.keys import matches
from prefetch_scheduler.policies.source_info import SourceInfo, Survey
from prefetch_scheduler.policies.values import define, frozen
from prefetch_scheduler.policies.vocabulary import Cause, Lane, Pool, Priority


class State(Enum):
    """Where a flight is."""

    QUEUED = auto()  # in the planner's queue
    HANDED = auto()  # in its pool, waiting for a permit or for another's slot
    RUNNING = auto()  # the source's code runs, within its claim to a slot
    LINGERING = auto()  # its claim ran out; the source's code still runs
    STORING = auto()  # loaded, the cache has not answered yet
    GONE = auto()  # cancelled or abandoned: only its source slot is left


@frozen(eq=False)
class Want:
    """Why one session wants a flight, other than a reader waiting for it. One for a whole plan."""

    session: str
    cause: Cause
    plan: int = 0
    depth: int = 0
    """0: predicted by the host; 1, 2: came out of loaded content (decision D23)."""


@define(eq=False)
class Waiter:
    """A reader that waits for a flight."""

    ticket: Any
    session: str
    since: float
    part: str | None = None
    """The key of the part it wants; None: the whole."""
    uncounted: bool = False
    """Whether it is a late hit or a miss depends on whether the background pool has started it."""


_POOL_OF = {
    priority: (Pool.P0, Pool.P1, Pool.P2)[min(priority, Priority.P2)] for priority in Priority
}

NO_PARTS: Mapping[str, Content] = {}


@define(eq=False)
class Flight:
    """One load. Thousands may be queued, so what most of them have none of is no container each."""

    id: int
    stored: str
    key: str
    name: str
    sources: tuple[SourceInfo, ...]
    """The sources to try, in order; alternatives after the first (decision D24)."""
    cause: Cause
    priority: Priority
    density: float
    """Value for each token."""
    pool: Pool
    lane: Lane
    session: str
    """The session it was made for."""
    created_at: float
    ready_at: float
    """Engine time before which a background load does not start."""
    tokens: int = 0
    load_s: float = 0.0
    survey: Survey | None = None
    """What its source said of it; None: it was not asked, or did not say in time."""
    reason: str = ""
    whose: str = ""
    """Of the prediction that it was made for; empty: it was not predicted."""
    state: State = State.QUEUED
    source_at: int = 0
    """The place of `source`; changed by `turn_to`."""
    wants: Mapping[str, Want] = Factory(dict)
    """By session. Replaced as a whole: the loads of a plan share one."""
    waiters: tuple[Waiter, ...] = ()
    parts: Mapping[str, Content] = NO_PARTS
    """Parts that the source has yielded so far, by key."""
    pin_for: frozenset[str] = frozenset()
    expected_by: tuple[int, ...] = ()
    """Plans that count it among their P0 and P1 items, even if a later one took its want over."""
    expands: bool = False
    """Its source is asked for follow-up predictions once it is loaded."""
    epoch: int = 0
    asked_at: float = 0.0
    """When it was dispatched: what it brings is no older."""
    began_at: float = 0.0
    """When its source was called: later than `asked_at` where it waited in its pool first."""
    overtaken: bool = False
    """The resource changed after the load was dispatched: its result must not be stored."""
    reloaded: bool = False
    """It is the one repetition of an overtaken or abandoned load."""
    requeue: bool = False
    """Taken back from the background pool to run in another one."""
    prefetch_id: int = 0
    """Under which number it was counted as a started prefetch; 0: it was not."""
    used: bool = False
    entry: Entry | None = None
    standby: bool = False
    """It waits in a pool for another's slot, and will take over its source's, too."""
    source: SourceInfo = field(init=False)
    """Of `sources` the one that is tried."""

    def __attrs_post_init__(self) -> None:
        self.source = self.sources[self.source_at]

    def turn_to(self, source_at: int) -> None:
        """Try that of its sources from now on."""
        self.source_at = source_at
        self.source = self.sources[source_at]

    def no_longer_awaited_by(self, waiter: Waiter) -> None:
        """That reader has been answered, or has given up."""
        self.waiters = tuple([other for other in self.waiters if other is not waiter])

    @property
    def group(self) -> Group:
        """Whose loads ahead it counts with."""
        return self.source.id, self.whose

    @property
    def is_prefetch(self) -> bool:
        return self.cause is not Cause.DEMAND

    @property
    def owner(self) -> str:
        """The session it is counted for: its own, unless only others want it by now."""
        if not self.wants or self.session in self.wants:
            return self.session
        return next(iter(self.wants))

    @property
    def own_pool(self) -> Pool:
        """The pool that its lane and priority ask for."""
        if self.lane is Lane.BACKGROUND:
            return Pool.P3
        return _POOL_OF[self.priority]

    @property
    def order(self) -> tuple[int, float, str]:
        """Where it stands in its queue (decision D1): smaller is sooner."""
        return (int(self.priority), -self.density, self.key)

    @property
    def dispatched(self) -> bool:
        return self.state not in (State.QUEUED, State.GONE)


@define
class FlightTable:
    """All flights, by number and by cache key, and what each source has under way."""

    by_id: dict[int, Flight] = field(init=False, default=Factory(dict))
    live: dict[str, Flight] = field(init=False, default=Factory(dict))
    at_source: dict[int, set[int]] = field(init=False, default=Factory(dict))
    """Flights that hold a slot of a source: handed over or running, stuck ones included."""
    stuck: dict[int, set[int]] = field(init=False, default=Factory(dict))
    """Of these, the ones past their claim, cancelled or abandoned, whose code has not ended."""
    handed: dict[int, Flight] = field(init=False, default=Factory(dict))
    """Flights handed to the background pool, by `id()`, and some that have left that state."""
    _wanted: dict[str, dict[int, Flight]] = field(init=False, default=Factory(dict))
    """Session -> the live flights that it wants, by `id()`: their numbers may change."""
    last_id: int = 0

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def add(self, flight: Flight) -> None:
        self.by_id[flight.id] = flight
        self.live[flight.stored] = flight
        for session in flight.wants:
            self._wanted.setdefault(session, {})[id(flight)] = flight

    def want(self, flight: Flight, want: Want) -> None:
        """A session wants a live flight, for this reason from now on."""
        flight.wants = {**flight.wants, want.session: want}
        self._wanted.setdefault(want.session, {})[id(flight)] = flight

    def drop_want(self, flight: Flight, session: str) -> None:
        flight.wants = {name: want for name, want in flight.wants.items() if name != session}
        self._unwanted(flight, session)

    def _unwanted(self, flight: Flight, session: str) -> None:
        wanted = self._wanted.get(session)
        if wanted is not None:
            wanted.pop(id(flight), None)
            if not wanted:
                del self._wanted[session]

    def detach(self, flight: Flight) -> None:
        """Take a flight out of the live ones; it is forgotten once its source slot is free."""
        flight.state = State.GONE
        if self.live.get(flight.stored) is flight:
            del self.live[flight.stored]
        for session in flight.wants:
            self._unwanted(flight, session)
        if not self._holds_source(flight):
            self.by_id.pop(flight.id, None)

    def renumber(self, flight: Flight) -> None:
        """Give a flight a new number for another attempt; late reports of the old one miss it."""
        if self._holds_source(flight):
            ghost = Flight(
                flight.id,
                flight.stored,
                flight.key,
                flight.name,
                flight.sources,
                flight.cause,
                flight.priority,
                flight.density,
                flight.pool,
                flight.lane,
                flight.session,
                flight.created_at,
                flight.ready_at,
                source_at=flight.source_at,
                state=State.GONE,
                standby=flight.standby,
            )
            self.by_id[flight.id] = ghost
        else:
            self.by_id.pop(flight.id, None)
        flight.standby = False
        flight.id = self.next_id()
        self.by_id[flight.id] = flight

    def _holds_source(self, flight: Flight) -> bool:
        return flight.standby or flight.id in self.at_source.get(flight.source.id, ())

    def take_source(self, flight: Flight) -> None:
        flight.standby = False
        source = flight.source.id
        held = self.at_source.get(source)
        if held is None:
            held = self.at_source[source] = set()
        held.add(flight.id)

    def mark_stuck(self, flight: Flight) -> None:
        if self._holds_source(flight):
            self.stuck.setdefault(flight.source.id, set()).add(flight.id)

    def free_source(self, flight: Flight) -> None:
        """The source's code for this flight has ended, or never began."""
        source = flight.source.id
        flight.standby = False
        for held in (self.at_source, self.stuck) if self.stuck else (self.at_source,):
            ids = held.get(source)
            if ids is not None:
                ids.discard(flight.id)
                if not ids:
                    del held[source]
        if flight.state is State.GONE:
            self.by_id.pop(flight.id, None)

    def running_at(self, source: int) -> int:
        return len(self.at_source.get(source, ()))

    def stuck_at(self, source: int) -> int:
        return len(self.stuck.get(source, ()))

    def covered_by(self, pattern: str) -> Iterator[Flight]:
        """Live flights whose key an invalidation pattern covers."""
        if not pattern.endswith("*") and pattern in self.live:
            yield self.live[pattern]
            return
        yield from [f for f in self.live.values() if matches(pattern, f.stored)]

    def wanted_by(self, session: str) -> list[Flight]:
        return list(self._wanted.get(session, {}).values())

    def find_waiter(
        self, ticket: Any, stored: str = "", whole: str | None = None
    ) -> tuple[Flight, Waiter] | None:
        """The waiter of a ticket: under these cache keys where they are given, else anywhere."""
        likely = [self.live.get(stored), self.live.get(whole or "")]
        flights = [f for f in likely if f is not None] if stored else list(self.live.values())
        for flight in flights:
            for waiter in flight.waiters:
                if waiter.ticket is ticket:
                    return flight, waiter
        return None

    def live_ids(self) -> Iterable[int]:
        return [f.id for f in self.live.values()]
