"""What is kept of what was learned, and that nothing damaged is taken up."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.calibration import whose
from prefetch_scheduler.policies.config import Config, Speculation
from prefetch_scheduler.policies.estimates import Estimator
from prefetch_scheduler.policies.learning import Learning
from prefetch_scheduler.policies.remembering import recall, remembered
from prefetch_scheduler.policies.source_info import SourceInfo
from prefetch_scheduler.policies.vocabulary import Role

SOURCE = SourceInfo(3, "docs", "doc", read_only=True)
SECRET = "doc:secret-name"


def experienced() -> tuple[Learning, Estimator]:
    learning, estimator, drawn = Learning(Config()), Estimator(), random.Random(1)
    for session in range(30):
        learning.began(f"s{session}", "secret-project")
        for number in range(5):
            key, role = f"{SECRET}{number}", Role.TEST_FILE if number % 2 else Role.RELATED_FILE
            moment = learning.moment(f"s{session}", float(session))
            group = (3, whose(role.value, "ranker" if number == 3 else ""))
            expected = moment.predicted(key, 3, group, 0.7)
            moment.worth(expected, group, 0.7, 500, 0.2, 1.0)
            estimator.observe(
                SOURCE, key, estimated_tokens=None, tokens=500, load_s=drawn.uniform(0.1, 0.3)
            )
            learning.loaded(f"s{session}", key, group, 500)
            if number == 1:
                learning.read(f"s{session}", key, session + 2.0)
        learning.ended(f"s{session}")
    return learning, estimator


def worth(learning: Learning) -> Any:
    moment = learning.moment("new", 1e6)
    group = (3, Role.TEST_FILE)
    return moment.worth(moment.predicted("doc:x", 3, group, 0.7), group, 0.7, 500, 0.2, 1.0)


def test_an_engine_goes_on_where_the_one_before_it_ended_and_keeps_no_key() -> None:
    learning, estimator = experienced()
    text = json.dumps(remembered(learning, estimator), allow_nan=False)
    assert "secret" not in text
    again, figures = Learning(Config()), Estimator()
    assert worth(Learning(Config())) is None
    recall(json.loads(text), again, figures)
    assert worth(again).chance == pytest.approx(worth(learning).chance, abs=0.02)
    assert again.price.share == learning.price.share
    assert again.lead.mean_s == learning.lead.mean_s
    assert [row.count for row in again.calibration.table()] == [
        row.count for row in learning.calibration.table()
    ]
    assert figures.times[3].median == estimator.times[3].median
    # The role that nobody read stays held back; its pause begins anew.
    assert [(h.role, h.used) for h in again.wasteful.open()] == [("related_file", 0)]
    assert remembered(again, figures) == json.loads(text)


def test_what_was_spent_goes_on_where_spending_is_limited_and_is_left_out_elsewhere() -> None:
    limited = Config(speculation=Speculation(spend_budget=0.5))
    learning, estimator = Learning(limited), Estimator()
    assert learning.spending is not None
    for _ in range(40):
        learning.spending.would_load(1_000)
        learning.loaded("s", "doc:a", (3, Role.TEST_FILE), 700, expected=100)
    plain = json.loads(json.dumps(remembered(learning, estimator)))
    again = Learning(limited)
    recall(plain, again, Estimator())
    assert again.spending is not None
    assert again.spending.now == learning.spending.now
    assert remembered(again, Estimator()) == plain
    unlimited = Learning(Config())
    recall(plain, unlimited, Estimator())
    assert unlimited.spending is None
    with pytest.raises(ValueError, match="spending"):
        recall({**plain, "spending": [-1, 1, 0]}, Learning(limited), Estimator())


def test_with_another_dial_the_price_stays_within_its_bounds() -> None:
    learning, estimator = experienced()
    learning.price.raised = 4.0
    thrifty = Learning(Config(speculation=Speculation(dial=0.0)))
    recall(remembered(learning, estimator), thrifty, Estimator())
    assert thrifty.price.raised == 0.0


PLAIN = remembered(*experienced())
MISFITS = st.sampled_from([None, -1, 1e300, float("nan"), True, "x", [], {}, [1], {"a": 1}])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = [path] if path else []
    for key, one in inner:
        found += places(one, (*path, key)) if isinstance(one, dict | list) else [(*path, key)]
    return found


@given(st.sampled_from(places(PLAIN)), MISFITS)
def test_whatever_is_put_in_its_place_is_taken_up_whole_or_refused(path: Any, misfit: Any) -> None:
    damaged = json.loads(json.dumps(PLAIN))
    inner = damaged
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = misfit
    learning, estimator = Learning(Config()), Estimator()
    try:
        recall(damaged, learning, estimator)
    except ValueError:
        assert remembered(learning, estimator) == remembered(Learning(Config()), Estimator())
    else:
        weighed = worth(learning)
        assert weighed is None or 0 <= weighed.chance <= 1
        assert learning.price.now > 0


@pytest.mark.parametrize(
    "plain", [None, [], "x", {}, {"lead": [1, 1]}, {"lead": [1, 1], "price": 3}]
)
def test_what_is_no_such_document_is_refused(plain: Any) -> None:
    with pytest.raises(ValueError, match="not a"):
        recall(plain, Learning(Config()), Estimator())
