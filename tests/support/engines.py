"""Fault schedules played on a real engine: real actors, threads, files and event loops.

The order of what happens is the machine's; what the host does and what breaks is the schedule's.
"""

import asyncio
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pykka
from attrs import define, field, frozen

from prefetch_scheduler.actors.base import EngineActor
from prefetch_scheduler.actors.children import Watch
from prefetch_scheduler.actors.messages import AlertsQuery, Drain, PlannerStatusQuery, Withdraw
from prefetch_scheduler.actors.system import Rebuild
from prefetch_scheduler.engine import (
    Content,
    ContextChanged,
    FileChanged,
    HostBusy,
    HostIdle,
    PrefetchEngine,
    ProjectSwitched,
    SessionEnded,
    UserLoggedIn,
    runtime,
)
from prefetch_scheduler.engine.care import Care
from prefetch_scheduler.engine.session import Session
from prefetch_scheduler.policies.config import Config, Execution
from prefetch_scheduler.policies.errors import (
    EngineDegraded,
    EngineFailed,
    EngineStopped,
    LoadTimeout,
    PrefetchError,
    ResourceUnavailable,
)
from prefetch_scheduler.policies.prediction import Prediction
from prefetch_scheduler.policies.restarts import RestartRule
from support.hosts import at_rest
from support.schedules import (
    ACTORS,
    POOLS,
    CrashStep,
    EditStep,
    FloodStep,
    FreezeStep,
    LogInStep,
    ReadStep,
    Step,
    SubmitStep,
    TakeBackStep,
    TellStep,
    WaitStep,
    terms_of_host,
)
from support.shells import Kill, Killer, Point, points
from support.unruly import Behaviour, Truth, Unruly, hold_interpreter_lock

PATIENCE_S = 30.0
"""Real seconds after which something counts as hanging: far more than any time-out in here."""

KEYS = (
    *(f"file:{name}" for name in "abcde"),
    *(f"db:{name}" for name in "abc"),
    *(f"mail:{name}" for name in "ab"),
    *(f"web:{name}" for name in "abc"),
    "tool:a",
)
UNFILED = ("db", "mail", "web", "tool")
SURE = RestartRule(intensity=1000, base_s=0.002, most_s=0.02)
FRAGILE = RestartRule(intensity=1, base_s=0.002, most_s=0.02)
CONFIGS = (
    Config(execution=Execution(load_timeout_s=0.4, demand_timeout_s=5.0)),
    Config(
        execution=Execution(load_timeout_s=0.2, demand_timeout_s=5.0, demand_slots=2),
        max_concurrent_fetches=3,
        hot_cache_size=2,
        warm_cache_size=2,
        cold_cache_size=2,
    ),
)


@frozen
class RealSchedule:
    """What is played: the same thing each time, but for the order in which threads run."""

    seed: int
    config: int
    sturdy: bool
    """Whether actors are restarted as often as they fail; else the engine degrades, and fails."""
    hosts: tuple[tuple[Step, ...], ...]
    """What each of the host's threads does; the second is an event loop."""
    behaviours: dict[str, tuple[Behaviour, ...]]
    kills: tuple[Kill, ...] = field(default=())

    @property
    def violent(self) -> bool:
        """Whether actors fail in it."""
        return bool(self.kills) or any(
            isinstance(step, CrashStep) for steps in self.hosts for step in steps
        )

    def lines(self) -> list[str]:
        """Readable, a step or a fault a line."""
        return [
            f"seed {self.seed}, config {self.config}, sturdy {self.sturdy}",
            *(f"  {kind}: {', '.join(listed)}" for kind, listed in self.behaviours.items()),
            *(
                f"{host}.{number:2} {step!r}"
                for host, steps in enumerate(self.hosts)
                for number, step in enumerate(steps)
            ),
            *(f"  * {kill!r}" for kill in self.kills),
        ]


# ---- making one --------------------------------------------------------------------------------


def real_schedule(seed: int) -> RealSchedule:
    """The schedule of a seed. In three of ten no actor fails."""
    rng = random.Random(f"real {seed}")
    calm = rng.random() < 0.3
    sturdy = rng.random() < 0.85
    hosts = tuple(
        tuple(_step(rng, host, calm) for _ in range(rng.choice((5, 15, 25)))) for host in range(3)
    )
    kills = () if calm else tuple(_kill(rng) for _ in range(rng.choice((1, 2, 4))))
    bad = rng.choice((0.0, 0.2, 0.5))
    behaviours = {
        kind: tuple(
            rng.choice(list(Behaviour)) if rng.random() < bad else Behaviour.GOOD for _ in range(8)
        )
        for kind in UNFILED
    }
    return RealSchedule(seed, rng.randrange(len(CONFIGS)), sturdy, hosts, behaviours, kills)


