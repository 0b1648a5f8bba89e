"""Sources for engines of real actors that do what other people's code does, as scheduled.

Each load's behaviour is chosen by its kind and number from the schedule, and what it returns says
which version of the resource it saw, so that a reader can tell what it was given.
"""

import asyncio
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum, auto
from pathlib import Path
from typing import Any

from prefetch_scheduler.actors.cancel import CancelToken
from prefetch_scheduler.engine import CallableSource, FileSource
from prefetch_scheduler.engine.sources.protocol import Source

GATE_S = 25.0
"""Real seconds after which code that hangs goes on, whatever became of its test."""


class Behaviour(StrEnum):
    GOOD = auto()
    SLOW = auto()
    RAISES = auto()
    RAISES_BASE = auto()  # what is no Exception, e.g. SystemExit
    GARBAGE = auto()  # returns what is no content
    HANGS = auto()  # until it is cancelled
    DEAF = auto()  # hangs, whatever it is told, until the schedule is over
    BLOCKS = auto()  # an async source blocks its event loop for a while; a plain one its thread
    HOLDS_LOCK = auto()  # the interpreter lock, for a while


class Weird(BaseException):
    """What no library expects to be raised."""


def hold_interpreter_lock(size: int) -> None:
    """One long call that lets no other thread run: about 10 ms for each million."""
    sum(range(size))


class Truth:
    """What every resource is now, and what the engine has been told of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._now: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._editing: dict[str, threading.Lock] = {}
        self._numbers = itertools.count()

    def now(self, key: str) -> int:
        return self._now[key]

    def told(self, key: str) -> int:
        """The newest version that a read which begins now must not be older than."""
        return self._told[key]

    def edit(self, key: str, tell: Callable[[str], object]) -> None:
        """Change a resource and tell the engine of it, one edit of a key at a time."""
        with self._lock:
            editing = self._editing.setdefault(key, threading.Lock())
        with editing:
            version = self._now[key] + 1
            self._now[key] = version  # first: a reader may be given what is written at once
            if key.startswith("file:"):
                self._write(key, version)
            tell(f"{key}@{version}\n")
            self._told[key] = version

    def create(self, key: str) -> None:
        """Version 0 of a file."""
        self._write(key, 0)

    def _write(self, key: str, version: int) -> None:
        """As editors do: in whole, or not at all."""
        aside = self.root.parent / f"aside{next(self._numbers)}"
        aside.write_text(f"{key}@{version}\n")
        aside.replace(self.root / key.partition(":")[2])

    @staticmethod
    def version(key: str, value: object) -> int:
        """Which version a reader was given; AssertionError where it is none of this key."""
        assert isinstance(value, str), f"{key}: got {value!r}"
        name, _, version = value.strip().partition("#")[0].rpartition("@")
        assert name == key, f"{key}: got {value!r}"
        return int(version)


class Unruly:
    """The sources of one schedule.

    Args:
        behaviours: by kind, what its loads do, in turn.
    """

    def __init__(self, truth: Truth, behaviours: dict[str, tuple[Behaviour, ...]]) -> None:
        self.truth = truth
        self.over = threading.Event()
        """Once set all sources are good, and what hung goes on."""
        self._behaviours = behaviours
        self._turns: dict[str, Any] = {kind: itertools.count() for kind in behaviours}
        self._serials = itertools.count(1)

    def sources(self) -> list[Source]:
        return [
            FileSource(self.truth.root),
            CallableSource("db", self._loader("db"), read_only=True),
            CallableSource("mail", self._loader("mail"), read_only=True, private=True),
            CallableSource("web", self._async_loader("web"), read_only=True),
            CallableSource("tool", self._loader("tool"), read_only=False, max_concurrency=2),
        ]

    def _next(self, kind: str) -> Behaviour:
        turn = next(self._turns[kind])
        if self.over.is_set():
            return Behaviour.GOOD
        listed = self._behaviours[kind]
        return listed[turn % len(listed)]

    def _value(self, kind: str, name: str) -> str:
        """What it is now; private content bears a number of its own, to see who is given it."""
        key = f"{kind}:{name}"
        serial = f"#{next(self._serials)}" if kind == "mail" else ""
        return f"{key}@{self.truth.now(key)}{serial}\n"

    def _loader(self, kind: str) -> Callable[..., Any]:
        def load(name: str, cancel: CancelToken) -> Any:
            value = self._value(kind, name)
            match self._next(kind):
                case Behaviour.SLOW:
                    time.sleep(0.02)
                case Behaviour.HANGS:
                    released = threading.Event()
                    cancel.on_cancel(released.set)
                    end = time.monotonic() + GATE_S
                    while not (released.wait(0.02) or self.over.is_set()):
                        assert time.monotonic() < end, "never released"
                case Behaviour.DEAF:
                    self.over.wait(GATE_S)
                case Behaviour.BLOCKS:
                    time.sleep(0.15)
                case other:
                    return _at_once(other, value)
            return value

        return load

    def _async_loader(self, kind: str) -> Callable[..., Any]:
        async def load(name: str) -> Any:
            value = self._value(kind, name)
            match self._next(kind):
                case Behaviour.SLOW:
                    await asyncio.sleep(0.02)
                case Behaviour.HANGS:
                    await self._over()
                case Behaviour.DEAF:
                    await self._deaf()
                case Behaviour.BLOCKS:
                    time.sleep(0.15)
                case other:
                    return _at_once(other, value)
            return value

        return load

    async def _over(self) -> None:
        while not self.over.is_set():
            await asyncio.sleep(0.02)

    async def _deaf(self) -> None:
        end = time.monotonic() + GATE_S
        while not self.over.is_set() and time.monotonic() < end:
            try:
                await self._over()
            except asyncio.CancelledError:
                continue


def _at_once(behaviour: Behaviour, value: str) -> Any:
    match behaviour:
        case Behaviour.RAISES:
            raise OSError("down")
        case Behaviour.RAISES_BASE:
            raise Weird("down")
        case Behaviour.GARBAGE:
            return random.choice((None, 7, ["a"], object()))
        case Behaviour.HOLDS_LOCK:
            hold_interpreter_lock(2_000_000)
    return value
