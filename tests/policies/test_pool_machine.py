"""The pool's machine, told the time."""

import pytest

from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.pool import CancelRun, PoolEffect, PoolMachine, Run
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
    PartLoaded,
    Permit,
    PoolReport,
    Released,
    ResetPool,
    RunEnded,
    RunPart,
    Started,
    Withdraw,
)
from prefetch_scheduler.policies.pool_reports import merged
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable
from prefetch_scheduler.policies.vocabulary import Pool

TABLE = SourceTable(
    (
        SourceInfo(0, "single", "file", read_only=True),
        SourceInfo(1, "many", "doc", read_only=True, batches=True),
    )
)
RESULT = LoadResult(Content("text"), 0.01)


def request(id_: int, source: int = 0, claim_s: float = 1.0, load_s: float = 10.0) -> LoadRequest:
    return LoadRequest(id_, source, f"k:{id_}", str(id_), claim_s, load_s)


def machine(capacity: int = 4, *, permits: bool = False, batch: bool = True) -> PoolMachine:
    made = PoolMachine(Pool.P1, capacity, permits=permits, batch=batch, table=TABLE)
    assert made.start(0.0) == [PoolReport(Pool.P1, (), capacity, 0, True)]
    return made


def runs(effects: list[PoolEffect]) -> list[list[int]]:
    return [[r.id for r in e.requests] for e in effects if isinstance(e, Run)]


def cancels(effects: list[PoolEffect]) -> list[int]:
    return [e.id for e in effects if isinstance(e, CancelRun)]


def report(effects: list[PoolEffect]) -> PoolReport:
    found = [e for e in effects if isinstance(e, PoolReport)]
    assert len(found) == 1
    assert effects[-1] is found[0]
    return found[0]


def reports(effects: list[PoolEffect]) -> list[LoadReport]:
    return list(report(effects).reports)


def test_a_pool_without_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        PoolMachine(Pool.P0, 0, permits=False, batch=True, table=TABLE)


def test_a_fetch_starts_at_once_and_gives_no_credit_until_it_ends() -> None:
    pool = machine()
    effects = pool.handle(Fetch((request(1),)), 0.0)
    assert runs(effects) == [[1]]
    assert report(effects) == PoolReport(Pool.P1, (Started(1),))
    done = pool.handle(RunEnded(1, RESULT), 0.5)
    assert report(done) == PoolReport(Pool.P1, (Loaded(1, RESULT),), 1)
    assert pool.next_deadline() is None


def test_a_failure_is_reported_with_its_error_and_gives_the_credit_back() -> None:
    pool = machine()
    pool.handle(Fetch((request(1),)), 0.0)
    error = OSError("gone")
    done = report(pool.handle(RunEnded(1, LoadFailure("OSError: gone", error)), 0.5))
    assert done.credits == 1
    assert done.reports == (Failed(1, "OSError: gone", error),)


def test_requests_of_one_batching_source_share_a_run_and_others_do_not() -> None:
    pool = machine()
    effects = pool.handle(Fetch((request(1, 1), request(2, 0), request(3, 1), request(4, 0))), 0.0)
    assert runs(effects) == [[1, 3], [2], [4]]


def test_batching_switched_off_runs_each_request_alone() -> None:
    pool = machine(batch=False)
    assert runs(pool.handle(Fetch((request(1, 1), request(2, 1))), 0.0)) == [[1], [2]]


def test_each_item_of_a_batch_keeps_its_own_deadline_result_and_error() -> None:
    pool = machine()
    pool.handle(Fetch((request(1, 1, claim_s=0.1), request(2, 1, claim_s=0.5), request(3, 1))), 0.0)
    assert reports(pool.tick(0.1)) == [Released(1, timed_out=True, started=True)]
    assert reports(pool.handle(RunEnded(1, RESULT), 0.2)) == [Loaded(1, RESULT)]
    assert reports(pool.handle(RunEnded(2, LoadFailure("bad")), 0.2)) == [Failed(2, "bad")]
    assert reports(pool.handle(RunEnded(3, RESULT), 0.2)) == [Loaded(3, RESULT)]


def test_a_claim_that_runs_out_gives_the_credit_back_once_and_the_load_still_counts() -> None:
    pool = machine()
    pool.handle(Fetch((request(1),)), 0.0)
    assert pool.next_deadline() == 1.0
    assert pool.tick(0.999) == []
    late = report(pool.tick(1.0))
    assert late == PoolReport(Pool.P1, (Released(1, timed_out=True, started=True),), 1)
    assert pool.next_deadline() == 10.0
    assert report(pool.handle(RunEnded(1, RESULT), 5.0)) == PoolReport(
        Pool.P1, (Loaded(1, RESULT),), 0
    )


