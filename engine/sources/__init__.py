"""Sources: where content comes from. `protocol` says what one is, `registry` how it is called."""

from prefetch_scheduler.engine.sources.callables import CallableSource
from prefetch_scheduler.engine.sources.exclusions import DEFAULT_EXCLUDES
from prefetch_scheduler.engine.sources.files import FileSource
from prefetch_scheduler.engine.sources.protocol import CancelToken, Source
from prefetch_scheduler.engine.sources.registry import SourceRegistry
from prefetch_scheduler.engine.sources.skills import SkillSource

__all__ = [
    "DEFAULT_EXCLUDES",
    "CallableSource",
    "CancelToken",
    "FileSource",
    "SkillSource",
    "Source",
    "SourceRegistry",
]
