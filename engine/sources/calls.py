"""The source of `call:<function>?<arguments>`: results of the host's own read-only functions.

Every engine has one. `PrefetchEngine.prefetchable` puts functions into it, and holds them: a
function that nobody holds any more is gone from here.
"""

import asyncio
import inspect
import json
import threading
from collections.abc import Callable, Coroutine, Hashable, Mapping
from contextvars import ContextVar
from typing import Any
from weakref import WeakValueDictionary

from attrs import field

from prefetch_scheduler.actors.runs import describe
from prefetch_scheduler.engine.sources.call_names import canonical_call, split_call
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import ConfigError, ResourceUnavailable
from prefetch_scheduler.policies.values import define

CALL = "call"
"""The kind of key."""
_JSON = "application/json"
INSIDE: ContextVar[bool] = ContextVar("inside a call made by the engine", default=False)
"""A function that is called by the engine and calls another must not wait for the engine's slots:
it holds one itself."""
_LOOK_S = 1.0
"""Real seconds between two looks at whether a host's event loop still runs."""


@define(eq=False)
class Call:
    """One function of the host, and how its results may be kept."""

    name: str
    function: Callable[..., Any]
    max_age_s: float | None
    """Seconds for which a result stands for a new call; None: until it is invalidated."""
    version: Callable[..., Hashable] | None = None
    """Of the same arguments: what changes with the result."""
    not_ahead: str | None = None
    """Why it must not be called ahead; None: it may be."""
    signature: inspect.Signature = field(init=False)
    is_async: bool = field(init=False)
    loop: asyncio.AbstractEventLoop | None = field(init=False, default=None)
    """The host's event loop that called it last: an async function may hold things bound to it."""
    token: object = field(init=False, factory=object)
    """Tells its results from those of another function that had its name, or has it in another
    process."""
    opaque: str | None = field(init=False, default=None)
    """Type of a result that cannot be kept: since then the function is called each time."""

    def __attrs_post_init__(self) -> None:
        self.signature = inspect.signature(self.function)
        self.is_async = inspect.iscoroutinefunction(self.function)

    @property
    def prefix(self) -> str:
        """Of the keys of all its calls."""
        return f"{CALL}:{self.name}?"

    def key(self, *args: Any, **kwargs: Any) -> str:
        """The one key of a call, however its arguments are passed; defaults are left out.

        Raises:
            TypeError: the function does not take these arguments, or one of them is not plain
                data (None, bool, int, float, str, lists and dictionaries of them), so that nothing
                tells it from others.
        """
        given: dict[str, Any] = {}
        for word, value in self.signature.bind(*args, **kwargs).arguments.items():
            parameter = self.signature.parameters[word]
            plain = list(value) if parameter.kind is parameter.VAR_POSITIONAL else value
            if not is_plain(plain):
                raise TypeError(f"{self.name}: the argument {word!r} is not plain data")
            if parameter.default is parameter.empty or not _same(plain, parameter.default):
                given[word] = plain
        return f"{CALL}:{canonical_call(self.name, given, deep=False)}"

    def run(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Call a function with arguments as a key has them."""
        bound = self.signature.bind_partial()
        bound.arguments.update(
            {word: arguments[word] for word in self.signature.parameters if word in arguments}
        )
        return function(*bound.args, **bound.kwargs)

    def content(self, result: Any) -> Content:
        """A result as content.

        Raises:
            ResourceUnavailable: it is not str, bytes or plain data; it cannot be kept.
        """
        if type(result) is str or type(result) is bytes:
            return Content(result, max_age_s=self.max_age_s)
        if not is_plain(result):
            self.opaque = type(result).__name__
            raise ResourceUnavailable(
                f"it returned {self.opaque}, which cannot be kept; return str, bytes or plain data"
            )
        written = json.dumps(result, ensure_ascii=False)
        return Content(written, media_type=_JSON, max_age_s=self.max_age_s)


def result_of(content: Content) -> Any:
    """What the function returned; a new object for each reader."""
    return json.loads(content.value) if content.media_type == _JSON else content.value


class CallSource:
    """Calls functions of the host. Safe to use from any thread."""

    kind = CALL
    name = CALL
    implicit = True
    read_only = True
    remote = False
    private = False
    max_concurrency = None
    load_timeout_s = None
    tokens = None
    load_s = None

    def __init__(self) -> None:
        self._calls: WeakValueDictionary[str, Call] = WeakValueDictionary()
        self._lock = threading.Lock()

    def add(self, call: Call) -> None:
        """Serve a function for as long as somebody holds `call`; a taken name gets a number.

        Raises:
            ConfigError: its name cannot be one.
        """
        if not call.name or "?" in call.name:
            raise ConfigError(f"name: {call.name!r} names no function; expected text without '?'")
        with self._lock:
            wanted, number = call.name, 1
            while call.name in self._calls:
                number += 1
                call.name = f"{wanted}~{number}"
            self._calls[call.name] = call

    def load(self, name: str) -> Any:
        """Call the function. What it raises speaks of these arguments, not of all functions.

        Raises:
            ResourceUnavailable: it raised, is gone, or its result cannot be kept.
        """
        call, arguments = self._found(name)
        if call.is_async:
            return self._awaited(call, arguments)
        before = INSIDE.set(True)
        try:
            return call.content(call.run(call.function, arguments))
        except ResourceUnavailable:
            raise
        except Exception as error:
            raise ResourceUnavailable(describe(error)) from error
        finally:
            INSIDE.reset(before)

    def version(self, name: str) -> Hashable:
        """The function, and what the host's own `version` says of the same arguments."""
        call = self._calls.get(name.partition("?")[0])
        if call is None:
            return None
        said = None if call.version is None else call.run(call.version, split_call(name)[1])
        return call.token, said

    def excluded(self, name: str) -> str | None:
        """Why it must not be called ahead."""
        call = self._calls.get(name.partition("?")[0])
        if call is None:
            return "there is no such function any more"
        if call.opaque is not None:
            return f"its results cannot be kept: they are {call.opaque}"
        return call.not_ahead

    def normalise(self, name: str) -> str:
        """Arguments in their one spelling. What is no whole call is left as it is: its load fails,
        and as a prefix it may be invalidated.
        """
        try:
            return canonical_call(*split_call(name), deep=False) if "?" in name else name
        except ValueError:
            return name

    def _found(self, name: str) -> tuple[Call, dict[str, Any]]:
        try:
            called, arguments = split_call(name)
        except ValueError as error:
            raise ResourceUnavailable(str(error)) from error
        call = self._calls.get(called)
        if call is None:
            raise ResourceUnavailable(f"there is no function {called!r}")
        return call, arguments

    async def _awaited(self, call: Call, arguments: Mapping[str, Any]) -> Content:
        try:
            work = _inside(call.run(call.function, arguments))
            home = call.loop
            if home is None or not home.is_running():
                return call.content(await work)
            return call.content(await _at_home(work, home))
        except ResourceUnavailable:
            raise
        except Exception as error:
            raise ResourceUnavailable(describe(error)) from error


async def _inside(work: Coroutine[Any, Any, Any]) -> Any:
    """In a task of its own, whose context ends with it."""
    INSIDE.set(True)
    return await work


async def _at_home(work: Coroutine[Any, Any, Any], home: asyncio.AbstractEventLoop) -> Any:
    """Await on the host's loop, for as long as that runs."""
    future = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, home))
    while not future.done():
        await asyncio.wait({future}, timeout=_LOOK_S)
        if not future.done() and not home.is_running():
            future.cancel()
            raise ResourceUnavailable("the host's event loop has stopped")
    return await future


def is_plain(value: Any) -> bool:
    """Whether it is data that JSON gives back as it was: of exactly these types, all the way."""
    try:
        return _plain(value)
    except RecursionError:
        return False


def _plain(value: Any) -> bool:
    kind = type(value)
    if kind is str:
        return str.isascii(value) or _encodes(value)
    if value is None or kind is bool or kind is int:
        return True
    if kind is float:
        return value == value and value not in (float("inf"), float("-inf"))
    if kind is list:
        return all(map(_plain, value))
    return kind is dict and all(
        type(k) is str and _plain(k) and _plain(v) for k, v in value.items()
    )


def _encodes(text: str) -> bool:
    """Whether it has no lone surrogates, which are no Unicode text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _same(value: Any, default: Any) -> bool:
    """Whether an argument is its default. `1`, `1.0` and `True` are equal, and not the same."""
    if value is default:
        return True
    return is_plain(default) and json.dumps(value) == json.dumps(default)
