"""What `top` shows of an engine's status: titles, cells and bars, however they are drawn.

A status is what the monitor answers to `status`. Nothing here knows of terminals or colours: a
cell says how good or bad it is, and a renderer makes what it can of that.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum, auto
from typing import Any

from attrs import field

from prefetch_scheduler.policies.report_text import NOTHING
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.yaml_text import printable

LANES = (
    ("immediate", "p0"),
    ("immediate", "p1"),
    ("immediate", "p2"),
    ("background", "p3"),
    ("demand", "demand"),
)
"""Lane and pool, in the order of urgency."""

TROUBLES = 8
"""Alerts, actors and sources in trouble that are shown one by one."""

Status = Mapping[str, Any]


class Tone(StrEnum):
    """How a cell is to be looked at."""

    PLAIN = auto()
    FAINT = auto()
    GOOD = auto()
    WARN = auto()
    BAD = auto()


@frozen
class Cell:
    text: str
    tone: Tone = Tone.PLAIN
    share: float | None = None
    """What a bar beside the text shows, 0..1; None: there is none."""


@frozen
class Table:
    """One block of the screen."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    right: frozenset[str] = field(default=frozenset())
    """Columns of numbers."""
    empty: str = ""
    """What stands in place of no rows."""


@frozen
class View:
    """One screen."""

    title: str
    state: Cell
    verdict: str
    figures: tuple[tuple[str, Cell], ...]
    lanes: Table
    layers: Table
    queues: Table
    troubles: Table
    decisions: Table

    @property
    def tables(self) -> tuple[Table, ...]:
        return (self.lanes, self.layers, self.queues, self.troubles, self.decisions)


_STATES = {"ok": Tone.GOOD, "degraded": Tone.WARN, "failed": Tone.BAD}


def view_of(status: Status, before: Status | None = None) -> View:
    """The screen for a status.

    Args:
        status: the newest.
        before: an earlier one, from which rates are worked out; None: there are no rates yet.
    """
    health = status["health"]
    state = health["state"]
    reason = f": {printable(health['reason'])}" if health["reason"] else ""
    ran = _duration(status["running_s"])
    return View(
        title=f"{status['engine']}, process {status['process']}, up {ran}",
        state=Cell(f"{state}{reason}", _STATES.get(state, Tone.BAD)),
        verdict=printable(status["verdict"]),
        figures=tuple(_figures(status, before)),
        lanes=_lanes(status),
        layers=_layers(status),
        queues=_queues(status),
        troubles=_troubles(status),
        decisions=_decisions(status),
    )


def _figures(status: Status, before: Status | None) -> Iterator[tuple[str, Cell]]:
    s = status["summary"]
    yield "hit rate", _share(s["hit_rate"], good=0.7, bad=0.5)
    reads = (
        f"{s['reads']:,}: {s['cache_hits']:,} hits, {s['late_hits']:,} late,"
        f" {s['joined']:,} joined, {s['cache_misses']:,} misses"
    )
    yield "reads", Cell(f"{reads}{_rate(status, before, 'reads')}")
    yield "accuracy", _share(s["prefetch_accuracy_ended"], good=0.6, bad=0.4)
    ahead = (
        f"{s['total_prefetches']:,}: {s['used']:,} used, {s['wasted']:,} wasted,"
        f" {s['cancelled']:,} cancelled, {s['failed']:,} failed, {s['open']:,} open"
    )
    yield "loads ahead", Cell(f"{ahead}{_rate(status, before, 'total_prefetches')}")
    yield "efficiency", _share(s["efficiency"])
    tokens = (
        f"{s['tokens_prefetched']:,} ahead: {s['tokens_used']:,} used,"
        f" {s['wasted_tokens']:,} wasted; {s['tokens_demand_loaded']:,} demanded"
    )
    yield "tokens", Cell(tokens)
    saved = f"{s['estimated_time_saved_s']:,.1f} s saved, {s['demand_load_s']:,.1f} s waited for"
    yield "time", Cell(saved)
    yield "sessions", Cell(f"{status['sessions_live']:,}")


def _rate(status: Status, before: Status | None, name: str) -> str:
    """How many a second since the status before."""
    if before is None or before["process"] != status["process"]:
        return ""
    seconds = status["wall"] - before["wall"]
    more = status["summary"][name] - before["summary"][name]
    if seconds <= 0 or more < 0:
        return ""
    return f"; {more / seconds:,.1f}/s"


def _share(value: float | None, good: float | None = None, bad: float = 0.0) -> Cell:
    if value is None:
        return Cell(NOTHING, Tone.FAINT)
    tone = Tone.PLAIN
    if good is not None:
        tone = Tone.GOOD if value > good else Tone.BAD if value < bad else Tone.WARN
    return Cell(f"{value:.0%}", tone, min(1.0, max(0.0, value)))


