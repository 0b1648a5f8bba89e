"""The engine while its actors crash, hang and are rebuilt: nobody waits for ever."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prefetch_scheduler.actors import planner as planner_actor
from prefetch_scheduler.actors.cache import CacheLayer
from prefetch_scheduler.actors.children import Watch
from prefetch_scheduler.actors.messages import Drain, Invalidate, Put
from prefetch_scheduler.actors.metrics import Metrics
from prefetch_scheduler.actors.planner import Planner
from prefetch_scheduler.actors.supervisor import Supervisor
from prefetch_scheduler.actors.system import Rebuild, State
from prefetch_scheduler.engine import (
    CallableSource,
    Content,
    ContextChanged,
    EngineFailed,
    EngineStopped,
    LoadTimeout,
    Prediction,
    PrefetchEngine,
    ResourceUnavailable,
    UserLoggedIn,
    runtime,
)
from prefetch_scheduler.engine.care import Care
from prefetch_scheduler.policies.errors import EngineDegraded
from prefetch_scheduler.policies.layers import CacheLayers
from prefetch_scheduler.policies.restarts import RestartRule
from prefetch_scheduler.policies.slots import pool_capacity
from prefetch_scheduler.policies.vocabulary import Pool

PATIENCE_S = 10.0
HOUR = 3600.0

AT_ONCE = RestartRule(intensity=1000, base_s=0.0, most_s=0.0)
FRAGILE = RestartRule(intensity=0)


def main_file(key: str) -> Prediction:
    return Prediction(key, "main_file", 0.85)


def until(condition: Callable[[], Any]) -> Any:
    """What the condition returns once it is true; each look gives the other threads a turn."""
    end = time.monotonic() + PATIENCE_S
    turn = threading.Event()
    while not (value := condition()):
        assert time.monotonic() < end, "not seen in time"
        turn.wait(0.001)
    return value


class Gated:
    """A source whose loads wait for a gate, and which counts its calls."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.calls: list[str] = []

    def __call__(self, name: str) -> str:
        self.calls.append(name)
        self.gate.wait(PATIENCE_S)
        return f"<{name}>"


Make = Callable[..., PrefetchEngine]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Engines that look after themselves as a test says; stopped at the end."""
    engines: list[PrefetchEngine] = []

    def made(*sources: Any, **care: Any) -> PrefetchEngine:
        monkeypatch.setattr(runtime, "CARE", Care(**care))
        engine = PrefetchEngine(sources=sources or [echo()])
        engines.append(engine)
        return engine.start()

    yield made
    for engine in engines:
        engine.stop(timeout=3)


def echo(kind: str = "k") -> CallableSource:
    return CallableSource(kind, lambda name: f"<{name}>", read_only=True)


def in_thread(action: Callable[[], Any]) -> Callable[[], Any]:
    """Start it; what is returned waits for its result, or raises its error."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(action())
        except BaseException as error:  # noqa: BLE001 - handed to the test
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result() -> Any:
        thread.join(PATIENCE_S)
        assert results, "it hangs"
        if isinstance(results[0], BaseException):
            raise results[0]
        return results[0]

    return result


# ---- a planner that crashes ------------------------------------------------------------------


def test_a_load_under_way_is_adopted_by_the_next_planner_and_not_begun_again(make: Make) -> None:
    source = Gated()
    engine = make(CallableSource("k", source, read_only=True), rule=AT_ONCE)
    first = in_thread(lambda: engine.get("k:x").value)
    until(lambda: source.calls)
    engine.planner.tell(object())
    second = in_thread(lambda: engine.get("k:x").value)
    engine.planner.ask(planner_actor.PlannerStatusQuery())
    source.gate.set()
    assert (first(), second()) == ("<x>", "<x>")
    assert source.calls == ["x"]
    until(lambda: engine.peek("k:x"))
    assert engine.health().state == "ok"


def test_a_submit_that_was_waited_for_is_answered_by_the_next_planner(make: Make) -> None:
    source = Gated()
    engine = make(CallableSource("k", source, read_only=True), rule=AT_ONCE)
    handle = engine.submit([main_file(f"k:{n}") for n in range(10)])
    handle.plan(5)
    until(lambda: len(source.calls) >= 8)
    engine.planner.tell(object())
    engine.planner.ask(planner_actor.PlannerStatusQuery())
    source.gate.set()
    assert handle.wait_immediate(PATIENCE_S) is True
    assert sorted(source.calls, key=int) == [str(n) for n in range(10)]
    assert engine.report().summary()["total_prefetches"] == 10


