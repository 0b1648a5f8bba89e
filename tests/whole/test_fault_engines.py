"""Seeded fault schedules on real engines: real actors, threads, files and event loops.

`python -m tests.faults --real 10000` plays thousands of them.
"""

import pytest

from support.engines import play_real, real_schedule

SCHEDULES = 30
BATCHES = 6


@pytest.mark.timeout(180)  # 30 s is when something counts as hanging, whatever the machine does
@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_real_engine_serves_every_reader_and_leaves_nothing(batch: int) -> None:
    for seed in range(batch, SCHEDULES, BATCHES):
        made = real_schedule(seed)
        try:
            play_real(made)
        except Exception as error:
            error.add_note("\n".join(made.lines()))
            raise
