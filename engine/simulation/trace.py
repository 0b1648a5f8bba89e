"""What happened in one simulated session: every load, and every wait of the agent."""

from collections.abc import Iterator
from enum import StrEnum, auto

from attrs import field

from prefetch_scheduler.policies.values import define, frozen


class ReadKind(StrEnum):
    """How a read was served (decision D36)."""

    HIT = auto()
    LATE_HIT = auto()
    JOINED = auto()
    MISS = auto()


@define(eq=False)
class TracedLoad:
    """One load. Times in seconds since the session's start."""

    key: str
    start_s: float
    tokens: int
    prefetch: bool
    """False: a reader's demand."""
    finish_s: float | None = None
    """When it ended, came to nothing or was cancelled; None: it has not."""
    cancelled: bool = False
    used: bool = False


@frozen
class TracedRead:
    """One read by the agent."""

    key: str
    start_s: float
    finish_s: float
    kind: ReadKind

    @property
    def wait_s(self) -> float:
        return self.finish_s - self.start_s


@define(eq=False)
class Trace:
    """One session under one policy."""

    session: str
    began: float = 0.0
    """The session's start on the simulation's own clock."""
    loads: dict[int, TracedLoad] = field(factory=dict)
    """By number, in the order in which they began."""
    reads: list[TracedRead] = field(factory=list)
    duration_s: float = 0.0

    def started(self, number: int, key: str, tokens: int, now: float, *, prefetch: bool) -> None:
        self.loads[number] = TracedLoad(key, now - self.began, tokens, prefetch, used=not prefetch)

    def finished(self, number: int, now: float, *, cancelled: bool = False) -> None:
        load = self.loads.get(number)
        if load is not None and load.finish_s is None:
            load.finish_s = now - self.began
            load.cancelled = cancelled

    def used(self, number: int) -> None:
        load = self.loads.get(number)
        if load is not None:
            load.used = True

    def read(self, key: str, asked: float, answered: float, kind: ReadKind) -> None:
        self.reads.append(TracedRead(key, asked - self.began, answered - self.began, kind))

    def decisions(self, before_s: float = float("inf")) -> Iterator[tuple[float, str, bool]]:
        """`(seconds, key, prefetched)` of every load begun before a time."""
        for load in self.loads.values():
            if load.start_s < before_s:
                yield load.start_s, load.key, load.prefetch
