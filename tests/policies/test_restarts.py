"""Restart arithmetic, told the time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.restarts import RestartHistory, RestartRule

PLAIN = RestartRule(intensity=4, period_s=10.0, base_s=0.1, most_s=0.3, jitter=0.0)


def test_first_restart_of_a_window_is_immediate() -> None:
    assert RestartHistory("planner", PLAIN).failed(5.0) == 0.0


def test_later_restarts_wait_twice_as_long_each_up_to_the_longest_delay() -> None:
    history = RestartHistory("planner", PLAIN)
    assert [history.failed(float(t)) for t in range(4)] == [0.0, 0.1, 0.2, 0.3]


def test_one_failure_more_than_the_intensity_within_the_period_gives_up() -> None:
    history = RestartHistory("planner", PLAIN)
    assert [history.failed(0.0) is None for _ in range(5)] == [False] * 4 + [True]


def test_slow_steady_failures_never_use_up_the_intensity() -> None:
    history = RestartHistory("planner", RestartRule(intensity=1, period_s=10.0))
    assert [history.failed(t * 10.0) for t in range(1000)] == [0.0] * 1000


def test_a_failure_counts_for_exactly_the_period() -> None:
    history = RestartHistory("planner", PLAIN)
    history.failed(0.0)
    assert history.recent(9.999) == 1
    assert history.recent(10.0) == 0


def test_jitter_shortens_the_delay_by_its_share_at_most_and_differs_by_name() -> None:
    rule = RestartRule(intensity=5, base_s=1.0, most_s=1.0, jitter=0.5)
    delays = set()
    for name in ("planner", "cache", "metrics", "p0"):
        history = RestartHistory(name, rule)
        history.failed(0.0)
        delay = history.failed(0.0)
        assert delay is not None
        assert 0.5 < delay <= 1.0
        delays.add(delay)
    assert len(delays) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"intensity": -1},
        {"period_s": 0.0},
        {"base_s": 2.0, "most_s": 1.0},
        {"jitter": 1.0},
        {"period_s": float("nan")},
    ],
)
def test_a_rule_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be|need"):
        RestartRule(**wrong)  # type: ignore[arg-type]  # wrong on purpose


@given(st.lists(st.floats(0.0, 30.0), max_size=40), st.integers(0, 6))
def test_it_gives_up_exactly_when_a_window_holds_more_than_the_intensity(
    gaps: list[float], intensity: int
) -> None:
    history = RestartHistory("x", RestartRule(intensity=intensity, period_s=10.0))
    times: list[float] = []
    now = 0.0
    for gap in gaps:
        now += gap
        times.append(now)
        in_window = sum(1 for t in times if t > now - 10.0)
        assert (history.failed(now) is None) == (in_window > intensity)
