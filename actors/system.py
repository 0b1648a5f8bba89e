"""An engine's actors as a whole: addresses, timer, threads, Supervisor; made and ended together.

It stands above the Supervisor as a parent supervisor would in OTP: when the Supervisor gives up, or
is itself dead or hung, the system is *degraded*. What is left of the tree is stopped; after a
cool-down it is built once more under the same addresses. Failing again too soon is final.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum, auto
from typing import Any

import pykka
from attrs import evolve

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.base import Home
from prefetch_scheduler.actors.children import ChildHealth
from prefetch_scheduler.actors.clock import SystemClock
from prefetch_scheduler.actors.dead_letters import DeadLetters
from prefetch_scheduler.actors.inbox import DEFAULT_BOUND, Inbox
from prefetch_scheduler.actors.ports import Clock
from prefetch_scheduler.actors.signals import Pulse, Stop
from prefetch_scheduler.actors.slot_threads import IDLE_S, SlotThreads
from prefetch_scheduler.actors.supervisor import (
    ChildSpec,
    Health,
    HealthQuery,
    StartAll,
    StopAll,
    Supervisor,
    Watch,
)
from prefetch_scheduler.actors.timer import Timer
from prefetch_scheduler.policies.errors import (
    EngineDegraded,
    EngineFailed,
    EngineStopped,
    PrefetchError,
)
from prefetch_scheduler.policies.restarts import RestartRule
from prefetch_scheduler.policies.values import frozen

logger = logging.getLogger(__name__)

SETTLE_S = 0.02
"""Real seconds that a stop gives threads that have just ended a source's call to come to rest."""


class State(StrEnum):
    """Where the whole tree of actors is."""

    NEW = auto()
    RUNNING = auto()
    DEGRADED = auto()  # its actors do not run; it is built anew after the cool-down
    FAILED = auto()
    STOPPED = auto()


@frozen(kw_only=True)
class Rebuild:
    """What follows when the Supervisor cannot keep its children running, or is dead itself.

    Raises:
        ValueError: a number is negative.
    """

    cool_down_s: float = 2.0
    """Real seconds between the end of the old tree and the start of the new one."""
    window_s: float = 600.0
    """A tree that has been rebuilt must last so many real seconds: failing sooner is final."""
    end_s: float = 2.0
    """Real seconds that what is left of the old tree is given to end."""

    def __attrs_post_init__(self) -> None:
        if min(self.cool_down_s, self.window_s, self.end_s) < 0:
            raise ValueError(f"seconds must not be negative, got {self!r}")


