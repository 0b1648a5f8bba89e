"""Names of calls, `<function>?<arguments>`: the arguments are one JSON object, in one spelling."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn


def split_call(name: str) -> tuple[str, dict[str, Any]]:
    """What is called and its arguments, of `<function>?<arguments>`; without `?` there are none.

    Raises:
        ValueError: it names nothing to call, or the arguments are not one JSON object.
    """
    called, mark, written = name.partition("?")
    if not called:
        raise ValueError("it names no tool")
    if not mark:
        return called, {}
    try:
        arguments = json.loads(
            written, parse_constant=_no_constant, object_pairs_hook=_without_repeats
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the arguments after '?' are no JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise ValueError("the arguments after '?' are no JSON object")
    return called, arguments


def canonical_call(called: str, arguments: Mapping[str, Any], *, deep: bool = True) -> str:
    """The one spelling of a call: names sorted, no white space (as in RFC 8785, numbers aside).

    Args:
        called: what is called.
        arguments: its arguments by name.
        deep: whether names within arguments are sorted, too; False: their order is part of them.

    Raises:
        ValueError: an argument cannot be written as JSON.
    """
    try:
        given = arguments if deep else dict(sorted(arguments.items()))
        written = json.dumps(
            given, sort_keys=deep, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
    except (TypeError, RecursionError) as error:
        raise ValueError(f"the arguments of {called!r} are no JSON: {error}") from None
    return f"{called}?{written}"


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON value")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
