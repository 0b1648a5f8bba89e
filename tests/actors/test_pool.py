"""Fetcher pools with real threads and a real loop, against sources of every temper."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from prefetch_scheduler.actors import pool as pool_module
from prefetch_scheduler.actors.pool import FetcherPool
from prefetch_scheduler.actors.supervisor import ChildSpec
from prefetch_scheduler.actors.system import ActorSystem
from prefetch_scheduler.policies import pool as pool_policy
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.pool import PoolMachine
from prefetch_scheduler.policies.pool_events import (
    Abandoned,
    CancelLoad,
    Ended,
    Expanded,
    Failed,
    Fetch,
    Loaded,
    LoadReport,
    LoadRequest,
    PartLoaded,
    Permit,
    PoolReport,
    Released,
    ResetPool,
    Started,
    Surveyed,
    SurveyNames,
    Withdraw,
)
from prefetch_scheduler.policies.prediction import FollowUp, Prediction
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable, Survey
from prefetch_scheduler.policies.vocabulary import Pool
from support.actors import PATIENCE_S, Recorder, ScriptedPort, actor_system

BLOCKING, BATCHING, ASYNC = 0, 1, 2
TABLE = SourceTable(
    (
        SourceInfo(BLOCKING, "files", "file", read_only=True),
        SourceInfo(BATCHING, "docs", "doc", read_only=True, batches=True),
        SourceInfo(ASYNC, "web", "url", read_only=True),
    )
)
BOTH = pytest.mark.parametrize("source", [BLOCKING, ASYNC])


class Bench:
    """One pool under a Supervisor, with a recording planner."""

    def __init__(self, system: ActorSystem, *, permits: bool = False, capacity: int = 8) -> None:
        self.system = system
        self.port = ScriptedPort(async_ids=[ASYNC])
        self.planner = Recorder()
        self.slots = system.slots("p1")
        self.address = system.address("p1", control=(CancelLoad, Withdraw, Permit))
        self.limits = {"survey_limit_s": 0.05, "expand_limit_s": 0.05}

        def start(home: Any) -> Any:
            machine = PoolMachine(Pool.P1, capacity, permits=permits, batch=True, table=TABLE)
            return FetcherPool.start(
                home, machine, self.port, self.planner, self.slots, TABLE, **self.limits
            )

        system.start([ChildSpec(address=self.address, start=start)])

    def fetch(self, *requests: LoadRequest, start: bool = True, standby: int = 0) -> None:
        assert self.address.tell(Fetch(requests, start, standby=standby))

    def reports(self) -> list[LoadReport]:
        return [r for m in self.planner.messages if isinstance(m, PoolReport) for r in m.reports]

    def credits(self) -> int:
        return sum(m.credits for m in self.planner.messages if isinstance(m, PoolReport))

    def wait(self, kind: type, id_: int) -> Any:
        def find(_: Any) -> Any:
            return next((r for r in self.reports() if isinstance(r, kind) and r.id == id_), None)

        return self.planner.wait_for(find)

    def expanded(self, id_: int) -> tuple[FollowUp, ...]:
        def find(messages: list[Any]) -> Any:
            return next((m for m in messages if isinstance(m, Expanded) and m.id == id_), None)

        found: Expanded = self.planner.wait_for(find)
        return found.follow_ups

    def gate(self, name: str, source: int) -> "Gate":
        made = Gate()
        self.port.scripts[name] = made.aload if source == ASYNC else made.load
        return made


class Gate:
    """A load that tells when it runs and ends when it is let go."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.go = threading.Event()
        self.ended = threading.Event()
        self.token: Any = None

    def load(self, name: str, cancel: Any, on_part: Any) -> Content:
        self.token = cancel
        self.running.set()
        self.go.wait(PATIENCE_S)
        self.ended.set()
        return Content(name)

    async def aload(self, name: str, cancel: Any, on_part: Any) -> Content:
        self.token = cancel
        self.running.set()
        try:
            while not self.go.is_set():
                await asyncio.sleep(0)
        finally:
            self.ended.set()
        return Content(name)


