"""`prefetch-scheduler replay`: recorded sessions through the real engine, and the report of it."""

import gzip
import json
import time
from pathlib import Path

import pytest

from prefetch_scheduler.engine.cli import main as program
from prefetch_scheduler.engine.cli.replay_command import SAMPLE_SPEED
from prefetch_scheduler.engine.recording_format import read_sessions
from prefetch_scheduler.engine.replay_run import MAX_SPEED, Part, Run, Speed, scan
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.outcomes import Verdict

ROOT = Path(__file__).parents[2]
DATA = ROOT / "benchmarks" / "data"
SAMPLE = ROOT / "engine" / "data" / "sample"


@pytest.fixture
def replay(capsys):
    def run(*arguments, code=0):
        assert program.main(["replay", *map(str, arguments)]) == code
        return capsys.readouterr()

    return run


def events(path):
    raw = path.read_bytes()
    text = gzip.decompress(raw) if path.suffix == ".gz" else raw
    return [json.loads(line) for line in text.splitlines()]


def counted(lines):
    """Accesses, changes and the tokens of all reads, counted from the JSON and nothing else."""
    accesses = changes = tokens = sessions = 0
    sizes = {}
    for event in lines:
        if event["event"] == "session":
            sessions, sizes = sessions + 1, {}
        elif event["event"] == "access":
            accesses += 1
            tokens += sizes.setdefault(event["key"], event["tokens"])
        changes += event["event"] == "change"
    return {"sessions": sessions, "accesses": accesses, "changes": changes, "tokens_read": tokens}


def recording(tmp_path, *lines, name="s.jsonl"):
    path = tmp_path / name
    first = {"event": "session", "t": 0.0, "id": "s", "project": "p"}
    path.write_text("".join(json.dumps(line) + "\n" for line in (first, *lines)))
    return path


def test_recorded_sessions_of_real_agents_replay_and_the_figures_add_up(replay):
    path = DATA / "skills.jsonl.gz"
    out = replay(path, "--speed", "max", "--json")
    result = json.loads(out.out)
    expected = counted(events(path))
    assert {name: result[name] for name in expected} == expected
    assert (result["failed"], result["stale"], out.err) == (0, 0, "")
    summary = result["report"]["session_summary"]
    assert summary["reads"] == expected["accesses"]
    assert summary["reads"] == (
        summary["cache_hits"] + summary["late_hits"] + summary["joined"] + summary["cache_misses"]
    )
    assert summary["open"] == 0
    assert summary["total_prefetches"] == sum(
        summary[end] for end in ("used", "wasted", "cancelled", "failed")
    )


def test_what_the_sources_loaded_is_what_the_recording_says_of_each_load():
    path = DATA / "context-evaluator.jsonl.gz"
    run = Run(Config(), [(Part((path,)), scan((path,)))], MAX_SPEED)
    (replayed,) = run.run()
    counts = replayed.report.snapshot.counts
    loads = sum(source.loads_started for source in replayed.sources.values())
    # Every load that the engine reports was asked of a source, and none besides.
    assert loads == counts.prefetches + counts.demand_loads
    assert counts.reads == sum(len(s.accesses()) for s in read_sessions(path))
    assert counts.misses <= counts.demand_loads + counts.prefetches


def test_the_bundled_sample_shows_every_priority_and_every_lane_and_the_report(replay):
    began = time.monotonic()
    out = replay("--speed", "500")
    assert time.monotonic() - began < 45
    assert out.err == ""
    text = out.out
    plans, _, report = text.partition("Prefetch report")
    rows = [line.split() for line in plans.splitlines() if line.startswith("P")]
    rows = [row for row in rows if row[0] in {"P0", "P1", "P2", "P3", "P4"}]
    assert {row[0] for row in rows} == {"P0", "P1", "P2", "P3", "P4"}
    lanes = {lane for row in rows for lane in row if lane in LANES}
    assert lanes == LANES
    reasons = {row[-1] for row in rows}
    assert {"planned", "no_source", "excluded", "below_min_confidence"} <= reasons
    assert {"priority_deferred", "token_budget_exceeded"} <= reasons
    for name in ("total_prefetches", "hit_rate", "estimated_time_saved_s", "accurate", "missed"):
        assert name in report
    assert "7 sessions, 71 accesses (0 failed)" in report


LANES = {"immediate", "background", "deferred", "skipped"}


def test_the_samples_own_speed_ends_it_well_before_45_seconds():
    lasts = sum(
        session.events[-1].t + sum(access.load_s for access in session.accesses())
        for name in ("recorded.jsonl", "workspace.jsonl")
        for session in read_sessions(SAMPLE / name)
    )
    assert lasts / SAMPLE_SPEED < 25


def test_the_sample_as_json_is_one_document_with_the_specifications_report(replay):
    out = replay("--json", "--speed", "max")
    result = json.loads(out.out)
    assert result["sessions"] == 7
    lines = events(SAMPLE / "recorded.jsonl") + events(SAMPLE / "workspace.jsonl")
    assert result["accesses"] == counted(lines)["accesses"]
    assert result["report"]["session_summary"]["reads"] == result["accesses"]
    assert set(result["report"]) >= {"session_summary", "top_predictions"}


