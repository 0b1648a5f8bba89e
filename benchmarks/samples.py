"""The picture of samples taken once a second."""

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, GAP = 720, 110, 70, 34


def samples_plot(samples: Mapping[str, Sequence[float]]) -> str:
    """One panel for each measure over the minutes, from zero up."""
    total = len(samples) * (HEIGHT + GAP) + GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + LEFT + 20} {total}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH + LEFT + 20}" height="{total}" fill="white"/>',
    ]
    for place, (name, values) in enumerate(samples.items()):
        top = GAP + place * (HEIGHT + GAP)
        most = max([*values, 1.0]) * 1.1
        points = " ".join(
            f"{LEFT + WIDTH * at / max(1, len(values) - 1):.1f},"
            f"{top + HEIGHT * (1 - value / most):.1f}"
            for at, value in enumerate(values)
        )
        lines += [
            f'<text x="{LEFT}" y="{top - 8}">{name} over {len(values) / 60:g} minutes</text>',
            f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most:.0f}</text>',
            f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">0</text>',
            f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none"'
            ' stroke="#bbb"/>',
            f'<polyline points="{points}" fill="none" stroke="#1f77b4" stroke-width="1.2"/>',
        ]
    return "\n".join([*lines, "</svg>", ""])
