"""The small part of SVG that the plots need: safe text, axes with sensible ticks, one style.

A picture is text: same arguments, same bytes. It stands alone as a file, and inlined in a page.
Lengths are pixels of the picture's own `viewBox`.
"""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from html import escape
from math import ceil, floor, inf, isfinite, log10

from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.yaml_text import printable

COLOURS = (
    ("#1f66c1", "#74b2ff"),
    ("#bf5508", "#f6a35c"),
    ("#177544", "#5bd498"),
    ("#7b3fb5", "#c8a2f7"),
    ("#5f6875", "#a8b1be"),
    ("#bd2436", "#ff8089"),
    ("#0b7680", "#4ed3dc"),
    ("#806600", "#dfc24c"),
)
"""Of the series, on light and on dark paper; each has a contrast of at least 4.5 to its paper."""

MARKERS = "circle", "square", "triangle", "diamond", "cross", "wedge", "ring", "bar"
"""Of the series: colour is never the only difference."""

FONT_PX = 13
FONTS = "system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif"
"""What the reader's machine has; nothing is fetched."""
DASHES = "", "8 3", "2 3", "10 3 2 3", "5 5", "14 4", "4 2 1 2", "1 4"
"""Of the lines of series without marks."""

_INK = (("#1d2630", "#e6eaef"), ("#55606d", "#aab4c0"), ("#e1e6ec", "#313944"))
PAPER = ("#ffffff", "#171b21")


def _rules(dark: int) -> str:
    ink, faint, grid = (pair[dark] for pair in _INK)
    rules = [
        f".paper{{fill:{PAPER[dark]}}}",
        f".plot text{{fill:{ink}}}.plot .faint{{fill:{faint}}}",
        f".plot .halo{{stroke:{PAPER[dark]}}}",
        f".grid{{stroke:{grid}}}.axis{{stroke:{faint}}}.goal{{stroke:{ink}}}",
    ]
    for number, pair in enumerate(COLOURS):
        rules.append(f".f{number}{{fill:{pair[dark]}}}.l{number}{{stroke:{pair[dark]}}}")
    return "".join(rules)


STYLE = (
    f".plot text{{font:{FONT_PX}px {FONTS}}}"
    ".plot .head{font-weight:600;font-size:16px}.plot .small{font-size:12px}"
    ".plot .halo{stroke-width:4px;stroke-linejoin:round;paint-order:stroke}"
    ".grid,.axis,.goal{stroke-width:1;fill:none}.goal{stroke-dasharray:5 4}"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round}.hollow{fill:none;stroke-width:2.5}"
    + _rules(0)
    + "@media(prefers-color-scheme:dark){"
    + _rules(1)
    + "}"
)
"""Of every picture; the same in each, so that several in one page do not disturb each other."""


# ---- text ------------------------------------------------------------------------------------


def safe(text: object) -> str:
    """Text of any origin for XML and HTML: markup and quotes escaped, control characters shown."""
    return escape(printable(str(text)), quote=True)


def width_of(text: str, size: float = FONT_PX) -> float:
    """About how wide a text is drawn, rather too wide than too narrow."""
    return sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.58 for c in text) * size


def shortened(text: str, most: int) -> str:
    """At most `most` characters: the middle is left out, as keys differ at their ends."""
    if len(text) <= most:
        return text
    tail = (most - 1) * 2 // 3
    return f"{text[: most - 1 - tail]}…{text[-tail:]}"


