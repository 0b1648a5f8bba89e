"""What is loaded ahead, when and in which order: all machines together in virtual time."""

import pytest

from prefetch_scheduler.policies.config import Config, Execution
from prefetch_scheduler.policies.planner_events import (
    CancelKey,
    CancelPlan,
    ContextChanged,
    Demand,
    HostBusy,
    HostIdle,
    SessionEnded,
    SessionStarted,
)
from prefetch_scheduler.policies.prediction import FollowUp, Terms
from prefetch_scheduler.policies.source_info import SourceInfo, Survey
from prefetch_scheduler.policies.vocabulary import Lane, Mode, Pool, Priority, Reason, Relation
from support.virtual import HANG, Load, Outcome, World, p


def lanes(handle) -> dict[str, tuple[Lane, Reason]]:
    return {item.key: (item.lane, item.reason) for item in handle.plan.items}


def test_a_predicted_file_is_loaded_and_then_read_as_a_hit():
    world = World()
    handle = world.submit([p("file:a", "main_file", 0.9)])
    world.run(1)
    assert handle.immediate is True
    assert world.resident == {"file:a"}
    outcome = world.read("file:a")
    assert outcome.waited == 0
    summary = world.summary()
    assert (summary["cache_hits"], summary["used"]) == (1, 1)


def test_p0_and_p1_go_before_p2_and_p2_before_background():
    world = World(default=Load(seconds=0.05))
    world.submit(
        [
            p("file:doc", "documentation", 0.85),
            p("file:rel", "related_file", 0.85),
            p("file:main", "main_file", 0.85),
            p("file:active", "active_file", 0.85),
        ]
    )
    world.settle()
    assert world.loaded == ["file:active", "file:main", "file:rel", "file:doc"]


def test_at_most_eight_prefetches_run_and_two_slots_are_kept_for_p0_and_p1():
    world = World(default=Load(seconds=1.0, tokens=10), config=Config(max_eager_time_ms=5000))
    world.submit([p(f"file:{i}", "related_file", 0.85, tokens=10) for i in range(10)])
    assert world.running(Pool.P2) == 5
    world.submit([p(f"file:m{i}", "main_file", 0.85, tokens=10) for i in range(5)], session="other")
    assert world.running(Pool.P2) == 5
    assert world.running(Pool.P1) == 3


def test_background_starts_after_its_delay_and_at_most_three_at_once():
    world = World(default=Load(seconds=0.5, tokens=10))
    world.submit([p(f"file:{i}", "documentation", 0.85, tokens=10) for i in range(6)])
    world.run(0.049)
    assert world.loaded == []
    world.run(0.002)
    assert len(world.loaded) == 3
    world.run(0.5)
    assert len(world.loaded) == 6


def test_at_most_ten_background_items_are_handed_over_and_twenty_wait():
    roomy = Execution(max_background_tokens=100_000, max_source_concurrency=20)
    config = Config(max_prefetch_tokens=100_000, execution=roomy)
    world = World(default=Load(seconds=1.0, tokens=1), config=config)
    items = [p(f"file:{i:02}", "documentation", 0.6 + i / 1000, tokens=10) for i in range(35)]
    handle = world.submit(items)
    assert world.planner.state.queue.length(Pool.P3) == 20
    shed = [i.key for i in handle.plan.items if i.reason is Reason.QUEUE_FULL]
    assert shed == [f"file:{i:02}" for i in (4, 3, 2, 1, 0)]
    world.settle()
    assert len(world.loaded) == 30


def test_background_waits_while_demand_runs_or_the_host_is_busy():
    world = World(loads={"file:slow": Load(seconds=0.3)})
    world.tell(HostBusy())
    world.submit([p("file:doc", "documentation", 0.85)])
    world.run(1)
    assert world.loaded == []
    world.tell(HostIdle())
    world.run(0)
    assert world.loaded == ["file:doc"]
    world.submit([p("file:doc2", "documentation", 0.85)])
    world.read("file:slow")
    world.run(0.2)
    assert world.loaded == ["file:doc", "file:slow"]
    world.run(0.2)
    assert world.loaded == ["file:doc", "file:slow", "file:doc2"]


