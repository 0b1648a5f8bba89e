"""When a failed actor is restarted: intensity within a true time window, then back-off.

The arithmetic is that of Erlang/OTP's `supervisor` (`add_restart`: a failure counts for exactly
`period_s`, so that slow steady failures never use the allowance up), with an exponential delay
before the second and later restarts of a window, as in Akka's `BackoffSupervisor`.
"""

from collections import deque
from zlib import crc32

from attrs import field

from prefetch_scheduler.policies.values import frozen


def _check(rule: "RestartRule") -> None:
    if rule.intensity < 0:
        raise ValueError(f"intensity must be at least 0 restarts, got {rule.intensity!r}")
    if not rule.period_s > 0:
        raise ValueError(f"period_s must be more than 0 seconds, got {rule.period_s!r}")
    if not 0 <= rule.base_s <= rule.most_s:
        raise ValueError(
            "need 0 <= base_s <= most_s seconds,"
            f" got base_s={rule.base_s!r}, most_s={rule.most_s!r}"
        )
    if not 0 <= rule.jitter < 1:
        raise ValueError(f"jitter must be in 0..1, 1 excluded, got {rule.jitter!r}")


@frozen(kw_only=True)
class RestartRule:
    """How often and how fast a child is restarted.

    Raises:
        ValueError: a number is out of range.
    """

    intensity: int = 5
    """Restarts allowed within `period_s`; one more failure and the Supervisor gives up."""
    period_s: float = 60.0
    base_s: float = 0.1
    """Delay before the second restart of a window, in seconds; it doubles from there."""
    most_s: float = 5.0
    """Longest delay, in seconds, before jitter."""
    jitter: float = 0.2
    """Part of the delay that varies, so that children that failed together do not return so."""

    def __attrs_post_init__(self) -> None:
        _check(self)


@frozen
class RestartHistory:
    """The failures of one child within the window, and what follows from one more."""

    name: str
    rule: RestartRule = field(factory=RestartRule)
    _times: deque[float] = field(factory=deque, init=False)

    def failed(self, now: float) -> float | None:
        """Note a failure. Returns the seconds to wait before a restart; None: give up.

        Args:
            now: the time of the failure, in seconds on a monotonic clock.
        """
        self._forget(now)
        self._times.append(now)
        count = len(self._times)
        if count > self.rule.intensity:
            return None
        if count == 1:  # a single fault should cost nobody anything
            return 0.0
        delay = min(self.rule.base_s * 2.0 ** (count - 2), self.rule.most_s)
        share = crc32(f"{self.name}:{count}:{now!r}".encode()) / 2**32
        return delay * (1.0 - self.rule.jitter * share)

    def recent(self, now: float) -> int:
        """Failures within the window that ends now."""
        self._forget(now)
        return len(self._times)

    def _forget(self, now: float) -> None:
        while self._times and self._times[0] <= now - self.rule.period_s:
            self._times.popleft()
