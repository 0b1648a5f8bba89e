"""What is remembered of things that are numbered in order: a list of fixed length.

A dict from which the oldest goes whenever one comes is made anew every few thousand times, and the
holes that this leaves between longer-lived things let a process grow for hours.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Numbered(Generic[T]):
    """The values of the latest numbers.

    Args:
        places: of so many numbers in a row all have room; a newer one takes the place of the one
            that is so many behind it.
    """

    __slots__ = ("_length", "_numbers", "_values")

    def __init__(self, places: int) -> None:
        self._numbers: list[int | None] = [None] * places
        self._values: list[T | None] = [None] * places
        self._length = 0

    def __setitem__(self, number: int, value: T) -> None:
        place = number % len(self._numbers)
        self._length += self._numbers[place] is None
        self._numbers[place], self._values[place] = number, value

    def get(self, number: int) -> T | None:
        """The number's value; None where it is not known, or no longer."""
        place = number % len(self._numbers)
        return self._values[place] if self._numbers[place] == number else None

    def __contains__(self, number: int) -> bool:
        return self._numbers[number % len(self._numbers)] == number

    def __iter__(self) -> Iterator[int]:
        """The numbers, lowest first."""
        return iter(sorted([number for number in self._numbers if number is not None]))

    def __len__(self) -> int:
        return self._length
