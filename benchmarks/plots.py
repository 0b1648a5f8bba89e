"""The pictures of results: goals at a glance, each benchmark's figures, growth and the frontier."""

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import Any

from benchmarks.samples import samples_plot
from benchmarks.tables import Result, number, verdict
from prefetch_scheduler.engine.simulation.charts import Bar, bars
from prefetch_scheduler.engine.simulation.report import frontier_plot, growth_plot, waits_plot
from prefetch_scheduler.engine.simulation.svg import log_axis

MET, MISSED, PLAIN = 0, 5, 4
"""Colours."""
FEWEST_BARS = 3


def pictures(found: Mapping[str, Result]) -> dict[str, str]:
    """SVG by file name: `goals.svg`, and each benchmark's as `NAME.svg`, `NAME.WHAT.svg`."""
    made = {}
    goals = _goals(found)
    if goals is not None:
        made["goals.svg"] = goals
    for name, result in found.items():
        figures = _figures(name, result)
        if figures is not None:
            made[f"{name}.svg"] = figures
        made |= _details(name, result.get("details", {}))
    return made


def _goals(found: Mapping[str, Result]) -> str | None:
    """How far each figure is from its goal: 1 is just met, less is better."""
    rows = []
    for name, result in found.items():
        for row in result["figures"]:
            if row["goal"] and row["median"] > 0:
                ratio = row["median"] / row["goal"]
                ratio = ratio if row.get("at_most", True) else 1 / ratio
                colour = MET if row["met"] else MISSED
                note = f"{ratio:.2g}{'' if row['met'] else ' missed'}"
                rows.append(Bar(f"{name}: {row['name']}", ratio, note, colour))
    if not rows:
        return None
    missed = [row.label for row in rows if row.colour == MISSED]
    return bars(
        "goals",
        "Figures against their goals: left of the dashed line is met",
        f"{len(rows) - len(missed)} of {len(rows)} goals are met."
        + (f" Missed: {', '.join(missed)}." if missed else ""),
        log_axis("share of the goal that is used up (logarithmic)", [0.1, 1, *_values(rows)]),
        rows,
        goal=1.0,
    )


def _values(rows: list[Bar]) -> list[float]:
    return [row.value for row in rows]


def _figures(name: str, result: Result) -> str | None:
    """Bars of the figures in the unit that most of them have."""
    known = [row for row in result["figures"] if row["median"] > 0]
    units = Counter(row["unit"] for row in known).most_common(1)
    if not units or units[0][1] < FEWEST_BARS:
        return None
    unit = units[0][0]
    own = [row for row in known if row["unit"] == unit]
    rows = [Bar(row["name"], row["median"], number(row["median"]), _colour(row)) for row in own]
    return bars(
        f"figures-{name}",
        f"{name} ({unit})",
        "; ".join(
            f"{row['name']}: {number(row['median'])} {unit} {verdict(row)}".rstrip() for row in own
        ),
        log_axis(f"{unit} (logarithmic)", _values(rows)),
        rows,
        goal=None,
    )


def _colour(row: Mapping[str, Any]) -> int:
    return {True: MET, False: MISSED, None: PLAIN}[row["met"]]


def _details(name: str, details: Mapping[str, Any]) -> dict[str, str]:
    """Pictures of what is more than a row: `growth`, `frontier`, `policies`, `samples`."""
    made = {}
    growth = [line for line in details.get("growth", ()) if line["points"]]
    for place, unit in enumerate(dict.fromkeys(line["unit"] for line in growth), 1):
        own = [line for line in growth if line["unit"] == unit]
        made[f"{name}.growth-{place}.svg"] = growth_plot(f"{name}-growth-{place}", unit, own)
    for case, points in sorted(_cases(details.get("frontier")).items()):
        made[f"{name}.frontier{case}.svg"] = frontier_plot(points, f"{name}-frontier{case}")
    waits = {key: row for key, row in details.get("policies", {}).items() if row.get("waits")}
    if waits:
        made[f"{name}.waits.svg"] = waits_plot(waits, f"{name}-waits")
    if details.get("samples"):
        made[f"{name}.samples.svg"] = samples_plot(details["samples"])
    return made


def _cases(frontier: Any) -> dict[str, Any]:
    """A frontier, or several by name."""
    if not frontier:
        return {}
    if isinstance(frontier, Mapping):
        return {f"-{case}": points for case, points in frontier.items() if points}
    return {"": list(chain(frontier))}
