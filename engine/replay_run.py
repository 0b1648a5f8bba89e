"""One whole replay: an engine for each part, its sources, and the report of each."""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, field

from prefetch_scheduler.actors.clock import ScaledClock, SystemClock
from prefetch_scheduler.actors.messages import PlannerStatus, PlannerStatusQuery
from prefetch_scheduler.engine.facade import PrefetchEngine
from prefetch_scheduler.engine.recorded_source import RecordedSource
from prefetch_scheduler.engine.recording_events import AccessEvent, RecordedSession
from prefetch_scheduler.engine.recording_format import read_sessions
from prefetch_scheduler.engine.replay import (
    Replay,
    ReplayCounts,
    ReplayEngine,
    SubmittedPlan,
    plans_of,
)
from prefetch_scheduler.engine.workspace import workspace_sources
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.counts import Counts
from prefetch_scheduler.policies.keys import kind_of
from prefetch_scheduler.policies.plan import Plan
from prefetch_scheduler.policies.report import Report
from prefetch_scheduler.policies.slots import pool_capacity
from prefetch_scheduler.policies.values import define, frozen

SLOWEST, FASTEST = 1e-3, 1e6
PATIENCE_S = 30.0
"""Real seconds beyond the longest recorded load that a load and a read are given."""
SURVEY_S = 1.0
"""Real seconds that the sources of a workspace have to say what they know, at a higher speed."""
SETTLE_S = 5.0
"""Real seconds that the figures are given to come to rest at the end."""
KEPT_PLANS = 100


@frozen
class Speed:
    """How many times as fast as real time; infinite: leave out thinking and load times.

    Raises:
        ValueError: `factor` is neither infinite nor in `SLOWEST`..`FASTEST`.
    """

    factor: float = field()

    @factor.validator
    def _check(self, _: Any, value: float) -> None:
        if not SLOWEST <= value <= FASTEST and value != math.inf:
            raise ValueError(f"speed must be in {SLOWEST:g}..{FASTEST:g}, got {value!r}")

    @property
    def is_max(self) -> bool:
        return math.isinf(self.factor)

    def __str__(self) -> str:
        return "max" if self.is_max else f"{self.factor:g}"

    def clock(self) -> ScaledClock | SystemClock:
        """A clock that starts now."""
        return SystemClock() if self.is_max else ScaledClock(self.factor)


MAX_SPEED = Speed(math.inf)


@frozen
class Part:
    """Recordings that are replayed by one engine."""

    paths: tuple[str | os.PathLike[str], ...]
    workspace: str | os.PathLike[str] | None = None
    """Serves the kinds that it holds; None: all is recorded."""
    show_plans: bool = False


@frozen
class Scan:
    """What is known of recordings before they are replayed."""

    sessions: int
    kinds: frozenset[str]
    """Kinds that are accessed; only predicted ones have nothing recorded to be served from."""
    longest_s: float
    """The longest recorded load, in seconds."""


def scan(paths: Sequence[str | os.PathLike[str]]) -> Scan:
    """Read the recordings once, so that a fault in the last line is found before the first session.

    Raises:
        RecordingError: a line does not fit, or a file cannot be read.
    """
    sessions, kinds, longest = 0, set[str](), 0.0
    for session in sessions_in(paths):
        sessions += 1
        for event in session.events:
            if isinstance(event, AccessEvent):
                kinds.add(kind_of(event.key))
                longest = max(longest, event.load_s)
    return Scan(sessions, frozenset(kinds), longest)


def sessions_in(paths: Sequence[str | os.PathLike[str]]) -> Iterator[RecordedSession]:
    """The sessions of all files, in argument order."""
    for path in paths:
        yield from read_sessions(path)


@frozen
class Replayed:
    """What came of one part."""

    report: Report
    plans: Sequence[tuple[SubmittedPlan, Plan]]
    faults: Sequence[str]
    sources: Mapping[str, RecordedSource]


