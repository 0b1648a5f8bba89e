"""Hosts: a neutral port of five events, and adapters of agent frameworks to it.

Each adapter is a module of its own (`langchain`, `pydantic_ai`, `openai_agents`) that imports its
framework, which an extra of the same name brings. This package imports none of them.
"""

from prefetch_scheduler.engine.hosts.port import HostPort, ReadTool

__all__ = ["HostPort", "ReadTool"]
