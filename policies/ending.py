"""How flights end before their time, and what plans are told of it (decisions D18, D25)."""

from prefetch_scheduler.policies.flights import Flight, State
from prefetch_scheduler.policies.metrics_events import PrefetchCancelled
from prefetch_scheduler.policies.planner_events import ImmediateDone, ToPool
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.pool_events import CancelLoad, Withdraw
from prefetch_scheduler.policies.sessions import PlanState
from prefetch_scheduler.policies.vocabulary import Reason


def drop_want(s: PlannerState, flight: Flight, session: str, reason: Reason) -> None:
    """A session wants a flight no longer; it ends if nobody else does."""
    s.flights.drop_want(flight, session)
    for plan in _expecting(s, flight):
        if plan.session == session:
            settle(s, plan, flight.stored, ok=False)
    if not (flight.wants or flight.waiters or flight.pin_for):
        cancel(s, flight, reason)


def leave_to_wants(s: PlannerState, flight: Flight) -> None:
    """No reader waits for it any more: what is loaded from now on is loaded ahead, and counts so.

    Nothing changes where nobody predicted it, or where its load was counted as a prefetch.
    """
    if flight.is_prefetch or flight.prefetch_id or not flight.wants:
        return
    flight.cause = next(iter(flight.wants.values())).cause
    flight.turn_to(s.first_prefetch_source(flight.key))
    if not flight.tokens:
        estimate = s.estimator.estimate(flight.source, flight.name, flight.survey, None, None)
        flight.tokens, flight.load_s = estimate.tokens, estimate.load_s


def cancel(s: PlannerState, flight: Flight, reason: Reason) -> None:
    """End a flight that no reader waits for, queued or running."""
    s.note(flight.key, "cancelled", reason, flight.owner)
    match flight.state:
        case State.QUEUED:
            s.queue.remove(flight)
        case State.HANDED | State.RUNNING | State.LINGERING:
            give_up_load(s, flight)
        case State.STORING | State.GONE:
            return
    if flight.prefetch_id and not flight.used:
        s.count(PrefetchCancelled(flight.prefetch_id, reason))
        s.learning.given_up(flight.tokens)
    resolve(s, flight, ok=False)
    s.flights.detach(flight)


def give_up_load(s: PlannerState, flight: Flight) -> None:
    """Tell the pool that nobody wants a load any more; how long it has run says how long it takes
    at least.
    """
    s.emit(ToPool(flight.pool, CancelLoad(flight.id)))
    if flight.state is not State.HANDED:
        s.estimator.given_up(flight.source.id, s.now - flight.began_at)


def withdraw(s: PlannerState, flight: Flight) -> None:
    """Take a flight that waits in a pool back from there, to queue it anew. Once: a second request
    might meet the flight in the pool again, where it has been sent meanwhile.
    """
    if not flight.requeue:
        flight.requeue = True
        s.emit(ToPool(flight.pool, Withdraw(flight.id)))


def resolve(s: PlannerState, flight: Flight, *, ok: bool) -> None:
    """Tell the plans that counted on this flight how it ended."""
    for plan in _expecting(s, flight):
        settle(s, plan, flight.stored, ok=ok)


def _expecting(s: PlannerState, flight: Flight) -> list[PlanState]:
    return [s.plans[number] for number in sorted(flight.expected_by) if number in s.plans]


def settle(s: PlannerState, plan: PlanState, stored: str, *, ok: bool) -> None:
    if stored in plan.outstanding:
        plan.outstanding.discard(stored)
        plan.failed = plan.failed or not ok
        report_immediate(s, plan)


def report_immediate(s: PlannerState, plan: PlanState) -> None:
    """Tell the submitter once: at the first P0 or P1 item that fails, or when all are loaded."""
    if plan.reported or not (plan.failed or not plan.outstanding):
        return
    plan.reported = True
    s.emit(ImmediateDone(plan.ticket, ok=not plan.failed))
