"""More than can be worked off: what is given up, who is told, and who does not wait for it."""

import threading
from typing import Any

import pytest

from prefetch_scheduler.actors import desk as desks
from prefetch_scheduler.actors.messages import Drain
from prefetch_scheduler.engine import (
    CallableSource,
    ContextChanged,
    EngineStopped,
    PlanHandle,
    Prediction,
    PrefetchEngine,
    SessionEnded,
)
from prefetch_scheduler.policies import admitting
from prefetch_scheduler.policies.config import Config, Execution
from prefetch_scheduler.policies.planner_events import CancelPlan, Shed, Submit
from prefetch_scheduler.policies.planner_events import SessionEnded as EndSession
from prefetch_scheduler.policies.source_info import SourceInfo, Survey
from prefetch_scheduler.policies.steps import LARGE as MOST
from prefetch_scheduler.policies.vocabulary import Lane, Reason
from support.virtual import Load, World, p

LARGE = 3 * MOST


def many(count: int = LARGE, kind: str = "file", **more: Any) -> list[Prediction]:
    return [p(f"{kind}:{n:05}", **{"tokens": 1, **more}) for n in range(count)]


# ---- plans in steps ------------------------------------------------------------------------------


def test_a_large_plan_is_the_one_that_a_small_step_would_have_made() -> None:
    world, other = World(), World()
    handle = world.submit(many())
    assert handle.plan is None
    world.run(0)
    whole = other.submit(many(MOST))
    assert whole.plan is not None  # at once
    assert handle.plan is not None
    assert [i.key for i in handle.plan.items][:5] == [i.key for i in whole.plan.items][:5]
    assert sum(i.lane is Lane.IMMEDIATE for i in handle.plan.items) > MOST
    assert not world.planner.drafting


def test_a_reader_is_served_before_a_large_plan_is_made() -> None:
    world = World()
    handle = world.submit(many(10 * MOST, tokens=2_000))
    outcome = world.read("file:wanted")
    while outcome.result is None:
        world._step(world.now + 0.01)
    assert handle.plan is None
    assert world.planner.drafting
    world.settle()
    assert handle.plan is not None
    assert len(handle.plan.items) == 10 * MOST


def test_a_load_that_a_reader_began_meanwhile_is_joined_and_not_begun_again() -> None:
    world = World(default=Load(seconds=5))
    handle = world.submit(many())
    world.read("file:00007")
    world.run(1)
    assert handle.plan is not None
    assert world.loaded.count("file:00007") == 1


def test_a_large_plan_asks_sources_in_steps_too() -> None:
    source = SourceInfo(0, "files", "file", read_only=True, surveys=True)
    surveys = {f"file:{n:05}": Survey(tokens=2) for n in range(LARGE)}
    world = World(sources=(source,), surveys=surveys)
    handle = world.submit([Prediction(f"file:{n:05}", "main_file", 0.9) for n in range(LARGE)])
    world.run(0.01)
    assert handle.plan is not None
    assert {item.tokens for item in handle.plan.items} == {2}


def test_a_large_submit_that_is_replaced_before_it_is_planned_says_so() -> None:
    world = World()
    first = world.submit(many(kind="file"))
    second = world.submit([p("file:x", tokens=1)])
    assert first.plan is not None
    assert first.plan.items == ()
    assert first.plan.rejected == {Reason.REPLACED: LARGE}
    assert first.immediate is False
    assert second.plan is not None
    world.settle()
    assert world.loaded == ["file:x"]


def test_a_large_submit_of_another_session_goes_on() -> None:
    world = World()
    first = world.submit(many(), session="s")
    world.submit([p("file:x", tokens=1)], session="t")
    world.run(0)
    assert first.plan is not None
    assert len(first.plan.items) == LARGE


def test_a_large_submit_is_given_up_with_its_session_its_context_or_its_host() -> None:
    for event in ("session", "cancel"):
        world = World()
        handle = world.submit(many())
        world.tell(EndSession("s") if event == "session" else CancelPlan(handle))
        world.settle()
        assert handle.plan is not None
        assert handle.plan.items == ()
        assert world.loaded == []


# ---- queues --------------------------------------------------------------------------------------


def test_what_the_queues_have_no_room_for_is_shed_by_value_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admitting, "MOST_QUEUED", 10)
    world = World(default=Load(seconds=10))
    shed: list[Shed] = []
    real = world._planner_effects

    def noted(effects: Any) -> None:
        listed = list(effects)
        shed.extend(effect for effect in listed if isinstance(effect, Shed))
        real(listed)

    monkeypatch.setattr(world, "_planner_effects", noted)
    first = world.submit([p(f"file:a{n}", tokens=1, confidence=0.6) for n in range(12)])
    assert not shed
    second = world.submit(
        [p(f"file:b{n}", tokens=1, confidence=0.9) for n in range(8)], session="t"
    )
    assert first.plan is not None
    assert second.plan is not None
    assert {s.key for s in shed} <= {f"file:a{n}" for n in range(12)}
    assert all(s.ticket is first and s.reason is Reason.QUEUE_FULL for s in shed)
    assert len(shed) == 5  # of the 12 five run: 7 wait, and 8 more come
    assert Reason.QUEUE_FULL not in second.plan.rejected


# ---- the whole engine ----------------------------------------------------------------------------


