"""Random hosts, sources and mailboxes: what must hold whatever happens, in virtual time."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from prefetch_scheduler.engine.reading import Identity
from prefetch_scheduler.policies.config import CacheRules, Config, Execution, Prefill
from prefetch_scheduler.policies.flights import State
from prefetch_scheduler.policies.planner_events import (
    CancelPlan,
    ContextChanged,
    HostBusy,
    HostIdle,
    PinKey,
    ProjectSwitched,
    SessionEnded,
    SessionStarted,
    UnpinKey,
    UserLoggedIn,
)
from prefetch_scheduler.policies.prediction import Terms
from prefetch_scheduler.policies.slots import pool_capacity
from prefetch_scheduler.policies.vocabulary import Mode, Pool, Priority, Urgency
from support.restless import KEYS, ROLES, SOURCES, RestlessWorld
from support.virtual import p

SESSIONS = ("s", "t")
BATCHES = 10
EXAMPLES = 300
STEPS = 45

SHORT = Execution(
    load_timeout_s=3.0,
    start_expiry_s=5.0,
    demand_slots=1,
    demand_stuck_ms=250.0,
    max_source_concurrency=2,
    max_stuck_per_source=2,
    background_max_pending=2,
    background_max_concurrent=1,
    eager_max_concurrent=2,
    max_background_tokens=600,
    prefetch_remote=True,
)
CONFIGS = (
    Config(),
    Config(pins=("file:a", "mail:a"), prefill=Prefill(session_start=("file:b", "tool:a"))),
    Config(
        execution=SHORT,
        max_concurrent_fetches=3,
        max_background_queue=2,
        hot_cache_size=2,
        warm_cache_size=2,
        cold_cache_size=2,
        pins=("skill:a",),
        prefill=Prefill(
            session_start=("file:c", "doc:a"),
            project_switch={"x": ("db:a",)},
            user_login={"ann": ("mail:b",)},
        ),
        cache=CacheRules(hot_ttl_s=1.0, warm_ttl_s=2.0, cold_ttl_s=5.0, unread_background_s=0.5),
    ),
    Config(cancel_on_context_change=False, execution=Execution(load_timeout_s=0.2)),
    Config(enable_speculative_prefetch=False, pins=("file:a",), max_concurrent_fetches=1),
    Config(enable_batch_fetching=False, hot_cache_size=1, warm_cache_size=1, cold_cache_size=1),
)

Step = Callable[[RestlessWorld], object]


# ---- what a host does ------------------------------------------------------------------------


def _predictions(rng: random.Random) -> list[Any]:
    return [
        p(
            rng.choice((*KEYS, "none:x")),
            rng.choice(ROLES),
            rng.choice((0.3, 0.55, 0.7, 0.85, 0.95)),
            tokens=rng.choice((None, None, 0, 10, 400, 5000)),
            load_s=rng.choice((None, None, 0.0, 3.0)),
            value=rng.choice((None, None, 0.0, 5.0)),
        )
        for _ in range(rng.choice((0, 1, 3, 6, 15, 25)))
    ]


def _terms(rng: random.Random) -> Terms:
    return Terms(
        urgency=rng.choice(list(Urgency)),
        mode=rng.choice(list(Mode)),
        token_budget=rng.choice((None, None, 0, 50, 1000, 100_000)),
        time_budget_ms=rng.choice((None, None, 0, 100, 10_000)),
        override_all=rng.choice((None, None, None, None, *Priority)),
        override={rng.choice(KEYS): rng.choice(list(Priority))} if rng.random() < 0.2 else {},
    )


def _submit(rng: random.Random) -> Step:
    items, terms = _predictions(rng), _terms(rng)
    session, context = rng.choice(SESSIONS), rng.choice((None, None, "one", "two"))
    return lambda w: w.submit(items, terms, session=session, context=context)


def _read(rng: random.Random) -> Step:
    key, session = rng.choice(KEYS), rng.choice(SESSIONS)
    patience = rng.choice((0.0, 0.05, 30.0, 1e6, 1e6, 1e6))
    return lambda w: w.get(key, session, patience)


def _edit(rng: random.Random) -> Step:
    key = rng.choice([key for key in KEYS if "#" not in key])
    session, hand_over = rng.choice(SESSIONS), rng.random() < 0.3
    return lambda w: w.edit(key, session, hand_over=hand_over)


def _edit_unseen(rng: random.Random) -> Step:
    """Behind the engine's back; a source that cannot see it is told."""
    key = rng.choice([key for key in KEYS if "#" not in key])
    return lambda w: w.edit(
        key, "s", hand_over=False, told=key.partition(":")[0] not in w.checked_kinds
    )


