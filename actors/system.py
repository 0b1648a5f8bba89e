"""An engine's actors as a whole: addresses, timer, threads, Supervisor; made and ended together."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.base import Home
from prefetch_scheduler.actors.clock import SystemClock
from prefetch_scheduler.actors.dead_letters import DeadLetters
from prefetch_scheduler.actors.inbox import DEFAULT_BOUND, Inbox
from prefetch_scheduler.actors.ports import Clock
from prefetch_scheduler.actors.signals import Stop
from prefetch_scheduler.actors.slot_threads import IDLE_S, SlotThreads
from prefetch_scheduler.actors.supervisor import (
    ChildSpec,
    Health,
    HealthQuery,
    StartAll,
    StopAll,
    Supervisor,
)
from prefetch_scheduler.actors.timer import Timer
from prefetch_scheduler.policies.errors import EngineFailed, EngineStopped, PrefetchError
from prefetch_scheduler.policies.restarts import RestartRule


class ActorSystem:
    """Holds what the actors of one engine share, and starts and stops them.

    Args:
        engine_id: goes into every thread's name.
        clock: the engine's time.
        on_dead_letter: called with each message that nobody will handle.
    """

    def __init__(
        self,
        engine_id: str,
        *,
        clock: Clock | None = None,
        on_dead_letter: Callable[[Any], None] | None = None,
    ) -> None:
        self.engine_id = engine_id
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.dead_letters = DeadLetters(on_dead_letter)
        self.timer = Timer(engine_id)
        self.supervisor = self.address("supervisor")
        self._addresses: list[Address] = []
        self._slots: list[SlotThreads] = []
        self._threads: list[threading.Thread] = [self.timer.thread]
        self._running = False

    def address(
        self, role: str, *, control: Iterable[type] = (), bound: int = DEFAULT_BOUND
    ) -> Address:
        """A new address; `control` names the message types that overtake all others."""
        return Address(role, Inbox(role, bound=bound, dead_letters=self.dead_letters), control)

    def slots(self, role: str, idle_s: float = IDLE_S) -> SlotThreads:
        """New threads for blocking code of one actor; they end with the system."""
        slots = SlotThreads(f"prefetch-{self.engine_id}-{role}", idle_s)
        self._slots.append(slots)
        return slots

    def home(self, address: Address, incarnation: int = 1, *, supervised: bool = True) -> Home:
        """What one incarnation of the actor at `address` is given."""
        return Home(
            engine_id=self.engine_id,
            role=address.name,
            address=address,
            clock=self.clock,
            timer=self.timer,
            supervisor=self.supervisor if supervised else None,
            incarnation=incarnation,
            register_thread=self._register,
        )

    def start(
        self,
        specs: Sequence[ChildSpec],
        *,
        rule: RestartRule | None = None,
        on_failed: Callable[[str], object] = lambda _: None,
        timeout: float = 5.0,
    ) -> None:
        """Start the children in order under a Supervisor, and wait until all take messages.

        Args:
            timeout: real seconds that each child is given.

        Raises:
            EngineFailed: a child did not start; those before it have been stopped again.
        """
        self._addresses = [spec.address for spec in specs]
        home = Home(
            engine_id=self.engine_id,
            role="supervisor",
            address=self.supervisor,
            clock=SystemClock(),
            timer=self.timer,
            register_thread=self._register,
        )
        self.timer.start()
        Supervisor.start(home, specs, self.home, rule or RestartRule(), on_failed)
        self._running = True
        try:
            self.supervisor.ask(StartAll(timeout), timeout=timeout * (len(specs) + 1))
        except PrefetchError as error:
            self.stop(timeout)
            raise EngineFailed(str(error)) from error
        except BaseException:
            self.stop(timeout)
            raise

    def health(self, timeout: float = 1.0) -> Health:
        """The state of every child, or `failed` where the Supervisor itself does not answer."""
        try:
            health: Health = self.supervisor.ask(HealthQuery(), timeout)
        except PrefetchError as error:
            return Health("failed", (), f"the Supervisor does not answer: {error}")
        return health

    def stop(self, timeout: float = 5.0) -> tuple[str, ...]:
        """Stop everything, in reverse order of starting. May be called again, and from any
        thread of the engine but the Supervisor's: its own thread is not waited for.

        Args:
            timeout: real seconds for all of it.

        Returns:
            The names of threads that did not end: daemons stuck in other people's code.
        """
        end = time.monotonic() + timeout
        self._stop_children(timeout * 0.7)
        self.supervisor.tell(Stop(EngineStopped("the engine has been stopped")))
        for address in self._addresses:
            address.close(EngineStopped("the engine has been stopped"))
        for slots in self._slots:
            slots.stop()
        self.timer.stop(0)
        self._running = False
        return self._join(end)

    def stuck_threads(self) -> tuple[str, ...]:
        """Names of the slot threads that are in a source's own code now."""
        return tuple(t.name for slots in self._slots for t in slots.busy_threads())

    # ---- inside ----------------------------------------------------------------------------

    def _stop_children(self, timeout: float) -> None:
        if not self._running:
            return
        try:
            self.supervisor.ask(
                StopAll(timeout, threading.get_ident()), timeout=timeout + 0.1 * timeout + 0.1
            )
        except (PrefetchError, RuntimeError):
            # No Supervisor to do it in order: tell each, last first.
            for address in reversed(self._addresses):
                address.tell(Stop(EngineStopped("the engine has been stopped")))

    def _join(self, end: float) -> tuple[str, ...]:
        left: list[str] = []
        idle = [
            t for slots in self._slots for t in slots.threads() if t not in slots.busy_threads()
        ]
        for thread in (*self._threads, *idle):
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))
                if thread.is_alive():
                    left.append(thread.name)
        return (*left, *self.stuck_threads())

    def _register(self, thread: threading.Thread) -> None:
        self._threads = [t for t in self._threads if t.ident is None or t.is_alive()] + [thread]
