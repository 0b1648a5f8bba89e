"""Several predictors of one host: each is believed by what came of its own predictions."""

import pytest

from prefetch_scheduler.policies.cache_events import CacheReport, SessionLeft
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.plan import PlanItem
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import (
    PlanMade,
    SessionEnded,
    SessionStarted,
    Submit,
)
from prefetch_scheduler.policies.planning import merged
from prefetch_scheduler.policies.prediction import (
    MAX_PREDICTOR,
    Prediction,
    Terms,
    checked_predictions,
)
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable

ROLE = "related_file"


def told(machine: PlannerMachine, session: str, now: float, *items: Prediction) -> list[PlanItem]:
    effects = machine.handle(Submit(session, items, Terms(), ticket=object()), now)
    (plan,) = [effect.plan for effect in effects if isinstance(effect, PlanMade)]
    return list(plan.items)


def test_each_is_believed_by_what_came_of_its_own_predictions() -> None:
    machine = PlannerMachine(Config(), SourceTable((SourceInfo(0, "f", "file", read_only=True),)))
    learning = machine.state.learning
    for number in range(60):
        session, now = f"s{number}", 100.0 * number
        machine.handle(SessionStarted(session), now)
        good, bad = f"file:right{number}", f"file:wrong{number}"
        told(
            machine,
            session,
            now,
            Prediction(good, ROLE, 0.6, predictor="good"),
            Prediction(bad, ROLE, 0.6, predictor="bad"),
        )
        learning.read(session, good, now + 0.2)
        machine.handle(SessionEnded(session), now + 0.5)
        machine.handle(CacheReport((SessionLeft(session),)), now + 50.0)
    machine.handle(SessionStarted("new"), 9_000.0)
    items = told(
        machine,
        "new",
        9_000.0,
        Prediction("file:a", ROLE, 0.6, predictor="good"),
        Prediction("file:b", ROLE, 0.6, predictor="bad"),
    )
    chances = {
        item.key: item.candidate.worth.chance for item in items if item.candidate.worth is not None
    }
    assert chances["file:a"] > 0.8
    assert chances["file:b"] < 0.2
    said = {row.role: row.true for row in learning.figures().reliability}
    assert said == {f"{ROLE} by good": pytest.approx(1.0), f"{ROLE} by bad": 0.0}


def test_of_several_that_name_a_key_it_counts_with_the_surest_in_any_order() -> None:
    items = [
        Prediction("file:a", ROLE, 0.5, predictor="x"),
        Prediction("file:a", ROLE, 0.7, predictor="y"),
        Prediction("file:a", ROLE, 0.7),
    ]
    for order in (items, items[::-1]):
        (one,) = merged(order)
        assert (one.confidence, one.predictor) == (0.7, "y")


@pytest.mark.parametrize("name", ["a\nb", "x" * (MAX_PREDICTOR + 1), 7, None])
def test_a_name_that_is_none_is_a_fault(name: object) -> None:
    item = Prediction("file:a", ROLE, 0.5, predictor=name)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InvalidPrediction, match=r"\[0\]\.predictor: .* is not a predictor's name"):
        checked_predictions([item])
