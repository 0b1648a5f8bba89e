"""Functions served through an engine: the same answers with it, without it, and with it failing."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.engine import (
    CallableSource,
    ConfigError,
    EngineStopped,
    Prediction,
    PrefetchEngine,
    ResourceUnavailable,
)
from prefetch_scheduler.engine.sources.calls import is_plain, result_of
from support.waiting import wait_for

HIGH = 0.95


@pytest.fixture
def engine() -> Iterator[PrefetchEngine]:
    with PrefetchEngine() as running:
        yield running


def loaded(engine: PrefetchEngine, key: str) -> bool:
    return engine.submit([Prediction(key, "main_file", HIGH)]).wait_immediate(10)


def test_a_predicted_call_is_made_ahead_and_served(engine: PrefetchEngine):
    calls: list[tuple[str, int]] = []

    @engine.prefetchable(read_only=True)
    def search(query: str, limit: int = 10) -> dict[str, Any]:
        """Finds."""
        calls.append((query, limit))
        return {"found": [query] * 2, "limit": limit}

    assert search.__name__ == "search"
    assert search.__doc__ == "Finds."
    assert search.key("a b") == search.key(query="a b", limit=10) == 'call:search?{"query":"a b"}'
    assert loaded(engine, search.key("a b"))
    assert calls == [("a b", 10)]
    first = search("a b")
    first["found"].append("mine")
    assert search(limit=10, query="a b") == {"found": ["a b", "a b"], "limit": 10}
    assert calls == [("a b", 10)]
    assert search("a b", 3)["limit"] == 3
    assert calls == [("a b", 10), ("a b", 3)]
    summary = engine.report().to_dict()["prefetch_report"]["session_summary"]
    assert (summary["cache_hits"], summary["used"]) == (2, 1)


def test_what_was_invalidated_is_called_anew(engine: PrefetchEngine):
    answers = iter("abcdef")

    @engine.prefetchable(read_only=True, max_age_s=None)
    def now() -> str:
        return next(answers)

    assert (now(), now()) == ("a", "a")
    now.invalidate()
    second = now()
    assert second > "a"
    engine.invalidate("call:now?*")
    assert now() > second


def test_a_version_of_the_same_arguments_says_what_is_stale(engine: PrefetchEngine):
    versions, calls = {"x": 1}, []

    def version(name: str) -> int:
        return versions[name]

    @engine.prefetchable(read_only=True, version=version)
    def read(name: str) -> int:
        calls.append(name)
        return versions[name]

    assert [read("x"), read("x")] == [1, 1]
    versions["x"] = 2
    assert [read("x"), read("x")] == [2, 2]
    assert len(calls) == 2


def test_an_async_function_runs_on_its_host_s_loop(engine: PrefetchEngine):
    loops: list[asyncio.AbstractEventLoop] = []

    @engine.prefetchable(read_only=True)
    async def fetch(*ids: int, **options: str) -> list[Any]:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())
        return [list(ids), options]

    async def host() -> None:
        assert await fetch(1, 2, mode="x") == [[1, 2], {"mode": "x"}]
        handle = engine.submit([Prediction(fetch.key(3), "main_file", HIGH)])
        assert await handle.await_immediate(10)
        assert await fetch(3) == [[3], {}]
        assert loops == [asyncio.get_running_loop()] * 2

    assert asyncio.iscoroutinefunction(fetch)
    asyncio.run(host())
    assert loaded(engine, fetch.key(4))  # that loop has ended
    assert asyncio.run(fetch(4)) == [[4], {}]
    assert len(loops) == 3


def test_a_plain_function_in_an_event_loop_s_thread_is_called_there(engine: PrefetchEngine):
    threads: list[int] = []

    @engine.prefetchable(read_only=True)
    def read(name: str) -> str:
        threads.append(threading.get_ident())
        return name

    async def host() -> None:
        assert read("a") == "a"
        assert threads == [threading.get_ident()]
        handle = engine.submit([Prediction(read.key("b"), "main_file", HIGH)])
        assert await handle.await_immediate(10)
        assert read("b") == "b"

    asyncio.run(host())
    assert len(threads) == 2
    assert threads[1] != threads[0]


def test_functions_that_call_each_other_do_not_wait_for_each_other_s_slots():
    calls: list[int] = []
    config = {"execution": {"demand_slots": 1, "demand_timeout_s": 50}, "max_concurrent_fetches": 1}
    with PrefetchEngine(config) as engine:

        @engine.prefetchable(read_only=True)
        def below(n: int) -> int:
            calls.append(n)
            return below(n - 1) + 1 if n else 0

        @engine.prefetchable(read_only=True)
        async def above(n: int) -> int:
            return await above(n - 1) + 1 if n else 0

        assert below(12) == 12
        assert calls == list(range(12, -1, -1))
        assert asyncio.run(above(12)) == 12


class Opaque:
    """No plain data."""


@pytest.mark.parametrize("result", [Opaque(), (1, 2), {1: "x"}, float("nan"), {"a": [Opaque()]}])
def test_a_result_that_cannot_be_kept_is_the_function_s_own(engine: PrefetchEngine, result: Any):
    calls: list[int] = []

    @engine.prefetchable(read_only=True)
    def give(n: int) -> Any:
        calls.append(n)
        return result

    assert give(1) is result
    made = len(calls)
    assert [give(1), give(2)] == [result, result]
    assert len(calls) == made + 2  # it is not asked of the engine any more
    plan = engine.submit([Prediction(give.key(3), "main_file", HIGH)]).plan(10)
    assert "cannot be kept" in plan.items[0].detail


def test_arguments_that_no_key_can_tell_apart_go_to_the_function(engine: PrefetchEngine):
    @engine.prefetchable(read_only=True)
    def size(of: Any) -> int:
        return len(of)

    assert size((1, 2)) == 2
    assert size({1}) == 1
    with pytest.raises(TypeError, match="argument 'of' is not plain data"):
        size.key((1, 2))
    with pytest.raises(TypeError, match="positional argument but 2 were given"):
        size([1], 2)  # type: ignore[call-arg]  # what is wrong is what is tested
    assert len({size.key(1), size.key(1.0), size.key(True), size.key("1")}) == 4


def test_a_function_s_own_error_reaches_its_caller(engine: PrefetchEngine):
    calls = 0

    @engine.prefetchable(read_only=True)
    def flaky(name: str) -> str:
        nonlocal calls
        calls += 1
        if name == "bad" or calls == 1:
            raise LookupError(name)
        return name

    assert not loaded(engine, flaky.key("good"))
    assert flaky("good") == "good"
    with pytest.raises(LookupError, match="bad"):
        flaky("bad")
    assert not engine.health().held_off  # one function that fails holds the others up in nothing


def test_without_a_running_engine_the_function_answers():
    engine = PrefetchEngine()

    @engine.prefetchable(read_only=True)
    def twice(n: int) -> int:
        return 2 * n

    assert twice(1) == 2
    with engine:
        assert twice(2) == 4
        wait_for(lambda: engine.peek(twice.key(2)))  # it was the engine that called
    assert twice(3) == 6
    with pytest.raises(EngineStopped):
        engine.get(twice.key(3))


def test_names_are_told_apart_and_end_with_their_function(engine: PrefetchEngine):
    def make(n: int) -> Any:
        @engine.prefetchable(read_only=True)
        def give() -> int:
            return n

        return give

    first, second = make(1), make(2)
    assert (first.key(), second.key()) == ("call:give?{}", "call:give~2?{}")
    assert [first(), second()] == [1, 2]
    del first
    gc.collect()
    with pytest.raises(ResourceUnavailable, match="no function 'give'"):
        engine.get("call:give?{}", timeout=5) and engine.get('call:give?{"x":1}', timeout=5)
    third = make(3)
    assert third.key() == "call:give?{}"
    assert third() == 3  # not what the first one gave


def test_what_is_remote_is_called_ahead_only_where_the_host_allows_it():
    for allowed in (False, True):
        with PrefetchEngine({"execution": {"prefetch_remote": allowed}}) as engine:

            @engine.prefetchable(read_only=True, remote=True)
            def ask(what: str) -> str:
                return what

            assert loaded(engine, ask.key("x")) is allowed
            assert ask("x") == "x"


@pytest.mark.parametrize(
    ("terms", "fault"),
    [
        ({"read_only": False}, "read_only: expected True, got False"),
        ({"read_only": True, "max_age_s": -1}, "max_age_s: expected a number of at least 0"),
        ({"read_only": True, "version": 3}, "version: expected a function"),
        ({"read_only": True, "name": "a?b"}, "without '?'"),
        ({"read_only": True, "name": 3}, "name: expected text"),
    ],
)
def test_wrong_terms_are_named(engine: PrefetchEngine, terms: dict[str, Any], fault: str):
    with pytest.raises(ConfigError) as raised:
        engine.prefetchable(**terms)(lambda: "x")
    assert fault in str(raised.value)


def test_a_kind_of_the_host_s_own_wins():
    own = CallableSource("call", lambda name: name, read_only=True)
    with PrefetchEngine(sources=[own]) as engine:
        assert engine.get("call:me").value == "me"
        with pytest.raises(ConfigError, match="has the kind 'call'"):
            engine.prefetchable(read_only=True)
    with pytest.raises(ConfigError, match="expected a function, got int"):
        PrefetchEngine().prefetchable(read_only=True)(3)  # type: ignore[arg-type]  # as above


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


NOT_STARTED = PrefetchEngine()


@given(values=st.lists(JSON, min_size=1, max_size=3))
def test_plain_data_comes_back_as_it_was_from_key_and_result(values: list[Any]):
    engine = NOT_STARTED

    @engine.prefetchable(read_only=True)
    def give(*given: Any) -> list[Any]:
        return list(given)

    if not all(map(is_plain, values)):  # infinities
        with pytest.raises(TypeError):
            give.key(*values)
        return
    source = engine._functions._source
    content = source.load(give.key(*values).partition(":")[2])
    assert repr(result_of(content)) == repr(values)
