"""Net value: calibrated chances, what a load hides, the price of waste, and what is learned."""

import random
from math import log1p
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.calibration import Calibration
from prefetch_scheduler.policies.config import Config, Speculation
from prefetch_scheduler.policies.expectations import Holders, SessionExpectations, Why
from prefetch_scheduler.policies.familiar import Familiar
from prefetch_scheduler.policies.learning import Learning
from prefetch_scheduler.policies.places import FOLDERS_KEPT, KEYS_KEPT, Places
from prefetch_scheduler.policies.price import (
    HIGHEST,
    MOST_PRESSED,
    STRICTNESS,
    UTMOST,
    Price,
    pressed,
    price_at,
)
from prefetch_scheduler.policies.read_model import FIRST_SESSIONS, ReadModel, logit, signs
from prefetch_scheduler.policies.weighing import WARM_UP
from prefetch_scheduler.policies.worth import hidden_part, weighed

GROUP = (0, "related_file")


# ---- calibration ---------------------------------------------------------------------------------


@pytest.mark.parametrize("true", [0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("bend", [1.0, 2.0, 0.5])
def test_two_hundred_outcomes_tell_the_true_chance(true: float, bend: float) -> None:
    errors = []
    for seed in range(20):
        drawn, calibration = random.Random(seed), Calibration()
        for _ in range(200):
            calibration.observe(GROUP, true**bend, read=drawn.random() < true)
        errors.append(abs(calibration.chance(GROUP, true**bend) - true))
    assert mean(errors) < 0.05


def test_nothing_learned_is_what_was_stated_and_other_groups_lend_what_they_know() -> None:
    calibration = Calibration()
    assert calibration.chance(GROUP, 0.7) == pytest.approx(0.7)
    for _ in range(100):
        calibration.observe((0, "test_file"), 0.75, read=False)
    assert calibration.chance(GROUP, 0.75) < 0.1
    assert calibration.chance(GROUP, 0.25) == pytest.approx(0.25)


def test_a_predictor_that_became_better_is_believed_again() -> None:
    calibration = Calibration()
    for _ in range(1_000):
        calibration.observe(GROUP, 0.8, read=False)
    for _ in range(400):
        calibration.observe(GROUP, 0.8, read=True)
    assert calibration.chance(GROUP, 0.8) > 0.6


def test_the_reliability_table_shows_stated_and_true_with_counts() -> None:
    calibration = Calibration()
    for number in range(10):
        calibration.observe(GROUP, 0.75, read=number < 4)
    (row,) = calibration.table()
    assert (row.source, row.role, row.count) == (0, "related_file", 10)
    assert row.stated == pytest.approx(0.75)
    assert row.true == pytest.approx(0.4)


# ---- the model of reads --------------------------------------------------------------------------


def test_before_anything_is_learned_the_order_is_that_of_the_calibrated_confidence() -> None:
    model = ReadModel()
    chances = [
        model.chance(signs(logit(stated), 1, (0.0, 0.0, 0.0), 0.0)) for stated in (0.1, 0.5, 0.9)
    ]
    assert chances == sorted(chances)
    assert chances[1] == pytest.approx(0.5)


def test_what_tells_reads_from_the_rest_is_learned() -> None:
    model, drawn = ReadModel(), random.Random(1)
    again = signs(0.0, 1, (0.7, 1.0, 0.5), 0.0)
    fresh = signs(0.0, 1, (0.0, 0.0, -0.5), 0.0)
    for _ in range(2_000):
        model.learn(again, read=drawn.random() < 0.8)
        model.learn(fresh, read=drawn.random() < 0.1)
    assert model.chance(again) == pytest.approx(0.8, abs=0.1)
    assert model.chance(fresh) == pytest.approx(0.1, abs=0.1)


# ---- places --------------------------------------------------------------------------------------


def test_keys_and_folders_of_which_predictions_come_true_are_told_from_others() -> None:
    places = Places()
    assert places.odds("file:src/new.py") == 0.0
    for number in range(20):
        places.note(f"file:src/{number}.py", true=True)
        places.note(f"file:docs/{number}.md", true=False)
        places.note("file:src/never.py", true=False)
    assert places.odds("file:src/new.py") > 1 > 0 > places.odds("file:docs/new.md")
    assert places.odds("file:src/never.py") < places.odds("file:src/new.py")
    assert places.odds("skill:debugging") == 0.0


def test_places_are_bounded_and_old_ones_fade() -> None:
    places = Places()
    for number in range(KEYS_KEPT + FOLDERS_KEPT + 100):
        places.note(f"file:{number}/x", true=False)
    assert len(places) == KEYS_KEPT + FOLDERS_KEPT
    for _ in range(1_000):
        places.note("file:a/b", true=False)
    for _ in range(200):
        places.note("file:a/b", true=True)
    assert places.odds("file:a/b") > 2


@given(
    st.floats(0, 1),
    st.floats(0, 50),
    st.floats(0, 100),
    st.integers(1, 10_000),
    st.integers(1, 9),
    st.integers(0, 5),
)
def test_the_quick_way_to_weigh_gives_what_the_plain_functions_give(
    stated: float, load_s: float, ahead: float, tokens: int, repeats: int, reads: int
) -> None:
    learning = Learning(Config())
    for number in range(WARM_UP):
        weigh(learning, f"file:{number}")
    learning.ended("s")
    for _ in range(reads):
        learning.began("s", None)
        learning.read("s", "file:x", 1.0)
    moment = learning.moment("s", 2.0, ahead)
    for _ in range(repeats):
        expected = moment.predicted("file:x", 0, GROUP, stated)
    quick = moment.worth(expected, GROUP, stated, tokens, load_s, 1.4)
    odds = logit(learning.calibration.chance(GROUP, stated))
    known = signs(odds, repeats, (log1p(reads), 0.0, learning.places.odds("file:x")), 0.0)
    hidden_s = hidden_part(load_s, learning.lead.mean_s, ahead * load_s)
    chance = learning.models[Why.PREDICTED][0].chance(known)
    plain = weighed(chance, hidden_s, tokens, learning.price.now, 1.4)
    assert quick is not None
    for name in ("chance", "hidden_s", "cost_s", "gain_s", "price"):
        assert getattr(quick, name) == pytest.approx(getattr(plain, name), rel=1e-6, abs=1e-12)


# ---- worth and price -----------------------------------------------------------------------------


@given(st.floats(0, 100), st.floats(0.001, 100), st.floats(0, 100))
def test_no_more_is_hidden_than_the_load_or_the_time_until_its_reader_comes(
    load_s: float, lead_s: float, queue_s: float
) -> None:
    hidden = hidden_part(load_s, lead_s, queue_s)
    assert 0 <= hidden <= min(load_s, lead_s) + 1e-9
    assert hidden_part(load_s, lead_s, queue_s + 1) <= hidden


def test_only_the_expected_waste_is_charged() -> None:
    assert weighed(1.0, 0.4, 10_000, 1e-3, 1.0).cost_s == 0
    worth = weighed(0.25, 0.4, 1_000, 1e-4, factor=2.0)
    assert worth.gain_s == pytest.approx(0.2)
    assert worth.cost_s == pytest.approx(0.075)
    assert worth.net_s == pytest.approx(0.125)
    assert "0.25" in worth.words()


def test_the_price_rises_while_waste_is_above_its_promise_and_comes_down_again() -> None:
    price = Price(dial=0.5, promise=0.5)
    for number in range(500):
        price.settle(1_000, wasted=number % 10 < 8)
    raised = price.now
    assert raised > price_at(0.5)
    for _ in range(2_000):
        price.settle(1_000, wasted=False)
    assert price.now == pytest.approx(price_at(0.5))
    assert price.kept


def test_a_promise_that_cannot_be_kept_is_said_to_be_broken_and_the_price_stays_bounded() -> None:
    price = Price(dial=0.5, promise=0.1)
    for _ in range(5_000):
        price.settle(1_000, wasted=True)
    assert price.now == pytest.approx(HIGHEST)
    assert not price.kept
    assert price.share == pytest.approx(1.0)


def test_the_nearer_a_promise_is_to_be_kept_the_dearer_may_a_token_become() -> None:
    bounds = []
    for wasted in (48, 52, 54, 60, 90):  # of a hundred; the promise is 50
        price = Price(dial=0.5, promise=0.5)
        for number in range(20_000):
            price.settle(200, wasted=number * wasted // 100 != (number + 1) * wasted // 100)
        bounds.append(price.now)
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] == pytest.approx(UTMOST)
    assert bounds[1] > bounds[2] > bounds[3] == pytest.approx(HIGHEST)
    assert bounds[4] == bounds[3]


def test_above_its_promise_only_likely_reads_are_worth_it_whatever_they_hide() -> None:
    price = Price(dial=1.0, promise=0.5)
    assert price.least_chance == 0
    for number in range(1_000):
        price.settle(1_000, wasted=number % 10 < 8)
    assert price.least_chance == pytest.approx(STRICTNESS * 0.5)
    assert not price.kept
    strict = Price(dial=1.0, promise=0.1)
    for _ in range(1_000):
        strict.settle(1_000, wasted=True)
    assert strict.least_chance > price.least_chance
    assert Price(dial=1.0, promise=1.0, ended=1e6, wasted=1e6).least_chance == 0


@pytest.mark.parametrize(("promise", "stops"), [(0.5, True), (1.0, False)])
def test_long_loads_of_short_contents_stop_where_most_are_wasted(
    promise: float, stops: bool
) -> None:
    learning = Learning(Config(speculation=Speculation(waste_budget=promise)))
    drawn = random.Random(5)
    loaded = [0, 0]
    for number in range(2_000):
        session, key = f"s{number // 20}", f"file:{number}"
        moment = learning.moment(session, 1.0)
        expected = moment.predicted(key, 0, GROUP, 0.6)
        worth = moment.worth(expected, GROUP, 0.6, 200, 2.0, 1.0)
        if worth is None or worth.net_s > 0:
            loaded[number >= 1_000] += 1
            learning.loaded(session, key, GROUP, 200)
        if drawn.random() < 0.2:
            learning.read(session, key, 2.0)
        if number % 20 == 19:
            learning.ended(session)
    assert loaded[0] > 100
    assert loaded[1] == 0 if stops else loaded[1] > 900


def test_a_thrifty_dial_is_dearer_than_an_eager_one() -> None:
    assert price_at(0.0) > price_at(0.5) > price_at(1.0)


# ---- familiar keys -------------------------------------------------------------------------------


def test_what_most_sessions_of_a_project_read_is_familiar_there_and_nowhere_else() -> None:
    familiar = Familiar()
    for number in range(10):
        familiar.note("p", ["file:always", *(["file:often"] if number % 2 else [])])
    assert [key for key, _ in familiar.most("p", 5)] == ["file:always", "file:often"]
    assert familiar.log_odds("p", "file:always") > familiar.log_odds("p", "file:often") > -1
    assert familiar.most("q", 5) == []
    assert familiar.log_odds("q", "file:always") == FIRST_SESSIONS
    assert familiar.log_odds(None, "file:always") == FIRST_SESSIONS


def test_familiar_keys_and_projects_are_bounded_and_old_habits_fade() -> None:
    familiar = Familiar()
    for number in range(300):
        familiar.note(f"p{number}", ["file:x"])
        familiar.note("p", [f"file:{number}-{n}" for n in range(50)])
    plain = familiar.plain()
    assert len(plain) <= 201
    assert all(len(of["readers"]) <= 1_050 for of in plain.values())  # type: ignore[arg-type]  # plain data


# ---- all of it -----------------------------------------------------------------------------------


def weigh(learning: Learning, stored: str, stated: float = 0.8, tokens: int = 1_000, now=0.0):  # type: ignore[no-untyped-def]  # a test's shorthand
    moment = learning.moment("s", now)
    expected = moment.predicted(stored, 0, GROUP, stated)
    return moment.worth(expected, GROUP, stated, tokens, load_s=0.5, factor=1.0)


def test_thresholds_decide_until_enough_outcomes_of_the_source_are_known() -> None:
    learning = Learning(Config())
    for number in range(WARM_UP):
        assert weigh(learning, f"file:{number}") is None
        learning.read("s", f"file:{number}", 1.0)
    worth = weigh(learning, "file:next")
    assert worth is not None
    assert worth.chance > 0.8
    assert learning.experienced


def test_what_is_predicted_in_vain_is_soon_worth_nothing() -> None:
    learning = Learning(Config())
    learning.began("s", "p")
    for number in range(60):
        weigh(learning, f"file:{number}")
    learning.ended("s")
    worth = weigh(learning, "file:again")
    assert worth is not None
    assert worth.chance < 0.15
    assert worth.net_s < 0.5 * 0.15


def test_it_recovers_although_nothing_is_loaded() -> None:
    learning = Learning(Config())
    for number in range(200):
        weigh(learning, f"file:{number}")
    learning.ended("s")
    for number in range(50):
        weigh(learning, f"file:good{number}")
        learning.read("s", f"file:good{number}", 1.0)
    worth = weigh(learning, "file:next")
    assert worth is not None
    assert worth.net_s > 0


def test_a_change_ends_what_was_expected_and_is_a_sign_of_what_follows() -> None:
    learning = Learning(Config())
    weigh(learning, "file:a")
    learning.read("s", "file:a", 1.0)
    weigh(learning, "file:b")
    learning.changed("file:*")
    outcomes = learning.models[Why.PREDICTED][0].outcomes
    learning.changed("file:a")
    assert learning.models[Why.PREDICTED][0].outcomes == outcomes == 2


def test_waste_is_settled_once_whichever_way_it_ends() -> None:
    learning = Learning(Config(speculation=Speculation(waste_budget=0.3)))
    learning.began("s", None)
    learning.loaded("s", "file:a", GROUP, 30_000)
    learning.read("s", "file:a", 1.0)
    learning.left("file:a")
    assert (learning.price.wasted, learning.price.ended) == (0, 30_000)
    learning.loaded("s", "file:b", GROUP, 10_000)
    learning.left("file:b")
    learning.left("file:b")
    learning.loaded("s", "file:c", GROUP, 10_000)
    learning.ended("s")
    learning.ended("s")
    assert learning.price.wasted == pytest.approx(20_000, rel=0.1)
    assert learning.sessions == 0


def test_what_a_long_session_was_expected_to_read_is_in_vain_once_it_is_gone_from_the_cache() -> (
    None
):
    learning = Learning(Config())
    for number in range(60):
        weigh(learning, f"file:{number}")
    rules = Config().cache
    weigh(learning, "file:late", now=rules.warm_ttl_s + rules.cold_ttl_s)
    assert not learning.models[Why.PREDICTED]
    worth = weigh(learning, "file:later", now=rules.warm_ttl_s + rules.cold_ttl_s + 1)
    assert learning.models[Why.PREDICTED][0].outcomes == 60
    assert worth is not None
    assert worth.chance < 0.15


def test_a_change_concerns_those_sessions_alone_that_know_the_key() -> None:
    holders = Holders()
    first, second = SessionExpectations(holders), SessionExpectations(holders)
    first.expect("file:a", 0, 0.0)
    second.note_read("file:a")
    second.note_read("mail:inbox\x00anna")
    assert holders.of("file:a") == [first, second]
    assert holders.of("file:b") == []
    assert holders.of("mail:inbox") == [second]
    assert first.note_change("file:a") is not None
    assert holders.of("file:a") == [second]
    second.close()
    first.close()
    assert len(holders) == 0


def test_the_price_rises_for_a_session_whose_budget_would_not_last() -> None:
    assert pressed(left=10_000, a_plan=1_000) == 1.0
    assert pressed(left=5_000, a_plan=1_000) == 2.0
    assert pressed(left=0, a_plan=1_000) == MOST_PRESSED
    learning = Learning(Config())
    for number in range(WARM_UP):
        weigh(learning, f"file:{number}")
        learning.read("s", f"file:{number}", 1.0)
    learning.planned("s", 4_000)
    learning.planned("s", 4_000)
    prices = []
    for session, left in (("s", None), ("s", 50_000), ("s", 10_000), ("other", 10_000)):
        moment = learning.moment(session, 2.0, left=left)
        worth = moment.worth(
            moment.predicted("file:x", 0, GROUP, 0.8), GROUP, 0.8, 1_000, load_s=0.5, factor=1.0
        )
        assert worth is not None
        prices.append(worth.price / learning.price.now)
    assert prices == pytest.approx([1, 1, 4, 1])


def test_what_another_session_reads_was_not_loaded_in_vain() -> None:
    learning = Learning(Config())
    learning.began("s", None)
    learning.began("other", None)
    learning.loaded("s", "file:a", GROUP, 1_000)
    learning.read("other", "file:a", 1.0)
    learning.loaded("s", "file:b", GROUP, 1_000)
    learning.loaded("other", "file:b", GROUP, 1_000)
    learning.ended("s")
    learning.read("other", "file:b", 2.0)
    learning.ended("other")
    assert learning.price.wasted == pytest.approx(1_000, rel=0.1)
    assert learning.price.ended == pytest.approx(3_000, rel=0.1)
