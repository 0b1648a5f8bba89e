"""What would be loaded, in which order, and why: the engine's own planner, loading nothing."""

from collections.abc import Iterable, Mapping
from typing import Any

from prefetch_scheduler.engine.sources.protocol import Source
from prefetch_scheduler.engine.sources.registry import SourceRegistry
from prefetch_scheduler.engine.submissions import accepted
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.plan import Plan
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import (
    DEFAULT_SESSION,
    PlanMade,
    PlannerEffect,
    PlannerTick,
    Submit,
    ToPool,
)
from prefetch_scheduler.policies.pool_events import Surveyed, SurveyNames
from prefetch_scheduler.policies.prediction import Constraints, Prediction


def plan_predictions(
    config: Config,
    sources: Iterable[Source],
    predictions: Iterable[Prediction] | Mapping[str, Any],
    constraints: Constraints | None = None,
) -> Plan:
    """The plan that a fresh engine would make of these predictions.

    The sources are asked what they know of the names (sizes, exclusions); nothing is loaded.

    Raises:
        InvalidPrediction, ConfigError: as `PrefetchEngine` and its `submit`.
    """
    registry = SourceRegistry(sources)
    items, terms = accepted(registry, predictions, constraints)
    machine = PlannerMachine(config, registry.table)
    ticket = object()
    submit = Submit(DEFAULT_SESSION, items, terms, ticket=ticket)
    effects = _in_full(machine, submit)
    for effect in effects:
        if isinstance(effect, ToPool) and isinstance(effect.command, SurveyNames):
            surveys = tuple(registry.survey(source, name) for source, name in effect.command.names)
            effects = _in_full(machine, Surveyed(effect.command.plan_id, surveys))
    for effect in effects:
        if isinstance(effect, PlanMade):
            return effect.plan
    raise AssertionError("a submit whose names are surveyed is planned")


def _in_full(machine: PlannerMachine, event: Submit | Surveyed) -> list[PlannerEffect]:
    """The effects of an event, all of the steps included in which a large submit is planned."""
    effects = machine.handle(event, 0.0)
    while machine.drafting:
        effects += machine.handle(PlannerTick(), 0.0)
    return effects
