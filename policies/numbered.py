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

    __slots__ = ("_held", "_length")

    def __init__(self, places: int) -> None:
        self._held: list[tuple[int, T] | None] = [None] * places
        self._length = 0

    def __setitem__(self, number: int, value: T) -> None:
        place = number % len(self._held)
        self._length += self._held[place] is None
        self._held[place] = number, value

    def get(self, number: int) -> T | None:
        """The number's value; None where it is not known, or no longer."""
        found = self._held[number % len(self._held)]
        return found[1] if found is not None and found[0] == number else None

    def __contains__(self, number: int) -> bool:
        found = self._held[number % len(self._held)]
        return found is not None and found[0] == number

    def __iter__(self) -> Iterator[int]:
        """The numbers, lowest first."""
        return iter(sorted(found[0] for found in self._held if found is not None))

    def __len__(self) -> int:
        return self._length