def test_a_background_item_that_cannot_start_within_thirty_seconds_is_dropped():
    world = World()
    world.tell(HostBusy())
    world.submit([p("file:doc", "documentation", 0.85)])
    world.run(29.9)
    assert world.planner.state.flights.live
    world.run(0.2)
    assert not world.planner.state.flights.live
    world.tell(HostIdle())
    world.run(5)
    assert world.loaded == []
    assert world.summary()["total_prefetches"] == 0


def test_an_item_of_priority_four_is_never_loaded_by_prediction():
    world = World()
    handle = world.submit([p("file:graph", "dependency_graph", 0.85)])
    world.run(60)
    assert lanes(handle)["file:graph"] == (Lane.DEFERRED, Reason.PRIORITY_DEFERRED)
    assert world.loaded == []


def test_an_item_below_the_least_confidence_is_deferred_but_its_miss_is_explained():
    world = World()
    handle = world.submit([p("file:a", "related_file", 0.4)])
    assert lanes(handle)["file:a"] == (Lane.DEFERRED, Reason.BELOW_MIN_CONFIDENCE)
    world.read("file:a")
    world.settle()
    missed = world.accounting.report("s").top_predictions()["missed"]
    assert missed[0]["key"] == "file:a"
    assert missed[0]["reason"] == "below_min_confidence"


def test_sources_that_are_not_read_only_or_remote_are_never_prefetched():
    world = World(
        sources=(
            SourceInfo(0, "tool", "tool", read_only=False),
            SourceInfo(1, "web", "url", read_only=True, remote=True),
        )
    )
    handle = world.submit([p("tool:x"), p("url:y"), p("none:z")])
    world.run(60)
    assert [reason for _, reason in lanes(handle).values()] == [
        Reason.NO_SOURCE,
        Reason.NOT_READ_ONLY,
        Reason.REMOTE_NOT_ALLOWED,
    ]
    assert world.loaded == []
    world.read("tool:x")
    world.settle()
    assert world.loaded == ["tool:x"]


def test_remote_sources_are_prefetched_where_the_host_opted_in():
    world = World(
        sources=(SourceInfo(0, "web", "url", read_only=True, remote=True),),
        config=Config(execution=Execution(prefetch_remote=True)),
    )
    world.submit([p("url:y")])
    world.settle()
    assert world.resident == {"url:y"}


def test_nothing_is_loaded_by_prediction_where_speculation_is_switched_off():
    world = World(config=Config(enable_speculative_prefetch=False))
    handle = world.submit([p("file:a", "main_file", 0.9)])
    world.run(60)
    assert lanes(handle)["file:a"] == (Lane.SKIPPED, Reason.SPECULATION_OFF)
    assert handle.immediate is False
    world.read("file:a")
    world.settle()
    assert world.loaded == ["file:a"]


def test_what_is_cached_is_not_loaded_again_unless_its_version_differs():
    world = World(
        sources=(SourceInfo(0, "files", "file", read_only=True, surveys=True),),
        surveys={"file:a": Survey(tokens=5)},
    )
    world.submit([p("file:a")])
    world.settle()
    handle = world.submit([p("file:a")])
    world.settle()
    assert lanes(handle)["file:a"] == (Lane.SKIPPED, Reason.CACHED)
    world.surveys["file:a"] = Survey(tokens=5, version="new")
    handle = world.submit([p("file:a")])
    world.settle()
    assert lanes(handle)["file:a"][0] is Lane.IMMEDIATE
    assert world.loaded == ["file:a", "file:a"]


def test_what_a_source_excludes_is_not_loaded_ahead():
    world = World(
        sources=(SourceInfo(0, "files", "file", read_only=True, surveys=True),),
        surveys={"file:.env": Survey(tokens=5, excluded="a secret")},
    )
    handle = world.submit([p("file:.env", "main_file", 0.95)])
    world.run(5)
    assert lanes(handle)["file:.env"] == (Lane.SKIPPED, Reason.EXCLUDED)
    assert handle.immediate is False
    assert world.loaded == []


