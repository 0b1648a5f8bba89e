"""What the engine is done with is freed at once, and not when the garbage collector comes by.

Content may be large, and a host that runs for weeks should hold no more of it than it has to.
"""

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from prefetch_scheduler.engine import CallableSource, Prediction, PrefetchEngine, SessionEnded

ROUNDS = 12


async def remote(name: str) -> str:
    await asyncio.sleep(0)
    return name


@pytest.fixture
def engine() -> Iterator[PrefetchEngine]:
    sources = [
        CallableSource("sync", lambda name: name, read_only=True),
        CallableSource("async", remote, read_only=True),
    ]
    with PrefetchEngine(sources=sources) as engine:
        yield engine


def garbage() -> Counter[str]:
    """Types of this package among what only the garbage collector can free, collected now."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return Counter(
            type(found).__qualname__
            for found in gc.garbage
            if type(found).__module__.startswith("prefetch_scheduler")
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def reads(engine: PrefetchEngine, number: int) -> None:
    session = engine.session("reader")
    for kind in ("sync", "async"):
        assert session.get(f"{kind}:{number}").value == f"{number}"
        assert session.get(f"{kind}:{number}").value == f"{number}"
    asyncio.run(waited(engine, number))


async def waited(engine: PrefetchEngine, number: int) -> None:
    content = await engine.session("reader").aget(f"async:waited{number}")
    assert content.value == f"waited{number}"


def submits(engine: PrefetchEngine, number: int) -> None:
    session = engine.session("predicted")
    keys = [f"{kind}:{number}-{item}" for kind in ("sync", "async") for item in range(3)]
    handle = session.submit([Prediction(key, "main_file", 0.9) for key in keys])
    assert len(handle.plan(timeout=10).items) == len(keys)
    assert handle.wait_immediate(timeout=10)
    for key in keys:
        session.get(key, timeout=10)


def sessions(engine: PrefetchEngine, number: int) -> None:
    session = engine.session(f"s{number}")
    session.get("sync:shared")
    session.get(f"sync:own{number}")
    session.trigger(SessionEnded())


def changes(engine: PrefetchEngine, number: int) -> None:
    session = engine.session("writer")
    session.get("sync:edited")
    session.put("sync:edited", f"{number}")
    session.invalidate("sync:edited")


@pytest.mark.parametrize("step", [reads, submits, sessions, changes])
def test_nothing_waits_for_the_garbage_collector(
    engine: PrefetchEngine, step: Callable[[PrefetchEngine, int], None]
) -> None:
    step(engine, 0)  # what is made once may be anything
    engine.report()
    gc.collect()  # engines of other tests
    gc.disable()
    try:
        for number in range(1, ROUNDS):
            step(engine, number)
        engine.report()  # every actor has handled what it was sent
        left = garbage()
    finally:
        gc.enable()
    assert not left
