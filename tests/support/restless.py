"""A world that is driven at random: messages take time, sources misbehave, actors fail, and
readers use the real read path.

`World` delivers a message within the step that sends it. Here each takes a random while, first
come first served between any two actors and in any order beside that, as between real mailboxes.
So cancels cross starts, changes cross puts, and a reader wakes up long after its answer was sent.

Planner, CacheLayer and Metrics are the real actors without their threads (`Shell`), so that they
fail and come back as they do in an engine. A pool, which is an event loop, is its machine, and
what fails is that; the shells of pools and the Supervisor are left to engines of real actors.
"""

import itertools
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from attrs import define, field

from prefetch_scheduler.actors.base import Home
from prefetch_scheduler.actors.cache import CacheLayer
from prefetch_scheduler.actors.kept import CacheKept, PlannerKept, refuse
from prefetch_scheduler.actors.messages import CACHE_CONTROL, PLANNER_CONTROL, POOL_CONTROL, Submit
from prefetch_scheduler.actors.metrics import Ledgers, Metrics
from prefetch_scheduler.actors.planner import Planner
from prefetch_scheduler.actors.reply import ActorCrashed
from prefetch_scheduler.actors.view import PublishedView
from prefetch_scheduler.engine.care import Care
from prefetch_scheduler.engine.reading import Identity, Read, Reader, ReaderSession
from prefetch_scheduler.engine.wiring import planner_down
from prefetch_scheduler.policies.accounting import Accounting
from prefetch_scheduler.policies.cache_events import Drain, Invalidate
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import EngineDegraded, PrefetchError, ResourceUnavailable
from prefetch_scheduler.policies.keys import cache_key, matches, public_key
from prefetch_scheduler.policies.metrics_events import DemandLoaded, Events, MetricsEvent, Miss
from prefetch_scheduler.policies.plan import Plan
from prefetch_scheduler.policies.planner_events import HostIdle
from prefetch_scheduler.policies.pool import CancelRun, PoolMachine, Run
from prefetch_scheduler.policies.pool_events import (
    CancelLoad,
    Expanded,
    Fetch,
    LoadFailure,
    LoadResult,
    PoolReport,
    RunEnded,
    RunPart,
    Surveyed,
    SurveyNames,
    TakeOver,
    UnderWay,
    Withdraw,
)
from prefetch_scheduler.policies.prediction import FollowUp
from prefetch_scheduler.policies.quantiles import TRUSTED
from prefetch_scheduler.policies.slots import pool_capacity
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable, Survey
from prefetch_scheduler.policies.story import StoryBook
from prefetch_scheduler.policies.vocabulary import Pool, Relation
from support.shells import Kill, Killer, Point, Shell, WorldClock
from support.virtual import HANG, Handle, World, p

REST_S = 4000.0
"""Engine seconds in which everything that ends at all comes to its end."""

DELAYS = (0.0, 0.0, 0.0, 0.0, 0.001, 0.01, 0.06)
TURNS = (0.0, 0.0, 0.0, 0.001, 0.01)
DRAIN_S = 20.0
"""As the CacheLayer's `DRAIN_EVERY_S`, but not thousands of times while a world comes to rest."""
LOAD_S = (0.0, 0.001, 0.03, 0.2, 0.3, 0.7, 3.0)
QUICK_S = (0.0, 0.0001)
HELD_S = (0.0, 0.0, 0.0005, 0.001)
"""For how long a pool keeps what it has to report, where loads are quick."""


def base(key: str) -> str:
    """The resource that a key belongs to: a part changes with its whole."""
    return public_key(key).partition("#")[0]


@define(eq=False)
class Code:
    """A load's own code while it runs."""

    pool: Pool
    machine: PoolMachine
    run: Run
    ends: float
    heeds_cancel: bool
    cancelled: bool = False


