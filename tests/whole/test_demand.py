"""Readers: hits, joining, single flight, demand first. All machines in virtual time."""

from prefetch_scheduler.policies.cache_events import (
    CacheReport,
    Invalidate,
    Invalidated,
    Put,
    Refused,
    Stored,
)
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import LoadTimeout, ResourceUnavailable, UnknownKind
from prefetch_scheduler.policies.flights import State
from prefetch_scheduler.policies.metrics_events import PrefetchCancelled, PrefetchEnding
from prefetch_scheduler.policies.planner_events import (
    Answer,
    Demand,
    Forsake,
    HostBusy,
    Refuse,
    Retry,
    ToPool,
)
from prefetch_scheduler.policies.pool_events import (
    Loaded,
    LoadResult,
    PoolReport,
    Started,
    Withdraw,
)
from prefetch_scheduler.policies.source_info import SourceInfo
from prefetch_scheduler.policies.vocabulary import Pool
from support.virtual import HANG, Load, Outcome, World, p


def counts(world: World) -> tuple[int, int, int, int]:
    """Hits, late hits, joined, misses."""
    s = world.summary()
    return s["cache_hits"], s["late_hits"], s["joined"], s["cache_misses"]


def error_of(outcome: Outcome) -> BaseException:
    assert isinstance(outcome.result, Refuse)
    return outcome.result.error


def test_a_miss_is_loaded_once_for_all_who_ask():
    world = World(default=Load(seconds=1))
    first, second = world.read("file:a"), world.read("file:a")
    world.settle()
    assert world.loaded == ["file:a"]
    assert first.waited == second.waited == 1
    assert counts(world) == (0, 0, 1, 1)
    assert world.read("file:a").waited == 0


def test_a_reader_joins_a_prefetch_under_way():
    world = World(default=Load(seconds=1))
    world.submit([p("file:a")])
    world.run(0.25)
    outcome = world.read("file:a")
    world.settle()
    assert world.loaded == ["file:a"]
    assert outcome.waited == 0.75
    assert counts(world) == (0, 1, 0, 0)
    summary = world.summary()
    assert summary["used"] == 1
    assert summary["estimated_time_saved_s"] == 0.25


def test_a_queued_prefetch_becomes_demand_at_once():
    world = World(default=Load(seconds=1, tokens=10))
    world.submit([p(f"file:{i}", tokens=10) for i in range(8)])
    world.read("file:7")
    assert world.running(Pool.DEMAND) == 1
    assert world.loaded[-1] == "file:7"
    world.settle()
    assert counts(world) == (0, 0, 0, 1)
    assert world.summary()["total_prefetches"] == 7


def test_a_background_item_handed_to_its_pool_becomes_demand_at_once():
    world = World(default=Load(seconds=1))
    world.tell(HostBusy())
    world.submit([p("file:doc", "documentation", 0.85)])
    world.run(0.2)
    outcome = world.read("file:doc")
    world.settle()
    assert outcome.waited == 1
    assert counts(world) == (0, 0, 0, 1)
    assert world.summary()["total_prefetches"] == 0


def test_demand_has_slots_of_its_own_beside_eight_running_prefetches():
    world = World(
        default=Load(seconds=10, tokens=10),
        config=Config(max_eager_time_ms=20_000, max_immediate_time_ms=20_000),
    )
    world.submit([p(f"file:p{i}", tokens=10) for i in range(5)])
    world.submit([p(f"file:m{i}", "main_file", tokens=10) for i in range(5)], session="other")
    for i in range(6):
        world.read(f"file:d{i}")
    assert world.running(Pool.DEMAND) == 4
    assert world.running(Pool.P2) + world.running(Pool.P1) == 8


def test_demand_takes_free_prefetch_slots_too():
    world = World(default=Load(seconds=0.2))
    for i in range(15):
        world.read(f"file:{i}")
    assert world.running(Pool.DEMAND) == 12


def test_a_demand_load_that_takes_long_gives_its_slot_to_the_next():
    world = World(loads={f"file:{i}": Load(seconds=HANG) for i in range(12)})
    for i in range(12):
        world.read(f"file:{i}")
    outcome = world.read("file:well")
    world.run(0.6)
    assert isinstance(outcome.result, Answer)
    assert 0.5 <= outcome.waited < 0.6


def test_demand_of_a_source_with_sixteen_stuck_loads_fails_at_once_and_comes_back():
    world = World(
        loads={f"file:{i}": Load(seconds=20) for i in range(16)},
        sources=(SourceInfo(0, "files", "file", read_only=True),),
    )
    for i in range(16):
        world.read(f"file:{i}")
        world.run(0.6)
    outcome = world.read("file:well")
    assert isinstance(error_of(outcome), ResourceUnavailable)
    assert "16 loads stuck" in str(error_of(outcome))
    assert outcome.waited == 0
    world.run(20)
    assert isinstance(world_settled(world, "file:well").result, Answer)


