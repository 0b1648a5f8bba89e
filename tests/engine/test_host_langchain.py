"""LangChain's own agent loop, with a model that is a script."""

from pathlib import Path
from typing import Any

import pytest

from prefetch_scheduler.engine import ConfigError, PrefetchEngine
from support.agents import MODES, READ, Errand, Named, config
from support.documents import ROOT, python_blocks, run

pytestmark = pytest.mark.filterwarnings("default")  # of the libraries' own making


def model(errand: Errand, engine: PrefetchEngine | None) -> Any:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    class Script(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "script"

        def bind_tools(self, tools: Any, **_: Any) -> Any:
            return self

        def _generate(self, messages: Any, *_: Any, **__: Any) -> ChatResult:
            say = errand.next(engine)
            if isinstance(say, str):
                message = AIMessage(say)
            else:
                call = {"name": say[0], "args": say[1], "id": f"call-{errand.said}"}
                message = AIMessage("", tool_calls=[call])
            return ChatResult(generations=[ChatGeneration(message=message)])

    return Script()


def tools(errand: Errand, *, only_async: bool = False) -> list[Any]:
    from langchain_core.tools import StructuredTool, tool

    async def read_file(path: str) -> str:
        return errand.read_file(path)

    made = [tool(errand.look), tool(errand.read_file), tool(errand.write_file)]
    if only_async:
        made[1] = StructuredTool.from_function(coroutine=read_file, description="Read a file.")
    return made


def shown(messages: Any) -> list[Any]:
    """A transcript, without the ids that are drawn anew each time."""
    return [message.model_dump(exclude={"id", "response_metadata"}) for message in messages]


def transcript(errand: Errand, engine: PrefetchEngine | None) -> list[Any]:
    from langchain.agents import create_agent

    made = tools(errand)
    middleware = []
    if engine is not None:
        from prefetch_scheduler.engine.hosts.langchain import PrefetchMiddleware

        reads = [errand.reads(made[1])]
        prefetch = PrefetchMiddleware(engine, "agent-7", tools=reads, predictor=Named())
        errand.port = prefetch.port
        middleware = [prefetch]
    agent = create_agent(model(errand, engine), made, middleware=middleware)
    messages: list[Any] = []
    for task in errand.tasks():
        messages = agent.invoke({"messages": [*messages, ("user", task)]})["messages"]
    return shown(messages)


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The transcript of the same errand without the adapter."""
    return transcript(Errand(tmp_path_factory.mktemp("plain") / "work", "stopped"), None)


@pytest.mark.parametrize("mode", MODES)
def test_a_run_is_the_same_with_prefetching(mode: str, tmp_path: Path, without: list[Any]):
    errand, engine = Errand(tmp_path / "work", mode), PrefetchEngine(config(mode))
    if mode == "stopped":
        assert transcript(errand, engine) == without
        errand.check(engine)
        return
    with engine:
        assert transcript(errand, engine) == without
        errand.check(engine)


async def _async_run(errand: Errand, engine: PrefetchEngine) -> list[Any]:
    from langchain.agents import create_agent

    from prefetch_scheduler.engine.hosts.langchain import PrefetchMiddleware

    made = tools(errand, only_async=True)
    reads = [errand.reads(made[1])]
    prefetch = PrefetchMiddleware(engine, "agent-7", tools=reads, predictor=Named())
    errand.port = prefetch.port
    agent = create_agent(model(errand, engine), made, middleware=[prefetch])
    messages: list[Any] = []
    for task in errand.tasks():
        messages = (await agent.ainvoke({"messages": [*messages, ("user", task)]}))["messages"]
    return shown(messages)


def test_async_tools_are_served_too(tmp_path: Path, without: list[Any]):
    import asyncio

    errand = Errand(tmp_path / "work", "on")
    with PrefetchEngine() as engine:
        assert asyncio.run(_async_run(errand, engine)) == without
        assert errand.figures(engine)["used"] >= 1


def test_what_is_no_tool_of_langchain_is_refused():
    from prefetch_scheduler.engine.hosts.langchain import PrefetchMiddleware, ReadTool

    with pytest.raises(ConfigError, match="expected a tool that @tool makes, got function"):
        PrefetchMiddleware(PrefetchEngine(), "a", tools=[ReadTool(lambda path: path, name="x")])


def test_the_page_s_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "src").mkdir()
    (tmp_path / READ).write_text("def login(): ...\n")
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "langchain.md"
    names: dict[str, Any] = {"__name__": "__main__"}
    for line, code in python_blocks(page):
        run(page, line, code, names)
    assert names["summary"]["used"] == 1
