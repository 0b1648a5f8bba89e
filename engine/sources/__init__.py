"""Sources: where content comes from. `protocol` says what one is, `registry` how it is called."""

from typing import TYPE_CHECKING

from prefetch_scheduler.engine.lazy import lazy_names

if TYPE_CHECKING:
    from prefetch_scheduler.engine.sources.callables import CallableSource
    from prefetch_scheduler.engine.sources.exclusions import DEFAULT_EXCLUDES
    from prefetch_scheduler.engine.sources.files import FileSource
    from prefetch_scheduler.engine.sources.protocol import CancelToken, Source
    from prefetch_scheduler.engine.sources.registry import SourceRegistry
    from prefetch_scheduler.engine.sources.skills import SkillSource
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "engine.sources.callables": "CallableSource",
            "engine.sources.exclusions": "DEFAULT_EXCLUDES",
            "engine.sources.files": "FileSource",
            "engine.sources.protocol": "CancelToken Source",
            "engine.sources.registry": "SourceRegistry",
            "engine.sources.skills": "SkillSource",
        },
    )

__all__ = [
    "DEFAULT_EXCLUDES",
    "CallableSource",
    "CancelToken",
    "FileSource",
    "SkillSource",
    "Source",
    "SourceRegistry",
]
