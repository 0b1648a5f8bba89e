"""What the plain policies load ahead: nothing, all that is predicted, or what will be read.

Each is asked for one load at a time, whenever a slot is free.
"""

from collections import deque
from typing import Protocol

from attrs import field

from prefetch_scheduler.engine.recording_events import PredictEvent, RecordedSession
from prefetch_scheduler.engine.simulation.future import Future
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.values import define
from prefetch_scheduler.policies.vocabulary import Priority

LOOK_AHEAD = 100
"""Distinct keys that `oracle` looks ahead."""
_INSTANT_S = 1e-3
"""Less than this is now: sums of times are not exact."""


class Room(Protocol):
    """What a chooser sees of the cache."""

    def has(self, key: str) -> bool:
        """Whether a key is resident or under way."""

    def unread(self) -> int:
        """Prefetched entries under way, or resident and not read yet."""

    def free(self, within_s: float) -> int:
        """Entries that may come in within so many seconds before one that is unread is given up."""


class Chooser(Protocol):
    """Chooses what to load ahead in one session after another."""

    priority: Priority
    """Of what it loads, among the cache's victims, until it is read."""

    def begin(self, session: RecordedSession) -> None:
        """A session starts."""

    def predicted(self, event: PredictEvent) -> None:
        """Predictions came in."""

    def passed(self, place: int) -> None:
        """The event of that number has been applied."""

    def choose(self, elapsed_s: float, cache: "Room") -> str | None:
        """The key to load now, or None.

        Args:
            elapsed_s: seconds since the last event.
            cache: what it would be loaded into.
        """

    def wake_after(self) -> float | None:
        """Seconds after the last event at which to ask again, though nothing else happened."""


@define(eq=False)
class Nothing:
    """`none`: a cache, and no prefetching."""

    priority: Priority = Priority.P2

    def begin(self, session: RecordedSession) -> None:
        pass

    def predicted(self, event: PredictEvent) -> None:
        pass

    def passed(self, place: int) -> None:
        pass

    def choose(self, elapsed_s: float, cache: Room) -> str | None:
        del elapsed_s, cache
        return None

    def wake_after(self) -> float | None:
        return None


@define(eq=False)
class Everything(Nothing):
    """`everything`: each predicted key at once, in order; new predictions replace the queue."""

    _queue: deque[str] = field(init=False, factory=deque)

    def begin(self, session: RecordedSession) -> None:
        del session
        self._queue.clear()

    def predicted(self, event: PredictEvent) -> None:
        self._queue = deque(dict.fromkeys(item.key for item in event.items))

    def choose(self, elapsed_s: float, cache: Room) -> str | None:
        del elapsed_s
        while self._queue:
            key = self._queue.popleft()
            if not cache.has(key):
                return key
        return None


@define(eq=False)
class Foresight(Nothing):
    """`oracle` and `reachable`: the keys that will be read next, soonest first.

    Only those of which the content stays good until then, and no more at a time than the cache
    keeps until they are read; so nearly nothing that it loads is wasted.

    Args:
        config: of the cache, whose sizes and times bound what is worth loading yet.
        look_ahead: how many of the next distinct keys it knows; past them, as with 0, only those
            that a prediction of the session has named.
    """

    config: Config = field(kw_only=True)
    look_ahead: int = field(kw_only=True, default=0)
    priority: Priority = Priority.P0  # unread ones must outlive those that were read
    _future: Future | None = field(init=False, default=None)
    _named: set[str] = field(init=False, factory=set)
    _place: int = field(init=False, default=0)
    _wake_after: float | None = field(init=False, default=None)

    def begin(self, session: RecordedSession) -> None:
        self._future = Future(session)
        self._named.clear()
        self._place = 0

    def predicted(self, event: PredictEvent) -> None:
        self._named.update(item.key for item in event.items)

    def passed(self, place: int) -> None:
        self._place = place

    def choose(self, elapsed_s: float, cache: Room) -> str | None:
        self._wake_after = None
        if self._future is None:
            return None
        unbound = cache.unread() < self._most_unread
        now = self._future.t(self._place) + elapsed_s
        others = 0
        for number, (use, good) in enumerate(self._future.uses(self._place)):
            if cache.has(use.key):
                continue
            if not good or not (number < self.look_ahead or use.key in self._named):
                others += 1  # they come in by being read, before those after them are
                continue
            ahead = use.t - now
            early = ahead - self._longest_unread_s
            if early <= _INSTANT_S and (unbound or cache.free(ahead - _INSTANT_S) > others):
                return use.key
            # Those after it are read later still.
            later = [limit for limit in self._limits if ahead - limit > _INSTANT_S]
            self._wake_after = elapsed_s + ahead - max(later) if later else None
            return None
        return None

    def wake_after(self) -> float | None:
        return self._wake_after

    @property
    def _most_unread(self) -> int:
        """What the cache keeps unread whatever comes in; it keeps more while it is not full."""
        config = self.config
        sizes = config.hot_cache_size + config.warm_cache_size + config.cold_cache_size
        return max(1, int(config.cache.unread_share * sizes))

    @property
    def _limits(self) -> tuple[float, ...]:
        """Seconds before its next read at which a key may have become worth loading."""
        rules = self.config.cache
        return rules.hot_ttl_s, rules.warm_ttl_s, self._longest_unread_s

    @property
    def _longest_unread_s(self) -> float:
        """Half of the time after which the cache gives up an unread entry: waits come on top."""
        return (self.config.cache.warm_ttl_s + self.config.cache.cold_ttl_s) / 2
