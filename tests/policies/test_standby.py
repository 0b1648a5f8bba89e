"""Loads that take no time are handed over before they have a slot, and nothing else is."""

from collections.abc import Sequence

import pytest

from prefetch_scheduler.policies.config import Config, Execution
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import (
    CancelKey,
    Demand,
    Forsake,
    PlannerEffect,
    PlannerTick,
    Submit,
    ToPool,
)
from prefetch_scheduler.policies.pool import PoolEffect, PoolMachine, Run
from prefetch_scheduler.policies.pool_events import (
    Abandoned,
    CancelLoad,
    Ended,
    Failed,
    Fetch,
    Loaded,
    LoadFailure,
    LoadReport,
    LoadRequest,
    LoadResult,
    Permit,
    PoolReport,
    Released,
    ResetPool,
    RunEnded,
    Started,
    TakeOver,
    UnderWay,
    Withdraw,
)
from prefetch_scheduler.policies.prediction import Prediction, Terms
from prefetch_scheduler.policies.quantiles import TRUSTED
from prefetch_scheduler.policies.slots import STANDBY, pool_capacity
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable
from prefetch_scheduler.policies.vocabulary import Pool, Priority

SLOTS = 4
TABLE = SourceTable(
    (
        SourceInfo(0, "quick", "k", read_only=True),
        SourceInfo(1, "other", "o", read_only=True),
        SourceInfo(2, "many", "m", read_only=True, batches=True),
    )
)
RESULT = LoadResult(Content("text", tokens=1), 0.0)


# ---- the pool ------------------------------------------------------------------------------


def request(id_: int, source: int = 0, claim_s: float = 1.0) -> LoadRequest:
    return LoadRequest(id_, source, f"k:{id_}", str(id_), claim_s, 10.0)


def pool_with(*numbers: int, standby: int, claim_s: float = 1.0) -> PoolMachine:
    made = PoolMachine(Pool.P1, 8, permits=False, batch=True, table=TABLE)
    made.start(0.0)
    requests = tuple(request(number, claim_s=claim_s) for number in numbers)
    made.handle(Fetch(requests, standby=standby), 0.0)
    return made


def ran(effects: list[PoolEffect]) -> list[int]:
    return [r.id for e in effects if isinstance(e, Run) for r in e.requests]


def told(effects: Sequence[PoolEffect]) -> tuple[list[LoadReport], int]:
    (found,) = [e for e in effects if isinstance(e, PoolReport)]
    return list(found.reports), found.credits


def test_what_stands_by_begins_in_the_slot_of_a_load_that_ends_well() -> None:
    pool = PoolMachine(Pool.P1, 8, permits=False, batch=True, table=TABLE)
    pool.start(0.0)
    effects = pool.handle(Fetch(tuple(map(request, (1, 2, 3, 4))), standby=2), 0.0)
    assert ran(effects) == [1, 2]
    effects = pool.handle(RunEnded(2, RESULT), 0.0)
    assert ran(effects) == [3]
    assert told(effects) == ([Loaded(2, RESULT), Started(3)], 1)
    pool.ended(1, RESULT)
    pool.ended(3, RESULT)
    assert ran(pool.following(0.5)) == [4]
    assert told(pool.reports()) == ([Loaded(1, RESULT), Loaded(3, RESULT), Started(4)], 2)
    assert pool.next_deadline() == 1.5  # its claim begins when it does
    assert pool.follows_on
    assert told(pool.handle(RunEnded(4, RESULT), 0.5)) == ([Loaded(4, RESULT)], 1)
    assert not pool.follows_on


def test_the_end_of_a_load_whose_start_was_not_told_tells_of_both() -> None:
    pool = PoolMachine(Pool.P1, 8, permits=False, batch=True, table=TABLE)
    pool.start(0.0)
    effects = pool.gather(Fetch(tuple(map(request, (1, 2, 3))), standby=1), 0.0)
    assert [type(effect) for effect in effects] == [Run, Run]
    assert pool.only_begun
    assert pool.untold
    pool.ended(1, RESULT)
    pool.ended(2, LoadFailure("bad"))
    assert ran(pool.following(0.0)) == [3]
    both = [Loaded(1, RESULT, began=True), Failed(2, "bad", began=True)]
    assert told(pool.reports()) == ([*both, Started(3)], 2)
    assert pool.reports() == []
    assert not pool.untold
    assert told(pool.handle(RunEnded(3, RESULT), 0.0)) == ([Loaded(3, RESULT)], 1)


