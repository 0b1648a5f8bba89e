"""A cache with prefetch slots and a chooser: the policies that need no planner.

Cache and accounting are the engine's own machines.
"""

import heapq
from collections.abc import Iterable
from itertools import count

from attrs import field

from prefetch_scheduler.engine.recording_events import PredictEvent, RecordedSession
from prefetch_scheduler.engine.simulation.choosers import Chooser
from prefetch_scheduler.engine.simulation.host import next_day
from prefetch_scheduler.engine.simulation.loads import Loads
from prefetch_scheduler.engine.simulation.trace import ReadKind, Trace
from prefetch_scheduler.policies.accounting import Accounting
from prefetch_scheduler.policies.cache_events import (
    Acknowledged,
    CacheNotice,
    EndSession,
    FirstRead,
    Invalidate,
    Publish,
    Put,
    Read,
    Withdraw,
)
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.content import Content, Entry, unread_token
from prefetch_scheduler.policies.counts import Counts
from prefetch_scheduler.policies.layers import CacheLayers
from prefetch_scheduler.policies.metrics_events import (
    DemandLoaded,
    Hits,
    LateHit,
    MetricsEvent,
    Miss,
    Note,
    Predicted,
    PrefetchCancelled,
    PrefetchLoaded,
    PrefetchStarted,
    PrefetchUsed,
    PrefetchWasted,
    SessionClosed,
    SessionOpened,
)
from prefetch_scheduler.policies.residents import CacheEffect
from prefetch_scheduler.policies.values import define
from prefetch_scheduler.policies.vocabulary import Cause, Lane, Reason

_NEVER = float("inf")


@define(eq=False)
class _Load:
    """A load under way."""

    number: int
    key: str
    began: float
    ends: float
    tokens: int
    epoch: int
    prefetch: bool
    joined_at: float | None = None
    """When the agent came to wait for it; a demand's from its start."""


