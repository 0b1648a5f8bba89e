"""What became of each key in a session: the report's lists, and feedback to the predictor.

A key stands in one list only, by its latest outcome; each list keeps its newest keys. The exact
totals are in `Counts`.
"""

from collections import OrderedDict
from collections.abc import Iterable
from enum import StrEnum, auto

from attrs import field

from prefetch_scheduler.policies.values import define, frozen

MAX_PREDICTED = 1000
"""Predicted keys remembered for each session, the most recently predicted ones."""
MAX_REASON = 300
"""Characters kept of a reason; an error's text may be of any length."""


class Verdict(StrEnum):
    """The list in which a key stands."""

    ACCURATE = auto()  # predicted, prefetched and used
    MISSED = auto()  # needed, and not there
    WASTED = auto()  # predicted, and not used
    FAILED = auto()  # predicted, and could not be loaded


@frozen
class Outcome:
    """The latest that is known of a key."""

    key: str
    predicted: bool
    used: bool
    """Whether a reader asked for it."""
    reason: str = ""

    def to_dict(self) -> dict[str, object]:
        return {
            "key": self.key,
            "predicted": self.predicted,
            "used": self.used,
            "reason": self.reason,
        }


@frozen
class PredictedKey:
    """A key that was predicted, and whether it was then read."""

    key: str
    used: bool


def clip(reason: str) -> str:
    """A reason of bounded length."""
    return reason if len(reason) <= MAX_REASON else f"{reason[: MAX_REASON - 1]}…"


@define(eq=False)
class KeyOutcomes:
    """The bounded lists of one session, or of the whole engine."""

    limit: int
    """Keys kept in each list."""
    _lists: dict[Verdict, OrderedDict[str, Outcome]] = field(init=False)
    _predicted: OrderedDict[str, bool] = field(init=False, factory=OrderedDict)

    @_lists.default
    def _empty(self) -> dict[Verdict, OrderedDict[str, Outcome]]:
        return {verdict: OrderedDict() for verdict in Verdict}

    def predict(self, keys: Iterable[str]) -> None:
        """These keys were predicted; what is known of those read already stays."""
        predicted = self._predicted
        for key in keys:
            if key in predicted:
                predicted.move_to_end(key)
            else:
                predicted[key] = False
        while len(predicted) > MAX_PREDICTED:
            predicted.popitem(last=False)

    def was_predicted(self, key: str) -> bool:
        return key in self._predicted

    def read(self, key: str) -> None:
        """A reader asked for the key, and so a prediction of it was right."""
        if key in self._predicted:
            self._predicted[key] = True

    def record(self, verdict: Verdict, outcome: Outcome) -> None:
        """The latest outcome of a key, in place of an earlier one."""
        for listed in self._lists.values():
            listed.pop(outcome.key, None)
        newest = self._lists[verdict]
        newest[outcome.key] = outcome
        if len(newest) > self.limit:
            newest.popitem(last=False)
        if outcome.key in self._predicted:
            self._predicted[outcome.key] = outcome.used

    def latest(self, verdict: Verdict) -> tuple[Outcome, ...]:
        """One list, newest first."""
        return tuple(reversed(self._lists[verdict].values()))

    def predictions(self) -> tuple[PredictedKey, ...]:
        """The predicted keys, the most recently predicted first."""
        return tuple(PredictedKey(key, used) for key, used in reversed(self._predicted.items()))

    def sizes(self) -> tuple[int, ...]:
        """Length of each bounded collection, for checks."""
        return (*(len(listed) for listed in self._lists.values()), len(self._predicted))
