"""A replay keeps the recording's time, and tells the engine all that the recording holds."""

import threading

import pytest

from prefetch_scheduler.engine.combined_report import combined
from prefetch_scheduler.engine.events import (
    ContextChanged,
    FileChanged,
    SessionEnded,
    SkillUpdated,
)
from prefetch_scheduler.engine.progress import Progress
from prefetch_scheduler.engine.recorded_source import RecordedSource
from prefetch_scheduler.engine.recording_events import (
    AccessEvent,
    ChangeEvent,
    ContextEvent,
    EndEvent,
    PredictEvent,
    RecordedSession,
    SessionEvent,
)
from prefetch_scheduler.engine.replay import KEPT_FAULTS, Replay
from prefetch_scheduler.policies.accounting import Accounting
from prefetch_scheduler.policies.config import Config, MetricRules
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import (
    EngineStopped,
    InvalidPrediction,
    LoadTimeout,
    ResourceUnavailable,
    UnknownKind,
)
from prefetch_scheduler.policies.metrics_events import (
    BudgetGranted,
    Hits,
    Miss,
    PrefetchLoaded,
    PrefetchStarted,
    PrefetchUsed,
    PrefetchWasted,
    SessionClosed,
    SessionOpened,
)
from prefetch_scheduler.policies.outcomes import Verdict
from prefetch_scheduler.policies.prediction import Constraints, Prediction
from prefetch_scheduler.policies.vocabulary import Cause

LOAD_S = 2.0


class HandClock:
    """Engine time that only the replay's own pauses and the fake engine's loads move."""

    def __init__(self):
        self.time = 100.0

    def now(self):
        return self.time

    def wall(self):
        return self.time

    def today(self):
        return 1

    def real(self, seconds):
        return seconds / 10  # a replay at ten times the speed

    def pause(self, real):
        self.time += real * 10


class FakeSession:
    def __init__(self, engine, id_):
        self.engine, self.id = engine, id_

    def note(self, *what):
        self.engine.calls.append((round(self.engine.clock.time - 100, 6), self.id, *what))

    def submit(self, predictions, constraints=None):
        self.note("submit", tuple(p.key for p in predictions), constraints)
        if self.engine.refuses:
            raise InvalidPrediction("not below the root")

    def get(self, key, *, timeout=None):
        self.note("get", key)
        error = self.engine.errors.get(key)
        if error is not None:
            raise error
        self.engine.clock.time += LOAD_S
        kind, _, name = key.partition(":")
        return Content("x", tokens=7, version=self.engine.version(kind, name))

    def invalidate(self, pattern):
        self.note("invalidate", pattern)

    def trigger(self, event):
        self.note("trigger", event)


class FakeEngine:
    def __init__(self, clock):
        self.clock, self.calls, self.errors, self.refuses = clock, [], {}, False
        self.version = lambda kind, name: (1, 0)

    def session(self, id, project=None):  # noqa: A002 - the contract's name
        FakeSession(self, id).note("session", project)
        return FakeSession(self, id)

    def invalidate(self, pattern):
        FakeSession(self, None).note("invalidate", pattern)

    def total_report(self):
        FakeSession(self, None).note("settle")


def session(*events, id_="s", project="p", end=20.0):
    return RecordedSession(id_, project, (SessionEvent(0.0, id_, project), *events, EndEvent(end)))


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def engine(clock):
    return FakeEngine(clock)


@pytest.fixture
def sources(clock):
    return {kind: RecordedSource(kind, clock) for kind in ("file", "search", "skill")}


@pytest.fixture
def replay(engine, clock, sources):
    return Replay(engine, clock, sources, pause=clock.pause)


def test_an_event_happens_as_long_after_the_one_before_it_finished_as_their_times_differ(
    replay, engine
):
    replay.run(
        [
            session(
                ContextEvent(0.5, "turn-1"),
                AccessEvent(4.0, "file:a", 0.1, 1),
                AccessEvent(4.0, "file:b", 0.1, 1),
                ChangeEvent(9.0, "file:a"),
                end=10.0,
            )
        ]
    )
    times = [(at, what) for at, _, what, *_ in engine.calls]
    assert times == [
        (0.0, "session"),
        (0.5, "trigger"),
        (4.0, "get"),  # takes 2 s, as does the next
        (6.0, "get"),
        (13.0, "trigger"),
        (14.0, "trigger"),
        (14.0, "settle"),
        (14.0, "invalidate"),
        (14.0, "invalidate"),
        (14.0, "invalidate"),
        (14.0, "settle"),
    ]
    assert replay.counts.waited_s == pytest.approx(4.0)