def test_a_survey_that_does_not_come_delays_the_plan_by_fifty_milliseconds_only():
    world = World(sources=(SourceInfo(0, "files", "file", read_only=True, surveys=True),))
    world._at = lambda when, action: None  # type: ignore[method-assign]  # the answer is lost
    handle = world.submit([p("file:a")])
    assert handle.plan is None
    world.run(0.051)
    assert handle.plan is not None


def test_the_token_budget_binds_and_drops_the_least_urgent_first():
    world = World(default=Load(tokens=400))
    handle = world.submit(
        [
            p("file:doc", "documentation", 0.85, tokens=400),
            p("file:rel", "related_file", 0.85, tokens=400),
            p("file:main", "main_file", 0.85, tokens=400),
        ],
        Terms(token_budget=800),
    )
    assert lanes(handle)["file:doc"] == (Lane.SKIPPED, Reason.TOKEN_BUDGET_EXCEEDED)
    world.settle()
    assert world.resident == {"file:main", "file:rel"}


def test_what_is_still_under_way_is_charged_to_the_next_plan_of_the_session():
    world = World(default=Load(seconds=5, tokens=600), config=Config(max_prefetch_tokens=1000))
    world.submit([p("file:a", tokens=600)])
    handle = world.submit([p("file:a", tokens=600), p("file:b", tokens=600)])
    assert lanes(handle) == {
        "file:a": (Lane.IMMEDIATE, Reason.PENDING),
        "file:b": (Lane.SKIPPED, Reason.TOKEN_BUDGET_EXCEEDED),
    }
    other = world.submit([p("file:b", tokens=600)], session="other")
    assert lanes(other)["file:b"][0] is Lane.IMMEDIATE


def test_two_sessions_that_predict_one_key_load_it_once():
    world = World(default=Load(seconds=1))
    world.submit([p("file:a")], session="one")
    world.submit([p("file:a")], session="two")
    world.settle()
    assert world.loaded == ["file:a"]


def test_a_private_source_is_loaded_for_each_user():
    world = World(sources=(SourceInfo(0, "mail", "mail", read_only=True, private=True),))
    world.planner.state.session("one").user = "ann"
    world.planner.state.session("two").user = "bob"
    world.submit([p("mail:a")], session="one")
    world.submit([p("mail:a")], session="two")
    world.settle()
    assert world.loaded == ["mail:a", "mail:a"]
    assert len(world.resident) == 2


# ---- time-outs, errors, alternatives ---------------------------------------------------------


def test_a_load_past_its_lane_time_gives_its_slot_back_and_is_still_kept_when_it_ends():
    world = World(loads={"file:slow": Load(seconds=3)})
    world.submit([p("file:slow", "main_file", 0.85)])
    world.run(0.2)
    assert world.running(Pool.P1) == 0
    assert [log.level for log in world.logs] == ["warning"]
    world.run(3)
    assert world.resident == {"file:slow"}
    assert world.summary()["total_prefetches"] == 1


def test_an_abandoned_prefetch_is_tried_once_more_in_the_background():
    world = World(loads={"file:dead": Load(seconds=HANG)})
    handle = world.submit([p("file:dead", "main_file", 0.85)])
    world.run(30.2)
    assert world.loaded == ["file:dead", "file:dead"]
    assert handle.immediate is None
    world.run(60)
    assert world.loaded == ["file:dead", "file:dead"]
    assert handle.immediate is False
    assert world.summary()["failed"] == 2


