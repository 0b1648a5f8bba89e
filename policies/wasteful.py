"""Predictors whose loads ahead are next to never read: nothing of theirs is loaded for a while.

A circuit breaker (Nygard, "Release It!", 2007) for each source, and for each of its roles, which
stands for the predictor: predictions carry no name of who made them. Unlike the breaker of
`breakers` it answers to waste and not to failures, and it counts predictions instead of seconds, so
that a pause is as long for a quick agent as for a slow one.

Closed: loads go through, as far as they are worth it. Where of the latest `WINDOW` loads ahead
nearly none was read it opens for `FIRST_PAUSE` predictions; then `PROBES` loads go through. If one
of them is read it closes, else the pause doubles, up to `LONGEST_PAUSE`. What comes of predictions
that were *not* loaded is known as well: it closes once they come true often enough.
"""

from collections.abc import Sequence

from attrs import field

from prefetch_scheduler.policies.calibration import Group
from prefetch_scheduler.policies.values import define, frozen

WINDOW = 40
"""Loads ahead that have come to their end from which on a breaker may open."""
LEAST_USED = 0.03
"""It opens where a smaller share of them was read."""
FIRST_PAUSE = 200
LONGEST_PAUSE = 3_200
PROBES = 2
TRUE_AGAIN = 12
"""Predictions that come true, of the latest `2 x TRUE_AGAIN`, which close it."""
KEPT = 1_000
"""Breakers kept; past them the one that was made first is forgotten."""


@frozen
class HeldBack:
    """A breaker that is open."""

    source: int
    role: str
    """Empty: all of the source."""
    used: int
    """Loads ahead that were read, when it opened."""
    ended: int
    """Of so many."""
    probe_in: int
    """Predictions until some are loaded again to see; 0: now."""

    def words(self) -> str:
        """For people."""
        whose = f"its source's {self.role} items" if self.role else "its source"
        when = f"tried again in {self.probe_in} predictions" if self.probe_in else "being tried"
        return f"{self.used} of {self.ended} loads ahead of {whose} were read; {when}"


@define(eq=False)
class _Breaker:
    ended: float = 0.0
    used: float = 0.0
    pause: int = 0
    """Of the opening that lasts, in predictions; 0: it is closed."""
    left: int = 0
    """Predictions that the pause still lasts."""
    probes: int = 0
    """Loads that may still go through after the pause."""
    failed: int = 0
    """Probes that were not read."""
    true: float = 0.0
    told: float = 0.0
    """Of the latest predictions' outcomes, how many came true, and how many there were."""

    def open(self) -> None:
        self.pause = min(2 * self.pause or FIRST_PAUSE, LONGEST_PAUSE)
        self.left, self.probes, self.failed = self.pause, PROBES, 0

    def close(self) -> None:
        self.pause = self.left = self.probes = self.failed = 0
        self.ended = self.used = 0.0


@define(eq=False)
class Wasteful:
    """The breakers: of each (source, role), and of each source as `(source, "")`."""

    _breakers: dict[Group, _Breaker] = field(init=False, factory=dict)
    any_open: bool = field(init=False, default=False)

    def _of(self, who: Group) -> _Breaker:
        found = self._breakers.get(who)
        if found is None:
            found = self._breakers[who] = _Breaker()
            if len(self._breakers) > KEPT:
                del self._breakers[next(iter(self._breakers))]
        return found

    def loaded(self, who: Group, *, used: bool) -> bool:
        """A load ahead came to its end. True: that opens or closes the breaker."""
        one = self._of(who)
        was = one.pause
        if was:
            if used:
                one.close()
            else:
                one.failed += 1
                if not one.left and one.failed >= PROBES:
                    one.open()
        else:
            if one.ended >= 2 * WINDOW:
                one.ended, one.used = one.ended / 2, one.used / 2
            one.ended += 1
            one.used += used
            if one.ended >= WINDOW and one.used < LEAST_USED * one.ended:
                one.open()
                one.true = one.told = 0.0
        self._look()
        return (was > 0) != (one.pause > 0)

    def came(self, who: Group, *, true: bool) -> bool:
        """A prediction came to its end, loaded or not. True: that closes the breaker."""
        one = self._breakers.get(who) if self.any_open else None
        if one is None or not one.pause:
            return False
        if one.told >= 2 * TRUE_AGAIN:
            keep = 1 - 1 / (2 * TRUE_AGAIN)
            one.told, one.true = one.told * keep, one.true * keep
        one.told += 1
        one.true += true
        if one.true < TRUE_AGAIN:
            return False
        one.close()
        self._look()
        return True

    def holds(self, who: Group) -> bool:
        """Whether a load ahead that is about to be planned has to be left out."""
        one = self._breakers.get(who) if self.any_open else None
        if one is None or not one.pause:
            return False
        if one.left:
            one.left -= 1
            return True
        if one.probes:
            one.probes -= 1
            return False
        return True

    def _look(self) -> None:
        self.any_open = any(one.pause for one in self._breakers.values())

    def open(self) -> tuple[HeldBack, ...]:
        """Those that are open, by source and role."""
        return tuple(
            HeldBack(source, role, round(one.used), round(one.ended), one.left)
            for (source, role), one in sorted(self._breakers.items())
            if one.pause
        )

    def plain(self) -> list[tuple[Group, list[float]]]:
        """All as plain data: loads ended and used, and how long the pause is."""
        return [(who, [one.ended, one.used, one.pause]) for who, one in self._breakers.items()]

    def recall(self, who: Group, figures: Sequence[float]) -> None:
        """Take up one of what `plain` gave. One that is open begins its pause anew."""
        one = self._of(who)
        one.ended, one.used = figures[0], figures[1]
        one.pause = one.left = int(figures[2])
        one.probes = PROBES if one.pause else 0
        self._look()

    def held(self, who: Group) -> HeldBack | None:
        """What is told of one that is open; None: it is closed."""
        one = self._breakers[who]
        return HeldBack(*who, round(one.used), round(one.ended), one.left) if one.pause else None
