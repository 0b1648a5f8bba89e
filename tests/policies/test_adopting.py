"""What a new planner takes over: facts, loads under way, submits that were not begun."""

from typing import Any

from prefetch_scheduler.policies.adopting import Adoption, carry_over, unfinished
from prefetch_scheduler.policies.cache_events import CacheReport, Invalidated, Put
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.flights import State
from prefetch_scheduler.policies.metrics_events import (
    EVENT_TYPES,
    PrefetchCancelled,
    PrefetchFailed,
    PrefetchStarted,
)
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import (
    Answer,
    ContextChanged,
    Demand,
    HostBusy,
    ImmediateDone,
    PinKey,
    PlannerTick,
    SessionStarted,
    Submit,
    ToPool,
)
from prefetch_scheduler.policies.pool_events import (
    Fetch,
    Loaded,
    LoadResult,
    PoolReport,
    Started,
    UnderWay,
)
from prefetch_scheduler.policies.prediction import Prediction
from prefetch_scheduler.policies.slots import pool_capacity
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable
from prefetch_scheduler.policies.vocabulary import Pool

TABLE = SourceTable((SourceInfo(0, "files", "file", read_only=True),))
CONFIG = Config()
RESULT = LoadResult(Content("text", tokens=3), 0.01)


def planner(incarnation: int = 1) -> PlannerMachine:
    made = PlannerMachine(CONFIG, TABLE, incarnation)
    if incarnation == 1:
        for pool in Pool:
            made.handle(PoolReport(pool, (), pool_capacity(CONFIG, pool), reset=True), 0.0)
    return made


def main_file(key: str) -> Prediction:
    return Prediction(key, "main_file", 0.85)


def fetched(effects: list[Any]) -> dict[int, tuple[Pool, str]]:
    return {
        request.id: (effect.pool, request.key)
        for effect in effects
        if isinstance(effect, ToPool) and isinstance(effect.command, Fetch)
        for request in effect.command.requests
    }


def counted(effects: list[Any]) -> list[Any]:
    return [effect for effect in effects if type(effect) in EVENT_TYPES]


def successor(old: PlannerMachine) -> tuple[PlannerMachine, Adoption]:
    new = planner(2)
    carry_over(old.state, new.state)
    return new, Adoption(old.state, new.state, 2)


def answers(
    adoption: Adoption, running: dict[Pool, tuple[int, ...]], **more: dict[Pool, tuple[int, ...]]
) -> list[Any]:
    effects: list[Any] = []
    for pool in Pool:
        ids = running.get(pool, ())
        event = UnderWay(
            pool,
            2,
            pool_capacity(CONFIG, pool) - len(ids),
            ids,
            more.get("late", {}).get(pool, ()),
            more.get("dropped", {}).get(pool, ()),
        )
        effects += adoption.under_way(event)
    assert adoption.complete
    return effects


def test_facts_of_the_host_and_what_was_learned_are_carried_over() -> None:
    old = planner()
    old.handle(SessionStarted("s", "p", "ann"), 0.0)
    old.handle(ContextChanged("s", "c"), 0.0)
    old.handle(PinKey("s", "file:pin"), 0.0)
    old.handle(HostBusy(), 0.0)
    new, _ = successor(old)
    session = new.state.sessions["s"]
    assert (session.project, session.user, session.context) == ("p", "ann", "c")
    assert session.pins == {"file:pin"}
    assert session.plan is None
    assert new.state.host_busy
    assert new.state.estimator is old.state.estimator
    assert new.state.last_plan >= old.state.last_plan


def test_a_running_load_is_joined_by_the_next_reader_and_its_result_stored() -> None:
    old = planner()
    (number,) = fetched(old.handle(Demand("s", "file:a", "t", at=0.0), 0.0))
    new, adoption = successor(old)
    answers(adoption, {Pool.DEMAND: (number,)})
    new.check()
    assert fetched(new.handle(Demand("s", "file:a", "again", at=0.0, counted=True), 0.1)) == {}
    effects = new.handle(PoolReport(Pool.DEMAND, (Loaded(number, RESULT),), 1), 0.2)
    (answer,) = [e for e in effects if isinstance(e, Answer)]
    assert answer.ticket == "again"
    assert [e for e in effects if isinstance(e, Put)]
    assert new.state.slots.credits[Pool.DEMAND] == pool_capacity(CONFIG, Pool.DEMAND)
    new.check()


