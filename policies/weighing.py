"""Weighs what one session may soon read: the arithmetic of one moment, for many items.

What is the same for every item of a moment (the price, the lead, what is known of the session and
its project) is looked up once: this is on the path of every prediction of every submit.
"""

from collections.abc import Mapping
from math import exp, log, log1p

from prefetch_scheduler.policies.calibration import Calibration, Group
from prefetch_scheduler.policies.expectations import (
    EXAMPLES_KEPT,
    Expectation,
    SessionExpectations,
    Why,
)
from prefetch_scheduler.policies.familiar import Odds
from prefetch_scheduler.policies.places import Places
from prefetch_scheduler.policies.price import MIDDLE
from prefetch_scheduler.policies.read_model import MOST, NOTHING, OfKey, ReadModel, Signs, signs
from prefetch_scheduler.policies.worth import Worth, hidden_part, weighed

WARM_UP = 40
"""Outcomes of a source from which on its loads are weighed; before that the specification's
thresholds decide, as for a host that has just begun."""

LEAST_LEAD_S = 1e-3
_PREDICTED = Why.PREDICTED
_PREDICTED_NUMBER: int = Why.PREDICTED.value
_UNTAUGHT = ReadModel()


_Case = tuple[int, OfKey, int, float, float]
"""The source, what is known of the key, its tokens and seconds, the factor of the gain."""


class _Stated:
    """What is the same for all keys of a moment of which a group states one confidence."""

    __slots__ = ("firsts", "groups", "odds", "stated")

    def __init__(self, group: Group, stated: float, odds: float) -> None:
        self.groups, self.stated = (group,), (stated,)
        self.odds = odds
        self.firsts: dict[_Case, tuple[tuple[tuple[int, Signs], ...], Worth | None]] = {}
        """Of keys that are predicted for the first time the examples and the worth: many are new,
        and differ in nothing but their names."""


_Law = tuple[ReadModel | None, float, float, float, float, float, float, float, float]
"""What is the same for all items of a moment that one source would load: the model where what is
weighed has to be looked at more closely, the weights, the law of wasted sizes.
"""