def test_without_thinking_no_time_passes_but_that_of_the_loads(engine, clock, sources):
    def never(real):
        raise AssertionError(f"paused for {real} s")

    replay = Replay(engine, clock, sources, thinking=False, pause=never)
    replay.run([session(AccessEvent(4.0, "file:a", 0.1, 1), end=1000.0)])
    assert clock.time == 100 + LOAD_S


def test_the_engine_is_told_all_that_the_recording_holds(replay, engine):
    items = (Prediction("file:a", "main_file", 0.9),)
    constraints = Constraints(token_budget=5)
    replay.run(
        [
            session(
                ContextEvent(1.0, "turn-1"),
                PredictEvent(1.0, items, constraints),
                AccessEvent(1.0, "search:1", 0.1, 1),
                ChangeEvent(2.0, "file:a"),
                ChangeEvent(2.0, "skill:x/y"),
                ChangeEvent(2.0, "skill:x/y#meta"),
                ChangeEvent(2.0, "search:1"),
            )
        ]
    )
    assert [call[1:] for call in engine.calls] == [
        ("s", "session", "p"),
        ("s", "trigger", ContextChanged("turn-1")),
        ("s", "submit", ("file:a",), constraints),
        ("s", "get", "search:1"),
        ("s", "trigger", FileChanged("a")),
        ("s", "trigger", SkillUpdated("x/y")),
        ("s", "invalidate", "skill:x/y#meta"),
        ("s", "invalidate", "search:1"),
        ("s", "trigger", SessionEnded()),
        (None, "settle"),
        (None, "invalidate", "file:*"),
        (None, "invalidate", "search:*"),
        (None, "invalidate", "skill:*"),
        (None, "settle"),
    ]
    counts = replay.counts
    assert (counts.sessions, counts.accesses, counts.changes, counts.predictions) == (1, 1, 4, 1)


def test_a_change_makes_what_the_recorded_source_loaded_stale(replay, sources):
    seen = []
    replay.engine.errors = _Watch(lambda key: seen.append(sources["file"].version("a")))
    replay.run(
        [
            session(
                AccessEvent(1.0, "file:a", 0.1, 1),
                ChangeEvent(2.0, "file:a"),
                AccessEvent(3.0, "file:a", 0.1, 1),
            )
        ]
    )
    assert seen[0] != seen[1]


class _Watch(dict):
    def __init__(self, called):
        super().__init__()
        self.called = called

    def get(self, key, default=None):
        self.called(key)
        return default


def test_sessions_of_one_id_are_sessions_of_their_own(replay, engine):
    replay.run([session(id_="s"), session(id_="t"), session(id_="s")])
    ids = [who for _, who, what, *_ in engine.calls if what == "session"]
    assert ids == ["s", "t", "s#2"]


def test_what_was_read_is_counted_and_checked_for_being_current(replay, engine, sources):
    engine.version = lambda kind, name: sources[kind].version(name)
    events = (
        AccessEvent(1.0, "file:a", 0.1, 1),
        ChangeEvent(2.0, "file:a"),
        AccessEvent(3.0, "file:a", 0.1, 1),
    )
    replay.run([session(*events)])
    assert (replay.counts.tokens_read, replay.counts.stale) == (14, 0)
    engine.version = lambda kind, name: (2, 0)  # as loaded before the change
    replay.run([session(*events)])
    assert replay.counts.stale == 1
    assert "file:a: stale" in replay.faults[0]


@pytest.mark.parametrize(
    "error", [ResourceUnavailable("gone"), LoadTimeout("late"), UnknownKind("file", ["url"])]
)
def test_an_access_that_fails_is_counted_and_the_replay_goes_on(replay, engine, error):
    engine.errors["file:a"] = error
    replay.run([session(AccessEvent(1.0, "file:a", 0.1, 1), AccessEvent(2.0, "file:b", 0.1, 1))])
    assert (replay.counts.accesses, replay.counts.failed) == (2, 1)
    assert replay.faults == [f"file:a: {error}"]


