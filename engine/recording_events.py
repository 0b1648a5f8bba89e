"""The events of a recorded agent session, as values.

`t` is everywhere in seconds on the agent's own clock: thinking, and work that cannot be
prefetched. It never includes the wait for a load.
"""

from prefetch_scheduler.policies.prediction import Constraints, Prediction
from prefetch_scheduler.policies.values import frozen


@frozen
class SessionEvent:
    """A session begins."""

    t: float
    id: str
    project: str | None = None


@frozen
class ContextEvent:
    """The agent turned to another task."""

    t: float
    id: str


@frozen
class PredictEvent:
    """A predictor named what the agent is expected to need."""

    t: float
    items: tuple[Prediction, ...]
    constraints: Constraints | None = None


@frozen
class AccessEvent:
    """The agent read a resource."""

    t: float
    key: str
    load_s: float
    """Seconds that the load takes when nothing is cached."""
    tokens: int
    """Size in tokens."""


@frozen
class ChangeEvent:
    """The agent, or something else, wrote the resource: content loaded before it is stale."""

    t: float
    key: str


@frozen
class EndEvent:
    """The session ended."""

    t: float


RecordedEvent = SessionEvent | ContextEvent | PredictEvent | AccessEvent | ChangeEvent | EndEvent


@frozen
class RecordedSession:
    """One whole session: `events` starts with its `SessionEvent` and ends with its `EndEvent`."""

    id: str
    project: str | None
    events: tuple[RecordedEvent, ...]

    def accesses(self) -> tuple[AccessEvent, ...]:
        """The reads, in order."""
        return tuple(event for event in self.events if isinstance(event, AccessEvent))