def _edit_all(rng: random.Random) -> Step:
    prefix, session = rng.choice(("file:", "file:a", "skill:", "mail:")), rng.choice(SESSIONS)
    return lambda w: w.edit_all(prefix, session)


def _tell(rng: random.Random) -> Step:
    session, key = rng.choice(SESSIONS), rng.choice(KEYS)

    def step(w: RestlessWorld) -> None:
        if isinstance(event, SessionEnded):
            who = w.session_of(session)
            who.identity = Identity()
        w.tell(event)

    event = rng.choice(
        (
            ContextChanged(session, rng.choice(("one", "two", "three"))),
            SessionStarted(session, rng.choice((None, "x")), None),
            SessionEnded(session),
            ProjectSwitched(session, "x"),
            HostBusy(),
            HostIdle(),
            HostIdle(),
            PinKey(session, key),
            UnpinKey(session, key),
        )
    )
    return step


def _log_in(rng: random.Random) -> Step:
    session, user = rng.choice(SESSIONS), rng.choice(("ann", "bob"))

    def step(w: RestlessWorld) -> None:
        who = w.session_of(session)
        who.identity = Identity(user)
        w.tell(UserLoggedIn(session, user))

    return step


def _take_back(rng: random.Random) -> Step:
    which = rng.random()

    def step(w: RestlessWorld) -> None:
        if w.handles:
            w.tell(CancelPlan(w.handles[int(which * len(w.handles))]), "cancels")

    return step


def _wait(rng: random.Random) -> Step:
    seconds = rng.choice((0.0, 0.001, 0.03, 0.06, 0.3, 1.0, 6.0, 40.0))
    return lambda w: w.run(seconds)


def _crash(rng: random.Random) -> Step:
    pool = rng.choice(list(Pool))
    return lambda w: w.crash(pool) if w.crashing else None


CHOICES = (
    *[_submit] * 6,
    *[_read] * 8,
    *[_edit] * 2,
    _edit_unseen,
    _edit_all,
    *[_tell] * 3,
    _log_in,
    _take_back,
    *[_wait] * 9,
    _crash,
)


# ---- what must hold ----------------------------------------------------------------------------


def limits_hold(w: RestlessWorld) -> None:
    """Slots, by what the pools really run (decision D16); sources, by what the planner counts."""
    running = {pool: machine.counts()["running"] for pool, machine in w.pools.items()}
    run = w.config.execution
    total = w.config.max_concurrent_fetches
    prefetching = sum(count for pool, count in running.items() if pool is not Pool.DEMAND)
    assert prefetching <= total, running
    assert running[Pool.P2] <= run.eager_max_concurrent, running
    assert running[Pool.P3] <= run.background_max_concurrent, running
    assert running[Pool.P2] + running[Pool.P3] <= total - w.config.reserved_slots, running
    assert running[Pool.DEMAND] <= run.demand_slots + total, running
    assert sum(running.values()) <= run.demand_slots + total, running
    assert w.pools[Pool.P3].counts()["waiting"] <= run.background_max_pending
    assert w.planner.state.queue.length(Pool.P3) <= w.config.max_background_queue
    flights = w.planner.state.flights
    for info in w.sources:
        working = flights.running_at(info.id) - flights.stuck_at(info.id)
        assert working <= (info.max_concurrency or 1000), f"{info.name}: {working} at once"


