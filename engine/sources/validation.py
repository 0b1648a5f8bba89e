"""Checks a source before anything calls it, and finds out how it wants to be called."""

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Any

from prefetch_scheduler.policies.config_rules import LARGEST, LARGEST_COUNT
from prefetch_scheduler.policies.errors import ConfigError
from prefetch_scheduler.policies.figures import (
    MAX_LOAD_S,
    MAX_TOKENS,
    is_number,
    shown,
    within,
)

_KIND = re.compile(r"[a-z][a-z0-9_-]*")
_LOADS = ("load", "load_many", "load_parts")
_PLAIN = (
    *("expand", "whole", "part", "normalise", "verify", "excluded", "stamped"),
    *("watched", "open", "close"),
)
"""Functions that are called where nothing can be awaited."""


class CancelArgument(Enum):
    """How a load takes the token that tells when nobody wants it any more."""

    NONE = auto()
    POSITION = auto()
    KEYWORD = auto()


def is_async(function: object) -> bool:
    """Whether calling `function` gives a coroutine or an async generator."""
    while isinstance(function, functools.partial):
        function = function.func
    return any(
        inspect.iscoroutinefunction(candidate) or inspect.isasyncgenfunction(candidate)
        for candidate in (function, getattr(function, "__call__", None))  # noqa: B004 - its code is looked at
    )


def _is_generator(function: object) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def cancel_argument(function: Callable[..., Any]) -> CancelArgument:
    """Whether and how a load takes `cancel`: by that name, or as a second required parameter.

    Raises:
        ConfigError: it cannot be called with a name, or with a name and a `CancelToken`.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return CancelArgument.NONE  # a builtin that does not tell
    named = signature.parameters.get("cancel")
    how = CancelArgument.NONE
    if named is not None and named.kind is not inspect.Parameter.POSITIONAL_ONLY:
        how = CancelArgument.KEYWORD
    elif named is not None or not _binds(signature, CancelArgument.NONE):
        how = CancelArgument.POSITION
    if not _binds(signature, how):
        raise ConfigError(
            f"it takes {signature}; expected (name), or (name, cancel) with a CancelToken"
        )
    return how


def _binds(signature: inspect.Signature, how: CancelArgument) -> bool:
    try:
        match how:
            case CancelArgument.NONE:
                signature.bind("name")
            case CancelArgument.POSITION:
                signature.bind("name", "cancel")
            case CancelArgument.KEYWORD:
                signature.bind("name", cancel="cancel")
    except TypeError:
        return False
    return True


def require_source(source: object, where: str) -> None:
    """Raises:
    ConfigError: `source` is not a usable source; one line for each fault, beginning `where`.
    """
    faults = [f"{where}{fault}" for fault in source_faults(source)]
    if faults:
        raise ConfigError(faults)


def source_faults(source: object) -> Iterator[str]:
    """What is wrong with a source: `.member: what, what is allowed`."""
    if isinstance(source, type):
        yield f": this is the class {source.__name__}; pass an instance, {source.__name__}(...)"
        return
    missing = [word for word in ("kind", "read_only", "load") if not hasattr(source, word)]
    if missing:
        hint = "; wrap a function in CallableSource(kind, function, read_only=...)"
        yield (
            f": {source!r} is not a source: it has no {', '.join(missing)}"
            f"{hint if callable(source) else ''}"
        )
        return
    kind = getattr(source, "kind")  # noqa: B009 - `source` is any object here
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        yield f".kind: {kind!r} does not match [a-z][a-z0-9_-]*"
    name = getattr(source, "name", None)
    if name is not None and (not isinstance(name, str) or not name):
        yield f".name: {name!r} is not a non-empty string or None"
    for word in ("read_only", "remote", "private"):
        value = getattr(source, word, False)
        if not isinstance(value, bool):
            yield f".{word}: {value!r} is not True or False"
    yield from _number_faults(source)
    yield from _function_faults(source)


def _number_faults(source: object) -> Iterator[str]:
    for word, whole, low, most, functions in (
        ("max_concurrency", True, 1, LARGEST_COUNT, False),
        ("load_timeout_s", False, 0, LARGEST["seconds"], False),
        ("stale_while_revalidate_s", False, 0, LARGEST["seconds"], False),
        ("stale_if_error_s", False, 0, LARGEST["seconds"], False),
        ("tokens", True, 0, MAX_TOKENS, True),
        ("load_s", False, 0, MAX_LOAD_S, True),
    ):
        value = getattr(source, word, None)
        if value is None or (functions and callable(value)):
            continue
        good = is_number(value, whole=whole) and within(value, most, low)
        above = word == "load_timeout_s"  # a limit of 0 s would fail every load
        if not good or (above and value == 0):
            allowed = (
                f"a {'whole ' if whole else ''}number {'above' if above else 'of at least'} {low},"
                f" at most {most:g}"
            )
            function = ", a function of the name," if functions else ""
            yield f".{word}: {shown(value)} is not {allowed}{function} or None"


def _function_faults(source: object) -> Iterator[str]:
    loads = {
        word: function
        for word in _LOADS
        if (function := getattr(source, word, None)) is not None or word == "load"
    }
    for word, function in loads.items():
        if not callable(function):
            yield f".{word}: {function!r} is not a function"
            continue
        if word != "load_parts" and _is_generator(function):
            yield f".{word}: it is a generator; a load that yields parts is called load_parts"
        try:
            cancel_argument(function)
        except ConfigError as error:
            yield f".{word}: {error}"
        if is_async(function) != is_async(loads["load"]):
            # Otherwise one of the two would block the loop, or need one where there is none.
            yield f".{word}: it and load must both be async, or both be plain"
    for word in _PLAIN:
        function = getattr(source, word, None)
        if function is not None and not callable(function):
            yield f".{word}: {function!r} is not a function"
        elif is_async(function):
            yield f".{word}: it is async; it has to be a plain function"
    for word in ("tokens", "load_s", "version"):
        if is_async(getattr(source, word, None)):
            yield f".{word}: it is async; it has to be a plain function or a constant"
    version = getattr(source, "version", None)
    if getattr(type(version), "__hash__", None) is None:
        yield f".version: {version!r} cannot be compared for good: it is not hashable"