def test_a_failed_source_is_followed_by_its_alternative():
    world = World(
        sources=(
            SourceInfo(0, "first", "file", read_only=True),
            SourceInfo(1, "second", "file", read_only=True),
        ),
        loads={"0/file:a": Load(error="gone")},
    )
    handle = world.submit([p("file:a", "main_file", 0.9)])
    world.settle()
    assert [source for _, _, source in world.started] == [0, 1]
    assert world.resident == {"file:a"}
    assert handle.immediate is True
    summary = world.summary()
    assert (summary["total_prefetches"], summary["failed"]) == (1, 0)


def test_a_key_whose_sources_all_fail_is_left_alone_for_a_doubling_back_off():
    world = World(loads={"file:a": Load(error="gone")})
    handle = world.submit([p("file:a", "main_file", 0.9)])
    world.run(0.5)
    assert handle.immediate is False
    again = world.submit([p("file:a", "main_file", 0.9)])
    assert lanes(again)["file:a"] == (Lane.SKIPPED, Reason.UNAVAILABLE)
    world.run(1)
    world.submit([p("file:a", "main_file", 0.9)])
    world.run(1.9)
    blocked = world.submit([p("file:a", "main_file", 0.9)])
    assert lanes(blocked)["file:a"] == (Lane.SKIPPED, Reason.UNAVAILABLE)
    assert len(world.loaded) == 2


def test_an_explicit_read_tries_an_unavailable_key_at_once_and_a_change_clears_it():
    world = World(loads={"file:a": Load(error="gone")})
    world.submit([p("file:a")])
    world.run(0.1)
    world.loads = {}
    world.change("file:a")
    handle = world.submit([p("file:a")])
    assert lanes(handle)["file:a"][0] is Lane.IMMEDIATE
    world.settle()
    assert world.resident == {"file:a"}


# ---- contexts --------------------------------------------------------------------------------


def test_a_new_context_cancels_what_it_does_not_predict_and_keeps_what_it_does():
    world = World(default=Load(seconds=2, tokens=10))
    world.submit([p(f"file:{i}", tokens=10) for i in range(7)], context="one")
    world.run(0.1)
    world.submit([p("file:0", tokens=10), p("file:9", tokens=10)], context="two")
    assert set(world.planner.state.flights.live) == {"file:0", "file:9"}
    world.settle()
    assert world.resident == {"file:0", "file:9"}
    assert world.loaded.count("file:0") == 1
    assert set(world.cancelled) <= {f"file:{i}" for i in range(1, 7)} | {"?"}
    summary = world.summary()
    assert summary["cancelled"] == 4
    assert summary["total_prefetches"] == 6


def test_a_context_change_without_a_submit_cancels_after_a_second():
    world = World(default=Load(seconds=5))
    world.submit([p("file:a")], context="one")
    world.tell(ContextChanged("s", "two"))
    world.run(0.99)
    assert "file:a" in world.planner.state.flights.live
    world.run(0.02)
    assert "file:a" not in world.planner.state.flights.live


def test_contexts_of_one_session_cancel_nothing_of_another():
    world = World(default=Load(seconds=5))
    world.submit([p("file:a")], session="one", context="x")
    world.submit([p("file:b")], session="two", context="x")
    world.submit([p("file:c")], session="two", context="y")
    assert set(world.planner.state.flights.live) == {"file:a", "file:c"}


def test_within_a_context_a_submit_replaces_queued_items_and_lets_running_ones_go_on():
    world = World(default=Load(seconds=2, tokens=10))
    world.submit([p(f"file:{i}", tokens=10) for i in range(7)])
    world.submit([p("file:new", tokens=10)])
    live = set(world.planner.state.flights.live)
    assert live == {"file:0", "file:1", "file:2", "file:3", "file:4", "file:new"}


def test_a_cancelled_load_that_a_reader_waits_for_goes_on():
    world = World(default=Load(seconds=2))
    world.submit([p("file:a")], context="one")
    outcome = world.read("file:a")
    world.submit([p("file:b")], context="two")
    world.settle()
    assert outcome.waited == 2
    assert world.summary()["late_hits"] == 1


