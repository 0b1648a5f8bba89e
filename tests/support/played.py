"""Playing a fault schedule in virtual time, and what must hold when it is over."""

import random
from collections import Counter
from collections.abc import Callable
from typing import assert_never

from prefetch_scheduler.engine.reading import Identity
from prefetch_scheduler.policies.errors import LoadTimeout, ResourceUnavailable
from prefetch_scheduler.policies.flights import State
from prefetch_scheduler.policies.keys import public_key
from prefetch_scheduler.policies.planner_events import CancelPlan, SessionEnded, UserLoggedIn
from prefetch_scheduler.policies.prediction import Terms
from prefetch_scheduler.policies.slots import pool_capacity
from prefetch_scheduler.policies.vocabulary import Pool
from support.restless import SOURCES, RestlessWorld, base
from support.schedules import (
    CONFIGS,
    QUICK_CONFIGS,
    CrashStep,
    EditAllStep,
    EditStep,
    FloodStep,
    FreezeStep,
    LogInStep,
    ReadStep,
    Schedule,
    StallStep,
    Step,
    SubmitStep,
    TakeBackStep,
    TellStep,
    WaitStep,
)
from support.shells import Point
from support.virtual import p


def play(played: Schedule, told_of: Callable[[str], object] | None = None) -> RestlessWorld:
    """Play a schedule. Raises AssertionError, or whatever the machines raise, where it fails.

    Args:
        told_of: told of everything that happens, a line for each.
    """
    habits = played.habits
    w = RestlessWorld(
        sources=SOURCES,
        config=(*CONFIGS, *QUICK_CONFIGS)[played.config],
        rng=random.Random(played.seed + 1_000_000_007),
        checked_kinds=frozenset(habits.checked_kinds),
        error_rate=habits.error_rate,
        hang_rate=habits.hang_rate,
        deaf_rate=habits.deaf_rate,
        quick=habits.quick,
        crashing=played.violent,
        kills=played.kills,
        told_of=told_of,
    )
    for step in played.steps:
        w.trace("host", step)
        take(w, step)
        w.check()
        if not w.crashing:
            limits_hold(w)
    w.rest()
    w.check()
    everyone_was_answered(w)
    at_rest(w)
    nothing_stale(w)
    figures_add_up(w)
    healthy(w)
    return w


def take(w: RestlessWorld, step: Step) -> None:
    """One step of the host, or one that something breaks in."""
    match step:
        case SubmitStep(items, terms, session, context):
            w.submit(items, terms, session=session, context=context)
        case ReadStep(key, session, patience):
            w.get(key, session, patience)
        case EditStep(key, session, hand_over, told):
            sees = key.partition(":")[0] in w.checked_kinds
            w.edit(key, session, hand_over=hand_over, told=told or not sees)
        case EditAllStep(prefix, session):
            w.edit_all(prefix, session)
        case TellStep(event):
            if isinstance(event, SessionEnded):
                w.session_of(event.session).identity = Identity()
            w.tell(event)
        case LogInStep(session, user):
            w.session_of(session).identity = Identity(user)
            w.tell(UserLoggedIn(session, user))
        case TakeBackStep(which):
            if w.handles:
                w.tell(CancelPlan(w.handles[int(which * len(w.handles))]), "cancels")
        case WaitStep(seconds):
            w.run(seconds)
        case FreezeStep(seconds):
            w.freeze(seconds)
        case StallStep(role, seconds):
            w.stall(role, seconds)
        case FloodStep(key, session, count):
            for number in range(count):
                if number % 2:
                    w.submit((p(key, "main_file"),), Terms(), session=session, context=None)
                else:
                    w.edit(key, session, hand_over=False)
        case CrashStep(role, backlog):
            w.stall(role, backlog)
            w.run(backlog * 0.9)
            w.crash(role)
        case _:
            assert_never(step)


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
    assert not any(flight.standby for flight in state.flights.by_id.values())
    assert not any(state.slots.standby.values())
    assert not any(machine.follows_on for machine in w.pools.values())
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
    assert not w.planner_kept.asked, w.planner_kept.asked
    assert not any(shell.address.inbox.fill()[0] for shell in w.shells.values())


def nothing_stale(w: RestlessWorld) -> None:
    """What is kept is what its resource is, where a reader would be given it unasked."""
    for stored, entry in w.view.items():
        if public_key(stored).partition(":")[0] in w.checked_kinds:
            continue
        version = str(entry.content.value).rpartition("@")[2]
        truth = w.versions.get(base(stored), 0)
        assert int(version) == truth, f"kept of {stored!r}: {entry.content.value!r}, not {truth}"


def everyone_was_answered(w: RestlessWorld) -> None:
    for reading in w.readings:
        assert reading.done, f"{reading.key}, asked for at {reading.asked_at}, was never answered"
        if isinstance(reading.result, BaseException):  # not: an internal error of the engine
            assert isinstance(reading.result, ResourceUnavailable | LoadTimeout), reading.result
    for number, handle in enumerate(w.handles):
        assert handle.plan is not None or handle.error is not None, f"submit {number}: no plan"
        waiting = any(
            plan.ticket is handle and plan.outstanding & set(w.planner.state.flights.live)
            for plan in w.planner.state.plans.values()
        )
        told = handle.immediate is not None
        assert told or waiting, f"submit {number}: nothing of its urgent items"
        if not w.crashing:
            assert handle.times_planned == 1, f"submit {number}: told of its plan again"
            assert handle.times_told <= 1, f"submit {number}: told of its urgent items again"


def figures_add_up(w: RestlessWorld) -> None:
    assert w.accounting.check() == ()
    total = w.accounting.snapshot()
    counts = total.counts
    assert counts.prefetches == counts.ended + total.open
    resident = set(w.planner.state.resident)
    assert resident == set(w.view), f"planner: {resident - set(w.view)}, {set(w.view) - resident}"
    assert {stored: e.tokens for stored, e in w.view.items()} == {
        stored: node.entry.tokens for stored, node in w.layers._residents.nodes.items()
    }
    if any(kill.role == "metrics" and kill.point is Point.BEFORE for kill, _ in w.killer.done):
        return  # what the message that killed it would have counted is lost
    assert total.engine is not None
    # A session that ends twice, or was never heard of, is the host's doing.
    assert set(total.engine.anomalies) <= {"unknown_session"}, total.engine.anomalies
    forsaken = sum(reading.forsaken for reading in w.readings)
    assert len(w.readings) - forsaken <= counts.reads <= len(w.readings)
    unread = {e.prefetch_id for e in w.view.values() if e.first_read}
    # Its first source failed, and the next one is full of loads that never end.
    waiting = [f for f in w.planner.state.flights.live.values() if f.prefetch_id and not f.used]
    known = f"{len(unread)} unread entries and {len(waiting)} that wait for another source"
    assert total.open == len(unread) + len(waiting), f"{total.open} open prefetches, {known}"


def healthy(w: RestlessWorld) -> None:
    """Every actor runs, and those that failed did so only where they were made to."""
    for shell in w.shells.values():
        assert shell.idle, f"{shell.role} does not run"
        for error in shell.failures:
            assert "killed" in error or "Killed" in error, f"{shell.role} failed: {error}"
