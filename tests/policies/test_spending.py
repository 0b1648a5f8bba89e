"""Spending in step with what the specification's thresholds would spend, and the sizes of waste."""

import random
from itertools import pairwise
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.config import Config, Speculation
from prefetch_scheduler.policies.expectations import Expectation
from prefetch_scheduler.policies.learning import Learning
from prefetch_scheduler.policies.planning import Merged
from prefetch_scheduler.policies.prediction import Terms
from prefetch_scheduler.policies.price import MOST_EAGER, THRIFTIEST, price_at
from prefetch_scheduler.policies.spending import EASE_TOKENS, LEAST, MOST, Spending
from prefetch_scheduler.policies.thresholds import Thresholds
from prefetch_scheduler.policies.vocabulary import Role
from prefetch_scheduler.policies.waste_size import FIGURES, WasteSize
from prefetch_scheduler.policies.weighing import WARM_UP

GROUP = (0, "related_file")


# ---- spending ------------------------------------------------------------------------------------


@pytest.mark.parametrize("promise", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_spending_settles_at_its_promise_whatever_a_token_is_worth_here(
    promise: float, scale: float
) -> None:
    spending, drawn = Spending(promise), random.Random(1)
    spent = 0.0
    for number in range(6_000):
        spending.would_load(1_000)
        for _ in range(4):  # four loads for each one that the thresholds would start
            worth = scale * 3e-5 * exp(drawn.gauss(0, 1))
            if worth > spending.now:
                spending.spend(1_000)
                spent += 1_000 * (number >= 3_000)
    assert spent / 3e6 == pytest.approx(promise, rel=0.05)
    assert spending.share == pytest.approx(promise, rel=0.1)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4_000_000_000)), max_size=50))
def test_the_price_of_spending_stays_within_its_bounds(steps: list[tuple[bool, int]]) -> None:
    spending = Spending(0.5)
    for ours, tokens in steps:
        (spending.spend if ours else spending.would_load)(tokens)
        assert LEAST <= spending.now <= MOST


def test_what_is_spent_makes_a_token_dearer_at_once_and_what_might_have_been_cheaper() -> None:
    spending = Spending(1.0)
    first = spending.now
    assert spending.share is None
    spending.spend(int(EASE_TOKENS))
    assert spending.now == pytest.approx(8 * first, rel=1e-6)
    for _ in range(30):
        spending.would_load(1_000)
    assert spending.now < first
    assert spending.share == pytest.approx(1 / 3, rel=0.05)


# ---- the yardstick -------------------------------------------------------------------------------


def counted(items: list[Merged], terms: Terms | None = None, config: Config | None = None) -> float:
    spending = Spending(1.0)
    rules = Thresholds.of(spending, terms or Terms(), config or Config())
    for item in items:
        tokens = item.tokens or 1_000
        rules.count(item, Expectation(0, 0.0), tokens, recent=False, frequent=False)
    return spending.threshold


def test_what_the_thresholds_would_load_is_likely_urgent_and_within_the_budgets_that_ship() -> None:
    likely = [Merged(f"file:{n}", Role.MAIN_FILE, 0.8, 3_000) for n in range(5)]
    assert counted(likely[:2]) == pytest.approx(6_000, rel=0.01)
    assert counted(likely) == pytest.approx(9_000, rel=0.01)
    assert counted(likely, config=Config(max_prefetch_tokens=50_000)) == counted(likely)
    assert counted(likely, Terms(token_budget=4_000)) == pytest.approx(3_000)
    assert counted([Merged("file:a", Role.MAIN_FILE, 0.45)]) == 0
    assert counted([Merged("file:a", Role.LARGE_REFERENCE, 0.8)]) == 0
    background = [Merged(f"file:{n}", Role.DOCUMENTATION, 0.8, 3_000) for n in range(2)]
    assert counted(background) == pytest.approx(3_000)


def test_a_key_is_counted_once_for_as_long_as_it_is_expected() -> None:
    spending, expected = Spending(1.0), Expectation(0, 0.0)
    item = Merged("file:a", Role.MAIN_FILE, 0.8)
    for _ in range(3):
        rules = Thresholds.of(spending, Terms(), Config())
        rules.count(item, expected, 1_000, recent=False, frequent=False)
    assert spending.threshold == 1_000


# ---- how items are weighed by it -----------------------------------------------------------------


def weigh(learning: Learning, stored: str, tokens: int = 1_000):  # type: ignore[no-untyped-def]  # a test's shorthand
    moment = learning.moment("s", 0.0)
    expected = moment.predicted(stored, 0, GROUP, 0.8)
    return moment.worth(expected, GROUP, 0.8, tokens, load_s=0.5, factor=1.0)


