"""The fault schedules find what they are for: faults planted in the engine, one of each kind."""

import pytest

from support.planted import PLANTED, Plant
from support.played import play
from support.schedules import schedule

WITHIN = 200
FOUND_BY: dict[str, tuple[int, ...]] = {}
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