def request(
    id_: int, source: int, name: str = "", *, claim_s: float = 60.0, **more: Any
) -> LoadRequest:
    name = name or f"n{id_}"
    return LoadRequest(id_, source, f"k:{name}", name, claim_s, more.pop("load_s", 60.0), **more)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with actor_system() as system:
        yield Bench(system)


def test_a_pool_grants_its_credits_when_it_starts(bench: Bench) -> None:
    assert bench.planner.wait_for(bool)
    assert bench.planner.messages == [PoolReport(Pool.P1, (), 8, 0, True)]


@BOTH
def test_a_load_is_reported_with_its_content_duration_and_credit(bench: Bench, source: int) -> None:
    bench.fetch(request(1, source, "a.py"))
    loaded = bench.wait(Loaded, 1)
    assert loaded.result.content == Content(f"{source}:a.py")
    assert 0.0 <= loaded.result.load_s < PATIENCE_S
    assert bench.credits() == 9


@BOTH
@pytest.mark.parametrize(
    "error", [ValueError("bad\nnews"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()]
)
def test_a_source_may_raise_anything(bench: Bench, source: int, error: BaseException) -> None:
    def load(name: str, cancel: Any, on_part: Any) -> Content:
        raise error

    async def aload(name: str, cancel: Any, on_part: Any) -> Content:
        raise error

    bench.port.scripts["a"] = aload if source == ASYNC else load
    bench.fetch(request(1, source, "a"))
    failed = bench.wait(Failed, 1)
    assert type(error).__name__ in failed.error
    assert "\n" not in failed.error
    bench.fetch(request(2, source))
    bench.wait(Loaded, 2)
    assert bench.system.health().state == "ok"


@BOTH
@pytest.mark.parametrize("garbage", [None, 42, {"value": "x"}])
def test_a_result_of_the_wrong_type_fails_with_a_clear_text(
    bench: Bench, source: int, garbage: Any
) -> None:
    async def aload(name: str, cancel: Any, on_part: Any) -> Any:
        return garbage

    bench.port.scripts["a"] = aload if source == ASYNC else lambda *_: garbage
    bench.fetch(request(1, source, "a"))
    text = f"the load of k:a returned {type(garbage).__name__}, expected Content, str or bytes"
    assert bench.wait(Failed, 1).error == text


def test_loads_that_are_cancelled_by_a_stop_are_given_a_moment_to_end(bench: Bench) -> None:
    """The one that ends first takes nothing of it from the others."""
    running, ended = threading.Semaphore(0), list[str]()

    async def aload(name: str, cancel: Any, on_part: Any) -> Content:
        running.release()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(10 * int(name)):
                await asyncio.sleep(0)
            ended.append(name)
        return Content(name)

    for number in range(3):
        bench.port.scripts[str(number)] = aload
    bench.fetch(*(request(number + 1, ASYNC, str(number)) for number in range(3)))
    for _ in range(3):
        assert running.acquire(timeout=PATIENCE_S)
    bench.system.stop(PATIENCE_S)
    assert ended == ["0", "1", "2"]


@BOTH
def test_cancelling_reaches_the_source_and_its_late_result_is_dropped(
    bench: Bench, source: int
) -> None:
    gate = bench.gate("a", source)
    bench.fetch(request(1, source, "a"))
    assert gate.running.wait(PATIENCE_S)
    assert not gate.token.cancelled
    called = threading.Event()
    gate.token.on_cancel(called.set)
    bench.address.tell(CancelLoad(1))
    released = bench.wait(Released, 1)
    assert released == Released(1, timed_out=False, started=True)
    assert called.wait(PATIENCE_S)
    assert gate.token.cancelled
    if source == ASYNC:
        assert gate.ended.wait(PATIENCE_S)  # really cancelled, with nobody letting it go
    gate.go.set()
    bench.wait(Ended, 1)
    assert not [r for r in bench.reports() if isinstance(r, Loaded)]
    assert bench.credits() == 9


def test_an_async_load_cancelled_before_its_first_step_ends_too(bench: Bench) -> None:
    bench.port.scripts["hold"] = hold_loop = Gate().aload

    async def cancel_from_within(name: str, cancel: Any, on_part: Any) -> Content:
        bench.fetch(request(2, ASYNC, "hold"))
        bench.address.tell(CancelLoad(2))
        return Content("x")

    assert hold_loop is not None
    bench.port.scripts["a"] = cancel_from_within
    bench.fetch(request(1, ASYNC, "a"))
    bench.wait(Released, 2)
    bench.wait(Loaded, 1)
    bench.planner.wait_for(lambda _: bench.credits() == 10)


@BOTH
def test_a_claim_that_runs_out_frees_the_credit_and_the_load_goes_on(
    bench: Bench, source: int
) -> None:
    gate = bench.gate("slow", source)
    bench.fetch(request(1, source, "slow", claim_s=0.01))
    assert bench.wait(Released, 1).timed_out
    assert bench.credits() == 9
    assert not gate.token.cancelled
    gate.go.set()
    assert bench.wait(Loaded, 1).result.content == Content("slow")
    assert bench.credits() == 9


@BOTH
def test_a_load_that_never_returns_is_abandoned_cancelled_and_harms_no_other(
    bench: Bench, source: int
) -> None:
    gate = bench.gate("hang", source)
    bench.fetch(request(1, source, "hang", claim_s=0.01, load_s=0.02))
    bench.wait(Abandoned, 1)
    assert gate.token.cancelled
    bench.fetch(*(request(n, source) for n in range(10, 18)))
    for number in range(10, 18):
        bench.wait(Loaded, number)
    gate.go.set()
    bench.wait(Ended, 1)


def test_a_stuck_thread_is_named_after_its_source_and_survives_the_stop_alone() -> None:
    with actor_system() as system:
        bench = Bench(system)
        gate = bench.gate("hang", BLOCKING)
        bench.fetch(request(1, BLOCKING, "hang"), request(2, BLOCKING))
        assert gate.running.wait(PATIENCE_S)
        bench.wait(Loaded, 2)
        left = system.stop(1.0)
        assert len(left) == 1
        assert left[0].startswith("prefetch-t-p1-slot-")
        assert left[0].endswith(":files")
        assert system.stuck_threads() == left
        assert gate.token.cancelled
        gate.go.set()


def test_requests_of_a_batching_source_become_one_call_with_results_for_each(
    bench: Bench,
) -> None:
    bench.port.many_script = lambda names: [Content("one"), KeyError("two"), "three"]
    bench.fetch(*(request(n, BATCHING) for n in (1, 2, 3)))
    assert bench.wait(Loaded, 1).result.content == Content("one")
    assert bench.wait(Failed, 2).error == "KeyError: 'two'"
    assert "returned str" in bench.wait(Failed, 3).error
    assert bench.port.batches == [["n1", "n2", "n3"]]


@pytest.mark.parametrize("garbage", [None, "text", [Content("only one")], 7])
def test_a_batch_of_the_wrong_shape_fails_for_each(bench: Bench, garbage: Any) -> None:
    bench.port.many_script = lambda names: garbage
    bench.fetch(request(1, BATCHING), request(2, BATCHING))
    assert bench.wait(Failed, 1).error == bench.wait(Failed, 2).error
    assert bench.wait(Failed, 1).error.startswith("load_many returned")


@BOTH
def test_parts_are_reported_before_the_whole(bench: Bench, source: int) -> None:
    def load(name: str, cancel: Any, on_part: Any) -> Content:
        on_part("k:a#meta", Content("meta"))
        return Content("whole")

    async def aload(name: str, cancel: Any, on_part: Any) -> Content:
        return load(name, cancel, on_part)

    bench.port.scripts["a"] = aload if source == ASYNC else load
    bench.fetch(request(1, source, "a"))
    bench.wait(Loaded, 1)
    kinds = [type(r) for r in bench.reports()]
    assert kinds.index(PartLoaded) < kinds.index(Loaded)


def test_a_part_of_the_wrong_type_is_the_sources_own_failure(bench: Bench) -> None:
    bench.port.scripts["a"] = lambda name, cancel, on_part: on_part("k:a#meta", "no Content")
    bench.fetch(request(1, BLOCKING, "a"))
    assert "a part needs a key" in bench.wait(Failed, 1).error


def test_follow_ups_come_after_the_result(bench: Bench) -> None:
    found = FollowUp(Prediction("file:b.py", "related_file", 0.7))
    bench.port.expand_script = lambda key, content: [found]
    bench.fetch(request(1, BLOCKING, "a", expand=True), request(2, ASYNC, "b", expand=True))
    assert bench.expanded(1) == bench.expanded(2) == (found,)
    kinds = [type(m) for m in bench.planner.messages]
    assert kinds.index(Expanded) > kinds.index(PoolReport)
    assert bench.wait(Loaded, 1)
    assert bench.wait(Loaded, 2)


def test_follow_ups_found_at_once_come_after_the_result_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.slots, "run", lambda job, _, **__: job())
    bench.fetch(request(1, BLOCKING, "a", expand=True))
    bench.expanded(1)
    told = [
        report
        for message in bench.planner.messages
        for report in (message.reports if isinstance(message, PoolReport) else [message])
    ]
    assert [type(report) for report in told if not isinstance(report, Started)] == [
        Loaded,
        Expanded,
    ]


