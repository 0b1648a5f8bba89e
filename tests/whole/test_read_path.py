"""Hits by the key alone: counted exactly, gone with the engine, never past an invalidation."""

import asyncio
import threading

import pytest

from prefetch_scheduler.engine import (
    CallableSource,
    EngineStopped,
    PrefetchEngine,
    SessionEnded,
    UnknownKind,
)


class Numbered:
    """Content that says how often it was loaded."""

    def __init__(self) -> None:
        self.loads = 0

    def __call__(self, name: str) -> str:
        self.loads += 1
        return f"{name} {self.loads:03}"


@pytest.fixture
def numbered():
    return Numbered()


@pytest.fixture
def engine(numbered):
    private = CallableSource("mail", lambda name: name, read_only=True, private=True)
    source = CallableSource("doc", numbered, read_only=True)
    with PrefetchEngine({"hot_cache_size": 100}, sources=[source, private]) as engine:
        yield engine


def drained(engine: PrefetchEngine) -> None:
    """Until the cache has published what was loaded before."""
    engine.report()


def hits(engine_or_session) -> int:
    return engine_or_session.report().to_dict()["prefetch_report"]["session_summary"]["cache_hits"]


def test_a_hit_is_served_by_its_key_alone_and_counted_for_its_session(engine):
    engine.get("doc:a")
    drained(engine)
    assert "doc:a" in engine._view.direct
    other = engine.session("other")
    assert engine.get("doc:a") is engine.peek("doc:a") is other.get("doc:a")
    assert engine.get("doc:a", timeout=1).value == "a 001"
    assert (hits(engine), hits(other)) == (2, 1)


def test_hits_of_many_threads_are_counted_exactly(engine):
    engine.get("doc:a")
    drained(engine)
    sessions = [engine, engine.session("one"), engine.session("one"), engine.session("two")]
    threads = [
        threading.Thread(target=lambda s=s: [s.get("doc:a") for _ in range(3000)]) for s in sessions
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hits(engine) == 3000
    assert hits(engine.session("one")) == 6000
    assert hits(engine.session("two")) == 3000


def test_hits_after_the_end_of_a_session_are_counted_too(engine):
    """The default session goes on; its tally was retired with the end."""
    engine.get("doc:a")
    drained(engine)
    for _ in range(3):
        engine.trigger(SessionEnded())
        engine.get("doc:a")
    before = engine.total_report().to_dict()["prefetch_report"]["session_summary"]["cache_hits"]
    for number in range(100):  # more ended sessions than are looked at for their own sake
        session = engine.session(f"s{number}")
        session.trigger(SessionEnded())
    engine.get("doc:a")
    total = engine.total_report().to_dict()["prefetch_report"]["session_summary"]["cache_hits"]
    assert (before, total) == (3, 4)


def test_another_spelling_is_found_by_the_longer_way(tmp_path):
    from prefetch_scheduler.engine import FileSource

    (tmp_path / "a.py").write_text("text")
    with PrefetchEngine(sources=[FileSource(tmp_path)]) as engine:
        assert engine.get("file:./a.py").value == "text"
        drained(engine)
        assert engine.get("file:a.py").value == engine.get("file:././a.py").value == "text"
        assert engine.peek("file:x/../a.py").key == "file:a.py"
        assert hits(engine) == 2


def test_private_content_is_never_served_by_a_key_with_a_user_in_it(engine):
    ann = engine.session("ann", user="ann")
    ann.get("mail:x")
    drained(engine)
    for read in (engine.peek, engine.get):
        with pytest.raises(ValueError, match="NUL"):
            read("mail:x\x00ann")


def test_an_invalidation_is_seen_by_every_read_after_it(engine, numbered):
    for pattern in ("doc:a", "doc:*") * 20:
        engine.get("doc:a")
        drained(engine)
        loads = numbered.loads
        engine.invalidate(pattern)
        seen = engine.peek("doc:a")  # None, or what was reloaded since
        assert seen is None or seen.value > f"a {loads:03}"
        assert engine.get("doc:a").value > f"a {loads:03}"


def test_after_a_prefix_was_invalidated_hits_are_direct_again_once_read(engine, numbered):
    engine.get("doc:a")
    engine.get("doc:b")
    drained(engine)
    engine.invalidate("doc:b*")
    drained(engine)
    assert "doc:a" not in engine._view.direct
    engine.get("doc:a")
    drained(engine)  # the planner's acknowledgement of the change is on its way by now
    engine.get("doc:a")
    drained(engine)
    assert "doc:a" in engine._view.direct


def test_a_stopped_engine_serves_nothing(engine):
    engine.get("doc:a")
    drained(engine)
    engine.stop()
    for read in (engine.peek, engine.get):
        with pytest.raises(EngineStopped):
            read("doc:a")


def test_keys_that_are_no_plain_strings_take_the_longer_way(engine):
    class Lying(str):
        __slots__ = ()

        def __hash__(self) -> int:
            return hash("doc:a")

        def __eq__(self, other: object) -> bool:
            return True

    engine.get("doc:a")
    drained(engine)
    assert engine.peek(Lying("doc:b")) is None
    with pytest.raises(UnknownKind):
        engine.peek(Lying("other:b"))


def test_a_coroutine_that_hits_is_not_suspended(engine):
    engine.get("doc:a")
    drained(engine)
    reading = engine.aget("doc:a")
    with pytest.raises(StopIteration) as done:
        reading.send(None)
    assert done.value.value.value == "a 001"

    async def beside() -> str:
        order = []
        asyncio.get_running_loop().call_soon(order.append, "another task")
        await engine.aget("doc:a")
        order.append("read")
        return order[0]

    assert asyncio.run(beside()) == "read"
