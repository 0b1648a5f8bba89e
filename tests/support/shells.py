"""The engine's actors without their threads, and what kills them.

A `Shell` is one supervised actor in virtual time: the real class, handed its messages by a
driver instead of a thread, and started anew when it fails as its Supervisor does it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum, auto
from typing import Any

from attrs import define, field, frozen

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.base import BATCH, EngineActor, Home
from prefetch_scheduler.actors.inbox import Inbox
from prefetch_scheduler.actors.signals import ChildFailed, Tick
from prefetch_scheduler.policies.errors import PrefetchError
from prefetch_scheduler.policies.restarts import RestartHistory, RestartRule

RULE = RestartRule(intensity=1000)
"""Never gives up, and backs off as the default rule does."""


# ---- killing ---------------------------------------------------------------------------------


class Point(StrEnum):
    """Where in an actor's work it is killed."""

    BEFORE = auto()  # it has taken the message, and done nothing with it
    INSIDE = auto()  # it has decided, and carried nothing out
    AFTER = auto()  # it has handled the message
    FLUSH = auto()  # it is about to send what the message brought about


POINTS = {
    "planner": (Point.BEFORE, Point.INSIDE, Point.FLUSH),
    "cache": (Point.BEFORE, Point.INSIDE, Point.AFTER),
}
"""Where code that may fail runs in an actor; of others before and after a message."""


def points(role: str) -> tuple[Point, ...]:
    """Where this actor can fail."""
    return POINTS.get(role, (Point.BEFORE, Point.AFTER))


@frozen
class Kill:
    """An actor is to fail at its `at`-th message, or of one type, counted over incarnations."""

    role: str
    at: int
    point: Point
    error: type[BaseException]
    of: str = ""
    """Name of the type of message; empty: of any."""


class Killed(Exception):
    """Raised in an actor that a step of the schedule kills."""


@define(eq=False)
class Killer:
    """Counts messages and raises what the schedule says. Used from the actors' own threads."""

    kills: tuple[Kill, ...] = ()
    counts: dict[str, int] = field(factory=dict)
    done: list[tuple[Kill, str]] = field(factory=list)
    """Those that happened, and the message that it was."""
    armed: bool = True
    _pending: dict[str, Kill] = field(factory=dict)

    def arm(self, actor: EngineActor) -> None:
        """Wrap what an actor's loop calls, of this one incarnation."""
        role = actor.home.role
        if not any(kill.role == role for kill in self.kills):
            return
        receive, flush = actor.on_receive, actor.after_batch

        def on_receive(message: Any) -> Any:
            kill = self.due(role, message)
            if kill is None:
                return receive(message)
            match kill.point:
                case Point.BEFORE:
                    raise kill.error("killed before a message")
                case Point.INSIDE:
                    with _interrupted(actor, kill.error):
                        receive(message)
                case Point.AFTER:
                    receive(message)
                case Point.FLUSH:
                    self._pending[role] = kill
                    return receive(message)
            raise kill.error("killed after a message")

        def after_batch() -> None:
            kill = self._pending.pop(role, None)
            if kill is not None:
                raise kill.error("killed before it sent")
            flush()

        actor.on_receive = on_receive  # type: ignore[method-assign]  # of this instance alone
        actor.after_batch = after_batch  # type: ignore[method-assign]  # as above

    def due(self, role: str, message: Any) -> Kill | None:
        """Count a message; the kill that it brings, noted as done."""
        kind = type(message).__name__
        for place in (role, f"{role} {kind}"):
            self.counts[place] = self.counts.get(place, 0) + 1
        if not self.armed:
            return None
        for kill in self.kills:
            place = f"{role} {kind}" if kill.of == kind else role
            if kill.role == role and kill.of in ("", kind) and kill.at == self.counts[place]:
                self.done.append((kill, kind))
                return kill
        return None


@contextmanager
def _interrupted(actor: Any, error: type[BaseException]) -> Iterator[None]:
    """The actor's machine raises once it has decided; what it decided is lost with it."""
    machine = actor.machine if hasattr(actor, "machine") else actor._machine
    name = "_on" if hasattr(machine, "_on") else "_taken"
    real = getattr(machine, name)

    def decide(*args: Any, **more: Any) -> Any:
        if name == "_on":
            real(*args, **more)
        raise error("killed inside a message")

    setattr(machine, name, decide)
    try:
        yield
    finally:
        delattr(machine, name)


# ---- an actor in virtual time ------------------------------------------------------------------


class WorldClock:
    """Engine time, as an actor and a reader see it."""

    def __init__(self, world: Any) -> None:
        self._world = world

    def now(self) -> float:
        now: float = self._world.now
        return now

    def wall(self) -> float:
        return self.now()

    def today(self) -> int:
        today: int = self._world.today
        return today

    def real(self, seconds: float) -> float:
        return seconds