def _lanes(status: Status) -> Table:
    rows = []
    for lane, name in LANES:
        pool = status["pools"].get(name)
        if pool is None:
            continue
        busy = pool["running"] / pool["capacity"] if pool["capacity"] else 0.0
        tone = Tone.GOOD if pool["running"] else Tone.FAINT
        rows.append(
            (
                Cell(lane),
                Cell(name.upper() if name != "demand" else name),
                Cell(f"{pool['running']}/{pool['capacity']}", tone, busy),
                Cell(f"{pool['waiting']:,}", Tone.WARN if pool["waiting"] else Tone.FAINT),
            )
        )
    columns = ("lane", "pool", "loading", "waiting")
    return Table("lanes", columns, tuple(rows), frozenset({"waiting"}), "no answer")


def _layers(status: Status) -> Table:
    rows = []
    for name, layer in status["layers"].items():
        limit = layer["limit"]
        full = layer["entries"] / limit if limit else None
        entries = f"{layer['entries']:,}" if limit is None else f"{layer['entries']:,}/{limit:,}"
        rows.append(
            (
                Cell(name),
                Cell(entries, Tone.PLAIN if layer["entries"] else Tone.FAINT, full),
                Cell(f"{layer['tokens']:,}"),
                Cell(_size(layer["bytes"])),
            )
        )
    columns = ("layer", "entries", "tokens", "size")
    return Table("layers", columns, tuple(rows), frozenset({"tokens", "size"}), "no answer")


def _queues(status: Status) -> Table:
    """The inboxes; a pool's only where something waits. Waiting loads stand beside their pools."""
    rows = []
    for name, (waiting, bound) in status["health"]["queues"].items():
        if name.startswith("waiting-") or (name.startswith("pool-") and not waiting):
            continue
        fill = waiting / bound if bound else 0.0
        tone = Tone.BAD if fill > 0.8 else Tone.WARN if fill > 0.2 else Tone.PLAIN
        rows.append(
            (Cell(name), Cell(f"{waiting:,}", tone if waiting else Tone.FAINT), Cell(f"{bound:,}"))
        )
    columns = ("queue", "waiting", "bound")
    return Table("queues", columns, tuple(rows), frozenset({"waiting", "bound"}), "no answer")


def _troubles(status: Status) -> Table:
    health = status["health"]
    rows: list[tuple[Cell, ...]] = [
        (
            Cell("alert", Tone.BAD),
            Cell(printable(alert["session"])),
            Cell(f"{alert['name']} is {alert['value']:.2f}, past {alert['threshold']:g}"),
        )
        for alert in status["alerts"]
    ]
    for actor in health["actors"]:
        if actor["state"] != "running" or actor["restarts"]:
            error = printable(actor["error"] or "")
            told = f"{actor['state']}, {actor['restarts']} restarts: {error}"
            tone = Tone.WARN if actor["state"] == "running" else Tone.BAD
            rows.append((Cell("actor", tone), Cell(actor["name"]), Cell(told)))
    for source, seconds in health["held_off"].items():
        told = f"keeps failing; tried again in {seconds:.0f} s"
        rows.append((Cell("source", Tone.WARN), Cell(printable(source)), Cell(told)))
    for source, count in health["stuck_loads"].items():
        if count:
            told = f"loads past their time that have not ended: {count}"
            rows.append((Cell("source", Tone.WARN), Cell(printable(source)), Cell(told)))
    more = max(0, len(rows) - TROUBLES) + status["alerts_standing"] - len(status["alerts"])
    if more:
        rows = [*rows[:TROUBLES], (Cell(""), Cell(""), Cell(f"… and {more:,} more", Tone.FAINT))]
    return Table("alerts", ("what", "where", "why"), tuple(rows), empty="none")


def _decisions(status: Status) -> Table:
    rows = []
    for each in reversed(status["decisions"]):
        at = datetime.fromtimestamp(each["wall"], UTC).astimezone()
        tone = Tone.PLAIN
        for word, its in (("fail", Tone.BAD), ("used", Tone.GOOD), ("hit", Tone.GOOD)):
            if word in each["event"]:
                tone = its
        if any(word in each["event"] for word in ("miss", "wasted", "cancelled")):
            tone = Tone.WARN
        rows.append(
            (
                Cell(f"{at:%H:%M:%S}", Tone.FAINT),
                Cell(printable(each["event"]), tone),
                Cell(printable(each["key"])),
                Cell(printable(each["reason"]), Tone.FAINT),
            )
        )
    columns = ("time", "event", "key", "why")
    return Table("latest decisions", columns, tuple(rows), empty="none yet")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    clock = f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{days} d {clock}" if days else clock


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def cut(text: str, width: int) -> str:
    """Text of at most so many characters, with a mark where something was left out."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def widths(table: Table) -> list[int]:
    """The width of each column's widest text."""
    return [
        max(len(name), *(len(row[i].text) for row in table.rows)) if table.rows else len(name)
        for i, name in enumerate(table.columns)
    ]
