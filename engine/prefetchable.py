"""`@engine.prefetchable(read_only=True)`: a function whose calls are served through an engine.

The function's own answer is what counts: whenever the engine cannot serve a call, be it stopped or
overloaded, be the arguments or the result such that nothing can be kept, be it that a load failed
or was late, the function is called as if there were no engine.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, Iterator
from math import inf
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

from prefetch_scheduler.engine.loops import running_loop
from prefetch_scheduler.engine.reads import Reads
from prefetch_scheduler.engine.sources.calls import CALL, INSIDE, Call, CallSource, result_of
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import ConfigError
from prefetch_scheduler.policies.figures import is_number, within
from prefetch_scheduler.policies.planner_events import DEFAULT_SESSION
from prefetch_scheduler.policies.values import frozen

if TYPE_CHECKING:
    from prefetch_scheduler.engine.runtime import Runtime

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

MAX_AGE_S = 30.0
"""Seconds for which a result stands for a new call, where the host says nothing else."""


class Prefetchable(Protocol[P, R_co]):
    """A function of the same signature, served through an engine."""

    __name__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """The function's answer: from the cache, from a call under way, or by calling it."""

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of a call, to predict it by: `call:search?{"query":"locks"}`.

        Raises:
            TypeError: the function does not take these arguments, or one is not plain data.
        """

    def invalidate(self) -> None:
        """Something that its results depend on has changed: all of them are stale."""

    @property
    def served(self) -> "ServedCall":
        """For adapters: the call behind it."""


class ServedCall:
    """A function in an engine, and the session for which its calls are counted."""

    def __init__(self, call: Call, reads: Reads, invalidate: Callable[[str], None]) -> None:
        self._call = call
        self._reads = reads
        self._invalidate = invalidate

    @property
    def call(self) -> Call:
        """The function."""
        return self._call

    def count_for(self, reads: Reads) -> None:
        """From now on its calls are those of another session."""
        self._reads = reads

    def key(self, *args: Any, **kwargs: Any) -> str:
        """See `Prefetchable.key`."""
        return self._call.key(*args, **kwargs)

    def invalidate(self) -> None:
        """See `Prefetchable.invalidate`."""
        self._invalidate(f"{self._call.prefix}*")

    def read(self, instead: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        """The function's result, or what `instead()` gives where the engine has none."""
        content: Content | None = None
        try:
            key = self._key_to_read(args, kwargs)
            # A read must block neither the thread's event loop nor a slot of the engine.
            if key is not None and (running_loop() is None or self._reads.peek(key) is not None):
                content = self._reads.get(key)
        except Exception:  # noqa: BLE001 - whatever it is, the function itself answers
            content = None
        return instead() if content is None else result_of(content)

    async def aread(self, instead: Callable[[], Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """As `read`, for coroutines."""
        if self._call.is_async:
            self._call.loop = asyncio.get_running_loop()
        content: Content | None = None
        try:
            key = self._key_to_read(args, kwargs)
            if key is not None:
                content = await self._reads.aget(key)
        except Exception:  # noqa: BLE001 - whatever it is, the function itself answers
            content = None
        return await instead() if content is None else result_of(content)

    def _key_to_read(self, args: Any, kwargs: Any) -> str | None:
        """None: the engine has nothing for this caller."""
        if self._call.opaque is not None:
            return None
        key = self._call.key(*args, **kwargs)
        return None if INSIDE.get() and self._reads.peek(key) is None else key


@frozen
class Terms:
    """What a host says of a function, right or wrong; see `PrefetchEngine.prefetchable`."""

    read_only: object
    name: Any = None
    max_age_s: Any = MAX_AGE_S
    version: Any = None
    remote: bool = False

    def faults(self) -> Iterator[str]:
        """One line for each that is wrong."""
        if self.read_only is not True:
            yield (
                f"read_only: expected True, got {self.read_only!r}; what changes something is"
                " neither called ahead nor served from a cache: leave it undecorated"
            )
        if self.name is not None and not isinstance(self.name, str):
            yield f"name: expected text or None, got {type(self.name).__name__}"
        if self.max_age_s is not None and not (
            is_number(self.max_age_s) and within(self.max_age_s, inf)
        ):
            yield f"max_age_s: expected a number of at least 0 or None, got {self.max_age_s!r}"
        if self.version is not None and not callable(self.version):
            yield f"version: expected a function or None, got {type(self.version).__name__}"


class Functions:
    """The functions of one engine's host."""

    def __init__(self) -> None:
        self._source = CallSource()
        self._taken = False
        self._runtime: Runtime | None = None

    def beside(self, sources: Any) -> Any:
        """The host's sources and that of its functions, which gives way to one of the same kind.

        What is no list of sources is left for the registry to complain of.
        """
        if isinstance(sources, str | bytes) or not isinstance(sources, Iterable):
            return sources
        listed = list(sources)
        self._taken = any(getattr(source, "kind", None) == CALL for source in listed)
        return listed if self._taken else [*listed, self._source]

    def attach(self, runtime: "Runtime") -> None:
        """The engine that they belong to."""
        self._runtime = runtime

    def decorator(
        self, terms: Terms, reads: Reads
    ) -> Callable[[Callable[P, R]], Prefetchable[P, R]]:
        """See `PrefetchEngine.prefetchable`.

        Args:
            terms: what the host says of the function.
            reads: for whom its calls are counted.
        """
        faults = [*terms.faults()]
        if self._taken:
            faults.append(f"sources: one of the host's own has the kind {CALL!r}; rename it")
        if faults:
            raise ConfigError(faults)

        def decorate(function: Callable[P, R]) -> Prefetchable[P, R]:
            if not callable(function):
                raise ConfigError(f"expected a function, got {type(function).__name__}")
            name: str = terms.name or getattr(function, "__name__", type(function).__name__)
            call = Call(name, function, terms.max_age_s, terms.version, self._why_not(terms))
            self._source.add(call)
            result: Prefetchable[P, R] = wrapped(ServedCall(call, reads, self._invalidate))
            return result

        return decorate

    def _why_not(self, terms: Terms) -> str | None:
        may = self._runtime is not None and self._runtime.config.execution.prefetch_remote
        return "it is remote; see execution.prefetch_remote" if terms.remote and not may else None

    def _invalidate(self, pattern: str) -> None:
        if self._runtime is not None and self._runtime.running:
            self._runtime.changed(pattern, DEFAULT_SESSION)


def wrapped(served: ServedCall) -> Any:
    """A function of the same name and signature as the one that is served."""
    function = served.call.function
    if served.call.is_async:

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            return await served.aread(lambda: function(*args, **kwargs), *args, **kwargs)

        result: Any = awaited
    else:

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            return served.read(lambda: function(*args, **kwargs), *args, **kwargs)

        result = called
    result.key, result.invalidate, result.served = served.key, served.invalidate, served
    return cast("Prefetchable[..., Any]", result)