@BOTH
def test_follow_ups_are_asked_for_with_a_copy_of_what_was_loaded(bench: Bench, source: int) -> None:
    """The planner places that which it is told of, meanwhile."""
    given: list[Content] = []
    loaded = Content.counted("text", 1, 4)

    async def aload(*_: Any) -> Content:
        return loaded

    bench.port.scripts["a"] = aload if source == ASYNC else lambda *_: loaded
    bench.port.expand_script = lambda key, content: given.append(content) or ()
    bench.fetch(request(1, source, "a", expand=True))
    bench.expanded(1)
    assert [content.value for content in given] == ["text"]
    assert bench.wait(Loaded, 1).result.content is not given[0]


@pytest.mark.parametrize("garbage", [None, "text", ["file:b.py"], ZeroDivisionError()])
def test_faulty_follow_ups_cost_only_themselves(bench: Bench, garbage: Any) -> None:
    def expand(key: str, content: Content) -> Any:
        if isinstance(garbage, Exception):
            raise garbage
        return garbage

    bench.port.expand_script = expand
    bench.fetch(request(1, BLOCKING, expand=True))
    assert bench.wait(Loaded, 1)
    assert bench.expanded(1) == ()


def test_an_expand_that_hangs_holds_no_result_back(bench: Bench) -> None:
    gate = threading.Event()
    bench.port.expand_script = lambda key, content: gate.wait(PATIENCE_S) and ()
    for number in range(1, 9):
        bench.fetch(request(number, BLOCKING, expand=True))
        bench.wait(Loaded, number)
        assert bench.expanded(number) == ()
    # Two did not come back: from then on the source is not asked any more.
    deadline = time.monotonic() + PATIENCE_S
    while len(bench.slots.busy()) > 2:  # the thread of the last load is about to end
        assert time.monotonic() < deadline
    assert len(bench.slots.busy()) == 2
    gate.set()


