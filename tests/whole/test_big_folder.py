"""A real engine on thousands of real files, with two agents at work in them."""

import random
import threading
from pathlib import Path

import pykka

from prefetch_scheduler.engine import FileSource, PrefetchEngine, SessionEnded
from support.hosts import Agent, Disk, at_rest, figures, standard_library, together

SEED = 20_261_123
FILES = 5_000
ROUNDS = 200

SUMS = (
    "total_prefetches",
    "used",
    "wasted",
    "cancelled",
    "failed",
    "open",
    "cache_hits",
    "late_hits",
    "joined",
    "cache_misses",
    "reads",
    "tokens_prefetched",
    "tokens_used",
    "wasted_tokens",
    "demand_loads",
    "tokens_demand_loaded",
    "token_budget_granted",
)


def test_every_read_is_what_is_on_disk_and_the_figures_add_up(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    names = standard_library(tmp_path, FILES)
    assert len(set(names)) >= FILES
    random.Random(SEED).shuffle(names)
    disk = Disk(tmp_path, sorted(names))
    with PrefetchEngine(sources=[FileSource(tmp_path)]) as engine:
        agents = [
            Agent(engine.session(id_), disk, SEED + number, ROUNDS)
            for number, id_ in enumerate(("one", "two"))
        ]
        together(*(agent.run for agent in agents))
        for agent in agents:
            if agent.failure is not None:
                raise agent.failure
            assert {"contexts", "handed over", "told", "unseen", "peeked"} <= set(agent.did)
        at_rest(engine)
        _figures_add_up(engine, agents)
        for agent in agents:
            agent.session.trigger(SessionEnded())
        ended = engine.total_report().summary()
        assert ended["open"] == 0
        assert engine.health().state == "ok"
    assert not pykka.ActorRegistry.get_all()
    assert set(threading.enumerate()) <= before


def _figures_add_up(engine: PrefetchEngine, agents: list[Agent]) -> None:
    total = engine.total_report()
    assert total.snapshot.engine is not None
    assert dict(total.snapshot.engine.anomalies) == {}
    ours = [figures(agent.session) for agent in agents]
    for agent, summary in zip(agents, ours, strict=True):
        assert summary["reads"] == agent.reads
        assert summary["total_prefetches"] > 100
        assert summary["cache_hits"] + summary["late_hits"] > 100
    summary = total.summary()
    default = figures(engine)
    for name in SUMS:
        assert summary[name] == sum(each[name] for each in ours) + default[name], name