def _kill(rng: random.Random) -> Kill:
    role = rng.choice((*ACTORS, *ACTORS, *ACTORS, *POOLS, "supervisor"))
    at = rng.choice((1, 2, 3, 5, 8, 13, 21, 34))
    if role == "supervisor":
        at += 12  # once all have started
    return Kill(
        role, at, rng.choice(points(role)), rng.choice((KeyError, SystemExit, GeneratorExit))
    )


def _step(rng: random.Random, host: int, calm: bool) -> Step:
    key, session = rng.choice(KEYS), f"agent{host}"
    choice = rng.random()
    if choice < 0.45:
        return ReadStep(key, session, rng.choice((0.0, 0.05, 2.0, 5.0, 5.0)))
    if choice < 0.62:
        items = tuple(
            Prediction(
                rng.choice(KEYS),
                rng.choice(("main_file", "related_file", "documentation")),
                rng.choice((0.55, 0.7, 0.95)),
            )
            for _ in range(rng.choice((1, 4, 8)))
        )
        context = rng.choice((None, None, "one", "two"))
        return SubmitStep(items, terms_of_host(rng), session, context)
    if choice < 0.75:
        return EditStep(key, session, hand_over=rng.random() < 0.3, told=rng.random() < 0.7)
    if choice < 0.83:
        return TellStep(
            rng.choice(
                (ContextChanged("two"), ProjectSwitched("x"), HostBusy(), HostIdle(), HostIdle())
            )
        )
    if choice < 0.86:
        return LogInStep(session, rng.choice(("ann", "bob")))
    if choice < 0.89:
        return TakeBackStep(rng.random())
    if choice < 0.95 or calm:
        return WaitStep(rng.choice((0.001, 0.01, 0.03)))
    if choice < 0.97:
        return CrashStep(rng.choice((*ACTORS, *POOLS)))
    return rng.choice((FreezeStep(0.02), FloodStep(key, session, 40)))


# ---- killing -------------------------------------------------------------------------------------


@contextmanager
def killing(killer: Killer) -> Iterator[None]:
    """Have every actor that is started meanwhile wrapped by a killer."""
    real = EngineActor._actor_loop_setup

    def setup(actor: EngineActor) -> None:
        killer.arm(actor)
        real(actor)

    EngineActor._actor_loop_setup = setup  # type: ignore[method-assign]  # for this while
    try:
        yield
    finally:
        EngineActor._actor_loop_setup = real  # type: ignore[method-assign]  # as it was


# ---- a host --------------------------------------------------------------------------------------

HONEST = (ResourceUnavailable, LoadTimeout, EngineDegraded, EngineFailed, EngineStopped)
"""How a call may end, besides well, where sources and actors fail."""


