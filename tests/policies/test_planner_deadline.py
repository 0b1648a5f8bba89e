"""When the planner wants to be told the time again."""

from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import ContextChanged, PlannerTick
from prefetch_scheduler.policies.source_info import SourceTable


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