@define(eq=False)
class Reading:
    """One `get` of the host."""

    key: str
    session: ReaderSession
    identity: Identity
    needs: int
    """The version of the resource when it was asked for."""
    asked_at: float
    gives_up_at: float
    read: Read | None = None
    ticket: Any = None
    demands: int = 0
    result: Content | BaseException | None = None
    forsaken: bool = False

    @property
    def done(self) -> bool:
        return self.result is not None or self.forsaken


class Ticket:
    """Of one demand, as `Reply`: its reader wakes up a little after it is answered."""

    def __init__(self, world: "RestlessWorld", reading: Reading) -> None:
        self.reading = reading
        self.done = False
        self._world = world

    def set(self, outcome: Any) -> bool:
        if self.done:
            return False
        self.done = True
        world = self._world
        at = world.now + world.rng.choice(DELAYS)
        world._at(at, lambda: world._wake(self.reading, self, outcome))
        return True

    def fail(self, error: BaseException) -> bool:
        return self.set(error)


class Registry:
    """What `Reader` asks of the sources: parts are named `whole#part`; some kinds are checked."""

    def __init__(self, world: "RestlessWorld") -> None:
        self.table = SourceTable(world.sources)
        self._world = world
        self.checks = [self._check(info) for info in world.sources]

    def _check(self, info: SourceInfo) -> Any:
        if info.kind not in self._world.checked_kinds:
            return None

        def check(name: str, content: Content) -> Content | None:
            truth = self._world.versions.get(base(f"{info.kind}:{name}"), 0)
            return content if content.version == truth else None

        return check

    @staticmethod
    def normalise(key: str) -> str:
        return key

    @staticmethod
    def whole_key(key: str) -> str | None:
        return base(key) if "#" in key else None

    def extract(self, key: str, whole: Content) -> Content | None:
        stored, _, version = str(whole.value).rpartition("@")
        if key.endswith("#alone"):
            return None
        user = stored[len(public_key(stored)) :]
        return Content(f"{key}{user}@{version}", tokens=1, version=whole.version)


@define(eq=False)
class RestlessHandle(Handle):
    """A submit's ticket, as the planner's actor sees it."""

    error: PrefetchError | None = None
    times_planned: int = 0
    times_told: int = 0

    def plan_made(self, plan: Plan) -> None:
        self.times_planned += 1
        self.plan = plan if self.plan is None else self.plan

    def immediate_done(self, ok: bool) -> None:
        self.times_told += 1
        self.immediate = ok if self.immediate is None else self.immediate

    def given_up(self, error: PrefetchError) -> None:
        self.error = error
        self.immediate = False if self.immediate is None else self.immediate


class PoolAddress:
    """A pool as the planner sees it."""

    def __init__(self, world: "RestlessWorld", pool: Pool) -> None:
        self._world, self._pool = world, pool

    def tell(self, message: Any) -> bool:
        self._world._to_pool(self._pool, message)
        return True


class Later:
    """An actor as others see it to which their messages take a while."""

    def __init__(self, world: "RestlessWorld", channel: str, to: str) -> None:
        self._world, self._channel, self._to = world, channel, to

    def tell(self, message: Any) -> bool:
        self._world.send(self._channel, lambda: self._world.shells[self._to].tell(message))
        return True

    def real(self, seconds: float) -> float:
        return seconds


