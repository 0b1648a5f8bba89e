"""The time line of one session: what was loaded when, and what its reader waited for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prefetch_scheduler.engine.simulation.charts import LEFT, RIGHT, WIDTH
from prefetch_scheduler.engine.simulation.svg import (
    Axis,
    box,
    compact,
    document,
    line,
    linear_axis,
    seconds,
    shortened,
    text_at,
    width_of,
)
from prefetch_scheduler.policies.values import frozen

LEAST_PX = 2.0
"""Of a load that is too short to be seen."""
MOST_LANES = 40
"""Loads that find no free lane in these share the last."""

WAITS = {
    "hit": ("hit", 2),
    "late_hit": ("late hit", 7),
    "joined": ("joined", 3),
    "miss": ("miss", 5),
}
"""What each kind of read is called, and its colour."""
LOADS = {
    "used": ("prefetched, used", 0),
    "unused": ("prefetched, not used", 1),
    "demand": ("on demand", 4),
}


@frozen
class _Span:
    start: float
    finish: float
    colour: int
    tip: str


def timeline(name: str, given: Mapping[str, Any]) -> str:
    """A picture of the report's `timeline` mapping; see `svg.document`."""
    reads = [_read(wait) for wait in given["waits"]]
    loads = [(load["cause"] == "prefetch", _load(load)) for load in given["loads"]]
    end = max(
        [given["duration_s"], *(span.finish for span in reads), *(s.finish for _, s in loads)]
    )
    axis = _time_axis(end)
    rows = (
        ("reads and their waits", _lanes(reads, axis), 20.0),
        ("prefetches", _lanes([span for ahead, span in loads if ahead], axis), 9.0),
        ("loads on demand", _lanes([span for ahead, span in loads if not ahead], axis), 9.0),
    )
    legend, y = _legend(54.0)
    top, body = y, [legend]
    for label, lanes, height in rows:
        body.append(text_at(LEFT, y + 12, label, kind="faint small"))
        y += 20
        for lane in lanes:
            for span in lane:
                at, width = _placed(span, axis)
                body.append(box(at, y, width, height, f"f{span.colour}", span.tip))
            y += height + 3
        y += 10
    grid = [line(at, top, at, y, "grid") for at in (axis.place(t, LEFT, RIGHT) for t in axis.ticks)]
    for tick in axis.ticks:
        at = axis.place(tick, LEFT, RIGHT)
        grid.append(text_at(at, y + 19, axis.show(tick), anchor="middle", kind="faint"))
    grid.append(line(LEFT, y, RIGHT, y, "axis"))
    grid.append(text_at((LEFT + RIGHT) / 2, y + 43, axis.label, anchor="middle"))
    session = shortened(str(given["session"]), 40)
    return document(
        name,
        f"One session, second by second: {session}, policy {given['policy']}",
        described(given),
        WIDTH,
        y + 58,
        "".join(grid + body),
    )


def described(given: Mapping[str, Any]) -> str:
    """The time line in one sentence."""
    waited = sum(wait["finish_s"] - wait["start_s"] for wait in given["waits"])
    ahead = [load for load in given["loads"] if load["cause"] == "prefetch"]
    used = sum(load["used"] for load in ahead)
    return (
        f"In {seconds(given['duration_s'])}, {len(ahead)} loads were started ahead, {used} of them "
        f"used, and {len(given['loads']) - len(ahead)} on demand; the reader made "
        f"{len(given['waits'])} reads and waited {seconds(waited)} in all."
    )


def _time_axis(end: float) -> Axis:
    """In minutes or hours where that is the natural unit, so that ticks are round in it."""
    size, unit = next(
        (s, u) for s, u in ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (0.0, "s")) if end >= 2 * s
    )
    size = size or 1.0
    axis = linear_axis(
        f"time in the session ({unit})", [0.0, end / size], compact, zero=True, most_ticks=10
    )
    ticks = tuple(tick * size for tick in axis.ticks)
    return Axis(axis.label, 0.0, ticks[-1], ticks, lambda value: compact(value / size))


def _read(wait: Mapping[str, Any]) -> _Span:
    name, colour = WAITS[wait["kind"]]
    waited = wait["finish_s"] - wait["start_s"]
    tip = f"{wait['key']}: {name} at {wait['start_s']:.3f} s, waited {seconds(waited)}"
    return _Span(wait["start_s"], wait["finish_s"], colour, tip)


def _load(load: Mapping[str, Any]) -> _Span:
    kind = "demand" if load["cause"] == "demand" else "used" if load["used"] else "unused"
    name, colour = LOADS[kind]
    tip = (
        f"{load['key']}: {name}, {load['start_s']:.3f} s to {load['finish_s']:.3f} s, "
        f"{compact(load['tokens'])} tokens"
    )
    return _Span(load["start_s"], load["finish_s"], colour, tip)


def _placed(span: _Span, axis: Axis) -> tuple[float, float]:
    """Left edge and width."""
    start, finish = (axis.place(value, LEFT, RIGHT) for value in (span.start, span.finish))
    return start, max(finish - start, LEAST_PX)


def _lanes(spans: Iterable[_Span], axis: Axis) -> Sequence[Sequence[_Span]]:
    """Each in the first lane where it covers nothing."""
    lanes: list[list[_Span]] = []
    ends: list[float] = []
    for span in sorted(spans, key=lambda each: (each.start, each.finish, each.tip)):
        start, width = _placed(span, axis)
        free = next((n for n, end in enumerate(ends) if end <= start), None)
        if free is None and len(lanes) < MOST_LANES:
            lanes.append([])
            ends.append(0.0)
            free = len(lanes) - 1
        elif free is None:
            free = min(range(len(ends)), key=ends.__getitem__)
        lanes[free].append(span)
        ends[free] = start + width + 0.5
    return lanes


def _legend(y: float) -> tuple[str, float]:
    parts: list[str] = []
    for heading, entries in (("reads:", WAITS.values()), ("loads:", LOADS.values())):
        x = LEFT
        parts.append(text_at(x, y, heading, kind="faint"))
        x += 52
        for label, colour in entries:
            parts.append(box(x, y - 11, 14, 12, f"f{colour}"))
            parts.append(text_at(x + 20, y, label))
            x += 34 + width_of(label)
        y += 22
    return "".join(parts), y
