"""Recorded sessions of real agents: the engine's figures against a count of the recording itself.

The count here is made of plain JSON; of the engine's code it uses nothing. Of long recordings the
first sessions are replayed; `python -m pytest tests/whole/test_replay_counts.py --whole-recordings`
replays all.
"""

import gzip
import json
import logging
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from prefetch_scheduler.engine.replay_run import MAX_SPEED, Part, Replayed, Run, Scan
from prefetch_scheduler.policies import metrics_events as ev
from prefetch_scheduler.policies.accounting import Accounting
from prefetch_scheduler.policies.config import Config

DATA = Path(__file__).parents[2] / "benchmarks" / "data"
RECORDINGS = sorted(DATA.glob("*.jsonl.gz"))
ACCESSES = 3_000
"""After so many no further session is replayed."""


@define
class Session:
    """What plain counting finds in one session of a recording."""

    id: str
    accesses: list[tuple[str, int]] = field(factory=list)
    """(key, tokens)"""
    firsts: dict[str, int] = field(factory=dict)
    """Tokens of the first access of each key."""
    changes: int = 0
    predictions: int = 0

    def tokens(self, key: str) -> int:
        """What a load of the key brings: what its first access says; a key that is never read
        takes the size of one of the session's accesses, by a hash.
        """
        if not self.firsts:
            for name, tokens in self.accesses:
                self.firsts.setdefault(name, tokens)
        if key in self.firsts:
            return self.firsts[key]
        if not self.accesses:
            return 0
        return self.accesses[zlib.crc32(f"{self.id}\0{key}".encode()) % len(self.accesses)][1]


def counted(path: Path) -> dict[str, Session]:
    """The sessions of a recording by the name under which the engine knows them."""
    sessions: dict[str, Session] = {}
    ids: Counter[str] = Counter()
    current = Session("")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            match event["event"]:
                case "session":
                    ids[event["id"]] += 1
                    current = Session(event["id"])
                    again = ids[event["id"]]
                    name = event["id"] if again == 1 else f"{event['id']}#{again}"
                    sessions[name] = current
                case "access":
                    current.accesses.append((event["key"], event["tokens"]))
                case "change":
                    current.changes += 1
                case "predict":
                    current.predictions += 1
    return sessions


def scanned(path: Path) -> Scan:
    """What a replay wants to know beforehand, from plain JSON too."""
    kinds, longest, sessions = set(), 0.0, 0
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            sessions += event["event"] == "session"
            if event["event"] == "access":
                kinds.add(event["key"].partition(":")[0])
                longest = max(longest, event["load_s"])
    return Scan(sessions, frozenset(kinds), longest)


@define(eq=False)
class Heard:
    """Every load that the engine counted, as Metrics was told of it."""

    started: dict[int, ev.PrefetchStarted] = field(factory=dict)
    prefetched: dict[int, int] = field(factory=dict)
    demanded: list[ev.DemandLoaded] = field(factory=list)
    reads: Counter[str] = field(factory=Counter)

    def note(self, event: ev.MetricsEvent) -> None:
        match event:
            case ev.PrefetchStarted(id=number, loaded=int(tokens)):
                self.started[number] = event
                self.prefetched[number] = tokens
            case ev.PrefetchStarted(id=number):
                self.started[number] = event
            case ev.PrefetchLoaded(id=number, tokens=tokens):
                self.prefetched[number] = tokens
            case ev.DemandLoaded():
                self.demanded.append(event)
            case ev.Hits(session=session, count=count):
                self.reads[session] += count
            case ev.LateHit() | ev.Joined() | ev.Miss():
                self.reads[event.session] += 1
            case _:
                pass


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Heard:
    # The alerts of hundreds of small sessions would bury what a failed test says.
    caplog.set_level(logging.ERROR, logger="prefetch_scheduler")
    ear = Heard()
    handle = Accounting.handle

    def noting(self: Accounting, event: ev.MetricsEvent, *more: Any) -> Any:
        ear.note(event)
        return handle(self, event, *more)

    monkeypatch.setattr(Accounting, "handle", noting)
    return ear


