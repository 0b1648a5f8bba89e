"""The Metrics actor: counts what the others tell it, and answers reports and stories."""

import logging
from collections.abc import Callable
from typing import Any, assert_never

from prefetch_scheduler.actors.base import EngineActor, Home
from prefetch_scheduler.actors.log_fields import log_fields
from prefetch_scheduler.actors.messages import (
    AlertsQuery,
    ExportQuery,
    LatestQuery,
    MetricsMessage,
    ReportQuery,
    StoryQuery,
)
from prefetch_scheduler.policies.accounting import Accounting
from prefetch_scheduler.policies.alerts import Alert, AlertRaised
from prefetch_scheduler.policies.metrics_events import Events
from prefetch_scheduler.policies.story import StoryBook

logger = logging.getLogger("prefetch_scheduler.metrics")


HOLD_S = 1.0
"""Real seconds that an alert must have stood before anyone is told."""


class Ledgers:
    """What has been counted. Kept outside the actor, so that a restart loses nothing of it."""

    def __init__(self, accounting: Accounting, stories: StoryBook) -> None:
        self.accounting = accounting
        self.stories = stories
        self.held: dict[tuple[str, str], tuple[float, Alert]] = {}
        """Alerts that have not stood long enough: (session, name) -> when they have, and which."""


class Metrics(EngineActor):
    """Shell of `Accounting` and `StoryBook`.

    Args:
        publish: tells the host's subscribers of an alert; must not block.
    """

    def __init__(self, home: Home, ledgers: Ledgers, publish: Callable[[Alert], None]) -> None:
        super().__init__(home)
        self._ledgers = ledgers
        self._publish = publish
        self._held = ledgers.held
        self._hold_s = HOLD_S / home.clock.real(1.0)

    def on_receive(self, message: MetricsMessage) -> Any:
        accounting = self._ledgers.accounting
        match message:
            case Events():
                self._count(message)
                return None
            case ReportQuery(session):
                return accounting.report(session, today=self.home.clock.today())
            case StoryQuery(key):
                return self._ledgers.stories.explain(key)
            case LatestQuery(count):
                return self._ledgers.stories.latest(count)
            case ExportQuery(session):
                return accounting.snapshot(session, today=self.home.clock.today())
            case AlertsQuery():
                return accounting.alerts()
            case _:
                assert_never(message)

    def _count(self, message: Events) -> None:
        clock = self.home.clock
        now, wall, today = clock.now(), clock.wall(), clock.today()
        tell, count = self._ledgers.stories.handle, self._ledgers.accounting.handle
        stopped = self.actor_stopped.is_set
        for event in message.events:
            if stopped() and self.abandoned:  # a host's handler hung; a successor counts now
                return
            tell(event, now, wall)
            for alert in count(event, now, wall, today):
                self._hold(alert, now)

    def _hold(self, alert: Alert, now: float) -> None:
        """Tell of an alert once it has stood for a moment: hits are counted a little later than

        misses, and what one message raises the next may clear.
        """
        place = (alert.session, str(alert.name))
        if isinstance(alert, AlertRaised):
            self._held[place] = (now + self._hold_s, alert)
        elif self._held.pop(place, None) is None:
            self._tell(alert)

    def next_deadline(self) -> float | None:
        return min((due for due, _ in self._held.values()), default=None)

    def on_tick(self, now: float) -> None:
        for place in [place for place, (due, _) in self._held.items() if due <= now]:
            self._tell(self._held.pop(place)[1])

    def _tell(self, alert: Alert) -> None:
        _log(alert)
        self._publish(alert)


def _log(alert: Alert) -> None:
    fields = log_fields(
        session=alert.session,
        alert=str(alert.name),
        value=alert.value,
        threshold=alert.threshold,
    )
    if isinstance(alert, AlertRaised):
        text = "session %s: %s is %.2f, past its threshold %g"
        logger.warning(text, alert.session, alert.name, alert.value, alert.threshold, extra=fields)
    else:
        logger.info("session %s: %s is well again", alert.session, alert.name, extra=fields)
