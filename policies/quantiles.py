"""Typical and pessimistic figures of loads, which follow drift.

Each tracked quantile takes a step up where a sample lies above it and a step down where it lies
below, in proportions that come to rest where the wanted share lies below it (Ma, Muthukrishnan and
Sandler, "Frugal Streaming for Estimating Quantiles", 2013; Robbins and Monro, 1951, for the steps).
Steps are taken in logarithms, since sizes and times spread over decades. What is only known to be
*at least* so large, as a load that was cancelled, says something of the quantiles that lie below it
and nothing of those above.
"""

from math import exp, log

from attrs import field

from prefetch_scheduler.policies.values import define

SHARES = (0.5, 0.9)
"""What is tracked: the median, and what one in ten exceeds."""
LONGEST_KEPT = 0.995
"""Of the largest sample, at each further one: after some 140 it counts half."""
HANGS = 10.0
"""Times the longest load of late that a load has to go on before it counts as hanging."""
LEAST_STEP = 0.05
"""Of the spread; so that the latest samples count, however many there were."""
TRUSTED = 20
"""Samples from which on the quantiles say something."""
_NORMAL_90 = 1.2816
"""How many standard deviations of a normal law its 0.9 quantile lies above its median."""
_LEAST_SPREAD, _MOST_SPREAD = 0.05, 3.0
_FIRST_SPREAD = 0.7


@define(eq=False)
class Quantiles:
    """Of one figure: seconds or tokens of loads."""

    floor: float
    """Added before taking logarithms: the least amount that makes a difference."""
    count: int = 0
    longest: float = field(init=False, default=0.0)
    """The largest of the latest samples."""
    _logs: list[float] = field(init=False, factory=list)

    def add(self, sample: float) -> None:
        """A load came to so much."""
        self.add_log(sample, log(sample + self.floor))

    def add_log(self, sample: float, x: float) -> None:
        """As `add`, of a sample whose logarithm, with the floor added, is known to be `x`."""
        self.count += 1
        longest = self.longest * LONGEST_KEPT
        self.longest = sample if sample > longest else longest
        if not self._logs:
            self._logs = [x, x + _NORMAL_90 * _FIRST_SPREAD]
            return
        self._step(x, bound=False)

    def at_least(self, bound: float) -> None:
        """A load that did not end would have come to more than this."""
        if self._logs:
            self._step(log(bound + self.floor), bound=True)

    def _step(self, x: float, *, bound: bool) -> None:
        step, spread = 1.0 / self.count, self.spread
        size = (step if step > LEAST_STEP else LEAST_STEP) * (spread if spread > 0.1 else 0.1) * 2
        (low, high), (share, high_share) = self._logs, SHARES
        if x > low:
            low += size * share
        elif not bound:
            low -= size * (1 - share)
        if x > high:
            high += size * high_share
        elif not bound:
            high -= size * (1 - high_share)
        least = low + _NORMAL_90 * _LEAST_SPREAD
        logs = self._logs
        logs[0], logs[1] = low, high if high > least else least

    @property
    def spread(self) -> float:
        """Standard deviation of the logarithms, as the two quantiles tell it."""
        if not self._logs:
            return _FIRST_SPREAD
        low, high = self._logs
        spread = (high - low) / _NORMAL_90
        return spread if spread < _MOST_SPREAD else _MOST_SPREAD

    @property
    def trusted(self) -> bool:
        """Whether there were enough samples."""
        return self.count >= TRUSTED

    @property
    def median(self) -> float | None:
        return self._figure(0)

    @property
    def pessimistic(self) -> float | None:
        """What one in ten exceeds."""
        return self._figure(1)

    def _figure(self, place: int) -> float | None:
        return max(0.0, exp(self._logs[place]) - self.floor) if self._logs else None

    def left_after(self, elapsed: float) -> float:
        """The median of what is left of a load that has gone on for so long.

        By a log-normal law through the two quantiles, whose upper tail falls by half within
        about ln 2 / (z + 1/z) standard deviations of z. Below two deviations it is not asked for.
        """
        if len(self._logs) < 2 or elapsed <= 0:
            return self.median or 0.0
        z = (log(elapsed + self.floor) - self._logs[0]) / max(_LEAST_SPREAD, self.spread)
        if z < FAR:
            return max(0.0, (self.median or 0.0) - elapsed)
        step = 0.6931 / (z + 1 / z)
        return elapsed * (exp(step * self.spread) - 1)

    def overdue(self, elapsed: float) -> bool:
        """Whether a load that has gone on for so long had better be begun afresh: what is left of
        it is likely to take longer than nine in ten fresh ones take.

        What is only slow is slow again when it is begun afresh, since names differ more than the
        loads of one name do: so it must have gone on for longer than any load of late.
        """
        if not self.trusted or elapsed <= HANGS * self.longest:
            return False
        z = (log(elapsed + self.floor) - self._logs[0]) / max(_LEAST_SPREAD, self.spread)
        return z >= FAR and self.left_after(elapsed) > (self.pessimistic or 0.0)

    def plain(self) -> list[float]:
        """As plain data: the count, the longest, then the logarithms of the quantiles."""
        return [self.count, self.longest, *self._logs]

    @classmethod
    def from_plain(cls, floor: float, plain: list[float]) -> "Quantiles":
        """What `plain` gave.

        Raises:
            ValueError: it is not of that form.
        """
        if len(plain) not in (2, 2 + len(SHARES)) or min(plain[:2]) < 0 or plain[0] % 1:
            raise ValueError(f"quantiles: {plain!r:.80}")
        made = cls(floor, int(plain[0]))
        made.longest, made._logs = plain[1], list(plain[2:])
        return made


FAR = 2.0
"""Standard deviations above the median from which on a load counts as slow."""