def test_a_start_is_told_before_all_else_but_an_end() -> None:
    pool = PoolMachine(Pool.P1, 8, permits=False, batch=True, table=TABLE)
    pool.start(0.0)
    pool.gather(Fetch((request(1), request(2))), 0.0)
    pool.gather(CancelLoad(1), 0.0)
    cancelled = Released(1, timed_out=False, started=True)
    assert told(pool.reports()) == ([Started(1), Started(2), cancelled], 1)


@pytest.mark.parametrize("how", ["failed", "cancelled", "late", "abandoned"])
def test_what_stands_by_is_given_back_once_no_load_of_its_source_would_make_room(how: str) -> None:
    pool = pool_with(1, 2, 3, 4, standby=2)
    other = pool.handle(Fetch((request(9, 1),)), 0.0)
    assert ran(other) == [9]
    back = [Released(id_, timed_out=False, started=False) for id_ in (3, 4)]
    match how:
        case "failed":
            bad = LoadFailure("bad")
            assert told(pool.handle(RunEnded(1, bad), 0.0)) == ([Failed(1, "bad")], 1)
            reports, credits_ = told(pool.handle(RunEnded(2, bad), 0.0))
        case "cancelled":
            pool.handle(CancelLoad(1), 0.0)
            reports, credits_ = told(pool.handle(CancelLoad(2), 0.0))
        case "late":
            reports, credits_ = told(pool.tick(1.0))
            assert credits_ == 5  # 1, 2 and 9 as well
            assert [r for r in reports if isinstance(r, Released) and not r.started] == back
            return
        case _:
            pool = pool_with(1, 3, 4, standby=2, claim_s=20.0)
            reports, credits_ = told(pool.tick(10.0))
            assert reports[0] == Abandoned(1)
    assert [r for r in reports if r in back] == back
    assert credits_ == 3
    assert not pool.follows_on
    assert pool.counts()["waiting"] == 0


def test_what_stands_by_is_given_back_once_a_load_of_its_source_takes_time() -> None:
    pool = pool_with(1, 2, 3, 4, standby=2)
    slow = LoadResult(Content("text", tokens=1), 0.1)
    pool.ended(2, RESULT)
    pool.ended(1, slow)
    assert ran(pool.following(0.1)) == []
    back = [Released(id_, timed_out=False, started=False) for id_ in (3, 4)]
    assert told(pool.reports()) == ([Loaded(2, RESULT), Loaded(1, slow), *back], 4)
    assert not pool.follows_on


def test_a_load_of_another_source_makes_no_room_for_what_stands_by() -> None:
    pool = pool_with(1, 2, standby=1)
    pool.handle(Fetch((request(9, 1),)), 0.0)
    assert ran(pool.handle(RunEnded(9, RESULT), 0.0)) == []
    assert ran(pool.handle(RunEnded(1, RESULT), 0.0)) == [2]


def test_what_stands_by_for_a_load_that_was_cancelled_ahead_is_given_back() -> None:
    pool = pool_with(standby=0)
    pool.cancel_ahead(1)
    effects = pool.handle(Fetch((request(1), request(2)), standby=1), 0.0)
    assert ran(effects) == []
    reports, credits_ = told(effects)
    assert {r.id for r in reports if isinstance(r, Released) and not r.started} == {1, 2}
    assert credits_ == 2


def test_what_stands_by_can_be_taken_back_and_its_turn_goes_to_the_next() -> None:
    pool = pool_with(1, 2, 3, standby=2)
    released = Released(2, timed_out=False, started=False)
    assert told(pool.handle(Withdraw(2), 0.0)) == ([released], 1)
    assert ran(pool.handle(RunEnded(1, RESULT), 0.0)) == [3]
    assert pool.handle(Withdraw(3), 0.0) == []  # it has begun


