"""Plain data as YAML text: mappings, lists, strings, numbers, booleans and None, nothing else.

The floor below the engine has no YAML library, and needs only this much. Every string is double
quoted, so that no YAML 1.1 rule (`on`, `1:30`, `1e3`, leading zeros) can turn it into anything
else; there are no anchors, aliases or tags; the order is the data's own. Reference: YAML 1.1,
sections 5.7 (escape sequences) and 9.1.2 (double quoted style).
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_STRINGS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_LONGEST_KEY = 1000  # YAML ends a simple key at 1,024 characters, quotes and escapes included
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def yaml_text(data: Mapping[str, object]) -> str:
    """The mapping as one YAML document that ends with a line break.

    Raises:
        ValueError: a number is not finite, or a mapping's key is longer than YAML allows.
        TypeError: a value is of another type than those named above, or a key is not a string.
    """
    if not data:
        return "{}\n"
    return "".join(f"{line}\n" for line in _mapping(data, ""))


def _mapping(data: Mapping[Any, object], indent: str) -> Iterator[str]:
    for key, value in data.items():
        yield from _node(f"{indent}{_key(key)}:", value, indent)


def _node(head: str, value: object, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield head
        yield from _mapping(value, f"{indent}  ")
    elif isinstance(value, list | tuple) and value:
        yield head
        yield from _items(value, f"{indent}  ")
    else:
        yield f"{head} {_scalar(value)}"


def _items(items: list[object] | tuple[object, ...], indent: str) -> Iterator[str]:
    for item in items:
        if isinstance(item, Mapping) and item:
            lines = _mapping(item, f"{indent}  ")
            yield f"{indent}- {next(lines).lstrip(' ')}"
            yield from lines
        elif isinstance(item, list | tuple) and item:
            lines = _items(item, f"{indent}  ")
            yield f"{indent}- {next(lines).lstrip(' ')}"
            yield from lines
        else:
            yield f"{indent}- {_scalar(item)}"


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a mapping's key must be a string, got {key!r}")
    plain = _PLAIN_KEY.fullmatch(key) and key.lower() not in _NOT_STRINGS
    text = key if plain else quoted(key)
    if len(text) > _LONGEST_KEY:
        raise ValueError(f"a mapping's key must be shorter than {_LONGEST_KEY}: {key[:40]!r}…")
    return text


def _scalar(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    raise TypeError(
        f"{type(value).__name__} cannot be written as YAML; {value!r} is not plain data"
    )


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    digits, exponent, power = float.__repr__(value).partition("e")
    # YAML 1.1 reads 1e-05 as a string: a float needs its point.
    return f"{digits}.0e{power}" if exponent and "." not in digits else f"{digits}{exponent}{power}"


def quoted(text: str) -> str:
    """A string in YAML's double quoted style; what cannot be printed is escaped."""
    return f'"{"".join(map(_escaped, text))}"'


def printable(text: str) -> str:
    """Text that is safe on a terminal: control characters and lone surrogates are escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
