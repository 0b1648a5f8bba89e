"""A plan as aligned plain text."""

from collections.abc import Iterable, Sequence

from prefetch_scheduler.policies.plan import Plan, PlanItem
from prefetch_scheduler.policies.yaml_text import printable

_HEADINGS = ("", "key", "role", "conf.", "tokens", "value", "ms", "lane", "reason")
_RIGHT = frozenset({"conf.", "tokens", "value", "ms"})
NOTHING = "–"


def plan_text(plan: Plan, *, explain: bool = True) -> str:
    """A table of the items in plan order, and the sums below it.

    Args:
        explain: add to each item a line with the steps to its priority and the reasons.
    """
    rows = [_row(item) for item in plan.items]
    widths = [max(len(line[i]) for line in [_HEADINGS, *rows]) for i in range(len(_HEADINGS))]
    lines = [_line(_HEADINGS, widths)]
    for item, row in zip(plan.items, rows, strict=True):
        lines.append(_line(row, widths))
        if explain and item.explanation:
            lines.append(f"    {printable(item.explanation)}")
    if not plan.items:
        lines = ["nothing is predicted"]
    return "\n".join((*lines, "", *_sums(plan))) + "\n"


def _row(item: PlanItem) -> tuple[str, ...]:
    return (
        item.priority.name,
        printable(item.key),
        str(item.role),
        f"{item.confidence:.2f}",
        f"{item.tokens:,}",
        f"{item.value:.2f}",
        _span(item),
        str(item.lane),
        str(item.reason),
    )


def _span(item: PlanItem) -> str:
    if item.start_s is None or item.finish_s is None:
        return NOTHING
    return f"{item.start_s * 1000:.0f}..{item.finish_s * 1000:.0f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell.rjust(width) if heading in _RIGHT else cell.ljust(width)
        for cell, width, heading in zip(cells, widths, _HEADINGS, strict=True)
    )
    return "  ".join(padded).rstrip()


def _sums(plan: Plan) -> Iterable[str]:
    charged = f", {plan.tokens_charged:,} charged to earlier loads" if plan.tokens_charged else ""
    yield f"tokens planned {plan.tokens_planned:,} of {plan.token_budget:,}{charged}"
    yield (
        f"value planned {plan.value:.2f}, at most {plan.value_bound:.2f} within these tokens"
        f" ({plan.value_blind:.2f} in an order blind to priority)"
    )
    if plan.rejected:
        listed = ", ".join(f"{reason} {count:,}" for reason, count in sorted(plan.rejected.items()))
        yield f"not loaded: {listed}"
