"""What the default policy has learned, as it is reported."""

from prefetch_scheduler.policies.calibration import Reliability
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.wasteful import HeldBack


@frozen
class LearnedFigures:
    """One moment of `Learning`."""

    price: float
    """Seconds that a wasted token is worth."""
    promised: float
    """Share of prefetched tokens that may be wasted."""
    wasted: float | None
    """The share of those that ended lately that was; None: too few have."""
    kept: bool
    """False: waste is far above what was promised, or above it with the price at its highest."""
    least_chance: float
    """Probability of a read below which nothing is loaded ahead; above 0 only where it is not kept,
    or hardly.
    """
    lead_s: float
    """Mean seconds from a prediction to its read."""
    reliability: tuple[Reliability, ...]
    """Stated confidences against how often they came true."""
    spend_promised: float | None = None
    """Tokens that may be loaded ahead for each one that the specification's thresholds would load;
    None: it is not limited.
    """
    spend_lately: float | None = None
    """How many were, of late; None: too few."""
    held_back: tuple[HeldBack, ...] = ()
    """Sources and roles of which nothing is loaded ahead, since next to nothing of it was read."""
    sources: tuple[str, ...] = ()
    """The names of the sources, by the numbers that stand above."""
