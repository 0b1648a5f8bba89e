"""Writes the README's results from the committed result files: `python -m benchmarks.readme`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.figures import RESULTS
from benchmarks.tables import Result, goal, number, results

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- results -->", "<!-- /results -->"

TELLING: tuple[tuple[str, str, str], ...] = (
    ("frontier", "recorded: hidden by default", "share of the wait hidden, load times as recorded"),
    (
        "frontier",
        "recorded: hidden by reachable",
        "the same, knowing what will be read (`reachable`)",
    ),
    (
        "frontier",
        "lognormal: hidden by default",
        "share of the wait hidden, load times of a remote source",
    ),
    (
        "frontier",
        "lognormal: hidden by reachable",
        "the same, knowing what will be read (`reachable`)",
    ),
    ("do_no_harm", "demand p50: on by off", "median read, all predictions wrong, by without"),
    ("do_no_harm", "demand p99: on by off", "99th percentile, all predictions wrong, by without"),
    ("runtime", "stop() with 40 hanging loads", "stopping with 40 hanging loads"),
    ("footprint", "import: the package by its dependencies", "import, by its dependencies'"),
    ("footprint", "memory of an idle engine", "memory of an idle engine"),
    ("footprint", "memory of a session, of 1,000", "memory of one session more"),
    (
        "growth",
        "engine: keys read: time at 1,000,000 by at 10,000",
        "cost of a read, 1,000,000th by 10,000th",
    ),
)
"""Benchmark, figure, what the README calls it. What has no result yet is left out."""


def section(found: Mapping[str, Result]) -> str:
    """The lines between the markers."""
    lines = ["| | median | goal |", "|---|---:|---:|"]
    for benchmark, figure, label in TELLING:
        for row in found.get(benchmark, {"figures": ()})["figures"]:
            if row["name"] == figure:
                missed = " (missed)" if row["met"] is False else ""
                value = f"{number(row['median'])} {row['unit']}"
                lines.append(f"| {label} | {value} | {goal(row)}{missed} |")
    return "\n".join(lines)


def replaced(text: str, found: Mapping[str, Result]) -> str:
    """The README's text with the section of these results.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"README.md: expected {BEGIN} and, after it, {END}, once each")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{section(found)}\n{END}{rest.split(END)[1]}"


def main() -> int:
    """Rewrite the README in place."""
    text = README.read_text("utf-8")
    README.write_text(replaced(text, results(RESULTS)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
