"""The simulator: figures that can be worked out by hand, and what no policy may do."""

import random

import pytest
from attrs import evolve

from prefetch_scheduler.engine.recording_events import (
    AccessEvent,
    ChangeEvent,
    ContextEvent,
    EndEvent,
    PredictEvent,
    RecordedSession,
    SessionEvent,
)
from prefetch_scheduler.engine.simulation.engine_host import EngineHost, source_table
from prefetch_scheduler.engine.simulation.figures import Waits, with_hidden
from prefetch_scheduler.engine.simulation.host import run_session
from prefetch_scheduler.engine.simulation.loads import (
    LONGEST_S,
    SHORTEST_S,
    AsRecorded,
    Lognormal,
    load_law,
)
from prefetch_scheduler.engine.simulation.predictions import Predictor, Quality, predictor
from prefetch_scheduler.engine.simulation.simulation import POLICIES, PolicyRun, Setting, simulate
from prefetch_scheduler.engine.simulation.trace import ReadKind, Trace
from prefetch_scheduler.policies.config import CacheRules, Config
from prefetch_scheduler.policies.prediction import Constraints, Prediction

KINDS = ("file", "search")
ONLINE = tuple(name for name in POLICIES if name not in ("reachable", "oracle"))


def session(*events, name="s", project="p", end=None):
    last = end if end is not None else (events[-1].t if events else 0.0) + 1.0
    whole = (SessionEvent(0.0, name, project), *events, EndEvent(last))
    return RecordedSession(name, project, whole)


def item(key, role="main_file", confidence=0.85, tokens=None):
    return Prediction(key, role, confidence, tokens=tokens)


def run(policy, *sessions, **setting):
    play = PolicyRun.of(policy, Setting(**setting), KINDS)
    traces = [play.run(each) for each in sessions]
    return traces[-1] if len(sessions) == 1 else traces


def figures(policy, *sessions, **setting):
    results = simulate(sessions, ("none", policy), Setting(**setting), KINDS)
    return with_hidden(results[policy]["figures"], results["none"]["figures"]["wait_s"])


TWO_READS = session(
    PredictEvent(0.0, (item("file:a"), item("file:b"))),
    AccessEvent(0.4, "file:a", 1.0, 100),
    AccessEvent(2.0, "file:b", 0.5, 50),
    AccessEvent(3.0, "file:a", 9.0, 999),
)


def test_without_prefetching_each_first_read_waits_for_its_whole_load():
    trace = run("none", TWO_READS)
    assert [read.wait_s for read in trace.reads] == pytest.approx([1.0, 0.5, 0.0])
    assert [read.start_s for read in trace.reads] == pytest.approx([0.4, 3.0, 4.5])
    assert trace.duration_s == pytest.approx(4.0 + 1.5)


@pytest.mark.parametrize("policy", ["everything", "specification", "default", "reachable"])
def test_what_is_predicted_in_time_is_not_waited_for(policy):
    trace = run(policy, TWO_READS)
    assert [read.kind for read in trace.reads] == [ReadKind.LATE_HIT, ReadKind.HIT, ReadKind.HIT]
    assert [read.wait_s for read in trace.reads] == pytest.approx([0.6, 0.0, 0.0])
    got = figures(policy, TWO_READS)
    assert got["hidden_fraction"] == pytest.approx(1 - 0.6 / 1.5)
    assert (got["prefetches"], got["tokens_prefetched"], got["tokens_wasted"]) == (2, 150, 0)
    assert (got["hit_rate"], got["late_hit_rate"]) == pytest.approx((2 / 3, 1 / 3), abs=1e-6)


def test_a_key_takes_what_its_first_access_recorded_and_an_unread_one_some_access():
    loads = AsRecorded().of(TWO_READS)
    assert (loads.cost("file:a").load_s, loads.cost("file:a").tokens) == (1.0, 100)
    assert (loads.cost("file:z").load_s, loads.cost("file:z").tokens) in {
        (1.0, 100),
        (0.5, 50),
        (9.0, 999),
    }


def test_drawn_load_times_depend_on_key_and_seed_and_have_the_median_asked_for():
    law = Lognormal(0.4, 0.9, seed=1)
    drawn = sorted(law.seconds(f"file:{number}") for number in range(4001))
    assert drawn[2000] == pytest.approx(0.4, rel=0.05)
    assert drawn[0] >= 0.01
    assert drawn[-1] <= 30.0
    assert law.seconds("file:a") == Lognormal(0.4, 0.9, seed=1).seconds("file:a")
    assert law.seconds("file:a") != Lognormal(0.4, 0.9, seed=2).seconds("file:a")
    assert law.of(TWO_READS).cost("file:a").tokens == 100


@pytest.mark.parametrize("text", ["", "lognormal", "lognormal:1", "lognormal:0,1", "lognormal:x,1"])
def test_a_load_law_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=r"neither recorded|median"):
        load_law(text, 0)


