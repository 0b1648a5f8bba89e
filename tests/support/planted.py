"""Faults planted in the engine itself, to show that the schedules find each kind of them."""

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from prefetch_scheduler.actors.kept import PlannerKept
from prefetch_scheduler.actors.view import InvalidationBoard
from prefetch_scheduler.engine.reading import Read, Reader
from prefetch_scheduler.policies import adopting, ending, loading
from prefetch_scheduler.policies.flights import FlightTable, State
from prefetch_scheduler.policies.layers import CacheLayers
from prefetch_scheduler.policies.planner_events import Answer, Refuse
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.pool import PoolMachine
from support import restless

Plant = Callable[[pytest.MonkeyPatch], None]


def stale_read(patch: pytest.MonkeyPatch) -> None:
    """Readers do not look at the board of invalidations."""
    patch.setattr(InvalidationBoard, "newest", lambda self, stored: 0)


def unchecked_read(patch: pytest.MonkeyPatch) -> None:
    """Readers do not ask the source whether content is current."""
    patch.setattr(restless.Registry, "_check", lambda self, info: lambda name, content: content)


def lost_invalidation(patch: pytest.MonkeyPatch) -> None:
    """Loads under way are not marked as overtaken by a change."""
    patch.setattr(FlightTable, "covered_by", lambda self, pattern: [])


def stored_although_stale(patch: pytest.MonkeyPatch) -> None:
    """A result that comes after a change of its resource is stored: nothing covers it."""
    real = CacheLayers._put

    def put(self: CacheLayers, put: Any, now: float) -> None:
        entry = evolve(put.entry, epoch=10**9)
        real(self, evolve(put, entry=entry), now)

    patch.setattr(CacheLayers, "_put", put)


def lost_waiter(patch: pytest.MonkeyPatch) -> None:
    """Readers that joined a load are not told of its failure."""
    patch.setattr(
        loading, "_refuse_waiters", lambda s, flight, *_, **__: setattr(flight, "waiters", ())
    )


def dropped_answer(patch: pytest.MonkeyPatch) -> None:
    """Of several answers sent together the last is dropped."""
    real = PlannerState.emit

    def emit(self: PlannerState, effect: Any) -> None:
        answers = sum(isinstance(e, Answer | Refuse) for e in self.out)
        if not (answers and isinstance(effect, Answer)):
            real(self, effect)

    patch.setattr(PlannerState, "emit", emit)


def forgotten_waiters(patch: pytest.MonkeyPatch) -> None:
    """A planner that is gone leaves its readers behind."""
    patch.setattr(PlannerKept, "release", lambda self, address: self.asked.clear())


def double_count(patch: pytest.MonkeyPatch) -> None:
    """A reader that does without the planner counts its read, whoever has counted it."""
    patch.setattr(Read, "claim", lambda self: True)


def lost_count(patch: pytest.MonkeyPatch) -> None:
    """What a cancelled load was for is not counted as cancelled."""
    real = ending.cancel

    def cancel(s: PlannerState, flight: Any, reason: Any) -> None:
        flight.used = True
        real(s, flight, reason)

    patch.setattr(ending, "cancel", cancel)


def leaked_credit(patch: pytest.MonkeyPatch) -> None:
    """A load that fails keeps its pool's credit."""
    real = PoolMachine.ended

    def ended(self: PoolMachine, id_: int, outcome: Any, run: int = 0) -> None:
        before = self._credits
        real(self, id_, outcome, run)
        if not hasattr(outcome, "content"):
            self._credits = before

    patch.setattr(PoolMachine, "ended", ended)


def leaked_source_slot(patch: pytest.MonkeyPatch) -> None:
    """Code that has ended keeps its source's slot where nobody wanted its result."""
    real = FlightTable.free_source

    def free(self: FlightTable, flight: Any) -> None:
        if flight.state.name != "GONE":
            real(self, flight)

    patch.setattr(FlightTable, "free_source", free)


def reset_ignores_running(patch: pytest.MonkeyPatch) -> None:
    """What a pool was doing when it was replaced is not begun again."""
    patch.setattr(
        loading,
        "_pool_restarted",
        lambda s, report, now: s.slots.reset(report.pool, report.credits),
    )


def cancel_ignored(patch: pytest.MonkeyPatch) -> None:
    """Pools drop cancels."""
    patch.setattr(PoolMachine, "_cancel", lambda self, id_: None)


def late_result_stored(patch: pytest.MonkeyPatch) -> None:
    """A result that comes after its load was cancelled is stored all the same."""
    real = loading._loaded

    def loaded(s: PlannerState, flight: Any, result: Any, now: float) -> None:
        if flight.state is State.GONE:
            flight.state = State.LINGERING
        real(s, flight, result, now)

    patch.setattr(loading, "_loaded", loaded)


def lost_with_its_planner(patch: pytest.MonkeyPatch) -> None:
    """A prefetch that no pool knows of when a planner takes over is not counted as failed."""
    patch.setattr(adopting.Adoption, "lost", lambda self: [])


def wrong_user(patch: pytest.MonkeyPatch) -> None:
    """Private content is kept for everybody."""
    patch.setattr(PlannerState, "stored", lambda self, key, session: key)
    patch.setattr(Reader, "stored", lambda self, identity, key: key)


def overtaken_reader(patch: pytest.MonkeyPatch) -> None:
    """A reader whose load was overtaken by a change is left waiting."""
    patch.setattr(loading, "overtaken", lambda s, flight, now: None)


PLANTED: tuple[Plant, ...] = (
    stale_read,
    unchecked_read,
    lost_invalidation,
    stored_although_stale,
    lost_waiter,
    dropped_answer,
    forgotten_waiters,
    double_count,
    lost_count,
    leaked_credit,
    leaked_source_slot,
    reset_ignores_running,
    cancel_ignored,
    late_result_stored,
    lost_with_its_planner,
    wrong_user,
    overtaken_reader,
)
"""One of each kind; each docstring says what is broken."""
