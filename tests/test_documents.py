"""The documents hold what they say: examples run, and the table of statements names real tests."""

import argparse
import ast
import inspect
import itertools
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from prefetch_scheduler.actors import messages
from prefetch_scheduler.actors.log_fields import LogFields
from prefetch_scheduler.engine import CallableSource, FileSource, SkillSource
from prefetch_scheduler.engine.cli.main import parser
from prefetch_scheduler.engine.observability.instruments import INSTRUMENTS
from prefetch_scheduler.engine.sources.git import GitSource
from prefetch_scheduler.engine.sources.http import HttpSource
from prefetch_scheduler.engine.sources.mcp import McpServer, _McpKind
from prefetch_scheduler.policies.config import Config, leaves
from prefetch_scheduler.policies.vocabulary import Reason, Role
from support.documents import ROOT, python_blocks, run
from support.repositories import Repository


def command_names() -> set[str]:
    """The program's commands."""
    [commands] = [a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return set(commands.choices)


SPECIFICATION = ROOT / "docs" / "specification.md"
SOURCE_PAGES = {
    "git-source.md": (GitSource,),
    "http-source.md": (HttpSource,),
    "mcp-source.md": (McpServer, _McpKind),
    "agent-skills.md": (),
}
FEW_EXAMPLES = ("predictor.md", "hosts.md", "sessions.md", "troubleshooting.md", *SOURCE_PAGES)
"""Those of the adapters run in the tests of each: they need its framework."""
EXAMPLES = [
    *(ROOT / "docs" / name for name in ("messages.md", "sources.md", "observability.md")),
    *(
        ROOT / "docs" / name
        for name in ("hosts.md", "predictor.md", "sessions.md", "troubleshooting.md")
    ),
    *(ROOT / "docs" / page for page in SOURCE_PAGES),
]

CONFIGURATION_KEYS = (
    "max_immediate_time_ms",
    "max_eager_time_ms",
    "background_start_delay_ms",
    "max_prefetch_tokens",
    "max_concurrent_fetches",
    "max_background_queue",
    "hot_cache_size",
    "warm_cache_size",
    "cold_cache_size",
    "min_confidence_for_prefetch",
    "min_confidence_for_immediate",
    "enable_batch_fetching",
    "enable_speculative_prefetch",
    "cancel_on_context_change",
)
"""Those of the specification's own block."""

OTHER_NAMES = (
    *("P0", "P1", "P2", "P3", "P4"),
    *("urgency_critical", "urgency_high", "urgency_medium", "urgency_low"),
    *("high_confidence", "low_confidence", "recent_access", "frequently_used"),
    *("cached_items", "pending_loads", "active_session", "priority_override"),
    *("cache_hit_rate", "prefetch_accuracy", "latency_saved", "wasted_tokens"),
    *("fetch_timeout", "fetch_error", "cache_full", "token_budget_exceeded"),
    *("max_background_tokens", "max_pending", "max_concurrent"),
    *("total_prefetches", "cache_hits", "cache_misses", "hit_rate", "tokens_prefetched"),
    *("tokens_used", "efficiency", "estimated_time_saved", "accurate", "missed", "wasted"),
    *("hot", "warm", "cold", "add", "get", "invalidate", "prefill"),
    *("Pattern Predictor", "Token Economy Manager", "Intent Parser"),
    *("Skill Matcher", "Execution Engine", "Skill Analytics"),
)
"""Names of the specification that a row must speak of."""


# ---- the table -------------------------------------------------------------------------------


@cache
def table() -> tuple[tuple[str, ...], ...]:
    """The rows of the one table, without its heading."""
    lines = SPECIFICATION.read_text("utf-8").splitlines()
    rows = [line for line in lines if line.startswith("|")]
    first = lines.index(rows[0])
    assert lines[first : first + len(rows)] == rows, "the table is in one piece"
    cells = [tuple(cell.strip() for cell in row[1:-1].split("|")) for row in rows]
    assert cells[0] == ("statement", "where", "test")
    assert all(set(cell) == {"-"} for cell in cells[1])
    return tuple(cells[2:])


def test_it_is_one_table_of_three_columns_without_an_empty_cell():
    assert len(table()) > 150
    for row in table():
        assert len(row) == 3, row
        assert all(row), row


def test_no_statement_stands_twice():
    statements = [row[0] for row in table()]
    assert sorted(set(statements)) == sorted(statements)


def paths(cell: str) -> list[str]:
    """What stands in back-quotes, which is all that a cell but the first may hold."""
    found = re.findall(r"`([^`]+)`", cell)
    assert found, cell
    assert re.sub(r"`[^`]+`", "", cell).strip(", ") == "", f"more than paths: {cell}"
    return found


def test_every_module_exists():
    missing = [path for row in table() for path in paths(row[1]) if not (ROOT / path).is_file()]
    assert missing == []
    outside = [
        path
        for row in table()
        for path in paths(row[1])
        if path.split("/")[0] not in ("policies", "actors", "engine")
    ]
    assert outside == []


@cache
def node_names(path: str) -> frozenset[str]:
    """The test functions of a file, and its state machines (`TestX = X.TestCase`)."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    names: set[str] = set()
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if name.startswith("test_"):
                    names.add(name)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Attribute(attr="TestCase")):
                if name.startswith("Test"):
                    names.add(f"{name}::runTest")
    return frozenset(names)


def test_every_test_exists():
    missing: list[str] = []
    for row in table():
        for node in paths(row[2]):
            path, separator, name = node.partition("::")
            assert separator, node
            assert path.startswith("tests/"), node
            if not (ROOT / path).is_file() or re.sub(r"\[.*\]$", "", name) not in node_names(path):
                missing.append(node)
    assert missing == []


@pytest.mark.parametrize("number", range(1, 41))
def test_every_decision_is_there(number: int):
    # At the beginning, so that a mere mention does not count.
    assert any(re.match(rf"D{number}:", row[0]) for row in table())


@pytest.mark.parametrize("key", CONFIGURATION_KEYS)
def test_every_configuration_key_of_the_specification_is_there(key: str):
    assert key in {path[-1] for path, _, _ in leaves(Config())}
    assert any(row[0].startswith(f"Configuration: `{key}`") for row in table())


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_every_name_of_the_specification_is_there(name: str):
    word = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
    assert any(word.search(row[0]) for row in table())


@pytest.mark.parametrize("role", Role)
def test_every_role_is_there(role: Role):
    assert any(f"`{role}`" in row[0] for row in table())


# ---- examples --------------------------------------------------------------------------------


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What the examples read."""
    files = {
        "src/auth.py": "def login():\n    pass\n",
        "src/main.py": "import auth\n",
        "src/api.generated.py": "# made by a tool\n",
        "docs/guide.md": "# Guide\n",
        ".env": "TOKEN=1\n",
        "skills/debugging/systematic/SKILL.md": (
            "---\nname: systematic\ndescription: Find causes.\n---\n# One change at a time\n"
        ),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    repository = Repository(tmp_path)
    repository.commit({})
    repository.commit({"src/auth.py": "def login(user):\n    pass\n"})
    monkeypatch.chdir(tmp_path)
    with tempfile.TemporaryDirectory(prefix="run-") as private:  # a path short enough for sockets
        monkeypatch.setenv("XDG_RUNTIME_DIR", private)
        yield tmp_path


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_of_a_document_run_in_its_order(path: Path, workspace: Path):
    blocks = python_blocks(path)
    assert len(blocks) >= (1 if path.name in FEW_EXAMPLES else 4)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    try:
        for line, code in blocks:
            run(path, line, code, namespace)
    finally:
        engine = namespace.get("engine")
        if engine is not None:
            engine.stop()


def test_the_messages_document_names_only_messages_that_exist():
    text = (ROOT / "docs" / "messages.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    named = {name for row in rows for name in re.findall(r"`([A-Z]\w+)`", row.split("|")[2])}
    assert len(named) > 15
    assert named <= set(messages.__all__)


def test_the_messages_document_names_every_message_that_a_host_may_send():
    said = re.findall(r"`([A-Z]\w+)`", (messages.__doc__ or "").split("The rest is")[0])
    answers = {"Plan", "Answer", "PlannerStatus", "LayersSnapshot", "Report", "Snapshot", "Health"}
    internal = {"Restamp", "Events"}  # sent by the read path and by actors
    text = (ROOT / "docs" / "messages.md").read_text("utf-8")
    assert {name for name in set(said) - answers - internal if f"`{name}`" not in text} == set()


def test_reasons_and_options_in_the_sources_document_exist():
    text = (ROOT / "docs" / "sources.md").read_text("utf-8")
    reasons = re.findall(r"\(`(\w+)`\)", text)
    assert len(reasons) == 4
    assert set(reasons) <= set(Reason)
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    options = {name: row[2].strip() for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    classes = {"files": FileSource, "skills": SkillSource, "callable": CallableSource}
    for option, of in options.items():
        for word in classes if of == "all" else of.split(", "):
            assert option in _parameters(classes[word]), (option, word)
    for cls in classes.values():
        positional = {"self", "root", "load"}
        assert set(_parameters(cls)) - positional <= set(options)


@pytest.mark.parametrize("page", [page for page, classes in SOURCE_PAGES.items() if classes])
def test_a_sources_page_names_its_options_and_no_others(page: str):
    text = (ROOT / "docs" / page).read_text("utf-8")
    tables = text[text.index("| option") :].splitlines()
    rows = [line.split("|")[1] for line in tables if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    taken = {name for cls in SOURCE_PAGES[page] for name in _parameters(cls)}
    assert named - taken == set()
    assert taken - named - {"self", "name", "kind", "servers"} == set()


def _parameters(cls: type) -> tuple[str, ...]:
    return tuple(inspect.signature(cls).parameters)


# ---- observability ---------------------------------------------------------------------------


def rows_of(page: str, first: str) -> list[list[str]]:
    """The cells of the table whose heading's first cell this is."""
    lines = (ROOT / "docs" / page).read_text("utf-8").splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    table = itertools.takewhile(lambda line: line.startswith("|"), lines[begin + 2 :])
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in table]


def test_the_observability_page_names_every_instrument_as_it_is():
    told = [
        [
            f"`prefetch.{each.name}`",
            str(each.shape),
            f"`{each.unit}`",
            ", ".join(f"`prefetch.{name}`" for name in each.attributes),
            each.about,
        ]
        for each in INSTRUMENTS
    ]
    assert rows_of("observability.md", "instrument") == told


def test_the_observability_page_names_every_field_of_log_records():
    text = " ".join(cell for row in rows_of("observability.md", "field") for cell in row)
    fields = set(get_type_hints(LogFields))
    assert set(re.findall(r"`prefetch_(\w+)`", text)) == fields


def test_the_observability_page_names_every_logger():
    told = {row[0].strip("`") for row in rows_of("observability.md", "logger")}
    used = set()
    for path in (*(ROOT / "engine").rglob("*.py"), *(ROOT / "actors").rglob("*.py")):
        for name in re.findall(r"getLogger\(([^)]+)\)", path.read_text("utf-8")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            below = module if name == "__name__" else name.strip('"').partition(".")[2]
            used.add(below.rpartition(".")[0] + ".*" if name == "__name__" else below)
    assert used - {""} == told


@pytest.mark.parametrize("command", sorted(command_names()))
def test_the_command_line_page_names_every_command(command: str):
    assert any(row[0].startswith(f"`{command}") for row in rows_of("command-line.md", "command"))


def test_the_troubleshooting_page_says_what_to_do_for_every_reason():
    named = " ".join(row[0] for row in rows_of("troubleshooting.md", "reason"))
    assert sorted(re.findall(r"`(\w+)`", named)) == sorted(map(str, Reason))


@pytest.mark.parametrize("page", ["troubleshooting.md", "observability.md"])
def test_a_page_names_only_configuration_keys_that_exist(page: str):
    text = (ROOT / "docs" / page).read_text("utf-8")
    groups = {path[0] for path, _, _ in leaves(Config()) if len(path) == 2}
    named = re.findall(rf"`((?:{'|'.join(groups)})\.\w+)", text)
    keys = {".".join(path) for path, _, _ in leaves(Config())}
    assert named
    assert set(named) - keys - {"speculation.reliability"} == set()
