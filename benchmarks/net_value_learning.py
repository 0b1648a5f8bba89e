"""Points 4 and 5 of `net_value`: what `Learning` makes of outcomes."""

import random
import statistics
from collections.abc import Iterator
from typing import Any

from attrs import evolve

from benchmarks.figures import Figure, figure
from benchmarks.net_value_runs import Case, figures
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.learning import Learning

ROLE = "related_file"


def recovery() -> int:
    """Predictions that come true after very many that did not, until one is worth loading."""
    learning, group = Learning(Config()), (0, ROLE)
    for number in range(2_000):
        session = f"wrong{number // 20}"
        _weighed(learning, session, f"file:wrong/{number}", 0.7)
        learning.loaded(session, f"file:wrong/{number}", group, 500)
        if number % 20 == 19:
            learning.ended(session)
    for number in range(500):
        key = f"file:right/{number}"
        worth = _weighed(learning, "right", key, 0.7)
        if worth.net_s > 0 and learning.held_back(group) is None:
            return number
        learning.read("right", key, 2.0)
    return 500


def _weighed(learning: Learning, session: str, key: str, stated: float) -> Any:
    moment, group = learning.moment(session, 1.0), (0, ROLE)
    expected = moment.predicted(key, 0, group, stated)
    return moment.worth(expected, group, stated, 500, 0.4, 1.0)


def learned(true: float, stated: float, seed: int, outcomes: int = 200) -> float:
    """The chance of one more item after so many outcomes of one predictor."""
    learning, drawn = Learning(Config()), random.Random(seed)
    for number in range(outcomes):
        session, key = f"s{number // 20}", f"file:{number % 10}/{number}"
        _weighed(learning, session, key, stated)
        if drawn.random() < true:
            learning.read(session, key, 2.0)
        if number % 20 == 19:
            learning.ended(session)
    chance: float = _weighed(learning, "new", "file:0/new", stated).chance
    return chance


def chances(case: Case, count: int) -> Iterator[Figure]:
    for true in (0.3, 0.5, 0.7, 0.9):
        found = [learned(true, true, seed) for seed in range(count)]
        off = [abs(statistics.mean(found) - true)]
        yield figure(f"5 chance of {true:g} after 200 outcomes: mean is off by", off, "", 0.05)
        errors = [statistics.mean(abs(chance - true) for chance in found)]
        yield figure(f"5 chance of {true:g} after 200 outcomes: mean error", errors, "", 0.05)
    straight = figures(case)["hidden_fraction"]
    for name, bend, goal in (
        ("squared", lambda c: c * c, 0.05),
        ("rooted", lambda c: c**0.5, 0.05),
        ("constant", lambda _: 0.5, None),
    ):
        hidden = figures(evolve(case, bend=bend))["hidden_fraction"]
        yield figure(
            f"5 confidences {name}: hidden is off by", [abs(hidden / straight - 1)], "", goal
        )
