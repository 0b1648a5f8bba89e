"""The accounting against a naive model, under event sequences in any order."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from prefetch_scheduler.policies.accounting import Accounting
from prefetch_scheduler.policies.config import Config
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
from prefetch_scheduler.policies.vocabulary import Cause, RemovalCause

SESSIONS = st.sampled_from(["a", "b", "c"])
KEYS = st.sampled_from(["file:1", "file:2", "skill:x", "skill:x#meta"])
IDS = st.integers(1, 12)
TOKENS = st.integers(0, 500)
SECONDS = st.floats(0, 5)
REASONS = st.just("why")
CAUSES = st.sampled_from([Cause.PREDICTION, Cause.PREFILL, Cause.RELOAD])

ENDINGS = st.one_of(
    st.builds(PrefetchUsed, IDS, SESSIONS, SECONDS),
    st.builds(PrefetchWasted, IDS, REASONS),
    st.builds(PrefetchCancelled, IDS, REASONS),
    st.builds(PrefetchFailed, IDS, REASONS),
)
WHY, LOADED = st.just("why"), st.none() | TOKENS
STARTS = st.builds(PrefetchStarted, IDS, SESSIONS, KEYS, CAUSES, TOKENS, WHY, LOADED, SECONDS)
EVENTS = st.one_of(
    STARTS,
    ENDINGS,
    st.builds(PrefetchLoaded, IDS, TOKENS, SECONDS),
    st.builds(SessionOpened, SESSIONS),
    st.builds(SessionClosed, SESSIONS),
    st.builds(BudgetGranted, SESSIONS, TOKENS),
    st.builds(Predicted, SESSIONS, st.lists(KEYS, max_size=3).map(tuple)),
    st.builds(KeysRead, SESSIONS, st.lists(KEYS, max_size=3).map(tuple)),
    st.builds(Hits, SESSIONS, st.integers(0, 9)),
    st.builds(LateHit, SESSIONS, KEYS),
    st.builds(Joined, SESSIONS, KEYS),
    st.builds(Miss, SESSIONS, KEYS, st.booleans()),
    st.builds(DemandLoaded, SESSIONS, KEYS, TOKENS, SECONDS),
    st.builds(P0NotResident, SESSIONS, KEYS),
    st.builds(EntryRemoved, KEYS, st.sampled_from(RemovalCause), SESSIONS),
    st.builds(Dropped, st.just("late_result")),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=60))
def test_everything_adds_up_after_every_event_of_any_sequence(events: list[MetricsEvent]):
    accounting = Accounting(Config())
    for day, event in enumerate(events):
        accounting.handle(event, 0.0, 0.0, day // 10)
        assert accounting.check() == ()
    for snapshot in (accounting.snapshot(), *map(accounting.snapshot, accounting.sessions())):
        c = snapshot.counts
        assert c.prefetches == c.used + c.wasted + c.cancelled + c.failed + snapshot.open
        listed = [outcome.key for group in snapshot.outcomes.values() for outcome in group]
        assert len(listed) == len(set(listed))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(STARTS, ENDINGS), max_size=60))
def test_the_first_ending_of_each_prefetch_counts_whenever_it_arrives(events: list[MetricsEvent]):
    accounting = Accounting(Config())
    owner: dict[int, str] = {}
    ending: dict[int, str] = {}
    for event in events:
        accounting.handle(event)
        match event:
            case PrefetchStarted():
                owner.setdefault(event.id, event.session)
            case PrefetchUsed() | PrefetchWasted() | PrefetchCancelled() | PrefetchFailed():
                ending.setdefault(event.id, type(event).__name__)
    for session in ("a", "b", "c"):
        ids = [id_ for id_, owned_by in owner.items() if owned_by == session]
        model = Counter(ending.get(id_) for id_ in ids)
        snapshot = accounting.snapshot(session)
        c = snapshot.counts
        assert c.prefetches == len(ids)
        assert c.used == model["PrefetchUsed"]
        assert c.wasted == model["PrefetchWasted"]
        assert c.cancelled == model["PrefetchCancelled"]
        assert c.failed == model["PrefetchFailed"]
        assert snapshot.open == model[None]