@define
class Run:
    """Replays parts one after another.

    Args:
        config: the configuration of every engine.
        parts: each with its scan.
        speed: of the engines' clocks and of the agents.
    """

    config: Config
    parts: Sequence[tuple[Part, Scan]]
    speed: Speed
    _done: ReplayCounts = field(init=False, factory=ReplayCounts)
    _saved: Counts = field(init=False, factory=Counts)
    _current: tuple[ReplayEngine, Replay] | None = field(init=False, default=None)

    @property
    def sessions(self) -> int:
        """Sessions in all parts."""
        return sum(known.sessions for _, known in self.parts)

    @property
    def counts(self) -> ReplayCounts:
        """What has been replayed so far, in all parts. May be read from any thread."""
        counts = ReplayCounts()
        counts.add(self._done)
        current = self._current
        if current is not None:
            counts.add(current[1].counts)
        return counts

    def figures(self) -> Counts | None:
        """The engines' own counts so far; None while there are none. From any thread."""
        current = self._current
        if current is None:
            return None
        counts = current[0].total_report().snapshot.counts.copy()
        counts.add(self._saved)
        return counts

    def run(self) -> list[Replayed]:
        """Replay all parts.

        Raises:
            EngineStopped, EngineFailed: an engine ended under its part.
            ConfigError: a workspace is not a folder.
        """
        return [self._part(part, known) for part, known in self.parts]

    def _part(self, part: Part, known: Scan) -> Replayed:
        clock = self.speed.clock()
        # Real seconds in engine time: a load must not time out because the clock runs faster.
        patience_s = 2 * known.longest_s + PATIENCE_S / clock.real(1.0)
        served: list[Any] = []
        if part.workspace is not None:
            served += workspace_sources(part.workspace, load_timeout_s=patience_s)
        sources = {
            kind: RecordedSource(kind, clock, instant=self.speed.is_max, load_timeout_s=patience_s)
            for kind in sorted(known.kinds - {source.kind for source in served})
        }
        config = surveyed_at(self.config, self.speed)
        with PrefetchEngine(config, sources=[*served, *sources.values()], clock=clock) as engine:
            replay = Replay(
                engine,
                clock,
                sources,
                thinking=not self.speed.is_max,
                get_timeout_s=patience_s,
                keep_plans=KEPT_PLANS if part.show_plans else 0,
            )
            self._current = (engine, replay)
            try:
                replay.run(sessions_in(part.paths))
                plans = plans_of(replay.plans, patience_s)
                report = settled_report(engine)
            finally:
                self._current = None
                self._done.add(replay.counts)
        self._saved.add(report.snapshot.counts)
        return Replayed(report, plans, tuple(replay.faults), sources)


def surveyed_at(config: Config, speed: Speed) -> Config:
    """Time for surveys in real seconds, as engine time.

    What a workspace says of its files takes real time, however fast the clock runs. A plan that
    did not wait for it would know neither their sizes nor which of them are secret.
    """
    if speed.is_max or speed.factor <= 1:
        return config
    execution = config.execution
    limit_ms = max(execution.survey_timeout_ms, SURVEY_S * 1000) * speed.factor
    return evolve(config, execution=evolve(execution, survey_timeout_ms=limit_ms))


def settled_report(engine: PrefetchEngine, within_s: float = SETTLE_S) -> Report:
    """The totals, once each prefetch has ended as used, wasted, cancelled or failed.

    All sessions are over by then, so every prefetch does end; what the actors still have to tell
    one another takes a moment. After `within_s` real seconds the report is what it is.
    """
    deadline = time.monotonic() + within_s
    report = engine.total_report()
    while time.monotonic() < deadline and not (_at_rest(engine) and not report.snapshot.open):
        time.sleep(0.005)
        report = engine.total_report()
    return engine.total_report()


def _at_rest(engine: PrefetchEngine) -> bool:
    """Whether every pool has all its credits back: what it had begun has been reported by then,

    also a load that was cancelled at the moment of its start.
    """
    status: PlannerStatus = engine.planner.ask(PlannerStatusQuery())
    full = all(
        credits_ == pool_capacity(engine.config, pool) for pool, credits_ in status.credits.items()
    )
    return full and not status.flights and not status.pending
