"""Runs recorded sessions under policies, side by side."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import define, evolve, field, frozen

from prefetch_scheduler.engine.recording_events import RecordedSession
from prefetch_scheduler.engine.simulation.choosers import (
    LOOK_AHEAD,
    Everything,
    Foresight,
    Nothing,
)
from prefetch_scheduler.engine.simulation.engine_host import EngineHost, source_table
from prefetch_scheduler.engine.simulation.figures import Figures, Waits
from prefetch_scheduler.engine.simulation.host import Host, run_session
from prefetch_scheduler.engine.simulation.loads import AsRecorded, LoadLaw
from prefetch_scheduler.engine.simulation.plain_host import PlainHost
from prefetch_scheduler.engine.simulation.predictions import Predictor
from prefetch_scheduler.engine.simulation.trace import Trace
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.source_info import SourceTable
from prefetch_scheduler.policies.vocabulary import PolicyName

BASE = "none"
"""The policy against which hidden latency is measured."""

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
    "reachable": lambda config, _: PlainHost(config, Foresight(config=config, named_only=True)),
    "oracle": lambda config, _: PlainHost(config, Foresight(config=config, look_ahead=LOOK_AHEAD)),
    "default": lambda config, table: EngineHost(config, table),
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

    setting: Setting
    host: Host
    waits: Waits = field(init=False, factory=Waits)

    @classmethod
    def of(cls, name: str, setting: Setting, kinds: Iterable[str]) -> "PolicyRun":
        """The policy of that name; `kinds` are those that have a source."""
        return cls(setting, POLICIES[name](setting.config, source_table(kinds)))

    def run(self, session: RecordedSession) -> Trace:
        """One more session, its predictions already made."""
        trace = run_session(self.host, session, self.setting.load.of(session))
        self.waits.add(trace)
        return trace

    def figures(self) -> Figures:
        return Figures(self.waits, self.host.counts())


def simulate(
    sessions: Sequence[RecordedSession], names: Sequence[str], setting: Setting, kinds: Iterable[str]
) -> dict[str, Any]:
    """The document of `simulate --json`."""
    kinds = sorted(set(kinds))
    runs = {name: PolicyRun.of(name, setting, kinds) for name in dict.fromkeys((BASE, *names))}
    for session in sessions:
        told = setting.predictor.applied(session)
        for run in runs.values():
            run.run(told)
    base_s = runs[BASE].waits.total_s
    return {
        "sessions": len(sessions),
        "accesses": runs[BASE].waits.count,
        "policies": {name: runs[name].figures().to_dict(base_s) for name in names},
    }
