"""The engine's own state machines in virtual time: planner, pools, cache, accounting.

What threads, mailboxes and clocks do in the live engine is done here by a heap of what happens
later and a queue of messages that take no time. The machines are the same.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import Any, assert_never, cast

from attrs import field

from prefetch_scheduler.engine.recording_events import PredictEvent, RecordedSession
from prefetch_scheduler.engine.simulation.host import DAY_S, next_day
from prefetch_scheduler.engine.simulation.loads import Loads
from prefetch_scheduler.engine.simulation.trace import ReadKind, Trace
from prefetch_scheduler.policies.accounting import Accounting
from prefetch_scheduler.policies.cache_events import (
    CacheNotice,
    CacheReport,
    FirstRead,
    Holding,
    Invalidate,
    Publish,
    Put,
    Read,
    Withdraw,
)
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.counts import Counts
from prefetch_scheduler.policies.keys import kind_of
from prefetch_scheduler.policies.layers import CacheLayers
from prefetch_scheduler.policies.metrics_events import (
    EVENT_TYPES,
    Hits,
    Joined,
    LateHit,
    MetricsEvent,
    Miss,
    Note,
    PrefetchUsed,
)
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import (
    Answer,
    ContextChanged,
    Demand,
    PlannerEffect,
    PlannerEvent,
    PlannerTick,
    Refuse,
    Retry,
    SessionEnded,
    SessionStarted,
    Submit,
    ToCache,
    ToPool,
)
from prefetch_scheduler.policies.pool import CancelRun, PoolEffect, PoolMachine, Run
from prefetch_scheduler.policies.pool_events import (
    LoadFailure,
    LoadResult,
    PoolCommand,
    PoolReport,
    RunEnded,
    SurveyNames,
    UnderWay,
)
from prefetch_scheduler.policies.prediction import as_terms
from prefetch_scheduler.policies.report import Report
from prefetch_scheduler.policies.residents import CacheEffect
from prefetch_scheduler.policies.slots import pool_capacity
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable
from prefetch_scheduler.policies.values import define, frozen
from prefetch_scheduler.policies.vocabulary import Pool

PATIENCE_S = 1e13
"""No load is given up in a simulation: recordings hold none that failed or takes longer."""

_NEVER = float("inf")
_KINDS: dict[type, ReadKind] = {
    Hits: ReadKind.HIT,
    LateHit: ReadKind.LATE_HIT,
    Joined: ReadKind.JOINED,
    Miss: ReadKind.MISS,
}


def source_table(kinds: Iterable[str]) -> SourceTable:
    """A source for each kind, that knows nothing of a name before it is loaded."""
    return SourceTable(
        tuple(
            SourceInfo(number, f"recorded {kind}", kind, read_only=True, load_timeout_s=PATIENCE_S)
            for number, kind in enumerate(sorted(set(kinds)))
        )
    )


@define(eq=False)
class _Ticket:
    """The agent's read, while it waits."""

    answer: Answer | Refuse | Retry | None = None


@frozen
class _Loaded:
    """The end of one load, on the heap of what is to come."""

    pool: Pool
    number: int
    serial: int
    result: LoadResult | LoadFailure


