"""What hosts submit, checked and brought into the planner's form."""

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve

from prefetch_scheduler.engine import adapters
from prefetch_scheduler.engine.sources.registry import SourceRegistry
from prefetch_scheduler.policies.errors import InvalidPrediction, UnknownKind
from prefetch_scheduler.policies.prediction import (
    Constraints,
    Prediction,
    Terms,
    checked_constraints,
    checked_predictions,
)
from prefetch_scheduler.policies.vocabulary import Priority


def accepted(
    registry: SourceRegistry,
    predictions: Iterable[Prediction] | Mapping[str, Any],
    constraints: Constraints | None,
) -> tuple[tuple[Prediction, ...], Terms]:
    """The predictions with keys in their one spelling, and the constraints resolved.

    A mapping is the Pattern Predictor's output; the mode that it suggests applies where no
    constraints are given.

    Raises:
        InvalidPrediction: names every fault of the call, of which nothing is accepted then.
    """
    if isinstance(predictions, Mapping):
        if constraints is None:
            constraints = adapters.suggested_constraints(predictions)
        predictions = adapters.predictions(predictions)
    items = checked_predictions(predictions)
    faults: list[str] = []
    spelt: list[Prediction] = []
    for index, item in enumerate(items):
        try:
            key = registry.normalise(item.key)
        except UnknownKind:
            spelt.append(item)  # the plan lists it as skipped, `no_source`
        except InvalidPrediction as error:
            faults.extend(f"predictions[{index}]: {fault}" for fault in error.faults)
        else:
            spelt.append(item if key == item.key else evolve(item, key=key))
    if faults:
        raise InvalidPrediction(faults)
    return tuple(spelt), _spelt(registry, checked_constraints(constraints))


def _spelt(registry: SourceRegistry, terms: Terms) -> Terms:
    """The terms with the keys of overrides in their one spelling; one that is no name of its source
    can be none of the predicted ones either.
    """
    if not terms.override:
        return terms
    override: dict[str, Priority] = {}
    for key, priority in terms.override.items():
        try:
            override[registry.normalise(key)] = priority
        except (UnknownKind, InvalidPrediction):
            override[key] = priority
    return evolve(terms, override=override)
