"""The pool's machine against a simple model: credits add up, and each request ends once."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.pool import CancelRun, PoolEffect, PoolMachine, Run
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
    Permit,
    PoolReport,
    Released,
    RunEnded,
    Started,
    Withdraw,
)
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable
from prefetch_scheduler.policies.vocabulary import Pool

CAPACITY = 5
TABLE = SourceTable(
    (
        SourceInfo(0, "single", "file", read_only=True),
        SourceInfo(1, "many", "doc", read_only=True, batches=True),
    )
)


class PoolAgainstModel(RuleBasedStateMachine):
    """A planner that sends only against credits, and code that ends in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PoolMachine(Pool.P3, CAPACITY, permits=True, batch=True, table=TABLE)
        self.now = 0.0
        self.credits = 0
        self.permits_out = 0
        self.last_id = 0
        self.holding: set[int] = set()  # sent, and not given back
        self.running: dict[int, int] = {}  # code called and not returned: number -> run
        self.final: Counter[int] = Counter()
        self.dropped: set[int] = set()
        self.take(self.pool.start(0.0))

    def take(self, effects: list[PoolEffect]) -> None:
        for effect in effects:
            if isinstance(effect, Run):
                assert len({r.source_id for r in effect.requests}) == 1
                for request in effect.requests:
                    assert request.id not in self.running
                    self.running[request.id] = effect.serial
            elif isinstance(effect, PoolReport):
                self.take_report(effect)
        for effect in effects:
            if isinstance(effect, CancelRun):  # nobody may want anything of it
                run = {i for i, serial in self.running.items() if serial == effect.serial}
                assert run
                assert run <= self.dropped

    def take_report(self, report: PoolReport) -> None:
        self.credits += report.credits
        self.permits_out -= report.permits_returned
        freed = 0
        for item in report.reports:
            match item:
                case Started():
                    self.permits_out -= 1
                case Released():
                    freed += 1
                    self.holding.remove(item.id)
                    if not item.started:
                        self.final[item.id] += 1
                    elif not item.timed_out:
                        self.dropped.add(item.id)
                case Abandoned():
                    if item.id in self.holding:
                        freed += 1
                        self.holding.remove(item.id)
                    self.dropped.add(item.id)
                case Loaded() | Failed():
                    self.permits_out -= item.began
                    assert item.id not in self.dropped
                    if item.id in self.holding:
                        freed += 1
                        self.holding.remove(item.id)
                    self.final[item.id] += 1
                case Ended():
                    self.final[item.id] += 1
        if not report.reset:
            assert report.credits == freed

    @rule(sources=st.lists(st.integers(0, 1), min_size=1, max_size=3), claim=st.floats(0.1, 3.0))
    def fetch(self, sources: list[int], claim: float) -> None:
        sources = sources[: self.credits]
        if not sources:
            return
        made = []
        for source in sources:
            self.last_id += 1
            id_ = self.last_id
            made.append(LoadRequest(id_, source, f"k:{id_}", str(id_), claim, 2.0))
        self.credits -= len(made)
        self.holding.update(r.id for r in made)
        self.take(self.pool.handle(Fetch(tuple(made), start=False), self.now))

    @rule(count=st.integers(1, 3))
    def permit(self, count: int) -> None:
        self.permits_out += count
        self.take(self.pool.handle(Permit(count), self.now))

    @rule(data=st.data(), command=st.sampled_from([CancelLoad, Withdraw]))
    def take_back(self, data: st.DataObject, command: type[CancelLoad]) -> None:
        if self.last_id:
            id_ = data.draw(st.integers(1, self.last_id))
            late = id_ in self.running and id_ not in self.holding
            if command is CancelLoad and late:
                self.dropped.add(id_)
            self.take(self.pool.handle(command(id_), self.now))

    @rule(data=st.data(), good=st.booleans())
    def end(self, data: st.DataObject, good: bool) -> None:
        if self.running:
            id_ = data.draw(st.sampled_from(sorted(self.running)))
            serial = self.running.pop(id_)
            outcome = LoadResult(Content("x"), 0.1) if good else LoadFailure("bad")
            self.take(self.pool.handle(RunEnded(id_, outcome, serial), self.now))

    @rule(seconds=st.floats(0.0, 2.0))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.pool.tick(self.now))
        due = self.pool.next_deadline()
        assert due is None or due > self.now

    @invariant()
    def credits_and_permits_add_up(self) -> None:
        assert self.credits + len(self.holding) == CAPACITY
        assert self.permits_out == 0

    @invariant()
    def each_request_ends_once(self) -> None:
        assert all(count == 1 for count in self.final.values())

    @invariant()
    def the_machine_knows_exactly_what_has_not_ended(self) -> None:
        known = sum(self.pool.counts().values())
        assert known == self.last_id - len(self.final)


