"""What is lost to strict priority, and what nobody could exceed (decision D12)."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.bound import fractional_bound, greedy_value
from prefetch_scheduler.policies.plan import density

items_ = st.lists(
    st.tuples(st.floats(0, 3, allow_subnormal=False), st.integers(0, 60)), max_size=9
).map(lambda items: sorted(items, key=lambda item: -density(*item)))


def best_value(items: list[tuple[float, int]], budget: int) -> float:
    """The exact optimum, by trying every choice."""
    return max(
        sum(value for value, _ in chosen)
        for count in range(len(items) + 1)
        for chosen in combinations(items, count)
        if sum(tokens for _, tokens in chosen) <= budget
    )


def test_greedy_passes_over_what_does_not_fit() -> None:
    assert greedy_value([(5.0, 5), (6.0, 8), (1.0, 2)], 8) == 6.0


def test_the_bound_takes_part_of_the_item_that_fills_the_budget() -> None:
    assert fractional_bound([(5.0, 5), (6.0, 8), (1.0, 2)], 9) == pytest.approx(5 + 6 * 4 / 8)


def test_what_costs_nothing_is_always_carried() -> None:
    items = [(2.0, 0), (5.0, 5)]
    assert greedy_value(items, 0) == fractional_bound(items, 0) == 2.0


def test_without_candidates_both_are_zero() -> None:
    assert greedy_value([], 100) == fractional_bound([], 100) == 0.0


@given(items=items_, budget=st.integers(0, 200))
def test_the_optimum_lies_between_greedy_and_the_bound(
    items: list[tuple[float, int]], budget: int
) -> None:
    best = best_value(items, budget)
    assert greedy_value(items, budget) <= best + 1e-9
    assert best <= fractional_bound(items, budget) + 1e-9


@given(items=items_, budget=st.integers(0, 200))
def test_greedy_misses_the_bound_by_less_than_one_item(
    items: list[tuple[float, int]], budget: int
) -> None:
    most = max((value for value, _ in items), default=0.0)
    assert fractional_bound(items, budget) <= greedy_value(items, budget) + most + 1e-9