@pytest.mark.parametrize("text", ["", "calibrated", "calibrated:1.1", "calibrated:x", "oracle:1"])
def test_predictions_of_an_unknown_quality_are_refused(text):
    with pytest.raises(ValueError, match=r"none of recorded|probability"):
        predictor(text, 0)


@pytest.mark.parametrize("text", ["lognormal:0.4,0.9", "recorded", "lognormal:0.123456789,0.3"])
def test_a_load_law_in_words_is_the_same_law(text):
    assert load_law(str(load_law(text, 3)), 3) == load_law(text, 3)


# ---- changes, waste, contexts --------------------------------------------------------------------

CHANGED = session(
    PredictEvent(0.0, (item("file:a"),)),
    ChangeEvent(5.0, "file:a"),
    AccessEvent(6.0, "file:a", 1.0, 100),
)


@pytest.mark.parametrize("policy", ONLINE[1:])
def test_what_changes_before_it_is_read_is_wasted_and_loaded_again_when_asked_for(policy):
    assert [read.wait_s for read in run(policy, CHANGED).reads] == pytest.approx([1.0])
    assert figures(policy, CHANGED)["tokens_wasted"] == 100


def test_foresight_does_not_load_what_will_be_stale():
    trace = run("reachable", CHANGED)
    assert [(load.start_s, load.prefetch) for load in trace.loads.values()] == [(5.0, True)]
    assert trace.reads[0].kind is ReadKind.HIT


def test_only_the_default_policy_reloads_what_was_read_and_changed():
    again = session(
        AccessEvent(1.0, "file:a", 1.0, 100),
        ChangeEvent(5.0, "file:a"),
        AccessEvent(9.0, "file:a", 1.0, 100),
    )
    waits = {name: run(name, again).reads[1].wait_s for name in ONLINE}
    assert waits == pytest.approx(
        {"none": 1.0, "everything": 1.0, "specification": 1.0, "default": 0.0}
    )


def test_a_load_that_a_change_overtakes_is_given_up_by_the_plain_policies():
    overtaken = session(
        PredictEvent(0.0, (item("file:a"),)),
        ChangeEvent(0.5, "file:a"),
        AccessEvent(0.6, "file:a", 1.0, 100),
    )
    trace = run("everything", overtaken)
    assert [load.cancelled for load in trace.loads.values()] == [True, False]
    assert trace.reads[0].wait_s == pytest.approx(1.0)
    assert figures("everything", overtaken)["wasted_fraction"] == 1.0


def test_new_predictions_replace_what_is_queued_but_not_what_runs():
    first = tuple(item(f"file:{n}") for n in range(10))
    replaced = session(
        PredictEvent(0.0, first),
        PredictEvent(0.5, (item("file:new"),)),
        AccessEvent(9.0, "file:new", 1.0, 1),
        end=10.0,
    )
    trace = run("everything", replaced)
    began = [load.key for load in trace.loads.values()]
    assert began == [*(f"file:{n}" for n in range(8)), "file:new"]


def test_each_session_starts_with_an_empty_cache_but_the_planner_has_learned():
    warm = session(AccessEvent(1.0, "file:a.py", 1.0, 777), name="first")
    cold = session(
        PredictEvent(0.0, (item("file:b.py"),), Constraints(token_budget=700)),
        AccessEvent(2.0, "file:b.py", 1.0, 5),
        AccessEvent(3.0, "file:a.py", 1.0, 777),
        name="second",
        project="another",
    )
    _, second = run("specification", warm, cold)
    # It takes files like the one seen to be too large for this budget now, and read nothing yet.
    assert [load.prefetch for load in second.loads.values() if load.key == "file:b.py"] == [False]
    assert second.reads[-1].kind is not ReadKind.HIT
    assert run("specification", cold).reads[0].kind is ReadKind.MISS  # 1000 tokens unless known


def test_a_context_change_cancels_what_the_next_prediction_does_not_repeat():
    turned = session(
        ContextEvent(0.0, "one"),
        PredictEvent(0.0, (item("file:a"),)),
        ContextEvent(0.2, "two"),
        PredictEvent(0.2, (item("file:b"),)),
        AccessEvent(3.0, "file:b", 1.0, 10),
        AccessEvent(4.0, "file:a", 2.0, 10),
    )
    trace = run("specification", turned)
    ended = {load.key: load.cancelled for load in trace.loads.values() if load.prefetch}
    assert ended == {"file:a": True, "file:b": False}


def test_what_a_project_used_most_is_there_when_its_next_session_starts():
    """Decision D33: habits are learned statistics too."""
    first = session(AccessEvent(1.0, "file:a.py", 1.0, 777), name="first")
    second = session(AccessEvent(5.0, "file:a.py", 1.0, 777), name="second")
    assert run("specification", first, second)[1].reads[0].kind is ReadKind.HIT


