"""Declares configuration keys as attrs fields that carry their help text and their rule."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from attrs import field

from prefetch_scheduler.policies.config_rules import (
    Choice,
    KeyList,
    KeyLists,
    Number,
    Rule,
    Switch,
    Table,
    Text,
    settled,
)

_TIMES = frozenset({"seconds", "milliseconds"})


def _ruled(rule: Rule, help_: str, **default: Any) -> Any:
    return field(
        **default, converter=partial(settled, rule), metadata={"help": help_, "rule": rule}
    )


def number(
    default: float, help_: str, *, unit: str, low: float = 0, high: float | None = None
) -> Any:
    """A numeric key; whole where its default is an int, but a time may always have a fraction."""
    whole = isinstance(default, int) and unit not in _TIMES
    return _ruled(Number(unit=unit, low=low, high=high, whole=whole), help_, default=default)


def count_or(null: str, help_: str, *, unit: str) -> Any:
    """A whole number, or None, which is the default: then holds what `null` says."""
    return _ruled(Number(unit=unit, whole=True, null=null), help_, default=None)


def switch(default: bool, help_: str) -> Any:
    return _ruled(Switch(), help_, default=default)


def choice(default: str, help_: str, *, words: tuple[str, ...]) -> Any:
    """A key that holds one of a closed list of words."""
    return _ruled(Choice(tuple(map(str, words))), help_, default=str(default))


def text(default: str, help_: str) -> Any:
    """A key that holds a text, e.g. a path."""
    return _ruled(Text(), help_, default=default)


def table(
    default: Mapping[str, float],
    help_: str,
    *,
    keys: tuple[str, ...],
    unit: str,
    low: float,
    high: float,
    whole: bool = False,
    priorities: bool = False,
) -> Any:
    """A mapping from a closed list of words to numbers; words left out keep their default."""
    cell = Number(unit=unit, low=low, high=high, whole=whole)
    words = tuple(str(key) for key in keys)
    rule = Table(default=dict(default), keys=words, number=cell, priorities=priorities)
    return _ruled(rule, help_, factory=lambda: dict(default))


def key_list(help_: str, *, most: int | None = None) -> Any:
    return _ruled(KeyList(most=most), help_, default=())


def key_lists(help_: str) -> Any:
    """A mapping from any name to a list of keys."""
    return _ruled(KeyLists(), help_, factory=dict)


def group(cls: type, help_: str) -> dict[str, Any]:
    """Metadata of a key that holds a group of further keys."""
    return {"help": help_, "group": cls}
