"""One registered source as the engine calls it: plain or async, whole, in parts or many."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, Sequence
from typing import Any

from prefetch_scheduler.actors.ports import CancelToken
from prefetch_scheduler.engine.sources.asked import Asked
from prefetch_scheduler.engine.sources.results import Results
from prefetch_scheduler.engine.sources.validation import CancelArgument, cancel_argument, is_async
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import ResourceUnavailable
from prefetch_scheduler.policies.source_info import SourceInfo

OnPart = Callable[[str, Content], None]


class BoundSource:
    """A source and how it wants to be called. Built from a source that has been validated."""

    def __init__(
        self, source: Any, source_id: int, name: str, *, host_expands: bool = False
    ) -> None:
        who = f"source {name!r} of kind {source.kind!r}"
        self._source = source
        self._who = who
        self.asked = Asked(source, who)
        self.results = Results(source.kind, who)
        self.is_async = is_async(source.load)
        self.origin = _origin(source, name)
        self.whole: Callable[[str], Any] | None = getattr(source, "whole", None)
        self.part: Callable[[Content, str], Any] | None = getattr(source, "part", None)
        self.normalise: Callable[[str], Any] | None = getattr(source, "normalise", None)
        self.expand: Callable[[Content], Any] | None = getattr(source, "expand", None)
        self.watched: Callable[[str], Any] | None = getattr(source, "watched", None)
        self.stamped: Callable[[str, Content], Any] | None = getattr(source, "stamped", None)
        self.open: Callable[[Any], Any] | None = getattr(source, "open", None)
        self.close: Callable[[], Any] | None = getattr(source, "close", None)
        self._cancel = {
            word: cancel_argument(getattr(source, word))
            for word in ("load", "load_many", "load_parts")
            if getattr(source, word, None) is not None
        }
        self.info = SourceInfo(
            source_id,
            name,
            source.kind,
            source.read_only,
            remote=getattr(source, "remote", False),
            private=getattr(source, "private", False),
            max_concurrency=getattr(source, "max_concurrency", None),
            load_timeout_s=getattr(source, "load_timeout_s", None),
            stale_while_revalidate_s=getattr(source, "stale_while_revalidate_s", None) or 0.0,
            stale_if_error_s=getattr(source, "stale_if_error_s", None) or 0.0,
            batches="load_many" in self._cancel,
            expands=self.expand is not None or host_expands,
            surveys=self.asked.surveys,
            tokens=self.asked.constant("tokens"),
            load_s=self.asked.constant("load_s"),
            implicit=getattr(source, "implicit", False) is True,
        )

    # ---- loading ----------------------------------------------------------------------------

    def load(self, name: str, cancel: CancelToken, on_part: OnPart) -> Content:
        """Load one name, blocking."""
        version = self.asked.version_now(name)
        if not self._in_parts(name):
            result = self._call("load", name, cancel)
            if inspect.isawaitable(result):  # a plain function that returned a coroutine
                result = _run(result, cancel)
            return self.results.content("load", name, result, version)
        parts = self._call("load_parts", name, cancel)
        if inspect.isawaitable(parts) or hasattr(parts, "__aiter__"):
            gathered: Content = _run(self._gather(parts, name, cancel, on_part, version), cancel)
            return gathered
        whole: Content | None = None
        iterator = self.results.parts(parts, name)
        try:
            for item in iterator:
                whole = self._take(item, name, version, on_part)
                _stop_if(cancel, name, whole)
        finally:
            _close(iterator)
        return self.results.whole(whole, name)

    async def aload(self, name: str, cancel: CancelToken, on_part: OnPart) -> Content:
        """Load one name on the running loop."""
        version = self.asked.version_now(name)
        if self._in_parts(name):
            parts = self._call("load_parts", name, cancel)
            return await self._gather(parts, name, cancel, on_part, version)
        result = self._call("load", name, cancel)
        if inspect.isawaitable(result):
            result = await result
        return self.results.content("load", name, result, version)

    async def _gather(
        self, parts: Any, name: str, cancel: CancelToken, on_part: OnPart, version: Hashable
    ) -> Content:
        if inspect.isawaitable(parts):
            parts = await parts
        if not hasattr(parts, "__aiter__"):
            parts = _as_async(self.results.parts(parts, name))
        whole: Content | None = None
        try:
            async for item in parts:
                whole = self._take(item, name, version, on_part)
                _stop_if(cancel, name, whole)
        finally:
            if hasattr(parts, "aclose"):
                await parts.aclose()
        return self.results.whole(whole, name)

    def load_many(
        self, names: Sequence[str], cancel: CancelToken
    ) -> Sequence[Content | BaseException]:
        """Load several names in one call, blocking."""
        versions = [self.asked.version_now(name) for name in names]
        results = self._call("load_many", list(names), cancel)
        if inspect.isawaitable(results):
            results = _run(results, cancel)
        return self.results.contents(names, results, versions)

    async def aload_many(
        self, names: Sequence[str], cancel: CancelToken
    ) -> Sequence[Content | BaseException]:
        """Load several names in one call, on the running loop."""
        versions = [self.asked.version_now(name) for name in names]
        results = self._call("load_many", list(names), cancel)
        if inspect.isawaitable(results):
            results = await results
        return self.results.contents(names, results, versions)

    def _take(self, item: Any, name: str, version: Hashable, on_part: OnPart) -> Content | None:
        """One item of `load_parts`: a part is handed on, the whole is returned."""
        key, content = self.results.pair(item, name, version)
        if key == f"{self.info.kind}:{name}":
            return content
        on_part(key, content)
        return None

    def _in_parts(self, name: str) -> bool:
        return "load_parts" in self._cancel and (self.whole is None or self.whole(name) is None)

    def _call(self, word: str, given: Any, cancel: CancelToken) -> Any:
        if word not in self._cancel:
            raise TypeError(f"{self._who} has no {word}")
        function = getattr(self._source, word)
        match self._cancel[word]:
            case CancelArgument.NONE:
                return function(given)
            case CancelArgument.POSITION:
                return function(given, cancel)
            case CancelArgument.KEYWORD:
                return function(given, cancel=cancel)


def _origin(source: Any, name: str) -> str:
    """Name, class, and what it loads from as far as that can be told: a root, or a function."""
    kind = type(source)
    load = source.load
    called = f"{getattr(load, '__module__', '')}.{getattr(load, '__qualname__', '')}"
    root = getattr(source, "root", None)
    parts = (name, f"{kind.__module__}.{kind.__qualname__}", called, root)
    return "|".join(str(part) for part in parts if isinstance(part, str))


def _stop_if(cancel: CancelToken, name: str, whole: Content | None) -> None:
    if cancel.cancelled and whole is None:
        raise ResourceUnavailable(f"the load of {name!r} was cancelled between two of its parts")


def _close(iterator: Iterator[Any]) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


async def _as_async(items: Iterator[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def _run(awaitable: Awaitable[Any], cancel: CancelToken) -> Any:
    """Await in this thread, on a loop of its own; a cancel ends it."""

    async def awaited() -> Any:
        task = asyncio.ensure_future(awaitable)
        on_cancel = getattr(cancel, "on_cancel", None)
        if on_cancel is not None:
            loop = asyncio.get_running_loop()
            on_cancel(lambda: None if loop.is_closed() else loop.call_soon_threadsafe(task.cancel))
        return await task

    try:
        return asyncio.run(awaited())
    except asyncio.CancelledError:
        raise ResourceUnavailable("the load was cancelled") from None