def test_every_prefetch_that_began_is_accounted_for_over_crashes(make: Make) -> None:
    engine = make(rule=AT_ONCE)
    for turn in range(20):
        engine.submit([main_file(f"k:{turn}-{n}") for n in range(10)])
        engine.planner.tell(object())
        for n in range(0, 10, 3):
            assert engine.get(f"k:{turn}-{n}").value == f"<{turn}-{n}>"
    until(lambda: sum(engine.planner.ask(planner_actor.PlannerStatusQuery()).running.values()) == 0)
    accounting = engine._runtime.ledgers.accounting
    engine.total_report()
    assert accounting.check() == ()
    anomalies = accounting.snapshot(None).engine
    assert anomalies is not None
    assert not any(anomalies.anomalies.values()), anomalies.anomalies


def test_limits_hold_while_planner_and_pools_are_killed(make: Make) -> None:
    lock, running, most = threading.Lock(), [0], [0]
    pools = threading.Event()

    def load(name: str) -> str:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        pools.wait(0.002)  # long enough for others to overlap
        with lock:
            running[0] -= 1
        return name

    engine = make(CallableSource("k", load, read_only=True, max_concurrency=100), rule=AT_ONCE)
    for turn in range(40):
        engine.submit([main_file(f"k:{turn}-{n}") for n in range(20)])
        if turn % 2:
            engine.planner.tell(object())
        status = engine.planner.ask(planner_actor.PlannerStatusQuery())
        for pool, credit in status.credits.items():
            assert 0 <= credit + status.running[pool] <= pool_capacity(engine.config, pool)
    assert most[0] <= engine.config.max_concurrent_fetches
    # What a killed pool had begun runs out beside its repetition: only its credits are its own.
    for turn in range(40):
        engine.submit([main_file(f"k:b{turn}-{n}") for n in range(20)])
        list(engine._runtime.pools.values())[turn % 5].tell(object())
        if turn % 3 == 0:
            engine.planner.tell(object())
        assert engine.get(f"k:b{turn}-0").value == f"b{turn}-0"
        status = engine.planner.ask(planner_actor.PlannerStatusQuery())
        for pool, credit in status.credits.items():
            assert 0 <= credit + status.running[pool] <= pool_capacity(engine.config, pool)
    until(lambda: not sum(engine.planner.ask(planner_actor.PlannerStatusQuery()).running.values()))
    status = engine.planner.ask(planner_actor.PlannerStatusQuery())
    for pool, credit in status.credits.items():
        assert credit == pool_capacity(engine.config, pool)  # none was lost, none made up
    assert engine.get("k:last").value == "last"


def test_what_the_host_said_outlives_a_planner(make: Make) -> None:
    source = CallableSource("mail", lambda name: name, read_only=True, private=True)
    engine = make(source, echo(), rule=AT_ONCE)
    session = engine.session("s", project="p", user="ann")
    session.trigger(ContextChanged("c"))
    session.pin("k:pinned")
    until(lambda: engine.peek("k:pinned"))
    engine.planner.tell(object())
    engine.planner.ask(planner_actor.PlannerStatusQuery())
    state = engine._runtime.planner_kept.state
    assert state is not None
    kept = state.sessions["s"]
    assert (kept.project, kept.user, kept.context) == ("p", "ann", "c")
    assert kept.pins == {"k:pinned"}
    session.trigger(UserLoggedIn("bob"))
    assert session.get("mail:x").value == "x"


def test_pins_outlive_the_cache(make: Make) -> None:
    engine = make(rule=AT_ONCE)
    engine.pin("k:a")
    until(lambda: engine.peek("k:a"))
    engine.cache.tell(object())
    assert engine.cache.ask(cache_status()).pins == 1
    assert engine.peek("k:a") is not None
    engine.unpin("k:a")
    until(lambda: engine.cache.ask(cache_status()).pins == 0)


def test_reads_ages_and_layers_outlive_the_cache(make: Make) -> None:
    engine = make(rule=AT_ONCE)
    for name in "abc":
        engine.get(f"k:{name}")
    until(lambda: all(engine.peek(f"k:{name}") for name in "abc"))
    for _ in range(5):
        engine.get("k:a")
    before = engine.cache.ask(cache_status())
    kept = engine._runtime.cache_kept

    def known() -> Any:
        nodes = kept.layers._residents.nodes.values()
        return {(n.entry.stored, n.freq, n.since, n.lists.layer, n.read) for n in nodes}

    then, layers = known(), kept.layers
    assert ("k:a", 6) in {(stored, freq) for stored, freq, *_ in then}
    engine.cache.tell(object())
    assert engine.cache.ask(cache_status()) == before
    assert kept.layers is not layers
    assert known() == then