def test_a_survey_is_answered_in_order_with_none_for_what_fails(bench: Bench) -> None:
    def survey(source: int, name: str) -> Any:
        if name == "bad":
            raise OSError("no such name")
        return "garbage" if name == "odd" else Survey(tokens=len(name))

    bench.port.survey_script = survey
    names = (
        (BLOCKING, "a"),
        (BLOCKING, "bad"),
        (ASYNC, "four"),
        (BLOCKING, "odd"),
        (BLOCKING, "xyz"),
    )
    bench.address.tell(SurveyNames(7, names))
    told = bench.planner.wait_for(lambda told: [m for m in told if isinstance(m, Surveyed)])
    assert told == [Surveyed(7, (Survey(tokens=1), None, Survey(tokens=4), None, Survey(tokens=3)))]


def test_an_empty_survey_is_answered(bench: Bench) -> None:
    bench.address.tell(SurveyNames(1, ()))
    bench.planner.wait_for(lambda told: Surveyed(1, ()) in told)


def test_a_survey_that_hangs_gives_what_it_has_and_blocks_nothing(bench: Bench) -> None:
    gate = threading.Event()

    def survey(source: int, name: str) -> Survey:
        if name == "hang":
            gate.wait(PATIENCE_S)
        return Survey(tokens=1)

    bench.port.survey_script = survey
    bench.address.tell(SurveyNames(1, ((BLOCKING, "a"), (BLOCKING, "hang"), (ASYNC, "b"))))
    bench.fetch(request(1, BLOCKING))
    bench.wait(Loaded, 1)
    one = Survey(tokens=1)
    bench.planner.wait_for(lambda told: Surveyed(1, (one, None, one)) in told)
    gate.set()