def test_the_secret_of_the_sample_is_never_loaded(replay):
    result = json.loads(replay("--json", "--speed", "max").out)
    lists = result["report"]["top_predictions"]
    told = [item for of in Verdict for item in lists[of] if item["key"] == "file:.env"]
    # A source that is surveyed late refuses it when its load begins, and that is what is told.
    assert all(item["reason"] == "cancelled: excluded" and not item["used"] for item in told)
    assert (SAMPLE / "workspace" / ".env").exists()


def test_thinking_takes_its_time_divided_by_the_speed(replay, tmp_path):
    path = recording(tmp_path, {"event": "end", "t": 30.0})
    began = time.monotonic()
    replay(path, "--speed", "100")
    assert time.monotonic() - began >= 0.3
    began = time.monotonic()
    replay(path, "--speed", "max")
    assert time.monotonic() - began < 10


def test_a_prediction_in_time_hides_the_load(replay, tmp_path):
    path = recording(
        tmp_path,
        {
            "event": "predict",
            "t": 1.0,
            "items": [{"key": "file:a", "role": "main_file", "confidence": 0.9}],
        },
        {"event": "access", "t": 60.0, "key": "file:a", "load_s": 20.0, "tokens": 10},
        {"event": "access", "t": 60.0, "key": "file:b", "load_s": 20.0, "tokens": 10},
        {"event": "end", "t": 61.0},
    )
    result = json.loads(replay(path, "--speed", "200", "--json").out)
    summary = result["report"]["session_summary"]
    assert (summary["cache_hits"], summary["cache_misses"]) == (1, 1)
    assert 18 < summary["estimated_time_saved_s"] < 25
    assert 20 <= result["waited_s"] < 35


def test_kinds_that_the_workspace_serves_come_from_its_files(replay, tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a.txt").write_text("word " * 400)
    path = recording(
        tmp_path,
        {"event": "access", "t": 1.0, "key": "file:a.txt", "load_s": 0.1, "tokens": 1},
        {"event": "access", "t": 1.0, "key": "file:gone.txt", "load_s": 0.1, "tokens": 1},
        {"event": "access", "t": 1.0, "key": "skill:x", "load_s": 0.1, "tokens": 5},
        {"event": "access", "t": 1.0, "key": "search:1", "load_s": 0.1, "tokens": 7},
        {"event": "change", "t": 2.0, "key": "file:a.txt"},
        {"event": "access", "t": 2.0, "key": "file:a.txt", "load_s": 0.1, "tokens": 1},
        {"event": "end", "t": 3.0},
    )
    out = replay(path, "--workspace", tmp_path / "w", "--speed", "max", "--json")
    result = json.loads(out.out)
    assert (result["accesses"], result["failed"]) == (5, 1)
    assert result["tokens_read"] > 2 * 400 + 5 + 7
    assert "file:gone.txt" in out.err
    assert (tmp_path / "w" / "a.txt").read_text() == "word " * 400  # a change is told, not made


def test_a_fault_in_the_last_line_is_found_before_anything_is_replayed(replay, tmp_path):
    path = recording(
        tmp_path,
        {"event": "access", "t": 3600.0, "key": "file:a", "load_s": 1.0, "tokens": 1},
        {"event": "end", "t": "late"},
    )
    out = replay(path, code=2)  # at speed 1 it would take an hour
    assert out.err == f"{path}:3: t: 'late' is not a number of at least 0\n"
    assert out.out == ""


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "fast", "1e9", "", "inf", "1e-300"])
def test_a_speed_that_makes_no_sense_is_refused(replay, speed):
    assert "nor max" in replay(f"--speed={speed}", code=2).err


@pytest.mark.parametrize(
    "arguments",
    [
        ("none.jsonl",),
        (SAMPLE / "recorded.jsonl", "--workspace", "nowhere"),
        (SAMPLE / "recorded.jsonl", "--config", "none.yaml"),
    ],
)
def test_what_is_not_there_ends_with_code_2_and_a_clear_line(replay, arguments):
    out = replay(*arguments, "--speed", "max", code=2)
    assert "Traceback" not in out.err
    assert out.err


def test_the_configuration_is_used(replay, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("enable_speculative_prefetch: false\n")
    out = replay(SAMPLE / "recorded.jsonl", "--speed", "max", "--json", "--config", config)
    # Nothing is loaded by prediction; prefill works as ever, if a session lives long enough (D26).
    causes = json.loads(out.out)["report"]["session_summary"]["prefetches_by_cause"]
    assert (causes["prediction"], causes["reload"]) == (0, 0)


def test_a_speed_says_what_it_is():
    assert str(MAX_SPEED) == "max"
    assert str(Speed(2.5)) == "2.5"
    with pytest.raises(ValueError, match=r"0\.001\.\.1e"):
        Speed(0)
