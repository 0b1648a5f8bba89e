"""A pool between two planners, and a planner between two pools."""

import pytest

from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.pool import CancelRun, PoolEffect, PoolMachine, Run
from prefetch_scheduler.policies.pool_events import (
    CancelLoad,
    Fetch,
    Loaded,
    LoadRequest,
    LoadResult,
    Permit,
    PoolReport,
    RunEnded,
    Sender,
    Started,
    TakeOver,
    UnderWay,
)
from prefetch_scheduler.policies.pool_reports import merged
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable
from prefetch_scheduler.policies.vocabulary import Pool

TABLE = SourceTable((SourceInfo(0, "files", "file", read_only=True),))
RESULT = LoadResult(Content("text"), 0.01)


def request(id_: int, claim_s: float = 1.0) -> LoadRequest:
    return LoadRequest(id_, 0, f"file:{id_}", str(id_), claim_s, 10.0)


def machine(
    capacity: int = 4, *, permits: bool = False, incarnation: int = 1, planner: int = 0
) -> PoolMachine:
    made = PoolMachine(
        Pool.P3 if permits else Pool.P1,
        capacity,
        permits=permits,
        batch=True,
        table=TABLE,
        incarnation=incarnation,
        planner=planner,
    )
    made.start(0.0)
    return made


def ran(effects: list[PoolEffect]) -> list[int]:
    return [r.id for e in effects if isinstance(e, Run) for r in e.requests]


def answer(effects: list[PoolEffect]) -> UnderWay:
    (found,) = [e for e in effects if isinstance(e, UnderWay)]
    return found


def test_what_runs_goes_on_and_what_waits_is_dropped() -> None:
    pool = machine(5, permits=True)
    pool.handle(Fetch((request(1), request(2, claim_s=0.5), request(3), request(4)), False), 0.0)
    pool.handle(Permit(3), 0.0)
    pool.tick(0.5)  # the claim of 2 has run out
    pool.handle(CancelLoad(3), 0.5)
    effects = pool.handle(TakeOver(2), 0.6)
    assert not [e for e in effects if isinstance(e, CancelRun)]
    assert answer(effects) == UnderWay(Pool.P3, 2, 4, (1,), (2,), (3,), 1)
    assert ran(pool.handle(Permit(5), 0.6)) == []  # 4 is gone
    last = pool.handle(RunEnded(1, RESULT), 0.7)[-1]
    assert isinstance(last, PoolReport)
    assert (last.reports, last.credits, last.planner) == ((Loaded(1, RESULT),), 1, 2)


def test_a_fetch_of_a_planner_that_is_gone_does_not_run_and_uses_no_credit() -> None:
    pool = machine()
    pool.handle(TakeOver(2), 0.0)
    assert pool.handle(Fetch((request(1),), by=Sender(1, 1)), 0.0) == []
    assert pool.handle(Permit(1, by=Sender(1, 1)), 0.0) == []
    assert ran(pool.handle(Fetch((request(2),), by=Sender(2, 1)), 0.0)) == [2]
    assert answer(pool.handle(TakeOver(3), 0.1)).credits == 3


def test_a_pool_that_starts_anew_knows_which_planner_lives() -> None:
    pool = machine(incarnation=2, planner=3)
    assert pool.handle(Fetch((request(1),), by=Sender(2, 1)), 0.0) == []
    assert ran(pool.handle(Fetch((request(1),), by=Sender(3, 2)), 0.0)) == [1]


def test_what_was_sent_to_the_pool_before_it_is_left_to_the_planner_to_send_again() -> None:
    pool = machine(incarnation=2)
    assert pool.handle(Fetch((request(1),), by=Sender(1, 1)), 0.0) == []
    assert ran(pool.handle(Fetch((request(2),), by=Sender(1, 2)), 0.0)) == [2]
    # Who does not sign, or has heard of no pool yet, is not turned away.
    assert ran(pool.handle(Fetch((request(3),), by=Sender(1)), 0.0)) == [3]
    assert ran(pool.handle(Fetch((request(4),)), 0.0)) == [4]


@pytest.mark.parametrize("running", range(5))
def test_the_credits_of_an_answer_and_the_loads_under_way_make_up_the_capacity(
    running: int,
) -> None:
    pool = machine(4)
    pool.handle(Fetch(tuple(request(n) for n in range(1, running + 1))), 0.0)
    under_way = answer(pool.handle(TakeOver(2), 0.0))
    assert under_way.credits + len(under_way.running) == 4


def test_reports_for_two_planners_are_not_merged_nor_moved_past_an_answer() -> None:
    one = PoolReport(Pool.P1, (Started(1),), planner=1)
    two = PoolReport(Pool.P1, (Started(2),), planner=2)
    under_way = UnderWay(Pool.P1, 2, 4)
    assert merged([one, one, two]) == [
        PoolReport(Pool.P1, (Started(1), Started(1))),
        two,
    ]
    assert merged([one, under_way, two]) == [one, under_way, two]
