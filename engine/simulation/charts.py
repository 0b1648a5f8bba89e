"""Plots over two axes, and bars: what the simulator's report and the benchmarks draw."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from attrs import field

from prefetch_scheduler.engine.simulation.svg import (
    COLOURS,
    DASHES,
    Axis,
    Box,
    box,
    document,
    free_place,
    line,
    marker,
    px,
    shortened,
    text_at,
    width_of,
)
from prefetch_scheduler.policies.values import frozen

WIDTH = 860
LEFT, RIGHT = 72.0, WIDTH - 28.0


@frozen
class Series:
    """Points of one name.

    Attributes:
        colour: the number of its colour and of its marker.
        line: joined by a line; `steps`: the line holds its height until the next point.
        labels: one for each point, drawn where there is room; empty: none.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: int
    line: bool = False
    steps: bool = False
    dots: bool = True
    labels: Sequence[str] = ()


@frozen
class Bar:
    """A row of `bars`: its value is drawn at the bar's end as `note`."""

    label: str
    value: float
    note: str
    colour: int = 0
    tip: str = field(default="")


def plot(
    name: str, title: str, description: str, x: Axis, y: Axis, series: Sequence[Series]
) -> str:
    """Points and lines over two axes, with the legend above; see `svg.document`."""
    legend, top = _legend(series, 54.0)
    bottom = top + 330.0
    body = [legend, _grid(x, y, top, bottom)]
    taken: list[Box] = []
    for one in series:
        body.append(_drawn(one, x, y, top, bottom, taken))
    within = (LEFT + 2, top + 2, RIGHT + 20, bottom - 2)
    for one in series:
        for label, (at, height) in zip(one.labels, one.points, strict=False):
            place_x, place_y = x.place(at, LEFT, RIGHT), y.place(height, bottom, top)
            free = free_place(label, place_x, place_y, within, taken)
            if free is not None:
                taken.append(free)
                body.append(text_at(free[0], free[1] + 11.5, label, kind="small halo"))
    return document(name, title, description, WIDTH, bottom + 58, "".join(body))


def _legend(series: Sequence[Series], y: float) -> tuple[str, float]:
    """The legend and where the plot below it begins."""
    parts: list[str] = []
    x = LEFT
    for one in series:
        label = shortened(one.name, 60)
        width = 30 + width_of(label) + 14
        if x + width > RIGHT and x > LEFT:
            x, y = LEFT, y + 22
        if one.line or one.steps:
            parts.append(_path(f"M{px(x)} {px(y - 4)}h24", one))
        if one.dots:
            parts.append(marker(x + 12, y - 4, one.colour))
        parts.append(text_at(x + 30, y, label))
        x += width
    return "".join(parts), y + 18


def _grid(x: Axis, y: Axis, top: float, bottom: float) -> str:
    parts = []
    for tick in y.ticks:
        at = y.place(tick, bottom, top)
        parts.append(line(LEFT, at, RIGHT, at, "grid"))
        parts.append(text_at(LEFT - 8, at + 4.5, y.show(tick), anchor="end", kind="faint"))
    for tick in x.ticks:
        at = x.place(tick, LEFT, RIGHT)
        parts.append(line(at, top, at, bottom, "grid"))
        parts.append(text_at(at, bottom + 19, x.show(tick), anchor="middle", kind="faint"))
    parts.append(line(LEFT, bottom, RIGHT, bottom, "axis"))
    parts.append(line(LEFT, top, LEFT, bottom, "axis"))
    parts.append(text_at((LEFT + RIGHT) / 2, bottom + 43, x.label, anchor="middle"))
    middle = (top + bottom) / 2
    parts.append(f'<g transform="rotate(-90 18 {px(middle)})">')
    parts.append(text_at(18, middle, y.label, anchor="middle") + "</g>")
    return "".join(parts)


def _drawn(one: Series, x: Axis, y: Axis, top: float, bottom: float, taken: list[Box]) -> str:
    """A series; the room that it takes is noted in `taken`."""
    places = [(x.place(a, LEFT, RIGHT), y.place(b, bottom, top)) for a, b in one.points]
    parts = []
    if (one.line or one.steps) and len(places) > 1:
        path = [f"M{px(places[0][0])} {px(places[0][1])}"]
        for at, height in places[1:]:
            path.append(f"H{px(at)}V{px(height)}" if one.steps else f"L{px(at)} {px(height)}")
        parts.append(_path("".join(path), one))
        taken += _along(places)
    if one.dots:
        for (at, height), point in zip(places, one.points, strict=True):
            tip = f"{one.name}: {x.label} {x.show(point[0])}, {y.label} {y.show(point[1])}"
            parts.append(marker(at, height, one.colour, tip))
            taken.append((at - 6, height - 6, at + 6, height + 6))
    return "".join(parts)


def _path(d: str, one: Series) -> str:
    """A line of a series; without marks it is told apart by its dashes as well."""
    dashes = "" if one.dots else DASHES[one.colour % len(DASHES)]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<path class="line l{one.colour % len(COLOURS)}"{dashed} d="{d}"/>'


def _along(places: Sequence[tuple[float, float]]) -> Iterable[Box]:
    """Small boxes along a line, so that labels keep off it."""
    for (x1, y1), (x2, y2) in pairwise(places):
        pieces = int(max(abs(x2 - x1), abs(y2 - y1)) // 6) + 1
        for number in range(pieces + 1):
            at = x1 + (x2 - x1) * number / pieces
            height = y1 + (y2 - y1) * number / pieces
            yield at - 2, height - 2, at + 2, height + 2


def bars(
    name: str, title: str, description: str, axis: Axis, rows: Sequence[Bar], goal: float | None
) -> str:
    """Horizontal bars from the axis' low end, with a dashed line at `goal` (None: without)."""
    most = 58
    labels = [shortened(row.label, most) for row in rows]
    left = 16 + min(max([60.0, *(width_of(label) for label in labels)]), 400.0) + 8
    top, step = 44.0, 24.0
    bottom = top + step * len(rows)
    right = WIDTH - 24 - max([0.0, *(width_of(row.note, 12) for row in rows)])
    parts = []
    for tick in axis.ticks:
        at = axis.place(tick, left, right)
        parts.append(line(at, top, at, bottom, "grid"))
        parts.append(text_at(at, bottom + 19, axis.show(tick), anchor="middle", kind="faint"))
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        y = top + step * number
        end = axis.place(row.value, left, right)
        parts.append(text_at(left - 8, y + 16.5, label, anchor="end"))
        tip = row.tip or f"{row.label}: {row.note}"
        parts.append(
            box(left, y + 5, max(end - left, 1.5), step - 9, f"f{row.colour % len(COLOURS)}", tip)
        )
    if goal is not None:
        at = axis.place(goal, left, right)
        parts.append(line(at, top - 4, at, bottom + 4, "goal"))
    for number, row in enumerate(rows):
        end = axis.place(row.value, left, right)
        parts.append(text_at(end + 6, top + step * number + 16.5, row.note, kind="small halo"))
    parts.append(line(left, top, left, bottom, "axis"))
    parts.append(text_at((left + right) / 2, bottom + 43, axis.label, anchor="middle"))
    return document(name, title, description, WIDTH, bottom + 58, "".join(parts))