def test_waiting_requests_start_by_permit_and_permits_without_one_go_back() -> None:
    with actor_system() as system:
        bench = Bench(system, permits=True)
        bench.fetch(request(1, BATCHING), request(2, BATCHING), request(3, BATCHING), start=False)
        bench.address.tell(Permit(2))
        bench.wait(Loaded, 1)
        bench.wait(Loaded, 2)
        bench.address.tell(Withdraw(3))
        assert bench.wait(Released, 3) == Released(3, timed_out=False, started=False)
        bench.address.tell(Permit(2))
        bench.planner.wait_for(
            lambda told: sum(m.permits_returned for m in told if isinstance(m, PoolReport)) == 2
        )
        assert bench.port.batches == [["n1", "n2"]]


def test_cancels_and_permits_that_overtake_their_fetch_still_meet_it() -> None:
    with actor_system() as system:
        bench = Bench(system, permits=True)
        blocker = threading.Event()
        entered = threading.Event()

        async def block_the_loop(name: str, cancel: Any, on_part: Any) -> Content:
            entered.set()
            blocker.wait(PATIENCE_S)
            return Content(name)

        bench.port.scripts["block"] = block_the_loop
        bench.fetch(request(1, ASYNC, "block"))
        assert entered.wait(PATIENCE_S)
        bench.fetch(request(2, BLOCKING), request(3, BLOCKING), start=False)
        bench.address.tell(CancelLoad(2))
        bench.address.tell(Permit(1))
        blocker.set()
        bench.wait(Loaded, 3)
        assert bench.wait(Released, 2) == Released(2, timed_out=False, started=False)


def test_a_report_that_the_planner_refuses_is_sent_again(bench: Bench) -> None:
    bench.planner.wait_for(bool)
    bench.planner.refuse = True
    bench.fetch(request(1, BLOCKING))
    bench.planner.wait_refused(2)
    bench.planner.refuse = False
    bench.wait(Loaded, 1)
    assert bench.credits() == 9


def test_a_crashed_pool_cancels_its_loads_and_its_successor_grants_afresh(bench: Bench) -> None:
    gate = bench.gate("a", BLOCKING)
    bench.fetch(request(1, BLOCKING, "a"))
    assert gate.running.wait(PATIENCE_S)
    bench.address.tell("no message of a pool")
    bench.fetch(request(2, BLOCKING))
    bench.wait(Loaded, 2)
    assert gate.token.cancelled
    resets = [m for m in bench.planner.messages if isinstance(m, PoolReport) and m.reset]
    assert [m.credits for m in resets] == [8, 8]
    gate.go.set()
    assert gate.ended.wait(PATIENCE_S)
    bench.fetch(request(3, BLOCKING))
    bench.wait(Loaded, 3)
    assert not [r for r in bench.reports() if r.id == 1 and isinstance(r, Loaded | Ended)]


