"""Everything the planner knows, in one place, and the effects collected while an event is handled.

The planner's rules are functions over this state, grouped by what they react to:
`submitting` (plans), `dispatching` (slots), `loading` (what pools report), `demanding` (readers),
`changing` (contexts, sessions, the cache's reports). `planner` ties them together.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from attrs import field

from prefetch_scheduler.policies.availability import Availability
from prefetch_scheduler.policies.breakers import Breakers
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.content import Entry
from prefetch_scheduler.policies.estimates import Estimator
from prefetch_scheduler.policies.flights import Flight, FlightTable
from prefetch_scheduler.policies.keys import cache_key, kind_of
from prefetch_scheduler.policies.learning import Learning
from prefetch_scheduler.policies.metrics_events import MetricsEvent, Note
from prefetch_scheduler.policies.planner_events import Log, PlannerEffect
from prefetch_scheduler.policies.sessions import (
    Expanding,
    MadePlan,
    PendingPlan,
    PlanState,
    SessionState,
)
from prefetch_scheduler.policies.slots import Slots
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable
from prefetch_scheduler.policies.steps import Steps
from prefetch_scheduler.policies.unstarted import Unstarted
from prefetch_scheduler.policies.usage import EarlyReads, Habits, UsageHistory
from prefetch_scheduler.policies.values import define, frozen
from prefetch_scheduler.policies.vocabulary import PolicyName, Pool, SpeculationMode
from prefetch_scheduler.policies.waiting import WaitingRoom
from prefetch_scheduler.policies.worth import Worth

PLANS_LIMIT = 64
NO_LIMIT = 10**9


@frozen
class Kind:
    """The sources of one kind."""

    sources: tuple[SourceInfo, ...]
    """All of them."""
    prefetched: tuple[SourceInfo, ...]
    """Those that may be prefetched."""
    first: int
    """Place of the first of these among all of the kind; 0 if there is none."""
    private: bool


@define(eq=False)
class PlannerState:
    config: Config
    table: SourceTable
    slots: Slots = field(init=False)
    flights: FlightTable = field(init=False, factory=FlightTable)
    queue: WaitingRoom = field(init=False, factory=WaitingRoom)
    unstarted: Unstarted = field(init=False)
    surveying: frozenset[str] = field(init=False)
    """Kinds of which some source has to be asked about its names before a plan."""
    availability: Availability = field(init=False)
    breakers: Breakers = field(init=False)
    estimator: Estimator = field(init=False, factory=Estimator)
    usage: UsageHistory = field(init=False, factory=UsageHistory)
    early: EarlyReads = field(init=False, factory=EarlyReads)
    habits: Habits = field(init=False, factory=Habits)
    sessions: dict[str, SessionState] = field(init=False, factory=dict)
    leaving: dict[str, SessionState] = field(init=False, factory=dict)
    """Sessions that are over, whose last reads the cache has not told of yet."""
    crossing: dict[str, float] = field(init=False, factory=dict)
    """Session -> when its change of context cancels, unless a submit comes first (D25).

    Earliest first, so that the next deadline is known however many sessions there are.
    """
    plans: dict[int, PlanState] = field(init=False, factory=dict)
    plans_limit: int = field(init=False, default=PLANS_LIMIT)
    """At so many plans, those of which nothing can come any more are forgotten."""
    pending: dict[int, PendingPlan] = field(init=False, factory=dict)
    """What waits for its survey, or is being planned in steps."""
    drafts: OrderedDict[int, Steps[None]] = field(init=False, factory=OrderedDict)
    """Of the pending ones those that are worked on in steps, the next one first."""
    made: list[MadePlan] = field(init=False, factory=list)
    """Plans made while the event in hand was handled."""
    expanding: OrderedDict[int, Expanding] = field(init=False, factory=OrderedDict)
    """Flight -> for whom its content is asked for follow-up predictions."""
    learning: Learning = field(init=False)
    """What the default policy has learned."""
    promise_kept: bool = field(init=False, default=True)
    """Whether the promise about waste was kept when it was last looked at."""
    resident: dict[str, Entry] = field(init=False, factory=dict)
    """What the cache holds, by cache key, as it last reported."""
    last_plan: int = field(init=False, default=0)
    epoch: int = field(init=False, default=0)
    """The newest invalidation that has been taken note of."""
    host_busy: bool = field(init=False, default=False)
    now: float = field(init=False, default=0.0)
    """Engine time of the event in hand, or of the one handled last."""
    wall: float = field(init=False, default=0.0)
    today: int = field(init=False, default=0)
    heard: bool = field(init=False, default=True)
    """Whether anybody is told of loads: else there is no need to put them into words."""
    out: list[PlannerEffect] = field(init=False, factory=list)
    _kinds: dict[str, Kind] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        run = self.config.execution
        self.slots = Slots(self.config)
        self.learning = Learning(self.config)
        self.unstarted = Unstarted(self.flights)
        self.surveying = frozenset(info.kind for info in self.table.infos if info.surveys)
        self.availability = Availability(run.unavailable_min_s, run.unavailable_max_s)
        self.breakers = Breakers(run.unavailable_min_s, run.unavailable_max_s)

    # ---- effects --------------------------------------------------------------------------

    def emit(self, effect: PlannerEffect) -> None:
        self.out.append(effect)

    def count(self, event: MetricsEvent) -> None:
        self.out.append(event)

    def note(
        self,
        key: str,
        event: str,
        reason: str = "",
        session: str = "",
        worth: Worth | None = None,
    ) -> None:
        """One line of the key's story."""
        self.out.append(Note(key, event, reason, session, worth))

    def log(
        self,
        level: Literal["debug", "info", "warning", "error"],
        text: str,
        key: str = "",
        session: str = "",
        source: str = "",
    ) -> None:
        self.out.append(Log(level, text, key, session, source))

    @property
    def reloads_on_change(self) -> bool:
        """Whether what was read and has changed is loaded again unasked (decision D31)."""
        return self.weighs and self.speculates

    @property
    def weighs(self) -> bool:
        """Whether loads ahead are weighed by what they are worth, once enough is known."""
        return self.config.execution.policy != PolicyName.SPECIFICATION

    @property
    def speculates(self) -> bool:
        """Whether predictions are acted on, or at least weighed."""
        off = self.config.speculation.mode == SpeculationMode.OFF
        return self.config.enable_speculative_prefetch and not off

    @property
    def observes(self) -> bool:
        """Whether what would be loaded by prediction is only recorded."""
        return self.config.speculation.mode == SpeculationMode.OBSERVE

    @property
    def loads_ahead(self) -> float:
        """How many loads a load ahead waits for before it has a slot."""
        ahead = self.queue.length(Pool.P0) + self.queue.length(Pool.P1) + self.queue.length(Pool.P2)
        return ahead / self.config.max_concurrent_fetches

    def enqueue(self, flight: Flight, *, first: bool = False) -> None:
        """Let a flight wait for a slot in its pool's queue."""
        self.queue.add(flight, first=first)
        if flight.pool is Pool.P3:
            self.unstarted.add(flight)

    def enqueue_all(self, flights: Sequence[Flight]) -> None:
        """The same for what a plan loads."""
        self.queue.add_all(flights)
        for flight in flights:
            if flight.pool is Pool.P3:
                self.unstarted.add(flight)

    # ---- sessions and sources -------------------------------------------------------------

    def session(self, name: str) -> SessionState:
        """The session of that name; it comes into being when it is first spoken of."""
        found = self.sessions.get(name)
        if found is None:
            if self.leaving.pop(name, None) is not None:
                self.learning.ended(
                    name
                )  # one of the same name, whose last reads are not waited for
            found = self.sessions[name] = SessionState(name)
        return found

    def met(self, name: str) -> SessionState:
        """As `session`, for what makes no session live: one that is over must not come back."""
        return self.sessions.get(name) or SessionState(name)

    def stored(self, key: str, session: SessionState) -> str:
        """The cache key of a resource as this session sees it."""
        return cache_key(key, session.user, private=self.kind(key).private)

    def may_prefetch(self, source: SourceInfo) -> bool:
        """Prediction is never permission: read-only, and remote only where the host opted in."""
        return source.read_only and (not source.remote or self.config.execution.prefetch_remote)

    def prefetch_sources(self, key: str) -> tuple[SourceInfo, ...]:
        return self.kind(key).prefetched

    def first_prefetch_source(self, key: str) -> int:
        """Place of the first source of the key's kind that may be prefetched; 0 if none may."""
        return self.kind(key).first

    def kind(self, key: str) -> "Kind":
        """What follows from a key's kind, worked out once."""
        name = kind_of(key)
        found = self._kinds.get(name)
        if found is None:
            sources = self.table.by_kind.get(name, ())
            places = [i for i, source in enumerate(sources) if self.may_prefetch(source)]
            found = Kind(
                sources=sources,
                prefetched=tuple(sources[place] for place in places),
                first=places[0] if places else 0,
                private=self.table.is_private(name),
            )
            if sources:  # a host may name any number of kinds that do not exist
                self._kinds[name] = found
        return found

    def source_room(self, source: SourceInfo, *, demand: bool) -> int:
        """How many more loads the source takes (decision D15).

        Prefetching counts what is stuck against the source; demand gets a fresh slot beside it.
        """
        running = self.flights.running_at(source.id)
        if not demand:
            most = source.max_concurrency or self.config.execution.max_source_concurrency
            return most - running
        if source.max_concurrency is None:
            return NO_LIMIT
        return source.max_concurrency - (running - self.flights.stuck_at(source.id))

    def source_open(self, source: SourceInfo, *, demand: bool) -> bool:
        """Whether the source takes one more load."""
        return self.source_room(source, demand=demand) > 0

    def choked(self, source: SourceInfo) -> bool:
        """Whether so many loads of the source are stuck that even demand fails at once."""
        return self.flights.stuck_at(source.id) >= self.config.execution.max_stuck_per_source
