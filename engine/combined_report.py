"""One report over several engines that ran one after another, e.g. the parts of a replay."""

from collections.abc import Iterable, Mapping, Sequence

from prefetch_scheduler.policies.alerts import breaches, targets
from prefetch_scheduler.policies.config import MetricRules
from prefetch_scheduler.policies.counts import Counts
from prefetch_scheduler.policies.outcomes import Outcome, Verdict
from prefetch_scheduler.policies.report import Report
from prefetch_scheduler.policies.snapshot import EngineFigures, Snapshot


def combined(reports: Sequence[Report], rules: MetricRules) -> Report:
    """The sums of all figures, with rates, targets and alerts worked out from the sums.

    Args:
        reports: at least one, of whole engines, oldest first.
        rules: the thresholds by which the sums are judged.
    """
    if len(reports) == 1:
        return reports[0]
    snapshots = [report.snapshot for report in reports]
    counts = Counts()
    for snapshot in snapshots:
        counts.add(snapshot.counts)
    newest_first = snapshots[::-1]
    return Report(
        Snapshot(
            session=None,
            counts=counts,
            open=sum(s.open for s in snapshots),
            open_tokens=sum(s.open_tokens for s in snapshots),
            outcomes=_outcomes(newest_first),
            predictions=tuple(p for s in newest_first for p in s.predictions),
            skills=tuple(use for s in snapshots for use in s.skills),
            alerts=breaches(counts, rules),
            targets=targets(counts, rules),
            saved_today_s=sum(s.saved_today_s for s in snapshots),
            ended=all(s.ended for s in snapshots),
            engine=_figures([s.engine for s in snapshots if s.engine is not None]),
        )
    )


def _outcomes(snapshots: Iterable[Snapshot]) -> dict[Verdict, tuple[Outcome, ...]]:
    """A key stands in one list only, by its newest outcome."""
    lists: dict[Verdict, list[Outcome]] = {verdict: [] for verdict in Verdict}
    taken: set[str] = set()
    for snapshot in snapshots:
        keys: set[str] = set()
        for verdict, outcomes in snapshot.outcomes.items():
            lists[verdict] += [outcome for outcome in outcomes if outcome.key not in taken]
            keys.update(outcome.key for outcome in outcomes)
        taken |= keys
    return {verdict: tuple(outcomes) for verdict, outcomes in lists.items()}


def _figures(figures: Sequence[EngineFigures]) -> EngineFigures | None:
    if not figures:
        return None
    return EngineFigures(
        sessions_live=sum(f.sessions_live for f in figures),
        sessions_kept=sum(f.sessions_kept for f in figures),
        sessions_forgotten=sum(f.sessions_forgotten for f in figures),
        sessions_alerting=sum(f.sessions_alerting for f in figures),
        dropped=_summed(f.dropped for f in figures),
        anomalies=_summed(f.anomalies for f in figures),
    )


def _summed(tables: Iterable[Mapping[str, int]]) -> dict[str, int]:
    result: dict[str, int] = {}
    for table in tables:
        for name, number in table.items():
            result[name] = result.get(name, 0) + number
    return result
