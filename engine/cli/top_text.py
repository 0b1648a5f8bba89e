"""`top` as plain text: for pipes, for dumb terminals, and where rich is missing."""

from collections.abc import Iterator

from prefetch_scheduler.engine.cli.top_view import Cell, Table, View, cut, widths

_BAR = 10


def text_of(view: View, width: int = 100, height: int | None = None) -> str:
    """The screen as lines of at most `width` characters; of decisions so many as fit `height`."""
    lines = [view.title, f"state: {view.state.text}", view.verdict, ""]
    name_width = max(len(name) for name, _ in view.figures)
    lines += [f"{name:<{name_width}}  {_told(cell)}" for name, cell in view.figures]
    for table in view.tables[:-1]:
        lines += ["", *_table(table)]
    decisions = ["", *_table(view.decisions)]
    if height is not None:
        decisions = decisions[: max(0, height - len(lines))]
    return "\n".join(cut(line.rstrip(), width) for line in (*lines, *decisions)) + "\n"


def _told(cell: Cell) -> str:
    if cell.share is None:
        return cell.text
    filled = round(cell.share * _BAR)
    return f"{cell.text:>4} [{'#' * filled}{'.' * (_BAR - filled)}]"


def _table(table: Table) -> Iterator[str]:
    if not table.rows:
        yield f"{table.title}: {table.empty}"
        return
    yield table.title
    spaces = widths(table)
    for texts in (table.columns, *([cell.text for cell in row] for row in table.rows)):
        yield "  " + "  ".join(_aligned(table, i, text, spaces[i]) for i, text in enumerate(texts))


def _aligned(table: Table, column: int, text: str, width: int) -> str:
    return text.rjust(width) if table.columns[column] in table.right else text.ljust(width)
