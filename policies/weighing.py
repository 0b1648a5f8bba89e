"""Weighs what one session may soon read: the arithmetic of one moment, for many items.

What is the same for every item of a moment (the price, the lead, what is known of the session and
its project) is looked up once: this is on the path of every prediction of every submit.
"""

from collections.abc import Mapping
from math import exp

from prefetch_scheduler.policies.calibration import Calibration, Group
from prefetch_scheduler.policies.expectations import (
    EXAMPLES_KEPT,
    INSTANCES_KEPT,
    Expectation,
    SessionExpectations,
)
from prefetch_scheduler.policies.familiar import Odds
from prefetch_scheduler.policies.read_model import MOST, ReadModel, signs
from prefetch_scheduler.policies.worth import Worth

WARM_UP = 40
"""Outcomes of a source from which on its loads are weighed; before that the specification's
thresholds decide, as for a host that has just begun."""


class Weighing:
    """One moment of one session. Nothing may be learned while it is in use.

    Args:
        known: what is known of the session.
        now: engine time in seconds.
        loads_ahead: how many loads of an item's own length go before it.
        price: seconds that a wasted token is worth.
        lead_s: mean seconds from a prediction to its read.
        odds: of the session's project.
        calibration: of stated confidences.
        models: of reads, by source.
    """

    __slots__ = (
        "_calibration",
        "_changed",
        "_known",
        "_lead_s",
        "_loads_ahead",
        "_models",
        "_now",
        "_odds",
        "_open",
        "_price",
        "_reads",
    )

    def __init__(
        self,
        known: SessionExpectations,
        now: float,
        loads_ahead: float,
        price: float,
        lead_s: float,
        odds: Odds,
        calibration: Calibration,
        models: Mapping[int, ReadModel],
    ) -> None:
        self._known, self._open = known, known.open
        self._reads, self._changed = known.reads, known.changed
        self._now, self._loads_ahead = now, loads_ahead
        self._price, self._lead_s = price, lead_s
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
            expected = self._known.expect(stored, source, self._now)
        expected.repeats = repeats = expected.repeats + 1
        if repeats <= INSTANCES_KEPT:
            expected.groups.append(group)
            expected.stated.append(stated)
        return expected

    def unasked(self, stored: str, source: int) -> Expectation:
        """Nobody predicted a key, and its loading is weighed all the same."""
        return self._known.expect(stored, source, self._now)

    def worth(
        self,
        expected: Expectation,
        stored: str,
        group: Group | None,
        stated: float,
        tokens: int,
        load_s: float,
        factor: float,
    ) -> Worth | None:
        """What loading a key ahead is worth; None while too little is known of its source.

        Args:
            expected: the key's expectation.
            stored: its cache key.
            group: whose predictions it counts with; None: nobody predicted it.
            stated: the prediction's confidence.
            tokens: its size.
            load_s: seconds that its load takes.
            factor: of the gain, by its role.
        """
        calibrated = None if group is None else self._calibration.chance(group, stated)
        repeats = expected.repeats
        shown = signs(
            calibrated,
            repeats,
            self._reads.get(stored, 0),
            stored in self._changed,
            self._odds.of(stored),
        )
        if not repeats & (repeats - 1) and len(expected.examples) < EXAMPLES_KEPT:
            expected.examples.append(shown)  # the first, second, fourth, eighth time, and so on
        model = self._models.get(expected.source)
        if model is None or model.outcomes < WARM_UP:
            return None
        # As `ReadModel.chance`, `hidden_part` and `weighed`, without calling them.
        _, s1, s2, s3, s4, s5, s6 = shown
        w0, w1, w2, w3, w4, w5, w6 = model.weights
        x = w0 + w1 * s1 + w2 * s2 + w3 * s3 + w4 * s4 + w5 * s5 + w6 * s6
        chance = 1 / (1 + exp(-x)) if -MOST < x < MOST else float(x > 0)
        lead_s, queue_s = self._lead_s, self._loads_ahead * load_s
        hidden_s = lead_s * (1 - exp(-load_s / lead_s))
        if queue_s:
            hidden_s *= exp(-queue_s / lead_s)
        price = self._price
        cost_s = (1 - chance) * tokens * price
        return Worth(chance, hidden_s, cost_s, price, chance * hidden_s * factor)
