"""What the Supervisor is told of its children, what it keeps of each, and what it answers."""

from collections.abc import Callable
from enum import StrEnum, auto
from math import ceil
from typing import Any

import pykka
from attrs import field

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.base import Home
from prefetch_scheduler.actors.signals import Ping, Pulse
from prefetch_scheduler.policies.restarts import RestartHistory
from prefetch_scheduler.policies.values import define, frozen


class Restart(StrEnum):
    """When a child that has ended is started again."""

    PERMANENT = auto()  # always
    TRANSIENT = auto()  # only when it failed


@frozen(kw_only=True)
class ChildSpec:
    """How one child is started, restarted and stopped."""

    address: Address
    """Where its messages go; its name is the child's role."""
    start: Callable[[Home], "pykka.ActorRef[Any]"]
    """Starts one incarnation, e.g. `lambda home: Planner.start(home, config)`."""
    restart: Restart = Restart.PERMANENT
    shutdown_s: float = 2.0
    """Real seconds it is given to end; after that it is left behind."""
    group: str | None = None
    """rest_for_one: when it fails, later children of the same group are restarted with it."""
    on_down: Callable[[float], object] = lambda _: None
    """Told that an incarnation is gone, by failing or by hanging, and how many seconds go by
    before the next; in the Supervisor's thread, so it must not block."""


@frozen
class StartAll:
    """Start the children in order. Answered once all take messages; an error: none runs."""

    timeout_s: float = 5.0
    """Real seconds that each child is given to confirm."""


@frozen
class StopAll:
    """Stop the children in reverse order. Answered with the names of those left behind."""

    timeout_s: float = 5.0
    """Real seconds for all of them together."""
    caller: int | None = None
    """Thread identifier of who stops: a child in that thread is not waited for."""


@frozen
class HealthQuery:
    """Answered with `Health`."""


@frozen
class ChildHealth:
    name: str
    state: str
    restarts: int
    """Since the engine started."""
    queued: int
    bound: int
    error: str | None
    """The last failure."""


@frozen
class Health:
    state: str
    """ok | degraded | failed"""
    children: tuple[ChildHealth, ...]
    reason: str | None = None


@frozen(kw_only=True)
class Watch:
    """How an actor that no longer takes messages is noticed.

    Raises:
        ValueError: a number is not positive.
    """

    ping_s: float = 1.0
    """Real seconds between two pings of each actor."""
    hung_s: float = 5.0
    """Real seconds after which one that has not answered is left behind and replaced."""

    def __attrs_post_init__(self) -> None:
        if not (self.ping_s > 0 and self.hung_s > 0):
            raise ValueError(f"ping_s and hung_s must be more than 0 seconds, got {self!r}")

    @property
    def looks(self) -> int:
        """Looks in vain, one every `ping_s`, that make an actor hung."""
        return max(1, ceil(self.hung_s / self.ping_s))

    def look(self, pulse: Pulse, address: Address) -> bool:
        """Look once, and ping again where the last ping was answered. True: it hangs."""
        if pulse.answered < pulse.asked:
            pulse.missed += 1
            return pulse.missed >= self.looks
        pulse.missed = 0
        pulse.asked += 1
        address.tell(Ping())
        return False


class ChildState(StrEnum):
    WAITING = auto()  # not started yet
    STARTING = auto()
    RUNNING = auto()
    STOPPING = auto()
    RESTARTING = auto()  # until its back-off is over, or its group is ready
    STOPPED = auto()
    ABANDONED = auto()  # did not end within its time limit


ENDED = (ChildState.STOPPED, ChildState.ABANDONED, ChildState.WAITING)


@define(eq=False)
class Child:
    spec: ChildSpec
    history: RestartHistory
    state: ChildState = ChildState.WAITING
    incarnation: int = 0
    restarts: int = 0
    due: float | None = None
    """Limit of starting or stopping, or the end of the back-off."""
    pulse: Pulse = field(factory=Pulse)
    error: str | None = None
    come_back: bool = field(default=False)
    """Whether it is stopped only to be started again with its group."""

    @property
    def name(self) -> str:
        return self.spec.address.name