def cache_status() -> Any:
    from prefetch_scheduler.actors.messages import CacheStatusQuery

    return CacheStatusQuery()


def test_a_change_that_killed_the_cache_is_carried_out_and_forgotten(make: Make) -> None:
    stock = {"x": "old"}
    engine = make(CallableSource("db", lambda name: stock[name], read_only=True), rule=AT_ONCE)
    engine.get("db:x")
    until(lambda: engine.peek("db:x"))
    board = engine._runtime.view.board
    stock["x"] = "new"
    board.note("db:x")  # as `invalidate` does; its message is the one that dies
    engine.cache.tell(object())
    assert engine.get("db:x").value == "new"
    until(lambda: len(board) == 0)
    # A load that was asked for before the change was known is not stored; one after it is.
    until(lambda: engine.get("db:x").value == "new" and engine.peek("db:x"))


def test_the_call_that_kills_the_planner_is_loaded_without_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make(rule=AT_ONCE)
    real = Planner._take

    def faulty(self: Planner, message: Any) -> None:
        real(self, message)
        if getattr(message, "key", "") == "k:poison":
            raise KeyError("poison")

    monkeypatch.setattr(Planner, "_take", faulty)
    assert engine.get("k:poison").value == "<poison>"
    assert engine.get("k:x").value == "<x>"


def test_a_reader_does_not_wait_for_a_planner_in_its_back_off(make: Make) -> None:
    engine = make(rule=RestartRule(base_s=HOUR, most_s=HOUR))
    engine.planner.tell(object())
    engine.planner.ask(planner_actor.PlannerStatusQuery())
    waiting = in_thread(lambda: engine.get("k:early").value)
    engine.planner.tell(object())
    until(lambda: not engine.planner.ready)
    began = time.monotonic()
    assert engine.get("k:x").value == "<x>"
    assert engine.get_many(["k:1", "k:2"])[1].value == "<2>"
    assert asyncio.run(engine.aget("k:y")).value == "<y>"
    assert time.monotonic() - began < 5
    assert waiting() == "<early>"
    health = engine.health()
    assert health.state == "degraded"
    assert any(actor.state == "restarting" for actor in health.actors)
    assert "planner is restarting" in (health.reason or "")


# ---- actors that hang ------------------------------------------------------------------------

IMPATIENT = Watch(ping_s=0.05, hung_s=0.2)


@pytest.mark.parametrize(
    ("kind", "role"),
    [(Planner, "planner"), (CacheLayer, "cache"), (Metrics, "metrics")],
)
def test_an_actor_that_hangs_is_replaced_and_touches_nothing_when_it_returns(
    make: Make, monkeypatch: pytest.MonkeyPatch, kind: Any, role: str
) -> None:
    engine = make(rule=AT_ONCE, watch=IMPATIENT)
    engine.get("k:before")
    until(lambda: engine.peek("k:before"))
    gate, entered = threading.Event(), threading.Event()
    real = kind.on_receive

    def hanging(self: Any, message: Any) -> Any:
        if message == "hang":
            entered.set()
            gate.wait(PATIENCE_S)
            return None
        return real(self, message)

    monkeypatch.setattr(kind, "on_receive", hanging)
    address = getattr(engine, role)
    address.tell("hang")
    assert entered.wait(PATIENCE_S)
    old = address.ref
    assert engine.get("k:x").value == "<x>"
    until(lambda: address.ref is not old and address.ready)
    until(lambda: engine.health().state == "ok")
    (actor,) = (a for a in engine.health().actors if a.name == role)
    assert "took no message" in (actor.error or "")
    gate.set()
    assert engine.peek("k:before") is not None
    assert engine.get("k:y").value == "<y>"
    assert engine.report().summary()["reads"] == 3


