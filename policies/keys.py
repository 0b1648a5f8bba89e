"""Resource keys: `kind:name`, and how a private source's content is kept apart by user."""

import re

from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.figures import shown

_KIND = re.compile(r"[a-z][a-z0-9_-]*")

PARTITION = "\x00"
"""Separates a key from the user it is partitioned by; it cannot stand in a key."""

LONGEST_KEY = 4096
"""Most characters of a key: as many as a path may have on Linux, and more than one can read."""


def key_fault(key: object) -> str | None:
    """What is wrong with `key`, or None where it is well formed."""
    if not isinstance(key, str):
        return f"key {shown(key)}: expected a string `kind:name`, got {type(key).__name__}"
    key = str.__str__(key)
    if len(key) > LONGEST_KEY:
        return f"key {shown(key)}: {len(key)} characters; at most {LONGEST_KEY} are allowed"
    kind, colon, name = key.partition(":")
    if not colon:
        return f"key {key!r}: expected `kind:name`, e.g. 'file:src/auth.py'; the colon is missing"
    if not _KIND.fullmatch(kind):
        return f"key {key!r}: kind {kind!r} must match [a-z][a-z0-9_-]*"
    if not name:
        return f"key {key!r}: the name after the colon is empty"
    if PARTITION in name:
        return f"key {key!r}: a name must not contain a NUL character"
    return None


def plain_key(key: object) -> str:
    """The text of a key as a plain `str`, which a subclass of it need not be.

    Raises:
        InvalidPrediction: `key` is not a string.
    """
    if not isinstance(key, str):
        raise InvalidPrediction(key_fault(key) or "")
    # Its own `__str__`, `__hash__` or `partition` might tell of another key.
    return str.__str__(key)


def split_key(key: str) -> tuple[str, str]:
    """`(kind, name)` of a key.

    Raises:
        InvalidPrediction: `key` is not of the form `kind:name`.
    """
    fault = key_fault(key)
    if fault is not None:
        raise InvalidPrediction(fault)
    kind, _, name = key.partition(":")
    return kind, name


def kind_of(key: str) -> str:
    """The kind of a key that is known to be well formed."""
    return key[: key.index(":")]


def cache_key(key: str, user: str | None, *, private: bool) -> str:
    """The name under which content is kept: the key, and for a private source also its user."""
    return f"{key}{PARTITION}{user or ''}" if private else key


def public_key(stored: str) -> str:
    """The key that a cache key stands for."""
    return stored.partition(PARTITION)[0] if PARTITION in stored else stored


def exactly(key: str) -> str:
    """The invalidation pattern that covers this key alone, even where the key ends in `*`."""
    return f"{key}{PARTITION}" if key.endswith("*") else key


def matches(pattern: str, stored: str) -> bool:
    """Whether an invalidation pattern covers a cache key.

    A pattern is a key (see `exactly`), or a prefix ending in `*`.
    """
    key = public_key(stored)
    return key.startswith(pattern[:-1]) if pattern.endswith("*") else key == public_key(pattern)