class Shell:
    """One actor, its inbox, and what its Supervisor and the timer would do for it.

    Args:
        world: has `now`, `_at(when, action)` and `delay()`.
        role: its name.
        make: a new incarnation for a `Home`.
        killer: what kills it.
        control, undelivered: as for an `Address`.
        on_down: told of the delay before it is started again, as a `ChildSpec`'s.
        on_new: told of each incarnation before it starts.
    """

    def __init__(
        self,
        world: Any,
        role: str,
        make: Callable[[Home], EngineActor],
        killer: Killer,
        *,
        control: tuple[type, ...] = (),
        undelivered: Callable[[Any, PrefetchError], None] | None = None,
        on_down: Callable[[float], None] = lambda _: None,
        on_new: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self.world = world
        self.role = role
        self.address = Address(role, Inbox(role, undelivered=undelivered), control)
        self.incarnation = 0
        self.failures: list[str] = []
        self._make = make
        self._killer = killer
        self.on_down = on_down
        self._on_new = on_new
        self._history = RestartHistory(role, RULE)
        self._actor: Any = None
        self._wakes_at: float | None = None
        self._stalled_until = 0.0
        self._ticks_at: float | None = None
        self._ticks_now = 0

    # ---- as its address --------------------------------------------------------------------

    def tell(self, message: Any) -> bool:
        """Into its inbox; it handles it a little later."""
        taken = self.address.tell(message)
        self._wake()
        return taken

    def stall(self, seconds: float) -> None:
        """It handles nothing for a while."""
        self._stalled_until = max(self._stalled_until, self.world.now + seconds)

    def crash(self) -> None:
        """It fails between two messages."""
        if self._actor is not None:
            self._actor._fail(Killed("by the schedule"), "its loop")
            self._look_after()

    @property
    def idle(self) -> bool:
        """Whether it runs and has nothing to do."""
        return self._actor is not None and self.address.inbox.empty()

    # ---- as its thread -----------------------------------------------------------------------

    def start(self) -> None:
        """Start an incarnation, in the way of `EngineActor._actor_loop`."""
        self.incarnation += 1
        home = Home(
            engine_id="virtual",
            role=self.role,
            address=self.address,
            clock=WorldClock(self.world),
            timer=self,  # type: ignore[arg-type]  # as far as an actor uses one
            supervisor=_Ear(self),  # type: ignore[arg-type]  # told and never asked
            incarnation=self.incarnation,
        )
        actor = self._actor = self._make(home)
        self._killer.arm(actor)
        self._on_new(actor)
        actor._actor_loop_setup()
        self.address.owner = None  # all actors of a world share one thread
        if not actor.actor_stopped.is_set():
            actor._flush()
        self._look_after()
        self._wake()

    def _wake(self) -> None:
        if self._actor is None or self._wakes_at is not None or self.address.inbox.empty():
            return
        at = max(self.world.now + self.world.delay(), self._stalled_until)
        self._wakes_at = at
        self.world._at(at, self._run)

    def _run(self) -> None:
        self._wakes_at = None
        actor = self._actor
        if actor is None:
            return
        if self._stalled_until > self.world.now:
            self._wake()
            return
        handled = 0
        while not actor.actor_stopped.is_set():
            envelope = self.address.inbox.get_nowait()
            if envelope is None:
                break
            self.world.trace(self.role, envelope.message)
            actor._receive(envelope)
            handled += 1
            if handled >= BATCH or self.address.inbox.empty():
                handled = 0
                actor._flush()
        self._look_after()
        self._wake()

    def _look_after(self) -> None:
        """As its Supervisor: replace it once it has failed."""
        actor = self._actor
        if actor is None or not actor.actor_stopped.is_set():
            return
        self._actor = None
        self.world.trace(self.role, "fails")
        actor._actor_loop_teardown()
        delay = self._history.failed(self.world.now)
        assert delay is not None, "a world's actors are restarted without end"
        self.on_down(delay)
        self.world._at(self.world.now + delay, self.start)

    # ---- as the timer ------------------------------------------------------------------------

    def arm(self, _address: Address, at: float, delay_s: float) -> None:
        """As `Timer.arm`: a later call replaces an earlier one."""
        self._ticks_at = due = self.world.now + max(delay_s, 0.0)
        self._ticks_now = self._ticks_now + 1 if delay_s <= 0 else 0
        assert self._ticks_now < 1000, f"{self.role}: time stands still at {due}"

        def tick() -> None:
            if self._ticks_at == due:
                self._ticks_at = None
                self.tell(Tick(at))

        self.world._at(due, tick)


class _Ear:
    """A Supervisor's address that listens to failures."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def tell(self, signal: Any) -> bool:
        if isinstance(signal, ChildFailed):
            self._shell.failures.append(signal.error)
        return True
