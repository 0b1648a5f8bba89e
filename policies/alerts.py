"""Alert thresholds of the specification: raised and cleared once at each crossing.

Rates without requests raise nothing (decision D39). The prefetch accuracy that is judged leaves out
prefetches that have not ended, so that one still under way raises nothing; wasted tokens are judged
against the token budget granted (decision D38). `counts.py` lists all denominators.
"""

from enum import StrEnum

from attrs import field

from prefetch_scheduler.policies.config import MetricRules
from prefetch_scheduler.policies.counts import Counts
from prefetch_scheduler.policies.values import define, frozen


class AlertName(StrEnum):
    """The specification's metrics that have an alert threshold."""

    HIT_RATE = "cache_hit_rate"
    ACCURACY = "prefetch_accuracy"
    WASTED = "wasted_tokens"


@frozen
class AlertRaised:
    """A metric of a session crossed its threshold to the bad side."""

    name: AlertName
    session: str
    value: float
    """The rate, a fraction, not rounded."""
    threshold: float


@frozen
class AlertCleared:
    """It came back; or nothing is left to judge, and then `value` is None."""

    name: AlertName
    session: str
    value: float | None
    threshold: float


@frozen
class Breach:
    """A metric that is past its threshold now."""

    name: AlertName
    value: float
    threshold: float


@frozen
class Target:
    """The specification's aim for a metric. `met` is None where there is nothing to judge."""

    name: AlertName
    value: float | None
    aim: str
    met: bool | None


Alert = AlertRaised | AlertCleared


def breaches(counts: Counts, rules: MetricRules) -> tuple[Breach, ...]:
    """The thresholds that these figures cross, whatever was raised before."""
    found: list[Breach] = []
    rate, accuracy, wasted = counts.hit_rate, counts.accuracy_ended, counts.wasted_of_budget
    if rate is not None and rate < rules.hit_rate_alert:
        found.append(Breach(AlertName.HIT_RATE, rate, rules.hit_rate_alert))
    if accuracy is not None and accuracy < rules.accuracy_alert:
        found.append(Breach(AlertName.ACCURACY, accuracy, rules.accuracy_alert))
    if wasted is not None and wasted > rules.wasted_alert:
        found.append(Breach(AlertName.WASTED, wasted, rules.wasted_alert))
    return tuple(found)


def targets(counts: Counts, rules: MetricRules) -> tuple[Target, ...]:
    """Each metric beside its aim."""
    rate, accuracy, wasted = counts.hit_rate, counts.accuracy_ended, counts.wasted_of_budget
    return (
        Target(
            AlertName.HIT_RATE,
            rate,
            f">{rules.hit_rate_target:g}",
            None if rate is None else rate > rules.hit_rate_target,
        ),
        Target(
            AlertName.ACCURACY,
            accuracy,
            f">{rules.accuracy_target:g}",
            None if accuracy is None else accuracy > rules.accuracy_target,
        ),
        Target(
            AlertName.WASTED,
            wasted,
            f"<{rules.wasted_alert:g}",
            None if wasted is None else wasted < rules.wasted_alert,
        ),
    )


@define(eq=False)
class Alerts:
    """Remembers which alerts stand, so that each crossing is told once.

    An ended session stays watched as long as its figures are kept, since much of what it wasted is
    known only after its end; when they are forgotten, what still stands is cleared.
    """

    rules: MetricRules
    _standing: dict[str, dict[AlertName, Breach]] = field(init=False, factory=dict)
    """Only sessions with at least one alert standing."""

    def evaluate(self, session: str, counts: Counts) -> list[Alert]:
        """The crossings since the last evaluation of this session."""
        past = breaches(counts, self.rules)
        before = self._standing.get(session)
        if not past and not before:
            return []
        found, before = {breach.name: breach for breach in past}, before or {}
        effects: list[Alert] = [
            AlertRaised(breach.name, session, breach.value, breach.threshold)
            for name, breach in found.items()
            if name not in before
        ]
        values = {
            AlertName.HIT_RATE: counts.hit_rate,
            AlertName.ACCURACY: counts.accuracy_ended,
            AlertName.WASTED: counts.wasted_of_budget,
        }
        effects.extend(
            AlertCleared(name, session, values[name], breach.threshold)
            for name, breach in before.items()
            if name not in found
        )
        if found:
            self._standing[session] = found
        else:
            self._standing.pop(session, None)
        return effects

    def forget(self, session: str) -> list[Alert]:
        """The session's figures are no longer kept: clear what stands."""
        return [
            AlertCleared(name, session, None, breach.threshold)
            for name, breach in self._standing.pop(session, {}).items()
        ]

    def standing(self) -> dict[str, tuple[Breach, ...]]:
        """The alerts that stand now, by session."""
        return {session: tuple(found.values()) for session, found in self._standing.items()}
