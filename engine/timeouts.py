"""How long a host is willing to wait, checked before anything is done."""

from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.figures import is_number, shown

LONGEST_S = 4_000_000.0
"""Longest wait in seconds: about 46 days, which every platform's locks still take."""


def checked_timeout(seconds: object) -> float:
    """The time-out as a float of at most `LONGEST_S`; infinity means that.

    Raises:
        InvalidPrediction: it is no number of at least 0.
    """
    # NaN is not at least anything; a whole number of any length can be compared.
    if isinstance(seconds, int | float) and is_number(seconds) and seconds >= 0:
        return float(min(seconds, LONGEST_S))
    raise InvalidPrediction(
        f"timeout: {shown(seconds)} is not a number of seconds of at least 0"
        " (infinity: as long as can be)"
    )