class Held:
    """An engine whose planner is held up until told, so that messages pile up before it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **limits: int) -> None:
        for name, value in limits.items():
            monkeypatch.setattr(desks, name, value)
        real = desks.SubmitDesk
        monkeypatch.setattr(
            "prefetch_scheduler.engine.runtime.SubmitDesk",
            lambda: real(desks.FLOOD, desks.MOST_PREDICTIONS),
        )
        self.stock = {"x": "old"}
        config = Config(execution=Execution(demand_timeout_s=20))
        self.engine = PrefetchEngine(
            config,
            sources=[
                CallableSource("k", lambda name: self.stock.get(name, name), read_only=True),
            ],
        ).start()
        self.gate = threading.Event()
        self.begun = threading.Event()

    def hold(self) -> None:
        class Gate:
            def plan_made(gate, _: Any) -> None:  # noqa: N805 - `self` is the outer one's
                self.begun.set()
                self.gate.wait(20)

            def immediate_done(gate, ok: bool) -> None:  # noqa: N805 - as above
                pass

        self.engine.planner.tell(Submit("gate", (), ticket=Gate()))
        assert self.begun.wait(20)

    def submit(self, *names: str, session: str = "s") -> PlanHandle:
        predictions = [Prediction(f"k:{name}", "related_file", 0.9, tokens=1) for name in names]
        return self.engine.session(session).submit(predictions)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Any:
    made: list[Held] = []

    def make(**limits: int) -> Held:
        made.append(Held(monkeypatch, **limits))
        made[-1].engine.session("s"), made[-1].engine.session("t")
        made[-1].hold()
        return made[-1]

    yield make
    for each in made:
        each.gate.set()
        each.engine.stop()


def test_superseded_submits_are_not_planned_and_their_handles_say_so(held: Any) -> None:
    host = held(FLOOD=0)
    handles = [host.submit(f"a{n}") for n in range(50)]
    for early in handles[:-1]:  # known at once: nobody waits for the planner
        assert early.plan(0).rejected == {Reason.REPLACED: 1}
        assert early.wait_immediate(0) is False
    assert host.engine._runtime.desk.fill()[0] == 1
    host.gate.set()
    assert [item.key for item in handles[-1].plan().items] == ["k:a49"]


def test_a_change_of_context_between_two_submits_keeps_both(held: Any) -> None:
    host = held(FLOOD=0)
    first = host.submit("a")
    host.engine.session("s").trigger(ContextChanged("new"))
    second = host.submit("b")
    host.engine.session("s").trigger(SessionEnded())
    third = host.submit("c")
    host.gate.set()
    for handle, key in ((first, "k:a"), (second, "k:b"), (third, "k:c")):
        assert [item.key for item in handle.plan().items] == [key]


def test_past_the_bound_a_submit_is_shed_and_its_handle_and_health_say_so(held: Any) -> None:
    host = held(FLOOD=0, MOST_PREDICTIONS=3)
    first = host.submit("a", "b", "c")
    second = host.submit("d", "e", session="t")
    assert second.plan(0).rejected == {Reason.QUEUE_FULL: 2}
    assert host.engine._runtime.desk.fill() == (3, 3)
    host.gate.set()
    assert len(first.plan().items) == 3
    queues = host.engine.health().queues
    assert queues["submits"] == (0, 3)
    assert queues["waiting-p2"][1] == admitting.MOST_QUEUED


def test_a_submit_may_be_taken_back_while_it_waits(held: Any) -> None:
    host = held()
    handle = host.submit("a")
    handle.cancel()
    assert handle.plan(0).rejected == {Reason.HOST_CANCELLED: 1}
    host.gate.set()
    assert host.submit("b").plan().items[0].key == "k:b"
    assert host.engine.peek("k:a") is None


def test_submits_that_wait_when_the_engine_stops_are_told(held: Any) -> None:
    host = held()
    handle = host.submit("a")
    host.engine.stop(timeout=0.2)
    with pytest.raises(EngineStopped):
        handle.plan(20)
    assert handle.wait_immediate(0) is False


def test_a_flood_of_changes_of_one_key_is_carried_out_as_a_few(held: Any) -> None:
    host = held()
    host.gate.set()
    engine = host.engine
    assert engine.get("k:x").value == "old"
    handled: list[Any] = []
    machine = engine._runtime.cache_kept.layers
    real = machine.handle
    entered, gate = threading.Event(), threading.Event()

    def slow(command: Any, now: float) -> Any:
        handled.append(command)
        if not entered.is_set():
            entered.set()
            gate.wait(20)
        return real(command, now)

    machine.handle = slow
    engine.invalidate("k:other")
    assert entered.wait(20)
    host.stock["x"] = "new"
    for _ in range(1000):
        engine.invalidate("k:x")
        engine.invalidate("k:x*")
    assert engine.cache.fill()[0] <= 3
    assert engine.peek("k:x") is None
    gate.set()
    assert engine.get("k:x").value == "new"
    assert sum(getattr(command, "pattern", "") == "k:x" for command in handled) == 1


def test_a_put_does_not_fail_because_the_cache_is_slow(
    held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = held()
    host.gate.set()
    engine = host.engine
    monkeypatch.setattr("prefetch_scheduler.engine.runtime.ACKNOWLEDGE_S", 0.01)
    machine = engine._runtime.cache_kept.layers
    real, gate = machine.handle, threading.Event()

    def slow(command: Any, now: float) -> Any:
        gate.wait(20)
        return real(command, now)

    machine.handle = slow
    engine.put("k:x", "given")
    assert engine.peek("k:x") is None
    gate.set()
    engine.cache.ask(Drain(), timeout=20)  # behind the put
    assert engine.get("k:x").value == "given"
