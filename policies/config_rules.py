"""What a configuration key may hold: one rule for each shape of value, and the check against it.

A rule is told to the schema, the manual and the reader of files alike, so that these never differ.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, assert_never

from prefetch_scheduler.policies.figures import shown
from prefetch_scheduler.policies.keys import key_fault
from prefetch_scheduler.policies.prediction import to_priority
from prefetch_scheduler.policies.values import frozen

Path = tuple[str, ...]
"""Where a value stands: group and key, then the word or the index within it."""
Fault = tuple[Path, str]
"""Where a value stands, and what is wrong with it and what is allowed."""

LARGEST = {"seconds": 4_000_000, "milliseconds": 4_000_000_000}
"""Longest times: about 46 days, which every platform's locks still take as a timeout."""
LARGEST_COUNT = 10**15
"""Largest other number: below 2**53, so that whole numbers and floats agree."""

LONGEST_NAME = 250
"""Longest name of a project or user in the configuration, in characters."""

_SEXAGESIMAL = re.compile(r"[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?")
_UNDERSCORES = re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?")
_LEADING_ZERO = re.compile(r"[-+]?0+[0-9]+")
_WITH_UNIT = re.compile(r"[-+]?[0-9.]+\s*[A-Za-z%]+")
_YES = frozenset({"on", "yes", "y", "true"})
_NO = frozenset({"off", "no", "n", "false"})


@frozen(kw_only=True)
class Number:
    """A finite number from `low` to `high` (None: no bound but `largest`)."""

    unit: str
    low: float = 0
    high: float | None = None
    whole: bool = False
    null: str = ""
    """What holds where the value is None; empty: there has to be a number."""

    @property
    def largest(self) -> float:
        """The bound that holds where `high` names none."""
        return LARGEST.get(self.unit, LARGEST_COUNT) if self.high is None else self.high

    @property
    def allowed(self) -> str:
        span = (
            f"of at least {self.low:g}" if self.high is None else f"in {self.low:g}..{self.high:g}"
        )
        null = ", or null" if self.null else ""
        return f"a {'whole ' if self.whole else ''}number {span} ({self.unit}){null}"


@frozen
class Switch:
    """True or false."""


@frozen
class Choice:
    """One of a closed list of words."""

    words: tuple[str, ...]


@frozen
class Text:
    """Text that is not empty and holds no NUL, e.g. a path."""


@frozen(kw_only=True)
class Table:
    """A number for each of a closed list of words; words left out keep their default."""

    default: Mapping[str, float]
    keys: tuple[str, ...]
    number: Number
    priorities: bool = False
    """Whether `P0` to `P4` may stand for 0 to 4."""


@frozen(kw_only=True)
class KeyList:
    """A list of resource keys, at most `most` (None: any number)."""

    most: int | None = None


@frozen
class KeyLists:
    """A list of resource keys for each of any names."""


Rule = Number | Switch | Choice | Text | Table | KeyList | KeyLists


def settled(rule: Rule, value: Any) -> Any:
    """The value in the form that is kept: `1e3` as 1000 where a whole number is asked for, `P1` as
    1, a list as a tuple, a table with its defaults. What does not fit the rule comes back as it is.
    """
    match rule:
        case Number():
            whole = rule.whole and isinstance(value, float) and value.is_integer()
            return int(value) if whole else value
        case Table():
            if not isinstance(value, Mapping):
                return value
            return {**rule.default, **{k: _settled_cell(rule, v) for k, v in value.items()}}
        case KeyList():
            return tuple(value) if isinstance(value, list | tuple) else value
        case KeyLists():
            if not isinstance(value, Mapping):
                return value
            return {k: settled(KeyList(), v) for k, v in value.items()}
        case Switch():
            return value
        case Choice() | Text():
            return str(value) if isinstance(value, str) else value
        case _:
            assert_never(rule)


def _settled_cell(rule: Table, value: Any) -> Any:
    if rule.priorities and isinstance(value, str):
        priority = to_priority(value)
        return value if priority is None else int(priority)
    return settled(rule.number, value)