def world_settled(world: World, key: str) -> Outcome:
    outcome = world.read(key)
    world.settle()
    return outcome


def test_a_source_with_a_limit_of_its_own_is_never_called_more_often_at_once():
    world = World(
        sources=(SourceInfo(0, "db", "db", read_only=True, max_concurrency=1),),
        default=Load(seconds=0.1, tokens=10),
    )
    world.submit([p("db:a", tokens=10), p("db:b", tokens=10)])
    world.read("db:c")
    assert world.loaded == ["db:a"]
    world.run(0.1)
    assert world.loaded == ["db:a", "db:c"]
    world.settle()
    assert world.loaded == ["db:a", "db:c", "db:b"]


def test_an_error_reaches_every_reader_that_waits():
    world = World(default=Load(error="boom"))
    outcomes = [world.read("file:a"), world.read("file:a")]
    world.settle()
    for outcome in outcomes:
        assert isinstance(error_of(outcome), ResourceUnavailable)
        assert "boom" in str(error_of(outcome))


def test_a_load_given_up_raises_a_timeout():
    world = World(default=Load(seconds=HANG))
    outcome = world.read("file:a")
    world.run(31)
    assert isinstance(error_of(outcome), LoadTimeout)


def test_demand_of_an_unknown_kind_is_refused_by_name():
    world = World()
    outcome = Outcome(0.0)
    world.tell(Demand("s", "nope:a", outcome))
    assert isinstance(error_of(outcome), UnknownKind)
    assert "file" in str(error_of(outcome))


def test_a_reader_that_gives_up_leaves_the_load_running():
    world = World(default=Load(seconds=1))
    outcome = world.read("file:a")
    world.tell(Forsake(outcome))
    world.settle()
    assert outcome.result is None
    assert world.resident == {"file:a"}


def test_a_reader_that_missed_what_is_resident_by_now_is_sent_back_to_the_view():
    world = World()
    world.read("file:a")
    world.run(1)
    outcome = Outcome(world.now)
    world.tell(Demand("s", "file:a", outcome, at=world.now))
    assert isinstance(outcome.result, Retry)
    assert counts(world) == (0, 0, 0, 1)


def test_a_reader_that_turned_down_what_is_resident_gets_it_loaded_anew():
    world = World()
    world.read("file:a")
    world.run(1)
    outcome = Outcome(world.now)
    seen = world.view["file:a"].loaded_at
    world.tell(Demand("s", "file:a", outcome, at=world.now, seen=seen))
    world.settle()
    assert isinstance(outcome.result, Answer)
    assert world.loaded == ["file:a", "file:a"]


def test_a_reader_that_needs_newer_content_does_not_get_an_older_load():
    world = World(default=Load(seconds=1))
    world.read("file:a")
    world.run(0.5)
    outcome = Outcome(world.now)
    world.tell(Demand("s", "file:a", outcome, at=world.now, not_before=world.now, counted=True))
    world.settle()
    assert isinstance(outcome.result, Answer)
    assert outcome.result.asked_at >= 0.5
    assert world.loaded == ["file:a", "file:a"]


# ---- changes ---------------------------------------------------------------------------------


def test_a_load_overtaken_by_a_change_is_not_stored_and_is_done_again_for_its_reader():
    world = World(default=Load(seconds=1))
    outcome = world.read("file:a")
    world.run(0.5)
    world.change("file:a")
    world.settle()
    assert isinstance(outcome.result, Answer)
    assert outcome.result.asked_at >= 0.5
    assert world.loaded == ["file:a", "file:a"]


def test_an_overtaken_prefetch_is_wasted_and_loaded_once_more():
    world = World(default=Load(seconds=1, tokens=70))
    world.submit([p("file:a")])
    world.run(0.4)
    world.change("file:a")
    world.settle()
    summary = world.summary()
    assert (summary["total_prefetches"], summary["cancelled"], summary["open"]) == (2, 1, 1)
    assert summary["wasted_tokens"] == 70
    assert world.resident == {"file:a"}


def test_what_was_read_and_changed_is_reloaded_in_the_background():
    world = World()
    world.read("file:a")
    world.run(1)
    world.change("file:a")
    world.run(1)
    assert world.loaded == ["file:a", "file:a"]
    assert world.read("file:a").waited == 0
    assert world.summary()["used"] == 1


def test_what_was_never_read_and_changed_is_wasted_and_not_reloaded():
    world = World()
    world.submit([p("file:a")])
    world.run(1)
    world.change("file:a")
    world.run(5)
    assert world.loaded == ["file:a"]
    assert world.summary()["wasted"] == 1