@define(eq=False, slots=False)
class EngineHost:
    """One engine, from session to session.

    Args:
        config: the engine's configuration; `execution.policy` names the planner's rules.
        table: the sources.
        apart: whether sessions begin on days of their own, as most recorded ones did; False: one
            begins as the one before it ends, as in a replay.
    """

    config: Config
    table: SourceTable
    apart: bool = True
    now: float = 0.0
    planner: PlannerMachine = field(init=False)
    accounting: Accounting = field(init=False)
    layers: CacheLayers = field(init=False)
    pools: dict[Pool, PoolMachine] = field(init=False)
    view: dict[str, Entry] = field(init=False, factory=dict)
    trace: Trace = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.planner = PlannerMachine(self.config, self.table)
        self.accounting = Accounting(self.config)
        self.layers = CacheLayers(self.config)
        self.trace = Trace("")
        self._loads: Loads | None = None
        self._session = ""
        self._seen: dict[str, int] = {}
        self._epoch = 0
        self._order = count()
        self._later: list[tuple[float, int, _Loaded]] = []
        self._running: dict[int, int] = {}  # load -> place on the heap of the end that holds
        self._inbox: deque[PlannerEvent] = deque()
        self._kind = ReadKind.MISS
        self._planner_due = self._layers_due = _NEVER
        self._pool_due = dict.fromkeys(Pool, _NEVER)
        self.pools = {
            pool: PoolMachine(
                pool,
                pool_capacity(self.config, pool),
                permits=pool is Pool.P3,
                batch=self.config.enable_batch_fetching,
                table=self.table,
            )
            for pool in Pool
        }
        for pool, machine in self.pools.items():
            self._pool_effects(pool, machine.start(self.now))
        self._deliver()

    # ---- the agent's side ----------------------------------------------------------------------

    def begin(self, session: RecordedSession, loads: Loads, trace: Trace) -> None:
        self._loads, self.trace = loads, trace
        seen = self._seen[session.id] = self._seen.get(session.id, 0) + 1
        self._session = session.id if seen == 1 else f"{session.id}#{seen}"
        self._tell(SessionStarted(self._session, session.project))

    def context(self, context: str) -> None:
        self._tell(ContextChanged(self._session, context))

    def predict(self, event: PredictEvent) -> None:
        self._tell(Submit(self._session, event.items, as_terms(event.constraints)))

    def change(self, key: str) -> None:
        self._epoch += 1
        source = self.table.by_kind[kind_of(key)][0].id
        command = Invalidate(key, self._epoch, source_id=source, session=self._session)
        self._layer_effects(self.layers.handle(command, self.now))
        self._deliver()

    def read(self, key: str) -> ReadKind:
        """As `Host.read`.

        Raises:
            RuntimeError: the engine refused the read, which it has no reason to.
        """
        asked, attempt, counted = self.now, 0, False
        while True:
            entry = self.view.get(key)  # no source is private: a key is its own cache key
            if entry is not None:
                return self._hit(key, entry, counted=counted)
            ticket = _Ticket()
            self._tell(Demand(self._session, key, ticket, asked, attempt=attempt, counted=counted))
            while ticket.answer is None:
                self._step(self._next_due())
            match ticket.answer:
                case Answer():
                    return self._kind
                case Refuse(error=error):
                    raise RuntimeError(f"{key}: refused in a simulation: {error}")
                case Retry(counted=known):
                    attempt, counted = attempt + 1, counted or known
                case _:
                    assert_never(ticket.answer)

    def passed(self, place: int) -> None:
        del place

    def end(self) -> None:
        self._tell(SessionEnded(self._session))
        self.run_until(self.now)  # what was cancelled ends
        if self._running or self.planner.state.flights.live:
            raise RuntimeError(f"{self._session}: loads are under way after its end")
        self._later.clear()
        self.layers = CacheLayers(self.config)
        self.view.clear()
        self._layers_due = _NEVER
        self._tell(CacheReport((Holding(()),)))
        if self.apart:
            self.now = next_day(self.now)

    def counts(self) -> Counts:
        return self.accounting.snapshot().counts

    def speculation(self) -> dict[str, Any] | None:
        """What the engine's report says of its speculation; None: it learns nothing."""
        said: dict[str, Any] | None = Report(self.accounting.snapshot()).body().get("speculation")
        return said

    def _hit(self, stored: str, entry: Entry, *, counted: bool) -> ReadKind:
        if not counted:
            self._count(Hits(self._session, 1))
        firsts: list[FirstRead] = []
        if entry.claim():
            firsts.append(FirstRead(entry.prefetch_id, stored, self._session, self.now))
        reads = [Read(stored, self._session, self.now)]
        self._layer_effects(self.layers.take_reads(reads, firsts, self.now))
        self._deliver()
        return ReadKind.HIT

    # ---- time ----------------------------------------------------------------------------------

    def run_until(self, when: float) -> None:
        while (due := self._next_due()) <= when:
            self._step(due)
        self.now = when

    def _next_due(self) -> float:
        due = min(self._planner_due, self._layers_due, *self._pool_due.values())
        return min(due, self._later[0][0]) if self._later else due

    def _step(self, due: float) -> None:
        """Do what is due next: ends of loads come first, then the deadlines of the machines."""
        if due == _NEVER:
            raise RuntimeError("nothing is under way that could end the wait")
        now = self.now = max(self.now, due)
        while self._later and self._later[0][0] <= now:
            _, place, end = heapq.heappop(self._later)
            self._loaded(place, end)
        for pool, at in self._pool_due.items():
            if at <= now:
                self._pool_effects(pool, self.pools[pool].tick(now))
        self._deliver()
        if self._layers_due <= now:
            self._layer_effects(self.layers.tick(now))
            self._deliver()
        if self._planner_due <= now:
            self._tell(PlannerTick())

    def _loaded(self, place: int, end: _Loaded) -> None:
        if self._running.get(end.number) != place:
            return  # cancelled before
        del self._running[end.number]
        self.trace.finished(end.number, self.now)
        event = RunEnded(end.number, end.result, end.serial)
        self._pool_effects(end.pool, self.pools[end.pool].handle(event, self.now))

    # ---- messages ------------------------------------------------------------------------------

    def _tell(self, event: PlannerEvent) -> None:
        self._inbox.append(event)
        self._deliver()

    def _deliver(self) -> None:
        """Hand the planner what was sent to it, and all that this brings about at once."""
        if not self._inbox:
            return
        today = int(self.now // DAY_S) + 1 if self.apart else 1
        while self._inbox:
            event = self._inbox.popleft()
            self._planner_effects(self.planner.handle(event, self.now, wall=self.now, today=today))
        due = self.planner.next_deadline()
        self._planner_due = _NEVER if due is None else due

    def _planner_effects(self, effects: Iterable[PlannerEffect]) -> None:
        for effect in effects:
            match effect:
                case _ if type(effect) in EVENT_TYPES:
                    self._count(cast(MetricsEvent, effect))
                case ToPool(pool, command):
                    self._to_pool(pool, command)
                case Put():
                    self._layer_effects(self.layers.handle(effect, self.now))
                case ToCache(command):
                    self._layer_effects(self.layers.handle(command, self.now))
                case Answer() | Refuse() | Retry():
                    if isinstance(effect.ticket, _Ticket):
                        effect.ticket.answer = effect
                case _:
                    pass  # plans, logs and notices are for a host, and nobody listens here

    def _to_pool(self, pool: Pool, command: PoolCommand) -> None:
        if isinstance(command, SurveyNames):
            raise RuntimeError("the sources of a simulation have nothing to be asked")
        self._pool_effects(pool, self.pools[pool].handle(command, self.now))

    def _pool_effects(self, pool: Pool, effects: Iterable[PoolEffect]) -> None:
        for effect in effects:
            match effect:
                case Run():
                    self._begin_run(pool, effect)
                case CancelRun():
                    self._cancel_run(pool, effect)
                case PoolReport() | UnderWay():
                    if isinstance(effect, PoolReport):
                        self._inbox.append(effect)
                case _:
                    assert_never(effect)
        due = self.pools[pool].next_deadline()
        self._pool_due[pool] = _NEVER if due is None else due

    def _begin_run(self, pool: Pool, run: Run) -> None:
        assert self._loads is not None
        for request in run.requests:
            cost = self._loads.cost(request.key)
            number = request.id
            self.trace.started(
                number, request.key, cost.tokens, self.now, prefetch=pool is not Pool.DEMAND
            )
            result = LoadResult(Content("", tokens=cost.tokens), cost.load_s)
            self._ends(_Loaded(pool, number, run.serial, result), self.now + cost.load_s)

    def _cancel_run(self, pool: Pool, effect: CancelRun) -> None:
        """A recorded source heeds a cancel at once."""
        if effect.id in self._running:
            self.trace.finished(effect.id, self.now, cancelled=True)
            failure = LoadFailure("cancelled", cancelled=True)
            self._ends(_Loaded(pool, effect.id, effect.serial, failure), self.now)

    def _ends(self, end: _Loaded, at: float) -> None:
        place = next(self._order)
        self._running[end.number] = place
        heapq.heappush(self._later, (at, place, end))

    def _layer_effects(self, effects: Iterable[CacheEffect]) -> None:
        notices: list[CacheNotice] = []
        for effect in effects:
            match effect:
                case Publish(stored, entry):
                    self.view[stored] = entry
                case Withdraw(stored):
                    self.view.pop(stored, None)
                case _:
                    if isinstance(effect, CacheNotice):
                        notices.append(effect)
                    else:
                        self._count(effect)
        if notices:
            self._inbox.append(CacheReport(tuple(notices)))
        due = self.layers.next_deadline()
        self._layers_due = _NEVER if due is None else due

    def _count(self, event: MetricsEvent) -> None:
        if isinstance(event, Note):
            return
        kind = _KINDS.get(type(event))
        if kind is not None:
            self._kind = kind
        elif isinstance(event, PrefetchUsed):
            self.trace.used(event.id)
        self.accounting.handle(event, self.now, self.now, 1)