def test_a_load_past_its_load_timeout_is_abandoned_cancelled_and_its_result_dropped() -> None:
    pool = machine()
    pool.handle(Fetch((request(1),)), 0.0)
    pool.tick(1.0)
    effects = pool.tick(10.0)
    assert cancels(effects) == [1]
    assert report(effects) == PoolReport(Pool.P1, (Abandoned(1),), 0)
    assert report(pool.handle(RunEnded(1, RESULT), 11.0)) == PoolReport(Pool.P1, (Ended(1),), 0)


def test_a_load_timeout_within_the_claim_gives_the_credit_back_with_the_abandonment() -> None:
    pool = machine()
    pool.handle(Fetch((request(1, claim_s=5.0, load_s=2.0),)), 0.0)
    assert pool.next_deadline() == 2.0
    assert report(pool.tick(2.0)) == PoolReport(Pool.P1, (Abandoned(1),), 1)


def test_both_deadlines_in_one_tick_are_reported_in_their_order() -> None:
    pool = machine()
    pool.handle(Fetch((request(1),)), 0.0)
    effects = pool.tick(100.0)
    assert reports(effects) == [Released(1, timed_out=True, started=True), Abandoned(1)]
    assert report(effects).credits == 1


def test_cancelling_a_running_load_frees_its_credit_at_once_and_drops_its_result() -> None:
    pool = machine()
    pool.handle(Fetch((request(1),)), 0.0)
    effects = pool.handle(CancelLoad(1), 0.1)
    assert cancels(effects) == [1]
    assert report(effects) == PoolReport(Pool.P1, (Released(1, timed_out=False, started=True),), 1)
    assert pool.handle(RunPart(1, "k:1#meta", Content("x")), 0.2) == []
    assert report(pool.handle(RunEnded(1, RESULT), 0.3)) == PoolReport(Pool.P1, (Ended(1),), 0)
    assert pool.tick(100.0) == []


def test_cancelling_a_late_load_cancels_its_code_without_a_second_release() -> None:
    pool = machine()
    pool.handle(Fetch((request(1),)), 0.0)
    pool.tick(1.0)
    effects = pool.handle(CancelLoad(1), 2.0)
    assert effects == [CancelRun(1, 1)]
    assert reports(pool.handle(RunEnded(1, RESULT), 3.0)) == [Ended(1)]


def test_a_batch_is_cancelled_only_when_nobody_wants_any_of_it() -> None:
    pool = machine()
    pool.handle(Fetch((request(1, 1), request(2, 1))), 0.0)
    assert cancels(pool.handle(CancelLoad(2), 0.1)) == []
    assert cancels(pool.handle(CancelLoad(1), 0.1)) == [1]


def test_an_item_that_has_ended_does_not_keep_its_batch_from_being_cancelled() -> None:
    pool = machine()
    pool.handle(Fetch((request(1, 1), request(2, 1))), 0.0)
    pool.handle(RunEnded(1, RESULT), 0.1)
    assert cancels(pool.handle(CancelLoad(2), 0.2)) == [1]


def test_an_unknown_number_is_ignored() -> None:
    pool = machine()
    for event in (
        CancelLoad(9),
        Withdraw(9),
        RunEnded(9, RESULT),
        RunPart(9, "k:9", RESULT.content),
    ):
        assert pool.handle(event, 0.0) == []


def test_parts_are_reported_in_order_while_somebody_may_want_them() -> None:
    pool = machine()
    pool.handle(Fetch((request(1),)), 0.0)
    first, second = Content("a"), Content("b")
    assert reports(pool.handle(RunPart(1, "k:1#a", first), 0.1)) == [PartLoaded(1, "k:1#a", first)]
    pool.tick(1.0)  # late is not unwanted
    assert reports(pool.handle(RunPart(1, "k:1#b", second), 1.1)) == [
        PartLoaded(1, "k:1#b", second)
    ]


def test_requests_wait_in_order_for_permits_and_unused_permits_go_back() -> None:
    pool = machine(permits=True)
    assert pool.handle(Fetch((request(1), request(2), request(3)), start=False), 0.0) == []
    assert runs(pool.handle(Permit(2), 0.1)) == [[1], [2]]
    effects = pool.handle(Permit(3), 0.2)
    assert runs(effects) == [[3]]
    assert report(effects).permits_returned == 2
    assert report(pool.handle(Permit(1), 0.3)) == PoolReport(Pool.P1, (), 0, 1)


