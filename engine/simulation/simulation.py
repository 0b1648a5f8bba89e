"""Runs recorded sessions under policies, side by side."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import evolve, field

from prefetch_scheduler.engine.recording_events import RecordedSession
from prefetch_scheduler.engine.simulation.choosers import (
    LOOK_AHEAD,
    Everything,
    Foresight,
    Nothing,
)
from prefetch_scheduler.engine.simulation.engine_host import EngineHost, source_table
from prefetch_scheduler.engine.simulation.figures import Waits, policy_figures
from prefetch_scheduler.engine.simulation.host import Host, run_session
from prefetch_scheduler.engine.simulation.loads import AsRecorded, LoadLaw
from prefetch_scheduler.engine.simulation.plain_host import PlainHost
from prefetch_scheduler.engine.simulation.predictions import Predictor
from prefetch_scheduler.engine.simulation.trace import Trace
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.source_info import SourceTable
from prefetch_scheduler.policies.values import define, frozen
from prefetch_scheduler.policies.vocabulary import PolicyName

BASE = "none"
"""The policy against which hidden latency is measured."""
SHIPPED = "default"
"""The policy of an engine as it is configured."""

MOST_TRACED = 150
"""Loads of a session that a time line still shows legibly."""

MakeHost = Callable[[Config, SourceTable], Host]


def _engine(policy: PolicyName) -> MakeHost:
    def host(config: Config, table: SourceTable) -> Host:
        execution = evolve(config.execution, policy=policy)
        return EngineHost(evolve(config, execution=execution), table)

    return host


POLICIES: dict[str, MakeHost] = {
    BASE: lambda config, _: PlainHost(config, Nothing()),
    "everything": lambda config, _: PlainHost(config, Everything()),
    "specification": _engine(PolicyName.SPECIFICATION),
    "reachable": lambda config, _: PlainHost(config, Foresight(config=config)),
    "oracle": lambda config, _: PlainHost(config, Foresight(config=config, look_ahead=LOOK_AHEAD)),
    SHIPPED: EngineHost,
}
"""Every policy by name, and what plays it."""


@frozen
class Setting:
    """All that a simulation depends on, apart from the sessions."""

    config: Config = field(factory=Config)
    load: LoadLaw = field(factory=AsRecorded)
    predictor: Predictor = field(factory=Predictor)


@define(eq=False)
class PolicyRun:
    """One policy, from session to session."""

    name: str
    setting: Setting
    host: Host
    waits: Waits = field(init=False, factory=Waits)
    liveliest: Trace | None = field(init=False, default=None)
    """The session for a time line: of those with few enough loads, the one with most of them."""

    @classmethod
    def of(cls, name: str, setting: Setting, kinds: Iterable[str]) -> "PolicyRun":
        """The policy of that name; `kinds` are those that have a source."""
        return cls(name, setting, POLICIES[name](setting.config, source_table(kinds)))

    def run(self, session: RecordedSession) -> Trace:
        """One more session, its predictions already made."""
        trace = run_session(self.host, session, self.setting.load.of(session))
        self.waits.add(trace)
        best = len(self.liveliest.loads) if self.liveliest is not None else 0
        if best < len(trace.loads) <= MOST_TRACED:
            self.liveliest = trace
        return trace

    def result(self) -> dict[str, Any]:
        """Plain data: `figures` (without `hidden_fraction`), `waits`, `timeline`, and what an
        engine says of its `speculation`.
        """
        timeline = None if self.liveliest is None else as_timeline(self.name, self.liveliest)
        return {
            "figures": policy_figures(self.waits, self.host.counts()),
            "accesses": self.waits.count,
            "waits": self.waits.histogram(),
            "timeline": timeline,
            "speculation": self.host.speculation() if isinstance(self.host, EngineHost) else None,
        }


def simulate(
    sessions: Iterable[RecordedSession],
    names: Sequence[str],
    setting: Setting,
    kinds: Iterable[str],
    seen: Callable[[int], None] = lambda _: None,
) -> dict[str, dict[str, Any]]:
    """Run all sessions under each of the policies; what came of each, by name.

    Args:
        sessions: in the order in which learned statistics carry over.
        names: keys of `POLICIES`.
        setting: loads, predictions and configuration.
        kinds: the kinds of key that have a source.
        seen: told after each session how many there have been.
    """
    kinds = sorted(set(kinds))
    runs = [PolicyRun.of(name, setting, kinds) for name in names]
    for number, session in enumerate(sessions, 1):
        told = setting.predictor.applied(session)
        for run in runs:
            run.run(told)
        seen(number)
    return {run.name: run.result() for run in runs}


def as_timeline(policy: str, trace: Trace) -> dict[str, Any]:
    """One session as plain data for a time line; all times in seconds since its start."""
    return {
        "session": trace.session,
        "policy": policy,
        "duration_s": round(trace.duration_s, 6),
        "loads": [
            {
                "key": load.key,
                "start_s": round(load.start_s, 6),
                "finish_s": round(load.finish_s, 6),
                "cause": "prefetch" if load.prefetch else "demand",
                "used": load.used,
                "tokens": load.tokens,
            }
            for load in trace.loads.values()
            if load.finish_s is not None
        ],
        "waits": [
            {
                "key": read.key,
                "start_s": round(read.start_s, 6),
                "finish_s": round(read.finish_s, 6),
                "kind": str(read.kind),
            }
            for read in trace.reads
        ],
    }
