"""Sources that hang or fail again and again: nothing is loaded ahead from them for a while.

A circuit breaker (Nygard, "Release It!", 2007) for each source, for speculation only: a reader's
demand is always tried, and what it brings closes the breaker as a probe's success does. A pin is
asked for by the host, and so is no speculation.

Closed: loads go through. After `LIMIT` failures in a row it opens for `first_s`; then one load
goes through as a probe. If that fails or does not end, the pause doubles, up to `longest_s`.
"""

from attrs import field

from prefetch_scheduler.policies.errors import ResourceUnavailable
from prefetch_scheduler.policies.values import define

LIMIT = 5
"""Failures in a row that open a breaker."""

_OF_ONE_RESOURCE = (
    ResourceUnavailable,
    LookupError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    UnicodeError,
)


def blames_source(exception: BaseException | None) -> bool:
    """Whether a failed load speaks against its source, rather than against one resource that is
    missing, forbidden or no text.
    """
    return not isinstance(exception, _OF_ONE_RESOURCE)


@define
class _Breaker:
    failures: int = 0
    """In a row."""
    pause_s: float = 0.0
    """Of the opening that lasts; 0: it is closed."""
    probe_at: float = 0.0
    """From when on one load may go through."""


@define(eq=False)
class Breakers:
    """One breaker for each source that failed last.

    Args:
        first_s: how long one opens first, in engine seconds.
        longest_s: how long it opens at most.
    """

    first_s: float
    longest_s: float
    _by_source: dict[int, _Breaker] = field(init=False, factory=dict)

    def failed(self, source: int, now: float) -> float | None:
        """A load of the source failed or hung; returns the pause where that opens the breaker."""
        breaker = self._by_source.setdefault(source, _Breaker())
        breaker.failures += 1
        if breaker.failures < LIMIT or (breaker.pause_s and now < breaker.probe_at):
            return None  # not yet, or a load that had begun before it opened
        breaker.pause_s = min(2 * breaker.pause_s or self.first_s, self.longest_s)
        breaker.probe_at = now + breaker.pause_s
        return breaker.pause_s

    def succeeded(self, source: int) -> bool:
        """A load of the source succeeded. True: that closes its breaker."""
        breaker = self._by_source.pop(source, None)
        return breaker is not None and breaker.pause_s > 0

    @property
    def any_open(self) -> bool:
        """Whether some breaker is open."""
        return any(breaker.pause_s for breaker in self._by_source.values())

    def failing(self, source: int) -> bool:
        """Whether the source's latest load has failed."""
        return source in self._by_source

    def wait(self, source: int, now: float) -> float:
        """Seconds until a load ahead may be tried; 0: now."""
        breaker = self._by_source.get(source)
        if breaker is None or not breaker.pause_s:
            return 0.0
        return max(0.0, breaker.probe_at - now)

    def begin(self, source: int, now: float) -> None:
        """A load ahead begins. Where the breaker is open it is the probe, and the only one until
        the pause has gone by once more.
        """
        breaker = self._by_source.get(source)
        if breaker is not None and breaker.pause_s:
            breaker.probe_at = now + breaker.pause_s

    def open(self, now: float) -> dict[int, float]:
        """Source -> seconds until its next probe, of every breaker that is open."""
        return {s: self.wait(s, now) for s, b in self._by_source.items() if b.pause_s}
