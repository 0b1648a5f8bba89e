"""What stated confidences were worth: how often what was predicted so was really read.

Counts are kept for each source, role and named predictor, in bins of the stated confidence, and
faded so that a predictor may become better or worse. A bin with few outcomes leans on the same bin
of all groups together, and that one on what was stated: two levels of a Beta prior.
"""

from collections import OrderedDict
from math import exp, log

from attrs import field

from prefetch_scheduler.policies.prediction import predictor_fault
from prefetch_scheduler.policies.values import define, frozen
from prefetch_scheduler.policies.vocabulary import Role

_ROLES = frozenset(Role)

BINS = 20
"""So many that predictors whose confidences are close together are told apart."""
PRIOR = 10.0
"""Outcomes that a prior counts for."""
MEMORY = 400.0
"""Outcomes of a bin at which all of its counts are halved."""
GROUPS_KEPT = 500

LEAST_ODDS = 0.005 / 0.995
_LEAST = log(LEAST_ODDS)

Group = tuple[int, str]
"""(source, whose predictions): their role, and where it has a name their predictor."""


def whose(role: str, predictor: str) -> str:
    """The second part of a group."""
    return f"{role} by {predictor}" if predictor else role


def is_whose(text: str) -> bool:
    """Whether that is what `whose` may have given."""
    role, _, predictor = text.partition(" by ")
    return role in _ROLES and not predictor_fault(predictor)


@define
class _Bin:
    count: float = 0.0
    stated: float = 0.0
    read: float = 0.0

    def add(self, stated: float, read: float, times: float) -> None:
        self.count += times
        self.stated += stated * times
        self.read += read * times
        if self.count > MEMORY:
            self.count, self.stated, self.read = self.count / 2, self.stated / 2, self.read / 2


def bin_of(stated: float) -> int:
    """Which of the ten bins a stated confidence falls into."""
    return min(BINS - 1, int(stated * BINS))


@frozen
class Reliability:
    """One line of a reliability table."""

    source: int
    role: str
    stated: float
    """Mean of the confidences stated."""
    true: float
    """Share of them that were read while the content was good."""
    count: int
    """Outcomes that it rests on, older ones faded."""


def _bins() -> list[_Bin]:
    return [_Bin() for _ in range(BINS)]


@define(eq=False)
class Calibration:
    """Stated confidence -> probability of a read, learned from outcomes."""

    _all: list[_Bin] = field(init=False, factory=_bins)
    _groups: "OrderedDict[Group, list[_Bin]]" = field(init=False, factory=OrderedDict)

    def chance(self, group: Group, stated: float) -> float:
        """The probability that an item stated so is read while its content is good."""
        return 1 / (1 + exp(-self.odds(group, stated)))

    def odds(self, group: Group, stated: float) -> float:
        """Its log odds, kept away from certainty as by `logit`."""
        place = int(stated * BINS) if stated < 1 else BINS - 1
        every = self._all[place]
        read = PRIOR * (every.read + PRIOR * stated) / (every.count + PRIOR)
        count = PRIOR
        bins = self._groups.get(group)
        if bins is not None:
            own = bins[place]
            read += own.read
            count += own.count
        missed = count - read
        if read < LEAST_ODDS * missed:
            return _LEAST
        return log(read / missed) if missed > LEAST_ODDS * read else -_LEAST

    def observe(self, group: Group, stated: float, *, read: bool, times: int = 1) -> None:
        """What was predicted so, so many times, was read, or came to its end unread."""
        bins = self._groups.get(group)
        if bins is None:
            bins = self._groups[group] = _bins()
            if len(self._groups) > GROUPS_KEPT:
                self._groups.popitem(last=False)
        place = bin_of(stated)
        bins[place].add(stated, read, times)
        self._all[place].add(stated, read, times)

    def table(self) -> tuple[Reliability, ...]:
        """Every bin that has outcomes, by source, role and confidence."""
        return tuple(
            Reliability(
                source, role, each.stated / each.count, each.read / each.count, round(each.count)
            )
            for (source, role), bins in sorted(self._groups.items())
            for each in bins
            if each.count >= 1
        )

    def plain(self) -> list[tuple[Group, list[float]]]:
        """All groups as plain data: count, stated and read of each bin."""
        return [
            (group, [v for b in bins for v in (b.count, b.stated, b.read)])
            for group, bins in self._groups.items()
        ]

    def recall(self, group: Group, figures: list[float], where: str) -> None:
        """Take up one group of what `plain` gave; `where` names it in the error.

        Raises:
            ValueError: the figures of a bin do not fit together.
        """
        bins = _bins()
        for place, one in enumerate(bins):
            one.count, one.stated, one.read = figures[3 * place : 3 * place + 3]
            if max(one.stated, one.read) > one.count + 1e-6 or one.count > 2 * MEMORY:
                raise ValueError(f"{where}: bin {place} does not fit together")
            every = self._all[place]
            every.count += one.count
            every.stated += one.stated
            every.read += one.read
            if every.count > MEMORY:
                fade = MEMORY / every.count
                every.count *= fade
                every.stated *= fade
                every.read *= fade
        self._groups[group] = bins
