import pytest
from attrs import evolve

from prefetch_scheduler.policies.accounting import MAX_NAMES, OTHER, Accounting
from prefetch_scheduler.policies.config import Config, MetricRules
from prefetch_scheduler.policies.counts import MAX_DAYS
from prefetch_scheduler.policies.ledger import EARLY, RECENT
from prefetch_scheduler.policies.metrics_events import (
    BudgetGranted,
    DemandLoaded,
    Dropped,
    EntryRemoved,
    Hits,
    Joined,
    KeysRead,
    LateHit,
    MetricsEvent,
    Miss,
    P0NotResident,
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
from prefetch_scheduler.policies.outcomes import MAX_PREDICTED, Verdict
from prefetch_scheduler.policies.session_accounts import KEPT_SESSIONS
from prefetch_scheduler.policies.skill_use import MAX_SKILLS, OTHERS
from prefetch_scheduler.policies.vocabulary import Cause, RemovalCause

DAY = 700_000


def told(
    *events: MetricsEvent, accounting: Accounting | None = None, today: int = DAY
) -> Accounting:
    accounting = accounting or Accounting(Config())
    for event in events:
        accounting.handle(event, 1.0, 1e9, today)
        assert accounting.check() == ()
    return accounting


def started(
    id_: int,
    key: str = "file:a",
    *,
    session: str = "s",
    tokens: int = 100,
    cause: Cause = Cause.PREDICTION,
) -> PrefetchStarted:
    return PrefetchStarted(id_, session, key, cause, tokens)


def keys_in(accounting: Accounting, verdict: Verdict, session: str | None = "s") -> list[str]:
    return [outcome.key for outcome in accounting.snapshot(session).outcomes[verdict]]


def test_each_ending_is_counted_once_and_the_rest_is_open():
    accounting = told(
        *(started(i, f"file:{i}") for i in range(1, 6)),
        PrefetchUsed(1, "s"),
        PrefetchWasted(2, "evicted"),
        PrefetchCancelled(3, "context_changed"),
        PrefetchFailed(4, "no such file"),
    )
    for session in ("s", None):
        snapshot = accounting.snapshot(session)
        c = snapshot.counts
        assert (c.prefetches, c.used, c.wasted, c.cancelled, c.failed) == (5, 1, 1, 1, 1)
        assert (snapshot.open, snapshot.open_tokens) == (1, 100)
        assert (c.tokens_used, c.tokens_wasted, c.tokens_failed) == (100, 200, 100)


@pytest.mark.parametrize(
    "second", [PrefetchUsed(1, "s"), PrefetchWasted(1, "x"), PrefetchCancelled(1, "x")]
)
def test_a_second_ending_is_an_anomaly_and_changes_nothing(second: MetricsEvent):
    accounting = told(started(1), PrefetchWasted(1, "evicted"))
    before = accounting.snapshot("s")
    told(second, accounting=accounting)
    assert accounting.snapshot("s") == before
    assert accounting.snapshot().engine.anomalies == {"ended_twice": 1}


def test_a_number_started_twice_is_one_prefetch():
    accounting = told(started(1), started(1), PrefetchUsed(1, "s"), started(1))
    assert accounting.snapshot().counts.prefetches == 1
    assert accounting.snapshot().engine.anomalies == {"started_twice": 2}


def test_the_real_size_replaces_the_estimate_before_and_after_the_ending():
    accounting = told(
        started(1, tokens=100),
        PrefetchLoaded(1, 130, 0.5),
        PrefetchUsed(1, "s"),
        started(2, tokens=100),
        PrefetchUsed(2, "s", 0.2),
        PrefetchLoaded(2, 70, 0.5),
        started(3, tokens=100),
        PrefetchCancelled(3, "overtaken"),
        PrefetchLoaded(3, 40, 0.5),
    )
    c = accounting.snapshot("s").counts
    assert (c.tokens_prefetched, c.tokens_used, c.tokens_wasted) == (240, 200, 40)
    assert c.latency_saved_s == pytest.approx(0.5 + 0.3)


def test_a_start_told_with_its_end_counts_as_both():
    start = PrefetchStarted(1, "s", "skill:a", Cause.PREDICTION, 100, "main_file")
    for endings in ((), (PrefetchUsed(1, "s", 0.1),), (PrefetchWasted(1, "evicted"),)):
        apart = told(start, PrefetchLoaded(1, 130, 0.5), *endings)
        at_once = told(evolve(start, loaded=130, load_s=0.5), *endings)
        for session in ("s", None):
            assert at_once.snapshot(session) == apart.snapshot(session)


def test_an_end_that_was_told_before_a_start_that_has_been_loaded_still_counts():
    start = PrefetchStarted(1, "s", "file:a", Cause.PREDICTION, 100, loaded=130, load_s=0.5)
    counts = told(PrefetchUsed(1, "s", 0.1), start).snapshot("s").counts
    assert (counts.used, counts.tokens_used, counts.tokens_prefetched) == (1, 130, 130)
    assert counts.days == {DAY: pytest.approx(0.4)}


def test_a_size_that_cannot_be_is_an_anomaly():
    accounting = told(
        started(1),
        PrefetchLoaded(1, 10, 0.1),
        PrefetchLoaded(1, 20, 0.1),
        started(2),
        PrefetchFailed(2, "gone"),
        PrefetchLoaded(2, 20, 0.1),
    )
    assert accounting.snapshot("s").counts.tokens_prefetched == 110
    assert accounting.snapshot().engine.anomalies == {"loaded_twice": 1, "loaded_after_failure": 1}


def test_what_is_reported_before_the_start_waits_for_it():
    accounting = told(PrefetchLoaded(1, 60, 0.4), PrefetchUsed(1, "s", 0.1))
    assert accounting.snapshot().counts.used == 0
    told(started(1, tokens=100), accounting=accounting)
    c = accounting.snapshot("s").counts
    assert (c.used, c.tokens_used) == (1, 60)
    assert c.latency_saved_s == pytest.approx(0.3)


def test_time_is_saved_for_the_owner_of_the_prefetch_once_and_never_negative():
    accounting = told(
        SessionOpened("reader"),
        started(1, session="owner"),
        PrefetchLoaded(1, 10, 0.8),
        PrefetchUsed(1, "reader", 0.3),
        PrefetchUsed(1, "owner", 0.0),
        started(2, session="owner"),
        PrefetchLoaded(2, 10, 0.8),
        PrefetchUsed(2, "reader", 2.0),
    )
    assert accounting.snapshot("owner").counts.latency_saved_s == pytest.approx(0.5)
    assert accounting.snapshot("reader").counts.latency_saved_s == 0
    assert accounting.snapshot().counts.latency_saved_s == pytest.approx(0.5)


def test_time_is_credited_to_the_day_of_the_first_read_and_old_days_go():
    accounting = told(started(0), PrefetchUsed(0, "s"))
    told(PrefetchLoaded(0, 10, 1.0), accounting=accounting, today=DAY + 1)
    assert accounting.snapshot("s", today=DAY).saved_today_s == 1.0
    assert accounting.snapshot("s").saved_today_s == 0.0
    for day in range(1, 100):
        events = started(day), PrefetchLoaded(day, 10, 1.0), PrefetchUsed(day, "s")
        told(*events, accounting=accounting, today=DAY + day)
    snapshot = accounting.snapshot("s")
    assert snapshot.saved_today_s == 1.0
    assert snapshot.counts.latency_saved_s == 100.0
    assert sorted(snapshot.counts.days) == list(range(DAY + 100 - MAX_DAYS, DAY + 100))


def test_hits_late_hits_joined_and_misses_are_told_apart():
    accounting = told(
        Hits("s", 6), LateHit("s", "file:a"), Joined("s", "file:b"), Miss("s", "file:c", False)
    )
    c = accounting.snapshot("s").counts
    assert (c.hits, c.late_hits, c.joined, c.misses, c.reads) == (6, 1, 1, 1, 9)
    assert c.hit_rate == pytest.approx(6 / 9)


def test_demand_budget_p0_removals_and_drops_are_counted():
    accounting = told(
        BudgetGranted("s", 10_000),
        BudgetGranted("s", 5_000),
        DemandLoaded("s", "file:a", 70, 0.2),
        P0NotResident("s", "file:a"),
        EntryRemoved("file:a", RemovalCause.EVICTED, "s"),
        EntryRemoved("file:b", RemovalCause.EVICTED),
        Dropped("late_result", 3),
    )
    own, whole = accounting.snapshot("s").counts, accounting.snapshot().counts
    assert (own.budget_granted, own.p0_not_resident) == (15_000, 1)
    assert (own.demand_loads, own.tokens_demand_loaded, own.demand_load_s) == (1, 70, 0.2)
    assert (own.removals, whole.removals) == ({"evicted": 1}, {"evicted": 2})
    assert whole.dropped == {"late_result": 3}


def test_what_was_cancelled_or_outlived_its_session_is_counted_by_that_name():
    accounting = told(
        *(PrefetchStarted(n, "s", f"file:{n}", Cause.PREDICTION, 10) for n in (1, 2, 3)),
        PrefetchCancelled(1, "context_changed"),
        PrefetchWasted(2, "session_ended"),
        PrefetchWasted(3, "evicted"),
        EntryRemoved("file:3", RemovalCause.EVICTED, "s"),
    )
    expected = {"cancelled": 1, "session_ended": 1, "evicted": 1}
    assert accounting.snapshot("s").counts.removals == expected
    assert accounting.snapshot().counts.removals == expected
    shown = accounting.report("s").to_dict()["prefetch_report"]["session_summary"]["removals"]
    assert shown == {"replaced": 0, "expired": 0, "invalidated": 0, **expected}


def test_a_key_stands_in_one_list_by_its_latest_outcome():
    accounting = told(
        Predicted("s", ("file:a",)),
        Miss("s", "file:a", True, "start_expired"),
        started(1),
        PrefetchUsed(1, "s"),
    )
    assert keys_in(accounting, Verdict.ACCURATE) == ["file:a"]
    assert keys_in(accounting, Verdict.MISSED) == []
    told(started(2), PrefetchWasted(2, "evicted"), accounting=accounting)
    assert keys_in(accounting, Verdict.ACCURATE) == []
    (wasted,) = accounting.snapshot("s").outcomes[Verdict.WASTED]
    assert wasted.to_dict() == {
        "key": "file:a",
        "predicted": True,
        "used": False,
        "reason": "wasted: evicted",
    }


def test_a_reload_or_prefill_in_vain_says_nothing_against_a_prediction():
    accounting = told(
        started(1),
        PrefetchUsed(1, "s"),
        started(2, cause=Cause.RELOAD),
        PrefetchWasted(2, "session_ended"),
        started(3, "file:b", cause=Cause.PREFILL),
        PrefetchUsed(3, "s"),
    )
    assert keys_in(accounting, Verdict.ACCURATE) == ["file:a"]
    assert keys_in(accounting, Verdict.WASTED) == []
    assert accounting.snapshot("s").counts.wasted == 1
    assert accounting.snapshot("s").counts.causes == {"prediction": 1, "reload": 1, "prefill": 1}


def test_a_joined_read_is_missed_with_what_the_session_had_predicted():
    accounting = told(Predicted("s", ("file:a",)), Joined("s", "file:a"), Joined("s", "file:b"))
    missed = accounting.snapshot("s").outcomes[Verdict.MISSED]
    assert [(m.key, m.predicted) for m in missed] == [("file:b", False), ("file:a", True)]


def test_keys_read_from_the_layers_make_a_prediction_true_and_count_no_hit():
    accounting = told(Predicted("s", ("file:a", "file:b")), KeysRead("s", ("file:a", "file:c")))
    read = {p.key: p.used for p in accounting.snapshot("s").predictions}
    assert read == {"file:a": True, "file:b": False}
    assert accounting.snapshot("s").counts.reads == 0


def test_the_user_of_a_private_source_is_never_shown():
    accounting = told(started(1, "mail:inbox\x00anna"), PrefetchWasted(1, "evicted"))
    assert keys_in(accounting, Verdict.WASTED) == ["mail:inbox"]


def test_numbers_out_of_range_count_as_nothing_and_are_noticed():
    accounting = told(
        Hits("s", -3),
        BudgetGranted("s", -1),
        started(1, tokens=-5),
        PrefetchLoaded(1, -5, float("nan")),
        PrefetchUsed(1, "s", float("inf")),
    )
    c = accounting.snapshot("s").counts
    assert (c.hits, c.budget_granted, c.tokens_prefetched, c.latency_saved_s) == (0, 0, 0, 0)
    assert accounting.snapshot().engine.anomalies == {"out_of_range": 6}


def test_a_prefetch_of_an_ended_session_still_ends_there():
    accounting = told(
        SessionOpened("s", "p", "anna"), started(1), SessionClosed("s"), PrefetchWasted(1, "ended")
    )
    snapshot = accounting.snapshot("s")
    assert (snapshot.ended, snapshot.counts.wasted, snapshot.open) == (True, 1, 0)
    assert (snapshot.project, snapshot.user) == ("p", "anna")


def test_a_session_of_the_same_name_starts_from_nothing_and_the_total_keeps_both():
    accounting = told(SessionOpened("s"), started(1), SessionClosed("s"), SessionOpened("s"))
    assert accounting.snapshot("s").counts.prefetches == 0
    told(PrefetchUsed(1, "s"), accounting=accounting)
    assert accounting.snapshot("s").counts.used == 0
    assert accounting.snapshot().counts.used == 1


def test_what_was_counted_before_a_session_opened_stays_with_it():
    accounting = told(Hits("s", 2), SessionOpened("s"), Hits("s", 1))
    assert accounting.snapshot("s").counts.hits == 3


def test_only_the_latest_ended_sessions_keep_figures_and_the_total_keeps_all():
    accounting = Accounting(Config())
    number = KEPT_SESSIONS + 10
    for i in range(number):
        told(
            SessionOpened(f"s{i}"),
            started(i, session=f"s{i}"),
            Hits(f"s{i}", 1),
            SessionClosed(f"s{i}"),
            accounting=accounting,
        )
    assert accounting.sessions() == tuple(f"s{i}" for i in range(10, number))
    assert accounting.snapshot("s0").counts.hits == 0
    told(*(PrefetchUsed(i, "x") for i in range(number)), accounting=accounting)
    assert accounting.snapshot().counts.hits == number
    assert accounting.snapshot().counts.used == number
    assert accounting.snapshot().engine.sessions_forgotten == 10


def test_a_session_that_was_never_opened_stays_while_it_is_active():
    accounting = told(Hits("active", 1))
    for i in range(2 * KEPT_SESSIONS):
        told(Hits(f"s{i}", 1), Hits("active", 1), accounting=accounting)
    assert accounting.snapshot("active").counts.hits == 2 * KEPT_SESSIONS + 1


def test_closing_an_unknown_session_is_an_anomaly():
    accounting = told(SessionClosed("never"))
    assert accounting.snapshot().engine.anomalies == {"unknown_session": 1}
    assert accounting.sessions() == ()


def test_a_prefetch_that_nobody_ends_is_settled_when_too_many_are_open():
    config = Config(hot_cache_size=1, warm_cache_size=1, cold_cache_size=1)
    accounting = Accounting(config)
    for i in range(5000):
        accounting.handle(started(i, tokens=1))
    snapshot = accounting.snapshot()
    assert snapshot.open == 2 * 3 + 4096
    assert snapshot.counts.wasted == 5000 - snapshot.open
    assert snapshot.engine.anomalies == {"never_ended": snapshot.counts.wasted}
    assert accounting.check() == ()


def test_nothing_grows_beyond_its_bound_in_100_000_events():
    accounting = Accounting(Config(metrics=MetricRules(list_limit=7)))
    for i in range(12_500):
        key, session = f"skill:{i}", f"s{i % 500}"
        for event in (
            Predicted(session, (key,)),
            started(i, key, session=session),
            PrefetchLoaded(i, 10, 0.01),
            PrefetchUsed(i, session) if i % 2 else PrefetchWasted(i, "evicted"),
            Miss(session, f"skill:m{i}", False),
            Dropped(f"name {i}"),
            PrefetchWasted(-1 - i, "never started"),
            SessionClosed(session),
        ):
            accounting.handle(event, 0.0, 0.0, i)
    live, kept, open_, recent, early, *lists, predicted, skills, dropped = accounting.sizes()
    assert (live, kept, open_, recent, early) == (0, KEPT_SESSIONS, 0, RECENT, EARLY)
    assert lists == [7, 7, 7, 0]
    assert (predicted, skills, dropped) == (MAX_PREDICTED, MAX_SKILLS, MAX_NAMES + 1)
    assert accounting.check() == ()
    snapshot = accounting.snapshot()
    assert snapshot.counts.accurate == snapshot.counts.inaccurate == 6250
    assert snapshot.counts.dropped[OTHER] == 12_500 - MAX_NAMES
    assert len(snapshot.counts.days) == MAX_DAYS
    assert sum(use.prefetched for use in snapshot.skills) == 12_500
    assert snapshot.skills[0].skill == OTHERS


def test_a_snapshot_is_not_changed_by_what_comes_later():
    accounting = told(started(1), Dropped("x"))
    snapshot = accounting.snapshot()
    told(PrefetchUsed(1, "s"), Dropped("x"), accounting=accounting)
    assert (snapshot.counts.used, snapshot.counts.dropped, snapshot.open) == (0, {"x": 1}, 1)