def test_content_handed_over_is_what_readers_get():
    world = World()
    world.read("file:a")
    world.run(1)
    world.change("file:a", "mine")
    outcome = world.read("file:a")
    assert isinstance(outcome.result, Answer)
    assert outcome.result.content.value == "mine"
    assert world.loaded == ["file:a"]


# ---- parts -----------------------------------------------------------------------------------


def test_a_reader_of_a_part_gets_it_as_soon_as_it_is_there():
    world = World(loads={"file:a": Load(seconds=2, parts=((0.5, "file:a#meta"),))})
    world.submit([p("file:a")])
    early, late = Outcome(0.0), Outcome(1.0)
    world.tell(Demand("s", "file:a#meta", early, at=0.0, whole="file:a"))
    world.run(1)
    world.tell(Demand("s", "file:a#meta", late, at=1.0, whole="file:a"))
    assert early.ended_at == 0.5
    assert late.ended_at == 1.0
    world.settle()
    assert counts(world)[1] == 2
    assert world.summary()["used"] == 1


def test_a_part_is_loaded_by_itself_where_its_whole_is_not_under_way():
    world = World()
    outcome = Outcome(0.0)
    world.tell(Demand("s", "file:a#meta", outcome, whole="file:a"))
    world.settle()
    assert world.loaded == ["file:a#meta"]


def test_content_handed_over_while_it_is_loaded_is_not_undone_by_the_load():
    world = World(default=Load(seconds=1))
    world.submit([p("file:a")])
    waiting = world.read("file:b")
    world.run(0.5)
    world.change("file:a", "mine")
    world.change("file:b", "mine too")
    assert isinstance(waiting.result, Retry)
    assert waiting.result.counted
    world.settle()
    assert {key: entry.content.value for key, entry in world.view.items()} == {
        "file:a": "mine",
        "file:b": "mine too",
    }
    assert world.loaded == ["file:a", "file:b"]
    assert world.summary()["cancelled"] == 1


def test_a_queued_demand_that_nobody_waits_for_any_more_is_not_loaded():
    world = World(default=Load(seconds=0.1))
    outcomes = [world.read(f"file:{number}") for number in range(20)]
    for outcome in outcomes:
        world.tell(Forsake(outcome, f"file:{outcomes.index(outcome)}"))
    fresh = world.read("file:fresh")
    world.settle()
    assert fresh.waited == 0.2  # twelve were running: it is the first of the queue
    assert len(world.loaded) == 13


def test_a_queued_prediction_that_its_reader_forsakes_goes_back_to_its_own_queue():
    world = World(default=Load(seconds=0.1, tokens=10))
    for number in range(12):
        world.read(f"file:{number}")
    world.submit([p("file:a", tokens=10)])
    outcome = world.read("file:a")
    world.tell(Forsake(outcome))
    world.settle()
    assert world.resident >= {"file:a"}
    assert world.summary()["total_prefetches"] == 1


# ---- found by fault schedules (test_fault_schedules) -------------------------------------------


def test_a_reader_is_not_answered_with_what_a_change_overtook_while_it_was_being_stored():
    world = World(default=Load(seconds=1))
    world.read("file:a")
    world.run(0.999)
    (flight,) = world.planner.state.flights.live.values()
    result = LoadResult(Content("old", tokens=1), 1.0)
    state = world.planner.state
    world.planner.handle(PoolReport(Pool.DEMAND, (Loaded(flight.id, result),), 1), world.now)
    assert flight.state is State.STORING
    changed = CacheReport((Invalidated("file:a", state.epoch + 1),))
    world.planner.handle(changed, world.now)
    late = Outcome(world.now)
    effects = world.planner.handle(Demand("s", "file:a", late, at=world.now), world.now)
    assert not [effect for effect in effects if isinstance(effect, Answer)]
    effects = world.planner.handle(CacheReport((Refused("file:a", flight.id),)), world.now)
    (again,) = [e.command for e in effects if isinstance(e, ToPool)]
    assert [request.key for request in again.requests] == ["file:a"]


def test_a_reader_that_refuses_what_is_being_stored_waits_for_the_cache():
    """It would be answered with the same again and again, until the cache is done."""
    world = World()
    flight = being_stored(world)
    first = Outcome(world.now)
    effects = world.planner.handle(Demand("s", "file:a", first, at=world.now), world.now)
    assert [effect.ticket for effect in effects if isinstance(effect, Answer)] == [first]
    again = Outcome(world.now)
    refused = Demand("s", "file:a", again, at=world.now, not_before=world.now + 0.1, counted=True)
    effects = world.planner.handle(refused, world.now + 0.1)
    assert not [effect for effect in effects if isinstance(effect, Answer | Retry)]
    effects = world.planner.handle(CacheReport((Stored("file:a", flight.id),)), world.now + 0.2)
    assert [effect.ticket for effect in effects if isinstance(effect, Retry)] == [again]


