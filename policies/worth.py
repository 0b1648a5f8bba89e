"""What loading ahead is worth: expected time hidden against expected waste at a price.

Only the expected waste is charged, since what is read would have been loaded anyway (Higgins et
al., "Informed Mobile Prefetching", 2012); all that is loaded only where spending is limited.
"""

from math import exp

from prefetch_scheduler.policies.values import define


@define
class Worth:
    """How one load ahead was weighed. Times in seconds. (Not frozen: that would take longer.)"""

    chance: float
    """Probability that it is read while its content is good."""
    hidden_s: float
    """How much of its load nobody would wait for, if it is read."""
    cost_s: float
    """Expected waste, in seconds that its tokens are worth; where spending is limited, of all that
    is expected to be loaded.
    """
    price: float
    """Seconds that one wasted token is worth, the price of spending included."""
    gain_s: float
    """What is expected of it before the cost."""

    @property
    def net_s(self) -> float:
        return self.gain_s - self.cost_s

    def words(self) -> str:
        """For people."""
        return (
            f"read with probability {self.chance:.2f}, hides {self.hidden_s:.3g} s;"
            f" worth {self.gain_s:.3g} s, cost {self.cost_s:.3g} s"
            f" at {self.price * 1000:.3g} s per 1,000 tokens"
        )


def with_worth(reason: str, worth: Worth | None) -> str:
    """A reason, and after it how it was weighed."""
    return reason if worth is None else f"{reason}: {worth.words()}"


def hidden_part(load_s: float, lead_s: float, queue_s: float) -> float:
    """Expected seconds of a load that are over when its reader comes.

    The reader comes after an exponential time of mean `lead_s`, the load begins after `queue_s`:
    the expectation of min(load, time left for it).
    """
    if lead_s <= 0:
        return 0.0
    hidden = lead_s * (1 - exp(-load_s / lead_s))
    return hidden * exp(-queue_s / lead_s) if queue_s else hidden


def weighed(
    chance: float,
    hidden_s: float,
    tokens: float,
    price: float,
    factor: float,
    *,
    wasted: float | None = None,
    spend: float = 0.0,
    forfeit: float = 0.0,
) -> Worth:
    """The worth of one load ahead.

    Args:
        chance: probability of a read, 0..1.
        hidden_s: see `hidden_part`.
        tokens: its size.
        price: seconds that one wasted token is worth.
        factor: of the gain, by the item's role.
        wasted: tokens that it comes to if nobody reads it; None: its size.
        spend: seconds that a token loaded ahead is worth, read or not.
        forfeit: what is wasted costs this share at least of what it would have hidden.
    """
    gain_s = chance * hidden_s * factor
    waste = (1 - chance) * (tokens if wasted is None else wasted)
    cost_s = waste * (price + spend) + chance * tokens * spend
    if forfeit:
        cost_s = max(cost_s, (1 - chance) * hidden_s * factor * forfeit)
    return Worth(chance, hidden_s, cost_s, price + spend, gain_s)
