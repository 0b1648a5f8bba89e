"""`top` with rich: tables side by side, bars and colours. Extra `cli`."""

from attrs import evolve
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text

from prefetch_scheduler.engine.cli.top_view import Cell, Table, Tone, View, widths

_STYLES = {
    Tone.PLAIN: "",
    Tone.FAINT: "dim",
    Tone.GOOD: "green",
    Tone.WARN: "yellow",
    Tone.BAD: "bold red",
}
_BAR = 12
ROOMY = (100, 40)
"""Columns and lines of a terminal that has room for everything."""
TELLING = ("hit rate", "reads", "loads ahead", "time")
FRAME = 4
"""Lines around the rows of the decisions, and the last one, which stays free."""


def screen_of(view: View, width: int, height: int | None = None) -> RenderableType:
    """The screen for a terminal of so many columns and lines; decisions fill what is left.

    A small one gets the figures that tell most, and no bars.
    """
    small = width < ROOMY[0] or (height or ROOMY[1]) < ROOMY[1]
    if small:
        view = _short(view)
    title = Text(view.title)
    parts: list[RenderableType] = [
        Panel(_figures(view), title=title, title_align="left", border_style="cyan"),
        _beside(_panel(view.lanes), _panel(view.layers)),
        _troubles(view) if small else _beside(_panel(view.queues), _troubles(view)),
    ]
    used = sum(_lines(part, width) for part in parts)
    rows = len(view.decisions.rows) if height is None else max(1, height - used - FRAME)
    return Group(*parts, _panel(view.decisions, rows))


def _short(view: View) -> View:
    def bare(table: Table) -> Table:
        rows = tuple(tuple(evolve(cell, share=None) for cell in row) for row in table.rows)
        return evolve(table, rows=rows)

    figures = tuple((name, cell) for name, cell in view.figures if name in TELLING)
    return evolve(
        view, figures=figures, verdict="", lanes=bare(view.lanes), layers=bare(view.layers)
    )


def live(console: Console) -> Live:
    """What shows one screen after the other, and leaves the terminal as it was."""
    return Live(console=console, screen=True, auto_refresh=False)


def _lines(part: RenderableType, width: int) -> int:
    quiet = Console(width=width, color_system=None)
    return len(quiet.render_lines(part, pad=False))


def _beside(left: RenderableType, right: RenderableType) -> RenderableType:
    grid = RichTable.grid(expand=True)
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    grid.add_row(left, right)
    return grid


def _figures(view: View) -> RenderableType:
    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("state", _drawn(view.state))
    for name, cell in view.figures:
        grid.add_row(name, _drawn(cell))
    if view.verdict:
        grid.add_row("verdict", Text(view.verdict, style="italic"))
    return grid


def _troubles(view: View) -> RenderableType:
    return _panel(view.troubles, border="red" if view.troubles.rows else "dim")


def _panel(table: Table, rows: int | None = None, border: str = "dim") -> RenderableType:
    body: RenderableType = _table(table, rows) if table.rows else Text(table.empty, style="dim")
    return Panel(body, title=table.title, title_align="left", border_style=border)


def _table(table: Table, rows: int | None) -> RichTable:
    drawn = RichTable(box=None, expand=True, header_style="dim", padding=(0, 1, 0, 0))
    spaces = widths(table)
    for name in table.columns:
        drawn.add_column(
            name,
            justify="right" if name in table.right else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    barred = [any(row[i].share is not None for row in table.rows) for i in range(len(spaces))]
    for row in table.rows[:rows]:
        cells = zip(row, spaces, barred, strict=True)
        drawn.add_row(*(_drawn(cell, space if bar else 0) for cell, space, bar in cells))
    return drawn


def _drawn(cell: Cell, width: int = 0) -> Text:
    """The cell's text, of at least so many characters, and its bar."""
    style = _STYLES[cell.tone]
    if cell.share is None:
        return Text(cell.text.rjust(width), style=style)
    filled = round(cell.share * _BAR)
    return Text.assemble(
        (f"{cell.text:>{width}} ", style),
        ("━" * filled, style or "cyan"),
        ("─" * (_BAR - filled), "grey35"),
    )
