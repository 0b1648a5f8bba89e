"""Statements of the specification and the decisions that no other test holds by itself.

Each is told with the shipped defaults, so that a default that drifts fails here too.
"""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefetch_scheduler.actors import messages as to
from prefetch_scheduler.engine import (
    CallableSource,
    Constraints,
    Content,
    FileSource,
    InvalidPrediction,
    Prediction,
    PrefetchEngine,
    ProjectSwitched,
    ResourceEvicted,
    ResourceFailed,
    ResourceLoaded,
    SkillSource,
    SkillUpdated,
)
from prefetch_scheduler.engine.runtime import Runtime
from prefetch_scheduler.engine.sources.registry import SourceRegistry
from prefetch_scheduler.policies.cache_events import EndSession, Pin, Removed
from prefetch_scheduler.policies.config import CacheRules, Config, Execution, Prefill
from prefetch_scheduler.policies.metrics_events import PrefetchWasted
from prefetch_scheduler.policies.planner_events import (
    Answer,
    HostBusy,
    HostIdle,
    PinKey,
    SessionStarted,
    UserLoggedIn,
)
from prefetch_scheduler.policies.planner_events import ProjectSwitched as Switched
from prefetch_scheduler.policies.prediction import Terms
from prefetch_scheduler.policies.source_info import SourceInfo
from prefetch_scheduler.policies.vocabulary import Lane, Pool, Priority, Reason, RemovalCause
from support.layer_model import Cache, config
from support.virtual import HANG, Load, Outcome, World, p

MINUTE = 60.0


def roomy(**sizes: int) -> Cache:
    """The shipped times, with no share for unread entries to interfere."""
    return Cache(Config(cache=CacheRules(unread_share=1.0), **sizes))


# ---- layers ----------------------------------------------------------------------------------


def test_hot_holds_twenty_and_demotes_the_least_recently_read():
    cache = roomy()
    for number in range(20):
        cache.put(f"file:{number}")
    cache.read("file:0")
    cache.put("file:20")
    layers = cache.layers()
    assert [key for key, layer in layers.items() if layer == "warm"] == ["file:1"]
    assert list(layers.values()).count("hot") == 20


def test_warm_holds_fifty_and_demotes_the_least_often_read():
    cache = roomy(hot_cache_size=1)
    for number in range(51):  # each is read in hot, and pushed to warm by the next
        cache.put(f"file:{number}")
        for _ in range(1 if number == 7 else 2):
            cache.read(f"file:{number}")
    assert list(cache.layers().values()).count("warm") == 50
    cache.put("file:new")
    layers = cache.layers()
    assert list(layers.values()).count("warm") == 50
    assert [key for key, layer in layers.items() if layer == "cold"] == ["file:7"]


def test_cold_holds_a_hundred_and_drops_the_one_there_longest():
    cache = roomy(hot_cache_size=1, warm_cache_size=1)
    for number in range(102):
        cache.put(f"file:{number}")
        cache.now += 1
    assert list(cache.layers().values()).count("cold") == 100
    cache.put("file:new")
    assert list(cache.layers().values()).count("cold") == 100
    assert [gone.stored for gone in cache.all(Removed)] == ["file:0"]


def test_an_entry_is_demoted_after_5_and_15_minutes_and_dropped_after_an_hour():
    cache = roomy()
    cache.put("file:a")
    cache.wait(5 * MINUTE - 1)
    assert cache.layers() == {"file:a": "hot"}
    cache.wait(2)
    assert cache.layers() == {"file:a": "warm"}
    cache.wait(15 * MINUTE - 2)
    assert cache.layers() == {"file:a": "warm"}
    cache.wait(2)
    assert cache.layers() == {"file:a": "cold"}
    cache.wait(60 * MINUTE - 2)
    assert cache.layers() == {"file:a": "cold"}
    cache.wait(2)
    assert cache.layers() == {}
    assert [gone.cause for gone in cache.all(Removed)] == [RemovalCause.EXPIRED]


def test_a_read_renews_the_time_in_hot():
    cache = roomy()
    cache.put("file:a")
    cache.wait(4 * MINUTE)
    cache.read("file:a")
    cache.wait(4 * MINUTE)
    assert cache.layers() == {"file:a": "hot"}


def test_what_was_predicted_and_not_read_starts_in_warm_and_what_was_read_in_hot():
    cache = roomy()
    cache.put("file:predicted", prefetch=1)
    cache.put("file:demanded")
    assert cache.layers() == {"file:predicted": "warm", "file:demanded": "hot"}


