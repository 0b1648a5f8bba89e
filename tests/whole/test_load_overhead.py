"""The short form of `benchmarks.load_overhead`: what it measures is what it says."""

import pytest

from benchmarks import load_overhead
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import Submit, ToPool
from prefetch_scheduler.policies.pool_events import Fetch, PoolReport
from prefetch_scheduler.policies.prediction import Prediction
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable
from prefetch_scheduler.policies.vocabulary import Pool


@pytest.mark.parametrize("function", [load_overhead.aload, load_overhead.load])
def test_every_item_is_loaded_and_the_threads_are_told_apart(function: object) -> None:
    cost = load_overhead.engine_cost(function, 120, 40)  # type: ignore[arg-type]  # either kind
    assert {"submitter", "planner", "pool-p1", "cache", "metrics"} <= set(cost.by_thread)
    assert 0 < sum(cost.by_thread.values()) <= 1.05 * cost.cpu + 50


def test_the_steps_cover_the_way_from_predictions_to_loads() -> None:
    names = {figure.name for figure in load_overhead.steps(100, 2)}
    assert {"decisions: validate", "decisions: plan"} <= names


def test_what_waits_for_a_source_that_takes_no_more_is_not_looked_at_again() -> None:
    """However many are queued, a pump looks at one for each source."""
    config = load_overhead.roomy(3000)
    table = SourceTable((SourceInfo(0, "k", "k", read_only=True, max_concurrency=1),))
    machine = PlannerMachine(config, table)
    machine.handle(PoolReport(Pool.P1, credits=8, reset=True), 0.0)
    given = tuple(Prediction(f"k:{n}", "main_file", 0.85) for n in range(3000))
    effects = load_overhead.handled(machine, Submit("s", given))
    fetched = [
        request
        for effect in effects
        if isinstance(effect, ToPool) and isinstance(effect.command, Fetch)
        for request in effect.command.requests
    ]
    assert len(fetched) == 1
    assert len(machine.state.queue.heads(Pool.P1)) == 1
    assert machine.state.queue.length(Pool.P1) == 2999
    machine.check()