def test_a_coroutine_that_blocks_the_loop_gets_threads_and_harms_no_other(make: Make) -> None:
    gate = threading.Event()

    async def blocks(name: str) -> str:
        gate.wait(PATIENCE_S)
        return name

    async def healthy(name: str) -> str:
        await asyncio.sleep(0)
        return name

    engine = make(
        CallableSource("bad", blocks, read_only=True),
        CallableSource("good", healthy, read_only=True),
        rule=AT_ONCE,
        watch=IMPATIENT,
    )
    blocked = in_thread(lambda: engine.get("bad:x", timeout=PATIENCE_S).value)
    demand = engine._runtime.pools[Pool.DEMAND]
    first = until(lambda: demand.ref)
    until(lambda: demand.ref is not first)
    assert engine.get("good:x").value == "x"
    assert engine._runtime.blockers == {0}
    gate.set()
    assert blocked() == "x"
    until(lambda: engine.health().state == "ok")


def test_a_standstill_of_the_whole_process_is_nobodys_fault() -> None:
    """What counts is how often the watcher looked, not how long it took."""
    from prefetch_scheduler.actors.signals import Pulse
    from support.actors import Recorder

    watch, pulse = Watch(ping_s=1.0, hung_s=5.0), Pulse()
    told: Any = Recorder()
    assert not watch.look(pulse, told)
    assert [watch.look(pulse, told) for _ in range(5)] == [False, False, False, False, True]
    pulse.answered, pulse.missed = pulse.asked, 4
    assert not watch.look(pulse, told)
    assert not watch.look(pulse, told)


# ---- degraded, rebuilt, failed ---------------------------------------------------------------


def kill(engine: PrefetchEngine, role: str = "planner") -> None:
    getattr(engine, role).tell(object())


def test_degraded_reads_come_straight_from_the_sources(make: Make) -> None:
    calls: list[str] = []

    def first(name: str) -> str:
        calls.append(name)
        raise OSError("down")

    async def second(name: str) -> str:
        return f"copy of {name}"

    engine = make(
        echo(),
        CallableSource("doc", first, read_only=True),
        CallableSource("doc", second, read_only=True),
        CallableSource("faulty", {}.__getitem__, read_only=True),
        rule=FRAGILE,
        rebuild=Rebuild(cool_down_s=HOUR),
    )
    engine.get("k:resident")
    until(lambda: engine.peek("k:resident"))
    kill(engine)
    until(lambda: engine.health().state == "degraded")
    assert "planner failed more than 0 times" in (engine.health().reason or "")
    assert engine.get("k:resident").layer == "hot"  # from the view, as ever
    content = engine.get("doc:x")
    assert (content.value, content.key, content.source) == ("copy of x", "doc:x", "doc#2")
    assert asyncio.run(engine.aget("doc:y")).value == "copy of y"
    assert calls == ["x", "y"]
    with pytest.raises(ResourceUnavailable, match="KeyError"):
        engine.get("faulty:x")
    handle = engine.submit([main_file("k:a")])
    assert handle.wait_immediate(PATIENCE_S) is False
    with pytest.raises(EngineDegraded, match="degraded"):
        handle.plan(1)
    engine.trigger(ContextChanged("other"))
    engine.pin("k:p")
    engine.put("k:resident", "mine")
    engine.invalidate("k:resident")
    assert engine.peek("k:resident") is None
    assert engine.get("k:resident").value == "<resident>"
    handle.cancel()
    with pytest.raises(EngineDegraded):
        engine.report()


def test_a_rebuilt_engine_has_kept_content_counts_pins_and_what_the_host_said(make: Make) -> None:
    engine = make(rule=FRAGILE, rebuild=Rebuild(cool_down_s=0.05))
    engine.session("s").pin("k:pinned")
    engine.get("k:resident")
    until(lambda: engine.peek("k:resident") and engine.peek("k:pinned"))
    engine.session("s").trigger(ContextChanged("one"))
    reads = engine.total_report().summary()["reads"]
    planner = engine.planner
    kill(engine)
    until(lambda: engine._runtime.system.state is State.DEGRADED)
    engine.session("s").trigger(ContextChanged("two"))
    engine.get("k:meanwhile")
    until(lambda: engine.health().state == "ok")
    assert engine.planner is planner
    assert engine.peek("k:resident") is not None
    assert engine.cache.ask(cache_status()).pins == 1
    until(lambda: engine.planner.ask(planner_actor.PlannerStatusQuery()) is not None)
    state = engine._runtime.planner_kept.state
    assert state is not None
    assert state.sessions["s"].context == "two"
    assert state.sessions["s"].pins == {"k:pinned"}
    until(lambda: engine.total_report().summary()["reads"] == reads + 1)
    assert engine.submit([main_file("k:a")]).wait_immediate(5) is True


