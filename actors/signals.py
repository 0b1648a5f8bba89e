"""Messages of the runtime itself: between actors, their timer and their Supervisor.

They travel in the control lane and are taken even by a full inbox: each actor has at most a
few of them outstanding at any time, so they need no bound of their own.
"""

from attrs import field

from prefetch_scheduler.policies.errors import PrefetchError
from prefetch_scheduler.policies.values import define, frozen


@frozen
class Tick:
    """A deadline that the actor asked for has passed."""

    at: float
    """The deadline, in engine seconds."""


@frozen
class Stop:
    """End after the message in hand."""

    error: PrefetchError | None = None
    """What waiting and later askers are told. None: the inbox stays open for a successor."""


@frozen
class ChildStarted:
    """A child has run its `on_start` and takes messages."""

    name: str
    incarnation: int


@frozen
class ChildStopped:
    """A child has ended as it was told to, or of its own accord."""

    name: str
    incarnation: int


@frozen
class ChildFailed:
    """A child has ended by an exception. It reads its inbox no more; its successor may."""

    name: str
    incarnation: int
    error: str
    exception: BaseException | None = field(default=None, eq=False)


@frozen
class Ping:
    """Are you there? The base of every actor answers by its `Pulse`, whatever it does."""


@define
class Pulse:
    """By which one incarnation shows that it takes messages; written by one thread a field."""

    asked: int = 0
    """Pings sent; the watcher's."""
    answered: int = 0
    """The newest ping answered; the actor's."""
    missed: int = 0
    """The watcher's own looks since that ping. Its looks and not the clock's seconds: while the
    whole process stands still, none is missed."""


SIGNALS = (Tick, Stop, ChildStarted, ChildStopped, ChildFailed, Ping)
