"""The probability that what is not resident will be read while its content is good.

Calibrated confidence is one sign of it. Others are what the session itself shows: how often the
key was predicted in vain, read and changed, and how much was written so far; and how often
predictions of the key and of its folder came true before.
They are weighed by a logistic regression that learns online, from every prediction that comes to
an end and not only from those that were loaded. Source: McMahan and Streeter, "Adaptive Bound
Optimization for Online Convex Optimization" (2010), for the step sizes (AdaGrad).
"""

from math import exp, log, sqrt

from attrs import field

from prefetch_scheduler.policies.values import define
from prefetch_scheduler.policies.waste_size import WasteSize

STEP = 0.08
STEADY_STEP = 0.03
"""From `SETTLED` outcomes on. The unread of a session come to their end at once, with it: larger
steps would follow each session instead of what they have in common.
"""
SETTLED = 400
MOST = 30.0

Signs = tuple[float, float, float, float, float, float, float]
"""Always 1; logit; repeats; reads; changed; place; changes. See `signs`."""

OfKey = tuple[float, float, float]
"""Of a key: logarithm of one more than the session's reads of it; whether it has changed since the
last of these; log odds that a prediction of it comes true, above what is usual (`places`)."""

NOTHING: OfKey = (0.0, 0.0, 0.0)
"""Of a key that was neither read nor changed, and of whose place nothing is known."""

PRIOR_WEIGHTS = (0.0, 0.7, -0.1, 0.05, 0.5, 0.6, -0.2)
"""What is believed before anything was learned: the logit is right."""
_LOGIT = 1
LEAST_TRUST = 0.2
"""Least weight of the logit. It is learned beside this model, and moves under it: were its weight
to turn, what was found unlikely would count as likely."""
FIRST_SESSIONS = -1.5
"""Familiarity, as a logit, of what no session has read yet."""


_LEAST = log(0.005 / 0.995)


def logit(chance: float) -> float:
    """Log odds, kept away from certainty."""
    if chance < 0.005:
        return _LEAST
    return log(chance / (1 - chance)) if chance < 0.995 else -_LEAST


def signs(odds: float, repeats: int, of_key: OfKey, changes: float) -> Signs:
    """What is known of an item when its loading is decided.

    Args:
        odds: log odds of a read: of what was predicted, by its calibrated confidence; of the rest,
            those that a session of its project reads it.
        repeats: predictions of it in a row since it was last read or changed.
        of_key: see `OfKey`.
        changes: logarithm of one more than the changes that the session has seen: who writes reads
            less that is new.
    """
    return (
        1.0,
        odds,
        log(repeats) if repeats > 1 else 0.0,
        *of_key,
        changes,
    )


@define(eq=False)
class ReadModel:
    """Weighs signs. One for each source, since what is read of files says little of skills, and for
    each reason to expect a read.
    """

    weights: list[float] = field(factory=lambda: list(PRIOR_WEIGHTS))
    squares: list[float] = field(factory=lambda: [1.0] * len(PRIOR_WEIGHTS))
    outcomes: int = 0
    """What it has learned from."""
    waste: WasteSize = field(factory=WasteSize)
    """How large its loads ahead are that nobody reads."""

    def chance(self, s: Signs) -> float:
        """Probability of a read, 0..1."""
        w0, w1, w2, w3, w4, w5, w6 = self.weights
        _, s1, s2, s3, s4, s5, s6 = s
        x = w0 + w1 * s1 + w2 * s2 + w3 * s3 + w4 * s4 + w5 * s5 + w6 * s6
        return 1 / (1 + exp(-x)) if -MOST < x < MOST else float(x > 0)

    def learn(self, s: Signs, *, read: bool) -> None:
        """An item with these signs was read, or came to its end unread."""
        self.outcomes += 1
        error = self.chance(s) - read
        step = STEP if self.outcomes <= SETTLED else STEADY_STEP
        for place, sign in enumerate(s):
            if sign:
                slope = error * sign
                self.squares[place] += slope * slope
                self.weights[place] -= step * slope / sqrt(self.squares[place])
        self.weights[_LOGIT] = max(LEAST_TRUST, self.weights[_LOGIT])