def value_faults(rule: Rule, value: object, path: Path) -> Iterator[Fault]:
    """What is wrong with one settled value."""
    match rule:
        case Number():
            fault = number_fault(rule, value)
            if fault is not None:
                yield path, fault
        case Switch():
            if not isinstance(value, bool):
                yield path, f"{shown(value)} is not true or false{_advice(rule, value)}"
        case Choice():
            if value not in rule.words:
                yield path, f"{shown(value)} is not one of {', '.join(rule.words)}"
        case Text():
            if not isinstance(value, str) or not value or "\x00" in value:
                yield path, f"{shown(value)} is not a text of at least one character"
        case Table():
            yield from _table_faults(rule, value, path)
        case KeyList():
            yield from _key_list_faults(rule, value, path)
        case KeyLists():
            if not isinstance(value, Mapping):
                yield path, f"{shown(value)} is not a mapping from a name to a list of keys"
                return
            for name, keys in value.items():
                if not isinstance(name, str) or not name.isprintable() or len(name) > LONGEST_NAME:
                    allowed = f"a printable string of at most {LONGEST_NAME} characters"
                    yield (*path, str(name)), f"the name {shown(name)} is not {allowed}"
                yield from _key_list_faults(KeyList(), keys, (*path, str(name)))
        case _:
            assert_never(rule)


def number_fault(rule: Number, value: object) -> str | None:
    """What is wrong with a number, or None."""
    if value is None and rule.null:
        return None
    kinds = (int,) if rule.whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        return f"{shown(value)} is not {rule.allowed}{_advice(rule, value)}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{shown(value)} is not {rule.allowed}"
    if value < rule.low or (rule.high is not None and value > rule.high):
        return f"{shown(value)} is not {rule.allowed}"
    if value > rule.largest:
        return f"{shown(value)} is too large; allowed: at most {rule.largest} ({rule.unit})"
    return None


def _table_faults(rule: Table, value: object, path: Path) -> Iterator[Fault]:
    if not isinstance(value, Mapping):
        yield path, f"{shown(value)} is not a mapping from a word to a number"
        return
    for word, cell in value.items():
        here = (*path, str(word))
        if word not in rule.keys:
            yield here, f"{shown(word)} is not one of {', '.join(rule.keys)}"
            continue
        fault = number_fault(rule.number, cell)
        if fault is not None:
            yield here, f"{fault} or one of P0..P4" if rule.priorities else fault


def _key_list_faults(rule: KeyList, value: object, path: Path) -> Iterator[Fault]:
    if not isinstance(value, tuple | list):
        yield path, f"{shown(value)} is not a list of keys"
        return
    for index, key in enumerate(value):
        fault = key_fault(key)
        if fault is not None:
            yield (*path, str(index)), fault
    if rule.most is not None and len(value) > rule.most:
        yield path, f"{len(value)} keys are too many; allowed: at most {rule.most}"


def _advice(rule: Number | Switch, value: object) -> str:
    """How to write what was probably meant, for text that other readers of YAML would convert."""
    if not isinstance(value, str):
        return ""
    text = value.strip()
    if len(text) > 40:
        return ""
    if isinstance(rule, Switch):
        if text.lower() in _YES:
            return "; write true"
        return "; write false" if text.lower() in _NO else ""
    if _SEXAGESIMAL.fullmatch(text):
        return "; it is not read as hours, minutes and seconds: write the number out"
    if _UNDERSCORES.fullmatch(text):
        return f"; write {text.replace('_', '')}, without the underscore"
    if _LEADING_ZERO.fullmatch(text):
        return "; write it without the leading zero, as it is not read as octal"
    if _WITH_UNIT.fullmatch(text) and not text.lower().startswith(("0x", "0o")):
        return f"; write the number alone, it counts {rule.unit}"
    try:
        float(text)
    except ValueError:
        return ""
    return "; write it without the quotes"
