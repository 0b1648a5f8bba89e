"""What the planner keeps of sessions: of those that are over, nothing."""

from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import (
    ContextChanged,
    Demand,
    PlannerTick,
    SessionEnded,
    SessionStarted,
    UnpinKey,
)
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable

TABLE = SourceTable((SourceInfo(0, "k", "k", read_only=True),))


def test_a_session_that_changes_its_context_again_waits_its_turn_again():
    machine = PlannerMachine(Config(), SourceTable())
    grace = machine.state.config.execution.context_grace_s
    for session in ("a", "b"):
        machine.handle(ContextChanged(session, "first"), 0.0)
    changes = [("a", "second", 0.0), ("b", "second", 0.1), ("a", "third", 0.2)]
    for session, context, now in changes:
        machine.handle(ContextChanged(session, context), now)
        machine.check()
    assert machine.next_deadline() == 0.1 + grace
    machine.handle(PlannerTick(), 0.1 + grace)
    assert machine.next_deadline() == 0.2 + grace
    machine.handle(PlannerTick(), 0.2 + grace)
    assert machine.next_deadline() is None


def test_a_session_that_is_over_does_not_come_back_when_its_readers_are_late():
    machine = PlannerMachine(Config(), TABLE)
    for number in range(50):
        session = f"s{number}"
        machine.handle(SessionStarted(session), 0.0)
        machine.handle(SessionEnded(session), 0.0)
        machine.handle(Demand(session, f"k:{number}", ticket=number), 0.0)
        machine.handle(UnpinKey(session, f"k:{number}"), 0.0)
        machine.check()
    assert machine.state.sessions == {}
    assert len(machine.state.flights.live) == 50  # all are loaded


def test_a_read_of_a_session_that_never_began_is_loaded_and_keeps_nothing():
    machine = PlannerMachine(Config(), TABLE)
    machine.handle(Demand("never", "k:one", ticket=1), 0.0)
    assert machine.state.sessions == {}
    assert list(machine.state.flights.live) == ["k:one"]
