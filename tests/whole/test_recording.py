"""`PrefetchEngine(record=PATH)`: what a host did can be read back, replayed and simulated."""

import asyncio
import gzip
import json
import resource
import threading
import time

import pytest

from prefetch_scheduler.engine import (
    CallableSource,
    ConfigError,
    ContextChanged,
    FileChanged,
    PrefetchEngine,
    ResourceUnavailable,
    SessionEnded,
)
from prefetch_scheduler.engine.cli import main as program
from prefetch_scheduler.engine.recorder import Recorder
from prefetch_scheduler.engine.recording_events import (
    AccessEvent,
    ChangeEvent,
    ContextEvent,
    EndEvent,
    PredictEvent,
)
from prefetch_scheduler.engine.recording_file import RecordingFile
from prefetch_scheduler.engine.recording_format import read_sessions
from prefetch_scheduler.engine.recording_names import Names
from prefetch_scheduler.policies.prediction import Constraints, Prediction


class Hands:
    """A clock that a test moves by hand; loads and waits go on in real time."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    def wall(self):
        return self.time

    def today(self):
        return 1

    def real(self, seconds):
        return seconds


def source(load=lambda name: f"text of {name}", kind="file"):
    return CallableSource(kind, load, read_only=True, tokens=7)


def only(path):
    (recorded,) = read_sessions(path)
    return recorded


def test_what_a_host_does_is_recorded_as_a_session(tmp_path):
    path = tmp_path / "s.jsonl"
    predicted = Prediction("file:a.py", "main_file", 0.9, tokens=12)
    with PrefetchEngine(sources=[source()], record=path) as engine:
        agent = engine.session("agent", project="shop")
        agent.trigger(ContextChanged("one"))
        agent.submit([predicted], Constraints(token_budget=500)).plan(timeout=10)
        agent.get("file:a.py")
        agent.trigger(FileChanged("a.py"))
        agent.get("file:a.py")
        agent.trigger(SessionEnded())
    recorded = only(path)
    assert (recorded.id, recorded.project) == ("agent", "shop")
    context, predict, first, change, second, end = recorded.events[1:]
    assert isinstance(context, ContextEvent)
    assert context.id == "one"
    assert isinstance(predict, PredictEvent)
    assert (predict.items, predict.constraints) == ((predicted,), Constraints(token_budget=500))
    assert isinstance(first, AccessEvent)
    assert isinstance(second, AccessEvent)
    assert (first.key, first.tokens) == ("file:a.py", second.tokens)
    assert isinstance(change, ChangeEvent)
    assert change.key == "file:a.py"
    assert isinstance(end, EndEvent)


def test_the_agents_clock_stands_still_while_it_waits(tmp_path):
    clock, path = Hands(), tmp_path / "s.jsonl"

    def slow(name):
        clock.time += 5.0
        return name

    with PrefetchEngine(sources=[source(slow)], record=path, clock=clock) as engine:
        clock.time = 2.0
        engine.get("file:a")
        clock.time += 1.0
        engine.get("file:a")
    accesses = only(path).accesses()
    assert [access.t for access in accesses] == [2.0, 3.0]
    assert [access.load_s for access in accesses] == [5.0, 5.0]


def test_reads_side_by_side_stop_the_clock_once(tmp_path):
    clock, path = Hands(), tmp_path / "s.jsonl"
    together = threading.Barrier(2, timeout=10)

    def slow(name):
        together.wait()  # both wait at the same time
        clock.time = 4.0
        return name

    async def host():
        async with PrefetchEngine(sources=[source(slow)], record=path, clock=clock) as engine:
            clock.time = 1.0
            await engine.aget_many(["file:a", "file:b"])
            clock.time = 6.0
            await engine.aget("file:a")

    asyncio.run(host())
    accesses = [(a.key, a.t) for a in only(path).accesses()]
    assert sorted(accesses[:2]) + accesses[2:] == [
        ("file:a", 1.0),
        ("file:b", 1.0),
        ("file:a", 3.0),
    ]


def test_get_many_is_recorded_key_by_key_and_a_failed_read_not_at_all(tmp_path):
    path = tmp_path / "s.jsonl.gz"

    def load(name):
        if name == "broken":
            raise OSError("gone")
        return name

    with PrefetchEngine(sources=[source(load)], record=path) as engine:
        engine.get_many(["file:a", "file:b"])
        with pytest.raises(ResourceUnavailable):
            engine.get("file:broken")
    assert [access.key for access in only(path).accesses()] == ["file:a", "file:b"]


def test_sessions_that_run_side_by_side_stand_one_after_another(tmp_path):
    path = tmp_path / "s.jsonl"
    with PrefetchEngine(sources=[source()], record=path) as engine:
        agents = [engine.session(name) for name in ("one", "two")]
        for key in ("file:a", "file:b"):
            for agent in agents:
                agent.get(key)
        agents[0].trigger(FileChanged("b"))
        agents[1].trigger(SessionEnded())
        engine.session("idle")
    recorded = {each.id: each for each in read_sessions(path)}
    assert list(recorded) == ["two", "one"]  # a session that did nothing is left out
    for each in recorded.values():
        assert [access.key for access in each.accesses()] == ["file:a", "file:b"]
        assert sum(isinstance(event, ChangeEvent) for event in each.events) == 1


def test_a_prefix_that_changed_is_recorded_for_the_keys_spoken_of(tmp_path):
    path = tmp_path / "s.jsonl"
    with PrefetchEngine(sources=[source()], record=path) as engine:
        for key in ("file:src/a", "file:src/b", "file:c"):
            engine.get(key)
        engine.invalidate("file:src/*")
    changed = [event.key for event in only(path).events if isinstance(event, ChangeEvent)]
    assert changed == ["file:src/a", "file:src/b"]


def test_hashed_names_tell_nothing_but_stay_the_same(tmp_path):
    path = tmp_path / "s.jsonl"
    settings = {"recording": {"hash_keys": True}}
    secret = Prediction("file:secret/plan.py", "main_file", 0.9, reason="the secret plan")
    with PrefetchEngine(settings, sources=[source()], record=path) as engine:
        agent = engine.session("secret agent", project="secret project")
        override = Constraints(priority_override={"file:secret/plan.py": "P1"})
        agent.submit([secret], override, context="secret task")
        agent.get("file:secret/plan.py")
        agent.invalidate("file:secret/plan.py")
    assert "secret" not in path.read_text()
    recorded = only(path)
    predict = next(event for event in recorded.events if isinstance(event, PredictEvent))
    (access,) = recorded.accesses()
    assert predict.items[0].key == access.key
    assert access.key.endswith(".py")
    assert list(predict.constraints.priority_override) == [access.key]


def test_a_recording_can_be_simulated_and_replayed(tmp_path, capsys):
    path = tmp_path / "s.jsonl"
    with PrefetchEngine(sources=[source()], record=path) as engine:
        for number in range(3):
            agent = engine.session(f"agent {number}")
            agent.submit([Prediction("file:a", "main_file", 0.9)])
            agent.get("file:a")
            agent.trigger(SessionEnded())
        assert engine.recorded() is not None
    assert program.main(["simulate", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accesses"] == 3
    assert program.main(["replay", str(path), "--speed", "max", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accesses"] == 3


def test_what_was_recorded_and_lost_is_counted(tmp_path, monkeypatch):
    path = tmp_path / "s.jsonl"
    engine = PrefetchEngine(sources=[source()], record=path)
    with engine:
        engine.get("file:a")
    figures = engine.recorded()
    assert (figures.sessions, figures.events, figures.dropped) == (1, 3, 0)
    assert PrefetchEngine().recorded() is None


def test_notes_past_the_bound_are_dropped_and_counted(tmp_path):
    lost = []
    file = RecordingFile(tmp_path / "s.jsonl", 10**6, 2)
    recorder = Recorder(file, Names(False), Hands(), lambda _: 1.0, lost.append, most_waiting=2)
    tape = recorder.tape("s")
    for number in range(5):  # its thread does not run yet
        tape.answered(tape.asked(), (f"file:{number}", f"file:{number}", 1))
    assert recorder.recorded().dropped == 3
    recorder.start()
    recorder.close(10.0)
    assert lost == [recorder.recorded().dropped]
    assert len(only(file.path).accesses()) == 2


def test_a_long_session_is_written_in_parts_that_are_sessions(tmp_path):
    clock = Hands()
    file = RecordingFile(tmp_path / "s.jsonl", 10**6, 2)
    recorder = Recorder(file, Names(False), clock, lambda _: 1.0, lambda _: None, part_events=10)
    recorder.start()
    tape = recorder.tape("long")
    for number in range(25):
        clock.time = float(number)
        tape.answered(tape.asked(), (f"file:{number}", f"file:{number}", 1))
    recorder.close(10.0)
    parts = list(read_sessions(file.path))
    assert [len(part.accesses()) for part in parts] == [10, 10, 5]
    assert [access.t for part in parts for access in part.accesses()][9:12] == [9.0, 1.0, 2.0]


# ---- the file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_a_full_file_is_set_aside_and_the_oldest_goes(tmp_path, suffix):
    file = RecordingFile(tmp_path / f"s{suffix}", 40, 3)
    for number in range(10):
        file.append([f"{number}" * 40])
    read = gzip.decompress if suffix.endswith("gz") else bytes
    held = [read(path.read_bytes()).decode()[0] for path in file.files()]
    assert held == ["7", "8", "9"]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_recording_is_continued(tmp_path):
    path = tmp_path / "s.jsonl.gz"
    for number in range(2):
        with PrefetchEngine(sources=[source()], record=path) as engine:
            engine.session(f"run {number}").get("file:a")
    assert [recorded.id for recorded in read_sessions(path)] == ["run 0", "run 1"]


def test_a_file_that_a_crash_cut_short_is_set_aside(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text('{"event":"session","t":0.0,"id":"lost')
    with PrefetchEngine(sources=[source()], record=path) as engine:
        engine.get("file:a")
    assert len(only(path).accesses()) == 1
    assert (tmp_path / "s.1.jsonl").exists()


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_a_file_that_ends_within_a_session_is_set_aside(tmp_path, suffix):
    """Cut at the end of a line, or compressed and cut anywhere: nothing after it would be read."""
    path = tmp_path / f"s{suffix}"
    with PrefetchEngine(sources=[source()], record=path) as engine:
        engine.get("file:a")
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] if suffix == ".jsonl.gz" else whole[: whole[:-1].rindex(b"\n") + 1])
    with PrefetchEngine(sources=[source()], record=path) as engine:
        engine.get("file:b")
    assert [access.key for access in only(path).accesses()] == ["file:b"]
    assert (tmp_path / f"s.1{suffix}").exists()


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_a_session_that_could_not_be_written_leaves_the_file_as_it_was(tmp_path, suffix):
    file = RecordingFile(tmp_path / f"s{suffix}", 10**6, 3)
    file.append(["before"])
    held = file.path.read_bytes()
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(held) + 10, most))  # as a disk that is full
    try:
        with pytest.raises(OSError, match="bytes written"):
            file.append(["lost" * 10])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    assert file.path.read_bytes() == held
    file.append(["after"])
    read = gzip.decompress if suffix.endswith("gz") else bytes
    assert read(file.path.read_bytes()).decode().split() == ["before", "after"]


def test_a_name_that_is_not_utf8_is_recorded_and_read_back(tmp_path):
    path = tmp_path / "s.jsonl"
    with PrefetchEngine(sources=[source()], record=path) as engine:
        engine.get("file:a\udcff.txt")
        engine.get("file:b")
    assert [access.key for access in only(path).accesses()] == ["file:a\udcff.txt", "file:b"]


@pytest.mark.parametrize("name", ["s.txt", ".jsonl", "jsonl"])
def test_another_suffix_is_refused_at_once(tmp_path, name):
    with pytest.raises(ConfigError, match="does not end in"):
        PrefetchEngine(record=tmp_path / name)


def test_a_file_that_cannot_be_written_is_an_error_at_the_start(tmp_path):
    engine = PrefetchEngine(record=tmp_path / "no" / "such" / "s.jsonl")
    with pytest.raises(ConfigError, match="cannot be written"):
        engine.start()
    assert not [t for t in threading.enumerate() if t.name == "prefetch-recorder"]


def test_a_hit_of_what_was_loaded_ahead_is_recorded_with_what_its_load_took(tmp_path):
    path = tmp_path / "s.jsonl"

    def slow(name):
        time.sleep(0.05)
        return name

    with PrefetchEngine(sources=[source(slow)], record=path) as engine:
        engine.submit([Prediction("file:a", "main_file", 0.9)]).wait_immediate(5)
        while engine.peek("file:a") is None:
            time.sleep(0.01)
        engine.get("file:a")
    (access,) = only(path).accesses()
    assert access.load_s >= 0.05
