"""The outside as the actors see it. The engine implements these; tests implement them too."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.prediction import FollowUp
from prefetch_scheduler.policies.source_info import Survey


class CancelToken(Protocol):
    """Tells a running load that nobody wants it any more. Safe to read from any thread."""

    @property
    def cancelled(self) -> bool: ...


PartSink = Callable[[str, Content], None]
"""Takes a part's key and its content as soon as the source yields it."""


class LoadPort(Protocol):
    """Runs the sources' own code. Every method may raise whatever that code raises."""

    def is_async(self, source_id: int) -> bool:
        """Whether its loads are coroutines, to be run on the pool's loop."""

    def load(self, source_id: int, name: str, cancel: CancelToken, on_part: PartSink) -> Content:
        """Load one name, blocking. `on_part(key, content)` is called for each part, in order."""

    async def aload(
        self, source_id: int, name: str, cancel: CancelToken, on_part: PartSink
    ) -> Content:
        """The same for an async source."""

    def load_many(
        self, source_id: int, names: Sequence[str], cancel: CancelToken
    ) -> Sequence[Content | BaseException]:
        """Load several names in one call, blocking; one result or error for each, in order."""

    async def aload_many(
        self, source_id: int, names: Sequence[str], cancel: CancelToken
    ) -> Sequence[Content | BaseException]:
        """The same for an async source."""

    def survey(self, source_id: int, name: str) -> Survey:
        """What the source knows of a name without loading it; blocking, cheap."""

    def expand(self, source_id: int, key: str, content: Content) -> Sequence[FollowUp]:
        """Follow-up predictions of loaded content; blocking."""


class Follower(Protocol):
    """Told by the CacheLayer what is resident. Must neither block nor raise."""

    def resident(self, entry: Entry) -> None:
        """An entry is resident from now on, or has moved to another layer."""

    def gone(self, stored: str) -> None:
        """Nothing is resident under this cache key any more."""


class Clock(Protocol):
    """The engine's time. Durations on it may run faster than real ones (replay)."""

    def now(self) -> float:
        """Engine seconds; never runs backwards."""

    def wall(self) -> float:
        """Wall-clock seconds since the epoch, for reports only."""

    def today(self) -> int:
        """Ordinal of the local calendar day."""

    def real(self, seconds: float) -> float:
        """How many real seconds so many engine seconds take."""


class Address(Protocol):
    """Where messages to one actor go; stays good when the actor is restarted."""

    def tell(self, message: Any, /) -> bool:
        """Send without waiting. False: the inbox is full or closed; it is a dead letter."""
