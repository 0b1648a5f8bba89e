"""Result files side by side: a Markdown page of all figures, and a comparison of two runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefetch_scheduler.engine.simulation.svg import shortened

Result = Mapping[str, Any]


def results(path: Path) -> dict[str, Result]:
    """The results in a folder, or of one file, by the benchmark's name.

    Raises:
        ValueError: a file is no result; says which.
        OSError: a file cannot be read.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    read: dict[str, Result] = {}
    for file in files:
        try:
            result = json.loads(file.read_text("utf-8"))
            figures = result["figures"]
            if not all({"name", "median", "unit", "met"} <= row.keys() for row in figures):
                raise KeyError("a figure's name, median, unit or met")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file}: not a benchmark's result: {error!r}") from error
        read[result.get("benchmark", file.stem)] = result
    return read


# ---- one run ---------------------------------------------------------------------------------


def number(value: float) -> str:
    """Three digits that matter, without exponents."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):,.10f}".rstrip("0").rstrip(".")


def goal(row: Mapping[str, Any]) -> str:
    """`<= 5`, or nothing."""
    if row["goal"] is None:
        return ""
    return f"{'≤' if row.get('at_most', True) else '≥'} {number(row['goal'])}"


def verdict(row: Mapping[str, Any]) -> str:
    """`met`, `MISSED`, or nothing where there is no goal."""
    return {True: "met", False: "MISSED", None: ""}[row["met"]]


def markdown(found: Mapping[str, Result], pictures: Iterable[str] = ()) -> str:
    """The page of all figures. `pictures`: file names, each named after its benchmark."""
    drawn = list(pictures)
    rows = [row for result in found.values() for row in result["figures"]]
    with_goal = [row for row in rows if row["met"] is not None]
    met = sum(row["met"] for row in with_goal)
    lines = [
        "# Results",
        "",
        "Written by `python -m benchmarks` (`faults`: by `python -m tests.faults`); what each"
        " figure means, and its bias:"
        " [docs/benchmarks.md](../../docs/benchmarks.md).",
        "Medians, with the middle half of the repetitions. Absolute figures are this machine's;"
        " ratios are between things measured in turn in one run.",
        "",
        f"{len(rows)} figures; of {len(with_goal)} goals {met} are met.",
    ]
    lines += _images(drawn, "goals")
    for name, result in found.items():
        lines += ["", f"## {name}", "", _made_on(result), ""]
        lines += _rows(result["figures"])
        lines += _images(drawn, name)
    return "\n".join(lines) + "\n"


def _rows(figures: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| | median | middle half | unit | goal | |", "|---|---:|---:|---|---:|---|"]
    for row in figures:
        low, high = row["middle_half"]
        spread = "" if low == high else f"{number(low)} .. {number(high)}"
        cells = (row["name"], number(row["median"]), spread, row["unit"], goal(row), verdict(row))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def _made_on(result: Result) -> str:
    machine, versions = result.get("machine", {}), result.get("versions", {})
    kind = ", ".join(machine[key] for key in ("cpu", "system") if key in machine)
    parts = [f"{machine['cpus']} CPUs{f' ({kind})' if kind else ''}"] if machine else []
    parts += [f"{name} {number}" for name, number in versions.items()]
    if result.get("seed") is not None:
        parts.append(f"seed {result['seed']}")
    return (", ".join(parts) or "machine and versions not noted") + "."


def _images(pictures: Iterable[str], name: str) -> list[str]:
    own = [picture for picture in pictures if picture.partition(".")[0] == name]
    return [line for picture in own for line in ("", f"![{name}]({picture})")]


# ---- two runs --------------------------------------------------------------------------------


def comparison(old: Mapping[str, Result], new: Mapping[str, Result]) -> str:
    """Each figure that both have: old, new, and how many times the old the new is."""
    rows = []
    missing = []
    for name, result in new.items():
        before = {row["name"]: row for row in old.get(name, {"figures": ()})["figures"]}
        for row in result["figures"]:
            was = before.get(row["name"])
            if was is None:
                missing.append(f"{name}: {row['name']}")
                continue
            ratio = f"{row['median'] / was['median']:.2f}" if was["median"] else "–"
            label = shortened(f"{name}: {row['name']}", 72)
            values = number(was["median"]), number(row["median"]), row["unit"], ratio
            rows.append((label, *values, _change(was, row)))
    head = ("", "old", "new", "unit", "new/old", "")
    wide = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(wide[n]) if n in (0, 3, 5) else cell.rjust(wide[n])
            for n, cell in enumerate(row)
        ).rstrip()
        for row in (head, *rows)
    ]
    if missing:
        lines += ["", "without an old figure: " + "; ".join(missing)]
    return "\n".join(lines)


def _change(was: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """What is worth a look: a goal met or missed anew, or middle halves that do not overlap."""
    if was["met"] is not row["met"] and row["met"] is not None:
        return f"now {verdict(row)}"
    (old_low, old_high), (low, high) = was["middle_half"], row["middle_half"]
    return "" if low <= old_high and old_low <= high else "apart"
