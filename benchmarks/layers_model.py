"""The cache's layers against a naive model: many random histories, compared after every step.

`python -m benchmarks.layers_model [--runs 10000] [--steps 100] [--jobs 2] [--seed N]`

The state machine and the model are those of `tests/policies/test_layers_model.py`, which runs 200
histories. Each history draws the eviction policies of the three layers, their sizes, their limits
in tokens and bytes and whether ghosts are kept, then up to so many operations. A difference is
shrunk by hypothesis, printed, and ends the run with exit code 1.
"""

import argparse
import multiprocessing
import random
import sys
import time
from pathlib import Path

from benchmarks.figures import Figure, finish, parser

LONG = True
TESTS = str(Path(__file__).parents[1] / "tests")
RUNS, STEPS = 10_000, 100
SEED = 20_260_302
CHUNK = 250
"""Histories of one hypothesis run; each has a seed of its own, and none is repeated."""


def check(runs: int, steps: int, chosen: int) -> tuple[int, int, str]:
    """How many histories ran, of how many operations, and the first difference, if any."""
    sys.path.append(TESTS)  # the support modules of the tests
    from hypothesis import HealthCheck, Phase, seed, settings
    from hypothesis.stateful import run_state_machine_as_test

    from tests.policies.test_layers_model import Layers

    counted = [0, 0]

    class Counted(Layers):
        """Counts what was really run."""

        def __init__(self) -> None:
            super().__init__()
            counted[0] += 1

        def check_invariants(self, *given: object, **more: object) -> None:
            counted[1] += 1
            super().check_invariants(*given, **more)

    how = settings(
        max_examples=runs,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(chosen)(Counted), settings=how)
    except Exception as error:  # noqa: BLE001 - whatever differs is the result
        return counted[0], counted[1], "\n".join([*getattr(error, "__notes__", ()), repr(error)])
    return counted[0], counted[1], ""


def _check(given: tuple[int, int, int]) -> tuple[int, int, str]:
    return check(*given)


def main() -> int:
    options = _options()
    chance = random.Random(options.seed)
    runs = 200 if options.quick else options.runs
    sizes = [min(CHUNK, runs - done) for done in range(0, runs, CHUNK)]
    work = [(size, options.steps, chance.getrandbits(64)) for size in sizes]
    begun, histories, operations, differences = time.perf_counter(), 0, 0, 0
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for ran, stepped, difference in pool.imap_unordered(_check, work):
            histories, operations = histories + ran, operations + stepped
            print(f"{histories} histories, {operations} operations", file=sys.stderr)
            if difference:
                differences += 1
                print(difference)
    taken = time.perf_counter() - begun

    def row(name: str, value: float, unit: str, goal: float | None, at_most: bool) -> Figure:
        return Figure(name, value, unit, (value, value), goal, at_most)

    figures = [
        row("histories", histories, "", runs, at_most=False),
        row("operations compared", operations, "", None, at_most=True),
        row("differences", differences, "", 0, at_most=True),
        row("time", taken, "s", None, at_most=True),
    ]
    return finish("layers_model", figures, options, peers=("hypothesis",), seed=options.seed)


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--runs", type=int, default=RUNS, help="histories")
    made.add_argument("--steps", type=int, default=STEPS, help="most operations of one history")
    made.add_argument("--jobs", type=int, default=1, help="processes")
    made.add_argument("--seed", type=int, default=SEED)
    return made.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
