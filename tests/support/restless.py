"""A world that is driven at random: messages take time, sources misbehave, readers use the real
read path.

`World` delivers a message within the step that sends it. Here each takes a random while, first
come first served between any two actors and in any order beside that, as between real mailboxes.
So cancels cross starts, changes cross puts, and a reader wakes up long after its answer was sent.
"""

import random
from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field

from prefetch_scheduler.actors.view import PublishedView
from prefetch_scheduler.engine.reading import Identity, Read, Reader, ReaderSession
from prefetch_scheduler.policies.cache_events import (
    Acknowledged,
    CacheReport,
    Drain,
    Invalidate,
    Publish,
    Withdraw,
)
from prefetch_scheduler.policies.cache_events import Read as ReadNote
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.keys import matches, public_key
from prefetch_scheduler.policies.metrics_events import Hits, MetricsEvent
from prefetch_scheduler.policies.planner_events import (
    Answer,
    Count,
    Done,
    HostIdle,
    ImmediateDone,
    Log,
    PlanMade,
    Refuse,
    Retry,
    Tell,
    ToCache,
    ToPool,
)
from prefetch_scheduler.policies.pool import CancelRun, PoolMachine, Run
from prefetch_scheduler.policies.pool_events import (
    CancelLoad,
    Expanded,
    Fetch,
    LoadFailure,
    LoadResult,
    Permit,
    PoolReport,
    RunEnded,
    RunPart,
    Sender,
    Surveyed,
    SurveyNames,
)
from prefetch_scheduler.policies.prediction import FollowUp
from prefetch_scheduler.policies.slots import pool_capacity
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable, Survey
from prefetch_scheduler.policies.vocabulary import Pool, Relation
from support.virtual import HANG, Handle, World, p

REST_S = 4000.0
"""Engine seconds in which everything that ends at all comes to its end."""

DELAYS = (0.0, 0.0, 0.0, 0.0, 0.001, 0.01, 0.06)
LOAD_S = (0.0, 0.001, 0.03, 0.2, 0.3, 0.7, 3.0)


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
    ticket: object = None
    demands: int = 0
    result: Content | Exception | None = None
    forsaken: bool = False

    @property
    def done(self) -> bool:
        return self.result is not None or self.forsaken


@define(eq=False)
class Ticket:
    """Of one demand: the read it was sent for."""

    reading: Reading


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


class CacheAddress:
    """The cache as `Reader` sees it."""

    def __init__(self, world: "RestlessWorld") -> None:
        self._world = world

    def tell(self, message: Any) -> bool:
        self._world.to_cache("readers", message)
        return True


