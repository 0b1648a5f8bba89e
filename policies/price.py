"""The price of a wasted token: what keeps a promise about waste.

The operator's dial sets the price that holds while waste is below what was promised. Where it is
above, the price rises, step by step, up to the thriftiest; where it falls below, it comes down
again. So spending answers to what came of it, as a goal-directed energy budget does (Flinn and
Satyanarayanan, "Managing battery lifetime with energy-aware adaptation", 2004).
"""

from math import exp, log

from prefetch_scheduler.policies.values import define

MIDDLE = 1.73e-5
"""Seconds a token at dial 0.5."""
STEEPNESS = 1.3
"""The price goes with this power of the odds of thrift."""
MOST_EAGER = 1e-6
"""Seconds a token from where on it is not cheaper, near dial 1."""
THRIFTIEST = 1e3
"""Seconds a token at dial 0, which nothing is worth."""
UTMOST = 1e-3
"""Seconds a token beyond which broken promises do not drive the price."""
HOPELESS = 0.05
"""How far above its promise waste is where no price will mend it: predictions are too bad, or too
much alike. From there on the price is bounded by `HIGHEST`."""
HIGHEST = 7e-5
"""What is dearer hides next to nothing then, and wastes as large a share of it."""
STRICTNESS = 0.6
"""How likely a read has to be then, by how likely all of them would have to be for the promise. At
1, recorded sessions of the pair that this was chosen on hide a fifth of what thresholds hide."""
MEMORY_TOKENS = 200_000.0
"""About as many of the latest prefetched tokens are what waste is measured over."""
GAIN = 20.0
"""How fast the price answers: the change of its logarithm while `MEMORY_TOKENS` come to their
end, for each unit that waste is above what was promised."""
LEAST_TOKENS = 20_000.0
"""Ended tokens before which waste says nothing."""
MARGIN = 0.1
"""How far below its promise waste is aimed at: sizes are uneven, and so is what comes of them."""
SLACK = 0.03
"""How far waste may be above what was promised."""


def price_at(dial: float) -> float:
    """Seconds that a wasted token is worth, from thrifty (0) to eager (1)."""
    if dial <= 0:
        return THRIFTIEST
    odds: float = ((1 - dial) / dial) ** STEEPNESS
    return min(THRIFTIEST, max(MOST_EAGER, MIDDLE * odds))


LASTS_PLANS = 10
"""A token budget of a session or a period that what is left of would not last for so many plans is
being outrun."""
MOST_PRESSED = 30.0


def pressed(left: float, a_plan: float) -> float:
    """By what factor a token is dearer where a budget is being outrun.

    Args:
        left: tokens that are left of it.
        a_plan: tokens that a plan of the session has spent on average.
    """
    wanted = LASTS_PLANS * a_plan
    return 1.0 if wanted <= left else min(MOST_PRESSED, wanted / max(left, 1.0))


@define(eq=False)
class Price:
    """Follows waste.

    Args:
        dial: 0 thrifty .. 1 eager.
        promise: the share of prefetched tokens that may be wasted, 0..1.
    """

    dial: float
    promise: float
    ended: float = 0.0
    """Prefetched tokens that have come to their end, older ones faded."""
    wasted: float = 0.0
    raised: float = 0.0
    """Logarithm of how far above the dial's price it stands."""

    @property
    def now(self) -> float:
        """Seconds that a wasted token is worth."""
        return price_at(self.dial) * exp(self.raised)

    @property
    def share(self) -> float | None:
        """Wasted share of the prefetched tokens that ended lately; None: too few."""
        return None if self.ended < LEAST_TOKENS else self.wasted / self.ended

    @property
    def kept(self) -> bool:
        """Whether the promise is kept, or can still be."""
        share = self.share
        if share is None or share <= self.promise + SLACK:
            return True
        return self._hopeless < 1 and self.raised < self._most

    @property
    def least_chance(self) -> float:
        """Probability of a read below which nothing is worth loading, however much it would hide.

        Above 0 only where the promise is broken: a price alone does not make an engine thrifty
        where loads are long and contents short.
        """
        return STRICTNESS * (1 - self.promise) * self._hopeless

    @property
    def _hopeless(self) -> float:
        """From 0, the promise is kept, to 1, no price will keep it."""
        above = max(0.0, (self.share or 0.0) - self.promise)
        return min(1.0, above / HOPELESS)

    @property
    def _most(self) -> float:
        hopeless = self._hopeless
        most = log(UTMOST) * (1 - hopeless) + log(HIGHEST) * hopeless
        return max(0.0, most - log(price_at(self.dial)))

    def recall(self, ended: float, wasted: float, raised: float) -> None:
        """Take up where an earlier engine ended, perhaps with another dial."""
        self.ended, self.wasted = ended, wasted
        self.raised = min(self._most, raised)

    def settle(self, tokens: int, *, wasted: bool) -> None:
        """A prefetch of so many tokens came to its end."""
        keep = exp(-tokens / MEMORY_TOKENS)
        self.ended = self.ended * keep + tokens
        self.wasted = self.wasted * keep + (tokens if wasted else 0)
        share = self.share
        if share is not None:
            step = GAIN * (share - self.promise + MARGIN) * tokens / MEMORY_TOKENS
            self.raised = min(self._most, max(0.0, self.raised + step))