@define(eq=False, slots=False)
class RestlessWorld(World):
    """Everything random comes from `rng`."""

    rng: random.Random = field(factory=random.Random)
    checked_kinds: frozenset[str] = frozenset()
    error_rate: float = 0.15
    hang_rate: float = 0.01
    deaf_rate: float = 0.4
    """Share of loads that ignore that they are cancelled."""
    quick: bool = False
    """Whether loads that do not hang take next to no time."""
    crashing: bool = False
    """Whether actors fail: then what a pool's code was doing goes on unheard."""
    kills: tuple[Kill, ...] = ()
    told_of: Callable[[str], object] | None = None
    """Told of everything that happens, a line for each."""
    code: dict[tuple[int, int], Code] = field(factory=dict)
    """(number of the machine, serial of the run) -> its code, while it runs."""
    hanging: set[tuple[int, int]] = field(factory=set)
    readings: list[Reading] = field(factory=list)
    handles: list[RestlessHandle] = field(factory=list)
    readers: dict[str, ReaderSession] = field(factory=dict)
    shells: dict[str, Shell] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._last_sent: dict[str, float] = {}
        self._undelivered: dict[Pool, int] = dict.fromkeys(Pool, 0)
        self._published = PublishedView()
        self._steps_at = self._looks = 0
        self._incarnations = dict.fromkeys(Pool, 1)
        self._machine_numbers: dict[int, int] = {}
        self._stored_of: dict[int, str] = {}
        self._stalled: dict[Pool, float] = dict.fromkeys(Pool, 0.0)
        self._held: dict[Pool, list[Any]] = {pool: [] for pool in Pool}
        self.killer = Killer(self.kills)
        self.planner_kept = PlannerKept()
        self.cache_kept = CacheKept()
        super().__attrs_post_init__()

    @property
    def view(self) -> dict[str, Any]:
        return self._published.entries

    def _make_machines(self, table: SourceTable) -> None:
        self.ledgers = Ledgers(Accounting(self.config), StoryBook())
        self.accounting = self.ledgers.accounting
        self.registry = Registry(self)
        self.reader = Reader(
            self._published,
            self.registry,  # type: ignore[arg-type]  # what a reader asks of one, and no more
            Later(self, "readers>cache", "cache"),  # type: ignore[arg-type]  # as above
            WorldClock(self),
        )
        self._shell("metrics", lambda home: Metrics(home, self.ledgers, self.alerts.append))
        self._shell("cache", self._new_cache, control=CACHE_CONTROL, on_new=self._on_cache)
        planner = self._shell(
            "planner",
            lambda home: self._new_planner(home, table),
            control=PLANNER_CONTROL,
            undelivered=refuse,
            on_new=self._on_planner,
        )
        runtime = SimpleNamespace(
            planner_kept=self.planner_kept, planner=planner.address, care=Care()
        )
        planner.on_down = lambda delay: planner_down(runtime, delay)  # type: ignore[arg-type]  # what of it is used there
        for shell in self.shells.values():
            shell.start()
        if self.quick:
            estimator = self.planner.state.estimator
            for source, _ in itertools.product(self.sources, range(TRUSTED)):
                estimator.observe(source, "", estimated_tokens=None, tokens=10, load_s=QUICK_S[1])

    def _shell(self, role: str, make: Any, **more: Any) -> Shell:
        shell = self.shells[role] = Shell(self, role, make, self.killer, **more)
        return shell

    def _new_cache(self, home: Home) -> CacheLayer:
        return CacheLayer(
            home,
            config=self.config,
            view=self._published,
            planner=Later(self, "cache>planner", "planner"),  # type: ignore[arg-type]  # as above
            metrics=self.shells["metrics"],  # type: ignore[arg-type]  # as above
            publish=self.told.append,
            kept=self.cache_kept,
        )

    def _on_cache(self, cache: CacheLayer) -> None:
        self.layers = cache._machine
        cache._drain_every = DRAIN_S

    def _new_planner(self, home: Home, table: SourceTable) -> Planner:
        return Planner(
            home,
            config=self.config,
            table=table,
            pools={pool: PoolAddress(self, pool) for pool in Pool},  # type: ignore[misc]  # as above
            cache=Later(self, "planner>cache", "cache"),  # type: ignore[arg-type]  # as above
            metrics=self.shells["metrics"],  # type: ignore[arg-type]  # as above
            view=self._published,
            current=self.reader.current,
            publish=self.told.append,
            kept=self.planner_kept,
        )

    def _on_planner(self, planner: Planner) -> None:
        self.planner = planner.machine

    def trace(self, who: str, what: Any) -> None:
        """For who replays a schedule."""
        if self.told_of is not None:
            self.told_of(f"{self.now:10.3f} {who:12} {what}")

    # ---- messages ------------------------------------------------------------------------------

    def delay(self) -> float:
        """Until an actor that has a message runs."""
        return self.rng.choice(TURNS)

    def send(self, channel: str, deliver: Callable[[], object]) -> None:
        """Deliver after a random while, behind what was sent on the same channel before."""
        at = max(self._last_sent.get(channel, 0.0), self.now + self.rng.choice(DELAYS))
        self._last_sent[channel] = at
        self._at(at, deliver)

    def tell(self, event: Any, sender: str = "host") -> None:
        self.send(f"{sender}>planner", lambda: self._tell(event))
        self._arrive()

    def _tell(self, event: Any) -> None:
        self.shells["planner"].tell(event)

    def to_cache(self, sender: str, command: Any) -> None:
        self.send(f"{sender}>cache", lambda: self.shells["cache"].tell(command))

    def count(self, event: MetricsEvent) -> None:
        self.shells["metrics"].tell(Events((event,)))

    # ---- pools ---------------------------------------------------------------------------------

    def _to_pool(self, pool: Pool, command: Any) -> None:
        if isinstance(command, SurveyNames):
            self._survey(command)
            return
        if isinstance(command, Fetch):
            by_id = self.planner.state.flights.by_id
            for request in command.requests:
                flight = by_id.get(request.id)
                self._stored_of[request.id] = flight.stored if flight else request.key
        self._undelivered[pool] += 1
        lane = "cancels" if isinstance(command, POOL_CONTROL) else "work"
        self.send(f"planner>{pool} {lane}", lambda: self._pool_takes(pool, command))
        if isinstance(command, TakeOver):  # nothing that is sent after it can overtake it
            last, work = self._last_sent, f"planner>{pool} work"
            last[work] = max(last.get(work, 0.0), last[f"planner>{pool} {lane}"])

    def _pool_takes(self, pool: Pool, command: Any) -> None:
        """As the shell of a pool does it."""
        held = self._held[pool]
        if self._stalled[pool] > self.now or held:
            held.append(command)
            if len(held) == 1:
                self._at(self._stalled[pool], lambda: self._pool_goes_on(pool))
            return
        self._pool_handles(pool, command)

    def _pool_goes_on(self, pool: Pool) -> None:
        """What came while it was stalled, control first, as from its inbox."""
        if self._stalled[pool] > self.now:
            self._at(self._stalled[pool], lambda: self._pool_goes_on(pool))
            return
        held, self._held[pool] = self._held[pool], []
        for command in sorted(held, key=lambda c: not isinstance(c, POOL_CONTROL)):
            self._pool_handles(pool, command)

    def _pool_handles(self, pool: Pool, command: Any) -> None:
        self._undelivered[pool] -= 1
        self.trace(f"pool-{pool}", command)
        kill = self.killer.due(f"pool-{pool}", command)
        if kill is None or kill.point is not Point.BEFORE:
            machine = self.pools[pool]
            if isinstance(command, CancelLoad | Withdraw) and self._undelivered[pool]:
                machine.cancel_ahead(command.id)
            self._pool_takes_in(pool, command)
            if not self._undelivered[pool]:
                machine.nothing_ahead()
        if kill is not None:
            self.crash_pool(pool)

    def _pool_takes_in(self, pool: Pool, event: Any) -> None:
        """Where loads are quick it keeps what it has to report for a moment, as the actor does."""
        machine = self.pools[pool]
        if not self.quick:
            self._pool_effects(pool, machine.handle(event, self.now))
            return
        self._pool_effects(pool, machine.gather(event, self.now))
        if machine.untold:
            held_s = self.rng.choice(HELD_S)
            self._at(self.now + held_s, lambda: self._pool_reports(pool, machine))

    def _pool_reports(self, pool: Pool, machine: PoolMachine) -> None:
        if self._stalled[pool] > self.now:
            self._at(self._stalled[pool], lambda: self._pool_reports(pool, machine))
            return
        if self.pools[pool] is machine:
            self._pool_effects(pool, machine.reports())

    def _pool_effects(self, pool: Pool, effects: Any) -> None:
        for effect in effects:
            match effect:
                case Run():
                    self._begin(pool, effect)
                case CancelRun():
                    self._cancel_run(pool, effect)
                case PoolReport() | UnderWay():
                    self.send(f"{pool}>planner", lambda r=effect: self._tell(r))  # type: ignore[misc]  # mypy has no type for a lambda's default

    def crash(self, role: str) -> None:
        """An actor fails between two messages and is replaced."""
        shell = self.shells.get(role)
        if shell is not None:
            shell.crash()
        else:
            self.crash_pool(Pool(role.removeprefix("pool-")))
        self._arrive()

    def stall(self, role: str, seconds: float) -> None:
        """An actor handles nothing for a while."""
        shell = self.shells.get(role)
        if shell is not None:
            shell.stall(seconds)
        else:
            pool = Pool(role.removeprefix("pool-"))
            self._stalled[pool] = max(self._stalled[pool], self.now + seconds)

    def freeze(self, seconds: float) -> None:
        """Time goes by, and nothing of the process runs."""
        self.now += seconds
        self._arrive()

    def crash_pool(self, pool: Pool) -> None:
        """The pool's actor fails and is replaced; what its code was doing goes on unheard."""
        self._pool_reports(pool, self.pools[pool])  # an actor that fails still sends that
        self._incarnations[pool] += 1
        machine = PoolMachine(
            pool,
            pool_capacity(self.config, pool),
            permits=pool is Pool.P3,
            batch=self.config.enable_batch_fetching,
            table=SourceTable(self.sources),
            incarnation=self._incarnations[pool],
            planner=self.planner_kept.incarnation,
        )
        self.pools[pool] = machine
        self._pool_effects(pool, machine.start(self.now))

    def _number(self, machine: PoolMachine) -> int:
        return self._machine_numbers.setdefault(id(machine), len(self._machine_numbers))

    def _survey(self, command: SurveyNames) -> None:
        kinds = {info.id: info.kind for info in self.sources}

        def survey(source: int, name: str) -> Survey | None:
            if self.rng.random() < 0.1:
                return None
            kind = kinds[source]
            version = self.versions.get(base(f"{kind}:{name}"), 0)
            return Survey(
                tokens=self.rng.choice((None, 0, 10, 300)),
                version=version if kind in self.checked_kinds else None,
                excluded="a secret" if name == "h" else None,
            )

        found = tuple(survey(source, name) for source, name in command.names)
        if self.crashing and self.rng.random() < 0.1:
            return  # the pool that was asked is gone
        delay = self.rng.choice((0.0, 0.0, 0.02, 0.08))
        self._at(
            self.now + delay,
            lambda: self.send(
                "surveys>planner", lambda: self._tell(Surveyed(command.plan_id, found))
            ),
        )

    def _begin(self, pool: Pool, run: Run) -> None:
        rng = self.rng
        machine = self.pools[pool]
        number = (self._number(machine), run.serial)
        hangs = rng.random() < self.hang_rate
        seconds = HANG if hangs else rng.choice(QUICK_S if self.quick else LOAD_S)
        code = Code(
            pool, machine, run, self.now + seconds, heeds_cancel=rng.random() >= self.deaf_rate
        )
        self.code[number] = code
        outcomes = []
        for request in run.requests:
            self.started.append((self.now, request.key, request.source_id))
            outcomes.append(self._outcome(request, seconds))
        (first, *others) = run.requests
        if not others and first.key.startswith("skill:") and "#" not in first.key:
            for after, part in ((0.1, f"{first.key}#meta"), (0.25, f"{first.key}#body")):
                if seconds > after:
                    version = self.versions.get(first.key, 0)
                    content = Content(f"{part}@{version}", tokens=1, version=version)
                    event = RunPart(first.id, part, content, run.serial)
                    self._at(
                        self.now + after,
                        lambda e=event: number in self.code and self._heard(number, e),  # type: ignore[misc]  # as above
                    )
        if hangs:
            self.hanging.add(number)
        else:
            self._at(code.ends, lambda: self._code_ends(number, outcomes))

    def _outcome(self, request: Any, seconds: float) -> LoadResult | LoadFailure:
        rng = self.rng
        if request.ask_first and rng.random() < 0.2:
            return LoadFailure("a secret", excluded=True)
        if rng.random() < self.error_rate:
            return LoadFailure("boom", ValueError("boom"))
        # What the source saw when it began: it may be old by the time it is there.
        version = self.versions.get(base(request.key), 0)
        stored = self._stored_of[request.id]
        kind = request.key.partition(":")[0]
        stamp = version if kind in self.checked_kinds else None
        content = Content(f"{stored}@{version}", tokens=rng.choice((0, 5, 100, 900)), version=stamp)
        return LoadResult(content, seconds if seconds != HANG else 1.0)

    def _heard(self, number: tuple[int, int], event: RunEnded | RunPart) -> None:
        """Tell the pool, unless the one that began this is gone."""
        code = self.code.get(number)
        if code is not None and self.pools[code.pool] is code.machine:
            self._pool_takes_in(code.pool, event)

    def _code_ends(self, number: tuple[int, int], outcomes: list[Any]) -> None:
        code = self.code.get(number)
        if code is None:
            return
        for request, outcome in zip(code.run.requests, outcomes, strict=True):
            self._heard(number, RunEnded(request.id, outcome, code.run.serial))
            expands = request.expand and not code.cancelled and isinstance(outcome, LoadResult)
            if expands and self.pools[code.pool] is code.machine:
                found = Expanded(request.id, self._follow_ups())
                self._at(
                    self.now + self.rng.choice(DELAYS),
                    lambda e=found: self._pool_expands(code, e),  # type: ignore[misc]  # as above
                )
        self.code.pop(number, None)
        self.hanging.discard(number)

    def _pool_expands(self, code: Code, found: Expanded) -> None:
        if self._stalled[code.pool] > self.now:
            self._at(self._stalled[code.pool], lambda: self._pool_expands(code, found))
            return
        self._pool_reports(code.pool, code.machine)  # the result comes first
        self.send(f"{code.pool}>planner", lambda: self._tell(found))

    def _follow_ups(self) -> tuple[FollowUp, ...]:
        rng = self.rng
        return tuple(
            FollowUp(
                p(
                    rng.choice(KEYS),
                    rng.choice(ROLES),
                    rng.choice((0.4, 0.7, 0.95)),
                    tokens=rng.choice((None, 10, 200)),
                ),
                rng.choice(list(Relation)),
            )
            for _ in range(rng.choice((0, 1, 3)))
        )

    def _cancel_run(self, pool: Pool, effect: CancelRun) -> None:
        number = (self._number(self.pools[pool]), effect.serial)
        code = self.code.get(number)
        if code is None:
            return
        code.cancelled = True
        if code.heeds_cancel:
            ends = [LoadFailure("cancelled", cancelled=True)] * len(code.run.requests)
            self._at(
                self.now + self.rng.choice(DELAYS), lambda: self._code_ends(number, list(ends))
            )

    # ---- the host ------------------------------------------------------------------------------

    def submit(  # type: ignore[override]  # no defaults are wanted here
        self, predictions: Any, terms: Any, *, session: str, context: str | None
    ) -> RestlessHandle:
        handle = RestlessHandle()
        self.handles.append(handle)
        self.tell(Submit(session, tuple(predictions), terms, context, handle))
        return handle

    def session_of(self, name: str) -> ReaderSession:
        return self.readers.setdefault(
            name, ReaderSession(name, self._published.tally(name), Identity())
        )

    def get(self, key: str, session: str, patience: float) -> Reading:
        """Read as the facade's `get` does."""
        who = self.session_of(session)
        reading = Reading(
            key,
            who,
            who.identity,
            needs=self.versions.get(base(key), 0),
            asked_at=self.now,
            gives_up_at=self.now + patience,
        )
        self.readings.append(reading)
        name = self.reader.name(who, key)
        content, seen = self.reader.hit(who, name)
        if content is not None:
            self._ends(reading, content)
        else:
            reading.read = self.reader.start(who, name, seen)
            self._demand(reading)
            self._at(reading.gives_up_at, lambda: self._forsake(reading))
        self._arrive()
        return reading

    def _demand(self, reading: Reading) -> None:
        assert reading.read is not None
        reading.demands += 1
        assert reading.demands < 200, f"{reading.key}: asked again and again"
        ticket = reading.ticket = Ticket(self, reading)
        demand = reading.read.demand(ticket)
        ready = self.shells["planner"].address.ready
        self.send("host>planner", lambda: self._tell(demand))
        if not ready:
            self._at(self.now + Care().patience_s, lambda: self._wait_on(reading, ticket))

    def _wait_on(self, reading: Reading, ticket: Ticket) -> None:
        """A reader's patience with a planner that is being restarted is over."""
        current = not reading.done and reading.ticket is ticket and not ticket.done
        if current and not self.shells["planner"].address.ready:
            self._directly(reading)

    def _directly(self, reading: Reading) -> None:
        """Read without the planner, as `Session._directly`."""
        read = reading.read
        assert read is not None
        self.tell(read.forsake(reading.ticket))
        reading.ticket = None
        if read.claim():
            self.count(Miss(read.session, read.key, predicted=False, reason="no planner"))
        version = self.versions.get(base(reading.key), 0)
        seconds, fails = self.rng.choice(LOAD_S), self.rng.random() < self.error_rate
        stored = self.reader.stored(reading.identity, reading.key)

        def ends() -> None:
            if reading.done:
                return
            if fails:
                reading.result = ResourceUnavailable("boom")
                return
            self.count(DemandLoaded(read.session, read.key, 5, seconds))
            self._ends(reading, Content(f"{stored}@{version}", tokens=5))

        self._at(self.now + seconds, ends)

    def _wake(self, reading: Reading, ticket: Any, outcome: Any) -> None:
        if reading.done or reading.ticket is not ticket:
            return
        if isinstance(outcome, EngineDegraded | ActorCrashed):
            self._directly(reading)
            return
        if isinstance(outcome, BaseException):
            reading.result = outcome
            return
        assert reading.read is not None
        content = reading.read.take(outcome)
        if content is None:
            self._demand(reading)
        else:
            self._ends(reading, content)

    def _ends(self, reading: Reading, content: Content) -> None:
        reading.result = content
        stored, _, version = str(content.value).rpartition("@")
        what = f"{reading.key}, asked for at {reading.asked_at:.3f} by {reading.session.id}"
        assert public_key(stored) == reading.key, f"{what}: got {content.value!r}"
        assert int(version) >= reading.needs, f"{what}: {content.value!r}, not {reading.needs}"
        private = reading.key.startswith("mail:")
        own = cache_key(reading.key, reading.identity.user, private=private)
        assert stored == own, f"{what}: got what is kept as {stored!r}, not {own!r}"

    def _forsake(self, reading: Reading) -> None:
        if not reading.done:
            reading.forsaken = True
            assert reading.read is not None
            if reading.ticket is not None:
                self.tell(reading.read.forsake(reading.ticket))

    def edit(self, key: str, session: str, *, hand_over: bool, told: bool = True) -> None:
        """The resource changes, and the engine is told of it (else its source can see it)."""
        self.versions[key] = version = self.versions.get(key, 0) + 1
        if not told:
            return
        for pattern in (key, f"{key}#*") if key.startswith("skill:") else (key,):
            content = None
            source, _ = self._first_source(key)
            who = self.session_of(session)
            stored = self.reader.stored(who.identity, key)
            if hand_over and pattern == key:
                stamp = version if key.partition(":")[0] in self.checked_kinds else None
                content = Content(f"{stored}@{version}", tokens=7, version=stamp)
            epoch = self._published.board.note(pattern)
            self.to_cache(
                f"host {session}",
                Invalidate(
                    pattern,
                    epoch,
                    content,
                    source,
                    who.identity.user,
                    session=session,
                    stored=stored,
                ),
            )
        self._arrive()

    def edit_all(self, prefix: str, session: str) -> None:
        for key in KEYS:
            if matches(f"{prefix}*", key) and "#" not in key:
                self.versions[key] = self.versions.get(key, 0) + 1
        epoch = self._published.board.note(f"{prefix}*")
        self.to_cache(f"host {session}", Invalidate(f"{prefix}*", epoch, session=session))
        self._arrive()

    def _first_source(self, key: str) -> tuple[int, SourceInfo]:
        kind = key.partition(":")[0]
        info = next(info for info in self.sources if info.kind == kind)
        return info.id, info

    # ---- rest ----------------------------------------------------------------------------------

    def _deadlines(self) -> list[float]:
        """Of the pools: the others have a timer."""
        due = [(pool, machine.next_deadline()) for pool, machine in self.pools.items()]
        return [max(at, self._stalled[pool]) for pool, at in due if at is not None]

    def _tick_pools(self) -> None:
        for pool, machine in self.pools.items():
            deadline = machine.next_deadline()
            if deadline is not None and max(deadline, self._stalled[pool]) <= self.now:
                self._pool_effects(pool, machine.tick(self.now))

    def _tick_others(self) -> None:
        """They have a timer."""

    def check(self) -> None:
        """Of the many steps that come to rest every eighth is looked at in full."""
        self._looks += 1
        if self._looks % 8 == 0:
            super().check()

    def _step(self, due: float) -> None:
        """As in a `World`, and time must not stand still: a deadline that stays is a busy loop."""
        self._steps_at = self._steps_at + 1 if due <= self.now else 0
        assert self._steps_at < 1000, f"time stands still at {due}"
        super()._step(due)

    def rest(self) -> None:
        """Let everything end that ends at all."""
        self.killer.armed = False
        self.tell(HostIdle())
        self.run(REST_S)
        self.to_cache("readers", Drain())
        self._arrive()
        self.run(10)
        for _ in range(100):  # the timers go on for ever: stop between two of their ticks
            if all(shell.idle for shell in self.shells.values()):
                break
            self.run(0.02)


