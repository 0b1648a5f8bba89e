"""What the Supervisor is told of its children, what it keeps of each, and what it answers."""

from collections.abc import Callable
from enum import StrEnum, auto
from typing import Any

import pykka
from attrs import define, field, frozen

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.base import Home
from prefetch_scheduler.policies.restarts import RestartHistory


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
    ref: "pykka.ActorRef[Any] | None" = None
    error: str | None = None
    come_back: bool = field(default=False)
    """Whether it is stopped only to be started again with its group."""

    @property
    def name(self) -> str:
        return self.spec.address.name