@pytest.mark.parametrize("minutes", [6, 21])
def test_a_hit_in_warm_or_cold_moves_the_entry_to_hot(minutes: int):
    cache = roomy()
    cache.put("file:a")
    cache.wait(minutes * MINUTE)
    assert cache.layers() == {"file:a": "warm" if minutes == 6 else "cold"}
    cache.read("file:a")
    assert cache.layers() == {"file:a": "hot"}


def test_a_background_item_unread_for_thirty_seconds_leaves_warm_for_cold():
    cache = roomy()
    cache.put("file:background", prefetch=1, lane=Lane.BACKGROUND, priority=3)
    cache.put("file:eager", prefetch=2, lane=Lane.IMMEDIATE)
    cache.wait(29.9)
    assert cache.layers() == {"file:background": "warm", "file:eager": "warm"}
    cache.wait(0.2)
    assert cache.layers() == {"file:background": "cold", "file:eager": "warm"}


def test_unread_entries_beyond_a_fifth_of_all_layers_are_given_up_first():
    cache = Cache(Config(hot_cache_size=1, warm_cache_size=4, cold_cache_size=5))
    for number in range(3):  # a share of 2; by their class alone they would be the last to go
        cache.put(f"file:unread{number}", prefetch=number + 1, priority=0)
    for number in range(3):  # each pushes the one before into warm; the last finds it full
        cache.put(f"file:read{number}")
    assert [key for key, layer in cache.layers().items() if layer == "cold"] == ["file:unread0"]


def test_within_the_share_the_lowest_priority_class_is_given_up_first():
    cache = roomy(hot_cache_size=1, warm_cache_size=3)
    cache.put("file:p3", prefetch=1, priority=3)
    cache.put("file:p1", prefetch=2, priority=1)
    cache.put("file:p2", prefetch=3, priority=2)
    cache.put("file:new", prefetch=4, priority=2)
    assert [key for key, layer in cache.layers().items() if layer == "cold"] == ["file:p3"]


def test_in_cold_too_the_lowest_class_goes_before_what_was_there_longer():
    cache = roomy(hot_cache_size=1, warm_cache_size=1, cold_cache_size=2)
    for number, priority in enumerate((1, 3, 2, 2), start=1):  # each pushes the last one down
        cache.put(f"file:{number}", prefetch=number, priority=priority)
    assert [gone.stored for gone in cache.all(Removed)] == ["file:2"]


def test_what_was_ever_read_counts_as_p1_whatever_it_was_predicted_as():
    cache = roomy(hot_cache_size=1, warm_cache_size=1, cold_cache_size=2)
    cache.put("file:read", priority=4)
    cache.put("file:hot")
    for number in range(1, 4):
        cache.put(f"file:{number}", prefetch=number, priority=2)
    assert cache.layers()["file:read"] == "cold"
    assert [gone.stored for gone in cache.all(Removed)] == ["file:1"]


def test_what_is_pinned_stays_whatever_comes_and_however_long():
    cache = Cache(config())
    cache.put("file:pinned")
    cache.do(Pin("file:pinned", "s"))
    for number in range(50):
        cache.put(f"file:{number}")
        cache.wait(10)
    assert cache.layers()["file:pinned"] == "hot"


def test_the_end_of_a_session_demotes_its_hot_entries_and_releases_its_pins():
    cache = roomy()
    cache.put("file:own", session="s")
    cache.put("file:other", session="t")
    cache.put("file:pinned", session="s")
    cache.do(Pin("file:pinned", "s"))
    cache.put("file:unread", session="s", prefetch=1)
    cache.do(EndSession("s"))
    layers = cache.layers()
    assert (layers["file:own"], layers["file:pinned"]) == ("warm", "warm")
    assert layers["file:other"] == "hot"
    assert cache.machine.snapshot().pins == 0
    assert [event.id for event in cache.all(PrefetchWasted)] == [1]


# ---- loading ---------------------------------------------------------------------------------


def test_background_items_start_in_the_order_of_their_value():
    world = World(default=Load(seconds=0.5, tokens=10))
    confidences = {"file:low": 0.6, "file:high": 0.9, "file:middle": 0.7, "file:least": 0.55}
    world.submit([p(key, "documentation", c, tokens=10) for key, c in confidences.items()])
    world.settle()
    # Below 0.6 is a step less urgent: deferred.
    assert world.loaded == ["file:high", "file:middle", "file:low"]


