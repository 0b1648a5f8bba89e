"""The layers against a naive model, step by step, under whatever hypothesis thinks of."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from prefetch_scheduler.policies.cache_events import (
    Acknowledged,
    EndSession,
    Invalidate,
    Invalidated,
    Pin,
    Put,
    Refused,
    Removed,
    Stored,
    Unpin,
)
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.keys import PARTITION
from prefetch_scheduler.policies.metrics_events import PrefetchUsed, PrefetchWasted
from prefetch_scheduler.policies.vocabulary import EvictionPolicy as Policy
from prefetch_scheduler.policies.vocabulary import Lane
from support.layer_model import Cache, Model, an_entry, config

KEYS = st.sampled_from([f"file:{n}" for n in range(8)] + [f"mail:0{PARTITION}{u}" for u in "xy"])
SESSIONS = st.sampled_from(["s", "t"])
PATTERNS = st.sampled_from(
    ["file:1", "file:2", "file:3", "file:4", "file:1*", "file:*", "mail:0", "*"]
)


def told(effect: Any) -> tuple[Any, ...] | None:
    """An effect as the model tells it."""
    match effect:
        case Stored(stored):
            return "stored", stored
        case Refused(stored):
            return "refused", stored
        case Removed(stored, cause, was_read, session):
            return "removed", stored, str(cause), was_read, session
        case Invalidated(_, epoch):
            return "invalidated", epoch
        case PrefetchUsed(id=number):
            return "used", number
        case PrefetchWasted(id=number, reason=reason):
            return "wasted", number, reason
        case _:
            return None


pytestmark = pytest.mark.timeout(180)  # many short runs: a busy machine may take its time

POLICIES = st.sampled_from(list(Policy))


class Layers(RuleBasedStateMachine):
    @initialize(
        policies=st.one_of(
            st.just((Policy.LRU, Policy.LFU, Policy.TTL)),
            st.tuples(POLICIES, POLICIES, POLICIES),
        ),
        sizes=st.sampled_from([(2, 2, 2), (2, 2, 2), (3, 1, 4)]),
        max_tokens=st.sampled_from([0, 0, 20]),
        max_bytes=st.sampled_from([0, 0, 0, 15]),
        ghosts=st.sampled_from([0, 100]),
    )
    def begin(self, policies, sizes, max_tokens, max_bytes, ghosts) -> None:
        names = ("hot_policy", "warm_policy", "cold_policy")
        rules = dict(zip(names, policies, strict=True))
        rules |= {"max_tokens": max_tokens, "max_bytes": max_bytes, "ghost_entries": ghosts}
        self.cache = Cache(config(*sizes, **rules))
        self.model = Model(self.cache.config)
        self.prefetches = 0
        self.epoch = 0
        self.late: list[int] = []

    # ---- steps ---------------------------------------------------------------------------------

    @rule(
        key=KEYS,
        prefetch=st.booleans(),
        priority=st.integers(0, 4),
        lane=st.sampled_from([Lane.IMMEDIATE, Lane.BACKGROUND]),
        session=SESSIONS,
        age=st.sampled_from([0, 0, 0, 3]),
        behind=st.sampled_from([0, 0, 0, 1]),
        size=st.integers(0, 9),
        pin_for=st.sampled_from([(), (), (), ("s",), ("s", "t")]),
    )
    def put(self, key, prefetch, priority, lane, session, age, behind, size, pin_for) -> None:
        self.prefetches += prefetch
        entry = an_entry(
            key,
            prefetch=self.prefetches if prefetch else 0,
            priority=priority,
            lane=lane,
            session=session,
            epoch=max(0, self.epoch - behind),
            asked_at=self.cache.now - age,
            value="x" * size,
            tokens=size,
        )
        self.model.put(entry, pin_for)
        self.model.shed()
        self.cache.do(Put(entry, 7, pin_for))

    @rule(key=KEYS, session=SESSIONS, drain=st.booleans(), lose=st.booleans())
    def read(self, key, session, drain, lose) -> None:
        self.model.read(key, session, lose=lose)
        self.cache.read(key, session, drain=False, lose=lose)
        if drain:
            self.drain()

    @rule()
    def drain(self) -> None:
        self.model.drain()
        self.cache.drain()

    @rule(pattern=PATTERNS, content=st.booleans(), session=SESSIONS, late=st.booleans())
    def invalidate(self, pattern, content, session, late) -> None:
        self.epoch += 1
        epoch = self.epoch
        if late:  # another thread's notice overtakes this one
            self.late.append(epoch)
            self.epoch += 1
            epoch = self.epoch
        self.tell_change(epoch, pattern, content, session)

    @rule(pattern=PATTERNS, content=st.booleans(), session=SESSIONS)
    def invalidate_late(self, pattern, content, session) -> None:
        if self.late:
            self.tell_change(self.late.pop(0), pattern, content, session)

    def tell_change(self, epoch, pattern, content, session) -> None:
        stored = f"{pattern}{PARTITION}x" if pattern == "mail:0" else pattern
        given = Content("new", tokens=3) if content else None
        handed = None
        if content and not pattern.endswith("*"):
            handed = an_entry(
                stored,
                priority=1,
                session=session,
                epoch=epoch,
                asked_at=self.cache.now,
                value="new",
                tokens=3,
            )
        self.model.invalidate(epoch, pattern, handed)
        self.model.shed()
        self.cache.do(Invalidate(pattern, epoch, given, session=session, stored=stored))

    @rule(which=st.integers(0, 9))
    def acknowledge(self, which) -> None:
        if self.model.marks:
            epoch = self.model.marks[which % len(self.model.marks)][0]
            self.model.acknowledge(epoch)
            self.cache.do(Acknowledged(epoch))

    @rule(key=KEYS, session=SESSIONS)
    def pin(self, key, session) -> None:
        self.model.pin(key, session)
        self.model.shed()
        self.cache.do(Pin(key, session))

    @rule(key=KEYS, session=SESSIONS)
    def unpin(self, key, session) -> None:
        self.model.unpin(key, session)
        self.model.shed()
        self.cache.do(Unpin(key, session))

    @rule(session=SESSIONS)
    def end_session(self, session) -> None:
        self.model.end_session(session)
        self.model.shed()
        self.cache.do(EndSession(session))

    @rule(seconds=st.sampled_from([0, 1, 3, 8, 25]), tick=st.booleans())
    def let_time_pass(self, seconds, tick) -> None:
        self.cache.now += seconds
        self.model.now = self.cache.now
        if tick:
            self.model.tick()
            self.cache.tick()
            due = self.cache.machine.next_deadline()
            assert due is None or due > self.cache.now

    @rule()
    def restart(self) -> None:
        self.model.restart(list(self.cache.view))
        self.cache.restart(self.model.pins)
        for epoch, pattern in self.model.marks:
            self.model.told["invalidated", epoch] += 1
            self.cache.do(Invalidate(pattern, epoch))

    # ---- what must agree -------------------------------------------------------------------------

    @invariant()
    def the_same_was_told(self) -> None:
        for effect in self.cache.told:
            line = told(effect)
            if line is not None:
                self.model.told[line] -= 1
        self.cache.told.clear()
        differing = {line: count for line, count in self.model.told.items() if count}
        assert not differing, "1: the model alone told it, -1: the machine alone"
        self.model.told.clear()

    @invariant()
    def the_same_is_held(self) -> None:
        nodes = self.cache.machine._residents.nodes
        held = {}
        for stored, entry in self.cache.view.items():
            node = nodes[stored]
            held[stored] = (
                str(entry.content.layer),
                entry.prefetch_id,
                node.since,
                node.read,
                node.freq,
                node.session,
            )
        assert held == self.model.state()
        deadlines = [self.model.deadline(r)[0] for r in self.model.rows if r["layer"] != "pinned"]
        assert self.cache.machine.next_deadline() == min(deadlines, default=None)
        figures = self.cache.machine.snapshot()
        assert figures.pinned.entries == sum(r["layer"] == "pinned" for r in self.model.rows)
        assert figures.invalidations == len(self.model.marks)
        assert figures.remembered == len(self.model.ghosts)
        assert self.cache.machine._residents.ghosts._left == dict(self.model.ghosts)

    @invariant()
    def no_prefetch_ended_twice(self) -> None:
        nodes = self.cache.machine._residents.nodes.values()
        still_open = [n.entry.prefetch_id for n in nodes if n.open]
        assert len(still_open) == len(set(still_open))
        assert not set(still_open) & self.model.wasted


TestLayers = Layers.TestCase
TestLayers.settings = settings(
    max_examples=200,
    stateful_step_count=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
