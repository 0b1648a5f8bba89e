"""The agent of a simulated session, and what it needs of whatever loads for it."""

from typing import Protocol, assert_never

from prefetch_scheduler.engine.recording_events import (
    AccessEvent,
    ChangeEvent,
    ContextEvent,
    EndEvent,
    PredictEvent,
    RecordedSession,
    SessionEvent,
)
from prefetch_scheduler.engine.simulation.loads import Loads
from prefetch_scheduler.engine.simulation.trace import ReadKind, Trace
from prefetch_scheduler.policies.counts import Counts

DAY_S = 86_400.0
"""Sessions begin on days of their own: what one read is not recent in the next."""


class Host(Protocol):
    """A cache with a policy, in virtual time. Learned statistics last from session to session."""

    now: float

    def begin(self, session: RecordedSession, loads: Loads, trace: Trace) -> None:
        """A session starts now, with an empty cache."""

    def run_until(self, when: float) -> None:
        """Let time pass; what ends at `when` has ended on return."""

    def context(self, context: str) -> None:
        """The agent turned to another task."""

    def predict(self, event: PredictEvent) -> None:
        """Predictions came in."""

    def change(self, key: str) -> None:
        """A resource was written."""

    def read(self, key: str) -> ReadKind:
        """The agent reads; on return it has the content, and `now` is when it got it."""

    def passed(self, place: int) -> None:
        """The session's event of that number has been applied: only a policy that knows the
        future looks.
        """

    def end(self) -> None:
        """The session is over: nothing of it is under way or resident any more."""

    def counts(self) -> Counts:
        """What was counted in all sessions so far."""


def run_session(host: Host, session: RecordedSession, loads: Loads) -> Trace:
    """Let the agent live through one recorded session.

    An event happens as long after the one before it finished as their `t` differ.
    """
    trace = Trace(session.id, host.now)
    host.begin(session, loads, trace)
    previous_t = session.events[0].t if session.events else 0.0
    for place, event in enumerate(session.events):
        host.run_until(host.now + (event.t - previous_t))
        previous_t = event.t
        match event:
            case SessionEvent() | EndEvent():
                pass
            case ContextEvent():
                host.context(event.id)
            case PredictEvent():
                host.predict(event)
            case ChangeEvent():
                host.change(event.key)
            case AccessEvent():
                asked = host.now
                kind = host.read(event.key)
                trace.read(event.key, asked, host.now, kind)
            case _:
                assert_never(event)
        host.passed(place)
    trace.duration_s = host.now - trace.began
    host.end()
    return trace


def next_day(now: float) -> float:
    """When the session after one that ended at `now` begins."""
    return (now // DAY_S + 1) * DAY_S
