"""Runs recorded sessions through a real engine, in real time or a multiple of it.

An event happens as long after the one before it *finished* as their `t` differ, on the engine's
clock: waits for loads are the replay's own, thinking is the recording's. Each session starts with
an empty cache: after its end everything that it loaded is invalidated.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, assert_never

from attrs import field, fields

from prefetch_scheduler.actors.ports import Clock
from prefetch_scheduler.engine.events import (
    ContextChanged,
    FileChanged,
    SessionEnded,
    SkillUpdated,
    TriggerEvent,
)
from prefetch_scheduler.engine.recorded_loads import RecordedLoads
from prefetch_scheduler.engine.recorded_source import RecordedSource
from prefetch_scheduler.engine.recording_events import (
    AccessEvent,
    ChangeEvent,
    ContextEvent,
    EndEvent,
    PredictEvent,
    RecordedEvent,
    RecordedSession,
    SessionEvent,
)
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import (
    InvalidPrediction,
    LoadTimeout,
    PrefetchError,
    ResourceUnavailable,
    UnknownKind,
)
from prefetch_scheduler.policies.keys import split_key
from prefetch_scheduler.policies.plan import Plan
from prefetch_scheduler.policies.prediction import Constraints, Prediction
from prefetch_scheduler.policies.report import Report
from prefetch_scheduler.policies.values import define, frozen

KEPT_FAULTS = 20
"""Failed accesses of which the message is kept; all are counted."""

_ACCESS_ERRORS = (ResourceUnavailable, LoadTimeout, UnknownKind, InvalidPrediction)
"""What ends one access. Any other error means that the engine no longer runs."""


class PlanHandle(Protocol):
    """What a replay needs of the handle of a submit."""

    def plan(self, timeout: float | None = None) -> Plan: ...


class ReplaySession(Protocol):
    """What a replay needs of one session of the engine."""

    def submit(
        self, predictions: Iterable[Prediction], constraints: Constraints | None = None
    ) -> PlanHandle: ...

    def get(self, key: str, *, timeout: float | None = None) -> Content: ...

    def invalidate(self, pattern: str) -> None: ...

    def trigger(self, event: TriggerEvent) -> None: ...


class ReplayEngine(Protocol):
    """What a replay needs of an engine that has been started."""

    def session(self, id: str, project: str | None = None) -> ReplaySession: ...  # noqa: A002 - the contract's name

    def invalidate(self, pattern: str) -> None: ...

    def total_report(self) -> Report:
        """Once it has returned, all that was told to the engine before has been taken in."""


@define
class ReplayCounts:
    """What has been replayed so far. Written by the replay alone; others may look at any time."""

    sessions: int = 0
    """Sessions begun."""
    accesses: int = 0
    failed: int = 0
    """Accesses that ended in an error."""
    changes: int = 0
    predictions: int = 0
    """Predict events."""
    refused: int = 0
    """Predict events that the engine refused, e.g. for a path that leaves the workspace."""
    stale: int = 0
    """Accesses that were given recorded content of before a change: the engine broke its word."""
    tokens_read: int = 0
    waited_s: float = 0.0
    """Engine seconds that accesses took."""

    def add(self, other: "ReplayCounts") -> None:
        """Add the figures of another part of the same replay."""
        for figure in fields(ReplayCounts):
            setattr(self, figure.name, getattr(self, figure.name) + getattr(other, figure.name))


@frozen
class SubmittedPlan:
    """One submit of a replay, with what became of it."""

    session: str
    t: float
    handle: PlanHandle


@define
class Replay:
    """One run of recorded sessions through one engine.

    Args:
        engine: started by the caller, with `sources` among its sources.
        clock: the engine's clock.
        sources: the recorded sources by kind; other kinds come from the caller's own sources.
        thinking: whether to let the time between events pass; False at `max` speed.
        get_timeout_s: engine seconds that an access waits before it counts as failed.
        keep_plans: how many submits to keep for `plans`, the latest; their plans are wanted for
            display only.
        pause: waits so many real seconds.
    """

    engine: ReplayEngine
    clock: Clock
    sources: Mapping[str, RecordedSource]
    thinking: bool = True
    get_timeout_s: float = 600.0
    keep_plans: int = 0
    pause: Callable[[float], None] = time.sleep
    counts: ReplayCounts = field(factory=ReplayCounts)
    faults: list[str] = field(factory=list)
    """Messages of the first failed accesses and refused predictions."""
    _seen: dict[str, int] = field(init=False, factory=dict)
    _kinds: set[str] = field(init=False, factory=set)
    _plans: "deque[SubmittedPlan]" = field(init=False)

    @_plans.default
    def _bounded(self) -> "deque[SubmittedPlan]":
        return deque(maxlen=self.keep_plans)

    @property
    def plans(self) -> Sequence[SubmittedPlan]:
        """The latest submits, oldest first."""
        return tuple(self._plans)

    def run(self, sessions: Iterable[RecordedSession]) -> None:
        """Replay the sessions one after another.

        Raises:
            EngineStopped, EngineFailed: the engine ended under it.
            Whatever the iterable raises, e.g. `RecordingError`.
        """
        for session in sessions:
            self.run_session(session)

    def run_session(self, recorded: RecordedSession) -> None:
        """Replay one session, from its start to its end."""
        loads = RecordedLoads.of(recorded)
        for source in self.sources.values():
            source.feed(loads)
        self.counts.sessions += 1
        self._kinds = set(self.sources)
        session = self.engine.session(self._unique(recorded.id), project=recorded.project)
        first_t = recorded.events[0].t if recorded.events else 0.0
        finished, previous_t = self.clock.now(), first_t
        for event in recorded.events:
            if self.thinking:
                self._wait_until(finished + event.t - previous_t)
            self._apply(session, recorded.id, event)
            finished, previous_t = self.clock.now(), event.t
        # First let the end be taken in: what was not read is wasted because the session is over.
        self.engine.total_report()
        for kind in sorted(self._kinds):
            self.engine.invalidate(f"{kind}:*")
        # The planner must have heard of it, or the next session's first predictions could find
        # these keys "cached" and not be loaded.
        self.engine.total_report()

    def _unique(self, session_id: str) -> str:
        """Recordings may repeat an id; in the engine two sessions of one id would be one."""
        count = self._seen[session_id] = self._seen.get(session_id, 0) + 1
        return session_id if count == 1 else f"{session_id}#{count}"

    def _wait_until(self, due: float) -> None:
        while (left := due - self.clock.now()) > 0:
            self.pause(self.clock.real(left))

    def _apply(self, session: ReplaySession, session_id: str, event: RecordedEvent) -> None:
        match event:
            case SessionEvent():
                pass  # `engine.session` has started it
            case ContextEvent():
                session.trigger(ContextChanged(event.id))
            case PredictEvent():
                self._predict(session, session_id, event)
            case AccessEvent():
                self._access(session, event)
            case ChangeEvent():
                self._change(session, event)
            case EndEvent():
                session.trigger(SessionEnded())
            case _:
                assert_never(event)

    def _predict(self, session: ReplaySession, session_id: str, event: PredictEvent) -> None:
        self.counts.predictions += 1
        try:
            handle = session.submit(event.items, event.constraints)
        except InvalidPrediction as error:
            self.counts.refused += 1
            self._note(f"{session_id} at t={event.t:g}: {error}")
            return
        if self.keep_plans:
            self._plans.append(SubmittedPlan(session_id, event.t, handle))

    def _access(self, session: ReplaySession, event: AccessEvent) -> None:
        kind, name = split_key(event.key)
        self._kinds.add(kind)
        asked = self.clock.now()
        try:
            content = session.get(event.key, timeout=self.get_timeout_s)
        except _ACCESS_ERRORS as error:
            self.counts.failed += 1
            self._note(f"{event.key}: {error}")
        else:
            self.counts.tokens_read += content.tokens or 0
            source = self.sources.get(kind)
            # Only this thread changes resources, so nothing can have changed since the read.
            if source is not None and content.version != source.version(name):
                self.counts.stale += 1
                self._note(f"{event.key}: stale: {content.version} is not the newest version")
        self.counts.accesses += 1
        self.counts.waited_s += self.clock.now() - asked

    def _change(self, session: ReplaySession, event: ChangeEvent) -> None:
        self.counts.changes += 1
        kind, name = split_key(event.key)
        source = self.sources.get(kind)
        if source is not None:
            source.change(name)
        try:
            if kind == "file":
                session.trigger(FileChanged(name))
            elif kind == "skill" and "#" not in name:
                session.trigger(SkillUpdated(name))
            else:
                session.invalidate(event.key)
        except (UnknownKind, InvalidPrediction) as error:
            self._note(f"{event.key}: {error}")

    def _note(self, text: str) -> None:
        if len(self.faults) < KEPT_FAULTS:
            self.faults.append(text)


def plans_of(
    submitted: Iterable[SubmittedPlan], timeout_s: float
) -> list[tuple[SubmittedPlan, Plan]]:
    """The plans of submits, those left out that were never made.

    Args:
        timeout_s: engine seconds to wait for each.
    """
    result: list[tuple[SubmittedPlan, Plan]] = []
    for submit in submitted:
        try:
            result.append((submit, submit.handle.plan(timeout_s)))
        except PrefetchError:
            continue
    return result


def totals(counts: ReplayCounts) -> dict[str, Any]:
    """The figures of a replay that stand beside the report in `replay --json`."""
    return {
        "accesses": counts.accesses,
        "failed": counts.failed,
        "changes": counts.changes,
        "predictions": counts.predictions,
        "refused": counts.refused,
        "stale": counts.stale,
        "tokens_read": counts.tokens_read,
        "waited_s": round(counts.waited_s, 3),
    }