def test_neither_a_reset_nor_a_new_planner_leaves_anything_that_stands_by() -> None:
    pool = pool_with(1, 2, 3, standby=2)
    (under_way,) = [e for e in pool.handle(TakeOver(2), 0.0) if isinstance(e, UnderWay)]
    assert (under_way.running, under_way.credits) == ((1,), 7)
    assert ran(pool.handle(RunEnded(1, RESULT), 0.0)) == []
    pool = pool_with(1, 2, 3, standby=2)
    pool.handle(ResetPool(), 0.0)
    effects = pool.handle(RunEnded(1, RESULT), 0.0)
    assert ran(effects) == []
    assert told(effects)[0] == [Ended(1)]


# ---- the planner ---------------------------------------------------------------------------


class Planned:
    """A planner whose pools are played by the test."""

    def __init__(self, load_s: float = 0.0, loads: int = TRUSTED, slots: int = SLOTS) -> None:
        execution = Execution(immediate_reserved=0)
        config = Config(
            max_prefetch_tokens=10**6, max_concurrent_fetches=slots, execution=execution
        )
        self.machine = PlannerMachine(config, TABLE)
        for pool in Pool:
            grant = PoolReport(pool, (), pool_capacity(config, pool), reset=True)
            self.machine.handle(grant, 0.0)
        for source in TABLE.infos:
            for number in range(loads):
                self.machine.state.estimator.observe(
                    source, f"before-{number}", estimated_tokens=None, tokens=1, load_s=load_s
                )

    def submit(self, count: int, kind: str = "k", role: str = "main_file") -> list[Fetch]:
        made = tuple(Prediction(f"{kind}:{n}", role, 0.9) for n in range(count))
        return self.fetches(self.machine.handle(Submit("s", made, Terms()), 0.0))

    def fetches(self, effects: list[PlannerEffect]) -> list[Fetch]:
        effects += self.machine.handle(PlannerTick(), 0.0)
        self.machine.check()
        return [
            e.command for e in effects if isinstance(e, ToPool) and isinstance(e.command, Fetch)
        ]

    def tell(self, *reports: LoadReport, credits_: int = 0) -> list[PlannerEffect]:
        effects = self.machine.handle(PoolReport(Pool.P1, reports, credits_), 0.0)
        self.machine.check()
        return effects

    def promoted_from_background(self, count: int, priority: Priority) -> Fetch:
        """Hand loads to the background pool, then state them again as more urgent."""
        made = tuple(Prediction(f"k:{n}", "extended_context", 0.9) for n in range(count))
        for stated in (Priority.P3, priority):
            terms = Terms(override={p.key: stated for p in made})
            effects = self.machine.handle(Submit("s", made, terms), 0.0)
            effects += self.machine.handle(PlannerTick(), 0.0)
        back = commands(effects, Withdraw)
        released = tuple(Released(id_, timed_out=False, started=False) for id_ in back)
        effects = self.machine.handle(PoolReport(Pool.P3, released, count), 0.0)
        (fetch,) = self.fetches(effects)
        return fetch

    @property
    def standing_by(self) -> set[int]:
        return self.machine.state.slots.standby[Pool.P1]


def commands(effects: list[PlannerEffect], kind: type) -> list[int]:
    found = [e.command for e in effects if isinstance(e, ToPool)]
    return [c.id for c in found if isinstance(c, kind) and isinstance(c, Withdraw | CancelLoad)]


def test_loads_that_take_no_time_are_handed_over_ahead() -> None:
    planned = Planned()
    (fetch,) = planned.submit(120)
    assert (len(fetch.requests), fetch.standby) == (SLOTS + STANDBY, STANDBY)
    first = [r.id for r in fetch.requests]
    # One after the other, each in the slot of the one before; no more are sent until there is room.
    took_over = [
        item
        for ended, begun in zip(first, first[SLOTS:], strict=False)
        for item in (Loaded(ended, RESULT), Started(begun))
    ]
    began = [Started(id_) for id_ in first[:SLOTS]]
    effects = planned.tell(*began, *took_over, credits_=STANDBY)
    assert planned.fetches(effects) == []
    assert planned.standing_by == set()
    at_source = planned.machine.state.flights.at_source[0]
    assert at_source == planned.machine.state.slots.claims[Pool.P1] == set(first[STANDBY:])
    effects = planned.tell(*[Loaded(id_, RESULT) for id_ in first[STANDBY:]], credits_=SLOTS)
    (fetch,) = planned.fetches(effects)
    left = 120 - len(first)
    assert (len(fetch.requests), fetch.standby) == (left, left - SLOTS)


