"""Content past its age: never served, unless its source allows that; never what has changed."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from prefetch_scheduler.actors.clock import SystemClock
from prefetch_scheduler.engine import (
    CallableSource,
    ConfigError,
    Content,
    LoadTimeout,
    PrefetchEngine,
    ResourceUnavailable,
)
from support.waiting import wait_for


class Ahead(SystemClock):
    """Real time, which a test moves on."""

    def __init__(self) -> None:
        super().__init__()
        self.by = 0.0

    def now(self) -> float:
        return super().now() + self.by


class Backend:
    """What the source loads from: counts, fails or hangs as it is told."""

    def __init__(self) -> None:
        self.text = "one"
        self.loads = 0
        self.down = False
        self.open = threading.Event()
        self.open.set()
        self.version: str | None = None

    def load(self, name: str) -> Content:
        self.loads += 1
        text = self.text
        self.open.wait(10)
        if self.down:
            raise OSError("the backend is down")
        return Content(text, max_age_s=10)


@pytest.fixture
def clock() -> Ahead:
    return Ahead()


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend()
    yield made
    made.open.set()


def engine_of(backend: Backend, clock: Ahead, **more: float) -> PrefetchEngine:
    source = CallableSource("doc", backend.load, read_only=True, remote=True, **more)
    return PrefetchEngine(sources=[source], clock=clock)


def resident(engine: PrefetchEngine, key: str = "doc:a") -> None:
    engine.get(key)
    wait_for(lambda: engine.peek(key) is not None)


def test_content_past_its_age_is_not_served(backend: Backend, clock: Ahead) -> None:
    with engine_of(backend, clock) as engine:
        resident(engine)
        backend.text = "two"
        clock.by = 9
        assert engine.get("doc:a").value == "one"
        clock.by = 10.1
        assert engine.peek("doc:a") is None
        content = engine.get("doc:a")
        assert (content.value, content.stale) == ("two", False)
        backend.down = True
        clock.by = 30
        with pytest.raises(ResourceUnavailable):
            engine.get("doc:a")


def test_it_is_served_and_loaded_again_once_in_the_background(
    backend: Backend, clock: Ahead
) -> None:
    with engine_of(backend, clock, stale_while_revalidate_s=5) as engine:
        resident(engine)
        backend.text = "two"
        backend.open.clear()
        clock.by = 12
        assert engine.peek("doc:a") is None
        for _ in range(20):
            content = engine.get("doc:a")
            assert (content.value, content.stale) == ("one", True)
        wait_for(lambda: backend.loads == 2)
        backend.open.set()
        wait_for(lambda: engine.peek("doc:a") is not None)
        content = engine.get("doc:a")
        assert (content.value, content.stale) == ("two", False)
        assert backend.loads == 2
        summary = engine.report().summary()
        assert summary["stale_served"] == 20
        assert summary["cache_hits"] == 21
        assert summary["prefetches_by_cause"]["reload"] == 1
        assert summary["used"] == 1
        assert any(line.event == "served stale" for line in engine.explain("doc:a"))


def test_past_that_time_too_a_reader_waits_for_the_load(backend: Backend, clock: Ahead) -> None:
    with engine_of(backend, clock, stale_while_revalidate_s=5) as engine:
        resident(engine)
        backend.text = "two"
        clock.by = 15.1
        assert engine.get("doc:a").value == "two"
        assert engine.report().summary()["stale_served"] == 0


def test_a_failed_load_is_made_up_for_by_content_past_its_age(
    backend: Backend, clock: Ahead
) -> None:
    with engine_of(backend, clock, stale_if_error_s=60) as engine:
        resident(engine)
        backend.down = True
        clock.by = 20
        content = engine.get("doc:a")
        assert (content.value, content.stale) == ("one", True)
        assert asyncio.run(engine.aget("doc:a")).stale
        assert engine.get_many(["doc:a"])[0].stale
        backend.open.clear()
        assert engine.get("doc:a", timeout=0.05).stale  # not there in time
        backend.open.set()
        assert engine.report().summary()["stale_served"] == 4
        clock.by = 71
        with pytest.raises((ResourceUnavailable, LoadTimeout)):
            engine.get("doc:a")
        backend.down = False
        backend.text = "two"
        assert engine.get("doc:a").value == "two"


def test_what_was_told_to_have_changed_is_never_served(backend: Backend, clock: Ahead) -> None:
    opted_in = {"stale_while_revalidate_s": 60.0, "stale_if_error_s": 60.0}
    with engine_of(backend, clock, **opted_in) as engine:
        resident(engine)
        clock.by = 12
        engine.invalidate("doc:*")
        backend.down = True
        with pytest.raises(ResourceUnavailable):
            engine.get("doc:a")
        assert engine.report().summary()["stale_served"] == 0


def test_what_its_source_sees_to_have_changed_is_never_served(clock: Ahead) -> None:
    backend = Backend()
    version = ["v1"]
    source = CallableSource(
        "doc",
        backend.load,
        read_only=True,
        version=lambda name: version[0],
        stale_while_revalidate_s=60,
        stale_if_error_s=60,
    )
    with PrefetchEngine(sources=[source], clock=clock) as engine:
        resident(engine)
        clock.by = 12
        assert engine.get("doc:a").stale
        version[0] = "v2"
        backend.down = True
        with pytest.raises(ResourceUnavailable):
            engine.get("doc:a")


def test_an_opt_in_that_is_no_time_is_refused() -> None:
    with pytest.raises(ConfigError, match="stale_if_error_s"):
        CallableSource("doc", str, read_only=True, stale_if_error_s=-1)
    with pytest.raises(ConfigError, match="stale_while_revalidate_s"):
        CallableSource("doc", str, read_only=True, stale_while_revalidate_s=float("nan"))
