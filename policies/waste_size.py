"""How large loads ahead turn out that nobody reads, by the size that was expected of them.

What is admitted for its size is more often one whose size was guessed too low than one whose size
was guessed too high, and guesses about what nobody reads are the poorest. So the expected size is
corrected before it is charged: by a power law whose exponent is the slope of the logarithms, and
whose level makes the sums agree, since the waste that counts is a sum. Where sizes are known the
exponent stays 1; where they are mere guesses it falls towards 0, and all that is left is the mean.
Source: James and Stein, "Estimation with quadratic loss" (1961), for leaning on the mean.
"""

from collections.abc import Sequence
from math import exp, log

from attrs import field

from prefetch_scheduler.policies.figures import MAX_TOKENS
from prefetch_scheduler.policies.values import define

MEMORY = 400
"""About as many of the latest loads count."""
PRIOR = 8.0
"""So many loads that came to what was expected are believed before any has ended."""
PRIOR_VARIANCE = 2.0
"""Of the logarithms of their sizes."""
FIGURES = 7
"""Numbers in its plain data."""
_MOST_LOG = log(MAX_TOKENS) + 1


@define(eq=False)
class WasteSize:
    """Of one source, and of one reason to expect a read."""

    power: float = field(init=False, default=1.0)
    level: float = field(init=False, default=1.0)
    """Tokens to be charged are `level * expected ** power`."""
    _count: float = field(init=False, default=0.0)
    _means: list[float] = field(init=False, factory=lambda: [0.0] * (FIGURES - 1))
    """Of the logarithms x expected and y actual, of x x and x y, of the actual sizes, and of those
    that the law gave.
    """

    def add(self, expected: float, actual: float) -> None:
        """A load of which so many tokens were expected came to so many, and was wasted."""
        x, y = log(max(1.0, expected)), log(max(1.0, actual))
        self._count = min(self._count + 1, MEMORY)
        self._learn(0, x)
        self._learn(1, y)
        self._learn(2, x * x)
        self._learn(3, x * y)
        self._fit()
        mean_x, mean_y = self._means[:2]
        self._learn(4, actual)
        self._learn(5, exp(mean_y + self.power * (x - mean_x)))
        self._fit()

    def _learn(self, place: int, figure: float) -> None:
        self._means[place] += (figure - self._means[place]) / self._count

    def _fit(self) -> None:
        x, y, xx, xy, actual, fitted = self._means
        prior = PRIOR * PRIOR_VARIANCE / self._count
        slope = (xy - x * y + prior) / (max(0.0, xx - x * x) + prior)
        self.power = min(1.0, max(0.0, slope))
        middle = x + (y - x) * self._count / (self._count + PRIOR)
        believed = exp(middle) * PRIOR / self._count
        self.level = exp(middle - self.power * x) * (actual + believed) / (fitted + believed)

    def plain(self) -> list[float]:
        """As plain data."""
        return [self._count, *self._means]

    @classmethod
    def from_plain(cls, plain: Sequence[float]) -> "WasteSize":
        """What `plain` gave: `FIGURES` finite numbers.

        Raises:
            ValueError: they do not fit together.
        """
        made = cls()
        made._count, made._means = plain[0], list(plain[1:])
        if not made._count:
            return cls()
        x, y, xx, xy, actual, fitted = made._means
        squares = 0 <= xx <= _MOST_LOG**2 and 0 <= xy <= _MOST_LOG**2
        if not (0 < made._count <= MEMORY and 0 <= x <= _MOST_LOG and 0 <= y <= _MOST_LOG):
            raise ValueError(f"sizes of waste: {plain!r:.80}")
        if not squares or min(actual, fitted) < 0:
            raise ValueError(f"sizes of waste: {plain!r:.80}")
        made._fit()
        return made
