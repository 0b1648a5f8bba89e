"""A page of plots and tables that needs nothing but itself: no script, no font, no network."""

from collections.abc import Mapping, Sequence

from attrs import field

from prefetch_scheduler.engine.simulation.svg import FONTS, safe
from prefetch_scheduler.policies.values import frozen

MOST_ROWS = 400
"""Of one table; the rest is counted."""


@frozen
class Table:
    """Numbers beside a plot: the first column names the row. `folded`: opened by a click."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False


@frozen
class Section:
    """A heading, what there is to say, the pictures by file name, and their numbers."""

    title: str
    text: Sequence[str]
    pictures: Mapping[str, str] = field(factory=dict)
    tables: Sequence[Table] = ()


_STYLE = """
:root{color-scheme:light dark;
--ink:#1d2630;--faint:#55606d;--line:#dde3ea;--paper:#fff;--desk:#f4f6f8}
@media(prefers-color-scheme:dark){:root{
--ink:#e6eaef;--faint:#aab4c0;--line:#313944;--paper:#171b21;--desk:#0f1216}}
*{box-sizing:border-box}
body{margin:0;background:var(--desk);color:var(--ink);font:16px/1.5 FONTS}
main{max-width:960px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:1.8rem;line-height:1.2;margin:.4em 0 0}
h2{font-size:1.25rem;margin:0 0 .4em}
p{margin:0 0 .5em;max-width:76ch}
.faint{color:var(--faint)}
section{background:var(--paper);border:1px solid var(--line);border-radius:8px}
section{padding:20px;margin-top:24px}
figure{margin:12px 0;overflow-x:auto}
svg.plot{display:block;width:100%;min-width:640px;height:auto}
.table{overflow:auto;max-height:480px;margin-top:12px}
.table:focus-visible{outline:2px solid var(--faint)}
table{border-collapse:collapse;width:100%;font-size:.85rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--faint);padding-bottom:4px}
th,td{padding:4px 10px 4px 0;text-align:right;vertical-align:bottom}
th,td{border-bottom:1px solid var(--line)}
td{white-space:nowrap}
th:first-child,td:first-child{text-align:left}
tbody th{font-weight:600;overflow-wrap:break-word;max-width:30em}
details{margin-top:12px}
summary{cursor:pointer}
@media print{section{break-inside:avoid}.table{max-height:none}}
""".replace("FONTS", FONTS)


def page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The page as text; same arguments, same text."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{safe(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<header><h1>{safe(title)}</h1>\n<p class="faint">{safe(subtitle)}</p></header>\n'
        + "".join(_section(section) for section in sections)
        + "</main>\n</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    text = "".join(f"<p>{safe(said)}</p>\n" for said in section.text)
    pictures = "".join(f"<figure>{picture}</figure>\n" for picture in section.pictures.values())
    tables = "".join(_table(table) for table in section.tables)
    return f"<section>\n<h2>{safe(section.title)}</h2>\n{text}{pictures}{tables}</section>\n"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{safe(cell)}</th>' for cell in table.head)
    rows = "".join(_row(row) for row in table.rows[:MOST_ROWS])
    left_out = len(table.rows) - MOST_ROWS
    more = f'<p class="faint">{left_out:,} further rows are left out.</p>' if left_out > 0 else ""
    title = safe(table.title)
    made = (
        f'<div class="table" tabindex="0" role="region" aria-label="{title}">'
        f"<table><caption>{title}</caption><thead><tr>{head}</tr></thead>\n"
        f"<tbody>{rows}</tbody></table>{more}</div>\n"
    )
    if table.folded:
        return f"<details><summary>{title}: {len(table.rows):,} rows</summary>{made}</details>\n"
    return made


def _row(row: Sequence[str]) -> str:
    cells = "".join(f"<td>{safe(cell)}</td>" for cell in row[1:])
    return f'<tr><th scope="row">{safe(row[0])}</th>{cells}</tr>\n'
