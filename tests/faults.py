"""Play fault schedules by the thousand, in virtual time and on real engines.

    python -m tests.faults --virtual 10000 --real 10000 --seed 0 --jobs 2
    python -m tests.faults --replay 123            # one, in virtual time, with all that happens
    python -m tests.faults --replay-real 123       # one, on a real engine

Prints each seed that fails. Writes `benchmarks/results/faults.json`, or `--output`; a run of fewer
than 1000 schedules writes only where `--output` says so. The exit code is 1 where one failed.
"""

import argparse
import json
import logging
import multiprocessing
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.figures import Figure, document, figure, table, write  # noqa: E402 - the path first
from support.engines import play_real, real_schedule  # noqa: E402 - as above
from support.played import play  # noqa: E402 - as above
from support.schedules import Schedule, schedule, shortest  # noqa: E402 - as above

Outcome = tuple[int, float, str | None]
"""Seed, seconds, and how it failed."""


def play_virtual(seed: int) -> Outcome:
    """Play the seed's schedule in virtual time."""
    return _outcome(seed, lambda: play(schedule(seed)))


def play_engine(seed: int) -> Outcome:
    """Play the seed's schedule on a real engine."""
    return _outcome(seed, lambda: play_real(real_schedule(seed)))


def _outcome(seed: int, action: Callable[[], object]) -> Outcome:
    logging.disable(logging.CRITICAL)  # actors that are killed say so at length
    began = time.perf_counter()
    try:
        action()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{where.name}: {type(error).__name__}: {error}".splitlines()[0][:300]
        return seed, time.perf_counter() - began, text
    return seed, time.perf_counter() - began, None


def _outcomes(play_one: Callable[[int], Outcome], seeds: range, jobs: int) -> Iterator[Outcome]:
    if jobs < 2:
        yield from map(play_one, seeds)
        return
    # Spawned, and each process for so many schedules only: none inherits another's threads.
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, maxtasksperchild=50) as pool:
        yield from pool.imap_unordered(play_one, seeds, chunksize=10)


def run(
    name: str, play_one: Callable[[int], Outcome], seeds: range, jobs: int
) -> tuple[list[Figure], dict[str, Any]]:
    """Play these seeds; returns figures, and which failed and how."""
    began = time.perf_counter()
    times: list[float] = []
    failed: dict[int, str] = {}
    for seed, took, fault in _outcomes(play_one, seeds, jobs):
        times.append(took)
        if fault is not None:
            failed[seed] = fault
            print(f"{name} seed {seed} failed: {fault}", flush=True)
        if len(times) % 500 == 0:
            print(f"{name}: {len(times)} played, {len(failed)} failed", flush=True)
    elapsed = time.perf_counter() - began
    figures = [
        figure(f"{name}: schedules that failed", [len(failed)], "", 0),
        figure(f"{name}: schedules played", [len(times)], ""),
        figure(f"{name}: one schedule", [1000 * took for took in times], "ms"),
        figure(f"{name}: longest schedule", [max(times)], "s"),
    ]
    details = {
        "seeds": [seeds.start, seeds.stop],
        "seconds": round(elapsed, 1),
        "jobs": jobs,
        "failed": {str(seed): failed[seed] for seed in sorted(failed)},
        "kinds": Counter(text.partition(":")[0] for text in failed.values()),
    }
    return figures, details


def replay(seed: int) -> int:
    """Play one in virtual time: its schedule, all that happens, and few steps that are enough."""

    def fails(played: Schedule) -> bool:
        try:
            play(played)
        except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
            return True
        return False

    logging.disable(logging.CRITICAL)
    made = schedule(seed)
    print("\n".join(made.lines()))
    try:
        play(made, print)
    except Exception:  # noqa: BLE001 - shown
        traceback.print_exc()
        print("\n".join(["enough to fail:", *shortest(made, fails).lines()]))
        return 1
    print("holds")
    return 0


def replay_real(seed: int) -> int:
    """Play one on a real engine, logging what its actors log."""
    logging.basicConfig(
        level=logging.INFO, format="%(relativeCreated)7d %(threadName)s %(message)s"
    )
    made = real_schedule(seed)
    print("\n".join(made.lines()))
    try:
        play_real(made)
    except Exception:  # noqa: BLE001 - shown
        traceback.print_exc()
        return 1
    print("holds")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--virtual", type=int, default=500, metavar="N")
    parser.add_argument("--real", type=int, default=30, metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--output", type=Path, default=None, help="the result's file")
    parser.add_argument("--replay", type=int, metavar="SEED")
    parser.add_argument("--replay-real", type=int, metavar="SEED")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _options(arguments)
    if options.replay is not None:
        return replay(options.replay)
    if options.replay_real is not None:
        return replay_real(options.replay_real)
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    for name, play_one, count in (
        ("virtual time", play_virtual, options.virtual),
        ("real engines", play_engine, options.real),
    ):
        if count > 0:
            seeds = range(options.seed, options.seed + count)
            rows, details[name] = run(name, play_one, seeds, options.jobs)
            figures.extend(rows)
    print(table(figures))
    print(json.dumps(details, indent=2))
    if options.output is not None or options.virtual + options.real >= 1000:
        write(document("faults", figures, seed=options.seed, details=details), options.output)
    return 0 if all(row.met is not False for row in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
