"""What sizes, times and values may be, so that no arithmetic on them overflows or loses itself.

A host or a source may state any number that Python can hold, a whole one of thousands of digits
among them: `float()` and `math` raise on those, and so does writing them out.
"""

import reprlib

MAX_TOKENS = 10**12
"""Most tokens of one resource, or of a budget."""
MAX_LOAD_S = 1e9
"""Longest load time in seconds: about 32 years."""
MAX_VALUE = 1e12
"""Greatest value of one prediction."""
MAX_TIME_MS = 1e12
"""Longest time budget in milliseconds, as `MAX_LOAD_S`."""

_shorten = reprlib.Repr()
_shorten.maxstring = _shorten.maxother = 80
_SHORT_BITS = 128


def is_number(value: object, *, whole: bool = False) -> bool:
    """Whether it is an `int`, or a `float` where `whole` does not forbid it; `bool` is none."""
    return isinstance(value, int if whole else int | float) and not isinstance(value, bool)


def within(value: float | None, most: float, least: float = 0) -> bool:
    """Whether it is a finite number in `least..most`. Whole numbers of any length are judged."""
    # Comparing a whole number with a float never overflows, and NaN is within nothing.
    return value is not None and least <= value <= most


def shown(value: object) -> str:
    """A value as an error message shows it: its `repr`, cut short, whatever it is."""
    if isinstance(value, int) and value.bit_length() > _SHORT_BITS:
        # Python refuses to write out a whole number of thousands of digits.
        sign = "-" if value < 0 else ""
        return f"{sign}10**{int(value.bit_length() * 0.30103)} or so"
    return _shorten.repr(value)
