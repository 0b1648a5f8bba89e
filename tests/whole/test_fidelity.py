"""The simulator against the live engine: the same sessions, the same decisions.

Recorded sessions of real agents, with their keys, roles, confidences, contexts and changes, are
spaced so that a busy machine's delays (some 0.1 s) fall between events and not across them: what
is then compared depends on no measured time. The live engine runs on a clock 40 times as fast.

Tolerance: of what is loaded, how reads are served and the tokens, at most 5 % may differ, since a
delay beyond that slack turns a hit into a late hit, or a load that is given up into one that ends.
"""

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from attrs import evolve

from prefetch_scheduler.actors.clock import ScaledClock
from prefetch_scheduler.engine import PrefetchEngine
from prefetch_scheduler.engine.recorded_loads import RecordedLoads
from prefetch_scheduler.engine.recorded_source import RecordedSource
from prefetch_scheduler.engine.recording_events import AccessEvent, RecordedSession
from prefetch_scheduler.engine.recording_format import read_sessions
from prefetch_scheduler.engine.replay import Replay
from prefetch_scheduler.engine.replay_run import settled_report
from prefetch_scheduler.engine.simulation.engine_host import EngineHost, source_table
from prefetch_scheduler.engine.simulation.host import run_session
from prefetch_scheduler.policies.config import Config, Execution
from prefetch_scheduler.policies.keys import kind_of

DATA = Path(__file__).parents[2] / "benchmarks" / "data"
SPEED = 20.0
SPACING_S = 5.0
"""Engine seconds between events: 250 ms of real time, so that a busy machine keeps up."""
EVENTS = 18
KINDS = ("file", "search", "skill", "tool", "url")
TOLERANCE = 0.05


def spaced(recorded: RecordedSession, skip: int) -> RecordedSession:
    """A part of a session, an event every `SPACING_S`; loads take 0.05 to 0.4 s."""
    chosen = [recorded.events[0], *islice(recorded.events, skip, skip + EVENTS)]
    chosen.append(recorded.events[-1])
    events = []
    for place, event in enumerate(chosen):
        moved = evolve(event, t=place * SPACING_S)
        if isinstance(moved, AccessEvent):
            moved = evolve(moved, load_s=0.05 * (1 + len(moved.key) % 8))
        events.append(moved)
    return evolve(recorded, events=tuple(events))


def chosen_sessions():
    evaluator = list(islice(read_sessions(DATA / "context-evaluator.jsonl.gz"), 3))
    return [spaced(evaluator[0], 1), spaced(evaluator[2], 1)]


def live(config, sessions):
    clock = ScaledClock(SPEED)
    sources = {kind: RecordedSource(kind, clock, load_timeout_s=4000.0) for kind in KINDS}
    with PrefetchEngine(config, sources=sources.values(), clock=clock) as engine:
        replay = Replay(engine, clock, sources)
        replay.run(sessions)
        counts = settled_report(engine).snapshot.counts
    loaded = Counter()
    for kind, source in sources.items():
        loaded.update({f"{kind}:{name}": count for name, count in source.loaded.items()})
    assert (replay.counts.failed, replay.counts.stale) == (0, 0)
    return counts, loaded


def simulated(config, sessions):
    host = EngineHost(config, source_table(KINDS), apart=False)
    loaded = Counter()
    for session in sessions:
        trace = run_session(host, session, RecordedLoads.of(session))
        loaded.update(load.key for load in trace.loads.values() if not load.cancelled)
    return host.counts(), loaded


def apart(one, other):
    """By what share of the larger two counters or numbers differ."""
    if isinstance(one, Counter):
        difference = ((one - other) + (other - one)).total()
        return difference / max(one.total(), other.total(), 1)
    return abs(one - other) / max(one, other, 1)


@pytest.mark.parametrize("policy", ["default", "specification"])
def test_the_live_engine_decides_as_the_simulator_says(policy):
    config = Config(execution=Execution(policy=policy))
    sessions = chosen_sessions()
    assert {kind_of(a.key) for each in sessions for a in each.accesses()} <= set(KINDS)
    (real, real_loads), (virtual, virtual_loads) = (
        live(config, sessions),
        simulated(config, sessions),
    )
    assert virtual.prefetches > 10
    assert virtual.used > 0
    assert apart(real_loads, virtual_loads) <= TOLERANCE
    assert real.reads == virtual.reads
    for figure in ("prefetches", "tokens_prefetched", "tokens_wasted", "demand_loads"):
        assert apart(getattr(real, figure), getattr(virtual, figure)) <= TOLERANCE, figure
    assert abs(real.hits - virtual.hits) <= max(1, TOLERANCE * virtual.reads)
