"""A fetcher pool's decisions: what runs, who holds a credit, what is reported (D14 to D21).

A request goes through these states; a credit is held in the first two (`Permit` also stands for
the slot that a standby request takes over, see `Fetch.standby`)::

    WAITING ──Permit──▶ RUNNING ──claim_s──▶ LATE ──load_timeout_s──▶ DROPPED
       │                   │ └──RunEnded──▶ (gone)  └──RunEnded──▶ (gone)  └──RunEnded──▶ (gone)
       └─Cancel─▶ (gone)   └─Cancel, load_timeout_s─▶ DROPPED

What ends RUNNING or LATE by itself is `Loaded` or `Failed`; what ends DROPPED is `Ended`.
"""

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto
from itertools import count
from typing import assert_never

from prefetch_scheduler.policies.deadlines import Deadlines
from prefetch_scheduler.policies.pool_events import (
    Abandoned,
    CancelLoad,
    Ended,
    Failed,
    Fetch,
    Loaded,
    LoadFailure,
    LoadReport,
    LoadRequest,
    LoadResult,
    PartLoaded,
    Permit,
    PoolInput,
    PoolReport,
    Released,
    ResetPool,
    RunEnded,
    RunPart,
    Sender,
    Started,
    TakeOver,
    UnderWay,
    Withdraw,
)
from prefetch_scheduler.policies.slots import STANDBY_S
from prefetch_scheduler.policies.source_info import SourceTable
from prefetch_scheduler.policies.standby import Standby
from prefetch_scheduler.policies.values import define, frozen
from prefetch_scheduler.policies.vocabulary import Pool


@frozen
class Run:
    """Call the source's code for these requests of one source; several: in one `load_many`."""

    requests: tuple[LoadRequest, ...]
    serial: int = 0
    """Tells runs apart where a new planner uses a number again; echoed in `RunEnded`."""

    @property
    def id(self) -> int:
        """The number of its first request names the run."""
        return self.requests[0].id


@frozen
class CancelRun:
    """Tell the source's code that nobody wants any result of this run any more."""

    id: int
    """As `Run.id`."""
    serial: int = 0


PoolEffect = Run | CancelRun | PoolReport | UnderWay


class _State(Enum):
    WAITING = auto()
    RUNNING = auto()
    LATE = auto()  # its claim has run out: no slot, but its result still counts
    DROPPED = auto()  # cancelled or given up: only its end is reported


@define(eq=False)
class _Job:
    request: LoadRequest
    state: _State = _State.WAITING
    run: Run | None = None
    claim_ends: float = 0.0
    load_ends: float = 0.0

    def due(self) -> float | None:
        if self.state is _State.RUNNING:
            return min(self.claim_ends, self.load_ends)
        return self.load_ends if self.state is _State.LATE else None


