"""Typical and pessimistic load times: drift, lower bounds, and when to load afresh."""

import random
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.estimates import Estimator
from prefetch_scheduler.policies.quantiles import TRUSTED, Quantiles
from prefetch_scheduler.policies.source_info import SourceInfo

FLOOR = 1e-4
SOURCE = SourceInfo(0, "docs", "url", read_only=True)


def fed(
    drawn: random.Random, median: float, count: int, into: Quantiles | None = None
) -> Quantiles:
    made = into if into is not None else Quantiles(FLOOR)
    for _ in range(count):
        made.add(median * exp(drawn.gauss(0, 0.9)))
    return made


def test_the_quantiles_of_a_log_normal_law_are_found() -> None:
    medians, slow = [], []
    for seed in range(20):
        known = fed(random.Random(seed), 0.4, 1_000)
        medians.append(known.median or 0)
        slow.append(known.pessimistic or 0)
    assert sum(medians) / 20 == pytest.approx(0.4, rel=0.15)
    assert sum(slow) / 20 == pytest.approx(0.4 * exp(0.9 * 1.2816), rel=0.15)


def test_they_follow_a_source_that_became_faster() -> None:
    drawn = random.Random(1)
    known = fed(drawn, 0.4, 1_000)
    fed(drawn, 0.04, 200, known)
    assert known.median == pytest.approx(0.04, rel=0.5)


def test_a_load_that_was_cancelled_is_a_lower_bound_and_no_sample() -> None:
    drawn = random.Random(2)
    bounded, sampled = Quantiles(FLOOR), Quantiles(FLOOR)
    for _ in range(1_000):
        took = 0.4 * exp(drawn.gauss(0, 0.9))
        sampled.add(min(took, 0.5))
        if took > 0.5:
            bounded.at_least(0.5)
        else:
            bounded.add(took)
    assert bounded.median == pytest.approx(0.4, rel=0.2)
    assert (bounded.pessimistic or 0) >= 0.5
    before = bounded.median
    for _ in range(100):
        bounded.at_least(0.01)
    assert bounded.median == before  # it says nothing


def test_what_has_gone_on_for_far_too_long_is_loaded_afresh_and_nothing_before_that() -> None:
    files = fed(random.Random(3), 0.002, 500)
    assert not files.overdue(0.0)
    assert not files.overdue(0.004)
    assert files.overdue(2.0)
    assert not fed(random.Random(3), 0.002, TRUSTED - 1).overdue(2.0)


@given(st.lists(st.floats(0, 1e5), max_size=60), st.floats(0, 1e5))
def test_any_samples_give_ordered_finite_figures(samples: list[float], elapsed: float) -> None:
    known = Quantiles(FLOOR)
    for sample in samples:
        known.add(sample)
        known.at_least(sample / 2)
    if samples:
        assert 0 <= (known.median or 0) <= (known.pessimistic or 0) < float("inf")
    assert known.left_after(elapsed) >= 0
    again = Quantiles.from_plain(FLOOR, known.plain())
    assert again.plain() == known.plain()


def test_a_source_has_times_and_sizes_of_its_own() -> None:
    estimator = Estimator()
    for number in range(TRUSTED):
        estimator.observe(SOURCE, f"{number}.md", estimated_tokens=None, tokens=900, load_s=0.01)
    assert estimator.sizes[0].median == pytest.approx(900, rel=0.1)
    assert estimator.overdue(0, 5.0)
    assert not estimator.overdue(1, 5.0)
    estimator.given_up(1, 3.0)  # of a source of which nothing is known: says nothing yet
    assert 1 not in estimator.times
    before = estimator.times[0].pessimistic
    estimator.given_up(0, 3.0)
    assert (estimator.times[0].pessimistic or 0) > (before or 0)
