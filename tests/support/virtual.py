"""All state machines together in virtual time: no thread, no clock, no sleep.

The driver carries effects from machine to machine in order, keeps a heap of what happens later
(ends of loads, deadlines), and checks every machine's invariants after each step.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, field, frozen

from prefetch_scheduler.policies.accounting import Accounting
from prefetch_scheduler.policies.cache_events import CacheReport, FirstRead, Invalidate, Put, Read
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.layers import CacheLayers, Publish, Withdraw
from prefetch_scheduler.policies.metrics_events import EVENT_TYPES, Hits, MetricsEvent
from prefetch_scheduler.policies.plan import Plan
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import (
    Answer,
    Demand,
    Done,
    HostEvent,
    ImmediateDone,
    Log,
    PlanMade,
    PlannerTick,
    Refuse,
    Retry,
    Submit,
    Tell,
    ToCache,
    ToPool,
)
from prefetch_scheduler.policies.pool import CancelRun, PoolMachine, Run
from prefetch_scheduler.policies.pool_events import (
    Expanded,
    LoadFailure,
    LoadResult,
    PoolReport,
    RunEnded,
    RunPart,
    Surveyed,
    SurveyNames,
)
from prefetch_scheduler.policies.prediction import FollowUp, Prediction, Terms
from prefetch_scheduler.policies.slots import pool_capacity
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable, Survey
from prefetch_scheduler.policies.vocabulary import Pool

HANG = float("inf")


@frozen
class Load:
    """What happens when a key is loaded."""

    seconds: float = 0.01
    tokens: int = 100
    error: str | None = None
    follow_ups: tuple[FollowUp, ...] = ()
    parts: tuple[tuple[float, str], ...] = ()
    """(seconds after the start, key of the part)"""
    heeds_cancel: bool = True
    max_age_s: float | None = None


@define(eq=False)
class Outcome:
    """A read's ticket: how it ended, and when."""

    at: float
    result: Answer | Refuse | Retry | None = None
    ended_at: float | None = None

    @property
    def waited(self) -> float:
        assert self.ended_at is not None
        return self.ended_at - self.at


@define(eq=False)
class Handle:
    """A submit's ticket."""

    plan: Plan | None = None
    immediate: bool | None = None


