"""The benchmark of net value: what it simulates and how it judges, on a few sessions."""

import pytest

from benchmarks import net_value_frontier, net_value_learning
from benchmarks.net_value_runs import DATA, Case, figures, roomy, step_by_step, wasted_by_window
from prefetch_scheduler.policies.config import Config

FEW = Case((DATA / "skills.jsonl.gz",), most=6)


def test_an_eager_setting_prefetches_more_and_hides_no_less_than_a_thrifty_one() -> None:
    thrifty, eager = (figures(FEW, config=roomy(dial)) for dial in (0.0, 1.0))
    assert thrifty["tokens_prefetched"] < eager["tokens_prefetched"]
    assert thrifty["hidden_fraction"] <= eager["hidden_fraction"]
    points = {0.0: thrifty, 1.0: eager}
    assert net_value_frontier.within_tokens(points, eager["tokens_prefetched"]) == 1.0
    assert net_value_frontier.hiding(points, 0.0) == 0.0
    assert net_value_frontier.within_tokens(points, -1) == 0.0
    assert net_value_frontier.hiding(points, 2.0) == 1.0


def point(tokens: int, hidden: float) -> dict[str, float]:
    return {"tokens_prefetched": tokens, "hidden_fraction": hidden}


def test_a_setting_is_found_by_halving_the_range_in_which_it_lies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def simulated(_: Case, config: Config) -> dict[str, float]:
        at = config.speculation.spend_budget
        return point(round(1000 * at), at)

    monkeypatch.setattr(net_value_frontier, "figures", simulated)
    points = {at: point(round(1000 * at), at) for at in (0.5, 2.0)}
    net_value_frontier.halved(FEW, points, lambda p: p["tokens_prefetched"] > 1000)
    assert 0.95 < net_value_frontier.within_tokens(points, 1000) <= 1.0
    assert len(points) == 2 + net_value_frontier.HALVINGS
    dear = {1.0: point(1000, 0.5)}
    net_value_frontier.halved(FEW, dear, lambda p: p["tokens_prefetched"] > 300)
    assert 0.25 < net_value_frontier.within_tokens(dear, 300) <= 0.3
    net_value_frontier.halved(FEW, cheap := {1.0: point(9, 0.1)}, lambda _: False)
    assert len(cheap) == 1


def test_what_the_frontier_hides_is_read_off_between_its_points_from_nothing_on() -> None:
    points = {0.0: point(0, 0.0), 0.5: point(100, 0.2), 1.0: point(200, 0.3)}
    for tokens, hidden in ((50, 0.1), (100, 0.2), (150, 0.25), (900, 0.3)):
        assert net_value_frontier.interpolated(points, tokens) == pytest.approx(hidden)


def test_the_whole_frontier_of_a_few_sessions_asks_for_what_the_points_ask() -> None:
    details: dict[str, dict[str, object]] = {}
    case = Case((DATA / "skills.jsonl.gz",), most=2)
    rows = {row.name: row for row in net_value_frontier.frontier({"few": case}, {"few"}, details)}
    asked = {name.partition(",")[0] + name.rpartition(":")[2]: row for name, row in rows.items()}
    assert asked["1 few hidden by specification's"].goal == 1.2
    assert asked["2 few tokens by everything's"].goal == 0.8
    thrifty = rows["2 few, thrifty end, dial 0: tokens by specification's"]
    assert (thrifty.value, thrifty.goal) == (0.0, 0.02)
    assert {"default", "dial 0", "dial 1", "spend_budget 1", "specification"} <= set(details["few"])


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
    assert (
        net_value_learning.learned(0.9, 0.9, seed=1)
        > 0.75
        > 0.45
        > net_value_learning.learned(0.3, 0.9, seed=1)
    )
    assert 0 < net_value_learning.recovery() <= 50


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
