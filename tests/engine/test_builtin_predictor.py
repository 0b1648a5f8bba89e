"""The built-in predictor: through a port, on a real engine, in the Pattern Predictor's format."""

from pathlib import Path

import pytest

from prefetch_scheduler.engine import FileSource, PrefetchEngine, SkillSource, adapters
from prefetch_scheduler.engine.hosts import HostPort
from prefetch_scheduler.engine.predictor import BuiltinPredictor
from support.waiting import wait_for

FILES = ("src/auth.py", "src/db.py", "src/tests/test_auth.py", "docs/guide.md")
SKILL = "---\nname: systematic\ndescription: Debugging of failing tests.\n---\n# One at a time\n"


def confidences(given: object) -> dict[str, float]:
    return {item.key: item.confidence for item in adapters.predictions(given)}


def test_what_it_says_is_what_the_pattern_predictor_says():
    session = BuiltinPredictor(files=FILES).session("s", "shop")
    session.task("look into guide.md")
    session.read("file:src/auth.py", "from src import db\n")
    said = session.predictions()
    items = {item.key: item for item in adapters.predictions(said)}
    assert set(items) >= {"file:docs/guide.md", "file:src/db.py", "file:src/tests/test_auth.py"}
    assert items["file:src/tests/test_auth.py"].role == "test_file"
    assert all(0 <= item.confidence <= 1 and item.reason for item in items.values())


def test_without_a_listing_whole_paths_are_believed():
    session = BuiltinPredictor().session("s")
    session.seen("error in src/auth.py, line 3")
    assert "file:src/auth.py" in confidences(session.predictions())


def test_a_listing_is_made_anew_for_each_session():
    files = ["src/auth.py"]
    predictor = BuiltinPredictor(files=lambda: files)
    session = predictor.session("one")
    session.seen("see db.py")
    assert confidences(session.predictions()) == {}
    session.end()
    files.append("src/db.py")
    session = predictor.session("two")
    session.seen("see db.py")
    assert "file:src/db.py" in confidences(session.predictions())


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    (tmp_path / "skills/debugging/systematic").mkdir(parents=True)
    (tmp_path / "skills/debugging/systematic/SKILL.md").write_text(SKILL)
    return tmp_path


def test_what_it_foresees_is_there_when_the_agent_reads_it(workspace: Path):
    skills = SkillSource(workspace / "skills")
    predictor = BuiltinPredictor(files=FILES, skills=skills.catalogue())
    with PrefetchEngine(sources=[FileSource(workspace), skills]) as engine:
        port = HostPort(engine, "agent", predictor=predictor, project="shop")
        port.task_received("Debug the failing tests")
        wait_for(lambda: engine.peek("skill:debugging/systematic"))
        port.tool_called("run", {}, "src/auth.py:3: error")
        wait_for(lambda: engine.peek("file:src/auth.py"))
        found = port.context_needed(["skill:debugging/systematic", "file:src/auth.py"])
        assert found["file:src/auth.py"].value == "# src/auth.py\n"
        report = engine.session("agent").report().to_dict()["prefetch_report"]["session_summary"]
        assert (report["used"], report["cache_hits"]) == (2, 2)
        port.session_ended()
