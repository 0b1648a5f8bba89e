import json

import pytest
import yaml

from prefetch_scheduler.engine.exports import predictor_feedback, skill_analytics, to_yaml
from prefetch_scheduler.policies.accounting import Accounting
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.metrics_events import (
    DemandLoaded,
    KeysRead,
    LateHit,
    MetricsEvent,
    Miss,
    Predicted,
    PrefetchCancelled,
    PrefetchFailed,
    PrefetchLoaded,
    PrefetchStarted,
    PrefetchUsed,
    PrefetchWasted,
    SessionClosed,
    SessionOpened,
)
from prefetch_scheduler.policies.vocabulary import Cause


def started(id_: int, key: str) -> PrefetchStarted:
    return PrefetchStarted(id_, "s", key, Cause.PREDICTION, 100)


STORY: tuple[MetricsEvent, ...] = (
    SessionOpened("s", "shop", "anna"),
    Predicted("s", ("skill:a", "skill:b", "file:c", "file:d", "file:e", "file:f", "file:g")),
    started(1, "skill:a"),
    PrefetchLoaded(1, 120, 0.2),
    LateHit("s", "skill:a"),
    PrefetchUsed(1, "s", 0.1),
    started(2, "skill:a#meta"),
    PrefetchLoaded(2, 30, 0.1),
    PrefetchWasted(2, "evicted"),
    started(3, "skill:b"),
    PrefetchCancelled(3, "context_changed"),
    started(4, "file:c"),
    PrefetchUsed(4, "s"),
    started(5, "file:g"),
    PrefetchFailed(5, "gone"),
    Miss("s", "file:d", True, "queue_full"),
    KeysRead("s", ("file:e",)),
    Miss("s", "skill:z", False),
    DemandLoaded("s", "skill:z", 55, 0.5),
)


@pytest.fixture
def accounting() -> Accounting:
    accounting = Accounting(Config())
    for event in STORY:
        accounting.handle(event, 0.0, 0.0, 1)
    return accounting


def test_each_skill_is_told_with_all_its_tiers(accounting: Accounting):
    (session,) = skill_analytics([accounting.snapshot("s")])["skill_analytics"]["sessions"]
    assert (session["session"], session["project"], session["user"]) == ("s", "shop", "anna")
    a, b, z = session["skills"]
    assert a == {
        "skill_id": "a",
        "prefetched": 2,
        "used": 1,
        "wasted": 1,
        "failed": 0,
        "late_hits": 1,
        "misses": 0,
        "tokens_prefetched": 150,
        "tokens_used": 120,
        "tokens_wasted": 30,
        "tokens_demand_loaded": 0,
        "loads": 2,
        "load_s_total": 0.3,
        "load_s_mean": 0.15,
        "load_s_max": 0.2,
    }
    assert (b["wasted"], b["tokens_wasted"], b["load_s_mean"]) == (1, 100, None)
    assert (z["prefetched"], z["misses"], z["tokens_demand_loaded"]) == (0, 1, 55)


def test_skill_analytics_carry_the_session_report(accounting: Accounting):
    (session,) = skill_analytics([accounting.snapshot("s")])["skill_analytics"]["sessions"]
    assert session["prefetch_report"] == accounting.report("s").body()


def test_feedback_sorts_the_keys_by_what_became_of_them(accounting: Accounting):
    accounting.handle(SessionClosed("s"))
    (session,) = predictor_feedback([accounting.snapshot("s")])["predictor_feedback"]["sessions"]
    used = {item["key"]: item["prefetched"] for item in session["predicted_and_used"]}
    assert used == {"skill:a": True, "file:c": True, "file:d": False, "file:e": False}
    unused = {item["key"]: item["reason"] for item in session["predicted_and_not_used"]}
    assert unused == {
        "skill:a#meta": "wasted: evicted",
        "skill:b": "cancelled: context_changed",
        "file:f": "never read",
        "file:g": "gone",
    }
    assert session["needed_and_not_predicted"] == [{"key": "skill:z", "reason": "not_predicted"}]
    assert session["pending"] == []
    assert session["totals"] == {
        "keys_predicted": 7,
        "prefetched_and_used": 2,
        "prefetched_and_not_used": 2,
        "predicted_and_missed": 1,
        "needed_and_not_predicted": 1,
    }


def test_what_nobody_has_read_yet_is_pending_while_the_session_lives(accounting: Accounting):
    (session,) = predictor_feedback([accounting.snapshot("s")])["predictor_feedback"]["sessions"]
    assert set(session["pending"]) == {"file:f", "file:g"}
    assert {item["key"] for item in session["predicted_and_not_used"]} == {
        "skill:a#meta",
        "skill:b",
    }


@pytest.mark.parametrize("export", [skill_analytics, predictor_feedback])
def test_exports_are_plain_data(accounting: Accounting, export):
    data = export([accounting.snapshot("s"), accounting.snapshot()])
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert yaml.safe_load(to_yaml(data)) == data