def test_urgent_slots_wait_for_nobody_while_eager_loads_run():
    world = World(default=Load(seconds=1.0, tokens=10), config=Config(max_eager_time_ms=5000))
    world.submit([p(f"file:{n}", "related_file", tokens=10) for n in range(8)])
    world.submit([p("file:main", "main_file", tokens=10)], session="other")
    assert world.running(Pool.P2) == 5
    assert "file:main" in world.loaded


def test_a_read_of_an_unavailable_key_is_tried_at_once():
    world = World(loads={"file:a": Load(error="gone")})
    world.submit([p("file:a", "main_file")])
    world.run(0.1)
    assert [item.reason for item in world.submit([p("file:a")]).plan.items] == [Reason.UNAVAILABLE]
    world.loads = {}
    outcome = world.read("file:a")
    world.run(0.02)
    assert isinstance(outcome.result, Answer)
    assert [item.reason for item in world.submit([p("file:a")]).plan.items] == [Reason.CACHED]


def test_a_back_off_doubles_to_a_minute_and_no_longer():
    world = World(loads={"file:a": Load(seconds=0, error="gone")})
    pauses = []
    for _ in range(9):
        world.submit([p("file:a")])
        world.run(0)
        blocked = world.planner.state.availability.blocked("file:a", world.now)
        assert blocked is not None
        pauses.append(float(blocked.split("again in ")[1].removesuffix(" s")))
        world.run(pauses[-1] + 0.1)
    for doublings, pause in enumerate(pauses):  # up to a quarter longer by jitter
        assert min(60, 2**doublings) - 0.1 <= pause <= min(60, 1.25 * 2**doublings) + 0.1


def test_pins_and_prefill_are_loaded_where_speculation_is_switched_off():
    settings = Config(
        enable_speculative_prefetch=False,
        pins=("file:pin",),
        prefill=Prefill(session_start=("file:usual",)),
    )
    world = World(config=settings)
    world.tell(SessionStarted("s"))
    world.submit([p("file:predicted", "main_file", 0.95)])
    world.settle()
    assert world.resident == {"file:pin", "file:usual"}


def test_pins_are_outside_the_token_budget():
    world = World(config=Config(max_prefetch_tokens=0))
    world.tell(PinKey("s", "file:pin"))
    world.submit([p("file:a", "main_file", 0.95)])
    world.settle()
    assert world.resident == {"file:pin"}


def test_a_pinned_p0_item_is_there_without_a_wait_until_its_session_ends():
    world = World()
    world.submit([p("file:state", "session_state", 0.95)])
    world.settle()
    world.run(2 * 60 * MINUTE)
    assert world.read("file:state").waited == 0
    again = world.submit([p("file:state", "session_state", 0.95)])
    assert again.plan.items[0].reason is Reason.CACHED
    assert again.immediate is True
    assert world.summary()["p0_not_resident"] == 1


def test_a_switch_of_project_and_a_login_load_what_is_configured_for_them():
    prefill = Prefill(
        project_switch={"shop": ("file:shop", "file:basket"), "blog": ("file:blog",)},
        user_login={"ann": ("file:ann",)},
    )
    world = World(config=Config(prefill=prefill))
    world.tell(Switched("s", "shop"))
    world.settle()
    assert world.resident == {"file:shop", "file:basket"}
    world.tell(UserLoggedIn("s", "ann"))
    world.settle()
    assert world.resident == {"file:shop", "file:basket", "file:ann"}
    assert world.summary()["prefetches_by_cause"]["prefill"] == 3


def test_a_source_may_set_a_time_of_its_own_after_which_loads_are_given_up():
    world = World(
        sources=(SourceInfo(0, "slow", "slow", read_only=True, load_timeout_s=3.0),),
        default=Load(seconds=HANG),
    )
    outcome = world.read("slow:a")
    world.run(2.9)
    assert outcome.result is None
    world.run(0.2)
    assert "within 3 s" in str(outcome.result.error)


def test_a_host_that_is_busy_still_gets_what_is_urgent():
    world = World()
    world.tell(HostBusy())
    world.submit([p("file:main", "main_file"), p("file:doc", "documentation")])
    world.run(1)
    assert world.resident == {"file:main"}
    world.tell(HostIdle())
    world.run(1)
    assert world.resident == {"file:main", "file:doc"}


