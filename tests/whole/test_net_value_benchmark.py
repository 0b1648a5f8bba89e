"""The benchmark of net value: what it simulates and how it judges, on a few sessions."""

import pytest

from benchmarks import net_value
from benchmarks.net_value_runs import DATA, Case, figures, roomy, step_by_step, wasted_by_window

FEW = Case((DATA / "skills.jsonl.gz",), most=6)


def test_an_eager_setting_prefetches_more_and_hides_no_less_than_a_thrifty_one() -> None:
    thrifty, eager = (figures(FEW, config=roomy(dial)) for dial in (0.0, 1.0))
    assert thrifty["tokens_prefetched"] < eager["tokens_prefetched"]
    assert thrifty["hidden_fraction"] <= eager["hidden_fraction"]
    points = {0.0: thrifty, 1.0: eager}
    most = {"tokens_prefetched": eager["tokens_prefetched"], "hidden_fraction": 0.0}
    assert net_value.thrifty(points, {"specification": most}) == 1.0
    assert net_value.frugal(points, {"everything": most}) == 0.0
    nothing = {"tokens_prefetched": -1, "hidden_fraction": 2.0}
    assert net_value.thrifty(points, {"specification": nothing}) == 0.0
    assert net_value.frugal(points, {"everything": nothing}) == 1.0


def test_windows_are_those_after_the_first_and_a_rest_counts_with_the_last() -> None:
    steps = list(step_by_step(FEW, roomy(1.0)))
    first, last = steps[1].counts, steps[-1].counts
    shares = wasted_by_window(FEW, roomy(1.0), 2)
    assert len(shares) == 2
    (all_after,) = wasted_by_window(FEW, roomy(1.0), 3)
    third = steps[2].counts
    ahead = last.tokens_prefetched - third.tokens_prefetched
    assert all_after == pytest.approx((last.tokens_wasted - third.tokens_wasted) / ahead)
    assert first.tokens_prefetched < last.tokens_prefetched


def test_what_is_learned_and_forgotten_is_measured() -> None:
    assert net_value.learned(0.9, 0.9, seed=1) > 0.75 > 0.45 > net_value.learned(0.3, 0.9, seed=1)
    assert 0 < net_value.recovery() <= 50


def test_bent_confidences_are_what_the_policy_is_told() -> None:
    from attrs import evolve

    case = evolve(FEW, bend=lambda _: 0.5)
    told = {
        item.confidence
        for session in case.sessions()
        for event in session.events
        for item in getattr(event, "items", ())
    }
    assert told == {0.5}
