"""`prefetch-scheduler simulate`: the contract's document, the same bytes, errors without noise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prefetch_scheduler.engine.cli import main as program
from prefetch_scheduler.engine.cli.simulate_command import DIALS, report_data, sweep
from prefetch_scheduler.engine.recording_format import event_line, read_sessions
from prefetch_scheduler.engine.simulation.simulation import POLICIES
from prefetch_scheduler.engine.simulation.work import Task, divided, document, run, scan

DATA = Path(__file__).parents[2] / "benchmarks" / "data"
SKILLS = DATA / "skills.jsonl.gz"

FIELDS = [
    "wait_s",
    "hidden_fraction",
    "hit_rate",
    "late_hit_rate",
    "prefetch_accuracy",
    "prefetches",
    "tokens_prefetched",
    "tokens_wasted",
    "wasted_fraction",
    "demand_p50_ms",
    "demand_p99_ms",
]


@pytest.fixture
def simulate(capsys):
    def run(*arguments, code=0):
        assert program.main(["simulate", *map(str, arguments)]) == code
        return capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """The first two sessions of the skills recordings, as a plain file."""

    path = tmp_path_factory.mktemp("few") / "few.jsonl"
    sessions = list(read_sessions(SKILLS))[:2]
    lines = [event_line(event) for session in sessions for event in session.events]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_the_document_is_the_contracts_for_all_policies(simulate, few):
    out = simulate(few, "--json")
    result = json.loads(out.out)
    assert (list(result), out.err) == (["sessions", "accesses", "policies"], "")
    assert result["sessions"] == 2
    assert list(result["policies"]) == list(POLICIES)
    for figures in result["policies"].values():
        assert list(figures) == FIELDS
    hidden = {name: figures["hidden_fraction"] for name, figures in result["policies"].items()}
    assert hidden["none"] == 0.0
    assert hidden["oracle"] >= hidden["reachable"]
    for name in ("everything", "specification", "none"):
        assert hidden["reachable"] >= hidden[name]


def test_the_same_arguments_give_the_same_bytes_in_any_process(few):
    """Whatever the seed of Python's own hashes, and from any folder."""
    command = [sys.executable, "-m", "prefetch_scheduler.engine", "simulate", str(few), "--json"]
    command += ["--predictions", "calibrated:0.7", "--load", "lognormal:0.4,0.9", "--seed", "3"]
    outputs = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "4711")
    }
    assert len(outputs) == 1
    assert json.loads(outputs.pop())["policies"]["oracle"]["hidden_fraction"] > 0


def test_several_processes_give_what_one_gives(few):
    task = Task((str(few),), ("specification", "oracle"), "lognormal:0.4,0.9", "oracle", 5)
    contents = scan(task)
    assert run(task, contents, processes=1) == run(task, contents, processes=2)


def test_policies_are_divided_without_losing_one():
    for groups in (1, 2, 3, 99):
        parts = divided(tuple(POLICIES), groups)
        assert len(parts) == min(groups, len(POLICIES))
        assert sorted(name for part in parts for name in part) == sorted(POLICIES)


def test_another_seed_gives_other_figures(simulate, few):
    arguments = (few, "--policy", "everything", "--json", "--load", "lognormal:0.4,0.9", "--seed")
    assert simulate(*arguments, 1).out != simulate(*arguments, 2).out


def test_hidden_latency_is_against_none_also_where_that_is_not_asked_for(simulate, few):
    alone = json.loads(simulate(few, "--policy", "reachable", "--json").out)
    both = json.loads(simulate(few, "--policy", "none", "--policy", "reachable", "--json").out)
    assert list(alone["policies"]) == ["reachable"]
    assert alone["policies"]["reachable"] == both["policies"]["reachable"]


def test_a_table_for_people(simulate, few):
    lines = simulate(few, "--policy", "none", "--policy", "everything").out.splitlines()
    assert lines[0].startswith("2 sessions, ")
    assert [line.split()[0] for line in lines[2:5]] == ["policy", "none", "everything"]
    assert "–" in lines[3]  # no prefetch: no accuracy