def test_a_tree_that_fails_again_soon_is_given_up(make: Make) -> None:
    source = Gated()
    engine = make(
        echo(), CallableSource("slow", source, read_only=True),
        rule=FRAGILE, rebuild=Rebuild(cool_down_s=0.01),
    )  # fmt: skip
    kill(engine)
    until(lambda: engine._runtime.system.state is not State.RUNNING)
    until(lambda: engine.health().state == "ok")
    waiting = in_thread(lambda: engine.get("slow:x"))
    until(lambda: source.calls)
    kill(engine, "cache")
    with pytest.raises(EngineFailed, match="rebuilt shortly before"):
        waiting()
    for use in (lambda: engine.get("k:x"), lambda: engine.submit([]), engine.report):
        with pytest.raises(EngineFailed):
            use()
    assert engine.health().state == "failed"
    source.gate.set()


def test_a_tree_that_fails_again_much_later_is_rebuilt_again(make: Make) -> None:
    engine = make(rule=FRAGILE, rebuild=Rebuild(cool_down_s=0.01, window_s=0.0))
    for role in ("planner", "cache", "metrics"):
        kill(engine, role)
        until(lambda: engine._runtime.system.state is not State.RUNNING)
        assert engine.get(f"k:{role}").value == f"<{role}>"
        until(lambda: engine.health().state == "ok")


def test_readers_who_wait_when_the_engine_degrades_get_their_content(make: Make) -> None:
    source = Gated()
    engine = make(
        CallableSource("slow", source, read_only=True),
        rule=FRAGILE,
        rebuild=Rebuild(cool_down_s=HOUR),
    )
    waiting = [in_thread(lambda n=n: engine.get(f"slow:{n}").value) for n in range(30)]

    async def several() -> list[Content]:
        return await engine.aget_many([f"slow:a{n}" for n in range(10)])

    coroutines = in_thread(lambda: asyncio.run(several()))
    until(lambda: source.calls)
    kill(engine)
    until(lambda: engine._runtime.direct.running)
    assert engine._runtime.direct.running <= 16
    source.gate.set()
    assert [wait() for wait in waiting] == [f"<{n}>" for n in range(30)]
    assert [c.value for c in coroutines()] == [f"<a{n}>" for n in range(10)]


def test_a_source_that_hangs_while_degraded_leaves_room_for_another(make: Make) -> None:
    source = Gated()
    engine = make(
        echo(),
        CallableSource("hang", source, read_only=True),
        rule=FRAGILE,
        rebuild=Rebuild(cool_down_s=HOUR),
    )
    kill(engine)
    until(lambda: engine._runtime.system.state is State.DEGRADED)
    waiting = [
        in_thread(lambda n=n: engine.get(f"hang:{n}", timeout=PATIENCE_S)) for n in range(20)
    ]
    until(lambda: len(source.calls) == 8)
    assert engine.get("k:x").value == "<x>"
    with pytest.raises(LoadTimeout, match="degraded"):
        engine.get("hang:late", timeout=0.05)
    source.gate.set()
    for wait in waiting:
        wait()
    assert "late" not in source.calls  # its reader was gone before its turn came


