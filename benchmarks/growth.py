"""What an operation costs as everything grows to a million: `python -m benchmarks.growth`.

Each grower (`benchmarks/growers.py`) does one thing again and again. Its processor time for each,
that of the engine's threads included, is taken over a window before each size; its memory is the
number of blocks that the interpreter has allocated by then, beyond those at the start: counting
them costs nothing, their sizes are not known. What the host still holds may take memory evenly;
what is over must leave nothing behind.
"""

import gc
import statistics
import sys
import time
from typing import Any

from benchmarks.figures import Figure, figure, finish, parser
from benchmarks.growers import GROWERS, Grower

WINDOW = 1000
CHUNKS = 20
"""Of a window, timed apart: their median is the time, so that one pause of the machine is none."""

TIME_GOAL = 2.0
"""Times the cost at a hundredth of the size."""
MEMORY_GOAL = 1.25
"""Times the memory at a tenth of the size; for each item where the host holds them."""


def sizes(most: int) -> list[int]:
    """Powers of ten up to `most`, from 100, or from a hundredth of it where that is less."""
    return [size for power in range(7) if min(100, most // 100) <= (size := 10**power) <= most]


def grow(grower: Grower, at: list[int]) -> tuple[list[float], list[float]]:
    """Microseconds for one near each size, and allocated blocks at each size."""
    took, blocks = [], []
    with grower.start() as step:
        gc.collect()
        before = sys.getallocatedblocks()
        done = 0
        for size in at:
            chunk = max(1, min(WINDOW, size // 2) // CHUNKS)
            for n in range(done, size - chunk * CHUNKS):
                step(n)
            samples = []
            for first in range(size - chunk * CHUNKS, size, chunk):
                began = time.process_time()
                for n in range(first, first + chunk):
                    step(n)
                samples.append((time.process_time() - began) / chunk * 1e6)
            took.append(statistics.median(samples))
            gc.collect()
            blocks.append(float(max(1, sys.getallocatedblocks() - before)))
            done = size
    return took, blocks


def measured(grower: Grower, most: int) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Its figures, and its lines for the plots."""
    at = sizes(most)
    took, held = grow(grower, at)
    # Bounded things may fill up to their bound in the first sizes; what counts is the last step.
    items = at[-1] / at[-2] if grower.held else 1.0
    later = f"at {at[-1]:,} by at"
    name = f"{grower.name}: memory{' for each' if grower.held else ''} {later} {at[-2]:,}"
    figures = [
        figure(f"{grower.name}: time {later} {at[-3]:,}", [took[-1] / took[-3]], "x", TIME_GOAL),
        figure(name, [held[-1] / held[-2] / items], "x", MEMORY_GOAL),
    ]
    lines = [
        {"name": grower.name, "unit": "µs for one", "points": list(zip(at, took, strict=True))},
        {"name": grower.name, "unit": "blocks", "points": list(zip(at, held, strict=True))},
    ]
    return figures, lines


def main() -> int:
    """Measure everything; the exit code is 1 where a goal is missed."""
    made = parser(__doc__)
    made.add_argument("--grower", default="", help="only those whose name holds this text")
    made.add_argument("--most", type=int, default=10**6, help="the largest size")
    options = made.parse_args()
    figures: list[Figure] = []
    growth: list[dict[str, Any]] = []
    for grower in GROWERS:
        if options.grower in grower.name:
            print(grower.name, "…", file=sys.stderr, flush=True)
            rows, lines = measured(
                grower, min(options.most, grower.most // (100 if options.quick else 1))
            )
            figures += rows
            growth += lines
    if options.grower:
        options.quick = True  # a part is not kept as the whole
    return finish("growth", figures, options, details={"growth": growth})


if __name__ == "__main__":
    sys.exit(main())