def test_the_plan_charges_what_waits_in_the_background_too():
    world = World(config=Config(execution=Execution(max_background_tokens=1000)))
    world.tell(HostBusy())
    world.submit([p("file:a", "documentation", tokens=800)])
    handle = world.submit(
        [p("file:a", "documentation", tokens=800), p("file:b", "documentation", tokens=300)]
    )
    assert [item.reason for item in handle.plan.items] == [
        Reason.PENDING,
        Reason.BACKGROUND_TOKENS_EXCEEDED,
    ]


# ---- what is logged --------------------------------------------------------------------------


def test_a_time_out_is_logged_as_a_warning_an_error_as_an_error_and_the_budget_as_information():
    world = World(
        loads={"file:slow": Load(seconds=3, tokens=10), "file:bad": Load(error="gone", tokens=10)}
    )
    world.submit(
        [
            p("file:slow", "main_file", tokens=10),
            p("file:bad", "main_file", tokens=10),
            p("file:large", "related_file", tokens=500),
        ],
        Terms(token_budget=100),
    )
    world.run(1)
    assert {(log.level, log.key) for log in world.logs} == {
        ("warning", "file:slow"),
        ("error", "file:bad"),
        ("info", ""),
    }
    assert [log.text for log in world.logs if log.level == "info"] == [
        "token budget 100 exceeded; skipped: file:large"
    ]


def test_a_full_layer_is_logged_at_debug(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, logger="prefetch_scheduler.cache")
    source = CallableSource("k", lambda name: name, read_only=True)
    small = Config(hot_cache_size=1, warm_cache_size=1, cold_cache_size=1)
    evicted: list[str] = []
    done = threading.Event()

    def note(event: object) -> None:
        if isinstance(event, ResourceEvicted):
            evicted.append(event.key)
            done.set()

    with PrefetchEngine(small, sources=[source]) as engine:
        engine.subscribe(note)
        for number in range(4):
            engine.get(f"k:{number}")
        assert done.wait(5)
    assert evicted == ["k:0"]
    of_cache = [r for r in caplog.records if r.name == "prefetch_scheduler.cache"]
    assert {record.levelno for record in of_cache} == {logging.DEBUG}
    text = "\n".join(record.getMessage() for record in of_cache)
    assert "k:0 left the cache: evicted" in text
    assert "k:0 demoted: hot full" in text


def test_a_caller_who_waited_in_vain_goes_on_and_a_warning_is_logged(
    caplog: pytest.LogCaptureFixture,
):
    gate = threading.Event()
    slow = CallableSource("slow", lambda name: gate.wait(10) and name, read_only=True)
    with PrefetchEngine(sources=[slow]) as engine:
        handle = engine.submit([Prediction("slow:x", "main_file", 0.85)])
        assert handle.wait_immediate(timeout=0.001) is False
        gate.set()
    warned = [r for r in caplog.records if "not loaded within 0.001 s" in r.getMessage()]
    assert [record.levelno for record in warned] == [logging.WARNING]


# ---- what the host is told, and tells --------------------------------------------------------


def test_a_load_and_a_failure_are_notified():
    def load(name: str) -> str:
        if name == "bad":
            raise OSError("gone")
        return name

    seen: dict[str, object] = {}
    both = threading.Event()

    def note(event: object) -> None:
        if isinstance(event, ResourceLoaded | ResourceFailed):
            seen[event.key] = event
            if len(seen) == 2:
                both.set()

    with PrefetchEngine(sources=[CallableSource("k", load, read_only=True)]) as engine:
        engine.subscribe(note)
        engine.submit([Prediction(f"k:{name}", "main_file", 0.85) for name in ("good", "bad")])
        assert both.wait(5)
    assert isinstance(seen["k:good"], ResourceLoaded)
    assert isinstance(seen["k:bad"], ResourceFailed)
    assert "gone" in seen["k:bad"].error


def test_an_update_of_a_skill_makes_the_next_read_load_it(tmp_path: Path):
    folder = tmp_path / "debugging" / "systematic"
    (folder / "references").mkdir(parents=True)
    (folder / "SKILL.md").write_text("---\nname: systematic\ndescription: d\n---\nbody")
    (folder / "references" / "more.md").write_text("more")
    keys = [f"skill:debugging/systematic{part}" for part in ("", "#references/more.md")]
    with PrefetchEngine(sources=[SkillSource(tmp_path)]) as engine:
        engine.get_many(keys)
        engine.trigger(SkillUpdated("debugging/systematic"))
        assert [engine.peek(key) for key in keys] == [None, None]
        assert [content.value for content in engine.get_many(keys)] == ["body", "more"]


