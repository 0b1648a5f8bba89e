from itertools import pairwise

import pytest

from prefetch_scheduler.policies.accounting import Accounting
from prefetch_scheduler.policies.alerts import Alert, AlertCleared, AlertName, AlertRaised
from prefetch_scheduler.policies.config import Config, MetricRules
from prefetch_scheduler.policies.metrics_events import (
    BudgetGranted,
    Hits,
    Joined,
    LateHit,
    MetricsEvent,
    Miss,
    PrefetchCancelled,
    PrefetchFailed,
    PrefetchStarted,
    PrefetchUsed,
    PrefetchWasted,
    SessionClosed,
    SessionOpened,
)
from prefetch_scheduler.policies.session_accounts import KEPT_SESSIONS
from prefetch_scheduler.policies.vocabulary import Cause


def tell(accounting: Accounting, *events: MetricsEvent) -> list[Alert]:
    return [alert for event in events for alert in accounting.handle(event)]


def started(id_: int, tokens: int = 10) -> PrefetchStarted:
    return PrefetchStarted(id_, "s", f"file:{id_}", Cause.PREDICTION, tokens)


@pytest.fixture
def accounting() -> Accounting:
    accounting = Accounting(Config())
    assert tell(accounting, SessionOpened("s")) == []
    return accounting


def test_a_low_hit_rate_is_raised_once_and_cleared_once(accounting: Accounting):
    assert tell(accounting, Hits("s", 1), Miss("s", "file:a", False)) == []  # 0.5 is not below 0.5
    raised = tell(accounting, Miss("s", "file:b", False), Miss("s", "file:c", False))
    assert raised == [AlertRaised(AlertName.HIT_RATE, "s", 1 / 3, 0.5)]
    assert tell(accounting, Hits("s", 1)) == []  # 2 of 5
    assert tell(accounting, Hits("s", 1)) == [AlertCleared(AlertName.HIT_RATE, "s", 0.5, 0.5)]
    assert tell(accounting, Hits("s", 5)) == []


@pytest.mark.parametrize("read", [LateHit("s", "file:a"), Joined("s", "file:a")])
def test_a_late_hit_and_a_joined_read_lower_the_hit_rate(
    accounting: Accounting, read: MetricsEvent
):
    assert tell(accounting, read) == [AlertRaised(AlertName.HIT_RATE, "s", 0.0, 0.5)]


@pytest.mark.parametrize(
    "ending", [PrefetchWasted(1, "x"), PrefetchCancelled(1, "x"), PrefetchFailed(1, "x")]
)
def test_a_low_accuracy_is_raised_and_cleared(accounting: Accounting, ending: MetricsEvent):
    tell(accounting, started(1), started(2))
    assert tell(accounting, ending) == [AlertRaised(AlertName.ACCURACY, "s", 0.0, 0.4)]
    assert tell(accounting, PrefetchUsed(2, "s")) == [
        AlertCleared(AlertName.ACCURACY, "s", 0.5, 0.4)
    ]


def test_a_prefetch_under_way_raises_nothing(accounting: Accounting):
    assert tell(accounting, started(1), PrefetchUsed(1, "s")) == []
    assert tell(accounting, *(started(i) for i in range(2, 50))) == []
    assert accounting.snapshot("s").counts.accuracy == pytest.approx(1 / 49)


def test_wasted_tokens_beyond_the_share_of_the_budget_are_raised_and_cleared(
    accounting: Accounting,
):
    tell(accounting, BudgetGranted("s", 100), *(started(i) for i in range(1, 8)))
    tell(accounting, *(PrefetchUsed(i, "s") for i in range(1, 5)))
    assert tell(accounting, PrefetchWasted(5, "x"), PrefetchWasted(6, "x")) == []  # 0.2 exactly
    assert tell(accounting, PrefetchCancelled(7, "x")) == [
        AlertRaised(AlertName.WASTED, "s", 0.3, 0.2)
    ]
    assert tell(accounting, BudgetGranted("s", 50)) == [
        AlertCleared(AlertName.WASTED, "s", 0.2, 0.2)
    ]


def test_waste_without_a_budget_granted_is_no_rate_and_raises_nothing(accounting: Accounting):
    alerts = tell(accounting, started(1), started(2), PrefetchUsed(2, "s"), PrefetchWasted(1, "x"))
    assert alerts == []


def test_sessions_raise_alerts_apart(accounting: Accounting):
    tell(accounting, Hits("s", 9))
    assert [a.session for a in tell(accounting, Miss("t", "file:a", False))] == ["t"]
    assert list(accounting.alerts()) == ["t"]
    assert accounting.snapshot().engine.sessions_alerting == 1


def test_thresholds_come_from_the_configuration():
    accounting = Accounting(Config(metrics=MetricRules(hit_rate_alert=0.1)))
    assert tell(accounting, Hits("s", 1), *(Miss("s", "file:a", False) for _ in range(9))) == []
    assert tell(accounting, Miss("s", "file:a", False)) == [
        AlertRaised(AlertName.HIT_RATE, "s", 1 / 11, 0.1)
    ]


def test_an_alert_of_a_forgotten_session_is_cleared(accounting: Accounting):
    tell(accounting, Miss("s", "file:a", False), SessionClosed("s"))
    assert list(accounting.alerts()) == ["s"]
    alerts = tell(accounting, *(Hits(f"t{i}", 1) for i in range(KEPT_SESSIONS)))
    assert alerts == [AlertCleared(AlertName.HIT_RATE, "s", None, 0.5)]
    assert accounting.alerts() == {}


def test_a_session_opened_anew_starts_without_the_alerts_of_the_ended_one(accounting: Accounting):
    tell(accounting, Miss("s", "file:a", False), SessionClosed("s"))
    assert tell(accounting, SessionOpened("s")) == [
        AlertCleared(AlertName.HIT_RATE, "s", None, 0.5)
    ]


def test_raised_and_cleared_alternate_for_each_session_and_metric(accounting: Accounting):
    alerts = tell(
        accounting,
        *(e for _ in range(20) for e in (Miss("s", "file:a", False), Hits("s", 1))),
    )
    kinds = [type(alert) for alert in alerts]
    assert kinds[:2] == [AlertRaised, AlertCleared]
    assert all(before is not after for before, after in pairwise(kinds))