SLOTS = 3


class StandbyAgainstModel(RuleBasedStateMachine):
    """A planner that hands loads over before they have a slot; its account of the slots."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PoolMachine(Pool.P1, CAPACITY + 4, permits=False, batch=True, table=TABLE)
        self.now = 0.0
        self.credits = 0
        self.last_id = 0
        self.sources: dict[int, int] = {}
        self.claims: set[int] = set()
        self.standby: set[int] = set()
        self.code: dict[int, int] = {}  # called and not returned: number -> run
        self.begun: set[int] = set()
        self.take(self.pool.start(0.0))

    def take(self, effects: list[PoolEffect]) -> None:
        for effect in effects:
            if isinstance(effect, Run):
                self.code |= {request.id: effect.serial for request in effect.requests}
        for report in effects:
            if isinstance(report, PoolReport):
                self.credits += report.credits
                for item in report.reports:
                    self.start_told(item)
                    self.standby.discard(item.id)
                    if isinstance(item, Started):
                        self.claims.add(item.id)
                    else:
                        self.claims.discard(item.id)
                # As a whole: a slot passes from one to the next within a report.
                assert len(self.claims) <= SLOTS

    def start_told(self, item: LoadReport) -> None:
        """Each start is told once: by itself, or with the end."""
        if isinstance(item, Started) or (isinstance(item, Loaded | Failed) and item.began):
            assert item.id not in self.begun
            self.begun.add(item.id)
        elif isinstance(item, Released) and not item.started:
            assert item.id not in self.begun
        else:
            assert item.id in self.begun

    @rule(
        sources=st.lists(st.integers(0, 1), max_size=3),
        ahead=st.integers(0, 4),
        claim=st.floats(0.1, 3.0),
    )
    def fetch(self, sources: list[int], ahead: int, claim: float) -> None:
        sources = sources[: min(self.credits, SLOTS - len(self.claims))]
        ahead = min(ahead, self.credits - len(sources)) if sources else 0
        made = []
        for source in [*sources, *[sources[-1] for _ in range(ahead)]]:
            self.last_id += 1
            id_ = self.last_id
            made.append(LoadRequest(id_, source, f"k:{id_}", str(id_), claim, 2.0))
            (self.claims if len(made) <= len(sources) else self.standby).add(id_)
            self.sources[id_] = source
        self.credits -= len(made)
        self.take(self.pool.handle(Fetch(tuple(made), standby=ahead), self.now))

    @rule(data=st.data(), command=st.sampled_from([CancelLoad, Withdraw]))
    def take_back(self, data: st.DataObject, command: type[CancelLoad]) -> None:
        if self.last_id:
            id_ = data.draw(st.integers(1, self.last_id))
            self.take(self.pool.handle(command(id_), self.now))

    @rule(
        data=st.data(),
        load_s=st.sampled_from([0.0, 0.0, 0.1, None]),
        several=st.booleans(),
        hold=st.booleans(),
    )
    def end(self, data: st.DataObject, load_s: float | None, several: bool, hold: bool) -> None:
        failure = LoadFailure("bad")
        outcome = failure if load_s is None else LoadResult(Content("x"), load_s)
        for _ in range(2 if several else 1):
            if self.code:
                id_ = data.draw(st.sampled_from(sorted(self.code)))
                self.pool.ended(id_, outcome, self.code.pop(id_))
        self.take(self.pool.following(self.now))
        if not hold:
            self.take([*self.pool.reports()])
            assert not self.pool.untold

    @rule(seconds=st.floats(0.0, 2.0))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.pool.tick(self.now))

    @invariant()
    def the_account_is_the_pools(self) -> None:
        if self.pool.untold:
            return
        counts = self.pool.counts()
        assert counts["running"] == len(self.claims) <= SLOTS
        assert counts["waiting"] == len(self.standby)
        assert self.credits + len(self.claims) + len(self.standby) == CAPACITY + 4

    @invariant()
    def whoever_stands_by_has_a_load_to_wait_for(self) -> None:
        if self.pool.untold:
            return
        running = {self.sources[id_] for id_ in self.claims}
        assert {self.sources[id_] for id_ in self.standby} <= running
        assert not (self.standby and not self.pool.follows_on)


TestPoolAgainstModel = PoolAgainstModel.TestCase
TestStandbyAgainstModel = StandbyAgainstModel.TestCase
TestPoolAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