# ---- predictions of another quality --------------------------------------------------------------


def named(recorded, quality, **more):
    anew = Predictor(quality, **more).applied(recorded)
    return [event.items for event in anew.events if isinstance(event, PredictEvent)]


def test_oracle_predictions_name_the_next_keys_with_their_sizes():
    ((first, second),) = named(TWO_READS, Quality.ORACLE)
    assert (first.key, first.confidence, first.tokens) == ("file:a", 1.0, 100)
    assert (second.key, second.tokens) == ("file:b", 50)


def test_adversarial_predictions_are_never_read_and_keep_all_else():
    ((first, second),) = named(TWO_READS, Quality.ADVERSARIAL)
    assert {first.key, second.key}.isdisjoint({"file:a", "file:b"})
    assert first.key != second.key
    assert (first.role, first.confidence) == ("main_file", 0.85)
    for policy in ONLINE[1:]:
        got = figures(policy, evolve(TWO_READS), predictor=Predictor(Quality.ADVERSARIAL))
        assert got["hidden_fraction"] == 0.0
        assert got["wasted_fraction"] == 1.0


def test_calibrated_predictions_are_right_as_often_as_they_say():
    reads = tuple(AccessEvent(float(n), f"file:{n}", 0.1, 10) for n in range(2000))
    asked = PredictEvent(0.0, tuple(item(f"file:x{n}") for n in range(1000)))
    ((*items,),) = named(session(asked, *reads), Quality.CALIBRATED, probability=0.7, seed=5)
    right = sum(1 for each in items if not each.key.startswith("file:never-read/"))
    assert right / 1000 == pytest.approx(0.7, abs=0.05)
    assert len({each.key for each in items}) == 1000
    assert {each.tokens for each in items} == {None}


# ---- random sessions -----------------------------------------------------------------------------


def random_session(number):
    chance = random.Random(number)
    events, t = [], 0.0
    keys = [f"file:{n}.py" for n in range(12)]
    for _ in range(60):
        t += chance.choice((0.0, 0.05, 0.4, 3.0, 40.0))
        match chance.choice("aaapppcx"):
            case "a":
                load_s = round(chance.lognormvariate(-1, 1), 3)
                events.append(AccessEvent(t, chance.choice(keys), load_s, chance.randint(1, 4000)))
            case "p":
                roles = ("main_file", "related_file", "documentation")
                some = chance.sample([*keys, "file:never.py"], chance.randint(1, 6))
                items = [item(k, chance.choice(roles), chance.choice((0.4, 0.85))) for k in some]
                events.append(PredictEvent(t, tuple(items)))
            case "c":
                events.append(ChangeEvent(t, chance.choice(keys)))
            case _:
                events.append(ContextEvent(t, f"turn {t}"))
    return session(*events, name=f"random {number}")


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("policy", ONLINE)
def test_later_events_change_no_earlier_decision(policy, number):
    """What a policy does before the agent's next event must not depend on that event."""
    whole = random_session(number)
    full, cut = run(policy, whole), len(whole.events) * 2 // 3
    horizon = cut_time(full, whole, cut)
    other = random_session(number + 1000).events[cut:-1]
    shifted = tuple(evolve(event, t=event.t + whole.events[cut].t + 1.0) for event in other)
    altered = evolve(
        whole, events=(*whole.events[:cut], *shifted, EndEvent(whole.events[-1].t + 1e6))
    )
    costs = Fixed(whole)
    kept, changed = (traced(policy, each, costs) for each in (whole, altered))
    assert list(kept.decisions(horizon)) == list(changed.decisions(horizon))
    assert list(kept.decisions(horizon))


def cut_time(trace, whole, cut):
    """When the event before the cut has been applied, in the session's own time."""
    reads = sum(isinstance(event, AccessEvent) for event in whole.events[:cut])
    waited = sum(read.wait_s for read in trace.reads[:reads])
    return whole.events[cut - 1].t + waited


class Fixed:
    """Loads that are the same whatever the session holds."""

    def __init__(self, whole):
        self._loads = AsRecorded().of(whole)

    def cost(self, key):
        return self._loads.cost(key)


def traced(policy, recorded, costs):
    host = POLICIES[policy](Config(), source_table(KINDS))
    return run_session(host, recorded, costs)


@pytest.mark.parametrize("number", range(8))
def test_knowing_the_future_hides_no_less_and_wastes_nothing(number):
    whole = random_session(number)
    hidden = {name: figures(name, whole)["hidden_fraction"] for name in POLICIES}
    assert hidden["none"] == 0.0
    assert hidden["oracle"] >= hidden["reachable"] - 1e-9
    for name in ("reachable", "oracle"):
        assert figures(name, whole)["tokens_wasted"] == 0