KEYS = (
    *(f"file:{name}" for name in "abcdefgh"),
    *(f"doc:{name}" for name in "abc"),
    *(f"db:{name}" for name in "abc"),
    "mail:a",
    "mail:b",
    "skill:a",
    "skill:b",
    "skill:a#meta",
    "skill:a#body",
    "skill:b#alone",
    "tool:a",
    "url:a",
)

ROLES = (
    "master_file",
    "session_state",
    "main_file",
    "primary_skill",
    "related_file",
    "test_file",
    "documentation",
    "historical_case",
    "dependency_graph",
)

SOURCES = (
    SourceInfo(0, "files", "file", read_only=True, surveys=True, expands=True, batches=True),
    SourceInfo(1, "copies", "file", read_only=True, max_concurrency=2),
    SourceInfo(2, "ledger", "file", read_only=False),
    SourceInfo(3, "docs", "doc", read_only=True, load_timeout_s=2.0),
    SourceInfo(4, "db", "db", read_only=True, max_concurrency=1, batches=True),
    SourceInfo(5, "mail", "mail", read_only=True, private=True),
    SourceInfo(6, "skills", "skill", read_only=True, expands=True, surveys=True),
    SourceInfo(7, "tools", "tool", read_only=False),
    SourceInfo(8, "web", "url", read_only=True, remote=True),
    SourceInfo(9, "mirror", "doc", read_only=True, batches=True),
)