def test_a_switch_of_project_reaches_the_engine(tmp_path: Path):
    (tmp_path / "a.py").write_text("a")
    loaded = threading.Event()
    settings = Config(prefill=Prefill(project_switch={"shop": ("file:a.py",)}))
    with PrefetchEngine(settings, sources=[FileSource(tmp_path)]) as engine:
        engine.subscribe(lambda event: isinstance(event, ResourceLoaded) and loaded.set())
        engine.trigger(ProjectSwitched("shop"))
        assert loaded.wait(5)


def test_an_override_by_the_host_replaces_the_priority(tmp_path: Path):
    source = CallableSource("k", lambda name: name, read_only=True)
    with PrefetchEngine(sources=[source]) as engine:
        plan = engine.submit(
            [Prediction("k:a", "main_file", 0.95), Prediction("k:b", "main_file", 0.95)],
            Constraints(priority_override={"k:a": "P4"}),
        ).plan(5)
    assert {item.key: (item.priority, item.lane) for item in plan.items} == {
        "k:b": (Priority.P0, Lane.IMMEDIATE),
        "k:a": (Priority.P4, Lane.DEFERRED),
    }


def test_an_override_is_found_by_any_spelling_of_its_key(tmp_path: Path):
    (tmp_path / "a.py").write_text("a")
    with PrefetchEngine(sources=[FileSource(tmp_path)]) as engine:
        predicted = [Prediction("file:b/../a.py", "main_file", 0.95)]
        override = Constraints(priority_override={"file:./a.py": "P4"})
        (planned,) = engine.submit(predicted, override).plan(5).items
    assert (planned.key, planned.priority) == ("file:a.py", Priority.P4)


# ---- times and slots -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "pool", "milliseconds"),
    [
        ("active_file", Pool.P0, 100),
        ("main_file", Pool.P1, 100),
        ("related_file", Pool.P2, 500),
        ("documentation", Pool.P3, 2000),
    ],
)
def test_a_slow_load_holds_its_slot_for_the_time_of_its_lane(
    role: str, pool: Pool, milliseconds: int
):
    world = World(default=Load(seconds=5))
    world.submit([p("file:a", role)])
    world.run(0.05)  # when background may start
    began = world.started_at("file:a")
    world.run(began + milliseconds / 1000 - 0.001 - world.now)
    assert world.running(pool) == 1
    world.run(0.002)
    assert world.running(pool) == 0
    assert [log.level for log in world.logs] == ["warning"]
    world.settle()
    assert world.resident == {"file:a"}


def test_background_waits_while_an_urgent_load_runs():
    world = World(loads={"file:main": Load(seconds=0.09)})
    world.submit([p("file:main", "main_file"), p("file:doc", "documentation")])
    world.run(0.08)
    assert world.loaded == ["file:main"]
    world.run(0.02)
    assert world.loaded == ["file:main", "file:doc"]


def test_stuck_loads_limit_the_prefetching_of_their_own_source_alone():
    world = World(
        sources=(
            SourceInfo(0, "hanging", "hang", read_only=True),
            SourceInfo(1, "well", "well", read_only=True),
        ),
        loads={f"hang:{n}": Load(seconds=25, tokens=10) for n in range(8)},
    )
    for number in range(8):
        world.submit([p(f"hang:{number}", "main_file", tokens=10)], session=f"s{number}")
        world.run(0.2)
    world.submit([p("hang:more", "main_file", tokens=10)], session="more")
    world.submit([p("well:a", "main_file", tokens=10)], session="well")
    world.run(1)
    assert "hang:more" not in world.loaded
    assert "well:a" in world.resident
    assert isinstance(world_read(world, "hang:demanded").result, Answer)
    world.run(25)
    assert "hang:more" in world.resident


def world_read(world: World, key: str) -> Outcome:
    outcome = world.read(key)
    world.run(0.5)
    return outcome


