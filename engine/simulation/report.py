"""The simulator's report: one page that needs no network, and its plots as SVG files beside it."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from prefetch_scheduler.engine.simulation.charts import Series, plot
from prefetch_scheduler.engine.simulation.page import Section, Table, page
from prefetch_scheduler.engine.simulation.svg import (
    compact,
    linear_axis,
    log_axis,
    percent,
    seconds,
)
from prefetch_scheduler.engine.simulation.timeline import LOADS, WAITS, described, timeline

COLOUR_OF = {
    "default": 0,
    "specification": 1,
    "reachable": 2,
    "oracle": 3,
    "none": 4,
    "everything": 5,
}
"""A policy keeps its colour from plot to plot; others follow from 6."""

SHORTEST_S = 1e-3
"""Where the axis of waits begins."""

FIGURES: Mapping[str, tuple[str, Any]] = {
    "hidden_fraction": ("hidden", percent),
    "wait_s": ("waited", seconds),
    "demand_p50_ms": ("median read", lambda ms: seconds(ms / 1000)),
    "demand_p99_ms": ("99th percentile", lambda ms: seconds(ms / 1000)),
    "hit_rate": ("hit rate", percent),
    "late_hit_rate": ("late hits", percent),
    "prefetches": ("prefetches", compact),
    "prefetch_accuracy": ("share used", percent),
    "tokens_prefetched": ("tokens prefetched", compact),
    "tokens_wasted": ("tokens wasted", compact),
    "wasted_fraction": ("share wasted", percent),
}


def render(data: Mapping[str, Any], directory: Path) -> Path:
    """Write `index.html` and the SVG files into `directory`, which is made if need be.

    Same data, same bytes. Names of keys, sessions and policies may hold anything.

    Args:
        data: `sessions`, `accesses` and `policies` as `simulate --json` gives them, each policy
            with `waits` besides: `[seconds at most, reads]`, ascending. Optional: `timeline` (one
            session under one policy: `session`, `policy`, `duration_s`, `loads`, `waits`),
            `frontier` (points `policy`, `setting`, `tokens_prefetched`, `tokens_wasted`,
            `hidden_fraction`), `speculation` (as in an engine's report) and `growth` (`name`,
            `points` of `[n, value]`, `unit`). Times in
            seconds.

    Returns:
        The page's path.

    Raises:
        OSError: the directory cannot be written.
    """
    sections = [
        _overview(data),
        *_speculation(data.get("speculation")),
        _frontier(data),
        *_waits(data["policies"]),
        *_timeline(data.get("timeline")),
        *_growth(data.get("growth") or ()),
    ]
    directory.mkdir(parents=True, exist_ok=True)
    for section in sections:
        for name, picture in section.pictures.items():
            (directory / f"{name}.svg").write_text(picture, encoding="utf-8")
    target = directory / "index.html"
    counts = f"{data['sessions']:,} sessions, {data['accesses']:,} reads"
    target.write_text(page("Does prefetching pay here?", counts, sections), encoding="utf-8")
    return target


def shown(write: Any, value: float | None) -> str:
    """A figure, or a dash where there is none (decision D39)."""
    return "–" if value is None else write(value)


def colours(names: Iterable[str]) -> dict[str, int]:
    """The colour of each policy."""
    others = [name for name in dict.fromkeys(names) if name not in COLOUR_OF]
    return COLOUR_OF | {name: 6 + number for number, name in enumerate(others)}


# ---- sections --------------------------------------------------------------------------------


def _overview(data: Mapping[str, Any]) -> Section:
    policies: Mapping[str, Mapping[str, Any]] = data["policies"]
    rows = [
        (name, *(shown(write, row.get(key)) for key, (_, write) in FIGURES.items()))
        for name, row in policies.items()
    ]
    table = Table("Policies side by side", ("policy", *(n for n, _ in FIGURES.values())), rows)
    return Section("The answer", _answer(policies), tables=(table,))


def _answer(policies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the table says, in words."""
    said = []
    ours = policies.get("default")
    if ours is not None and ours["hidden_fraction"] is not None:
        said.append(
            f"The default policy hides {percent(ours['hidden_fraction'])} of the time that readers "
            f"wait without prefetching, and loads {compact(ours['tokens_prefetched'])} tokens "
            f"ahead for it, of which {shown(percent, ours['wasted_fraction'])} are wasted."
        )
    for name, meaning in (
        ("reachable", "Knowing the future, but limited to keys that were predicted"),
        ("oracle", "Knowing the future"),
    ):
        bound = policies.get(name)
        if bound is not None and bound["hidden_fraction"] is not None:
            said.append(f"{meaning}, {percent(bound['hidden_fraction'])} could be hidden.")
    none = policies.get("none")
    if none is not None:
        said.append(f"Without prefetching, readers wait {seconds(none['wait_s'])} in all.")
    said.append(
        "Hidden is the share of the wait without prefetching that is gone; wasted are tokens that "
        "were loaded ahead and never read."
    )
    return said


