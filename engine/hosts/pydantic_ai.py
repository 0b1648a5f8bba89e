"""PydanticAI: a capability of an agent. Needs the extra `pydantic-ai`."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from prefetch_scheduler.engine.facade import PrefetchEngine
from prefetch_scheduler.engine.hosts.port import HostPort, ReadTool
from prefetch_scheduler.engine.hosts.pydantic_ai_library import AbstractCapability

__all__ = ["PrefetchCapability", "ReadTool"]


class PrefetchCapability(AbstractCapability[Any]):
    """Serves the tools of an agent that only read through an engine, and tells it what happens.

    ::

        prefetch = PrefetchCapability(engine, "agent-7", tools=[ReadTool(read_file, path="path")])
        agent = Agent(model, tools=[read_file, write_file], capabilities=[prefetch])

    Args:
        engine: whose cache serves it; the host starts and stops it.
        session: names the session; each agent has one of its own.
        tools: the functions of the agent's tools that only read; they take no `RunContext`.
        more: as for `HostPort`: `predictor`, `project`, `user`, `constraints`.

    Raises:
        ConfigError: a tool is wrong.
    """

    def __init__(
        self, engine: PrefetchEngine, session: str, *, tools: Iterable[ReadTool] = (), **more: Any
    ) -> None:
        self.port = HostPort(engine, session, tools=tools, **more)

    async def before_run(self, ctx: Any) -> None:
        """A run begins: its prompt is the task."""
        prompt = ctx.prompt
        if prompt is not None and not isinstance(prompt, str):
            prompt = " ".join(part for part in prompt if isinstance(part, str))
        self.port.task_received(prompt or "")

    async def wrap_tool_execute(
        self,
        ctx: Any,  # noqa: ARG002 - PydanticAI's signature
        *,
        call: Any,
        tool_def: Any,  # noqa: ARG002 - as above
        args: dict[str, Any],
        handler: Callable[[dict[str, Any]], Awaitable[Any]],
    ) -> Any:
        """A tool is called: served where it only reads."""
        function = self.port.functions.get(call.tool_name)
        result = None
        try:
            if function is None:
                result = await handler(args)
            else:
                result = await function.served.aread(lambda: handler(args), **args)
        finally:
            self.port.tool_called(call.tool_name, args, result)
        return result
