"""The benchmark suite: what it finds, runs, writes and compares. No figure is judged here."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import readme
from benchmarks.__main__ import write_tables
from benchmarks.figures import RESULTS, document, figure
from benchmarks.growers import GROWERS, Grower, Step
from benchmarks.growth import grow
from benchmarks.growth import sizes as growth_sizes
from benchmarks.plots import pictures
from benchmarks.suite import FOLDER, chosen, found, run
from benchmarks.tables import comparison, markdown, number, results
from support.documents import ROOT

MODULE = '''"""Measures nothing much.

More.
"""
import sys
from benchmarks.figures import figure, finish, parser
LONG = {long}

def main():
    options = parser(__doc__).parse_args()
    if {fails}:
        return 3
    return finish("{name}", [figure("one", [1.0], "ms", {goal})], options)

if __name__ == "__main__":
    sys.exit(main())
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with three benchmarks and a tool; the real `figures` is found by its path."""
    made = tmp_path / "measuring"
    made.mkdir()
    for name, long, fails, goal in (
        ("good", False, False, 2.0),
        ("missing", False, False, 0.5),
        ("broken", False, True, None),
        ("slow", True, False, None),
    ):
        text = MODULE.format(name=name, long=long, fails=fails, goal=goal)
        (made / f"{name}.py").write_text(text)
    (made / "tool.py").write_text("def main():\n    return 0\n")
    (made / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return made


def test_a_benchmark_is_found_by_its_main_and_its_report(folder: Path):
    names = {benchmark.name: benchmark for benchmark in found(folder)}
    assert list(names) == ["broken", "good", "missing", "slow"]
    assert names["good"].about == "Measures nothing much."
    assert [name for name, one in names.items() if one.long] == ["slow"]
    assert {"do_no_harm", "footprint", "frontier", "growth", "runtime"} <= {
        benchmark.name for benchmark in found()
    }


def test_every_benchmark_is_described_in_the_documents():
    described = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    assert [b.name for b in found() if f"| `{b.name}` |" not in described] == []


def test_all_but_the_long_ones_run_unless_some_are_named(folder: Path):
    assert chosen(found(folder), []) == ["broken", "good", "missing"]
    assert chosen(found(folder), ["slow", "good"]) == ["good", "slow"]
    with pytest.raises(ValueError, match="no benchmark other; there are broken, good"):
        chosen(found(folder), ["other"])


def test_each_runs_in_a_process_of_its_own_and_its_failure_is_told(folder: Path, tmp_path: Path):
    output = tmp_path / "result.json"
    assert run("good", output, folder=folder) is None
    assert json.loads(output.read_text())["figures"][0]["met"] is True
    assert run("missing", output, quick=True, folder=folder) is None
    assert json.loads(output.read_text())["figures"][0]["met"] is False
    failure = run("broken", output, folder=folder)  # an older result does not pass for its own
    assert failure == "broken: wrote no result, exit code 3"


def a_result(name: str = "b", **details: Any) -> dict[str, Any]:
    rows = [
        figure("a|b", [1.0, 2.0, 3.0], "ms", 1.5),
        figure("fast", [4.0], "ms", 2.0, at_most=False),
        figure("plain", [0.00012], "ms"),
    ]
    return document(name, rows, seed=7, details=details)


def test_the_table_has_every_figure_with_its_goal_and_whether_it_is_met():
    text = markdown({"b": a_result()}, ["goals.svg", "b.svg", "b.more.svg", "bb.svg"])
    assert "| a\\|b | 2 | 1 .. 3 | ms | ≤ 1.5 | MISSED |" in text
    assert "| fast | 4 |  | ms | ≥ 2 | met |" in text
    assert "| plain | 0.00012 |  | ms |  |  |" in text
    assert "3 figures; of 2 goals 1 are met." in text
    assert re.findall(r"\((.*?\.svg)\)", text) == ["goals.svg", "b.svg", "b.more.svg"]
    assert "seed 7" in text


def test_a_comparison_gives_new_by_old_and_what_changed():
    new = a_result()
    new["figures"][0] |= {"median": 1.0, "met": True, "middle_half": [0.9, 1.1]}
    new["figures"][2]["name"] = "new one"
    lines = comparison({"b": a_result()}, {"b": new}).splitlines()
    assert re.fullmatch(r"b: a\|b\s+2\s+1\s+ms\s+0\.50\s+now met", lines[1])
    assert re.fullmatch(r"b: fast\s+4\s+4\s+ms\s+1\.00", lines[2])
    assert lines[-1] == "without an old figure: b: new one"


def test_what_is_no_result_is_named(tmp_path: Path):
    (tmp_path / "x.json").write_text('{"figures": [{}]}')
    with pytest.raises(ValueError, match=r"x\.json: not a benchmark's result"):
        results(tmp_path)


def test_plots_show_goals_figures_growth_and_frontier():
    growth = [{"name": "it", "unit": "µs", "points": [[100, 1.0], [1000, 1.1]]}]
    tokens = {"tokens_prefetched": 10, "tokens_wasted": 5, "hidden_fraction": 0.2}
    frontier = {"case": [{"policy": "default", "setting": "shipped", **tokens}]}
    drawn = pictures({"b": a_result(growth=growth, frontier=frontier)})
    assert sorted(drawn) == ["b.frontier-case.svg", "b.growth-1.svg", "b.svg", "goals.svg"]
    for picture in drawn.values():
        assert ElementTree.fromstring(picture).get("role") == "img"
    assert "1 of 2 goals are met. Missed: b: a|b." in drawn["goals.svg"]


def test_the_committed_table_and_plots_are_those_of_the_committed_results(tmp_path: Path):
    for path in RESULTS.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_tables(tmp_path)
    for path in tmp_path.iterdir():
        assert (RESULTS / path.name).read_bytes() == path.read_bytes(), path.name
    assert {p.name for p in RESULTS.glob("*.svg")} == {p.name for p in tmp_path.glob("*.svg")}


def test_the_readme_s_results_are_those_of_the_committed_results():
    text = readme.README.read_text("utf-8")
    assert readme.replaced(text, results(RESULTS)) == text


def test_the_readme_s_results_say_what_is_missed_and_leave_out_what_is_not_measured():
    rows = [figure("demand p99: on by off", [1.5], "x", 1.1)]
    text = readme.replaced(
        "a\n<!-- results -->\nold\n<!-- /results -->\nb\n",
        {"do_no_harm": document("do_no_harm", rows)},
    )
    lines = text.splitlines()
    assert lines[:2] == ["a", "<!-- results -->"]
    assert lines[-2:] == ["<!-- /results -->", "b"]
    assert [line for line in lines if "1.5 x" in line and "≤ 1.1 (missed)" in line] == [lines[4]]
    assert len(lines) == 7
    with pytest.raises(ValueError, match="once each"):
        readme.replaced("no markers", {})


def test_numbers_keep_three_digits_that_matter():
    shown = [number(n) for n in (0, 1234567.8, 12.345, 0.00045678, 100, -2.5, 1e-9)]
    assert shown == ["0", "1,234,568", "12.3", "0.000457", "100", "-2.5", "0.000000001"]


def test_every_grower_grows():
    """Each does its thing again and again; what that costs is for `python -m benchmarks.growth`."""
    for grower in GROWERS:
        with grower.start() as step:
            for n in range(20):
                step(n)


def test_growth_is_measured_at_each_size(monkeypatch: pytest.MonkeyPatch):
    done: list[int] = []

    @contextmanager
    def start() -> Iterator[Step]:
        yield done.append

    monkeypatch.setattr("benchmarks.growth.gc.collect", lambda: 0)
    monkeypatch.setattr("benchmarks.growth.sys.getallocatedblocks", lambda: 7 + len(done))
    took, blocks = grow(Grower("test", start), [100, 1000, 2000])
    assert done == list(range(2000))
    assert len(took) == 3
    assert blocks == [100, 1000, 2000]
    assert growth_sizes(10**6) == [100, 1000, 10_000, 100_000, 1_000_000]
    assert growth_sizes(1000) == [10, 100, 1000]


def test_the_suite_runs_from_the_repository_s_top_folder():
    assert FOLDER == ROOT / "benchmarks"
