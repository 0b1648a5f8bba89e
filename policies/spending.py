"""The price of a token that is loaded ahead, read or not: it keeps spending within a share of
what the thresholds of the specification would have spent.

How much there is to load ahead differs between hosts by orders of magnitude, and so does what a
token is worth. What the thresholds would have loaded of the same predictions is a yardstick that
goes with the host. The planner counts it beside its own decisions, and the price rises while
spending outruns the plan and falls while it does not, as a goal-directed energy budget does (Flinn
and Satyanarayanan, "Managing battery lifetime with energy-aware adaptation", 2004): at once with
the share spent, and slowly for as long as it stays off.
"""

from math import exp, log

from attrs import field

from prefetch_scheduler.policies.values import define

FIRST = 3e-5
"""Seconds a token before anything was learned."""
LEAST, MOST = 1e-6, 1.0
"""Bounds of the price, in seconds a token."""
MEMORY_LOADS = 600.0
"""About as many of the latest loads that the thresholds would have started count."""
ANSWER = 3.0
"""The price goes with this power of the share that was spent of what might have been."""
DRIFT = 0.02
"""How much of the logarithm of that share the price keeps, at each such load."""
EASE_TOKENS = 10_000.0
"""What is spent beyond the plan before it says something."""


@define(eq=False)
class Spending:
    """Follows what is loaded ahead, and what the thresholds would have loaded.

    Args:
        promise: tokens that may be loaded ahead for each one that these would have loaded.
    """

    promise: float
    spent: float = 0.0
    """Tokens loaded ahead, older ones faded."""
    threshold: float = 0.0
    """Tokens that the thresholds would have loaded, older ones faded."""
    raised: float = 0.0
    """Logarithm of how far the price has drifted from the first one."""
    now: float = field(init=False, default=FIRST)
    """Seconds that a token loaded ahead is worth."""

    def __attrs_post_init__(self) -> None:
        self._set()

    @property
    def share(self) -> float | None:
        """Tokens loaded ahead for each one that the thresholds would have loaded; None: too few."""
        return None if self.threshold < EASE_TOKENS else self.spent / self.threshold

    def would_load(self, tokens: int) -> None:
        """The thresholds would load something of so many tokens now."""
        keep = 1 - 1 / MEMORY_LOADS
        self.spent *= keep
        self.threshold = self.threshold * keep + tokens
        least, most = log(LEAST / FIRST), log(MOST / FIRST)
        self.raised = min(most, max(least, self.raised + DRIFT * self._off()))
        self._set()

    def spend(self, tokens: int) -> None:
        """So many tokens were loaded ahead."""
        self.spent += tokens
        self._set()

    def recall(self, spent: float, threshold: float, raised: float) -> None:
        """Take up where an earlier engine ended, perhaps with another promise."""
        self.spent, self.threshold = spent, threshold
        self.raised = min(log(MOST / FIRST), max(log(LEAST / FIRST), raised))
        self._set()

    def _off(self) -> float:
        ease = EASE_TOKENS * self.promise
        return log((self.spent + ease) / (self.threshold * self.promise + ease))

    def _set(self) -> None:
        price = FIRST * exp(self.raised + ANSWER * self._off())
        self.now = min(MOST, max(LEAST, price))