def _speculation(said: Mapping[str, Any] | None) -> list[Section]:
    """What the default policy says of itself: its promise, what came, and its reliability."""
    if not said:
        return []
    came = shown(percent, said["waste_lately"])
    kept = ""
    if not said["promise_kept"]:
        likely = percent(said["least_chance"])
        kept = f" That could not be kept: only what is {likely} likely to be read is loaded ahead."
    text = [
        f"The engine's own verdict: {said['verdict']}.",
        f"It promised to waste at most {percent(said['waste_promised'])} of the tokens that it "
        f"prefetches; of the latest ones {came} were wasted.{kept}",
    ]
    if said.get("spend_promised") is not None:
        spent = "too few to say" if said["spend_lately"] is None else f"{said['spend_lately']:.2f}"
        text.append(
            f"It promised to load at most {said['spend_promised']:g} tokens ahead for each one that"
            f" the specification's thresholds would have loaded; of late it was: {spent}."
        )
    text += [f"{held['why']}." for held in said["held_back"]]
    rows = [
        (
            str(row["source"]),
            row["role"],
            f"{row['stated']:.2f}",
            f"{row['true']:.2f}",
            f"{row['count']:,}",
        )
        for row in said["reliability"]
    ]
    head = ("source", "role", "stated", "came true", "predictions")
    table = Table("Reliability of stated confidences", head, rows, folded=True)
    return [Section("What was promised, and what came", text, tables=(table,))]


def frontier_plot(points: Sequence[Mapping[str, Any]], name: str = "frontier") -> str:
    """The picture of the frontier; points of one policy that differ by setting are joined."""
    known = [point for point in points if point["hidden_fraction"] is not None]
    numbers = colours(point["policy"] for point in known)
    series = []
    for policy in dict.fromkeys(point["policy"] for point in known):
        own = [point for point in known if point["policy"] == policy]
        own.sort(key=lambda point: (point["tokens_wasted"], point["hidden_fraction"]))
        several = len(own) > 1
        series.append(
            Series(
                f"{policy}, by setting" if several else policy,
                [(point["tokens_wasted"], point["hidden_fraction"]) for point in own],
                numbers[policy],
                line=several,
                labels=[str(point["setting"]) if several else policy for point in own],
            )
        )
    return plot(
        name,
        "What hiding the wait costs: hidden share over wasted tokens",
        "Upper left is better: more of the wait hidden for fewer wasted tokens. "
        + "; ".join(
            f"{p['policy']} {p['setting']}: {percent(p['hidden_fraction'])} hidden, "
            f"{compact(p['tokens_wasted'])} tokens wasted"
            for p in known
        ),
        linear_axis("wasted tokens", [p["tokens_wasted"] for p in known]),
        linear_axis("hidden share of the wait", [p["hidden_fraction"] for p in known], percent),
        series,
    )


def _frontier(data: Mapping[str, Any]) -> Section:
    points = data.get("frontier") or [
        {"policy": name, "setting": "", **row} for name, row in data["policies"].items()
    ]
    rows: list[tuple[str, ...]] = [
        (
            p["policy"],
            str(p["setting"]),
            shown(percent, p["hidden_fraction"]),
            f"{p['tokens_prefetched']:,}",
            f"{p['tokens_wasted']:,}",
        )
        for p in points
    ]
    head: tuple[str, ...] = ("policy", "setting", "hidden", "tokens prefetched", "tokens wasted")
    if not any(row[1] for row in rows):
        head, rows = (head[0], *head[2:]), [(row[0], *row[2:]) for row in rows]
    return Section(
        "The frontier",
        ["Each point is a whole run. Upper left is better."],
        {"frontier": frontier_plot(points)},
        (Table("Points of the frontier", head, rows),),
    )


