"""What a load takes in a recorded session: the rule that replay and simulator share.

The first access of a key in the session decides its seconds and tokens. A key that is never read
takes both from one of the session's accesses, chosen by a hash of session id and key.
"""

from collections.abc import Iterable
from zlib import crc32

from prefetch_scheduler.engine.recording_events import AccessEvent, RecordedSession
from prefetch_scheduler.policies.values import frozen


@frozen
class LoadCost:
    """What one load takes."""

    load_s: float
    tokens: int


NO_COST = LoadCost(0.0, 0)
"""Of any key in a session that recorded no access at all: nothing is known of it."""


class RecordedLoads:
    """The cost of loading each key of one session."""

    def __init__(self, session_id: str, accesses: Iterable[AccessEvent]) -> None:
        self._session_id = session_id
        self._costs: dict[str, LoadCost] = {}
        self._all: list[LoadCost] = []
        for access in accesses:
            cost = LoadCost(access.load_s, access.tokens)
            self._all.append(cost)
            self._costs.setdefault(access.key, cost)

    @classmethod
    def of(cls, session: RecordedSession) -> "RecordedLoads":
        return cls(session.id, session.accesses())

    @property
    def longest_s(self) -> float:
        """The longest recorded load in seconds; 0 where none was recorded."""
        return max((cost.load_s for cost in self._all), default=0.0)

    def cost(self, key: str) -> LoadCost:
        """Seconds and tokens of loading `key`; the same in every run."""
        known = self._costs.get(key)
        if known is not None:
            return known
        if not self._all:
            return NO_COST
        mixed = f"{self._session_id}\0{key}".encode("utf-8", "surrogatepass")
        return self._all[crc32(mixed) % len(self._all)]
