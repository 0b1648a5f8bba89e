"""Seeded fault schedules in virtual time: what must hold whatever happens.

`python -m tests.faults` plays thousands of them, and replays one by its seed.
"""

import pytest

from support.played import play
from support.schedules import Schedule, schedule, shortest

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
        made = schedule(seed)
        try:
            play(made)
        except Exception as error:
            error.add_note("\n".join(["enough to fail:", *shortest(made, fails).lines()]))
            raise


def test_a_seed_is_played_the_same_each_time() -> None:
    made = schedule(7)
    assert made == schedule(7)
    first: list[str] = []
    again: list[str] = []
    play(made, first.append)
    play(made, again.append)
    assert first == again
    assert len(first) > len(made.steps)
