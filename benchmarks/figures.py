"""What every benchmark reports: figures with their spread, goals, and one result file each.

Absolute figures depend on the machine; a ratio is between two things measured in turn in one run.
"""

import argparse
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from attrs import frozen

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("prefetch-scheduler", "pykka", "attrs", "sortedcontainers", "pyyaml", "cattrs")
"""Whose versions every result names; a benchmark adds its peers."""


@frozen
class Figure:
    """One row of a table."""

    name: str
    value: float
    """The median of the repetitions."""
    unit: str
    spread: tuple[float, float]
    """The middle half of the repetitions."""
    goal: float | None = None
    at_most: bool = True

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None: there is none."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal


def figure(
    name: str,
    samples: Sequence[float],
    unit: str,
    goal: float | None = None,
    *,
    at_most: bool = True,
) -> Figure:
    """The median of samples, with the middle half of them."""
    quarters = statistics.quantiles(samples, n=4) if len(samples) > 1 else [samples[0]] * 3
    return Figure(name, statistics.median(samples), unit, (quarters[0], quarters[2]), goal, at_most)


def table(figures: Sequence[Figure]) -> str:
    """The figures as plain text."""
    width = max([40, *(len(row.name) for row in figures)])
    lines = [f"{'':{width}} {'median':>12} {'middle half':>23}  goal"]
    for row in figures:
        low, high = row.spread
        goal = ""
        if row.goal is not None:
            sign = "<=" if row.at_most else ">="
            goal = f"{sign} {row.goal:g} {row.unit} {'met' if row.met else 'MISSED'}"
        lines.append(
            f"{row.name:{width}} {row.value:12.3f} {low:10.3f} .. {high:9.3f} {row.unit:4} {goal}"
        )
    return "\n".join(lines)


def document(
    benchmark: str,
    figures: Sequence[Figure],
    *,
    peers: Sequence[str] = (),
    seed: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The result of one benchmark as plain data.

    Args:
        benchmark: its name, which is also its file's.
        figures: its rows.
        peers: further packages whose versions matter.
        seed: of everything random in it.
        details: what does not fit into rows, e.g. the points of a plot.
    """
    return {
        "benchmark": benchmark,
        "machine": {"system": platform.system(), "cpu": platform.machine(), "cpus": os.cpu_count()},
        "versions": {"python": platform.python_version(), **_versions((*PACKAGES, *peers))},
        "seed": seed,
        "figures": [
            {
                "name": row.name,
                "median": row.value,
                "middle_half": list(row.spread),
                "unit": row.unit,
                "goal": row.goal,
                "at_most": row.at_most,
                "met": row.met,
            }
            for row in figures
        ],
        "details": dict(details or {}),
    }


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def write(result: Mapping[str, Any], path: Path | None = None) -> Path:
    """Write a `document` to its file in `benchmarks/results`, or to `path`."""
    path = path if path is not None else RESULTS / f"{result['benchmark']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return path


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has: `--quick` and `--output FILE`."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="a small share of the repetitions")
    made.add_argument("--output", type=Path, default=None, help="the result's file")
    return made


def finish(
    benchmark: str, figures: Sequence[Figure], options: argparse.Namespace, **more: Any
) -> int:
    """Print the table, write the result; the exit code is 1 where a goal is missed.

    A quick run writes only where `--output` says so: its figures are too rough to keep.
    """
    print(table(figures))
    if options.output is not None or not options.quick:
        write(document(benchmark, figures, **more), options.output)
    return 0 if all(row.met is not False for row in figures) else 1