def test_a_load_that_a_change_overtook_before_it_was_adopted_is_not_stored() -> None:
    old = planner()
    (number,) = fetched(old.handle(Demand("s", "file:a", "t", at=0.0), 0.0))
    new, adoption = successor(old)
    change = Invalidated("file:a", 1)
    adoption.invalidated(change)
    new.handle(CacheReport((change,)), 0.1)  # acknowledged: nobody else knows of it any more
    answers(adoption, {Pool.DEMAND: (number,)})
    effects = new.handle(PoolReport(Pool.DEMAND, (Loaded(number, RESULT),), 1), 0.2)
    assert not [e for e in effects if isinstance(e, Put)]


def test_claims_and_credits_after_the_answers_never_exceed_the_capacity() -> None:
    old = planner()
    ids = fetched(old.handle(Submit("s", tuple(main_file(f"file:{n}") for n in range(30))), 0.0))
    assert len(ids) == CONFIG.max_concurrent_fetches
    new, adoption = successor(old)
    answers(adoption, {Pool.P1: tuple(ids)})
    effects = new.handle(Submit("s", tuple(main_file(f"file:x{n}") for n in range(9))), 0.1)
    assert fetched(effects) == {}  # all slots are taken
    for pool, credit in new.state.slots.credits.items():
        assert credit + len(new.state.slots.claims[pool]) <= pool_capacity(CONFIG, pool)
    new.check()


def test_a_start_is_counted_once_whoever_read_its_report() -> None:
    old = planner()
    first, second = fetched(
        old.handle(Submit("s", (main_file("file:a"), main_file("file:b"))), 0.0)
    )
    old.handle(PoolReport(Pool.P1, (Started(first),)), 0.0)
    new, adoption = successor(old)
    assert adoption.report(PoolReport(Pool.P1, (Started(second),), 3, planner=1)) is None
    events = counted(answers(adoption, {Pool.P1: (first, second)}))
    assert [e.id for e in events if isinstance(e, PrefetchStarted)] == [second]
    assert adoption.lost() == []
    assert new.state.slots.credits[Pool.P1] == pool_capacity(CONFIG, Pool.P1) - 2


def test_a_result_on_its_way_to_the_old_planner_is_taken_in_without_its_credit() -> None:
    old = planner()
    (number,) = fetched(old.handle(Submit("s", (main_file("file:a"),)), 0.0))
    new, adoption = successor(old)
    report = PoolReport(Pool.P1, (Started(number), Loaded(number, RESULT)), 1, planner=1)
    ours = adoption.report(report)
    assert ours == PoolReport(Pool.P1, (Loaded(number, RESULT),))
    assert [e.id for e in counted(adoption.counted())] == [number]
    assert [e for e in new.handle(ours, 0.1) if isinstance(e, Put)]
    assert new.state.slots.credits[Pool.P1] == 0
    answers(adoption, {})
    assert adoption.lost() == []


def test_a_result_that_tells_of_its_start_too_gives_no_permit_back_to_the_new_planner() -> None:
    old = planner()
    background = Prediction("file:a", "documentation", 0.85)
    (number,) = fetched(old.handle(Submit("s", (background,)), 0.0))
    new, adoption = successor(old)
    both = Loaded(number, RESULT, began=True)
    ours = adoption.report(PoolReport(Pool.P3, (both,), 1, planner=1))
    assert ours is not None
    events = [*adoption.counted(), *new.handle(ours, 0.1)]
    assert [e.id for e in counted(events) if isinstance(e, PrefetchStarted)] == [number]
    assert new.state.slots.permits == 0  # it was the old one's
    new.check()


def test_a_prefetch_that_no_pool_knows_of_any_more_is_counted_as_failed() -> None:
    old = planner()
    (number,) = fetched(old.handle(Submit("s", (main_file("file:a"),)), 0.0))
    old.handle(PoolReport(Pool.P1, (Started(number),)), 0.0)
    _, adoption = successor(old)
    answers(adoption, {})
    (event,) = counted(adoption.lost())
    assert isinstance(event, PrefetchFailed)
    assert event.id == number