def being_stored(world):
    """A load of file:a that has ended, and of which the cache has said nothing yet."""
    state = world.planner.state
    world.planner.handle(Demand("s", "file:a", Outcome(0.0), at=world.now), world.now)
    (flight,) = state.flights.live.values()
    result = LoadResult(Content("old", tokens=1), 1.0)
    world.planner.handle(PoolReport(Pool.DEMAND, (Loaded(flight.id, result),), 1), world.now)
    assert flight.state is State.STORING
    return flight


def test_a_prefetch_refused_by_the_cache_while_its_answer_is_on_the_way_is_counted_once():
    world = World()
    state = world.planner.state
    world.submit([p("file:a")])
    (flight,) = state.flights.live.values()
    result = LoadResult(Content("old", tokens=1), 1.0)
    world.planner.handle(PoolReport(Pool.P2, (Started(flight.id),)), world.now)
    world.planner.handle(PoolReport(Pool.P2, (Loaded(flight.id, result),), 1), world.now)
    reader = Outcome(world.now)
    effects = world.planner.handle(Demand("s", "file:a", reader, at=world.now), world.now)
    (answer,) = [effect for effect in effects if isinstance(effect, Answer)]
    assert answer.entry is not None
    world.layers.handle(Invalidate("file:a", state.epoch + 1), world.now)
    effects = world.layers.handle(Put(answer.entry, flight.id), world.now)
    assert [e for e in effects if isinstance(e, Refused)] == [Refused("file:a", flight.id)]
    ended = [e for e in effects if isinstance(e, PrefetchEnding)]
    effects = world.planner.handle(CacheReport((Refused("file:a", flight.id),)), world.now)
    ended += [e for e in effects if isinstance(e, PrefetchEnding)]
    assert [type(event) for event in ended] == [PrefetchCancelled]
    assert not answer.entry.claim()  # so the reader that gets it notes no first read


def test_a_reader_that_joined_a_background_load_goes_to_the_alternative_as_demand():
    world = World(
        sources=(
            SourceInfo(0, "first", "file", read_only=True),
            SourceInfo(1, "second", "file", read_only=True),
        ),
        loads={"0/file:a": Load(seconds=1, error="gone"), "1/file:a": Load(seconds=1)},
    )
    world.submit([p("file:a", "documentation")])
    world.run(0.5)
    outcome = world.read("file:a")
    world.tell(HostBusy())
    world.run(5)
    assert isinstance(outcome.result, Answer)
    assert outcome.ended_at is not None
    assert outcome.ended_at < 2.1
    assert counts(world) == (0, 1, 0, 0)
    assert world.summary()["used"] == 1


def test_a_reader_whose_background_pool_gives_an_item_back_unasked_is_served_all_the_same():
    world = World()
    world.tell(HostBusy())
    world.submit([p("file:a", "documentation")])
    world.run(0.1)
    (flight,) = world.planner.state.flights.live.values()
    assert flight.state is State.HANDED
    pool = world.pools[Pool.P3]
    (report,) = pool.handle(Withdraw(flight.id), world.now)  # of a predecessor, or sent twice
    world.tell(report)
    outcome = world.read("file:a")
    world.settle()
    assert isinstance(outcome.result, Answer)


def test_a_part_whose_whole_became_resident_meanwhile_is_not_loaded_by_itself():
    world = World()
    world.submit([p("file:a")])
    world.settle()
    outcome = Outcome(world.now)
    demand = Demand("s", "file:a#meta", outcome, whole="file:a", whole_stored="file:a")
    world.tell(demand)
    assert isinstance(outcome.result, Retry)
    assert world.loaded == ["file:a"]


def test_a_reader_of_a_handed_over_item_whose_pool_is_restarted_is_counted():
    world = World()
    world.tell(HostBusy())
    world.submit([p("file:a", "documentation")])
    world.run(0.1)
    reader = Outcome(world.now)
    world.planner.handle(Demand("s", "file:a", reader, at=world.now), world.now)
    world.tell(PoolReport(Pool.P3, credits=10, reset=True))
    world.settle()
    assert isinstance(reader.result, Answer)
    assert counts(world) == (0, 0, 0, 1)


def test_a_demand_load_that_is_done_again_only_for_a_prediction_counts_as_a_prefetch():
    world = World(default=Load(seconds=1, tokens=70))
    outcome = world.read("file:a")
    world.run(0.1)
    world.submit([p("file:a")])
    world.tell(Forsake(outcome))
    world.change("file:a")
    world.settle()
    assert world.loaded == ["file:a", "file:a"]  # the second for the prediction, and no reader
    summary = world.summary()
    assert summary["demand_loads"] == 1
    assert (summary["total_prefetches"], summary["tokens_prefetched"]) == (1, 70)
    assert world.read("file:a").waited == 0
    assert world.summary()["used"] == 1