def at_rest(w: RestlessWorld) -> None:
    """Nothing is under way any more but loads that never end."""
    state = w.planner.state
    hanging = {r.id for n in w.hanging for r in w.code[n].run.requests}
    for flight in state.flights.live.values():
        holders = state.flights.at_source.get(flight.source.id, set())
        limit = flight.source.max_concurrency or w.config.execution.max_source_concurrency
        assert flight.state is State.QUEUED, f"live: {flight}"
        assert not flight.waiters, f"waited for: {flight}"
        assert len(holders & hanging) >= limit, f"live: {flight}"
    assert not state.pending
    assert not state.crossing
    assert not state.made
    assert all(not ids for ids in state.slots.claims.values()), state.slots.claims
    assert state.slots.permits == 0
    capacity = {pool: pool_capacity(w.config, pool) for pool in Pool}
    assert state.slots.credits == capacity
    assert set(w.code) == w.hanging
    if not w.crashing:
        for machine in w.pools.values():
            assert set(machine.counts()) == {"waiting", "running", "late", "dropped"}
        counts = Counter[str]()
        for machine in w.pools.values():
            counts.update(machine.counts())
        assert counts == {"waiting": 0, "running": 0, "late": 0, "dropped": len(hanging)}
        held = set().union(*state.flights.at_source.values())
        assert held == hanging, f"source slots held: {held}, code that never ends: {hanging}"
    assert set(state.flights.by_id) <= hanging | set(state.flights.live_ids())
    assert not state.expanding
    assert not len(w._published.board), w._published.board.marks()


def everyone_was_answered(w: RestlessWorld) -> None:
    for reading in w.readings:
        assert reading.done, f"{reading.key}, asked for at {reading.asked_at}, was never answered"
    for number, handle in enumerate(w.handles):
        assert handle.plan is not None, f"submit {number}: no plan"
        waiting = any(
            plan.ticket is handle and plan.outstanding & set(w.planner.state.flights.live)
            for plan in w.planner.state.plans.values()
        )
        told = handle.immediate is not None
        assert told or waiting, f"submit {number}: nothing of its urgent items"


def figures_add_up(w: RestlessWorld) -> None:
    total = w.accounting.snapshot()
    assert total.engine is not None
    # A session that ends twice, or was never heard of, is the host's doing.
    assert set(total.engine.anomalies) <= {"unknown_session"}, total.engine.anomalies
    counts = total.counts
    forsaken = sum(reading.forsaken for reading in w.readings)
    assert len(w.readings) - forsaken <= counts.reads <= len(w.readings)
    unread = {e.prefetch_id for e in w.view.values() if e.first_read}
    assert total.open == len(unread), f"{total.open} open prefetches, {len(unread)} unread entries"
    assert counts.prefetches == counts.ended + total.open
    assert {stored: e.tokens for stored, e in w.view.items()} == {
        stored: w.layers._residents.nodes[stored].entry.tokens
        for stored in w.layers._residents.nodes
    }
    resident = set(w.planner.state.resident)
    assert resident == set(w.view), f"planner: {resident - set(w.view)}, {set(w.view) - resident}"


def script_of(seed: int) -> list[Step]:
    rng = random.Random(seed)
    return [rng.choice(CHOICES)(rng) for _ in range(rng.choice((5, 15, STEPS)))]


def play(seed: int, script: list[Step]) -> None:
    rng = random.Random(seed + 1_000_000_007)
    w = RestlessWorld(
        sources=SOURCES,
        config=rng.choice(CONFIGS),
        rng=rng,
        checked_kinds=rng.choice((frozenset(), frozenset({"file", "skill"}))),
        error_rate=rng.choice((0.0, 0.15, 0.5)),
        hang_rate=rng.choice((0.0, 0.0, 0.03)),
        crashing=rng.random() < 0.2,
    )
    w.checks = [limits_hold] if not w.crashing else []
    for step in script:
        step(w)
        w.check()
    w.rest()
    w.check()
    everyone_was_answered(w)
    at_rest(w)
    figures_add_up(w)


def shortest(seed: int, script: list[Step]) -> list[int]:
    """Places of the steps that are enough to fail: as many as possible are left out in turn."""

    def fails(places: list[int]) -> bool:
        try:
            play(seed, [script[place] for place in places])
        except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
            return True
        return False

    places, size = list(range(len(script))), len(script)
    while size := size // 2:
        start = 0
        while start < len(places):
            fewer = places[:start] + places[start + size :]
            if fails(fewer):
                places = fewer
            else:
                start += size
    return places


@pytest.mark.parametrize("batch", range(BATCHES))
def test_whatever_happens_every_reader_is_served_and_nothing_is_left(batch: int) -> None:
    for seed in range(batch, EXAMPLES, BATCHES):
        script = script_of(seed)
        try:
            play(seed, script)
        except Exception as error:
            error.add_note(f"seed {seed}; enough: steps {shortest(seed, script)}")
            raise
