"""Seeded fault schedules in virtual time: what must hold whatever happens.

`python -m tests.faults` plays thousands of them, and replays one by its seed.
"""

import pytest
from attrs import evolve

from prefetch_scheduler.policies import sessions
from prefetch_scheduler.policies.prediction import Terms
from support.played import play
from support.schedules import (
    CrashStep,
    EditStep,
    FloodStep,
    FreezeStep,
    Habits,
    ReadStep,
    Schedule,
    Step,
    SubmitStep,
    WaitStep,
    schedule,
    shortest,
)
from support.shells import Kill, Point
from support.virtual import p

BATCHES = 10
SCHEDULES = 500


def fails(played: Schedule) -> bool:
    try:
        play(played)
    except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
        return True
    return False


@pytest.mark.parametrize("batch", range(BATCHES))
def test_whatever_happens_every_reader_is_served_and_nothing_is_left(batch: int) -> None:
    for seed in range(batch, SCHEDULES, BATCHES):
        played = schedule(seed)
        try:
            play(played)
        except Exception as error:
            error.add_note("\n".join(["enough to fail:", *shortest(played, fails).lines()]))
            raise


def test_nor_when_every_plan_is_made_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "LARGE", 0)
    for seed in range(SCHEDULES, SCHEDULES + SCHEDULES // 5):
        play(schedule(seed))


def test_a_seed_is_played_the_same_each_time() -> None:
    played = schedule(7)
    assert played == schedule(7)
    first: list[str] = []
    again: list[str] = []
    play(played, first.append)
    play(played, again.append)
    assert first
    assert len(first) == len(again)
    assert [line.split("object at")[0] for line in first] == [
        line.split("object at")[0] for line in again
    ]


# ---- faults of the engine that schedules have found, each as few steps as were enough -----------


def made(steps: tuple[Step, ...], *kills: Kill, seed: int = 0) -> Schedule:
    return Schedule(seed, 0, Habits(deaf_rate=0.0), steps, kills)


def prediction(key: str) -> SubmitStep:
    return SubmitStep((p(key, "main_file"),), Terms(), "s", None)


FOUND = {
    "a put that the cache fails on is not waited for": made(
        (ReadStep("doc:c", "t", 1e6), WaitStep(6.0)),
        Kill("cache", 1, Point.INSIDE, KeyError, of="Puts"),
    ),
    "nor one that it never looked at": made(
        (ReadStep("doc:c", "t", 1e6), WaitStep(6.0)),
        Kill("cache", 1, Point.BEFORE, KeyError, of="Puts"),
    ),
    "a prefetch ends when the cache fails on the change that ends it": made(
        (prediction("file:e"), WaitStep(6.0), EditStep("file:e", "t"), WaitStep(1.0)),
        Kill("cache", 1, Point.INSIDE, KeyError, of="Invalidate"),
    ),
    "plans outlive a planner that fails before it has taken them on": made(
        (FloodStep("mail:a", "t", 60), FreezeStep(100.0), CrashStep("planner")),
        Kill("planner", 2, Point.FLUSH, RuntimeError),
    ),
}


@pytest.mark.parametrize("what", FOUND)
def test_what_schedules_have_found_stays_mended(what: str) -> None:
    for seed in range(20):  # each delays the messages in its own way
        play(evolve(FOUND[what], seed=seed))
