"""The MCP sources against the SDK's own server, over stdio and streamable HTTP."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mcp_types
import pytest

from prefetch_scheduler.engine import (
    ConfigError,
    Constraints,
    Prediction,
    PrefetchEngine,
    ResourceLoaded,
    ResourceUnavailable,
)
from prefetch_scheduler.engine.sources.mcp import (
    McpServer,
    McpSource,
    McpToolSource,
    mcp_sources,
    resource_key,
    tool_key,
)
from support.waiting import wait_for

APP = Path(__file__).parents[1] / "support" / "mcp_app.py"
WAIT_S = 30.0
KEY = "mcp:app/note://it"
OPTED_IN = {"execution": {"prefetch_remote": True}}

NOTE = resource_key("app", "note://it")


class Web:
    """The server as a process that listens on a port of its own."""

    def __init__(self, **environment: str) -> None:
        self._environment = {**os.environ, **environment}
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it, again on the same port."""
        self.process = subprocess.Popen(
            (sys.executable, str(APP), "http", str(self.port)),
            env=self._environment,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def server(self, **options: Any) -> McpServer:
        return McpServer("app", url=f"http://127.0.0.1:{self.port}/mcp", **options)


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    made = Web()
    yield made
    made.kill()


def stdio(**options: Any) -> McpServer:
    return McpServer("app", command=[sys.executable, str(APP), "stdio"], **options)


@contextmanager
def running(server: McpServer, **options: Any) -> Iterator[PrefetchEngine]:
    with PrefetchEngine(OPTED_IN, sources=mcp_sources(server, **options)) as engine:
        yield engine


def call(engine: PrefetchEngine, tool: str, **arguments: Any) -> str:
    content = engine.get(tool_key("app", tool, arguments), timeout=WAIT_S)
    assert isinstance(content.value, str)
    return content.value


def read(engine: PrefetchEngine, uri: str) -> Any:
    return engine.get(resource_key("app", uri), timeout=WAIT_S).value


@contextmanager
def heard(server: McpServer) -> Iterator[Callable[[str], None]]:
    """Lets a test wait until a notification has come: it is told of, not asked for."""
    found: set[str] = set()
    came = threading.Condition()

    def listen(_what: str, pattern: str) -> None:
        with came:
            found.add(pattern)
            came.notify_all()

    def wait_for(pattern: str) -> None:
        with came:
            assert came.wait_for(lambda: pattern in found, WAIT_S), (pattern, found)

    server._listeners.append(listen)
    yield wait_for
    server._listeners.remove(listen)


# ---- what must be seen to hold, over both transports ------------------------------------------


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_reads_share_a_call_updates_make_them_fresh_and_a_killed_server_comes_back(
    transport, request
):
    server = stdio() if transport == "stdio" else request.getfixturevalue("web").server()
    with running(server) as engine:
        # 1. fifty readers at once, one call
        read(engine, "item://0")
        calls = _calls(engine, "note")
        values: list[Any] = []
        threads = [
            threading.Thread(target=lambda: values.append(read(engine, "note://it")))
            for _ in range(50)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        assert values == ["one"] * 50
        assert _calls(engine, "note") == calls + 1
        # 2. an update makes the next read fresh; also of what is not listed
        assert read(engine, "item://1") == "item 1 of one"
        with heard(server) as wait_for:
            act(server, "change", to="two")
            wait_for("app/note://it")
            wait_for("app/item://1")
        assert read(engine, "note://it") == "two"
        assert read(engine, "item://1") == "item 1 of two"
        assert read(engine, "item://0") == "item 0 of one"  # nobody said that it changed
        # 3. a changed list makes all of the server's resources stale
        with heard(server) as wait_for:
            act(server, "add", uri=f"added://{transport}")
            wait_for("app/*")
        assert read(engine, "item://0") == "item 0 of two"
        if transport == "http":
            act(server, "change", to="one")  # other tests use the same process
            return
        # 4. a server that dies in the middle is a clear error, and comes back
        with heard(server) as wait_for:
            why = "connection to the MCP server 'app' broke"
            with pytest.raises(ResourceUnavailable, match=why):
                read(engine, "dies://it")
            server._loop.begin(_connected(server))
            wait_for("app/*")  # connected again: what was missed counts as changed
        assert read(engine, "note://it") == "one"


def _calls(engine: PrefetchEngine, what: str) -> int:
    engine.invalidate(resource_key("app", f"count://{what}"))
    return int(read(engine, f"count://{what}"))


def act(server: McpServer, tool: str, **arguments: Any) -> None:
    """Call a tool that writes, as an agent would: not through the engine, over the connection."""

    async def call_it() -> None:
        client = await server._kept().client()
        assert not (await client.call_tool(tool, arguments)).is_error

    asyncio.run(server._loop.run(call_it()))


async def _connected(server: McpServer) -> None:
    await server._kept().client()


def test_a_killed_web_server_is_a_clear_error_and_is_used_again_when_it_is_back():
    web = Web()
    server = web.server(assumed_max_age_s=0.0)
    try:
        with running(server) as engine:
            assert read(engine, "note://it") == "one"
            web.kill()

            def refusal() -> str:
                with pytest.raises(ResourceUnavailable, match="MCP server 'app'") as refused:
                    read(engine, "note://it")
                return str(refused.value)

            wait_for(lambda: "cannot be reached" in refusal())  # first that its connection broke
            web.start()
            assert read(engine, "note://it") == "one"
    finally:
        web.kill()


# ---- what is loaded ahead ---------------------------------------------------------------------


def test_a_killed_server_leaves_readers_with_what_they_had_where_that_was_opted_in():
    web = Web()
    server = web.server(assumed_max_age_s=0.0)
    lenient = mcp_sources(server, stale_if_error_s=60.0)
    try:
        with PrefetchEngine(sources=lenient) as engine:
            fresh = engine.get(KEY, timeout=WAIT_S)
            web.kill()
            old = engine.get(KEY, timeout=WAIT_S)
            assert (fresh.value, fresh.stale) == ("one", False)
            assert (old.value, old.stale) == ("one", True)
            web.start()
            wait_for(lambda: not engine.get(KEY, timeout=WAIT_S).stale)
    finally:
        web.kill()


def test_predicted_resources_and_calls_are_there_before_they_are_read(web):
    with running(web.server()) as engine:
        key = tool_key("app", "search", {"query": "a", "most": 2})
        spelt = 'mcp-tool:app/search?{ "most": 2, "query": "a" }'
        loaded = threading.Event()
        linked = resource_key("app", "item://7")
        engine.subscribe(
            lambda event: (
                loaded.set() if isinstance(event, ResourceLoaded) and event.key == linked else None
            )
        )
        handle = engine.submit(
            [Prediction(NOTE, "main_file", 0.9), Prediction(spelt, "main_file", 0.9)],
            Constraints(mode="critical"),
        )
        assert {item.key for item in handle.plan(WAIT_S).items} == {NOTE, key}
        assert handle.wait_immediate(WAIT_S)
        assert engine.get(NOTE).layer == "warm"
        content = engine.get(spelt)
        assert (content.value, content.layer) == ("a: 2\nitem://7", "warm")
        assert loaded.wait(WAIT_S)  # what the result points to


def test_only_tools_that_are_marked_are_ever_called(web):
    server = web.server()
    with running(server) as engine:
        read(engine, "item://0")  # connected
        keys = [tool_key("app", tool) for tool in ("only_half", "none")]
        handle = engine.submit([Prediction(key, "main_file", 0.9) for key in keys])
        assert handle.wait_immediate(WAIT_S) is False
        for tool, why in (
            ("only_half", "not marked with readOnlyHint and idempotentHint"),
            ("none", "has no tool 'none'"),
            ("fails", "the tool failed: .*nothing found"),
        ):
            with pytest.raises(ResourceUnavailable, match=why):
                call(engine, tool)
        assert read(engine, "count://only_half") == "0"
    with (
        running(web.server(tools=["fails"])) as engine,
        pytest.raises(ResourceUnavailable, match="not among the allowed ones"),
    ):
        call(engine, "search", query="a")


def test_what_a_host_writes_by_other_ways_makes_stale_what_was_read(web):
    server = web.server()
    with running(server) as engine:
        first = engine.get(tool_key("app", "search", {"query": "w"}), timeout=WAIT_S)
        engine.report()  # by then what was loaded is kept
        assert engine.peek(tool_key("app", "search", {"query": "w"})).value == first.value
        server.written()
        assert engine.peek(tool_key("app", "search", {"query": "w"})) is None


def test_what_servers_list_says_size_and_importance(web):
    source = McpSource([web.server()])
    with PrefetchEngine(OPTED_IN, sources=[source]) as engine:
        assert read(engine, "bytes://it") == b"\x00\x01"
        listed = [(item.key, item.confidence) for item in source.predictions()]
        assert listed == [(NOTE, 0.9), (resource_key("app", "bytes://it"), 0.2)]
        assert source.predictions(limit=1)[0].key == NOTE
        assert source.tokens("app/note://it") is None
        source.servers["app"].resources = {
            "note://big.json": mcp_types.Resource(uri="note://big.json", name="big", size=3000)
        }
        assert source.tokens("app/note://big.json") == 1000


# ---- ages and scopes --------------------------------------------------------------------------


def test_ages_and_scopes_that_a_server_states_are_kept_to():
    web = Web(TTL_MS="5000", SCOPE="public")
    try:
        for private in (True, False):
            with running(web.server(), private=private) as engine:
                assert engine.get(NOTE, timeout=WAIT_S).max_age_s == 5.0
                content = engine.get(tool_key("app", "search", {"query": "a"}), timeout=WAIT_S)
                assert content.max_age_s == 30.0  # results of tools state no age
    finally:
        web.kill()


@pytest.mark.parametrize(("private", "age"), [(True, 12.0), (False, 0.0)])
def test_private_answers_are_not_shared_between_users(web, private, age):
    with running(web.server(assumed_max_age_s=12.0), private=private) as engine:
        one = engine.session("1", user="one")
        assert one.get(NOTE, timeout=WAIT_S).max_age_s == age
        two = engine.session("2", user="two")
        engine.report()  # by then what was loaded is kept
        assert two.peek(NOTE) is None
        assert (one.peek(NOTE) is not None) is private


def test_servers_of_before_2026_are_spoken_to_as_well(web):
    with running(web.server(mode="legacy", assumed_max_age_s=7.0)) as engine:
        content = engine.get(NOTE, timeout=WAIT_S)
        assert (content.value, content.max_age_s) == ("one", 7.0)


# ---- errors -----------------------------------------------------------------------------------


def test_a_server_that_cannot_be_started_is_a_clear_error_and_holds_up_nothing():
    server = McpServer("app", command=["no-such-program-here"])
    with running(server) as engine:
        with pytest.raises(ResourceUnavailable, match=r"'app' cannot be reached: .*No such file"):
            read(engine, "note://it")
        assert engine.health().state == "ok"


def test_a_server_that_ends_at_once_or_never_answers_is_an_error_in_time():
    for code, why in (
        ("raise SystemExit", "Connection closed"),
        ("while input(): pass", "within 0.5 s"),
    ):
        server = McpServer("app", command=[sys.executable, "-c", code], connect_timeout_s=0.5)
        with (
            running(server) as engine,
            pytest.raises(ResourceUnavailable, match=f"'app' (cannot be|was not) .*{why}"),
        ):
            read(engine, "note://it")


def test_the_servers_process_ends_with_the_engine(tmp_path):
    noted = tmp_path / "pid"
    script = f"import os, runpy, sys; open({str(noted)!r}, 'w').write(str(os.getpid())); "
    script += f"sys.argv = ['app', 'stdio']; runpy.run_path({str(APP)!r}, run_name='__main__')"
    server = McpServer("app", command=[sys.executable, "-c", script])
    with running(server) as engine:
        assert read(engine, "note://it") == "one"
        pid = int(noted.read_text())
        os.kill(pid, signal.SIGCONT)  # it lives
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# ---- names and arguments ----------------------------------------------------------------------


def test_a_call_has_one_spelling():
    source = McpToolSource([McpServer("app", command=["x"])])
    for name, spelt in (
        ("app/t", "app/t?{}"),
        ("app/t?{}", "app/t?{}"),
        ('app/t?{"b": [1, 2.5, null], "a": "é?"}', 'app/t?{"a":"é?","b":[1,2.5,null]}'),
    ):
        assert source.normalise(name) == spelt
        assert source.normalise(spelt) == spelt
    assert tool_key("app", "t", {"b": 1, "a": 2}) == 'mcp-tool:app/t?{"a":2,"b":1}'


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("other/t", "no MCP server 'other'; those known are app"),
        ("app", "there has to be '/'"),
        ("app/", "there has to be '/'"),
        ("app/?{}", "names no tool"),
        ("app/t?", "no JSON"),
        ("app/t?[1]", "no JSON object"),
        ('app/t?{"a":NaN}', "NaN is no JSON value"),
        ('app/t?{"a":1,"a":2}', "stands twice"),
    ],
)
def test_a_name_that_is_none_is_refused(name, why):
    with pytest.raises(ValueError, match=why):
        McpToolSource([McpServer("app", command=["x"])]).normalise(name)


def test_wrong_arguments_are_named():
    for arguments, why in (
        ({"name": "a/b", "url": "http://x"}, "does not match"),
        ({"name": "a"}, "either a command or a url"),
        ({"name": "a", "command": ["x"], "url": "http://x"}, "either a command or a url"),
        ({"name": "a", "command": "server --stdio"}, "is not a list"),
        ({"name": "a", "url": "http://x", "call_timeout_s": -1}, "call_timeout_s: -1"),
    ):
        with pytest.raises(ConfigError, match=why):
            McpServer(**arguments)
    with pytest.raises(ConfigError, match="not empty"):
        McpSource([])
    twice = [McpServer("a", command=["x"]), McpServer("a", url="http://x")]
    with pytest.raises(ConfigError, match="the same name"):
        mcp_sources(*twice)