def test_contexts_cancel_nothing_where_that_is_switched_off():
    world = World(default=Load(seconds=2), config=Config(cancel_on_context_change=False))
    world.submit([p("file:a")], context="one")
    world.submit([p("file:b")], context="two")
    world.settle()
    assert world.resident == {"file:a", "file:b"}


def test_a_result_of_a_cancelled_load_is_dropped_and_counted():
    world = World(default=Load(seconds=2, heeds_cancel=False))
    world.submit([p("file:a")], context="one")
    world.run(0.1)
    world.submit([], context="two")
    world.run(5)
    assert world.resident == set()
    assert world.accounting.snapshot().engine.dropped == {"late_result": 1}


def test_a_submit_can_be_taken_back():
    world = World(default=Load(seconds=2))
    handle = world.submit([p("file:a", "main_file", 0.9)])
    world.tell(CancelPlan(handle))
    assert handle.immediate is False
    assert not world.planner.state.flights.live


def test_a_key_predicted_again_is_moved_to_its_new_priority():
    world = World(default=Load(seconds=5, tokens=10))
    world.tell(HostBusy())
    world.submit([p("file:a", "documentation", 0.85)])
    world.run(0.1)
    world.submit([p("file:a", "main_file", 0.85)])
    world.run(0)
    assert world.loaded == ["file:a"]
    assert world.running(Pool.P1) == 1


# ---- sessions --------------------------------------------------------------------------------


def test_a_session_that_ends_cancels_its_loads_and_wastes_what_it_had_not_read():
    world = World(loads={"file:slow": Load(seconds=9)})
    world.submit([p("file:a"), p("file:slow")])
    world.run(1)
    world.tell(SessionEnded("s"))
    world.run(1)
    summary = world.summary()
    assert (summary["wasted"], summary["cancelled"], summary["open"]) == (1, 1, 0)


# ---- follow-ups ------------------------------------------------------------------------------


EXPANDING = (SourceInfo(0, "files", "file", read_only=True, expands=True),)


def follow(key: str, relation: Relation = Relation.CONTEXT) -> FollowUp:
    return FollowUp(p(key, "related_file", 0.85, tokens=100), relation)


def test_loaded_content_brings_up_predictions_two_steps_deep():
    world = World(
        sources=EXPANDING,
        loads={f"file:{i}": Load(follow_ups=(follow(f"file:{i + 1}"),)) for i in range(5)},
    )
    world.submit([p("file:0", tokens=100)])
    world.settle()
    assert world.loaded == ["file:0", "file:1", "file:2"]


def test_follow_ups_share_what_is_left_of_the_budget():
    loads = {"file:0": Load(follow_ups=(follow("file:1"), follow("file:2")))}
    world = World(sources=EXPANDING, loads=loads)
    world.submit([p("file:0", tokens=100)], Terms(token_budget=250))
    world.settle()
    assert world.loaded == ["file:0", "file:1"]


@pytest.mark.parametrize(
    ("mode", "followed"),
    [
        (Mode.ECONOMY, set()),
        (Mode.STANDARD, {"file:dep"}),
        (Mode.PREMIUM, {"file:dep"}),
        (Mode.CRITICAL, {"file:dep", "file:ref"}),
    ],
)
def test_the_mode_says_which_follow_ups_are_followed(mode: Mode, followed: set[str]):
    ups = (follow("file:dep", Relation.DEPENDENCY), follow("file:ref", Relation.REFERENCE))
    world = World(sources=EXPANDING, loads={"file:0": Load(follow_ups=ups)})
    world.submit([p("file:0", tokens=100)], Terms(mode=mode))
    world.settle()
    assert set(world.loaded) - {"file:0"} == followed


# ---- priorities ------------------------------------------------------------------------------


def test_what_is_p0_by_role_is_pinned_and_counted_when_it_was_not_resident():
    world = World()
    world.submit([p("file:state", "session_state", 0.7)])
    world.settle()
    assert world.summary()["p0_not_resident"] == 1
    assert world.layers.snapshot().pinned.entries == 1


