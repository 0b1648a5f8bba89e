"""The fault schedules find what they are for: faults planted in the engine, one of each kind."""

import pytest

from support.planted import PLANTED, Plant
from support.played import play
from support.schedules import schedule

WITHIN = 200
FOUND_BY: dict[str, tuple[int, ...]] = {
    "stale_read": (65,),
    "unchecked_read": (121,),
    "lost_invalidation": (67,),
    "stored_although_stale": (8,),
    "lost_waiter": (5,),
    "dropped_answer": (16,),
    "forgotten_waiters": (50,),
    "double_count": (14,),
    "lost_count": (53,),
    "leaked_credit": (13,),
    "leaked_source_slot": (15,),
    "reset_ignores_running": (34,),
    "cancel_ignored": (27,),
    "wrong_user": (16,),
    "overtaken_reader": (17,),
}
"""Seeds below `WITHIN` that are tried first, for they found it when this was written."""


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    for seed in (*FOUND_BY.get(plant.__name__, ()), *range(WITHIN)):
        try:
            play(schedule(seed))
        except Exception:  # noqa: BLE001 - an invariant, or what follows from the fault
            return
    pytest.fail(f"not found within {WITHIN} schedules: {plant.__doc__}")