def test_the_configuration_counts(simulate, few, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("max_prefetch_tokens: 0\n")
    out = simulate(few, "--policy", "specification", "--config", config, "--json").out
    unlimited = simulate(few, "--policy", "specification", "--json").out
    spent, free = (
        json.loads(text)["policies"]["specification"]["tokens_prefetched"]
        for text in (out, unlimited)
    )
    assert spent < free


def test_what_the_report_is_made_of(few):
    task = Task((str(few),), ("everything", "default"))
    contents = scan(task)
    results = run(task, contents)
    data = report_data(document(results, contents.sessions), results)
    assert list(data["policies"]) == ["none", "everything", "default"]
    for figures in data["policies"].values():
        assert sum(count for _, count in figures["waits"]) == data["accesses"]
    timeline = data["timeline"]
    assert timeline["policy"] == "default"
    assert {load["cause"] for load in timeline["loads"]} <= {"prefetch", "demand"}
    assert all(load["start_s"] <= load["finish_s"] for load in timeline["loads"])
    assert all(wait["finish_s"] <= timeline["duration_s"] for wait in timeline["waits"])
    assert [point["policy"] for point in data["frontier"]] == list(data["policies"])
    json.dumps(data, allow_nan=False)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--policy", "best"], "invalid choice"),
        (["--load", "lognormal:1"], "neither recorded nor lognormal"),
        (["--load", "lognormal:-1,1"], "above 0"),
        (["--predictions", "calibrated:2"], "in 0..1"),
        (["--predictions", "psychic"], "none of recorded"),
        (["--seed", "x"], "invalid int"),
    ],
)
def test_wrong_usage_ends_with_a_line_and_2(simulate, few, arguments, word):
    out = simulate(few, *arguments, code=2)
    assert word in out.err
    assert out.out == ""


def test_a_fault_in_a_recording_is_named_before_anything_runs(simulate, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"event":"session","t":0,"id":"s"}\n{"event":"access","t":1}\n')
    out = simulate(path, "--json", code=2)
    assert f"{path}:2:" in out.err
    assert out.out == ""
    assert str(tmp_path / "no.jsonl") in simulate(tmp_path / "no.jsonl", code=2).err


def test_a_recording_without_sessions_has_rates_of_nothing(simulate, tmp_path):
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    result = json.loads(simulate(path, "--json").out)
    assert (result["sessions"], result["accesses"]) == (0, 0)
    assert result["policies"]["default"]["hidden_fraction"] is None
    assert "–" in simulate(path).out


def test_the_report_draws_the_default_policy_from_thrifty_to_eager(few):
    task = Task((str(few),), ("everything", "default"))
    contents = scan(task)
    results = run(task, contents)
    swept = sweep(task, contents)
    data = report_data(document(results, contents.sessions), results, swept)
    settings = [p["setting"] for p in data["frontier"] if p["policy"] == "default"]
    assert settings == ["as configured", *(f"dial {dial:g}" for dial in DIALS)]
    spent = [point["tokens_prefetched"] for point in swept]
    assert spent[0] <= spent[-1]
    assert data["speculation"]["waste_promised"] == 0.5
    assert sweep(Task((str(few),), ("everything",)), contents) == []


def test_no_process_imports_what_lies_in_the_folder_it_is_run_in(tmp_path, monkeypatch):
    (tmp_path / "heapq.py").write_text("raise SystemExit('imported from the working folder')")
    monkeypatch.chdir(tmp_path)
    task = Task((str(SKILLS),), ("none", "everything"))
    assert set(run(task, scan(task), processes=2)) == {"none", "everything"}


def test_a_report_needs_the_name_of_a_folder(capsys):
    assert program.main(["simulate", str(SKILLS), "--report", ""]) == 2
    assert "the name of a folder is empty" in capsys.readouterr().err
