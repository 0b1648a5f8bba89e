from prefetch_scheduler.policies.breakers import LIMIT, Breakers, blames_source
from prefetch_scheduler.policies.errors import ResourceUnavailable
from prefetch_scheduler.policies.source_info import SourceInfo
from prefetch_scheduler.policies.vocabulary import Reason
from support.virtual import Load, World, p

FIRST, LONGEST = 1.0, 60.0


def opened() -> Breakers:
    breakers = Breakers(FIRST, LONGEST)
    for _ in range(LIMIT - 1):
        assert breakers.failed(7, 0.0) is None
        assert breakers.wait(7, 0.0) == 0
    assert breakers.failed(7, 0.0) == FIRST
    return breakers


def test_failures_in_a_row_open_the_breaker_of_their_source_alone() -> None:
    breakers = opened()
    assert breakers.wait(7, 0.25) == 0.75
    assert breakers.wait(8, 0.25) == 0
    assert breakers.open(0.25) == {7: 0.75}


def test_a_success_in_between_starts_the_row_anew() -> None:
    breakers = Breakers(FIRST, LONGEST)
    for _ in range(5 * LIMIT):
        for _ in range(LIMIT - 1):
            assert breakers.failed(7, 0.0) is None
        assert breakers.succeeded(7) is False
    assert breakers.open(0.0) == {}


def test_after_the_pause_one_probe_goes_through_until_the_next_pause_is_over() -> None:
    breakers = opened()
    assert breakers.wait(7, 1.0) == 0
    breakers.begin(7, 1.0)
    assert breakers.wait(7, 1.0) == FIRST
    assert breakers.wait(7, 2.0) == 0  # the probe hangs: another one is tried


def test_the_pause_doubles_up_to_the_longest_and_ends_with_a_success() -> None:
    breakers, now, pauses = opened(), 1.0, []
    for _ in range(8):
        pause = breakers.failed(7, now)
        pauses.append(pause)
        now += pause or 0.0
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    assert breakers.succeeded(7) is True
    assert breakers.wait(7, now) == 0
    assert breakers.failed(7, now) is None


def test_loads_that_had_begun_before_it_opened_do_not_prolong_the_pause() -> None:
    breakers = opened()
    assert breakers.failed(7, 0.5) is None
    assert breakers.wait(7, 0.5) == 0.5


def test_what_is_missing_or_forbidden_does_not_speak_against_its_source() -> None:
    for error in (
        FileNotFoundError("x"),
        PermissionError("x"),
        KeyError("x"),
        ResourceUnavailable("x"),
    ):
        assert not blames_source(error)
    for other in (OSError("x"), TimeoutError("x"), RuntimeError("x"), None):
        assert blames_source(other)


# ---- in the planner ------------------------------------------------------------------------------

SOURCES = (
    SourceInfo(0, "broken", "bad", read_only=True),
    SourceInfo(1, "files", "file", read_only=True),
)


def failing() -> World:
    world = World(sources=SOURCES, default=Load(error="down"), loads={"file:a": Load()})
    for number in range(LIMIT):
        world.submit([p(f"bad:{number}", "main_file", tokens=1)])
        world.run(0.05)
    return world


def test_nothing_is_loaded_ahead_from_a_source_that_keeps_failing() -> None:
    world = failing()
    before = len(world.started)
    handle = world.submit([p("bad:x", tokens=1), p("file:a", tokens=1)])
    world.run(0.05)
    assert handle.plan is not None
    fates = {item.key: item.reason for item in handle.plan.items}
    assert fates == {"bad:x": Reason.UNAVAILABLE, "file:a": Reason.PLANNED}
    assert world.loaded[before:] == ["file:a"]
    assert any("keeps failing" in log.text for log in world.logs)


def test_what_is_queued_when_the_breaker_opens_is_not_started() -> None:
    world = World(sources=SOURCES, default=Load(error="down"))
    world.submit([p(f"bad:{number:02}", "related_file", tokens=1) for number in range(20)])
    world.run(0.5)
    assert LIMIT <= len(world.started) <= LIMIT + world.config.max_concurrent_fetches
    assert not world.planner.state.flights.live


def test_demand_is_tried_all_the_same_and_its_success_closes_the_breaker() -> None:
    world = failing()
    world.loads["bad:y"] = Load()
    outcome = world.read("bad:y")
    world.run(0.05)
    assert outcome.ended_at is not None
    assert "bad:y" in world.resident
    world.loads["bad:z"] = Load()
    world.submit([p("bad:z", tokens=1)])
    world.run(0.05)
    assert "bad:z" in world.resident


def test_a_probe_brings_the_source_back() -> None:
    world = failing()
    world.default = Load()
    world.run(FIRST)
    world.submit([p(f"bad:n{number}", "related_file", tokens=1) for number in range(3)])
    assert len([key for key in world.loaded if key.startswith("bad:n")]) == 1
    world.run(0.05)
    world.submit([p(f"bad:n{number}", "related_file", tokens=1) for number in range(3)])
    world.run(0.05)
    assert {"bad:n0", "bad:n1", "bad:n2"} <= world.resident