@define(eq=False)
class Agent:
    """One thread of the host, with a session of its own."""

    engine: PrefetchEngine
    truth: Truth
    name: str
    steps: tuple[Step, ...]
    mail: dict[str, set[str]]
    """Content of a private source -> the users that were given it; shared by all agents."""
    reads: int = 0
    given_up: int = 0
    """Reads whose time was over: some of them before it was clear what they count as."""
    user: str = ""
    handles: list[Any] = field(factory=list)
    fault: BaseException | None = None

    def run(self) -> None:
        """In a thread: each step in turn."""
        self._guarded(lambda: [self._take(step) for step in self.steps])

    def run_loop(self) -> None:
        """In a thread: the steps in an event loop, those that read in tasks beside each other."""

        async def all_steps() -> None:
            tasks: list[asyncio.Task[None]] = []
            for step in self.steps:
                if isinstance(step, ReadStep):
                    tasks.append(asyncio.create_task(self._aread(step)))
                    await asyncio.sleep(0)
                elif isinstance(step, LogInStep):
                    await asyncio.gather(*tasks)  # whose mail a read gets must be clear
                    self._take(step)
                else:
                    self._take(step)
            await asyncio.gather(*tasks)

        self._guarded(lambda: asyncio.run(all_steps()))

    def _guarded(self, action: Callable[[], object]) -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - handed to the schedule's thread
            self.fault = error

    @property
    def session(self) -> Session:
        return self.engine.session(self.name)

    def _take(self, step: Step) -> None:
        try:
            self._do(step)
        except HONEST as error:
            self.given_up += isinstance(step, ReadStep) and isinstance(error, LoadTimeout)

    def _do(self, step: Step) -> None:
        match step:
            case ReadStep(key, _, patience):
                needs, user = self.truth.told(key), self.user
                self.reads += 1
                self._check(key, needs, user, self.session.get(key, timeout=patience))
            case SubmitStep(items, constraints, _, context):
                self.handles.append(self.session.submit(items, constraints, context=context))
            case EditStep(key, _, hand_over, told):
                self._edit(key, hand_over=hand_over, told=told)
            case TellStep(event):
                self.session.trigger(event)
            case LogInStep(_, user):
                self.session.trigger(UserLoggedIn(user))
                self.user = user
            case TakeBackStep(which):
                if self.handles:
                    self.handles[int(which * len(self.handles))].cancel()
            case WaitStep(seconds):
                time.sleep(seconds)
            case FreezeStep():
                hold_interpreter_lock(4_000_000)
            case FloodStep(key, _, count):
                for _ in range(count):
                    self.session.invalidate(key)
                    self.handles.append(self.session.submit([Prediction(key, "main_file", 0.9)]))
            case CrashStep(role):
                self._crash(role)
            case _:
                raise AssertionError(f"not for a real engine: {step!r}")

    async def _aread(self, step: ReadStep) -> None:
        needs, user = self.truth.told(step.key), self.user
        self.reads += 1
        try:
            content = await self.session.aget(step.key, timeout=step.patience)
        except HONEST as error:
            self.given_up += isinstance(error, LoadTimeout)
            return
        self._check(step.key, needs, user, content)

    def read_at_last(self, key: str) -> Content:
        """What a healthy engine serves, however often a busy machine makes it miss a limit."""
        end = time.monotonic() + PATIENCE_S
        while True:
            self.reads += 1
            try:
                return self.session.get(key, timeout=20.0)
            except HONEST as error:
                self.given_up += isinstance(error, LoadTimeout)
                if time.monotonic() > end:
                    raise
            time.sleep(0.01)

    def _check(self, key: str, needs: int, user: str, content: Content) -> None:
        version = Truth.version(key, content.value)
        assert needs <= version, f"{key}: got {content.value!r}, {needs} was known before"
        assert version <= self.truth.now(key), f"{key}: {content.value!r} has never been"
        if key.startswith("mail:") and "#" in str(content.value):
            users = self.mail.setdefault(str(content.value), set())
            users.add(user)
            assert len(users) == 1, f"{key}: {content.value!r} was given to {users}"

    def _edit(self, key: str, *, hand_over: bool, told: bool) -> None:
        session = self.session
        filed = key.startswith("file:")

        def tell(value: str) -> None:
            if hand_over and filed:
                session.trigger(FileChanged(key.partition(":")[2], value))
            elif hand_over and not key.startswith("mail:"):
                session.put(key, value)
            elif told or not filed:
                session.invalidate(key)

        self.truth.edit(key, tell)

    def _crash(self, role: str) -> None:
        addresses = self.engine._runtime
        for address in (addresses.planner, addresses.cache, addresses.metrics):
            if address.name == role:
                address.tell(object())
        for address in addresses.pools.values():
            if address.name == role:
                address.tell(object())


# ---- playing -----------------------------------------------------------------------------------


def play_real(played: RealSchedule) -> None:
    """Play a schedule on a real engine; raises where what must hold does not."""
    root = Path(tempfile.mkdtemp(prefix="faults-"))
    files = root / "files"
    files.mkdir()
    try:
        _play_in(played, files)
        left = sorted(path.name for path in root.iterdir())
        assert left == ["files"], f"files left behind: {left}"
    finally:
        shutil.rmtree(root)


def _play_in(played: RealSchedule, files: Path) -> None:
    truth = Truth(files)
    for key in (*KEYS, "file:fresh"):
        if key.startswith("file:"):
            truth.create(key)
    unruly = Unruly(truth, played.behaviours)
    killer = Killer(played.kills)
    care = Care(
        rule=SURE if played.sturdy else FRAGILE,
        watch=Watch(ping_s=0.1, hung_s=2.0),
        rebuild=Rebuild(cool_down_s=0.02, end_s=1.0),
    )
    before = runtime.CARE
    runtime.CARE = care
    try:
        engine = PrefetchEngine(CONFIGS[played.config], sources=unruly.sources())
    finally:
        runtime.CARE = before
    with killing(killer):
        try:
            engine.start()
        except EngineFailed:  # an actor was killed before all had started
            assert killer.done, "did not start, and nobody was killed"
        mail: dict[str, set[str]] = {}
        agents = [
            Agent(engine, truth, f"agent{number}", steps, mail)
            for number, steps in enumerate(played.hosts)
        ]
        try:
            _run(agents)
            killer.armed = False
            unruly.over.set()
            _ends_well(engine, truth, agents, killer, played)
        finally:
            unruly.over.set()
            began = time.monotonic()
            engine.stop(10.0)
            took = time.monotonic() - began
    assert took < PATIENCE_S, f"stop took {took:.1f} s"
    _nothing_left(engine)
    for agent in agents:
        for number, handle in enumerate(agent.handles):
            assert handle._plan._sync.done, f"{agent.name}: submit {number} was never answered"


