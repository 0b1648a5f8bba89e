"""The planner's state machine: events and the time in, effects out.

Not to be confused with `planning`, which makes one plan from given candidates. This machine owns
the queues, the flights, the sessions and their contexts; see `planner_state` for how its rules
are grouped. It is told the time and never asks for it; `next_deadline` says when it wants to be
told again.
"""

from itertools import islice
from typing import assert_never

from prefetch_scheduler.policies import (
    changing,
    demanding,
    dispatching,
    following,
    loading,
    reloading,
    submitting,
)
from prefetch_scheduler.policies.cache_events import CacheReport
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.flights import State
from prefetch_scheduler.policies.planner_events import (
    CancelKey,
    CancelPlan,
    ContextChanged,
    Demand,
    Forsake,
    HostBusy,
    HostIdle,
    PinKey,
    PlannerEffect,
    PlannerEvent,
    PlannerTick,
    ProjectSwitched,
    Revalidate,
    SessionEnded,
    SessionStarted,
    Submit,
    UnpinKey,
    UserLoggedIn,
)
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.pool_events import Expanded, PoolReport, Surveyed
from prefetch_scheduler.policies.source_info import SourceTable
from prefetch_scheduler.policies.vocabulary import Pool


class PlannerMachine:
    """Decides what is loaded, when, and for whom.

    Args:
        incarnation: which planner of its engine it is; flights of different ones differ in number.
    """

    def __init__(self, config: Config, table: SourceTable, incarnation: int = 1) -> None:
        self.state = PlannerState(config, table)
        self.state.flights.last_id = (incarnation - 1) << 40

    def handle(
        self, event: PlannerEvent, now: float, *, wall: float = 0.0, today: int = 0
    ) -> list[PlannerEffect]:
        """Take in one event at engine time `now` (seconds); returns effects in order.

        `wall` (seconds since the epoch) and `today` (ordinal of the local day) only label things.
        """
        s = self.state
        s.now, s.wall, s.today = now, wall, today
        self._on(event, now)
        if isinstance(event, PlannerTick):
            submitting.draft(s)
        dispatching.pump(s, now)
        submitting.publish_plans(s)
        effects, s.out = s.out, []
        return effects

    def _on(self, event: PlannerEvent, now: float) -> None:
        s = self.state
        match event:
            case Demand():
                demanding.on_demand(s, event, now)
            case PoolReport():
                loading.on_pool_report(s, event, now)
            case CacheReport():
                changing.on_cache_report(s, event, now)
            case Submit():
                if event.context is not None:
                    changing.on_context_changed(
                        s, ContextChanged(event.session, event.context), now
                    )
                submitting.on_submit(s, event, now)
            case Surveyed():
                submitting.on_surveyed(s, event)
            case Expanded():
                following.on_expanded(s, event, now)
            case PlannerTick():
                self._tick(now)
            case Forsake():
                demanding.on_forsake(s, event)
            case Revalidate():
                reloading.on_revalidate(s, event, now)
            case CancelPlan():
                changing.on_cancel_plan(s, event)
            case CancelKey():
                changing.on_cancel_key(s, event)
            case ContextChanged():
                changing.on_context_changed(s, event, now)
            case SessionStarted():
                changing.on_session_started(s, event, now)
            case SessionEnded():
                changing.on_session_ended(s, event)
            case ProjectSwitched():
                changing.on_project_switched(s, event.session, event.project, now)
            case UserLoggedIn():
                changing.on_user_logged_in(s, event.session, event.user, now)
            case HostBusy():
                s.host_busy = True
            case HostIdle():
                s.host_busy = False
            case PinKey():
                changing.on_pin(s, event, now)
            case UnpinKey():
                changing.on_unpin(s, event)
            case _:
                assert_never(event)

    def _tick(self, now: float) -> None:
        submitting.plan_overdue(self.state, now)
        changing.cross_overdue(self.state, now)
        dispatching.expire_unstarted(self.state, now)

    @property
    def drafting(self) -> bool:
        """Whether a large plan is being made in steps: one for each `PlannerTick`."""
        return bool(self.state.drafts)

    def next_deadline(self) -> float | None:
        """The engine time at which `PlannerTick` is wanted, or None."""
        s = self.state
        if s.drafts:
            return s.now
        due = [pending.deadline for pending in s.pending.values()]
        due.extend(islice(s.crossing.values(), 1))
        start = dispatching.next_start(s)
        if start is not None:
            due.append(start)
        return min(due, default=None)

    # ---- looking in -----------------------------------------------------------------------

    def queue_lengths(self) -> dict[Pool, int]:
        """How many flights wait in each of the planner's queues."""
        return {pool: self.state.queue.length(pool) for pool in Pool}

    def check(self) -> None:
        """Raise AssertionError where an invariant of the state does not hold."""
        s = self.state
        config = s.config
        slots = s.slots
        prefetching = slots.permits + sum(
            len(slots.claims[pool]) for pool in (Pool.P0, Pool.P1, Pool.P2)
        )
        assert prefetching <= config.max_concurrent_fetches, "prefetch slots overdrawn"
        assert 0 <= slots.permits <= config.execution.background_max_concurrent, "permits"
        assert len(slots.claims[Pool.P2]) <= config.execution.eager_max_concurrent, "eager"
        for stored, flight in s.flights.live.items():
            assert flight.stored == stored, f"{stored}: filed under another key"
            assert s.flights.by_id.get(flight.id) is flight, f"{stored}: not filed by number"
            queued = flight in s.queue
            assert queued == (flight.state.name == "QUEUED"), f"{stored}: {flight.state}, {queued=}"
            for session in flight.wants:
                assert flight in s.flights.wanted_by(session), f"{stored}: not filed by {session}"
            if flight.state is State.HANDED:
                standing_by = flight.id in slots.standby[flight.pool]
                assert standing_by or id(flight) in s.flights.handed, stored
                assert standing_by == flight.standby, stored
        background = [f for f in s.queue.queued(Pool.P3) if not f.waiters]
        oldest = s.unstarted.first()
        assert all(oldest is not None and oldest.created_at <= f.created_at for f in background)
        assert all(value >= 0 for value in slots.credits.values()), "credits overdrawn"
        crossing = list(s.crossing.values())
        assert crossing == sorted(crossing), "a change of context before an earlier one"