def test_a_reset_cancels_what_runs_and_grants_afresh(bench: Bench) -> None:
    gate = bench.gate("a", BLOCKING)
    bench.fetch(request(1, BLOCKING, "a"))
    assert gate.running.wait(PATIENCE_S)
    bench.address.tell(ResetPool())
    bench.planner.wait_for(
        lambda told: [m.credits for m in told if isinstance(m, PoolReport) and m.reset] == [8, 8]
    )
    gate.go.set()
    bench.wait(Ended, 1)


def test_a_task_of_a_source_that_raises_system_exit_does_not_end_the_loop(bench: Bench) -> None:
    async def rogue() -> None:
        raise SystemExit(1)

    async def aload(name: str, cancel: Any, on_part: Any) -> Content:
        task = asyncio.ensure_future(rogue())
        with pytest.raises(SystemExit):
            await task
        return Content(name)

    bench.port.scripts["a"] = aload
    bench.fetch(request(1, ASYNC, "a"))
    bench.wait(Loaded, 1)
    bench.fetch(request(2, ASYNC))
    bench.wait(Loaded, 2)
    assert bench.system.health().state == "ok"


def test_a_source_that_ignores_its_cancellation_does_not_hold_up_the_stop() -> None:
    with actor_system() as system:
        bench = Bench(system)
        running = threading.Event()
        over = threading.Event()

        async def stubborn(name: str, cancel: Any, on_part: Any) -> Content:
            running.set()
            while not over.is_set():
                try:
                    await asyncio.sleep(0.005)
                except asyncio.CancelledError:
                    continue
            return Content(name)

        bench.port.scripts["a"] = stubborn
        bench.fetch(request(1, ASYNC, "a"))
        assert running.wait(PATIENCE_S)
        threading.Timer(0.1, over.set).start()
        begun = time.monotonic()
        assert system.stop(3.0) == ()
        assert time.monotonic() - begun < 3.0


def test_hanging_loads_of_one_source_starve_no_other(bench: Bench) -> None:
    gate = threading.Event()
    bench.port.scripts = {f"n{n}": lambda *_: gate.wait(PATIENCE_S) for n in range(40)}
    bench.fetch(*(request(n, BLOCKING, claim_s=0.01) for n in range(40)))
    bench.fetch(*(request(n, ASYNC) for n in range(40, 120)))
    bench.fetch(*(request(n, BLOCKING) for n in range(120, 200)))
    for number in range(40, 200):
        bench.wait(Loaded, number)
    gate.set()


def test_a_load_reported_as_started_does_start_even_if_it_is_cancelled_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = bench.gate("x", ASYNC)
    real = FetcherPool.on_receive

    def cancelled_at_once(self: FetcherPool, message: Any) -> Any:
        real(self, message)
        if isinstance(message, Fetch):
            real(self, CancelLoad(message.requests[0].id))

    monkeypatch.setattr(FetcherPool, "on_receive", cancelled_at_once)
    bench.fetch(LoadRequest(1, ASYNC, "url:x", "x", 60.0, 60.0))
    bench.wait(Ended, 1)
    assert gate.running.is_set()


# ---- loads that stand by ------------------------------------------------------------------


