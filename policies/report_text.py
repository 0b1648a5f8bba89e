"""The specification's `prefetch_report` as text for a terminal, from the report as plain data.

It takes what `Report.body` makes, or what became of that in JSON.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from prefetch_scheduler.policies.outcomes import Verdict
from prefetch_scheduler.policies.yaml_text import printable

NOTHING = "–"
"""How a rate with no requests is shown (decision D39)."""
SHOWN = 10
"""Keys of each list that the text shows."""

_MET = {True: "met", False: "not met", None: NOTHING}


def report_text(body: Mapping[str, Any]) -> str:
    """Aligned plain text without colour; what cannot be printed is escaped.

    Args:
        body: what stands under `prefetch_report`.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is no report.
    """
    name = "whole engine" if body["session"] is None else str(body["session"])
    return "\n".join((f"Prefetch report: {printable(name)}", *_lines(body))) + "\n"


def _lines(body: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield from _table(body["session_summary"])
    yield f"  {'time_saved_today_s':<26}{shown(body['time_saved_today_s'])}"
    top = body["top_predictions"]
    for verdict in Verdict:
        yield from _list_lines(str(verdict), top[verdict], top["totals"][verdict])
    yield ""
    yield "targets"
    for metric, target in body["targets"].items():
        value, aim = shown(target["value"]), printable(str(target["target"]))
        yield f"  {printable(metric):<26}{value:<8}{aim:<8}{_MET[target['met']]}"
    yield ""
    yield "alerts" if body["alerts"] else "no alerts"
    for alert in body["alerts"]:
        past = f"{alert['value']:.4g} is past {alert['threshold']:g}"
        yield f"  {printable(alert['name']):<26}{past}"
    if "engine" in body:
        yield ""
        yield "engine"
        yield from _table(body["engine"])
    if "speculation" in body:
        yield ""
        yield printable(body["speculation"]["verdict"])


def _table(figures: Mapping[str, Any]) -> Iterator[str]:
    for name, value in figures.items():
        yield f"  {printable(name):<26}{shown(value)}"


def shown(value: object) -> str:
    """A figure as the text shows it."""
    if value is None:
        return NOTHING
    if isinstance(value, Mapping):
        counted = (f"{printable(str(name))} {number:,}" for name, number in value.items() if number)
        return ", ".join(counted) or "0"
    if isinstance(value, int):
        return f"{value:,}"
    return printable(str(value))


def _list_lines(title: str, items: list[dict[str, Any]], total: int) -> Iterator[str]:
    yield ""
    yield f"{title} ({total:,} in all)"
    for item in items[:SHOWN]:
        said = "predicted" if item["predicted"] else "not predicted"
        read = "not used" if not item["used"] else "was needed" if title == "missed" else "used"
        told = item["reason"] not in ("", "not_predicted")
        reason = f": {printable(item['reason'])}" if told else ""
        yield f"  {printable(item['key'])} ({said}, {read}){reason}"
    if len(items) > SHOWN:
        yield f"  … and {len(items) - SHOWN:,} more keys"