@pytest.mark.parametrize(
    ("load_s", "loads", "kind"),
    [(0.05, TRUSTED, "k"), (0.0, TRUSTED - 1, "k"), (0.0, TRUSTED, "m")],
    ids=["they take time", "too little is known", "its source loads many at once"],
)
def test_other_loads_wait_in_the_planner(load_s: float, loads: int, kind: str) -> None:
    planned = Planned(load_s, loads)
    (fetch,) = planned.submit(100, kind)
    assert (len(fetch.requests), fetch.standby) == (SLOTS, 0)


def test_as_many_stand_by_as_end_within_two_milliseconds() -> None:
    (fetch,) = Planned(load_s=0.0008).submit(100)
    assert 0 < fetch.standby <= 2 * SLOTS


def test_a_source_that_failed_last_is_handed_no_load_ahead() -> None:
    planned = Planned()
    planned.machine.state.breakers.failed(0, 0.0)
    (fetch,) = planned.submit(100)
    assert fetch.standby == 0


def test_what_stands_by_makes_way_for_a_reader_that_waits_for_a_slot() -> None:
    planned = Planned()
    (fetch,) = planned.submit(SLOTS + 8)
    waiting = {r.id for r in fetch.requests[SLOTS:]}
    assert planned.standing_by == waiting
    effects: list[PlannerEffect] = []
    demand = planned.machine.state.config.execution.demand_slots
    for number in range(demand + 1):  # the last of them finds no slot
        effects += planned.machine.handle(Demand("r", f"o:{number}", ticket=number), 0.0)
    assert set(commands(effects, Withdraw)) == waiting
    effects = planned.machine.handle(Demand("r", "o:more", ticket="more"), 0.0)
    assert commands(effects, Withdraw) == []  # they have been called back already
    planned.tell(*[Released(id_, timed_out=False, started=False) for id_ in waiting], credits_=8)
    assert planned.standing_by == set()
    assert planned.machine.state.queue.length(Pool.P1) == 8


def test_a_reader_gets_what_stands_by_at_once() -> None:
    planned = Planned()
    (fetch,) = planned.submit(SLOTS + 8)
    wanted = fetch.requests[-1]
    effects = planned.machine.handle(Demand("r", wanted.key, ticket="r"), 0.0)
    assert commands(effects, Withdraw) == [wanted.id]
    effects = planned.tell(Released(wanted.id, timed_out=False, started=False), credits_=1)
    (again,) = [e for e in effects if isinstance(e, ToPool) and isinstance(e.command, Fetch)]
    assert again.pool is Pool.DEMAND
    assert isinstance(again.command, Fetch)
    assert [r.key for r in again.command.requests] == [wanted.key]


@pytest.mark.parametrize("crossed", [False, True])
def test_a_cancelled_load_that_stood_by_leaves_nothing_behind(crossed: bool) -> None:
    planned = Planned()
    (fetch,) = planned.submit(SLOTS + 1)
    first, last = fetch.requests[0], fetch.requests[-1]
    assert commands(planned.machine.handle(CancelKey("s", last.key), 0.0), CancelLoad) == [last.id]
    state = planned.machine.state
    if crossed:  # it had begun when the cancel came
        planned.tell(Loaded(first.id, RESULT), Started(last.id), credits_=1)
        assert state.slots.claims[Pool.P1] == {r.id for r in fetch.requests[1:]}
        planned.tell(Released(last.id, timed_out=False, started=True), credits_=1)
        assert state.flights.stuck_at(0) == 1
        planned.tell(Ended(last.id))
    else:
        planned.tell(Released(last.id, timed_out=False, started=False), credits_=1)
    assert planned.standing_by == set()
    assert not any(flight.standby for flight in state.flights.by_id.values())
    assert last.id not in state.flights.by_id
    assert last.id not in state.slots.claims[Pool.P1]