class WorldClock:
    """The time as `Reader` sees it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.now


@define(eq=False, slots=False)
class RestlessWorld(World):
    """Everything random comes from `rng`."""

    rng: random.Random = field(factory=random.Random)
    checked_kinds: frozenset[str] = frozenset()
    error_rate: float = 0.15
    hang_rate: float = 0.01
    crashing: bool = False
    code: dict[tuple[int, int], Code] = field(factory=dict)
    """(number of the machine, serial of the run) -> its code, while it runs."""
    hanging: set[tuple[int, int]] = field(factory=set)
    readings: list[Reading] = field(factory=list)
    handles: list[Handle] = field(factory=list)
    readers: dict[str, ReaderSession] = field(factory=dict)
    accesses: int = 0

    def __attrs_post_init__(self) -> None:
        self._last_sent: dict[str, float] = {}
        self._undelivered: dict[Pool, int] = dict.fromkeys(Pool, 0)
        self._published = PublishedView()
        self._marks: dict[int, str] = {}
        self._steps_at = 0
        self._incarnations = dict.fromkeys(Pool, 1)
        self._senders = {pool: Sender(1) for pool in Pool}
        self._machine_numbers: dict[int, int] = {}
        self.strict = not self.crashing
        super().__attrs_post_init__()
        self.view = self._published.entries
        self.registry = Registry(self)
        self.reader = Reader(
            self._published,
            self.registry,  # type: ignore[arg-type]  # what a reader asks of one, and no more
            CacheAddress(self),  # type: ignore[arg-type]  # as above
            WorldClock(self),  # type: ignore[arg-type]  # as above
        )

    # ---- messages ------------------------------------------------------------------------------

    def send(self, channel: str, deliver: Callable[[], None]) -> None:
        """Deliver after a random while, behind what was sent on the same channel before."""
        at = max(self._last_sent.get(channel, 0.0), self.now + self.rng.choice(DELAYS))
        self._last_sent[channel] = at
        self._at(at, deliver)

    def tell(self, event: Any, sender: str = "host") -> None:
        self.send(f"{sender}>planner", lambda: self._tell(event))
        self._arrive()

    def _tell(self, event: Any) -> None:
        if isinstance(event, PoolReport) and event.reset:
            self._senders[event.pool] = Sender(1, event.incarnation)
        effects = self.planner.handle(event, self.now, wall=self.now, today=self.today)
        for effect in effects:
            if isinstance(effect, Count):
                self.count(effect.event)
        answers = []
        for effect in effects:
            match effect:
                case ToPool(pool, command):
                    self._to_pool(pool, command)
                case ToCache(command):
                    self.to_cache("planner", command)
                case Answer() | Refuse() | Retry():
                    answers.append(effect)
                case PlanMade(ticket, plan):
                    assert ticket.plan is None, "told of the plan twice"
                    ticket.plan = plan
                case ImmediateDone(ticket, ok):
                    if ticket is not None:
                        assert ticket.immediate is None, "told of the urgent items twice"
                        ticket.immediate = ok
                case Log():
                    self.logs.append(effect)
                case Tell() | Done() | Count():
                    pass
        for answer in answers:
            self._at(
                self.now + self.rng.choice(DELAYS),
                lambda a=answer: self._wake(a.ticket.reading, a.ticket, a),  # type: ignore[misc]  # mypy has no type for a lambda's default
            )

    def to_cache(self, sender: str, command: Any) -> None:
        self.send(f"{sender}>cache", lambda: self._cache_takes(command))

    def _cache_takes(self, command: Any) -> None:
        """As the shell of the CacheLayer does it."""
        self._drain()
        if isinstance(command, Drain):
            return
        if isinstance(command, Invalidate):
            self._marks[command.epoch] = command.pattern
        self._layer_effects(self.layers.handle(command, self.now))
        if isinstance(command, Acknowledged):
            pattern = self._marks.pop(command.epoch, None)
            if pattern is not None:
                self._published.board.discard(command.epoch, pattern)

    def _drain(self) -> None:
        view = self._published
        reads = [ReadNote(stored, session, self.now) for stored, session in view.reads]
        firsts = list(view.first_reads)
        view.reads.clear()
        view.first_reads.clear()
        if reads or firsts:
            self._layer_effects(self.layers.take_reads(reads, firsts, self.now))
        for session, tally in list(view.tallies.items()):
            hits = tally.take()
            if hits:
                self.count(Hits(session, hits))

    def _layer_effects(self, effects: Any) -> None:
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
            self.send("cache>planner", lambda: self._tell(CacheReport(tuple(notices))))

    # ---- pools ---------------------------------------------------------------------------------

    def _to_pool(self, pool: Pool, command: Any) -> None:
        if isinstance(command, SurveyNames):
            self._survey(command)
            return
        if isinstance(command, Fetch | Permit):  # credits hold for one incarnation of the pool
            command = evolve(command, by=self._senders[pool])
        self._undelivered[pool] += 1
        lane = "cancels" if isinstance(command, CancelLoad) else "work"
        self.send(f"planner>{pool} {lane}", lambda: self._pool_takes(pool, command))

    def _pool_takes(self, pool: Pool, command: Any) -> None:
        """As the shell of a pool does it."""
        self._undelivered[pool] -= 1
        machine = self.pools[pool]
        if isinstance(command, CancelLoad) and self._undelivered[pool]:
            machine.cancel_ahead(command.id)
        self._pool_effects(pool, machine.handle(command, self.now))
        if not self._undelivered[pool]:
            machine.nothing_ahead()

    def _pool_effects(self, pool: Pool, effects: Any) -> None:
        for effect in effects:
            match effect:
                case Run():
                    self._begin(pool, effect)
                case CancelRun():
                    self._cancel_run(pool, effect)
                case PoolReport():
                    self.send(f"{pool}>planner", lambda r=effect: self._tell(r))  # type: ignore[misc]  # as above

    def crash(self, pool: Pool) -> None:
        """The pool's actor fails and is replaced; what its code was doing goes on unheard."""
        self._incarnations[pool] += 1
        machine = PoolMachine(
            pool,
            pool_capacity(self.config, pool),
            permits=pool is Pool.P3,
            batch=self.config.enable_batch_fetching,
            table=SourceTable(self.sources),
            incarnation=self._incarnations[pool],
            planner=1,
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
        seconds = HANG if hangs else rng.choice(LOAD_S)
        code = Code(pool, machine, run, self.now + seconds, heeds_cancel=rng.random() < 0.6)
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
        flight = self.planner.state.flights.by_id.get(request.id)
        stored = flight.stored if flight is not None else request.key
        kind = request.key.partition(":")[0]
        stamp = version if kind in self.checked_kinds else None
        content = Content(f"{stored}@{version}", tokens=rng.choice((0, 5, 100, 900)), version=stamp)
        return LoadResult(content, seconds if seconds != HANG else 1.0)

    def _heard(self, number: tuple[int, int], event: RunEnded | RunPart) -> None:
        """Tell the pool, unless the one that began this is gone."""
        code = self.code.get(number)
        if code is not None and self.pools[code.pool] is code.machine:
            self._pool_effects(code.pool, code.machine.handle(event, self.now))

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
                    lambda e=found, pool=code.pool: self.send(  # type: ignore[misc]  # as above
                        f"{pool}>planner", lambda: self._tell(e)
                    ),
                )
        self.code.pop(number, None)
        self.hanging.discard(number)

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

    def submit(self, predictions: Any, terms: Any = None, **more: Any) -> Handle:
        handle = super().submit(predictions, terms, **more)
        self.handles.append(handle)
        return handle

    def session_of(self, name: str) -> ReaderSession:
        return self.readers.setdefault(name, ReaderSession(name, Identity()))

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
        reading.ticket = Ticket(reading)
        demand = reading.read.demand(reading.ticket)  # type: ignore[arg-type]  # any ticket
        self.send("host>planner", lambda: self._tell(demand))

    def _wake(self, reading: Reading, ticket: Any, outcome: Any) -> None:
        if reading.done or reading.ticket is not ticket:
            return
        if isinstance(outcome, Refuse):
            reading.result = outcome.error
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
        own = self.reader.stored(reading.identity, reading.key)
        assert stored == own, f"{what}: got what is kept as {stored!r}, not {own!r}"

    def _forsake(self, reading: Reading) -> None:
        if not reading.done:
            reading.forsaken = True
            assert reading.read is not None
            self.tell(reading.read.forsake(reading.ticket))  # type: ignore[arg-type]  # any ticket

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

    def _step(self, due: float) -> None:
        """As in a `World`, and time must not stand still: a deadline that stays is a busy loop."""
        if self.layers.next_deadline() == due:
            self._drain()
        self._steps_at = self._steps_at + 1 if due <= self.now else 0
        assert self._steps_at < 1000, f"time stands still at {due}: {self._wanted_by()}"
        super()._step(due)

    def _wanted_by(self) -> dict[str, float | None]:
        return {
            "planner": self.planner.next_deadline(),
            "layers": self.layers.next_deadline(),
            **{pool: machine.next_deadline() for pool, machine in self.pools.items()},
        }

    def rest(self) -> None:
        """Let everything end that ends at all."""
        self.tell(HostIdle())
        self.run(REST_S)
        self.to_cache("readers", Drain())
        self._arrive()
        self.run(10)


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
