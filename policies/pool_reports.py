"""Reports of a pool that could not be sent at once, in as few messages as possible."""

from collections.abc import Iterable

from prefetch_scheduler.policies.pool_events import PoolReport, UnderWay


def merged(reports: Iterable[PoolReport | UnderWay]) -> list[PoolReport | UnderWay]:
    """The same reports in as few as possible: a reset voids what was granted before it."""
    result: list[PoolReport | UnderWay] = []
    alike: list[PoolReport] = []
    for report in reports:
        if not isinstance(report, PoolReport):
            result.extend(_as_one(alike))
            alike = []
            result.append(report)
            continue
        if report.reset or (alike and report.planner != alike[0].planner):
            result.extend(_as_one(alike))
            alike = []
        alike.append(report)
    result.extend(_as_one(alike))
    return result


def _as_one(reports: list[PoolReport]) -> list[PoolReport]:
    """Reports to the same planner, of which only the first may be a reset, as one; or none."""
    if len(reports) < 2:
        return reports
    first = reports[0]
    return [
        PoolReport(
            first.pool,
            tuple([item for report in reports for item in report.reports]),
            sum(report.credits for report in reports),
            sum(report.permits_returned for report in reports),
            first.reset,
            first.planner,
            first.incarnation,
        )
    ]