@pytest.mark.parametrize("later", [20.0, 100.0, 400.0, 1000.0])
@pytest.mark.parametrize(("named", "read_before"), [(35, 0), (60, 0), (140, 10), (200, 0)])
@pytest.mark.parametrize("backwards", [False, True])
def test_knowing_the_future_is_a_bound_also_for_what_is_read_long_after_it_was_predicted(
    named, read_before, later, backwards
):
    """More than the share of unread entries: the cache keeps them all the same until it is full."""
    keys = [f"file:{n}" for n in range(named)]
    first = (AccessEvent(0.1 * n, f"file:first{n}", 0.1, 10) for n in range(read_before))
    burst = (
        AccessEvent(later + 0.001 * n, key, 1.0, 10)
        for n, key in enumerate(reversed(keys) if backwards else keys)
    )
    whole = session(*first, PredictEvent(1.0, tuple(item(key) for key in keys)), *burst)
    hidden = {
        name: figures(name, whole)["hidden_fraction"]
        for name in ("everything", "reachable", "oracle")
    }
    assert hidden["oracle"] >= hidden["reachable"] - 1e-9
    assert hidden["reachable"] >= hidden["everything"] - 1e-9


@pytest.mark.parametrize("policy", POLICIES)
def test_every_prefetch_has_ended_once_its_session_has(policy):
    play = PolicyRun.of(policy, Setting(), KINDS)
    for number in range(4):
        trace = play.run(random_session(number))
        assert all(load.finish_s is not None for load in trace.loads.values())
    counts = play.host.counts()
    assert counts.ended == counts.prefetches
    assert counts.reads == play.waits.count
    assert counts.failed == 0


def test_figures_do_not_depend_on_the_other_policies():
    sessions = [random_session(number) for number in range(3)]
    together = simulate(sessions, tuple(POLICIES), Setting(), KINDS)
    for name in POLICIES:
        assert simulate(sessions, (name,), Setting(), KINDS)[name] == together[name]


# ---- figures -------------------------------------------------------------------------------------


def test_percentiles_and_buckets_are_over_all_reads():
    waits = Waits()
    trace = Trace("s")
    for number in range(100):
        trace.read("file:a", 0.0, 0.0 if number < 60 else 0.001 * number, ReadKind.HIT)
    waits.add(trace)
    assert waits.percentiles(0.5, 0.99) == [0.0, 0.098]
    assert waits.histogram()[0] == [0.0, 60]
    assert sum(held for _, held in waits.histogram()) == 100


def test_a_repeated_session_id_is_a_session_of_its_own():
    twice = [TWO_READS, TWO_READS]
    host = EngineHost(Config(), source_table(KINDS))
    for each in twice:
        run_session(host, each, AsRecorded().of(each))
    assert host.counts().prefetches == 4


@pytest.mark.parametrize("policy", ["reachable", "oracle", "everything"])
def test_what_the_cache_does_not_keep_is_not_loaded_ahead_for_ever(policy):
    instant = session(
        PredictEvent(0.0, (item("file:b"), item("file:a"))),
        AccessEvent(1.0, "file:a", 2.0, 10),
        AccessEvent(2.0, "file:b", 0.0, 5000),
    )
    config = Config(cache=CacheRules(max_tokens=3000))
    trace = run(policy, instant, config=config)
    assert [read.key for read in trace.reads] == ["file:a", "file:b"]


@pytest.mark.parametrize("policy", POLICIES)
def test_only_the_differences_of_times_count(policy):
    shifted = evolve(
        TWO_READS, events=tuple(evolve(event, t=event.t + 1.7e9) for event in TWO_READS.events)
    )
    here, there = run(policy, TWO_READS), run(policy, shifted)
    assert [read.wait_s for read in there.reads] == pytest.approx(
        [read.wait_s for read in here.reads], abs=1e-6
    )


@pytest.mark.parametrize("policy", ["reachable", "oracle"])
def test_whoever_knows_the_future_loads_something_into_the_smallest_cache(policy):
    tiny = Config(hot_cache_size=1, warm_cache_size=1, cold_cache_size=1)
    assert run(policy, TWO_READS, config=tiny).reads[0].wait_s < 1.0


def test_times_of_any_spread_are_clipped():
    wide = Lognormal(0.4, 1000.0, 0)
    assert {wide.seconds(f"k:{n}") for n in range(20)} == {SHORTEST_S, LONGEST_S}


@pytest.mark.parametrize("policy", ["default", "specification", "everything"])
def test_a_load_may_take_as_long_as_a_recording_may_say(policy):
    endless = session(
        PredictEvent(0.0, (item("file:a"),)), AccessEvent(1.0, "file:a", 9e11, 10), end=2.0
    )
    assert run(policy, endless).reads[0].wait_s > 8e11
