"""The Metrics actor: counts what the others tell it, and answers reports and stories."""

import logging
from collections.abc import Callable
from typing import Any, assert_never

from prefetch_scheduler.actors.base import EngineActor, Home
from prefetch_scheduler.actors.messages import (
    AlertsQuery,
    ExportQuery,
    MetricsMessage,
    ReportQuery,
    StoryQuery,
)
from prefetch_scheduler.policies.accounting import Accounting
from prefetch_scheduler.policies.alerts import Alert, AlertRaised
from prefetch_scheduler.policies.metrics_events import Events
from prefetch_scheduler.policies.story import StoryBook

logger = logging.getLogger("prefetch_scheduler.metrics")


class Ledgers:
    """What has been counted. Kept outside the actor, so that a restart loses nothing of it."""

    def __init__(self, accounting: Accounting, stories: StoryBook) -> None:
        self.accounting = accounting
        self.stories = stories


class Metrics(EngineActor):
    """Shell of `Accounting` and `StoryBook`.

    Args:
        publish: tells the host's subscribers of an alert; must not block.
    """

    def __init__(self, home: Home, ledgers: Ledgers, publish: Callable[[Alert], None]) -> None:
        super().__init__(home)
        self._ledgers = ledgers
        self._publish = publish

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
            case ExportQuery(session):
                return accounting.snapshot(session, today=self.home.clock.today())
            case AlertsQuery():
                return accounting.alerts()
            case _:
                assert_never(message)

    def _count(self, message: Events) -> None:
        clock = self.home.clock
        now, wall, today = clock.now(), clock.wall(), clock.today()
        for event in message.events:
            if self.abandoned:  # a host's logging handler hung; a successor counts now
                return
            self._ledgers.stories.handle(event, now, wall)
            for alert in self._ledgers.accounting.handle(event, now, wall, today):
                _log(alert)
                self._publish(alert)


def _log(alert: Alert) -> None:
    if isinstance(alert, AlertRaised):
        text = "session %s: %s is %.2f, past its threshold %g"
        logger.warning(text, alert.session, alert.name, alert.value, alert.threshold)
    else:
        logger.info("session %s: %s is well again", alert.session, alert.name)
