"""OpenAI Agents: hooks, an input filter and tools. Needs the extra `openai-agents`."""

import json
from collections.abc import Iterable
from typing import Any

from prefetch_scheduler.engine.facade import PrefetchEngine
from prefetch_scheduler.engine.hosts.openai_agents_library import (
    FunctionTool,
    RunHooks,
    function_tool,
)
from prefetch_scheduler.engine.hosts.port import HostPort, ReadTool

__all__ = ["PrefetchHooks", "ReadTool"]


class PrefetchHooks(RunHooks[Any]):
    """Serves the tools of an agent that only read through an engine, and tells it what happens.

    ::

        prefetch = PrefetchHooks(engine, "agent-7", tools=[ReadTool(read_file, path="path")])
        agent = Agent("helper", tools=[*prefetch.tools, write_file])
        config = RunConfig(call_model_input_filter=prefetch.input_filter)
        Runner.run(agent, "...", hooks=prefetch, run_config=config)

    Args:
        engine: whose cache serves it; the host starts and stops it.
        session: names the session; each agent has one of its own.
        tools: the functions of the agent's tools that only read; they take no context.
        more: as for `HostPort`: `predictor`, `project`, `user`, `constraints`.

    Raises:
        ConfigError: a tool is wrong.
    """

    def __init__(
        self, engine: PrefetchEngine, session: str, *, tools: Iterable[ReadTool] = (), **more: Any
    ) -> None:
        self.port = HostPort(engine, session, tools=tools, **more)
        self._said: list[str] = []
        self.tools: list[FunctionTool] = [
            function_tool(function, name_override=name)
            for name, function in self.port.functions.items()
        ]
        """The same tools for the agent, served by the engine."""

    async def on_agent_start(self, context: Any, agent: Any) -> None:  # noqa: ARG002 - the hook's signature
        """A run begins, or is handed to another agent."""
        self.port.session_started()

    def input_filter(self, data: Any) -> Any:
        """Looks at what a model is about to be asked, and changes nothing: where a person has said
        something new, that is the next task.
        """
        said = [
            _text(item.get("content"))
            for item in data.model_data.input
            if isinstance(item, dict) and item.get("role") == "user"
        ]
        if said and said != self._said:
            self._said = said
            self.port.task_received(said[-1])
        return data.model_data

    async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:  # noqa: ARG002 - as above
        """A tool is about to be called. Of one that fails the hooks hear no end."""
        if tool.name not in self.port.tools:
            self.port.written()

    async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: object) -> None:  # noqa: ARG002 - as above
        """A tool was called."""
        self.port.tool_called(tool.name, _arguments(context), result)


def _arguments(context: Any) -> dict[str, Any]:
    """A call's arguments; none where the model wrote no JSON object."""
    try:
        found = json.loads(getattr(context, "tool_arguments", "") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(part["text"] for part in parts if isinstance(part, dict) and "text" in part)