@pytest.fixture
def all_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a load takes on a busy machine, it counts as one that takes no time."""
    monkeypatch.setattr(pool_policy, "STANDBY_S", 2 * PATIENCE_S)
    monkeypatch.setattr(pool_module, "QUICK_S", 2 * PATIENCE_S)


@BOTH
@pytest.mark.usefixtures("all_quick")
def test_what_stands_by_is_loaded_in_turn_and_told_of_in_one_report(
    bench: Bench, source: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "HELD_S", 2 * PATIENCE_S)
    bench.fetch(*[request(n, source) for n in range(1, 9)], standby=7)
    bench.planner.wait_for(lambda _: bench.credits() == 8 + 8)
    loaded = [r.id for r in bench.reports() if isinstance(r, Loaded)]
    assert loaded == list(range(1, 9))  # one slot: each after the one before
    assert all(r.began for r in bench.reports() if isinstance(r, Loaded))
    told = [m for m in bench.planner.messages if isinstance(m, PoolReport) and not m.reset]
    assert len(told) == 1


@BOTH
@pytest.mark.usefixtures("all_quick")
def test_no_report_waits_for_a_load_that_stood_by_and_takes_long(bench: Bench, source: int) -> None:
    gate = bench.gate("slow", source)
    bench.fetch(request(1, source), request(2, source, "slow"), standby=1)
    bench.wait(Loaded, 1)
    bench.wait(Started, 2)
    assert not any(isinstance(r, Loaded) and r.id == 2 for r in bench.reports())
    gate.go.set()
    bench.wait(Loaded, 2)


@BOTH
@pytest.mark.usefixtures("all_quick")
def test_a_load_that_stood_by_waits_for_no_other_that_takes_long(bench: Bench, source: int) -> None:
    gate = bench.gate("slow", source)
    requests = [request(1, source), request(2, source), request(3, source, "slow")]
    bench.fetch(*requests, request(4, source), standby=2)
    bench.wait(Loaded, 4)
    assert not any(isinstance(r, Loaded) and r.id == 3 for r in bench.reports())
    gate.go.set()
    bench.wait(Loaded, 3)


@pytest.mark.usefixtures("all_quick")
@pytest.mark.parametrize("quick", [True, False])
def test_only_blocking_loads_that_take_no_time_wait_for_one_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    if not quick:
        monkeypatch.setattr(pool_module, "QUICK_S", -1.0)
    said: list[bool] = []
    real = bench.slots.run

    def run(job: Any, label: str, *, quick: bool = False) -> None:
        said.append(quick)
        real(job, label, quick=quick)

    monkeypatch.setattr(bench.slots, "run", run)
    bench.fetch(*[request(number, BLOCKING) for number in range(1, 5)], standby=3)
    bench.wait(Loaded, 4)
    assert said == [False, quick, quick, quick]  # of the first nothing is known yet


class StoppedClock:
    """Reports are held for ten seconds of this clock, which the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = 0.0
        monkeypatch.setattr(pool_module, "HELD_S", 10.0)
        monkeypatch.setattr(pool_module, "monotonic", lambda: self.time)


@pytest.mark.usefixtures("all_quick")
def test_each_report_may_wait_for_what_follows_not_only_the_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StoppedClock(monkeypatch)
    names = ("first", "second", "third")
    first, second, third = (bench.gate(name, BLOCKING) for name in names)
    requests = [request(n, BLOCKING, name) for n, name in enumerate(names, 1)]
    bench.fetch(*requests, standby=2)
    first.go.set()
    assert second.running.wait(PATIENCE_S)  # so the end of the first has been taken in
    end = time.monotonic() + PATIENCE_S
    while not any(isinstance(r, Loaded) for r in bench.reports()):
        assert time.monotonic() < end
        clock.time += 20.0
        bench.address.tell(Withdraw(99))  # as when the time is up
        time.sleep(0.01)
    second.go.set()
    assert third.running.wait(PATIENCE_S)
    third.go.set()
    bench.wait(Loaded, 3)
    told = [m.reports for m in bench.planner.messages if isinstance(m, PoolReport)]
    loaded = [[r.id for r in reports if isinstance(r, Loaded)] for reports in told]
    assert [ids for ids in loaded if ids] == [[1], [2, 3]]


@pytest.mark.usefixtures("all_quick")
@pytest.mark.parametrize("fails", [True, False])
def test_a_report_that_waits_is_sent_when_the_pool_ends(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    StoppedClock(monkeypatch)
    with actor_system() as system:
        bench = Bench(system)
        first, second = bench.gate("first", BLOCKING), bench.gate("second", BLOCKING)
        bench.fetch(request(1, BLOCKING, "first"), request(2, BLOCKING, "second"), standby=1)
        first.go.set()
        assert second.running.wait(PATIENCE_S)  # so the end of the first has been taken in
        if fails:
            bench.address.tell(object())
        else:
            system.stop()
        assert bench.wait(Loaded, 1)
        second.go.set()