def _run(agents: list[Agent]) -> None:
    threads = [
        threading.Thread(target=agent.run_loop if number == 1 else agent.run, daemon=True)
        for number, agent in enumerate(agents)
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE_S
    for thread, agent in zip(threads, agents, strict=True):
        thread.join(max(0.0, end - time.monotonic()))
        assert not thread.is_alive(), f"{agent.name} hangs"
    for agent in agents:
        if agent.fault is not None:
            raise agent.fault


def _ends_well(
    engine: PrefetchEngine,
    truth: Truth,
    agents: list[Agent],
    killer: Killer,
    played: RealSchedule,
) -> None:
    """Healthy, and shown to be so; or not, and it says why."""
    health = _settled(engine)
    if health.state == "failed":
        assert health.reason, health
        assert killer.done or played.violent, f"failed, and nobody was killed: {health.reason}"
        return
    assert health.state == "ok", f"{health.state}: {health.reason}"
    session = engine.session("late", user="late")
    last = Agent(engine, truth, "late", (), {}, user="late")
    for kind in ("file", *UNFILED):
        key = f"{kind}:fresh"
        assert Truth.version(key, last.read_at_last(key).value) == truth.now(key)
    session.trigger(SessionEnded())
    engine.trigger(HostIdle())
    at_rest(engine, PATIENCE_S)
    for key in KEYS:
        kept = engine.peek(key)
        if kept is not None:
            assert Truth.version(key, kept.value) == truth.now(key), f"{key}: kept {kept.value!r}"
    asked = sum(agent.reads for agent in (*agents, last))
    given_up = sum(agent.given_up for agent in (*agents, last))
    _figures(engine, range(asked - given_up, asked + 1), killer, played)


def _handle_what_waits(engine: PrefetchEngine) -> None:
    """A message that kills its actor may wait in an inbox yet: it comes before these questions."""
    runtime = engine._runtime
    probes = [
        (runtime.metrics, AlertsQuery()),
        (runtime.cache, Drain()),
        (runtime.planner, PlannerStatusQuery()),
        *((address, Withdraw(-1)) for address in runtime.pools.values()),
    ]
    for address, probe in probes:
        with suppress(PrefetchError):
            address.ask(probe, timeout=5.0)


def _settled(engine: PrefetchEngine) -> Any:
    """Its health once it is what it will be."""
    end = time.monotonic() + PATIENCE_S
    _handle_what_waits(engine)
    while True:
        health = engine.health()
        if health.state in ("ok", "failed") or time.monotonic() > end:
            return health
        threading.Event().wait(0.01)


def _figures(
    engine: PrefetchEngine, reads_made: range, killer: Killer, played: RealSchedule
) -> None:
    report = engine.total_report().summary()
    ends = ("used", "wasted", "cancelled", "failed", "open")
    assert report["total_prefetches"] == sum(report[end] for end in ends), report
    reads = ("cache_hits", "late_hits", "joined", "cache_misses")
    assert report["reads"] == sum(report[read] for read in reads), report
    accounting = engine._runtime.ledgers.accounting
    assert accounting.check() == ()
    lossy = any(k.role == "metrics" and k.point is Point.BEFORE for k, _ in killer.done)
    if lossy or not played.sturdy or any(kill.role == "supervisor" for kill, _ in killer.done):
        return
    assert report["reads"] < reads_made.stop, report
    if not played.violent:
        assert report["reads"] in reads_made, report
    figures = accounting.snapshot().engine
    assert figures is not None
    assert set(figures.anomalies) <= {"unknown_session"}, figures.anomalies


def _nothing_left(engine: PrefetchEngine) -> None:
    prefix = f"prefetch-{engine._runtime.system.engine_id}-"
    end = time.monotonic() + PATIENCE_S
    for thread in threading.enumerate():
        if thread.name.startswith(prefix):
            thread.join(max(0.0, end - time.monotonic()))
            assert not thread.is_alive(), f"left behind: {thread.name}"
    registered = [ref for ref in pykka.ActorRegistry.get_all() if ref.is_alive()]
    assert not registered, f"actors left registered: {registered}"


__all__ = ["RealSchedule", "play_real", "real_schedule"]
