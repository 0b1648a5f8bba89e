"""Long work in steps, between which its owner turns to other things.

Work in steps is a generator that yields where it may be interrupted and returns its result. Who is
in no hurry runs it `at_once`; the planner runs one step of it between two messages, so that no
reader waits for the planning of ten thousand predictions.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import TypeVar

R = TypeVar("R")
T = TypeVar("T")

Steps = Generator[None, None, R]

STEP = 64
"""Items worked on in one step: a millisecond or less."""

QUICK = 256
"""The same where each item takes no more than a microsecond or two."""

LARGE = 128
"""Predictions of one submit past which it is planned in steps."""


def at_once(steps: Steps[R]) -> R:
    """Run all steps; their result."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        result: R = end.value
        return result


def in_steps(items: Sequence[T], size: int = STEP) -> Iterator[Sequence[T]]:
    """The items, so many at a time, in order."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
