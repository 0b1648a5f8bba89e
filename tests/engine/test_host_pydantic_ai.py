"""PydanticAI's own agent loop, with a model that is a script."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefetch_scheduler.engine import PrefetchEngine
from support.agents import MODES, READ, Errand, Named, config
from support.documents import ROOT, python_blocks, run

pytestmark = pytest.mark.filterwarnings("default")  # of the libraries' own making


@pytest.fixture(autouse=True, scope="module")
def a_loop_that_is_closed() -> Iterator[None]:
    """`run_sync` would make one for the thread, and leave it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


DRAWN = ("timestamp", "run_id", "conversation_id", "tool_call_id", "message_id")
"""Fields that are drawn anew in each run."""


def without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_ids(v) for key, v in value.items() if key not in DRAWN}
    return [without_ids(v) for v in value] if isinstance(value, list) else value


def transcript(errand: Errand, engine: PrefetchEngine | None) -> Any:
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelMessagesTypeAdapter, ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import FunctionModel

    def script(messages: Any, info: Any) -> ModelResponse:
        say = errand.next(engine)
        part = TextPart(say) if isinstance(say, str) else ToolCallPart(say[0], say[1])
        return ModelResponse(parts=[part])

    capabilities = []
    if engine is not None:
        from prefetch_scheduler.engine.hosts.pydantic_ai import PrefetchCapability

        prefetch = PrefetchCapability(engine, "agent-7", tools=[errand.reads()], predictor=Named())
        errand.port = prefetch.port
        capabilities = [prefetch]
    agent = Agent(
        FunctionModel(script),
        tools=[errand.look, errand.read_file, errand.write_file],
        capabilities=capabilities,
    )
    messages: list[Any] = []
    for task in errand.tasks():
        messages = agent.run_sync(task, message_history=messages).all_messages()
    return without_ids(ModelMessagesTypeAdapter.dump_python(messages, mode="json"))


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The transcript of the same errand without the adapter."""
    return transcript(Errand(tmp_path_factory.mktemp("plain") / "work", "stopped"), None)


@pytest.mark.parametrize("mode", MODES)
def test_a_run_is_the_same_with_prefetching(mode: str, tmp_path: Path, without: Any):
    errand, engine = Errand(tmp_path / "work", mode), PrefetchEngine(config(mode))
    if mode == "stopped":
        assert transcript(errand, engine) == without
        errand.check(engine)
        return
    with engine:
        assert transcript(errand, engine) == without
        errand.check(engine)


def test_the_page_s_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "src").mkdir()
    (tmp_path / READ).write_text("def login(): ...\n")
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "pydantic-ai.md"
    names: dict[str, Any] = {"__name__": "__main__"}
    for line, code in python_blocks(page):
        run(page, line, code, names)
    assert names["summary"]["used"] == 1
