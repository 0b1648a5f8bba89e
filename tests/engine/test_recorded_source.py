"""The recorded source takes the recorded time, returns the recorded size, and goes stale."""

import asyncio

import pytest

from prefetch_scheduler.actors.clock import ScaledClock
from prefetch_scheduler.engine.recorded_loads import RecordedLoads
from prefetch_scheduler.engine.recorded_source import RecordedSource
from prefetch_scheduler.engine.recording_events import AccessEvent
from prefetch_scheduler.policies.tokens import tokens_of_size

LOADS = RecordedLoads(
    "s", [AccessEvent(1, "file:a.py", 30.0, 100), AccessEvent(2, "file:b.json", 1.0, 0)]
)


class CountingClock:
    """Engine time that passes only when somebody asks how long to sleep."""

    def __init__(self):
        self.asked = []

    def now(self):
        return 0.0

    def wall(self):
        return 0.0

    def today(self):
        return 1

    def real(self, seconds):
        self.asked.append(seconds)
        return 0.0


def loaded(source, name):
    return asyncio.run(source.load(name))


@pytest.fixture
def clock():
    return CountingClock()


@pytest.fixture
def source(clock):
    made = RecordedSource("file", clock)
    made.feed(LOADS)
    return made


def test_a_load_takes_the_recorded_time_on_the_engines_clock(source, clock):
    loaded(source, "a.py")
    assert clock.asked == [30.0]


def test_a_load_returns_the_recorded_size(source):
    content = loaded(source, "a.py")
    assert content.tokens == 100
    assert tokens_of_size(content.size, ".py") == 100
    assert loaded(source, "b.json").value == ""


def test_at_max_speed_a_load_takes_no_time(clock):
    source = RecordedSource("file", clock, instant=True)
    source.feed(LOADS)
    assert loaded(source, "a.py").tokens == 100
    assert clock.asked == []


def test_a_scaled_clock_shortens_the_load():
    source = RecordedSource("file", ScaledClock(1e6))
    source.feed(LOADS)
    loaded(source, "a.py")  # 30 s at a speed of a million: the test's time-out is a minute


def test_it_tells_the_planner_nothing_before_it_is_loaded(source):
    assert source.read_only
    assert not source.remote
    assert (source.tokens, source.load_s) == (None, None)


def test_a_change_makes_loaded_content_stale_and_leaves_other_names_alone(source):
    before, other = loaded(source, "a.py"), loaded(source, "b.json")
    source.change("a.py")
    assert source.version("a.py") != before.version
    assert source.version("b.json") == other.version
    assert loaded(source, "a.py").version == source.version("a.py")


def test_content_of_a_load_that_a_change_overtook_is_stale(clock):
    source = RecordedSource("file", clock)
    source.feed(LOADS)

    async def change_meanwhile():
        load = asyncio.ensure_future(source.load("a.py"))
        await asyncio.sleep(0)
        source.change("a.py")
        return await load

    clock.real = lambda seconds: 0.001
    content = asyncio.run(change_meanwhile())
    assert content.version != source.version("a.py")


def test_another_session_makes_all_content_stale(source):
    before = loaded(source, "a.py")
    source.feed(LOADS)
    assert source.version("a.py") != before.version


def test_it_counts_what_it_loaded_to_the_end(source):
    for name in ("a.py", "a.py", "b.json"):
        loaded(source, name)

    async def cancelled():
        load = asyncio.ensure_future(source.load("a.py"))
        await asyncio.sleep(0)
        load.cancel()
        with pytest.raises(asyncio.CancelledError):
            await load

    asyncio.run(cancelled())
    assert source.loaded == {"a.py": 2, "b.json": 1}
    assert source.tokens_loaded == 200
    assert source.loads_started == 4