@define(eq=False, slots=False)
class World:
    """One engine in virtual time."""

    sources: tuple[SourceInfo, ...] = (SourceInfo(0, "files", "file", read_only=True),)
    config: Config = field(factory=Config)
    loads: dict[str, Load] = field(factory=dict)
    """Key, or (source id, key), -> how it loads."""
    surveys: dict[str, Survey] = field(factory=dict)
    default: Load = field(factory=Load)
    now: float = 0.0
    today: int = 1
    started: list[tuple[float, str, int]] = field(factory=list)
    """(time, key, source) of every load begun."""
    cancelled: list[str] = field(factory=list)
    logs: list[Log] = field(factory=list)
    told: list[HostEvent] = field(factory=list)
    alerts: list[Any] = field(factory=list)
    events: list[MetricsEvent] = field(factory=list)
    versions: dict[str, int] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        table = SourceTable(self.sources)
        self.epoch = 0
        self.pools = {
            pool: PoolMachine(
                pool,
                pool_capacity(self.config, pool),
                permits=pool is Pool.P3,
                batch=self.config.enable_batch_fetching,
                table=table,
            )
            for pool in Pool
        }
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._running: dict[tuple[Pool, int], list[int]] = {}
        self._dead: set[int] = set()
        self._make_machines(table)
        for pool, machine in self.pools.items():
            self._pool_effects(pool, machine.start(self.now))
        self._arrive()

    def _make_machines(self, table: SourceTable) -> None:
        """The planner's, the layers' and the accounting's, and what readers see."""
        self.view: dict[str, Entry] = {}
        self.planner = PlannerMachine(self.config, table)
        self.layers = CacheLayers(self.config)
        self.accounting = Accounting(self.config)

    # ---- the host's side ---------------------------------------------------------------------

    def submit(
        self,
        predictions: Iterable[Prediction],
        terms: Terms | None = None,
        *,
        session: str = "s",
        context: str | None = None,
    ) -> Handle:
        handle = Handle()
        self.tell(Submit(session, tuple(predictions), terms or Terms(), context, handle))
        return handle

    def read(self, key: str, session: str = "s") -> Outcome:
        """Ask for a key as a host does; a hit ends at once, else run on to see it end."""
        outcome = Outcome(self.now)
        stored = self.planner.state.stored(key, self.planner.state.session(session))
        entry = self.view.get(stored)
        if entry is not None:
            self.count(Hits(session, 1))
            firsts = []
            if entry.first_read:
                entry.first_read.pop()
                firsts = [FirstRead(entry.prefetch_id, stored, session, self.now)]
            self._layer_effects(
                self.layers.take_reads([Read(stored, session, self.now)], firsts, self.now)
            )
            outcome.result = Answer(
                outcome, entry.content, entry.asked_at, entry.epoch, entry.source_id
            )
            outcome.ended_at = self.now
        else:
            self.tell(Demand(session, key, outcome, at=self.now))
        self._arrive()
        return outcome

    def change(self, key: str, content: str | None = None, session: str = "s") -> None:
        """The resource changed, as by `trigger(FileChanged(...))`."""
        self.epoch += 1
        self.versions[key] = self.versions.get(key, 0) + 1
        given = Content(content, tokens=1) if content is not None else None
        command = Invalidate(key, self.epoch, given, source_id=0, session=session)
        self._layer_effects(self.layers.handle(command, self.now))
        self._arrive()

    def tell(self, event: Any) -> None:
        """Send the planner an event; what it brings about at once has happened on return."""
        self._tell(event)
        self._arrive()

    def _tell(self, event: Any) -> None:
        self._planner_effects(self.planner.handle(event, self.now, wall=self.now, today=self.today))
        self.check()

    def _arrive(self) -> None:
        """Deliver the messages between machines that are on their way: they take no time."""
        while self._later and self._later[0][0] <= self.now:
            heapq.heappop(self._later)[2]()
        self.check()

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        end = self.now + seconds
        while True:
            due = self._next_due()
            if due is None or due > end:
                break
            self._step(due)
        self.now = end
        self.check()

    def settle(self, limit: float = 600.0) -> None:
        """Let time pass until nothing is under way any more."""
        end = self.now + limit
        state = self.planner.state
        while state.flights.live or state.pending or state.expanding:
            due = self._next_due()
            if due is None or due > end:
                return
            self._step(due)
        self.check()

    # ---- looking in --------------------------------------------------------------------------

    @property
    def resident(self) -> set[str]:
        return set(self.view)

    @property
    def loaded(self) -> list[str]:
        return [key for _, key, _ in self.started]

    def started_at(self, key: str) -> float:
        return next(at for at, started, _ in self.started if started == key)

    def summary(self, session: str | None = "s") -> dict[str, Any]:
        return self.accounting.report(session).summary()

    def running(self, pool: Pool) -> int:
        return len(self.planner.state.slots.claims[pool])

    def check(self) -> None:
        self.planner.check()
        self.layers.check()
        assert not self.accounting.check(), self.accounting.check()

    # ---- time ----------------------------------------------------------------------------------

    def _at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._later, (when, next(self._order), action))

    def _deadlines(self) -> list[float]:
        due = [
            self.planner.next_deadline(),
            self.layers.next_deadline(),
            *(p.next_deadline() for p in self.pools.values()),
        ]
        return [at for at in due if at is not None]

    def _next_due(self) -> float | None:
        due = self._deadlines()
        if self._later:
            due.append(self._later[0][0])
        return min(due, default=None)

    def _step(self, due: float) -> None:
        self.now = max(self.now, due)
        while self._later and self._later[0][0] <= self.now:
            heapq.heappop(self._later)[2]()
        self._tick_pools()
        self._tick_others()
        self.check()

    def _tick_pools(self) -> None:
        for pool, machine in self.pools.items():
            deadline = machine.next_deadline()
            if deadline is not None and deadline <= self.now:
                self._pool_effects(pool, machine.tick(self.now))

    def _tick_others(self) -> None:
        deadline = self.layers.next_deadline()
        if deadline is not None and deadline <= self.now:
            self._layer_effects(self.layers.tick(self.now))
        deadline = self.planner.next_deadline()
        if deadline is not None and deadline <= self.now:
            self._tell(PlannerTick())

    # ---- effects -------------------------------------------------------------------------------

    def count(self, event: MetricsEvent) -> None:
        self.events.append(event)
        self.alerts.extend(self.accounting.handle(event, self.now, self.now, self.today))

    def _planner_effects(self, effects: Iterable[Any]) -> None:
        for effect in effects:
            match effect:
                case _ if type(effect) in EVENT_TYPES:
                    self.count(effect)
                case ToPool(pool, command):
                    self._to_pool(pool, command)
                case Put():
                    self._layer_effects(self.layers.handle(effect, self.now))
                case ToCache(command):
                    self._layer_effects(self.layers.handle(command, self.now))
                case Answer() | Refuse() | Retry():
                    effect.ticket.result = effect
                    effect.ticket.ended_at = self.now
                case PlanMade(ticket, plan):
                    ticket.plan = plan
                case ImmediateDone(ticket, ok):
                    if ticket is not None:
                        ticket.immediate = ok
                case Log():
                    self.logs.append(effect)
                case Tell(event):
                    self.told.append(event)
                case Done():
                    pass

    def _to_pool(self, pool: Pool, command: Any) -> None:
        if isinstance(command, SurveyNames):
            infos = {info.id: info.kind for info in self.sources}
            found = tuple(self.surveys.get(f"{infos[i]}:{name}") for i, name in command.names)
            self._at(self.now, lambda: self._tell(Surveyed(command.plan_id, found)))
        else:
            self._pool_effects(pool, self.pools[pool].handle(command, self.now))

    def _pool_effects(self, pool: Pool, effects: Iterable[Any]) -> None:
        for effect in effects:
            match effect:
                case Run():
                    self._begin(pool, effect)
                case CancelRun():
                    self._cancel_run(pool, effect)
                case PoolReport():
                    # By the heap, as a message between actors is: never inside the sender's step.
                    self._at(self.now, lambda report=effect: self._tell(report))  # type: ignore[misc]  # mypy has no type for a lambda's default

    def _load_of(self, source: int, key: str) -> Load:
        found = self.loads.get(f"{source}/{key}", self.loads.get(key))
        return found if found is not None else self.default

    def _begin(self, pool: Pool, run: Run) -> None:
        for request in run.requests:
            load = self._load_of(request.source_id, request.key)
            self.started.append((self.now, request.key, request.source_id))
            for after, part in load.parts:
                event = RunPart(request.id, part, Content(f"part {part}", tokens=1), run.serial)
                self._at(self.now + after, lambda e=event: self._run_event(pool, e))  # type: ignore[misc]  # as above
            if load.seconds == HANG:
                continue
            result: LoadResult | LoadFailure
            if load.error is not None:
                result = LoadFailure(load.error)
            else:
                content = Content(
                    f"content of {request.key}", tokens=load.tokens, max_age_s=load.max_age_s
                )
                result = LoadResult(content, load.seconds)
            ended = RunEnded(request.id, result, run.serial)
            self._at(self.now + load.seconds, lambda e=ended: self._run_event(pool, e))  # type: ignore[misc]  # as above
            if request.expand:
                found = Expanded(request.id, load.follow_ups)
                self._at(self.now + load.seconds + 0.001, lambda e=found: self._tell(e))  # type: ignore[misc]  # as above

    def _run_event(self, pool: Pool, event: RunEnded | RunPart) -> None:
        if (event.run, event.id) in self._ended_runs:
            return
        if isinstance(event, RunEnded):
            self._ended_runs.add((event.run, event.id))
        self._pool_effects(pool, self.pools[pool].handle(event, self.now))

    _ended_runs: set[tuple[int, int]] = field(factory=set)

    def _cancel_run(self, pool: Pool, effect: CancelRun) -> None:
        for number in self._requests_of(effect):
            key = self._key_of(number)
            self.cancelled.append(key)
            if self._load_of(0, key).heeds_cancel:
                ended = RunEnded(number, LoadFailure("cancelled", cancelled=True), effect.serial)
                self._at(self.now, lambda e=ended: self._run_event(pool, e))  # type: ignore[misc]  # as above

    def _requests_of(self, effect: CancelRun) -> list[int]:
        return [effect.id]

    def _key_of(self, number: int) -> str:
        flight = self.planner.state.flights.by_id.get(number)
        return flight.key if flight is not None else "?"

    def _layer_effects(self, effects: Iterable[Any]) -> None:
        notices = []
        for effect in effects:
            match effect:
                case Publish(stored, entry):
                    self.view[stored] = entry
                case Withdraw(stored):
                    self.view.pop(stored, None)
                case _ if isinstance(effect, MetricsEvent):
                    self.count(effect)
                case _:
                    notices.append(effect)
        if notices:
            self._at(self.now, lambda: self._tell(CacheReport(tuple(notices))))


def p(key: str, role: str = "related_file", confidence: float = 0.85, **more: Any) -> Prediction:
    """A prediction, briefly."""
    return Prediction(key, role, confidence, **more)
