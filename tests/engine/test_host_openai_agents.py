"""The OpenAI Agents loop itself, with a model that is a script."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from prefetch_scheduler.engine import PrefetchEngine
from support.agents import MODES, READ, TASKS, Errand, Named, config
from support.documents import ROOT, python_blocks, run

pytestmark = pytest.mark.filterwarnings("default")  # of the libraries' own making


def model(errand: Errand, engine: PrefetchEngine | None) -> Any:
    from agents import Model, ModelResponse, Usage
    from openai.types.responses import (
        ResponseFunctionToolCall,
        ResponseOutputMessage,
        ResponseOutputText,
    )

    class Script(Model):
        async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
            say = await asyncio.to_thread(errand.next, engine)
            number = str(errand.said)
            item: Any
            if isinstance(say, str):
                text = ResponseOutputText(annotations=[], text=say, type="output_text")
                item = ResponseOutputMessage(
                    id=number, content=[text], role="assistant", status="completed", type="message"
                )
            else:
                item = ResponseFunctionToolCall(
                    arguments=json.dumps(say[1]), call_id=number, name=say[0], type="function_call"
                )
            return ModelResponse(output=[item], usage=Usage(), response_id=None)

        def stream_response(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError("the errand does not stream")

    return Script()


async def transcript(errand: Errand, engine: PrefetchEngine | None) -> list[Any]:
    from agents import Agent, RunConfig, Runner, function_tool

    reads, hooks, look_on = [function_tool(errand.read_file)], None, None
    if engine is not None:
        from prefetch_scheduler.engine.hosts.openai_agents import PrefetchHooks

        hooks = PrefetchHooks(engine, "agent-7", tools=[errand.reads()], predictor=Named())
        assert hooks.tools[0].params_json_schema == reads[0].params_json_schema
        assert hooks.tools[0].description == reads[0].description
        errand.port, reads, look_on = hooks.port, hooks.tools, hooks.input_filter
    others = [function_tool(errand.look), function_tool(errand.write_file)]
    agent = Agent("helper", tools=[*reads, *others], model=model(errand, engine))
    terms = RunConfig(tracing_disabled=True, call_model_input_filter=look_on)
    items: list[Any] = []
    for task in errand.tasks():
        given = [*items, {"role": "user", "content": task}]
        result = await Runner.run(agent, given, hooks=hooks, run_config=terms)
        items = result.to_input_list()
    return items


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The transcript of the same errand without the adapter."""
    errand = Errand(tmp_path_factory.mktemp("plain") / "work", "stopped")
    return asyncio.run(transcript(errand, None))


@pytest.mark.parametrize("mode", MODES)
def test_a_run_is_the_same_with_prefetching(mode: str, tmp_path: Path, without: list[Any]):
    errand, engine = Errand(tmp_path / "work", mode), PrefetchEngine(config(mode))
    if mode == "stopped":
        assert asyncio.run(transcript(errand, engine)) == without
        errand.check(engine)
        return
    with engine:
        assert asyncio.run(transcript(errand, engine)) == without
        errand.check(engine)
        assert errand.port is not None
        assert errand.port._tasks == len(TASKS)


def test_the_page_s_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "src").mkdir()
    (tmp_path / READ).write_text("def login(): ...\n")
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "openai-agents.md"
    names: dict[str, Any] = {"__name__": "__main__"}
    for line, code in python_blocks(page):
        run(page, line, code, names)
    assert names["summary"]["used"] == 1