class PoolMachine:
    """One pool's state machine.

    Args:
        pool: which pool it is; goes into its reports.
        capacity: credits granted at the start.
        permits: requests fetched with `start=False` wait for a `Permit`.
        batch: whether requests that become ready together share one `load_many` (decision D21).
        table: the sources, to know which have a `load_many`.
        incarnation: which of the pool's incarnations it is.
        planner: the planner's incarnation when it starts.

    Raises:
        ValueError: `capacity` is not at least 1.
    """

    def __init__(
        self,
        pool: Pool,
        capacity: int,
        *,
        permits: bool,
        batch: bool,
        table: SourceTable,
        incarnation: int = 1,
        planner: int = 0,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"a pool needs a capacity of at least 1, got {capacity!r}")
        self._pool = pool
        self._capacity = capacity
        self._incarnation = incarnation
        self._planner = planner
        self._permits = permits
        self._batching = {info.id for info in table.infos if info.batches} if batch else set()
        self._jobs: dict[int, _Job] = {}
        self._waiting: deque[int] = deque()
        self._standby = Standby()
        self._ahead: set[int] = set()
        self._serials = count(1)
        self._wanted: dict[int, set[int]] = {}  # run of several -> those not dropped
        self._deadlines = Deadlines(self._due)
        self._unwatched: list[_Job] = []
        """Begun lately: most have ended before anybody asks for a deadline."""
        self._effects: list[PoolEffect] = []
        self._reports: list[LoadReport] = []
        self._begun: dict[int, None] = {}
        """Requests whose start has not been reported."""
        self._credits = 0
        self._returned = 0

    # ---- entry points ----------------------------------------------------------------------

    def start(self, now: float) -> list[PoolEffect]:
        """Grant all credits afresh; whatever was asked of an earlier incarnation is void."""
        return self.handle(ResetPool(), now)

    def handle(self, event: PoolInput, now: float) -> list[PoolEffect]:
        """Take one event. Of the effects at most one is a report, and it comes last.

        Runtime complexity: O(log n) for each request concerned.
        """
        return [*self.gather(event, now), *self.reports()]

    def gather(self, event: PoolInput, now: float) -> list[PoolEffect]:
        """As `handle`, but what there is to report is left for `reports`, so that one report may
        tell of several events. Where the event is to be answered, the effects hold that answer, and
        before it the report of what was gathered earlier.
        """
        match event:
            case Fetch(by=by) | Permit(by=by) if self.outdated(by):
                pass
            case TakeOver(planner):
                return self._take_over(planner)
            case Fetch(requests, start, standby=standby):
                self._fetch(requests, start or not self._permits, standby, now)
            case Permit(number):
                self._permit(number, now)
            case CancelLoad(id_):
                self._cancel(id_)
            case Withdraw(id_):
                job = self._jobs.get(id_)
                if job is not None and job.state is _State.WAITING:
                    self._cancel(id_)
            case ResetPool():
                earlier = self.reports()
                self._reset()
                return [*earlier, *self.following(now), self._report(reset=True)]
            case RunEnded(id_, outcome, run):
                self.ended(id_, outcome, run)
            case RunPart(id_, key, content, run):
                job = self._started(id_, run)
                if job is not None and job.state is not _State.DROPPED:
                    self._tell_starts()
                    self._reports.append(PartLoaded(id_, key, content))
            case _:
                assert_never(event)
        return self.following(now)

    def ended(self, id_: int, outcome: LoadResult | LoadFailure, run: int = 0) -> None:
        """Take in an end, as `gather` does a `RunEnded`; what follows of it is left for
        `following`, or for the next event's.
        """
        job = self._started(id_, run)
        if job is None:
            return
        del self._jobs[id_]
        self._settle(job)
        if job.state is _State.DROPPED:
            self._reports.append(Ended(id_))
            return
        source, began = job.request.source_id, id_ in self._begun
        if began:
            del self._begun[id_]
        if isinstance(outcome, LoadResult):
            self._reports.append(Loaded(id_, outcome, began))
            if job.state is _State.RUNNING and self._standby:
                if outcome.load_s <= STANDBY_S:
                    self._standby.leave(source)
                else:  # by now something else may come first
                    self._give_back(source)
        else:
            error, exception = outcome.error, outcome.exception
            self._reports.append(Failed(id_, error, exception, outcome.excluded, began))
        if job.state is _State.RUNNING:
            self._slot_left(job)

    def following(self, now: float) -> list[PoolEffect]:
        """What follows of what `ended` has taken in, apart from the report."""
        turn = self._standby.take()
        if turn:
            self._run([self._jobs[id_] for id_ in turn], now)
        effects, self._effects = self._effects, []
        return effects

    def reports(self) -> list[PoolReport]:
        """What there is to report: in one report, or none."""
        return [self._report()] if self.untold else []

    @property
    def untold(self) -> bool:
        """Whether there is something to report."""
        return not self.only_begun or bool(self._begun)

    @property
    def only_begun(self) -> bool:
        """Whether there is nothing to report but that loads have begun."""
        return not (self._reports or self._credits or self._returned)

    @property
    def follows_on(self) -> bool:
        """Whether loads that were handed over ahead of their slots have not ended yet."""
        return self._standby.unended

    def cancel_ahead(self, id_: int) -> None:
        """A cancel or withdrawal has overtaken its `Fetch`: release the request when it comes.

        For a shell whose control lane allows that. Numbers already known are left alone.
        """
        if id_ not in self._jobs:
            self._ahead.add(id_)

    def nothing_ahead(self) -> None:
        """No `Fetch` sent before now is outstanding: cancels that met none came too late."""
        self._ahead.clear()

    def tick(self, now: float) -> list[PoolEffect]:
        """Act on the deadlines that have passed, in their order."""
        self._watch_begun()
        while (id_ := self._deadlines.passed(now)) is not None:
            job = self._jobs[id_]
            if job.state is _State.LATE or job.load_ends <= job.claim_ends:
                self._abandon(job)
            else:
                job.state = _State.LATE
                self._tell_starts()
                self._reports.append(Released(id_, timed_out=True, started=True))
                self._slot_left(job)
                self._deadlines.set(id_, job.load_ends)
        return [*self.following(now), *self.reports()]

    def next_deadline(self) -> float | None:
        """Engine time at which `tick` has something to do."""
        self._watch_begun()
        return self._deadlines.first()

    def counts(self) -> dict[str, int]:
        """How many requests are in each state, by its name in lower case."""
        result = {state.name.lower(): 0 for state in _State}
        for job in self._jobs.values():
            result[job.state.name.lower()] += 1
        return result

    # ---- events ----------------------------------------------------------------------------

    def _fetch(
        self, requests: Sequence[LoadRequest], start: bool, standby: int, now: float
    ) -> None:
        ready: list[_Job] = []
        sources: set[int] = set()
        for place, request in enumerate(requests, standby - len(requests)):
            known = self._jobs.get(request.id)
            if known is not None and known.state is not _State.DROPPED:
                continue  # sent again across a restart: the one under way answers for both
            if request.id in self._ahead:
                self._ahead.discard(request.id)
                self._credits += 1
                self._reports.append(Released(request.id, timed_out=False, started=False))
                continue
            job = self._jobs[request.id] = _Job(request)
            if place >= 0 and start:
                sources.add(request.source_id)
                self._standby.add(request)
            elif start:
                ready.append(job)
            else:
                self._waiting.append(request.id)
        self._run(ready, now)
        for source in sources:
            self._back_unless_running(source)

    def _slot_left(self, job: _Job) -> None:
        """It has no slot any more."""
        self._credits += 1
        self._standby.ended(job.request)
        if self._standby:
            self._back_unless_running(job.request.source_id)

    def _back_unless_running(self, source: int) -> None:
        """Give standby requests back that no load of their source would make room for."""
        if not self._standby.in_vain(source):
            return
        for job in self._jobs.values():
            if job.state is _State.RUNNING and job.request.source_id == source:
                return
        self._give_back(source)

    def _give_back(self, source: int) -> None:
        for id_ in self._standby.waiting(source):
            self._cancel(id_)

    def _permit(self, number: int, now: float) -> None:
        ready: list[_Job] = []
        while self._waiting and len(ready) < number:
            ready.append(self._jobs[self._waiting.popleft()])
        self._returned += max(number - len(ready), 0)
        self._run(ready, now)

    def _run(self, jobs: list[_Job], now: float) -> None:
        """Start these together: those of a source that batches share one run."""
        groups: list[list[_Job]] = []
        shared: dict[int, list[_Job]] = {}
        for job in jobs:
            request = job.request
            job.state = _State.RUNNING
            job.claim_ends = now + request.claim_s
            job.load_ends = now + request.load_timeout_s
            self._begun[request.id] = None
            self._unwatched.append(job)
            group = shared.get(request.source_id)
            if group is not None:
                group.append(job)
                continue
            groups.append([job])
            if request.source_id in self._batching:
                shared[request.source_id] = groups[-1]
        for group in groups:
            run = Run(tuple([job.request for job in group]), next(self._serials))
            for job in group:
                job.run = run
            if len(group) > 1:
                self._wanted[run.serial] = {job.request.id for job in group}
            self._effects.append(run)

    def _cancel(self, id_: int) -> None:
        job = self._jobs.get(id_)
        if job is None or job.state is _State.DROPPED:
            return
        if job.state is _State.WAITING:
            del self._jobs[id_]
            if not self._standby.remove(job.request):
                self._waiting.remove(id_)
            self._credits += 1
            self._reports.append(Released(id_, timed_out=False, started=False))
            return
        running = job.state is _State.RUNNING  # a late one has given its slot back before
        if running:
            self._tell_starts()
            self._reports.append(Released(id_, timed_out=False, started=True))
        self._drop(job)
        if running:
            self._slot_left(job)

    def _abandon(self, job: _Job) -> None:
        running = job.state is _State.RUNNING
        self._tell_starts()
        self._reports.append(Abandoned(job.request.id))
        self._drop(job)
        if running:
            self._slot_left(job)

    def _started(self, id_: int, run: int) -> _Job | None:
        """The job of a run that has begun; None where it belongs to an earlier one."""
        job = self._jobs.get(id_)
        if job is None or job.run is None or (run and job.run.serial != run):
            return None
        return job

    def _reset(self) -> None:
        for job in list(self._jobs.values()):
            if job.state is _State.WAITING:
                del self._jobs[job.request.id]
            elif job.state is not _State.DROPPED:
                self._drop(job)
        self._forget_waiting()
        self._returned = 0
        self._credits = self._capacity

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._standby.clear()
        self._ahead.clear()

    def outdated(self, by: Sender | None) -> bool:
        """Whether it was meant for an earlier pool, or comes from an earlier planner."""
        return by is not None and (
            by.planner < self._planner or by.pool not in (0, self._incarnation)
        )

    def _take_over(self, planner: int) -> list[PoolEffect]:
        """What has begun goes on for the new planner; what waits would only be guessed at."""
        earlier = self.reports()
        self._planner = max(planner, self._planner)
        for job in [j for j in self._jobs.values() if j.state is _State.WAITING]:
            del self._jobs[job.request.id]
        self._forget_waiting()
        self._credits = self._returned = 0
        running, late, dropped = (
            tuple(id_ for id_, job in self._jobs.items() if job.state is state)
            for state in (_State.RUNNING, _State.LATE, _State.DROPPED)
        )
        credits_ = self._capacity - len(running)
        answer = UnderWay(self._pool, planner, credits_, running, late, dropped, self._incarnation)
        return [*self.following(0.0), *earlier, answer]

    # ---- bookkeeping -----------------------------------------------------------------------

    def _due(self, id_: int) -> float | None:
        job = self._jobs.get(id_)
        return None if job is None else job.due()

    def _watch_begun(self) -> None:
        for job in self._unwatched:
            due = job.due()
            if due is not None and self._jobs.get(job.request.id) is job:
                self._deadlines.set(job.request.id, due)
        self._unwatched.clear()

    def _drop(self, job: _Job) -> None:
        job.state = _State.DROPPED
        if self._settle(job) and job.run is not None:
            self._effects.append(CancelRun(job.run.id, job.run.serial))

    def _settle(self, job: _Job) -> bool:
        """Its result is no longer waited for. True: nor is any other of its run."""
        if job.run is None:
            return False
        run = job.run.serial
        wanted = self._wanted.get(run)
        if wanted is None:
            return len(job.run.requests) == 1
        wanted.discard(job.request.id)
        if wanted:
            return False
        del self._wanted[run]
        return True

    def _tell_starts(self) -> None:
        """Before anything but its end is reported of a request."""
        if self._begun:
            self._reports += [Started(id_) for id_ in self._begun]
            self._begun.clear()

    def _report(self, *, reset: bool = False) -> PoolReport:
        self._tell_starts()
        reports, self._reports = tuple(self._reports), []
        credits_, self._credits = self._credits, 0
        returned, self._returned = self._returned, 0
        pool, planner = self._pool, self._planner
        return PoolReport(pool, reports, credits_, returned, reset, planner, self._incarnation)
