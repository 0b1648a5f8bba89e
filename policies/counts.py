"""The numbers that are counted, and the rates made of them (decisions D34 to D39).

Denominators:

- `hit_rate`: hits + late hits + joined + misses (D36). A late hit is not a hit.
- `accuracy`: all prefetches (the specification's formula). `accuracy_ended`: only those that have
  ended, so that a prefetch still under way, or resident and not yet read, speaks for nothing.
  Alerts use `accuracy_ended`; once all have ended the two are equal.
- `efficiency`: tokens prefetched. `wasted_fraction`: tokens prefetched, and by count prefetches.
- `wasted_of_budget`: tokens granted to the plans (D38), which alerts use.

Failed prefetches brought nothing: their tokens (the estimate) are neither used nor wasted.
"""

import attrs
from attrs import Factory

from prefetch_scheduler.policies.values import define

MAX_DAYS = 31
"""Calendar days for which the time saved is kept."""


def ratio(part: float, whole: float) -> float | None:
    """`part / whole`, or None where there was nothing to count (decision D39)."""
    return part / whole if whole else None


@define
class Counts:
    """Sums of one session, or of the whole engine. Tokens, seconds, or plain numbers of events."""

    prefetches: int = 0
    used: int = 0
    wasted: int = 0
    cancelled: int = 0
    failed: int = 0

    tokens_prefetched: int = 0
    tokens_used: int = 0
    tokens_wasted: int = 0
    """Of prefetches that were wasted or cancelled."""
    tokens_failed: int = 0

    hits: int = 0
    late_hits: int = 0
    joined: int = 0
    misses: int = 0
    missed_unpredicted: int = 0
    """Misses and joined reads of keys that had not been predicted."""
    missed_predicted: int = 0

    stale_served: int = 0
    """Reads that got content past its age, as its source allows; each is a hit or a miss too."""

    demand_loads: int = 0
    tokens_demand_loaded: int = 0
    demand_load_s: float = 0.0

    predicted: int = 0
    """Keys predicted, counted again in each set of predictions."""
    accurate: int = 0
    """Prefetches of predicted keys that were used."""
    inaccurate: int = 0
    """Prefetches by prediction that were wasted or cancelled."""
    unloadable: int = 0
    """Prefetches by prediction that failed."""

    budget_granted: int = 0
    p0_not_resident: int = 0
    latency_saved_s: float = 0.0

    causes: dict[str, int] = Factory(dict)
    """Prefetches by what started them."""
    removals: dict[str, int] = Factory(dict)
    """Entries that left the cache, and prefetches given up unread, by `RemovalCause`."""
    dropped: dict[str, int] = Factory(dict)
    days: dict[int, float] = Factory(dict)
    """Latency saved in seconds by ordinal of the local calendar day; the newest `MAX_DAYS`."""

    @property
    def ended(self) -> int:
        """Prefetches that have come to one of the four endings."""
        return self.used + self.wasted + self.cancelled + self.failed

    @property
    def reads(self) -> int:
        return self.hits + self.late_hits + self.joined + self.misses

    @property
    def hit_rate(self) -> float | None:
        return ratio(self.hits, self.reads)

    @property
    def accuracy(self) -> float | None:
        return ratio(self.used, self.prefetches)

    @property
    def accuracy_ended(self) -> float | None:
        return ratio(self.used, self.ended)

    @property
    def efficiency(self) -> float | None:
        return ratio(self.tokens_used, self.tokens_prefetched)

    @property
    def wasted_fraction(self) -> float | None:
        return ratio(self.tokens_wasted, self.tokens_prefetched)

    @property
    def wasted_fraction_count(self) -> float | None:
        return ratio(self.wasted + self.cancelled, self.prefetches)

    @property
    def wasted_of_budget(self) -> float | None:
        return ratio(self.tokens_wasted, self.budget_granted)

    def save_time(self, seconds: float, day: int) -> None:
        """Credit hidden latency of `seconds` to the session and to a calendar day."""
        self.latency_saved_s += seconds
        self.days[day] = self.days.get(day, 0.0) + seconds
        self._forget_old_days()

    def add(self, other: "Counts") -> None:
        """Add all of another's figures to these."""
        for name in NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in TABLES:
            mine = getattr(self, name)
            for word, number in getattr(other, name).items():
                mine[word] = mine.get(word, 0) + number
        self._forget_old_days()

    def copy(self) -> "Counts":
        """A copy that later events do not change."""
        copied = Counts()
        copied.add(self)
        return copied

    def _forget_old_days(self) -> None:
        while len(self.days) > MAX_DAYS:
            del self.days[min(self.days)]


TABLES = ("causes", "removals", "dropped", "days")
NUMBERS = tuple(field.name for field in attrs.fields(Counts) if field.name not in TABLES)


def bump(table: dict[str, int], name: str, by: int = 1) -> None:
    """Add to one count of a table."""
    table[name] = table.get(name, 0) + by
