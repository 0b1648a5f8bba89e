"""What a host may hand in: huge figures, odd keys, wrong types, odd times to wait."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from prefetch_scheduler.engine import (
    CallableSource,
    Constraints,
    EngineStopped,
    InvalidPrediction,
    LoadTimeout,
    Prediction,
    PrefetchEngine,
    PrefetchError,
)
from support.virtual import World, p

HUGE = 10**400
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def engine() -> Iterator[PrefetchEngine]:
    source = CallableSource("k", lambda name: f"<{name}>", read_only=True)
    with PrefetchEngine(sources=[source]) as running:
        yield running


def healthy(engine: PrefetchEngine) -> bool:
    """Whether every actor is the one that was started."""
    health = engine.health()
    return health.state == "ok" and not any(actor.restarts for actor in health.actors)


# ---- figures ---------------------------------------------------------------------------------


def test_values_that_cannot_be_added_up_are_refused(engine: PrefetchEngine):
    items = [Prediction(f"k:{n}", "main_file", 0.9, value=1e308) for n in range(2)]
    with pytest.raises(InvalidPrediction, match=r"predictions\[1\]\.value: 1e\+308"):
        engine.submit(items)
    assert engine.submit([Prediction("k:x", "main_file", 0.9, value=1e12)]).wait_immediate(5)
    assert healthy(engine)


@pytest.mark.parametrize(
    "figure", [HUGE, 10**5000, -HUGE, 10**12 + 1], ids=["huge", "unwritable", "negative", "above"]
)
@pytest.mark.parametrize("field", ["tokens", "load_s", "value", "confidence"])
def test_whole_numbers_of_any_length_are_judged(engine: PrefetchEngine, field: str, figure: int):
    given = {"confidence": 0.9, field: figure}
    with pytest.raises(InvalidPrediction, match=field) as caught:
        engine.submit([Prediction("k:x", "main_file", **given)])
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "constraints",
    [
        Constraints(token_budget=HUGE),
        Constraints(token_budget=10**5000),
        Constraints(time_budget_ms=1e308),
        Constraints(time_budget_ms=HUGE),
        Constraints(limits={"daily": HUGE}),
        Constraints(limits={"daily": 1e300}),
    ],
    ids=range(6),
)
def test_budgets_are_bounded(engine: PrefetchEngine, constraints: Constraints):
    with pytest.raises(InvalidPrediction, match="constraints"):
        engine.submit([], constraints)


def test_the_predictors_own_output_is_judged_in_the_same_way(engine: PrefetchEngine):
    for confidence in (HUGE, 10**5000, NAN):
        output = {"skills": {"primary": {"skill_id": "s", "confidence": confidence}}}
        with pytest.raises(InvalidPrediction, match="confidence"):
            engine.submit(output)


def test_the_largest_figures_are_planned(engine: PrefetchEngine):
    items = [
        Prediction(f"k:{n}", "main_file", 0.9, tokens=10**12, load_s=1e9, value=1e12)
        for n in range(50)
    ]
    limits = Constraints(token_budget=10**12, time_budget_ms=1e12, limits={"daily": 1e12})
    assert len(engine.submit(items, limits).plan(5).items) == 50
    assert healthy(engine)


def test_a_prediction_that_slips_through_the_door_is_left_out_and_the_rest_is_planned():
    world = World()
    handle = world.submit(
        [
            p("file:bad", "main_file", 0.9, value=1e308),
            p("file:unsized", "main_file", 0.9, tokens=HUGE, load_s=INF),
            p("file:good", "main_file", 0.9),
        ]
    )
    world.settle()
    assert [item.key for item in handle.plan.items] == ["file:good", "file:unsized"]
    assert world.resident == {"file:good", "file:unsized"}
    assert [log.key for log in world.logs if "left out of the plan" in log.text] == ["file:bad"]


def test_reasons_that_are_no_text_are_refused(engine: PrefetchEngine):
    with pytest.raises(InvalidPrediction, match=r"reason: .* is not a string"):
        engine.submit([Prediction("k:x", "main_file", 0.9, reason=["a"])])  # type: ignore[arg-type]  # what is tested


# ---- keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [[], {}, 3, None, b"k:x", object()])
@pytest.mark.parametrize(
    "word", ["get", "peek", "invalidate", "pin", "unpin", "explain", "put", "aget"]
)
def test_what_is_no_key_is_refused_by_its_type(engine: PrefetchEngine, word: str, key: object):
    arguments = (key, "x") if word == "put" else (key,)
    with pytest.raises(InvalidPrediction, match=type(key).__name__):
        asyncio.run(engine.aget(key)) if word == "aget" else getattr(engine, word)(*arguments)  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("keys", [3, None, "k:x"])
def test_what_is_no_list_of_keys_is_refused(engine: PrefetchEngine, keys: object):
    with pytest.raises(InvalidPrediction, match="list of keys"):
        engine.get_many(keys)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(InvalidPrediction, match="list of keys"):
        asyncio.run(engine.aget_many(keys))  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("given", [3, None, "k:x", Prediction("k:x", "main_file", 0.9)])
def test_what_is_no_list_of_predictions_is_refused(engine: PrefetchEngine, given: object):
    with pytest.raises(InvalidPrediction, match="predictions: expected"):
        engine.submit(given)  # type: ignore[arg-type]  # what is tested


def test_a_key_may_have_4096_characters(engine: PrefetchEngine):
    longest = "k:" + "x" * 4094
    assert engine.get(longest).value
    for use in (engine.get, engine.peek, engine.pin, engine.invalidate):
        with pytest.raises(InvalidPrediction, match=r"4097 characters.*4096") as caught:
            use(longest + "x")
        assert len(str(caught.value)) < 300
    with pytest.raises(InvalidPrediction, match="4096"):
        engine.submit([Prediction("k" * 5000, "main_file", 0.9)])


class Shouting(str):
    """A string that claims to be another."""

    __slots__ = ()

    def __hash__(self) -> int:
        raise RuntimeError("no")

    def __str__(self) -> str:
        return "other"


def test_a_subclass_of_str_is_taken_as_the_text_it_holds(engine: PrefetchEngine):
    assert engine.get(Shouting("k:x")).value == "<x>"
    assert type(engine.get(Shouting("k:x")).key) is str
    plan = engine.submit([Prediction(Shouting(k), "main_file", 0.9) for k in ("k:y", "no:x")])
    assert all(type(item.key) is str for item in plan.plan(5).items)
    assert {item.key for item in plan.plan(5).items} == {"k:y", "no:x"}


def test_constraints_as_a_mapping_are_refused_by_name(engine: PrefetchEngine):
    with pytest.raises(InvalidPrediction, match=r"Constraints\(token_budget=5\)"):
        engine.submit([], {"token_budget": 5})  # type: ignore[arg-type]  # what is tested
    with pytest.raises(InvalidPrediction, match="constraints: expected Constraints"):
        engine.submit([], 5)  # type: ignore[arg-type]  # what is tested


# ---- times -----------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", ["x", NAN, -1, -INF, True, [], -(10**5000)], ids=range(7))
def test_times_to_wait_that_are_none_are_refused(engine: PrefetchEngine, timeout: float):
    handle = engine.submit([])
    for wait in (
        lambda: engine.get("k:x", timeout=timeout),
        lambda: engine.get_many(["k:x"], timeout=timeout),
        lambda: asyncio.run(engine.aget("k:x", timeout=timeout)),
        lambda: asyncio.run(engine.aget_many(["k:x"], timeout=timeout)),
        lambda: handle.plan(timeout),
        lambda: handle.wait_immediate(timeout),
        lambda: asyncio.run(handle.await_immediate(timeout)),
        lambda: engine.stop(timeout),
    ):
        with pytest.raises(InvalidPrediction, match="seconds of at least 0"):
            wait()
    assert engine.get("k:x").value  # the engine was not stopped


@pytest.mark.parametrize("timeout", [INF, 1e300, HUGE], ids=["inf", "float", "int"])
def test_an_infinite_time_is_the_longest_wait(engine: PrefetchEngine, timeout: float):
    assert engine.get("k:a", timeout=timeout).value
    assert asyncio.run(engine.aget("k:b", timeout=timeout)).value
    assert engine.get_many(["k:c", "k:d"], timeout=timeout)
    handle = engine.submit([Prediction("k:e", "main_file", 0.9)])
    assert handle.plan(timeout).items
    assert handle.wait_immediate(timeout) is True
    engine.stop(timeout)


def test_get_many_has_one_deadline_for_all_its_keys():
    gate = threading.Event()
    source = CallableSource("slow", lambda name: gate.wait(30) and name, read_only=True)
    with PrefetchEngine(sources=[source]) as engine:
        began = time.monotonic()
        with pytest.raises(LoadTimeout):
            engine.get_many([f"slow:{n}" for n in range(20)], timeout=0.1)
        assert time.monotonic() - began < 1.5
        gate.set()


# ---- stopping --------------------------------------------------------------------------------


def test_a_refused_stop_leaves_the_engine_running(engine: PrefetchEngine):
    for timeout in ("x", None, NAN):
        with pytest.raises(InvalidPrediction, match="seconds"):
            engine.stop(timeout)  # type: ignore[arg-type]  # what is tested
    assert engine.get("k:x").value
    engine.stop(INF)
    with pytest.raises(EngineStopped):
        engine.get("k:x")


def test_a_second_stop_waits_for_the_first(engine: PrefetchEngine, monkeypatch):
    begun, gate = threading.Event(), threading.Event()
    stop = engine._runtime.stop

    def slow(timeout: float, caller: int) -> tuple[str, ...]:
        begun.set()
        assert gate.wait(10)
        return stop(timeout, caller)

    monkeypatch.setattr(engine._runtime, "stop", slow)
    first = threading.Thread(target=engine.stop)
    first.start()
    assert begun.wait(5)
    began = time.monotonic()
    engine.stop(timeout=0.05)  # up to its own time only
    assert 0.04 < time.monotonic() - began < 5
    second = threading.Thread(target=engine.stop)
    second.start()
    second.join(0.05)
    assert second.is_alive()
    gate.set()
    for thread in (first, second):
        thread.join(10)
        assert not thread.is_alive()


def test_an_async_load_may_stop_the_engine_and_no_thread_goes_on_spinning():
    """Once its pool's thread went on at full speed, waiting for a loop that was never run again."""
    before = set(threading.enumerate())
    engines: list[PrefetchEngine] = []
    stopped = threading.Event()

    async def load(name: str) -> str:
        engines[0].stop(timeout=1)
        stopped.set()
        return name

    engines.append(PrefetchEngine(sources=[CallableSource("k", load, read_only=True)]))
    engine = engines[0].start()
    with pytest.raises(PrefetchError):
        engine.get("k:x", timeout=5)
    assert stopped.wait(5)
    end = time.monotonic() + 5
    for thread in set(threading.enumerate()) - before:
        thread.join(max(0.0, end - time.monotonic()))
        assert not thread.is_alive(), f"{thread.name} goes on"


# ---- callbacks -------------------------------------------------------------------------------


class AsyncCallable:
    async def __call__(self, event: object) -> None: ...


def test_async_callbacks_are_refused(engine: PrefetchEngine):
    async def callback(event: object) -> None: ...

    for given in (callback, AsyncCallable(), 3):
        with pytest.raises(TypeError, match="plain function of one event"):
            engine.subscribe(given)  # type: ignore[arg-type]  # what is tested


def test_a_callback_that_returns_a_coroutine_is_told_of(engine: PrefetchEngine, caplog):
    closed = threading.Event()

    async def work(event: object) -> None: ...

    def callback(event: object) -> object:
        closed.set()
        return work(event)

    engine.subscribe(callback)
    engine.get("k:x")
    assert closed.wait(5)
    engine.stop()
    assert any("coroutine" in record.getMessage() for record in caplog.records)
