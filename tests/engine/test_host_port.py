"""The port of five events: what it tells the engine and a predictor, and that it never fails."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from prefetch_scheduler.engine import (
    ConfigError,
    ContextSwitched,
    FileSource,
    InvalidPrediction,
    Prediction,
    PrefetchEngine,
)
from prefetch_scheduler.engine.hosts import HostPort, ReadTool
from support.waiting import wait_for


class Noting:
    """A predictor that keeps what it is told, and says what it is given to say."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.says: Any = ()

    def session(self, id_: str, project: str | None) -> "Noting":
        self.told.append(("session", id_, project))
        return self

    def task(self, text: str) -> None:
        self.told.append(("task", text))

    def read(self, key: str, text: str | None) -> None:
        self.told.append(("read", key, text))

    def seen(self, text: str) -> None:
        self.told.append(("seen", text))

    def predictions(self) -> Any:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def end(self) -> None:
        self.told.append(("end",))


class Tools:
    """Two tools that read, each call of them noted."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def read_file(self, path: str, lines: int = 0) -> str:
        self.calls.append(path)
        return f"text of {path}"

    def find(self, word: str) -> list[str]:
        self.calls.append(word)
        return [word]

    def reads(self) -> list[ReadTool]:
        return [ReadTool(self.read_file, path="path"), ReadTool(self.find, name="search")]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[PrefetchEngine]:
    (tmp_path / "a.py").write_text("import b\n")
    with PrefetchEngine(sources=[FileSource(tmp_path)]) as running:
        yield running


def resident(engine: PrefetchEngine, key: str) -> None:
    wait_for(lambda: engine.peek(key))


def test_events_reach_the_predictor_in_its_own_words(engine: PrefetchEngine):
    noting, tools = Noting(), Tools()
    port = HostPort(engine, "s1", tools=tools.reads(), predictor=noting, project="shop")
    port.task_received("mend the login")
    port.session_started()  # it has
    port.tool_called("read_file", {"path": "./a.py"}, "text of a.py")
    port.tool_called("search", {"word": "x"}, ["x"])
    port.tool_called("run", {"command": "make"}, "made")
    assert port.context_needed(["file:a.py", "file:none.py"])["file:a.py"].value == "import b\n"
    port.session_ended()
    port.tool_called("run", {}, "nobody listens")
    assert noting.told == [
        ("session", "s1", "shop"),
        ("task", "mend the login"),
        ("read", "file:a.py", "text of a.py"),
        ("read", 'call:s1/search?{"word":"x"}', "['x']"),
        ("seen", "made"),
        ("read", "file:a.py", "import b\n"),
        ("end",),
    ]


def test_a_predicted_file_is_the_call_that_reads_it(engine: PrefetchEngine):
    noting, tools = Noting(), Tools()
    noting.says = {"files": {"likely_read": [{"path": "a.py", "confidence": 0.95}]}}
    port = HostPort(engine, "s1", tools=tools.reads(), predictor=noting)
    port.task_received("read it")
    key = port.functions["read_file"].key("a.py")
    assert key == 'call:s1/read_file?{"path":"a.py"}'
    resident(engine, key)
    assert port.functions["read_file"]("a.py") == "text of a.py"
    assert tools.calls == ["a.py"]
    summary = engine.session("s1").report().to_dict()["prefetch_report"]["session_summary"]
    assert (summary["used"], summary["cache_hits"]) == (1, 1)


def test_without_a_tool_that_reads_files_the_file_itself_is_loaded(engine: PrefetchEngine):
    port = HostPort(engine, "s1")
    port.session_started()
    port.submit([Prediction("file:a.py", "main_file", 0.95)])
    resident(engine, "file:a.py")
    found = asyncio.run(port.acontext_needed(["file:a.py", "file:none.py"]))
    assert {key: content.layer is not None for key, content in found.items()} == {"file:a.py": True}
    with pytest.raises(InvalidPrediction, match="role"):
        port.submit([{"key": "file:a.py", "confidence": 0.5}])  # type: ignore[list-item]  # what is tested


def test_a_tool_that_may_write_makes_stale_what_was_read_in_its_session(engine: PrefetchEngine):
    ports, tools = [], []
    for name in ("s1", "s2"):
        tools.append(Tools())
        ports.append(HostPort(engine, name, tools=tools[-1].reads()))
        ports[-1].session_started()
        assert ports[-1].functions["search"]("x") == ["x"]
        resident(engine, ports[-1].functions["search"].key("x"))
    ports[0].tool_called("search", {"word": "x"}, ["x"])
    assert engine.peek('call:s1/search?{"word":"x"}') is not None
    ports[0].tool_called("write_file", {"path": "x"}, "done")
    assert engine.peek('call:s2/search?{"word":"x"}') is not None
    assert ports[0].functions["search"]("x") == ["x"]
    assert len(tools[0].calls) >= 2
    assert tools[1].calls == ["x"]


def test_what_a_person_may_have_changed_before_the_next_task_is_read_anew(engine: PrefetchEngine):
    tools = Tools()
    port = HostPort(engine, "s1", tools=tools.reads())
    port.task_received("one")
    search = port.functions["search"]
    assert [search("x"), search("x")] == [["x"], ["x"]]
    assert tools.calls == ["x"]
    port.task_received("two")
    assert search("x") == ["x"]
    assert len(tools.calls) >= 2


def test_each_task_is_a_context_of_its_own(engine: PrefetchEngine):
    contexts: list[str | None] = []

    def note(event: Any) -> None:
        if isinstance(event, ContextSwitched):
            contexts.append(event.context)

    engine.subscribe(note)
    port = HostPort(engine, "s1")
    port.task_received("one")
    port.task_received("two")
    wait_for(lambda: contexts == ["task-1", "task-2"])


@pytest.mark.parametrize("state", ["new", "stopped"])
def test_no_event_fails_where_the_engine_does_not_run(state: str):
    engine, tools = PrefetchEngine(), Tools()
    if state == "stopped":
        engine.start()
        engine.stop()
    port = HostPort(engine, "s1", tools=tools.reads(), predictor=Noting())
    port.session_started()
    port.task_received("x")
    assert port.context_needed(["file:a.py"]) == {}
    port.tool_called("run", {}, None)
    port.tool_called("search", {"word": "x"}, ["x"])
    assert port.functions["search"]("x") == ["x"]
    port.session_ended()


@pytest.mark.parametrize(
    "says",
    [
        ValueError("broken"),
        {"files": {"likely_read": [{"path": "a.py", "confidence": 7}]}},
        [Prediction("file:a.py", "no_such_role", 0.9)],
        7,
    ],
)
def test_a_predictor_that_fails_harms_nobody(
    engine: PrefetchEngine, says: Any, caplog: pytest.LogCaptureFixture
):
    noting = Noting()
    noting.says = says
    port = HostPort(engine, "s1", tools=Tools().reads(), predictor=noting)
    with caplog.at_level(logging.INFO, "prefetch_scheduler.engine.hosts"):
        port.task_received("x")
        port.tool_called("run", {}, "y")
    assert [r.getMessage().partition(": ")[0] for r in caplog.records] == ["session s1"] * 2
    assert port.functions["search"]("x") == ["x"]
    assert noting.told[-1] == ("seen", "y")


def test_arguments_that_do_not_fit_are_no_fault_of_the_event(engine: PrefetchEngine):
    noting = Noting()
    port = HostPort(engine, "s1", tools=Tools().reads(), predictor=noting)
    port.session_started()
    arguments: list[Mapping[str, Any]] = [{}, {"path": 7}, {"nothing": 1}]
    for given in arguments:
        port.tool_called("read_file", given, "x")
    port.tool_called("search", {"word": "y"}, "y")
    assert noting.told[-1] == ("read", 'call:s1/search?{"word":"y"}', "y")


def test_tools_that_cannot_be_told_apart_are_refused():
    tools = Tools()
    with pytest.raises(ConfigError, match="two are called 'find'"):
        HostPort(PrefetchEngine(), "s", tools=[ReadTool(tools.find), ReadTool(tools.find)])
    with pytest.raises(ConfigError, match="expected a list of ReadTool, got method"):
        HostPort(PrefetchEngine(), "s", tools=[tools.find])  # type: ignore[list-item]  # as above
    engine = PrefetchEngine()
    port = HostPort(engine, "s", tools=[ReadTool(tools.find)])
    again = HostPort(engine, "s", tools=[ReadTool(tools.find)])
    keys = [each.functions["find"].key("x") for each in (port, again)]
    assert keys == ['call:s/find?{"word":"x"}', 'call:s/find~2?{"word":"x"}']