def test_similar_requests_go_out_one_by_one_where_batching_is_switched_off():
    def load_many(names: list[str]) -> list[str]:
        raise AssertionError("batching is off")

    source = CallableSource("db", lambda name: name, read_only=True, load_many=load_many)
    with PrefetchEngine({"enable_batch_fetching": False}, sources=[source]) as engine:
        handle = engine.submit([Prediction(f"db:{n}", "main_file", 0.85) for n in range(4)])
        assert handle.wait_immediate(5) is True


# ---- the same by messages --------------------------------------------------------------------


@pytest.fixture
def shop() -> Iterator[PrefetchEngine]:
    stock = CallableSource("stock", lambda name: f"{name} in stock", read_only=True)
    with PrefetchEngine(sources=[stock]) as engine:
        yield engine


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (to.Submit("s", (Prediction("stock:a", "nonsense", 0.9),)), "nonsense"),
        (to.Submit("s", (Prediction("stock:a", "main_file", float("nan")),)), "confidence"),
        (to.Submit("s", (Prediction("no colon", "main_file", 0.9),)), "no colon"),
        (to.Submit("s", ("no prediction",)), "expected a Prediction"),  # type: ignore[arg-type]  # that is the point
        (to.Demand("s", "no colon"), "no colon"),
        (to.PinKey("s", "no colon"), "no colon"),
    ],
)
def test_a_faulty_message_is_answered_with_its_fault_and_harms_nobody(
    shop: PrefetchEngine, message: object, fault: str
):
    with pytest.raises(InvalidPrediction, match=fault):
        shop.actors.planner.ask(message)
    health = shop.actors.supervisor.ask(to.HealthQuery())
    assert sum(child.restarts for child in health.children) == 0
    assert shop.get("stock:tea").value == "tea in stock"


def test_a_change_by_message_is_seen_by_every_reader(shop: PrefetchEngine):
    shop.get("stock:tea")
    shop.actors.cache.ask(to.Invalidate("stock:tea", content=Content("none left", tokens=2)))
    assert shop.get("stock:tea").value == "none left"
    shop.actors.cache.ask(to.Invalidate("stock:*"))
    assert shop.peek("stock:tea") is None
    assert shop.get("stock:tea").value == "tea in stock"


def test_the_main_job_runs_by_messages_alone_without_the_facade(tmp_path: Path):
    """Only what starts the actors is used beside the messages; no engine, no session."""
    (tmp_path / "a.py").write_text("old")
    runtime = Runtime(Config(), SourceRegistry([FileSource(tmp_path)]))
    planner, cache, metrics = runtime.planner, runtime.cache, runtime.metrics
    ticket = PlanTicket()
    runtime.start()
    try:
        planner.tell(to.SessionStarted("s", project="shop"))
        wanted = (Prediction("file:a.py", "main_file", 0.85),)
        planner.tell(to.Submit("s", wanted, context="one", ticket=ticket))
        assert ticket.done.wait(5)
        assert ticket.ok is True
        assert [item.lane for item in ticket.plan.items] == [Lane.IMMEDIATE]
        assert planner.ask(to.Demand("s", "file:a.py")).content.value == "old"
        (tmp_path / "a.py").write_text("newer")
        cache.ask(to.Invalidate("file:a.py", session="s"))
        assert planner.ask(to.Demand("s", "file:a.py")).content.value == "newer"
        planner.ask(to.SessionEnded("s"))
        planner.ask(to.PlannerStatusQuery())
        cache.ask(to.Drain())
        summary = metrics.ask(to.ReportQuery("s")).summary()
        assert (
            summary["used"] + summary["wasted"] + summary["cancelled"]
            == (summary["total_prefetches"])
        )
        assert (summary["reads"], summary["used"] >= 1, summary["open"]) == (2, True, 0)
        assert metrics.ask(to.StoryQuery("file:a.py"))
        assert runtime.system.supervisor.ask(to.HealthQuery()).state == "ok"
    finally:
        assert runtime.stop(5) == ()


class PlanTicket:
    """A ticket of a host's own."""

    def __init__(self) -> None:
        self.plan: Any = None
        self.ok: bool | None = None
        self.done = threading.Event()

    def plan_made(self, plan: Any) -> None:
        self.plan = plan

    def immediate_done(self, ok: bool) -> None:
        self.ok = ok
        self.done.set()


def test_the_addresses_are_those_of_the_contract(shop: PrefetchEngine):
    names = {name: getattr(shop.actors, name).name for name in ADDRESSES}
    assert names == {name: name for name in ADDRESSES}


ADDRESSES = ("planner", "cache", "metrics", "supervisor")
