"""The README does what it says: its quick start runs, its links lead somewhere, it stays short."""

import re
from pathlib import Path

import pytest
import yaml

from prefetch_scheduler.engine.cli.main import parser
from support.documents import ROOT, documents, python_blocks, relative_links, run

README = ROOT / "README.md"
MARKER = "<!-- quick start: run by tests/engine/test_readme.py -->"


def quick_start() -> tuple[int, str]:
    """The block that follows the marker."""
    text = README.read_text("utf-8")
    assert text.count(MARKER) == 1
    after = text.index(MARKER) + len(MARKER)
    assert text[after:].startswith("\n```python\n")
    line = text.count("\n", 0, after) + 3
    return next(block for block in python_blocks(README) if block[0] == line)


def test_the_quick_start_runs_and_shows_plan_content_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "README.md").write_text("# A workspace\n" * 30)
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    monkeypatch.chdir(tmp_path)
    run(README, *quick_start(), {"__name__": "__main__"})
    plan, figures, report = re.split(
        r"^(\d+ characters, .*)$", capsys.readouterr().out, maxsplit=1, flags=re.M
    )
    assert plan.splitlines() == [
        "file:README.md P1 immediate planned",
        "file:pyproject.toml P2 immediate planned",
    ]
    # From a layer where the prefetch was in time, else straight from the load that it joined.
    assert re.fullmatch(r"420 characters, 100 tokens, from (warm|hot|None)", figures)
    summary = yaml.safe_load(report)["prefetch_report"]["session_summary"]
    assert summary["cache_hits"] + summary["late_hits"] == 1
    assert summary["used"] == 1


def test_the_quick_start_is_at_most_twenty_lines_of_code():
    _, code = quick_start()
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 20


def test_the_readme_fits_two_screens():
    assert len(README.read_text("utf-8").splitlines()) <= 100


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file(path: Path):
    missing = [link for link in relative_links(path) if not (path.parent / link).is_file()]
    assert missing == []


def test_every_document_is_reached_from_the_readme():
    linked = {(README.parent / link).resolve() for link in relative_links(README)}
    assert {path.resolve() for path in documents()} - {README.resolve()} <= linked


def test_the_commands_it_names_exist():
    commands = re.search(r"lists the commands: (.*?)\.", README.read_text("utf-8"))
    assert commands is not None
    named = re.findall(r"`([a-z]+)`", commands[1])
    assert named == list(_commands(parser()))


def _commands(parser: object) -> list[str]:
    choices = next(a.choices for a in parser._actions if isinstance(a.choices, dict))  # type: ignore[attr-defined]  # argparse has no other way to ask
    return list(choices)


def test_its_first_commands_need_nothing_but_python_and_name_extras_that_exist():
    text = README.read_text("utf-8")
    commands = re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands[:2])
    extras = re.findall(r"\.\[([a-z,]+)\]", " ".join(commands))
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert extras
    assert all(f"\n{extra} = [" in project for each in extras for extra in each.split(","))