@pytest.fixture
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A recording, or its first sessions."""
    whole: Path = request.param
    if request.config.getoption("--whole-recordings"):
        return whole
    first = tmp_path / whole.name
    accesses = 0
    with gzip.open(whole, "rt", encoding="utf-8") as lines, gzip.open(first, "wt") as kept:
        for line in lines:
            event = json.loads(line)["event"]
            if event == "session" and accesses >= ACCESSES:
                break
            accesses += event == "access"
            kept.write(line)
    return first


@pytest.mark.timeout(240)  # 15,000 accesses of one file, on a machine that may be busy
@pytest.mark.parametrize(
    "path", RECORDINGS, ids=lambda path: path.name.partition(".")[0], indirect=True
)
def test_the_figures_of_a_replay_are_those_of_the_recording(path: Path, heard: Heard) -> None:
    sessions = counted(path)
    run = Run(Config(), [(Part((path,)), scanned(path))], MAX_SPEED)
    (replayed,) = run.run()
    assert (run.counts.failed, run.counts.stale, run.counts.refused) == (0, 0, 0), replayed.faults
    assert replayed.faults == ()
    _what_was_replayed(run, sessions)
    _what_was_read(replayed, heard, sessions)
    _what_was_loaded(replayed, heard, sessions)


def _what_was_replayed(run: Run, sessions: dict[str, Session]) -> None:
    assert run.counts.sessions == len(sessions)
    assert run.counts.accesses == sum(len(s.accesses) for s in sessions.values())
    assert run.counts.changes == sum(s.changes for s in sessions.values())
    assert run.counts.predictions == sum(s.predictions for s in sessions.values())
    assert run.counts.tokens_read == sum(
        s.tokens(key) for s in sessions.values() for key, _ in s.accesses
    )


def _what_was_read(replayed: Replayed, heard: Heard, sessions: dict[str, Session]) -> None:
    """Every access is exactly one of hit, late hit, joined and miss, in its own session."""
    counts = replayed.report.snapshot.counts
    accesses = {name: len(s.accesses) for name, s in sessions.items() if s.accesses}
    assert counts.hits + counts.late_hits + counts.joined + counts.misses == sum(accesses.values())
    assert dict(heard.reads) == accesses


def _what_was_loaded(replayed: Replayed, heard: Heard, sessions: dict[str, Session]) -> None:
    """Every load that the engine counted brought what the recording says of it."""
    counts = replayed.report.snapshot.counts
    for load in heard.demanded:
        assert load.tokens == sessions[load.session].tokens(load.key), load
    for number, tokens in heard.prefetched.items():
        start = heard.started[number]
        assert tokens == sessions[start.session].tokens(start.key), start
    assert counts.demand_loads == len(heard.demanded)
    assert counts.tokens_demand_loaded == sum(
        sessions[load.session].tokens(load.key) for load in heard.demanded
    )
    assert counts.prefetches == len(heard.started)
    # What was loaded counts by its size, what was given up on the way by its estimate (D34).
    assert counts.tokens_prefetched == sum(
        sessions[start.session].tokens(start.key) if number in heard.prefetched else start.tokens
        for number, start in heard.started.items()
    )
    assert counts.prefetches == counts.used + counts.wasted + counts.cancelled + counts.failed
    ends = counts.tokens_used + counts.tokens_wasted + counts.tokens_failed
    assert counts.tokens_prefetched == ends
    # And the sources were asked for these loads and no others.
    begun = sum(source.loads_started for source in replayed.sources.values())
    assert begun == counts.prefetches + counts.demand_loads


def test_all_four_recordings_are_there() -> None:
    names = [path.name.partition(".")[0] for path in RECORDINGS]
    assert names == ["context-evaluator", "entire-cli", "skills", "vorflux"]
