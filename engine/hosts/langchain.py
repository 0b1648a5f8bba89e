"""LangChain and LangGraph: a middleware for `create_agent`. Needs the extra `langchain`."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from attrs import evolve

from prefetch_scheduler.engine.facade import PrefetchEngine
from prefetch_scheduler.engine.hosts.langchain_library import (
    AgentMiddleware,
    HumanMessage,
    StructuredTool,
    ToolMessage,
)
from prefetch_scheduler.engine.hosts.port import HostPort, ReadTool
from prefetch_scheduler.policies.errors import ConfigError

__all__ = ["PrefetchMiddleware", "ReadTool"]


class PrefetchMiddleware(AgentMiddleware[Any, Any, Any]):
    """Serves the tools of an agent that only read through an engine, and tells it what happens.

    ::

        prefetch = PrefetchMiddleware(engine, "agent-7", tools=[ReadTool(read_file, path="path")])
        agent = create_agent(model, [read_file, write_file], middleware=[prefetch])

    Args:
        engine: whose cache serves it; the host starts and stops it.
        session: names the session; each agent or thread of talk has one of its own.
        tools: the agent's tools that only read, as `@tool` makes them.
        more: as for `HostPort`: `predictor`, `project`, `user`, `constraints`.

    Raises:
        ConfigError: a tool is none that `@tool` makes, or two have one name.
    """

    def __init__(
        self, engine: PrefetchEngine, session: str, *, tools: Iterable[ReadTool] = (), **more: Any
    ) -> None:
        super().__init__()
        listed = list(tools)
        originals = {each.called: _checked(each.function) for each in listed}
        plain = [
            evolve(each, function=_function(each.function), name=each.called) for each in listed
        ]
        self.port = HostPort(engine, session, tools=plain, **more)
        self._served = {name: self._copy(name, tool) for name, tool in originals.items()}

    def _copy(self, name: str, tool: StructuredTool) -> StructuredTool:
        """The tool with its functions served, so that LangChain treats their answers as its own."""
        served, coroutine = self.port.functions[name].served, tool.coroutine
        update: dict[str, Any] = {}
        if tool.func is not None:
            update["func"] = self.port.functions[name]
        if coroutine is not None:

            async def awaited(*args: Any, **kwargs: Any) -> Any:
                return await served.aread(lambda: coroutine(*args, **kwargs), *args, **kwargs)

            awaited.__signature__ = served.call.signature  # type: ignore[attr-defined]  # LangChain looks there
            update["coroutine"] = awaited
        return tool.model_copy(update=update)

    def before_agent(self, state: Any, runtime: Any) -> None:  # noqa: ARG002 - LangChain's signature
        """A run begins: the latest words of a person are its task."""
        said = [m for m in state["messages"] if isinstance(m, HumanMessage)]
        self.port.task_received(str(said[-1].text) if said else "")

    async def abefore_agent(self, state: Any, runtime: Any) -> None:
        """As `before_agent`."""
        self.before_agent(state, runtime)

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """A tool is called: served where it only reads."""
        result = None
        try:
            result = handler(self._request(request))
        finally:
            self._called(request, result)
        return result

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """As `wrap_tool_call`, for coroutines."""
        result = None
        try:
            result = await handler(self._request(request))
        finally:
            self._called(request, result)
        return result

    def _request(self, request: Any) -> Any:
        served = self._served.get(request.tool_call["name"])
        known = served is not None and request.tool is not None
        return request.override(tool=served) if known else request

    def _called(self, request: Any, result: Any) -> None:
        call = request.tool_call
        seen = str(result.text) if isinstance(result, ToolMessage) else result
        self.port.tool_called(call["name"], call["args"], seen)


def _checked(tool: Any) -> StructuredTool:
    if not isinstance(tool, StructuredTool):
        raise ConfigError(f"tools: expected a tool that @tool makes, got {type(tool).__name__}")
    return tool


def _function(tool: StructuredTool) -> Callable[..., Any]:
    function = tool.func or tool.coroutine
    if function is None:
        raise ConfigError(f"tools: {tool.name!r} has no function to call")
    return function