def px(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")


def text_at(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    """A line of text. `kind`: classes of `STYLE`: `head`, `small`, `faint`, `halo`."""
    named = f' class="{kind}"' if kind else ""
    placed = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{px(x)}" y="{px(y)}"{placed}{named}>{safe(text)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line of a class of `STYLE`."""
    return f'<path class="{kind}" d="M{px(x1)} {px(y1)}L{px(x2)} {px(y2)}"/>'


def box(x: float, y: float, width: float, height: float, kind: str, tip: str = "") -> str:
    """A filled rectangle, with a tool tip."""
    shape = (
        f'<rect class="{kind}" x="{px(x)}" y="{px(y)}" width="{px(width)}" height="{px(height)}"'
    )
    return f"{shape}><title>{safe(tip)}</title></rect>" if tip else f"{shape}/>"


def marker(x: float, y: float, number: int, tip: str = "") -> str:
    """The mark of series `number`, with a tool tip."""
    r = 5.0
    paths = {
        "square": f"M{px(x - 4.5)} {px(y - 4.5)}h9v9h-9z",
        "triangle": f"M{px(x)} {px(y - r)}l5.5 9.5h-11z",
        "diamond": f"M{px(x)} {px(y - 6)}l6 6l-6 6l-6-6z",
        "wedge": f"M{px(x)} {px(y + r)}l5.5-9.5h-11z",
        "bar": f"M{px(x - 6)} {px(y - 2.5)}h12v5h-12z",
    }
    shape = MARKERS[number % len(MARKERS)]
    colour = number % len(COLOURS)
    title = f"<title>{safe(tip)}</title>" if tip else ""
    if shape == "cross":
        d = f"M{px(x - r)} {px(y - r)}l10 10M{px(x + r)} {px(y - r)}l-10 10"
        return f'<path class="hollow l{colour}" d="{d}">{title}</path>'
    if shape in paths:
        return f'<path class="f{colour}" d="{paths[shape]}">{title}</path>'
    kind = f"hollow l{colour}" if shape == "ring" else f"f{colour}"
    return f'<circle class="{kind}" cx="{px(x)}" cy="{px(y)}" r="{px(r)}">{title}</circle>'


def document(
    name: str, title: str, description: str, width: float, height: float, body: str
) -> str:
    """A whole picture.

    Args:
        name: an XML id, one for each picture of a page.
        title: what it shows; drawn at the top, and the first thing that a screen reader says.
        description: what can be seen in it, for those who cannot see it.
    """
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" class="plot"'
        f' viewBox="0 0 {px(width)} {px(height)}"'
        f' width="{px(width)}" height="{px(height)}"'
        f' role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{safe(title)}</title>'
        f'<desc id="{name}-desc">{safe(description)}</desc>'
        f"<style>{STYLE}</style>"
        f'<rect class="paper" width="{px(width)}" height="{px(height)}"/>'
        f"{text_at(16, 26, title, kind='head')}{body}</svg>\n"
    )


# ---- numbers ---------------------------------------------------------------------------------


def compact(value: float) -> str:
    """1234567 as `1.23M`."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"


def percent(value: float) -> str:
    """0.125 as `12.5 %`."""
    return f"{value * 100:.3g} %"


def seconds(value: float) -> str:
    """0.01 as `10 ms`."""
    if value == 0:
        return "0 s"
    for size, unit in ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms")):
        if abs(value) >= size * (2 if size > 1 else 1):
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


# ---- axes ------------------------------------------------------------------------------------


@frozen
class Axis:
    """From `low` to `high`, with ticks between; `show` writes a tick with its unit."""

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    show: Callable[[float], str]
    log: bool = False

    def place(self, value: float, start: float, end: float) -> float:
        """The pixel of a value between those of `low` and `high`; what is outside is at the end."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        else:
            share = (value - self.low) / (self.high - self.low)
        return start + share * (end - start)


def linear_axis(
    label: str,
    values: Iterable[float],
    show: Callable[[float], str] = compact,
    *,
    zero: bool = True,
    most_ticks: int = 7,
) -> Axis:
    """An axis over the values, from 0 unless told otherwise, with ticks at round numbers."""
    known = [value for value in values if isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= abs(high) * 1e-9:
        high = low + (abs(low) or 1.0)
    step = _step((high - low) / most_ticks)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    ticks = tuple(round(number * step, 12) for number in range(first, last + 1))
    return Axis(label, ticks[0], ticks[-1], ticks, show)


def _step(least: float) -> float:
    size: float = 10.0 ** floor(log10(least))
    return next(each * size for each in (1, 2, 2.5, 5, 10) if each * size >= least * (1 - 1e-9))


def log_axis(
    label: str,
    values: Iterable[float],
    show: Callable[[float], str] = compact,
    *,
    most_ticks: int = 8,
) -> Axis:
    """An axis over the positive values in powers of ten."""
    known = [value for value in values if 0 < value < inf]
    low, high = (min(known), max(known)) if known else (1.0, 10.0)
    first, last = floor(log10(low) + 1e-9), ceil(log10(high) - 1e-9)
    last = max(last, first + 1)
    every = ceil((last - first) / most_ticks)
    ticks = tuple(float(f"1e{power}") for power in range(first, last + 1, every))
    return Axis(label, float(f"1e{first}"), float(f"1e{last}"), ticks, show, log=True)


# ---- labels that do not cover each other --------------------------------------------------------

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def free_place(text: str, x: float, y: float, within: Box, taken: Sequence[Box]) -> Box | None:
    """Where beside a point its label covers nothing; None: nowhere."""
    width, height = width_of(text, 12), 14.0
    middle, above, below = y - height / 2, y - 8 - height, y + 8
    for left, top in (
        (x + 9, middle),
        (x - 9 - width, middle),
        (x - width / 2, above - 1),
        (x - width / 2, below + 1),
        (x + 7, above + 2),
        (x + 7, below - 2),
        (x - 7 - width, above + 2),
        (x - 7 - width, below - 2),
    ):
        place = (left, top, left + width, top + height)
        inside = (
            place[0] >= within[0]
            and place[1] >= within[1]
            and place[2] <= within[2]
            and place[3] <= within[3]
        )
        if inside and not any(_meet(place, other) for other in taken):
            return place
    return None


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