def test_a_key_read_lately_and_often_is_one_step_more_urgent_for_each():
    world = World()
    for _ in range(6):
        world.read("file:a")
        world.settle()
        world.change("file:a")
    handle = world.submit([p("file:a", "documentation", 0.85)])
    assert handle.plan is not None
    assert handle.plan.items[0].priority is Priority.P1


def test_a_queued_item_that_is_predicted_again_as_unlikely_is_not_loaded():
    world = World()
    world.tell(HostBusy())
    world.submit([p("file:a", "documentation", 0.85)])
    world.submit([p("file:a", "documentation", 0.3)])
    world.tell(HostIdle())
    world.run(5)
    assert world.loaded == []


# ---- found by fault schedules (test_fault_schedules) -------------------------------------------


def test_a_background_item_that_waits_for_its_source_does_not_keep_the_planner_awake():
    world = World(
        sources=(SourceInfo(0, "db", "db", read_only=True, max_concurrency=1),),
        default=Load(seconds=1.0, tokens=10),
    )
    world.submit([p(f"db:{n}", "documentation", 0.85, tokens=10) for n in "ab"])
    world.run(0.5)
    assert world.loaded == ["db:a"]
    due = world.planner.next_deadline()
    assert due is not None
    assert due > world.now


def test_two_submits_that_wait_for_the_same_load_are_both_told_of_its_end():
    world = World(default=Load(seconds=0.05))
    first = world.submit([p("file:a", "main_file", 0.9)])
    second = world.submit([p("file:a", "main_file", 0.9)])
    world.settle()
    assert (first.immediate, second.immediate) == (True, True)


def test_a_submit_taken_back_after_another_took_its_item_over_is_told_so():
    world = World(default=Load(seconds=0.05))
    first = world.submit([p("file:a", "main_file", 0.9)])
    second = world.submit([p("file:a", "main_file", 0.9)])
    world.tell(CancelPlan(first))
    assert first.immediate is False
    world.settle()
    assert second.immediate is True


def test_a_load_given_up_at_an_alternative_frees_that_source_when_it_ends():
    world = World(
        sources=(
            SourceInfo(0, "first", "file", read_only=True),
            SourceInfo(1, "second", "file", read_only=True),
        ),
        loads={"0/file:a": Load(error="gone"), "1/file:a": Load(seconds=40, heeds_cancel=False)},
    )
    world.submit([p("file:a", "main_file", 0.9)])
    world.run(100)
    assert world.planner.state.flights.at_source == {}


def test_what_is_resident_past_its_age_is_loaded_again_when_it_is_predicted():
    world = World(default=Load(max_age_s=10))
    world.submit([p("file:a")])
    world.settle()
    world.run(9)
    world.submit([p("file:a")])
    world.run(2)
    world.submit([p("file:a")])
    world.settle()
    assert world.loaded == ["file:a", "file:a"]


def test_a_key_can_be_taken_back_queued_or_running_but_not_from_others():
    world = World(default=Load(seconds=5))
    world.submit([p(f"file:{n}", tokens=1) for n in range(8)])
    world.submit([p("file:1", tokens=1)], session="t")
    world.read("file:2")
    running, queued = "file:0", "file:7"
    assert running in world.loaded
    assert queued not in world.loaded
    for key in (running, queued, "file:1", "file:2", "file:unknown"):
        world.tell(CancelKey("s", key))
    world.settle()
    assert queued not in world.loaded
    assert world.cancelled == [running]
    assert {"file:1", "file:2"} <= world.resident
    assert running not in world.resident


def test_a_read_that_overtook_the_start_of_its_session_counts_for_its_project():
    world = World()
    world.tell(Demand("first", "file:a", Outcome(world.now), at=world.now))
    world.tell(SessionStarted("first", "shop"))
    world.settle()
    world.tell(SessionEnded("first"))
    world.change("file:a")
    before = len(world.started)
    world.tell(SessionStarted("second", "shop"))
    world.settle()
    assert [key for _, key, _ in world.started[before:]] == ["file:a"]