def test_a_permit_bundles_waiting_requests_of_one_source() -> None:
    pool = machine(permits=True)
    pool.handle(Fetch((request(1, 1), request(2, 1), request(3, 1)), start=False), 0.0)
    assert runs(pool.handle(Permit(2), 0.1)) == [[1, 2]]


def test_claims_of_a_waiting_request_begin_when_it_starts() -> None:
    pool = machine(permits=True)
    pool.handle(Fetch((request(1),), start=False), 0.0)
    assert pool.next_deadline() is None
    pool.handle(Permit(1), 50.0)
    assert pool.next_deadline() == 51.0


@pytest.mark.parametrize("take_back", [CancelLoad, Withdraw])
def test_a_waiting_request_taken_back_is_released_unstarted(take_back: type[CancelLoad]) -> None:
    pool = machine(permits=True)
    pool.handle(Fetch((request(1), request(2)), start=False), 0.0)
    effects = pool.handle(take_back(1), 0.1)
    assert report(effects) == PoolReport(Pool.P1, (Released(1, timed_out=False, started=False),), 1)
    assert runs(pool.handle(Permit(2), 0.2)) == [[2]]


def test_withdrawing_a_started_request_does_nothing() -> None:
    pool = machine()
    pool.handle(Fetch((request(1),)), 0.0)
    assert pool.handle(Withdraw(1), 0.1) == []
    assert reports(pool.handle(RunEnded(1, RESULT), 0.2)) == [Loaded(1, RESULT)]


def test_a_cancel_that_overtook_its_fetch_releases_it_unstarted() -> None:
    pool = machine()
    pool.cancel_ahead(1)
    effects = pool.handle(Fetch((request(1), request(2))), 0.1)
    assert runs(effects) == [[2]]
    assert report(effects) == PoolReport(
        Pool.P1, (Released(1, timed_out=False, started=False), Started(2)), 1
    )


def test_a_cancel_that_came_too_late_does_not_wait_for_a_later_fetch() -> None:
    pool = machine()
    pool.cancel_ahead(1)
    pool.nothing_ahead()
    assert runs(pool.handle(Fetch((request(1),)), 0.1)) == [[1]]


def test_the_same_request_sent_twice_runs_once() -> None:
    pool = machine()
    pool.handle(Fetch((request(1),)), 0.0)
    assert pool.handle(Fetch((request(1),)), 0.1) == []


def test_a_reset_cancels_everything_and_reports_only_ends() -> None:
    pool = machine(permits=True)
    pool.handle(Fetch((request(1), request(2)), start=False), 0.0)
    pool.handle(Permit(1), 0.0)
    effects = pool.handle(ResetPool(), 0.1)
    assert cancels(effects) == [1]
    assert report(effects) == PoolReport(Pool.P1, (), 4, 0, True)
    assert report(pool.handle(RunEnded(1, RESULT), 0.2)) == PoolReport(Pool.P1, (Ended(1),), 0)
    assert report(pool.handle(Permit(1), 0.3)).permits_returned == 1
    assert pool.tick(100.0) == []


def test_a_number_used_again_is_not_taken_for_the_dropped_load_under_it() -> None:
    pool = machine()
    (first, _) = pool.handle(Fetch((request(1),)), 0.0)
    assert isinstance(first, Run)
    pool.handle(ResetPool(), 0.1)
    (second, _) = pool.handle(Fetch((request(1),)), 0.2)
    assert isinstance(second, Run)
    assert pool.handle(RunEnded(1, LoadFailure("old"), first.serial), 0.3) == []
    assert reports(pool.handle(RunEnded(1, RESULT, second.serial), 0.4)) == [Loaded(1, RESULT)]


def test_merged_adds_up_reports_and_keeps_a_reset_apart() -> None:
    a = PoolReport(Pool.P1, (Started(1),), 1, 1)
    b = PoolReport(Pool.P1, (Ended(1),), 2)
    reset = PoolReport(Pool.P1, (), 4, 0, True)
    assert merged([a, b, reset, a]) == [
        PoolReport(Pool.P1, (Started(1), Ended(1)), 3, 1),
        PoolReport(Pool.P1, (Started(1),), 5, 1, True),
    ]
