"""The prefetch ledger: each prefetch started ends as exactly one of four (decision D34).

Open records are running, or resident and unread. An ended record stays for a while, so that a
second ending is known for what it is, and a size that arrives late still corrects its tokens.
Reports come from several actors: what is said of a prefetch may arrive before its start, and then
waits for it.
"""

import math
from collections import Counter, OrderedDict
from enum import StrEnum, auto

from attrs import field

from prefetch_scheduler.policies.account import Ending, Prefetch
from prefetch_scheduler.policies.counts import Counts
from prefetch_scheduler.policies.metrics_events import PrefetchEnding, PrefetchLoaded
from prefetch_scheduler.policies.numbered import Numbered
from prefetch_scheduler.policies.values import define

RECENT = 4096
"""Of so many numbers in a row the ended prefetches are remembered."""
EARLY = 256
"""Prefetches not yet started of which something was reported already."""
EARLY_EACH = 3


class Anomaly(StrEnum):
    """Reports that contradict one another, or come out of order. They are counted."""

    STARTED_TWICE = auto()
    ENDED_TWICE = auto()
    LOADED_TWICE = auto()
    LOADED_AFTER_FAILURE = auto()
    BEFORE_START = auto()  # an ending or a size of a prefetch that is not known, or not yet
    NEVER_ENDED = auto()  # more prefetches open than can be: the oldest was settled as wasted
    OUT_OF_RANGE = auto()  # a negative or not finite number, taken as 0
    UNKNOWN_SESSION = auto()  # a session closed that had not been seen


@define(eq=False)
class Ledger:
    """All prefetches that can still change."""

    open_limit: int
    anomalies: Counter[Anomaly] = field(init=False, factory=Counter)
    _open: OrderedDict[int, Prefetch] = field(init=False, factory=OrderedDict)
    _recent: Numbered[Prefetch] = field(init=False, factory=lambda: Numbered(RECENT))
    _early: OrderedDict[int, list[PrefetchLoaded | PrefetchEnding]] = field(
        init=False, factory=OrderedDict
    )

    def start(self, prefetch: Prefetch) -> bool:
        """Open a record. False: its number is taken, nothing was done."""
        if prefetch.id in self._open or prefetch.id in self._recent:
            self.anomalies[Anomaly.STARTED_TWICE] += 1
            return False
        self._open[prefetch.id] = prefetch
        return True

    def reported_early(self, id_: int) -> list[PrefetchLoaded | PrefetchEnding]:
        """What was reported of this prefetch before its start; handed out once."""
        return self._early.pop(id_, [])

    def overdue(self) -> Prefetch | None:
        """The oldest open record, where there are more than `open_limit`."""
        return next(iter(self._open.values())) if len(self._open) > self.open_limit else None

    def end(self, event: PrefetchEnding, ending: Ending) -> Prefetch | None:
        """Close a record, with its ending set. None: it had ended, or has not started yet."""
        prefetch = self._open.pop(event.id, None)
        if prefetch is not None:
            prefetch.ending = ending
            self._recent[event.id] = prefetch
        elif event.id in self._recent:
            self.anomalies[Anomaly.ENDED_TWICE] += 1
        else:
            self._wait_for_start(event)
        return prefetch

    def loaded(self, event: PrefetchLoaded) -> Prefetch | None:
        """The record that was loaded, open or lately ended. None: the report changes nothing."""
        prefetch = self._open.get(event.id) or self._recent.get(event.id)
        if prefetch is None:
            self._wait_for_start(event)
        elif prefetch.load_s is not None:
            self.anomalies[Anomaly.LOADED_TWICE] += 1
        elif prefetch.ending is Ending.FAILED:
            self.anomalies[Anomaly.LOADED_AFTER_FAILURE] += 1
        else:
            return prefetch
        return None

    def open(self, counts: Counts | None = None) -> tuple[int, int]:
        """`(number, tokens)` of the open prefetches, of all or of those that `counts` counts."""
        tokens = [
            p.tokens for p in self._open.values() if counts is None or p.account.counts is counts
        ]
        return len(tokens), sum(tokens)

    def sizes(self) -> tuple[int, int, int]:
        """How many records are open, ended lately, and waited for."""
        return len(self._open), len(self._recent), len(self._early)

    def whole(self, number: int) -> int:
        """A count or a number of tokens; 0 and an anomaly where it is negative."""
        if number >= 0:
            return number
        self.anomalies[Anomaly.OUT_OF_RANGE] += 1
        return 0

    def seconds(self, duration: float) -> float:
        """A duration; 0 and an anomaly where it is negative or not finite."""
        if math.isfinite(duration) and duration >= 0:
            return duration
        self.anomalies[Anomaly.OUT_OF_RANGE] += 1
        return 0.0

    def _wait_for_start(self, event: PrefetchLoaded | PrefetchEnding) -> None:
        self.anomalies[Anomaly.BEFORE_START] += 1
        waiting = self._early.setdefault(event.id, [])
        if len(waiting) < EARLY_EACH:
            waiting.append(event)
        if len(self._early) > EARLY:
            self._early.popitem(last=False)