@define(eq=False, slots=False)
class PlainHost:
    """One cache and one chooser, from session to session. See `Host`."""

    config: Config
    chooser: Chooser
    now: float = 0.0
    accounting: Accounting = field(init=False)
    layers: CacheLayers = field(init=False)
    view: dict[str, Entry] = field(init=False, factory=dict)
    trace: Trace = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.accounting = Accounting(self.config)
        self.layers = CacheLayers(self.config)
        self.trace = Trace("")
        self._loads: Loads | None = None
        self._session = ""
        self._epoch = 0
        self._numbers = count(1)
        self._running: dict[str, _Load] = {}
        self._ends: list[tuple[float, int, _Load]] = []
        self._prefetching = 0
        self._open: set[int] = set()  # prefetches neither used nor wasted yet
        self._tried: set[str] = set()
        """What has been loaded ahead since the last event: the cache may have kept none of it."""
        self._event_at = 0.0
        self._wake = self._layers_due = _NEVER

    # ---- the agent's side ----------------------------------------------------------------------

    def begin(self, session: RecordedSession, loads: Loads, trace: Trace) -> None:
        self._loads, self.trace, self._session = loads, trace, session.id
        self._event_at = self.now
        self._count(SessionOpened(session.id, session.project))
        self.chooser.begin(session)

    def context(self, context: str) -> None:
        del context

    def predict(self, event: PredictEvent) -> None:
        self._count(Predicted(self._session, tuple({item.key: None for item in event.items})))
        self.chooser.predicted(event)

    def change(self, key: str) -> None:
        self._epoch += 1
        load = self._running.pop(key, None)
        if load is not None:  # the agent does not wait, so nobody does
            self._give_up(load, Reason.REPLACED)
        command = Invalidate(key, self._epoch, session=self._session)
        self._layer_effects(self.layers.handle(command, self.now))
        self._layer_effects(self.layers.handle(Acknowledged(self._epoch), self.now))

    def read(self, key: str) -> ReadKind:
        entry = self.view.get(key)
        if entry is not None:
            return self._hit(entry)
        load = self._running.get(key)
        if load is not None:
            kind = ReadKind.LATE_HIT
            self._count(LateHit(self._session, key))
        else:
            kind = ReadKind.MISS
            self._count(Miss(self._session, key, predicted=False))
            load = self._start(key, prefetch=False)
        load.joined_at = self.now
        while key in self._running:
            self._step(self._next_due())
        return kind

    def passed(self, place: int) -> None:
        self._event_at = self.now
        self._tried.clear()
        self.chooser.passed(place)
        self._pump()

    def end(self) -> None:
        for load in list(self._running.values()):
            self._give_up(load, Reason.SESSION_ENDED)
        self._layer_effects(self.layers.handle(EndSession(self._session), self.now))
        self._count(SessionClosed(self._session))
        self._running.clear()
        self._ends.clear()
        self.layers = CacheLayers(self.config)
        self.view.clear()
        self._prefetching = 0
        self._wake = self._layers_due = _NEVER
        self.now = next_day(self.now)

    def counts(self) -> Counts:
        return self.accounting.snapshot().counts

    def _hit(self, entry: Entry) -> ReadKind:
        self._count(Hits(self._session, 1))
        firsts: list[FirstRead] = []
        if entry.claim():
            firsts.append(FirstRead(entry.prefetch_id, entry.stored, self._session, self.now))
        reads = [Read(entry.stored, self._session, self.now)]
        self._layer_effects(self.layers.take_reads(reads, firsts, self.now))
        return ReadKind.HIT

    # ---- time ----------------------------------------------------------------------------------

    def run_until(self, when: float) -> None:
        while (due := self._next_due()) <= when:
            self._step(due)
        self.now = when

    def _next_due(self) -> float:
        due = min(self._wake, self._layers_due)
        return min(due, self._ends[0][0]) if self._ends else due

    def _step(self, due: float) -> None:
        self.now = max(self.now, due)
        while self._ends and self._ends[0][0] <= self.now:
            load = heapq.heappop(self._ends)[2]
            if self._running.get(load.key) is load:
                self._loaded(load)
        if self._layers_due <= self.now:
            self._layer_effects(self.layers.tick(self.now))
        self._pump()

    # ---- loads ---------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Fill the free prefetch slots. Demand has slots of its own."""
        self._wake = _NEVER
        while self._prefetching < self.config.max_concurrent_fetches:
            elapsed = self.now - self._event_at
            key = self.chooser.choose(elapsed, self)
            if key is None:
                after = self.chooser.wake_after()
                if after is not None:
                    self._wake = max(self._event_at + after, self.now)
                return
            self._start(key, prefetch=True)

    def has(self, key: str) -> bool:
        """See `Room`; what the cache did not keep is not loaded again at once."""
        return key in self.view or key in self._running or key in self._tried

    def unread(self) -> int:
        """See `Room`."""
        return len(self._open)

    def free(self, within_s: float) -> int:
        """See `Room`: what leaves hot goes to warm, and what leaves that to cold, when they are
        full or after some time.
        """
        config, rules = self.config, self.config.cache
        if rules.max_tokens or rules.max_bytes:
            return 0
        layers = self.layers.snapshot()
        held = layers.warm.entries + layers.cold.entries + len(self._running)
        if within_s > rules.hot_ttl_s:
            held += layers.hot.entries
        lasting = config.cold_cache_size
        return lasting + (config.warm_cache_size if within_s <= rules.warm_ttl_s else 0) - held

    def _start(self, key: str, *, prefetch: bool) -> _Load:
        assert self._loads is not None
        cost, number = self._loads.cost(key), next(self._numbers)
        load = _Load(
            number, key, self.now, self.now + cost.load_s, cost.tokens, self._epoch, prefetch
        )
        self._running[key] = load
        heapq.heappush(self._ends, (load.ends, number, load))
        self.trace.started(number, key, cost.tokens, self.now, prefetch=prefetch)
        if prefetch:
            self._prefetching += 1
            self._tried.add(key)
            self._open.add(number)
            started = PrefetchStarted(number, self._session, key, Cause.PREDICTION, cost.tokens)
            self._count(started)
        return load

    def _loaded(self, load: _Load) -> None:
        del self._running[load.key]
        self.trace.finished(load.number, self.now)
        load_s = load.ends - load.began
        if load.prefetch:
            self._prefetching -= 1
            self._count(PrefetchLoaded(load.number, load.tokens, load_s))
            if load.joined_at is not None:
                waited = self.now - load.joined_at
                self._count(PrefetchUsed(load.number, self._session, waited))
        else:
            self._count(DemandLoaded(self._session, load.key, load.tokens, load_s))
        unread = load.prefetch and load.joined_at is None
        entry = Entry(
            stored=load.key,
            content=Content("", tokens=load.tokens),
            source_id=0,
            epoch=load.epoch,
            asked_at=load.began,
            loaded_at=self.now,
            load_s=load_s,
            session=self._session,
            priority=self.chooser.priority,
            lane=Lane.IMMEDIATE if unread else None,
            prefetch_id=load.number if unread else 0,
            first_read=unread_token() if unread else (),
        )
        self._layer_effects(self.layers.handle(Put(entry), self.now))

    def _give_up(self, load: _Load, reason: Reason) -> None:
        self.trace.finished(load.number, self.now, cancelled=True)
        if load.prefetch:
            self._prefetching -= 1
            self._count(PrefetchCancelled(load.number, reason))

    # ---- effects -------------------------------------------------------------------------------

    def _layer_effects(self, effects: Iterable[CacheEffect]) -> None:
        for effect in effects:
            match effect:
                case Publish(stored, entry):
                    self.view[stored] = entry
                case Withdraw(stored):
                    self.view.pop(stored, None)
                case _:
                    if not isinstance(effect, CacheNotice):
                        self._count(effect)
        due = self.layers.next_deadline()
        self._layers_due = _NEVER if due is None else due

    def _count(self, event: MetricsEvent) -> None:
        match event:
            case Note():
                return
            case PrefetchUsed(id=number):
                self.trace.used(number)
                self._open.discard(number)
            case PrefetchWasted(id=number) | PrefetchCancelled(id=number):
                self._open.discard(number)
            case _:
                pass
        self.accounting.handle(event, self.now, self.now, 1)
