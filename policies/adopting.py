"""What a planner takes over from the one before it, which ended by an error or hung.

Three kinds of things outlive a planner, and nothing else does:

- what the host told it (sessions, their contexts, users and pins, whether the host is busy) and
  what was learned (estimates, usage, habits, back-offs), which is taken over as it is;
- loads that have begun. The *pools* say which those are (`UnderWay`), and what became of others is
  still to be read in reports that were on their way; the old planner's records only say what each
  number stood for;
- predictions that were submitted and not begun: they are submitted again, and planned anew.

Taking learned figures over as they are is safe although an error may have struck in the middle
of an update: each table changes by single entries, each of which is valid by itself, so the worst
is one observation that reached some of its averages and not others.
"""

from collections.abc import Iterable

from attrs import field

from prefetch_scheduler.policies.cache_events import Invalidated
from prefetch_scheduler.policies.flights import Flight, State
from prefetch_scheduler.policies.keys import matches
from prefetch_scheduler.policies.metrics_events import (
    PrefetchCancelled,
    PrefetchFailed,
    PrefetchStarted,
)
from prefetch_scheduler.policies.planner_events import PlannerEffect, Submit
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.pool_events import Loaded, PoolReport, UnderWay
from prefetch_scheduler.policies.sessions import SessionState
from prefetch_scheduler.policies.values import define
from prefetch_scheduler.policies.vocabulary import Cause, Pool, Reason

LOST = "its planner was restarted"
_OVER = (State.GONE, State.STORING)
"""How a prefetch ends from here on is counted by others, or has been."""


def carry_over(old: PlannerState, new: PlannerState) -> None:
    """What the host said and what was learned."""
    new.estimator, new.usage, new.habits = old.estimator, old.usage, old.habits
    new.availability, new.breakers = old.availability, old.breakers
    new.learning = old.learning
    new.host_busy = old.host_busy
    new.epoch, new.last_plan = old.epoch, old.last_plan
    new.wall, new.today = old.wall, old.today
    new.crossing, new.leaving = dict(old.crossing), dict(old.leaving)
    for session in list(old.sessions.values()):
        kept = SessionState(session.id, session.project, session.user, session.context)
        kept.predicted, kept.pins = session.predicted, set(session.pins)
        new.sessions[session.id] = kept