class Weighing:
    """One moment of one session. Nothing may be learned while it is in use.

    Args:
        known: what is known of the session.
        now: engine time in seconds.
        loads_ahead: how many loads of an item's own length go before it.
        price: seconds that a wasted token is worth.
        spend: seconds that a token loaded ahead is worth, read or not.
        least_chance: what is less likely is not worth loading, whatever it would hide.
        lead_s: mean seconds from a prediction to its read.
        odds: of the session's project.
        places: of keys and folders.
        calibration: of stated confidences.
        models: of reads, by why they are expected, and by source.
    """

    __slots__ = (
        "_calibration",
        "_changes",
        "_forfeit",
        "_known",
        "_laws",
        "_lead_s",
        "_loads_ahead",
        "_models",
        "_now",
        "_odds",
        "_of_place",
        "_open",
        "_places",
        "_predicted",
        "_price",
        "_spend",
        "_stated",
    )

    def __init__(
        self,
        known: SessionExpectations,
        now: float,
        loads_ahead: float,
        price: float,
        spend: float,
        least_chance: float,
        lead_s: float,
        odds: Odds,
        places: Places,
        calibration: Calibration,
        models: Mapping[Why, Mapping[int, ReadModel]],
    ) -> None:
        self._known, self._open = known, known.open
        self._now, self._loads_ahead = now, loads_ahead
        self._price, self._lead_s = price, max(LEAST_LEAD_S, lead_s)
        self._spend, self._forfeit = spend, least_chance / (1 - least_chance)
        self._stated: dict[Group, dict[float, _Stated]] = {}
        self._of_place: dict[float, OfKey] = {0.0: NOTHING}
        self._laws: dict[int, _Law] = {}
        self._predicted = models[_PREDICTED]
        self._places, self._changes = places, log1p(known.changes)
        self._odds, self._calibration, self._models = odds, calibration, models

    def predicted(self, stored: str, source: int, group: Group, stated: float) -> Expectation:
        """A key was predicted, whatever becomes of it.

        Args:
            stored: its cache key.
            source: who would load it.
            group: whose predictions it counts with.
            stated: the confidence.
        """
        expected = self._open.get(stored)
        if expected is None:
            expected = self._opened(stored, source)
        expected.repeats = repeats = expected.repeats + 1
        if repeats == 1:
            told = self._told(group, stated)
            expected.groups, expected.stated = told.groups, told.stated
        elif not repeats & (repeats - 1):  # as for `examples`: what is said again is no news
            expected.groups += (group,)
            expected.stated += (stated,)
        return expected

    def _opened(self, stored: str, source: int) -> Expectation:
        """A new expectation, with what is known of its key for as long as it lasts."""
        expected = self._known.expect(stored, source, self._now)
        reads = self._known.reads.get(stored, 0)
        odds = self._places.odds(stored)
        if reads:  # only what was read is known to have changed since
            expected.of_key = (log1p(reads), float(stored in self._known.changed), odds)
        else:
            known = self._of_place.get(odds)
            expected.of_key = known or self._of_place.setdefault(odds, (0.0, 0.0, odds))
        return expected

    def _told(self, group: Group, stated: float) -> _Stated:
        known = self._stated.get(group)
        if known is None:
            known = self._stated[group] = {}
        told = known.get(stated)
        if told is None:
            odds = self._calibration.odds(group, stated)
            told = known[stated] = _Stated(group, stated, odds)
        return told

    def unasked(
        self, stored: str, source: int, tokens: int, load_s: float, factor: float
    ) -> Worth | None:
        """What loading a key ahead that nobody predicted is worth; None while too little is known.

        Args:
            stored: its cache key.
            source: who would load it.
            tokens: its size.
            load_s: seconds that its load takes.
            factor: of the gain.
        """
        expected = self._open.get(stored) or self._opened(stored, source)
        why = Why.READ_BEFORE if expected.of_key[0] else Why.FAMILIAR
        shown = signs(self._odds.of(stored), 0, expected.of_key, self._changes)
        if len(expected.examples) < EXAMPLES_KEPT:
            expected.examples += ((why.value, shown),)
        model = self._models[why].get(source) or _UNTAUGHT
        hidden_s = hidden_part(load_s, self._lead_s, self._loads_ahead * load_s)
        return self._weighed(model, model.chance(shown), hidden_s, tokens, factor)

    def _weighed(
        self, model: ReadModel, chance: float, hidden_s: float, tokens: int, factor: float
    ) -> Worth | None:
        """What is charged: the expected waste at its price, and where spending is limited all that
        is expected to be loaded at the price of that.

        While too little is known, waste is charged only as far as it is dearer than usual: what
        that allows is left to the thresholds.
        """
        price, spend, early = self._price, self._spend, model.outcomes < WARM_UP
        if early:
            price = max(0.0, price - MIDDLE)
            if not (price or spend or self._forfeit):
                return None
        wasted = model.waste.level * tokens**model.waste.power
        worth = weighed(
            chance,
            hidden_s,
            tokens,
            price,
            factor,
            wasted=wasted,
            spend=spend,
            forfeit=self._forfeit,
        )
        return None if early and worth.net_s > 0 else worth

    def of(self, stored: str) -> Expectation:
        """What a key's read is expected by; it must have been weighed or predicted before."""
        return self._open[stored]

    def loaded_ahead(self, stored: str) -> bool:
        """Whether it was loaded ahead for this session and has not been read."""
        return stored in self._known.unread

    def worth(
        self,
        expected: Expectation,
        group: Group,
        stated: float,
        tokens: int,
        load_s: float,
        factor: float,
    ) -> Worth | None:
        """What loading a predicted key ahead is worth; None while too little is known.

        Args:
            expected: the key's expectation.
            group: whose predictions it counts with.
            stated: the prediction's confidence.
            tokens: its size.
            load_s: seconds that its load takes.
            factor: of the gain, by its role.
        """
        told = self._told(group, stated)
        if expected.repeats > 1 or expected.examples:
            return self._worth(expected, told, tokens, load_s, factor)
        case = expected.source, expected.of_key, tokens, load_s, factor
        known = told.firsts.get(case)
        if known is None:
            worth = self._worth(expected, told, tokens, load_s, factor)
            told.firsts[case] = expected.examples, worth
            return worth
        expected.examples, worth = known
        return worth

    def _worth(
        self, expected: Expectation, told: _Stated, tokens: int, load_s: float, factor: float
    ) -> Worth | None:
        # As `signs`, `ReadModel.chance`, `hidden_part` and `_weighed`, without calling them, and
        # with what is the same for items of one source kept for the next one.
        repeats, s1 = expected.repeats, told.odds
        s2 = log(repeats) if repeats > 1 else 0.0
        s3, s4, s5 = expected.of_key
        if not repeats & (repeats - 1) and len(expected.examples) < EXAMPLES_KEPT:
            # The first, second, fourth, eighth time, and so on.
            shown = (1.0, s1, s2, s3, s4, s5, self._changes)
            expected.examples += ((_PREDICTED_NUMBER, shown),)
        law = self._laws.get(expected.source) or self._law(expected.source)
        model, bias, w1, w2, w3, w4, w5, level, power = law
        x = bias + w1 * s1 + w2 * s2 + w3 * s3 + w4 * s4 + w5 * s5
        chance = 1 / (1 + exp(-x)) if -MOST < x < MOST else float(x > 0)
        lead_s, queue_s = self._lead_s, self._loads_ahead * load_s
        hidden_s = lead_s * (1 - exp(-load_s / lead_s))
        if queue_s:
            hidden_s *= exp(-queue_s / lead_s)
        if model is not None:  # spending is limited, a promise broken, or too little known
            return self._weighed(model, chance, hidden_s, tokens, factor)
        price = self._price
        waste = level * tokens**power
        return Worth(
            chance, hidden_s, (1 - chance) * waste * price, price, chance * hidden_s * factor
        )

    def _law(self, source: int) -> _Law:
        """What is the same for all items of a source that were predicted."""
        model = self._predicted.get(source) or _UNTAUGHT
        w0, w1, w2, w3, w4, w5, w6 = model.weights
        limited = self._spend or self._forfeit
        special = model if limited or model.outcomes < WARM_UP else None
        waste, bias = model.waste, w0 + w6 * self._changes
        law = self._laws[source] = special, bias, w1, w2, w3, w4, w5, waste.level, waste.power
        return law