def test_a_late_answer_finds_another_load_of_the_key_and_leaves_it_alone() -> None:
    old = planner()
    (number,) = fetched(old.handle(Submit("s", (main_file("file:a"),)), 0.0))
    old.handle(PoolReport(Pool.P1, (Started(number),)), 0.0)
    new, adoption = successor(old)
    new.handle(PoolReport(Pool.DEMAND, (), 4, reset=True), 0.1)
    (own,) = fetched(new.handle(Demand("s", "file:a", "t", at=0.1), 0.1))
    events = counted(answers(adoption, {Pool.P1: (number,), Pool.DEMAND: ()}))
    assert [type(e) for e in events] == [PrefetchCancelled]
    assert new.state.flights.live["file:a"].id == own
    assert new.state.flights.by_id[number].state is State.GONE
    assert new.state.flights.running_at(0) == 2  # its source is still held
    new.handle(PoolReport(Pool.P1, (Loaded(number, RESULT),), 1), 0.2)
    assert new.state.flights.running_at(0) == 1
    assert not new.state.slots.claims[Pool.P1]


def test_stuck_loads_still_count_against_their_source() -> None:
    old = planner()
    ids = tuple(fetched(old.handle(Submit("s", (main_file("file:a"), main_file("file:b"))), 0.0)))
    new, adoption = successor(old)
    answers(adoption, {}, late={Pool.P1: ids[:1]}, dropped={Pool.P1: ids[1:]})
    assert new.state.flights.stuck_at(0) == 2
    assert new.state.flights.live["file:a"].state is State.LINGERING


def test_what_had_not_begun_is_submitted_again_and_its_submitter_is_told() -> None:
    old = planner()
    submit = Submit("s", tuple(main_file(f"file:{n}") for n in range(10)), ticket="handle")
    ids = fetched(old.handle(submit, 0.0))
    new, adoption = successor(old)
    answers(adoption, {Pool.P1: tuple(ids)})
    (again,) = unfinished(old.state, [submit], new.state.flights.live)
    assert {p.key for p in again.predictions} == {p.key for p in submit.predictions}
    effects = new.handle(again, 0.1)
    done: set[int] = set()
    while not [e for e in effects if isinstance(e, ImmediateDone)]:
        (number, *_) = [f.id for f in new.state.flights.live.values() if f.id not in done
                        and f.state is State.RUNNING]  # fmt: skip
        done.add(number)
        effects = new.handle(PoolReport(Pool.P1, (Loaded(number, RESULT),), 1), 0.2)
        stored = [e for e in effects if isinstance(e, Put)]
        for put in stored:
            effects += new.handle(_stored(put), 0.2)
    assert len(done) == 10
    (told,) = [e for e in effects if isinstance(e, ImmediateDone)]
    assert (told.ticket, told.ok) == ("handle", True)


def _stored(put: Any) -> Any:
    from prefetch_scheduler.policies.cache_events import CacheReport, Stored

    return CacheReport((Stored(put.entry.stored, put.flight_id, put.entry),))


def test_nothing_is_submitted_again_that_is_loaded_or_of_a_context_that_was_left() -> None:
    old = planner()
    submit = Submit("s", (main_file("file:a"),), context="one", ticket="handle")
    old.handle(submit, 0.0)
    assert unfinished(old.state, [submit], ["file:a"]) != []  # its submitter waits
    old.handle(ContextChanged("s", "two"), 0.1)
    assert unfinished(old.state, [submit], ["file:a"]) == []


def test_a_planner_that_ends_while_it_takes_over_hands_its_records_on() -> None:
    old = planner()
    (number,) = fetched(old.handle(Submit("s", (main_file("file:a"),)), 0.0))
    second, adoption = successor(old)
    third = planner(3)
    carry_over(second.state, third.state)
    again = Adoption(second.state, third.state, 3, adoption)
    for pool in Pool:
        ids = (number,) if pool is Pool.P1 else ()
        again.under_way(UnderWay(pool, 3, pool_capacity(CONFIG, pool) - len(ids), ids))
    assert third.state.flights.live["file:a"].id == number
    third.handle(PlannerTick(), 0.1)
    third.check()
