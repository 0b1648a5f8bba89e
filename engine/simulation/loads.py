"""What a load takes in a simulation: as it was recorded, or drawn for each key."""

import math
from hashlib import blake2b
from statistics import NormalDist
from typing import Protocol

from attrs import field

from prefetch_scheduler.engine.recorded_loads import LoadCost, RecordedLoads
from prefetch_scheduler.engine.recording_events import RecordedSession
from prefetch_scheduler.policies.values import frozen

SHORTEST_S, LONGEST_S = 0.01, 30.0
"""Drawn load times are clipped to these."""

_MOST_EXPONENT = 700.0
"""Of e, as a float: times beyond are far past the longest anyway."""
_NORMAL = NormalDist()


class Loads(Protocol):
    """What each load of one session takes."""

    def cost(self, key: str) -> LoadCost:
        """Seconds and tokens of loading `key`; the same in every run."""


@frozen
class AsRecorded:
    """A load takes what the key's first access in the session recorded."""

    def of(self, session: RecordedSession) -> Loads:
        return RecordedLoads.of(session)

    def __str__(self) -> str:
        return "recorded"


@frozen
class Lognormal:
    """Seconds are drawn for each key, the same in all sessions; tokens are as recorded.

    Args:
        median_s: the median load time in seconds.
        sigma: standard deviation of its natural logarithm.
        seed: another seed draws other times.

    Raises:
        ValueError: `median_s` is not above 0, `sigma` is negative, or one is not finite.
    """

    median_s: float = field()
    sigma: float = field()
    seed: int = 0

    @median_s.validator
    def _median(self, _: object, value: float) -> None:
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"the median must be a number above 0 (seconds), got {value:g}")

    @sigma.validator
    def _sigma(self, _: object, value: float) -> None:
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"sigma must be a number of at least 0, got {value:g}")

    def of(self, session: RecordedSession) -> Loads:
        return _Drawn(self, RecordedLoads.of(session))

    def seconds(self, key: str) -> float:
        """The load time drawn for a key."""
        mixed = f"{self.seed}\0{key}".encode("utf-8", "surrogatepass")
        number = int.from_bytes(blake2b(mixed, digest_size=8).digest(), "big") >> 12
        level = _NORMAL.inv_cdf((number + 0.5) / 2**52)  # exact, so never 0 or 1
        factor = math.exp(min(self.sigma * level, _MOST_EXPONENT))
        return min(max(self.median_s * factor, SHORTEST_S), LONGEST_S)

    def __str__(self) -> str:
        return f"lognormal:{self.median_s!r},{self.sigma!r}"


@frozen
class _Drawn:
    """One session's loads with drawn times."""

    law: Lognormal
    recorded: RecordedLoads
    _known: dict[str, LoadCost] = field(init=False, factory=dict)

    def cost(self, key: str) -> LoadCost:
        found = self._known.get(key)
        if found is None:
            tokens = self.recorded.cost(key).tokens
            found = self._known[key] = LoadCost(self.law.seconds(key), tokens)
        return found


LoadLaw = AsRecorded | Lognormal


def load_law(text: str, seed: int) -> LoadLaw:
    """The law that `--load` names: `recorded`, or `lognormal:MEDIAN_S,SIGMA`.

    Raises:
        ValueError: it is neither, or a number is out of range.
    """
    if text == "recorded":
        return AsRecorded()
    name, _, numbers = text.partition(":")
    median, comma, sigma = numbers.partition(",")
    if name == "lognormal" and comma:
        try:
            figures = float(median), float(sigma)
        except ValueError:
            pass
        else:
            return Lognormal(*figures, seed)
    raise ValueError(f"{text!r} is neither recorded nor lognormal:MEDIAN_S,SIGMA")