@pytest.mark.parametrize("how", ["an exception", "a hang", "from outside the loop"])
def test_a_dead_supervisor_is_noticed_and_the_tree_is_rebuilt_once(
    make: Make, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    engine = make(rebuild=Rebuild(cool_down_s=0.02, end_s=0.3), watch=IMPATIENT)
    gate = threading.Event()
    real = Supervisor.on_receive

    def faulty(self: Supervisor, message: Any) -> object:
        if message == "die":
            raise SystemExit(how)
        if message == "hang":
            gate.wait(PATIENCE_S)
            return None
        return real(self, message)

    monkeypatch.setattr(Supervisor, "on_receive", faulty)
    runtime_ = engine._runtime

    def strike() -> None:
        if how == "a hang":
            engine.supervisor.tell("hang")
        elif how == "an exception":
            engine.supervisor.tell("die")
        else:  # its thread ends with nothing told to anybody
            assert engine.supervisor.ref is not None
            monkeypatch.setattr(Supervisor, "on_abandoned", lambda self: None)
            engine.supervisor.ref.actor_stopped.set()

    strike()
    assert engine.get("k:during").value == "<during>"
    until(lambda: runtime_.system._rebuilt_at is not None)
    until(lambda: engine.health().state == "ok")
    assert engine.get("k:after").value == "<after>"
    strike()
    until(lambda: engine.health().state == "failed")
    with pytest.raises(EngineFailed, match="Supervisor"):
        engine.get("k:x")
    gate.set()


def test_an_engine_stops_at_once_while_it_is_degraded(make: Make) -> None:
    source = Gated()
    engine = make(
        CallableSource("slow", source, read_only=True),
        rule=FRAGILE,
        rebuild=Rebuild(cool_down_s=HOUR),
    )
    kill(engine)
    until(lambda: engine._runtime.system.state is State.DEGRADED)
    waiting = in_thread(lambda: engine.get("slow:x"))
    until(lambda: source.calls)
    began = time.monotonic()
    engine.stop(timeout=2)
    assert time.monotonic() - began < 2.5
    with pytest.raises(EngineStopped):
        waiting()
    source.gate.set()


@pytest.mark.parametrize("asked", ["StopAll", "HealthQuery"])
def test_a_supervisor_that_fails_on_a_question_fails_nobody_else(
    make: Make, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    engine = make(rebuild=Rebuild(cool_down_s=HOUR))
    real = Supervisor.on_receive

    def faulty(self: Supervisor, message: Any) -> Any:
        if type(message).__name__ == asked:
            raise KeyError("faulty")
        return real(self, message)

    monkeypatch.setattr(Supervisor, "on_receive", faulty)
    if asked == "HealthQuery":
        assert engine.health().state == "degraded"
    engine.stop()  # the fixture of all tests sees that nothing is left


def test_a_question_for_health_that_kills_the_planner_is_answered(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make(rule=AT_ONCE)
    real = Planner.on_receive

    def faulty(self: Planner, message: Any) -> Any:
        if isinstance(message, planner_actor.PlannerStatusQuery):
            raise KeyError("faulty")
        return real(self, message)

    monkeypatch.setattr(Planner, "on_receive", faulty)
    health = engine.health()
    assert (health.state, health.reason) == ("degraded", "the planner does not answer")


def test_content_that_a_later_change_overtook_is_known_as_old_over_a_restart(make: Make) -> None:
    engine = make(rule=AT_ONCE)
    board, planner, cache = engine._runtime.view.board, engine.planner, engine.cache
    first, second = board.note("k:x"), board.note("k:x")
    cache.ask(Invalidate("k:x", second))
    planner.ask(planner_actor.PlannerStatusQuery())  # it has acknowledged the change by then
    until(lambda: not len(board))
    cache.tell(object())
    cache.ask(Invalidate("k:x", first, Content("old", tokens=1), 0, stored="k:x"))
    assert engine.get("k:x").value == "<x>"


def test_a_put_that_kills_the_cache_while_it_is_waited_for_does_not_raise(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make(rule=AT_ONCE)
    real, left = CacheLayer.on_receive, ["once"]

    def faulty(self: CacheLayer, message: Any) -> Any:
        if isinstance(message, Drain) and left:
            left.clear()
            raise KeyError("faulty")
        return real(self, message)

    monkeypatch.setattr(CacheLayer, "on_receive", faulty)
    engine.put("k:x", "mine")
    assert not left
    assert engine.get("k:x").value == "mine"


def test_of_several_puts_those_that_the_cache_did_not_come_to_are_loaded_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    failed: list[str] = []
    real = CacheLayers._put

    async def load(name: str) -> str:
        calls.append(name)
        return f"<{name}>"

    def faulty(self: CacheLayers, put: Put, now: float) -> None:
        if put.entry.stored == "k:b" and not failed:
            failed.append(put.entry.stored)
            raise KeyError("faulty")
        real(self, put, now)

    monkeypatch.setattr(CacheLayers, "_put", faulty)
    engine = make(CallableSource("k", load, read_only=True), rule=AT_ONCE)
    handle = engine.submit([main_file("k:a"), main_file("k:b"), main_file("k:c")])
    assert handle.wait_immediate(PATIENCE_S)
    until(lambda: all(engine.peek(f"k:{name}") for name in "abc"))
    assert failed
    assert sorted(calls) == ["a", "b", "b", "c", "c"]
    for name in "abc":
        assert engine.get(f"k:{name}").value == f"<{name}>"
    counts = engine.report().summary()
    assert (counts["total_prefetches"], counts["used"]) == (5, 3)