def test_where_spending_is_limited_all_that_is_loaded_is_charged_and_not_waste_alone() -> None:
    learning = Learning(Config(speculation=Speculation(spend_budget=1.0)))
    free = Learning(Config())
    for number in range(WARM_UP):
        for one in (learning, free):
            weigh(one, f"file:{number}")
            one.read("s", f"file:{number}", 1.0)
    assert learning.spending is not None
    ours, theirs = weigh(learning, "file:next"), weigh(free, "file:next")
    assert ours.chance == theirs.chance
    charged = (1 - ours.chance) * 1_000 * free.price.now + 1_000 * learning.spending.now
    assert ours.cost_s == pytest.approx(charged)
    learning.loaded("s", "file:next", GROUP, 200_000)
    assert weigh(learning, "file:other").net_s < 0 < theirs.net_s
    assert learning.figures().spend_promised == 1.0
    assert free.figures().spend_promised is None


def test_before_anything_is_known_a_thrifty_dial_holds_back_what_the_thresholds_would_load() -> (
    None
):
    usual = Learning(Config())
    assert weigh(usual, "file:a", tokens=10_000) is None
    assert usual.moment("s", 0.0).unasked("file:b", 0, 10_000, 0.5, 1.0) is None
    for dial in (0.0, 0.05):
        thrifty = Learning(Config(speculation=Speculation(dial=dial)))
        assert weigh(thrifty, "file:a", tokens=10_000).net_s < 0
        assert thrifty.moment("s", 0.0).unasked("file:b", 0, 10_000, 0.5, 1.0).net_s < 0  # type: ignore[union-attr]  # None fails
    assert weigh(thrifty, "file:c", tokens=10) is None  # the thresholds decide


def test_from_the_thriftiest_dial_to_the_most_eager_the_price_falls_without_a_gap() -> None:
    dials = [n / 1_000 for n in range(1_001)]
    prices = [price_at(dial) for dial in dials]
    assert prices == sorted(prices, reverse=True)
    assert (prices[0], prices[-1]) == (THRIFTIEST, MOST_EAGER)
    assert all(b > 0.85 * a for a, b in pairwise(prices[10:]))
    assert price_at(1e-9) == THRIFTIEST


# ---- sizes of waste ------------------------------------------------------------------------------


def charged(law: WasteSize, expected: float) -> float:
    return law.level * expected**law.power


def test_known_sizes_are_charged_as_they_are() -> None:
    law, drawn = WasteSize(), random.Random(1)
    assert charged(law, 700) == 700
    law.add(10, 10_000_000)  # one that was far off says little
    assert charged(law, 700) < 20_000
    law = WasteSize()
    for _ in range(500):
        size = exp(drawn.gauss(7, 1.5))
        law.add(size, size)
    for size in (10, 1_000, 50_000):
        assert charged(law, size) == pytest.approx(size, rel=0.02)


def test_of_sizes_that_are_mere_guesses_the_mean_is_charged() -> None:
    law, drawn = WasteSize(), random.Random(1)
    for _ in range(2_000):
        law.add(exp(drawn.gauss(7, 1.5)), exp(drawn.gauss(7, 1.0)))
    mean = exp(7 + 0.5)
    for size in (100, 1_000, 10_000):
        assert charged(law, size) == pytest.approx(mean, rel=0.35)


def test_what_is_charged_comes_to_what_was_wasted() -> None:
    law, drawn = WasteSize(), random.Random(2)
    given_, came = 0.0, 0.0
    for number in range(4_000):
        expected = exp(drawn.gauss(6, 1.2))
        actual = expected**0.5 * exp(drawn.gauss(3.5, 0.8))
        if number >= 500:
            given_, came = given_ + charged(law, expected), came + actual
        law.add(expected, actual)
    assert given_ == pytest.approx(came, rel=0.1)


@given(
    st.lists(st.tuples(st.integers(0, 4_000_000_000), st.integers(0, 4_000_000_000)), max_size=20)
)
def test_whatever_sizes_come_the_law_stays_sound_and_comes_back_from_plain_data(
    sizes: list[tuple[int, int]],
) -> None:
    law = WasteSize()
    for expected, actual in sizes:
        law.add(expected, actual)
        assert 0 <= law.power <= 1
        assert 0 <= charged(law, 1_000) < 1e14
    again = WasteSize.from_plain(law.plain())
    assert (again.power, again.level) == (law.power, law.level)
    assert again.plain() == law.plain()


@pytest.mark.parametrize(
    "plain",
    [
        [1.0, 99.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        [1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0],
        [1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 1.0],
        [9_999.0, *[1.0] * 6],
    ],
)
def test_figures_that_do_not_fit_together_are_refused(plain: list[float]) -> None:
    assert len(plain) == FIGURES
    with pytest.raises(ValueError, match="sizes of waste"):
        WasteSize.from_plain(plain)