@define(eq=False)
class Adoption:
    """Brings the loads under way into a new planner's state, pool by pool.

    Args:
        old: the state of the planner that is gone; its flights move to the new one.
        new: the state of its successor, `carry_over` done.
        planner: the successor's incarnation.
        earlier: the old planner's own adoption, where it ended before that was complete.
    """

    old: PlannerState
    new: PlannerState
    planner: int
    earlier: "Adoption | None" = None
    _waiting: set[Pool] = field(init=False, factory=lambda: set(Pool))
    _busy: frozenset[Pool] = field(init=False)
    """Pools that had something of the planner that is gone."""
    _known: set[int] = field(init=False, factory=set)
    """Flights of which something was heard."""
    _out: list[PlannerEffect] = field(init=False, factory=list)
    resumed: bool = field(init=False, default=False)
    """Whether the successor has taken on the plans of the planner that is gone."""
    records: dict[int, Flight] = field(init=False)
    """What each number stood for."""
    planned: PlannerState = field(init=False)
    """Whose plans are to be taken on: where the planner that is gone ended before it had done so
    itself, those of the one before it.
    """

    @planned.default
    def _newest_plans(self) -> PlannerState:
        earlier = self.earlier
        return self.old if earlier is None or earlier.resumed else earlier.planned

    @_busy.default
    def _holding_something(self) -> frozenset[Pool]:
        if self.earlier is not None:
            return frozenset(Pool)  # the planner that is gone did not know yet itself
        return frozenset(pool for pool in Pool if not self.old.slots.untouched(pool))

    @records.default
    def _from_old(self) -> dict[int, Flight]:
        earlier = dict(self.earlier.records) if self.earlier is not None else {}
        return earlier | dict(self.old.flights.by_id)

    @property
    def settled(self) -> bool:
        """Whether every pool has answered that had anything to do: the successor may decide."""
        return not (self._waiting & self._busy)

    @property
    def complete(self) -> bool:
        """Whether every pool has answered."""
        return not self._waiting

    def report(self, report: PoolReport) -> PoolReport | None:
        """A report meant for the old planner. Returns what the new one should handle of it.

        Its credits are void. What was loaded is taken in; of the rest `UnderWay` tells more.
        """
        kept = []
        for item in report.reports:
            flight = self.records.get(item.id)
            if flight is None or not isinstance(item, Loaded):
                continue
            if self._adopt(flight, State.LINGERING):
                # Its start is counted by that, and the permit that it took is not the new one's.
                kept.append(Loaded(item.id, item.result))
            else:
                self._replaced(flight)
        return PoolReport(report.pool, tuple(kept)) if kept else None

    def invalidated(self, notice: Invalidated) -> None:
        """A change that the new planner acknowledges before it has adopted the loads it overtakes:
        none of them may be stored, once nobody else knows of that change any more.
        """
        for flight in self.records.values():
            if flight.epoch < notice.epoch and matches(notice.pattern, flight.stored):
                flight.overtaken = True

    def restarted(self, pool: Pool) -> None:
        """A pool has begun anew, for the new planner: nothing is under way there."""
        self._waiting.discard(pool)

    def under_way(self, event: UnderWay) -> list[PlannerEffect]:
        """A pool's answer. Sets its credits and the claims on its slots; returns counts to send."""
        if event.pool not in self._waiting:
            return []  # it has been restarted since, and the new planner goes by that
        slots = self.new.slots
        slots.reset(event.pool, event.credits)
        for flight in self._flights(event.running):
            if not self._adopt(flight, State.RUNNING):
                self._ghost(flight)
            slots.claims[event.pool].add(flight.id)
            if event.pool is Pool.P3:
                slots.permits += 1
        for flight in self._flights(event.late):
            if self._adopt(flight, State.LINGERING):
                self.new.flights.mark_stuck(flight)
            else:
                self._ghost(flight)
        for flight in self._flights(event.dropped):
            self._ghost(flight)
        self._waiting.discard(event.pool)
        return self.counted()

    def _flights(self, numbers: Iterable[int]) -> Iterable[Flight]:
        """Those on record. Of others nobody knows what they are for: the pool ends them itself."""
        for number in numbers:
            flight = self.records.get(number)
            if flight is not None:
                yield flight

    def counted(self) -> list[PlannerEffect]:
        """Counts that follow from what was adopted; handed out once."""
        out, self._out = self._out, []
        return list(out)

    def _adopt(self, flight: Flight, state: State) -> bool:
        """Make it one of the new planner's. False: it has another load of that key by now."""
        flights = self.new.flights
        self._known.add(flight.id)
        if flight.id in flights.by_id:
            return True
        if flight.stored in flights.live or flight.state in _OVER:
            return False
        flight.state = state
        flight.waiters = ()  # they have been told to ask again
        flight.requeue = False
        flight.entry = None
        flights.add(flight)
        flights.take_source(flight)
        if flight.is_prefetch and flight.prefetch_id == 0:  # its start was not counted yet
            flight.prefetch_id = flight.id
            self._out.append(
                PrefetchStarted(
                    flight.id,
                    flight.owner,
                    flight.key,
                    flight.cause,
                    flight.tokens,
                    flight.reason,
                )
            )
        return True

    def _ghost(self, flight: Flight) -> None:
        """A load whose result is not wanted holds its source until the source's code ends."""
        self._known.add(flight.id)
        if flight.id in self.new.flights.by_id:
            return
        self._replaced(flight)
        flight.state = State.GONE
        flight.waiters = ()
        self.new.flights.by_id[flight.id] = flight
        self.new.flights.take_source(flight)
        self.new.flights.mark_stuck(flight)

    def _replaced(self, flight: Flight) -> None:
        """The new planner has another load of its key: a prefetch ends with that."""
        if flight.prefetch_id and not flight.used and flight.state not in _OVER:
            self._out.append(PrefetchCancelled(flight.prefetch_id, Reason.REPLACED))
            flight.state = State.GONE

    def lost(self) -> list[PlannerEffect]:
        """Counts of prefetches that had begun and of which no pool knows any more."""
        gone = [
            flight
            for flight in self.records.values()
            if flight.prefetch_id
            and not flight.used
            and flight.state not in _OVER
            and flight.id not in self.new.flights.by_id
            and flight.id not in self._known
        ]
        return [PrefetchFailed(flight.prefetch_id, LOST) for flight in gone]


def unfinished(
    old: PlannerState, submitted: Iterable[Submit], adopted: Iterable[str]
) -> list[Submit]:
    """What to submit again: of each session's latest submit the predictions not loaded yet.

    Not where the session has turned to another context since: that would be cancelled soon.

    Args:
        old: the state of the planner that is gone.
        submitted: the latest submit of each session.
        adopted: cache keys of the loads that go on by themselves; a plan whose submitter still
            waits for them is submitted with them all the same, so that it is told of their end.
    """
    going_on = set(adopted)
    again: list[Submit] = []
    for submit in submitted:
        session = old.sessions.get(submit.session)
        plan = session.plan if session is not None else None
        if session is None or plan is None or plan.ticket is not submit.ticket:
            continue  # its plan was never made: the message itself is sent again
        if submit.session in old.crossing:
            continue
        waited_for = plan.ticket is not None and not plan.reported
        wanted = {
            flight.key
            for flight in old.flights.live.values()
            if submit.session in flight.wants
            and flight.wants[submit.session].cause is Cause.PREDICTION
            and (
                flight.stored not in going_on or (waited_for and flight.stored in plan.outstanding)
            )
            and flight.state is not State.STORING
        }
        predictions = tuple(p for p in submit.predictions if p.key in wanted)
        if predictions:
            again.append(Submit(submit.session, predictions, submit.terms, ticket=submit.ticket))
        elif waited_for:
            again.append(Submit(submit.session, (), submit.terms, ticket=submit.ticket))
    return again