def test_of_very_many_failures_all_are_counted_and_some_are_kept(replay, engine):
    engine.errors["file:a"] = ResourceUnavailable("gone")
    replay.run([session(*[AccessEvent(1.0, "file:a", 0.1, 1)] * 100)])
    assert replay.counts.failed == 100
    assert len(replay.faults) == KEPT_FAULTS


def test_predictions_that_the_engine_refuses_are_counted(replay, engine):
    engine.refuses = True
    replay.run([session(PredictEvent(1.0, (Prediction("file:../a", "main_file", 0.9),)))])
    assert (replay.counts.predictions, replay.counts.refused) == (1, 1)
    assert "not below the root" in replay.faults[0]


def test_an_engine_that_has_stopped_ends_the_replay(replay, engine):
    engine.errors["file:a"] = EngineStopped("stopped")
    with pytest.raises(EngineStopped):
        replay.run([session(AccessEvent(1.0, "file:a", 0.1, 1))])


def test_only_the_latest_plans_are_kept(engine, clock, sources):
    replay = Replay(engine, clock, sources, keep_plans=2, pause=clock.pause)
    replay.run([session(*[PredictEvent(float(t), ()) for t in range(5)])])
    assert [plan.t for plan in replay.plans] == [3.0, 4.0]


# ---- around it -------------------------------------------------------------------------------


class Terminal:
    def __init__(self, tty):
        self.tty, self.text = tty, ""
        self.written = 0

    def isatty(self):
        return self.tty

    def write(self, text):
        self.text += text

    def flush(self):
        self.written += 1


def test_progress_rewrites_one_line_on_a_terminal_and_clears_it(monkeypatch):
    monkeypatch.setattr("prefetch_scheduler.engine.progress.INTERVAL_S", 0.001)
    terminal = Terminal(tty=True)
    lines = []

    def line():
        lines.append(f"session {len(lines)}")
        if len(lines) == 2:
            raise EngineStopped("a line less is no loss")
        if len(lines) == 4:
            shown.set()
        return lines[-1]

    shown = threading.Event()
    with Progress(line, terminal):
        assert shown.wait(10)
    assert "session 0" in terminal.text
    assert "session 1" not in terminal.text
    assert "\n" not in terminal.text
    assert terminal.text.endswith("\r\x1b[2K")
    assert not [t for t in threading.enumerate() if t.name == "replay-progress"]


def test_progress_is_quiet_where_there_is_no_terminal():
    terminal = Terminal(tty=False)
    with Progress(lambda: "never", terminal):
        pass
    assert terminal.text == ""


def told(*events):
    accounting = Accounting(Config())
    for event in events:
        accounting.handle(event, 0.0, 0.0, 1)
    return accounting.report()


def test_a_combined_report_is_that_of_one_engine_that_had_seen_it_all():
    first = [
        SessionOpened("s"),
        BudgetGranted("s", 100),
        PrefetchStarted(1, "s", "file:a", Cause.PREDICTION, 10),
        PrefetchLoaded(1, 12, 0.5),
        PrefetchUsed(1, "s"),
        Hits("s", 3),
        Miss("s", "file:c", predicted=False),
        SessionClosed("s"),
    ]
    second = [
        SessionOpened("t"),
        BudgetGranted("t", 50),
        PrefetchStarted(2, "t", "file:a", Cause.PREDICTION, 70),
        PrefetchLoaded(2, 70, 0.25),
        PrefetchWasted(2, "session ended"),
        Hits("t", 1),
        SessionClosed("t"),
    ]
    whole = told(*first, *second)
    both = combined([told(*first), told(*second)], MetricRules())
    assert both.body() == whole.body()
    assert both.summary()["hit_rate"] == 0.8
    assert [o.key for o in both.snapshot.outcomes[Verdict.WASTED]] == ["file:a"]
    assert both.snapshot.outcomes[Verdict.ACCURATE] == ()  # a key in one list: the newest


def test_one_report_is_its_own_combination():
    report = told(Hits("s", 3))
    assert combined([report], MetricRules()) is report