def test_what_stands_by_is_taken_back_once_however_many_want_it_sooner() -> None:
    planned = Planned()
    (fetch,) = planned.submit(SLOTS + 1)
    last = fetch.requests[-1]
    sent = [
        commands(planned.machine.handle(Demand(who, last.key, ticket=who, at=0.0), 0.0), Withdraw)
        for who in ("a", "b")
    ]
    assert sent == [[last.id], []]
    effects = planned.tell(Released(last.id, timed_out=False, started=False), credits_=1)
    (again,) = planned.fetches(effects)
    assert [r.key for r in again.requests] == [last.key]


def test_what_comes_back_from_its_pool_unasked_is_handed_over_anew() -> None:
    """As when a request to give it back meets it there for the second time."""
    planned = Planned()
    (fetch,) = planned.submit(1)
    (request,) = fetch.requests
    effects = planned.tell(Released(request.id, timed_out=False, started=False), credits_=1)
    (again,) = planned.fetches(effects)
    assert [r.key for r in again.requests] == [request.key]


def test_a_pool_that_starts_anew_has_nothing_that_stands_by() -> None:
    planned = Planned()
    (fetch,) = planned.submit(SLOTS + 8)
    capacity = pool_capacity(planned.machine.state.config, Pool.P1)
    effects = planned.machine.handle(PoolReport(Pool.P1, (), capacity, reset=True), 0.0)
    (again,) = planned.fetches(effects)
    assert {r.key for r in again.requests} == {r.key for r in fetch.requests}
    assert {r.id for r in again.requests}.isdisjoint(r.id for r in fetch.requests)
    assert planned.standing_by == {r.id for r in again.requests[SLOTS:]}
    flights = planned.machine.state.flights.by_id.values()
    assert {flight.id for flight in flights if flight.standby} == planned.standing_by


def test_no_permit_is_given_for_what_stands_by_elsewhere() -> None:
    planned = Planned(slots=4 * SLOTS)
    eager = planned.machine.state.config.execution.eager_max_concurrent
    fetch = planned.promoted_from_background(eager + 1, Priority.P2)
    assert (len(fetch.requests), fetch.standby) == (eager + 1, 1)
    effects = planned.machine.handle(PlannerTick(), 10.0)
    assert [e for e in effects if isinstance(e, ToPool) and isinstance(e.command, Permit)] == []
    assert planned.machine.state.slots.permits == 0


def test_what_stands_by_for_the_sake_of_a_plan_does_not_expire_as_background_loads_do() -> None:
    planned = Planned()
    fetch = planned.promoted_from_background(SLOTS + 1, Priority.P1)
    assert fetch.standby == 1
    expired = planned.machine.state.config.execution.start_expiry_s + 1
    effects = planned.machine.handle(PlannerTick(), expired)
    assert commands(effects, CancelLoad) == []
    assert planned.standing_by == {fetch.requests[-1].id}


def test_how_long_a_load_stood_by_does_not_count_as_time_that_it_took() -> None:
    planned = Planned()
    (fetch,) = planned.submit(SLOTS + 1)
    first, last = fetch.requests[0], fetch.requests[-1]
    report = PoolReport(Pool.P1, (Loaded(first.id, RESULT), Started(last.id)), 1)
    planned.machine.handle(report, 5.0)
    effects = planned.machine.handle(Demand("r", last.key, ticket="r", at=5.0), 5.0)
    assert commands(effects, CancelLoad) == []  # it has just begun: the reader joins it
    longest = planned.machine.state.estimator.times[0].pessimistic
    planned.machine.handle(Forsake("r"), 5.0)
    planned.machine.handle(CancelKey("s", last.key), 5.0)
    assert planned.machine.state.estimator.times[0].pessimistic == longest


def test_what_nobody_wants_any_more_is_not_queued_anew_when_it_is_given_back() -> None:
    planned = Planned()
    (fetch,) = planned.submit(SLOTS + 1)
    last, ticket = fetch.requests[-1], "r"
    planned.machine.handle(Demand("r", last.key, ticket=ticket), 0.0)
    planned.machine.handle(CancelKey("s", last.key), 0.0)
    planned.machine.handle(Forsake(ticket), 0.0)
    planned.tell(Released(last.id, timed_out=False, started=False), credits_=1)
    state = planned.machine.state
    assert len(state.queue) == 0
    assert last.id not in state.flights.by_id