def waits_plot(policies: Mapping[str, Mapping[str, Any]], name: str = "waits") -> str:
    """The picture of the wait distribution."""
    numbers = colours(policies)
    series, bounds = [], [SHORTEST_S, 1.0]
    for policy, row in policies.items():
        total = sum(count for _, count in row["waits"])
        points, reads = [(SHORTEST_S, 0.0)], 0
        for bound, count in row["waits"]:
            reads += count
            if bound <= SHORTEST_S:
                points = [(SHORTEST_S, reads / total)]
            elif bound < inf:
                points.append((bound, reads / total))
                bounds.append(bound)
        if total:
            series.append(Series(policy, points, numbers[policy], steps=True, dots=False))
    return plot(
        name,
        "How long reads wait: share of reads that waited at most so long",
        "Higher is better. "
        + "; ".join(
            f"{one.name}: {percent(one.points[0][1])} of reads wait at most {seconds(SHORTEST_S)}"
            for one in series
        ),
        log_axis("wait of a read (logarithmic)", bounds, _plain_seconds),
        linear_axis("share of reads", [0.0, 1.0], percent),
        series,
    )


def _plain_seconds(value: float) -> str:
    """For ticks that are powers of ten: no minutes."""
    return seconds(value) if value < 1 else f"{value:,g} s"


def _waits(policies: Mapping[str, Mapping[str, Any]]) -> list[Section]:
    given = {name: row for name, row in policies.items() if row.get("waits")}
    if not given:
        return []
    marks = (SHORTEST_S, 0.01, 0.1, 1.0, 10.0)
    rows = []
    for name, row in given.items():
        total = sum(count for _, count in row["waits"])
        shares = (
            sum(c for bound, c in row["waits"] if bound <= mark * (1 + 1e-9)) / max(total, 1)
            for mark in marks
        )
        rows.append((name, *(percent(share) for share in shares), f"{total:,}"))
    head = ("policy", *(f"at most {_plain_seconds(mark)}" for mark in marks), "reads")
    text = ["A line that is higher further left: more reads that wait less."]
    table = Table("Share of reads by their wait", head, rows)
    return [Section("Wait distribution", text, {"waits": waits_plot(given)}, (table,))]


def _timeline(given: Mapping[str, Any] | None) -> list[Section]:
    if not given:
        return []
    loads = [
        (
            str(load["key"]),
            LOADS["demand" if load["cause"] == "demand" else "used" if load["used"] else "unused"][
                0
            ],
            f"{load['start_s']:.3f}",
            f"{load['finish_s']:.3f}",
            f"{load['tokens']:,}",
        )
        for load in given["loads"]
    ]
    reads = [
        (
            str(wait["key"]),
            WAITS[wait["kind"]][0],
            f"{wait['start_s']:.3f}",
            f"{wait['finish_s'] - wait['start_s']:.3f}",
        )
        for wait in given["waits"]
    ]
    tables = (
        Table("Loads", ("key", "what", "start (s)", "finish (s)", "tokens"), loads, folded=True),
        Table("Reads", ("key", "what", "start (s)", "waited (s)"), reads, folded=True),
    )
    text = [described(given), "Bars too short to be seen are drawn two pixels wide."]
    return [Section("One session", text, {"timeline": timeline("timeline", given)}, tables)]


def growth_plot(name: str, unit: str, lines: Sequence[Mapping[str, Any]]) -> str:
    """The picture of what one unit's figures do as something grows."""
    points = [point for one in lines for point in one["points"]]
    return plot(
        name,
        f"Cost of growth ({unit})",
        "Level lines are good: the cost does not depend on the number. "
        + "; ".join(
            f"{one['name']}: {compact(one['points'][0][1])} at {compact(one['points'][0][0])}, "
            f"{compact(one['points'][-1][1])} at {compact(one['points'][-1][0])}"
            for one in lines
        ),
        log_axis("number (logarithmic)", [n for n, _ in points]),
        log_axis(f"{unit} (logarithmic)", [value for _, value in points]),
        [
            Series(one["name"], [(n, v) for n, v in one["points"]], number, line=True)
            for number, one in enumerate(lines)
        ],
    )


def _growth(growth: Sequence[Mapping[str, Any]]) -> list[Section]:
    lines = [one for one in growth if one["points"]]
    pictures, tables = {}, []
    for number, unit in enumerate(dict.fromkeys(one["unit"] for one in lines)):
        own = [one for one in lines if one["unit"] == unit]
        pictures[f"growth-{number + 1}"] = growth_plot(f"growth-{number + 1}", unit, own)
        rows = [(one["name"], compact(n), f"{v:.4g}") for one in own for n, v in one["points"]]
        tables.append(Table(f"Cost of growth ({unit})", ("what", "number", unit), rows))
    if not pictures:
        return []
    text = ["What an operation costs as what it works on grows; level is good."]
    return [Section("Cost of growth", text, pictures, tuple(tables))]
