"""Runs the benchmarks, each in a process of its own: `python -m benchmarks`.

Writes each one's result to `benchmarks/results/NAME.json`, and from all results there the table
`README.md` and the plots. A quick run writes only where `--output` says so.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.figures import RESULTS
from benchmarks.plots import pictures
from benchmarks.suite import chosen, found, run
from benchmarks.tables import Result, comparison, markdown, results


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--list", action="store_true", help="name the benchmarks, run none")
    made.add_argument("--only", action="append", default=[], metavar="NAME", help="run this one")
    made.add_argument("--quick", action="store_true", help="a small share of the repetitions")
    made.add_argument("--output", type=Path, metavar="DIR", help="the folder of the results")
    made.add_argument(
        "--compare", type=Path, metavar="OLD", help="show ratios to a result file or a folder"
    )
    made.add_argument(
        "--tables", action="store_true", help="run none; only table, plots and comparison"
    )
    return made.parse_args()


def write_tables(folder: Path) -> None:
    """Write the table and the plots of all results in a folder; pictures without one go."""
    read = results(folder)
    drawn = pictures(read)
    for stale in folder.glob("*.svg"):
        if stale.name not in drawn:
            stale.unlink()
    for name, picture in drawn.items():
        (folder / name).write_text(picture, encoding="utf-8")
    (folder / "README.md").write_text(markdown(read, drawn), encoding="utf-8")


def main() -> int:
    """The exit code: 0 measured, 1 a goal is missed or a benchmark failed, 2 wrong usage."""
    options = _options()
    benchmarks = found()
    if options.list:
        for benchmark in benchmarks:
            note = " (long: only by --only)" if benchmark.long else ""
            print(f"{benchmark.name:16} {benchmark.about}{note}")
        return 0
    try:
        names = [] if options.tables else chosen(benchmarks, options.only)
        old = None if options.compare is None else results(options.compare)
    except (ValueError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    if options.quick and options.output is None:
        with tempfile.TemporaryDirectory() as folder:
            return _measured(names, Path(folder), old, quick=True)
    folder = options.output or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    return _measured(names, folder, old, quick=options.quick)


def _measured(
    names: list[str], folder: Path, old: Mapping[str, Result] | None, *, quick: bool
) -> int:
    failures = []
    for name in names:
        print(f"\n== {name}", flush=True)
        failure = run(name, folder / f"{name}.json", quick=quick)
        if failure is not None:
            failures.append(failure)
            print(failure, file=sys.stderr)
    write_tables(folder)
    read = results(folder)
    if old is not None:
        print("\n" + comparison(old, read))
    missed = sum(row["met"] is False for name in names or read for row in _rows(read, name))
    print(f"\n{len(failures)} failed, {missed} goals missed.")
    return 1 if failures or missed else 0


def _rows(read: Mapping[str, Result], name: str) -> list[Mapping[str, object]]:
    return list(read.get(name, {"figures": ()})["figures"])


if __name__ == "__main__":
    sys.exit(main())