class ActorSystem:
    """Holds what the actors of one engine share, and starts, rebuilds and stops them.

    Args:
        engine_id: goes into every thread's name.
        clock: the engine's time.
        on_dead_letter: called with each message that nobody will handle.
        watch: when an actor, or the Supervisor, counts as hung.
    """

    def __init__(
        self,
        engine_id: str,
        *,
        clock: Clock | None = None,
        on_dead_letter: Callable[[Any], None] | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.engine_id = engine_id
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.dead_letters = DeadLetters(on_dead_letter)
        self.watch = watch or Watch()
        self.timer = Timer(engine_id, self.check, self.watch.ping_s)
        self.supervisor = self.address("supervisor")
        self.state = State.NEW
        self.reason: str | None = None
        """Why it is degraded or has failed; None while it runs well."""
        self._specs: Sequence[ChildSpec] = ()
        self._rule = RestartRule()
        self._rebuild: Rebuild | None = None
        self._on_change: Callable[[State, str], object] = lambda *_: None
        self._incarnations: dict[str, int] = {}
        self._supervisor_thread: threading.Thread | None = None
        self._rebuilder: threading.Thread | None = None
        self._pulse = Pulse()
        self._rebuilt_at: float | None = None
        self._escalating = threading.Lock()  # which of several observers acts on one failure
        self._halt = threading.Event()
        self._last_children: tuple[ChildHealth, ...] = ()
        self._slots: list[SlotThreads] = []
        self._threads: list[threading.Thread] = []
        self._left_tasks: list[str] = []
        self._children_told = False
        """All children have been told to stop, and those that did not hang have ended."""

    def address(
        self,
        role: str,
        *,
        control: Iterable[type] = (),
        bound: int = DEFAULT_BOUND,
        undelivered: Callable[[Any, PrefetchError], None] | None = None,
        unhurried: Iterable[type] = (),
    ) -> Address:
        """A new address; `control` names the message types that overtake all others.

        `unhurried` names those that a busy actor may take a moment to look for.
        `undelivered(message, error)` is told of each message that is refused or left behind.
        """
        inbox = Inbox(
            role,
            bound=bound,
            dead_letters=self.dead_letters,
            undelivered=undelivered,
            unhurried=unhurried,
        )
        return Address(role, inbox, control)

    def slots(self, role: str, idle_s: float = IDLE_S) -> SlotThreads:
        """New threads for blocking code of one actor; they end with the system."""
        slots = SlotThreads(f"prefetch-{self.engine_id}-{role}", idle_s)
        self._slots.append(slots)
        return slots

    def home(self, address: Address, incarnation: int = 1, *, supervised: bool = True) -> Home:
        """What one incarnation of the actor at `address` is given."""
        self._incarnations[address.name] = incarnation
        return Home(
            engine_id=self.engine_id,
            role=address.name,
            address=address,
            clock=self.clock,
            timer=self.timer,
            supervisor=self.supervisor if supervised else None,
            incarnation=incarnation,
            register_thread=self._register,
            left_behind=self._left_tasks.append,
        )

    # ---- starting --------------------------------------------------------------------------

    def start(
        self,
        specs: Sequence[ChildSpec],
        *,
        rule: RestartRule | None = None,
        rebuild: Rebuild | None = None,
        on_failed: Callable[[str], object] = lambda _: None,
        on_change: Callable[[State, str], object] = lambda *_: None,
        timeout: float = 5.0,
    ) -> None:
        """Start the children in order under a Supervisor, and wait until all take messages.

        Args:
            rule: restart intensity and back-off of each child.
            rebuild: how often the whole is built anew; None: not at all, the first failure is
                final.
            on_failed: told why, once, when it is; in any thread, must return at once.
            on_change: told of each new state and why, as `on_failed`.
            timeout: real seconds that each child is given.

        Raises:
            EngineFailed: a child did not start; those before it have been stopped again.
        """
        self._specs = list(specs)
        self._rule = rule or RestartRule()

        def changed(state: State, reason: str) -> None:
            on_change(state, reason)
            if state is State.FAILED:
                on_failed(reason)

        self._on_change = changed
        self.timer.start()
        try:
            self._start_tree(timeout)
        except Exception as error:
            self.stop(timeout)
            text = str(error) if isinstance(error, PrefetchError) else repr(error)
            raise EngineFailed(text) from error
        except BaseException:
            self.stop(timeout)
            raise
        self._rebuild = rebuild
        with self._escalating:
            if self.state is State.NEW:
                self.state = State.RUNNING

    def _start_tree(self, timeout: float) -> None:
        pulse = Pulse()
        home = evolve(
            self.home(self.supervisor, supervised=False), clock=SystemClock(), pulse=pulse
        )
        Supervisor.start(
            home,
            self._specs,
            self.home,
            self._rule,
            self._gave_up,
            self.watch,
            dict(self._incarnations),
        )
        self._supervisor_thread = self._threads[-1]
        self._pulse = pulse
        self.supervisor.ask(StartAll(timeout), timeout=timeout * (len(self._specs) + 1))

    # ---- failing and rebuilding ------------------------------------------------------------

    def check(self) -> None:
        """Look after the Supervisor and the timer. Called every second, and by whoever waits for
        an actor that does not answer. Never blocks.
        """
        self.timer.revive()
        if self.state is not State.RUNNING:
            return
        thread = self._supervisor_thread
        if thread is not None and thread.ident is not None and not thread.is_alive():
            self._gave_up("the Supervisor died")
        elif threading.current_thread() is self.timer.thread and self.watch.look(
            self._pulse, self.supervisor
        ):
            self._gave_up(f"the Supervisor took no message for {self.watch.hung_s:g} s")

    def _gave_up(self, reason: str) -> PrefetchError:
        """The tree cannot go on; returns what its askers are told. Any thread; acts once."""
        with self._escalating:
            if self.state is State.STOPPED:
                return EngineStopped("the engine has been stopped")
            if self.state is State.DEGRADED:
                return self.error()
            again = self._rebuilt_at is not None and (
                self._rebuild is None
                or time.monotonic() - self._rebuilt_at < self._rebuild.window_s
            )
            final = self._rebuild is None or again
            self.reason = f"{reason}; it had been rebuilt shortly before" if again else reason
            self.state = State.FAILED if final else State.DEGRADED
        self._announce()
        if self.state is State.DEGRADED:
            name = f"prefetch-{self.engine_id}-rebuild"
            self._rebuilder = threading.Thread(target=self._rebuild_tree, name=name, daemon=True)
            self._register(self._rebuilder)
            self._rebuilder.start()
        elif not self._supervisor_lives():
            self._tell_all_stop()
        return self.error()

    def error(self) -> PrefetchError:
        """What askers are told in a state other than running."""
        match self.state:
            case State.DEGRADED:
                return EngineDegraded(
                    f"the engine is degraded: {self.reason}; it is being rebuilt, and reads go"
                    " straight to the sources meanwhile"
                )
            case State.FAILED:
                return EngineFailed(self.reason or "the engine failed")
            case _:
                return EngineStopped("the engine has been stopped")

    def _announce(self) -> None:
        try:
            self._on_change(self.state, self.reason or "")
        except Exception:  # the callback is not ours; going on matters more
            logger.exception("the callback for state %s failed itself", self.state)

    def _rebuild_tree(self) -> None:
        """In a thread of its own: end the old tree, wait, start a new one."""
        rebuild = self._rebuild or Rebuild()
        try:
            self._end_tree(rebuild.end_s)
            if self._halt.wait(rebuild.cool_down_s):
                return
            for address in (self.supervisor, *self._addresses()):
                address.reopen()
            self._rebuilt_at = time.monotonic()
            self._start_tree(max(rebuild.end_s, 1.0))
            with self._escalating:
                if self.state is not State.DEGRADED:
                    raise EngineStopped("stopped while it was rebuilt")
                self.state, self.reason = State.RUNNING, None
            logger.warning("the engine's actors have been rebuilt")
            self._announce()
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            with self._escalating:
                stopped = self.state is State.STOPPED
                if not stopped:
                    self.state = State.FAILED
                    self.reason = f"{self.reason}; and could not be rebuilt: {error!r}"
            self._tell_all_stop()
            if not stopped:
                self._announce()

    def _end_tree(self, limit_s: float) -> None:
        """Stop the old Supervisor and its children; whoever hangs is left behind."""
        end = time.monotonic() + limit_s
        if self._supervisor_lives():
            try:
                self.supervisor.ask(StopAll(limit_s / 2), timeout=limit_s / 2)
                self.supervisor.tell(Stop(self.error()))
            except Exception:  # as in `_stop_children`
                logger.exception("the Supervisor does not stop its children")
        self._tell_all_stop()
        for address in (*self._addresses(), self.supervisor):
            thread = self._thread_of(address)
            if thread is not None and thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))
                if thread.is_alive():
                    logger.error("%s hangs and is left behind", address.name)
                    address.abandon()

    def _tell_all_stop(self) -> None:
        """Stop the children where no Supervisor does: each works off nothing more."""
        error = self.error()
        for address in (*reversed(self._addresses()), self.supervisor):
            address.tell(Stop(error))
            address.close(error)

    def _supervisor_lives(self) -> bool:
        thread = self._supervisor_thread
        alive = thread is not None and thread.is_alive()
        return alive and not self.supervisor.inbox.closed and self.supervisor.ready

    def _addresses(self) -> list[Address]:
        return [spec.address for spec in self._specs]

    # ---- looking in ------------------------------------------------------------------------

    def health(self, timeout: float = 1.0) -> Health:
        """The state of the whole, why, and of every child."""
        self.check()
        if self.state in (State.DEGRADED, State.FAILED):
            state = "degraded" if self.state is State.DEGRADED else "failed"
            return Health(state, self._last_children, self.reason)
        if self.state is State.STOPPED:
            return Health("failed", (), "the engine has been stopped")
        try:
            health: Health = self.supervisor.ask(HealthQuery(), timeout)
        except Exception as error:  # noqa: BLE001 - it may fail on this very question
            reason = f"the Supervisor does not answer: {error}"
            # Hung, perhaps only for a moment: the watchdog decides. Dead: it is degraded already.
            state = "failed" if self.state is State.NEW else "degraded"
            return Health(state, self._last_children, self.reason or reason)
        self._last_children = health.children
        return health

    def stuck_threads(self) -> tuple[str, ...]:
        """Names of the slot threads that are in a source's own code now."""
        return tuple(t.name for slots in self._slots for t in slots.busy_threads())

    def left_tasks(self) -> dict[str, int]:
        """Source -> its loads that ignored their cancellation when the system was stopped."""
        return dict(Counter(self._left_tasks))

    # ---- stopping --------------------------------------------------------------------------

    def stop(self, timeout: float = 5.0, caller: int | None = None) -> tuple[str, ...]:
        """Stop everything, in reverse order of starting. May be called again, which finishes what
        an interrupted call left, and from any thread of the engine: its own is not waited for.

        Args:
            timeout: real seconds for all of it.
            caller: the thread that waits for this one, and is not waited for; None: this one.

        Returns:
            The names of threads that did not end, daemons stuck in other people's code, and of
            tasks that ignored their cancellation.
        """
        end = time.monotonic() + timeout
        caller = threading.get_ident() if caller is None else caller
        with self._escalating:
            self.state = State.STOPPED
        self._halt.set()
        if not self._children_told:
            self._stop_children(timeout * 0.7, caller)
            self._children_told = True
        stopped = EngineStopped("the engine has been stopped")
        self.supervisor.tell(Stop(stopped))
        for address in self._addresses():
            address.close(stopped)
        for slots in self._slots:
            slots.stop()
        self.timer.stop(0)
        return self._join(end, caller)

    def runs_caller(self) -> bool:
        """Whether the calling thread is an actor's, or the timer's."""
        me = threading.current_thread()  # and no identifier: those of threads that ended come again
        return me is self.timer.thread or me in self._threads

    def forget_threads(self) -> None:
        """In a forked child: none of the threads exists here, so nothing is to be stopped."""
        self.state = State.STOPPED
        self._threads = []
        ended = EngineStopped("the engine runs in the process that this one was forked from")
        for address in (self.supervisor, *self._addresses()):
            address.inbox.seal(ended)
        # Another thread of the parent may have held Pykka's lock when it forked.
        pykka.ActorRegistry._actor_refs_lock = threading.RLock()
        for address in (self.supervisor, *self._addresses()):
            if address.ref is not None:
                address.ref.actor_stopped.set()
                pykka.ActorRegistry.unregister(address.ref)

    def _stop_children(self, timeout: float, caller: int) -> None:
        if self._supervisor_lives() and self.supervisor.owner != caller:
            try:
                self.supervisor.ask(StopAll(timeout, caller), timeout=timeout + 0.1 * timeout + 0.1)
                return
            except Exception:  # whatever it failed on, they are to be stopped
                logger.exception("the Supervisor does not stop its children")
        for address in reversed(self._addresses()):  # nobody does it in order: last first
            address.tell(Stop(EngineStopped("the engine has been stopped")))

    def _join(self, end: float, caller: int) -> tuple[str, ...]:
        left: list[str] = []
        idle = [
            t for slots in self._slots for t in slots.threads() if t not in slots.busy_threads()
        ]
        serving = {id(self._thread_of(a)) for a in (self.supervisor, *self._addresses())}
        serving.add(id(self._rebuilder))
        for thread in (self.timer.thread, *self._threads, *idle):
            if thread.ident in (None, caller) or thread is threading.current_thread():
                continue
            # Of those left behind none is waited for: they hang.
            behind = thread in self._threads and id(thread) not in serving
            thread.join(0.01 if behind else max(0.0, end - time.monotonic()))
            if thread.is_alive():
                left.append(thread.name)
        settled = min(end, time.monotonic() + SETTLE_S)
        while self.stuck_threads() and time.monotonic() < settled:
            time.sleep(0.001)
        tasks = (f"prefetch-{self.engine_id}-task:{name}" for name in self._left_tasks)
        return (*left, *self.stuck_threads(), *tasks)

    def _thread_of(self, address: Address) -> threading.Thread | None:
        return next((t for t in self._threads if t.ident == address.owner and t.is_alive()), None)

    def _register(self, thread: threading.Thread) -> None:
        self._threads = [t for t in self._threads if t.ident is None or t.is_alive()] + [thread]


__all__ = ["ActorSystem", "Rebuild", "State"]
