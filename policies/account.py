"""The figures of one session, and what each event adds to them.

Every event is told to two accounts: the session's, and the engine's total.
"""

from collections.abc import Iterable
from enum import StrEnum, auto

from attrs import field

from prefetch_scheduler.policies.counts import Counts, bump
from prefetch_scheduler.policies.outcomes import KeyOutcomes, Outcome, Verdict, clip
from prefetch_scheduler.policies.skill_use import SKILL, SkillBook, SkillUse
from prefetch_scheduler.policies.values import define
from prefetch_scheduler.policies.vocabulary import Cause


class Ending(StrEnum):
    """How a prefetch ended; exactly one of these (decision D34)."""

    USED = auto()
    WASTED = auto()
    CANCELLED = auto()
    FAILED = auto()


@define(eq=False)
class Prefetch:
    """One prefetch."""

    id: int
    key: str
    account: "Account"
    """Of the session it was started for."""
    cause: Cause
    predicted: bool
    """Started by a prediction, or of a key that the session had predicted."""
    tokens: int
    """The estimate, then what was loaded."""
    load_s: float | None = None
    """None until it is loaded."""
    ending: Ending | None = None
    """None while it is running, or resident and unread."""
    waited_s: float = 0.0
    used_on: int = 0
    """Ordinal of the calendar day of the first read."""

    @property
    def saved_s(self) -> float:
        """The latency that was hidden from the first reader (decision D37), in seconds."""
        return max(0.0, (self.load_s or 0.0) - self.waited_s)


@define(eq=False)
class Account:
    """The figures of one session, or of the whole engine."""

    session: str
    list_limit: int
    counts: Counts = field(factory=Counts)
    """Once the session is forgotten: the sums of all forgotten sessions."""
    skills: SkillBook = field(factory=SkillBook)
    keys: KeyOutcomes = field(init=False)
    project: str | None = None
    user: str | None = None
    opened: bool = False
    """False: known only by what was counted for it; `SessionOpened` has not been seen."""
    ended: bool = False
    forgotten: bool = False

    @keys.default
    def _no_outcomes(self) -> KeyOutcomes:
        return KeyOutcomes(self.list_limit)

    # ---- prefetches --------------------------------------------------------------------------

    def started(self, prefetch: Prefetch) -> None:
        """It has begun, and has perhaps been loaded by now."""
        self.counts.prefetches += 1
        self.counts.tokens_prefetched += prefetch.tokens
        bump(self.counts.causes, str(prefetch.cause))
        for use in self._skill(prefetch.key):
            use.prefetched += 1
            use.tokens_prefetched += prefetch.tokens
            if prefetch.load_s is not None:
                use.loaded(prefetch.load_s)
        if prefetch.cause is Cause.PREDICTION and not self.keys.was_predicted(prefetch.key):
            self.keys.predict((prefetch.key,))

    def loaded(self, prefetch: Prefetch, more: int) -> None:
        """`more`: tokens that it has beyond what was counted, negative where it has fewer."""
        _correct(self.counts, prefetch, more)
        for use in self._skill(prefetch.key):
            _correct(use, prefetch, more)
            use.loaded(prefetch.load_s or 0.0)

    def ended_as(self, prefetch: Prefetch, reason: str) -> None:
        """Count its ending, which is set, and put its key in the list where it belongs now."""
        match prefetch.ending:
            case Ending.USED:
                self._used(prefetch)
            case Ending.FAILED:
                self._failed(prefetch, reason)
            case Ending.WASTED:
                self.counts.wasted += 1
                self._lost(prefetch, f"wasted: {reason}")
            case Ending.CANCELLED:
                self.counts.cancelled += 1
                self._lost(prefetch, f"cancelled: {reason}")
            case None:
                raise ValueError(f"prefetch {prefetch.id} of {prefetch.key!r} has not ended")

    def _used(self, prefetch: Prefetch) -> None:
        self.counts.used += 1
        self.counts.tokens_used += prefetch.tokens
        for use in self._skill(prefetch.key):
            use.used += 1
            use.tokens_used += prefetch.tokens
        self.keys.read(prefetch.key)
        if prefetch.predicted:
            self.counts.accurate += 1
            reason = "late hit" if prefetch.waited_s > 0 else str(prefetch.cause)
            self.keys.record(Verdict.ACCURATE, Outcome(prefetch.key, True, True, reason))

    def _lost(self, prefetch: Prefetch, reason: str) -> None:
        self.counts.tokens_wasted += prefetch.tokens
        for use in self._skill(prefetch.key):
            use.wasted += 1
            use.tokens_wasted += prefetch.tokens
        if prefetch.cause is Cause.PREDICTION:  # a reload in vain says nothing of the prediction
            self.counts.inaccurate += 1
            self.keys.record(Verdict.WASTED, Outcome(prefetch.key, True, False, clip(reason)))

    def _failed(self, prefetch: Prefetch, reason: str) -> None:
        self.counts.failed += 1
        self.counts.tokens_failed += prefetch.tokens
        for use in self._skill(prefetch.key):
            use.failed += 1
        if prefetch.cause is Cause.PREDICTION:
            self.counts.unloadable += 1
            self.keys.record(Verdict.FAILED, Outcome(prefetch.key, True, False, clip(reason)))

    # ---- predictions and reads ---------------------------------------------------------------

    def predicted(self, keys: tuple[str, ...]) -> None:
        self.counts.predicted += len(keys)
        self.keys.predict(keys)

    def read(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.keys.read(key)

    def late_hit(self, key: str) -> None:
        self.counts.late_hits += 1
        self.keys.read(key)
        for use in self._skill(key):
            use.late_hits += 1

    def missed(self, key: str, *, predicted: bool, joined: bool, reason: str) -> None:
        """A reader waited for a demand load: its own, or (`joined`) another reader's."""
        self.counts.joined += joined
        self.counts.misses += not joined
        self.counts.missed_predicted += predicted
        self.counts.missed_unpredicted += not predicted
        for use in self._skill(key):
            use.misses += 1
        self.keys.record(Verdict.MISSED, Outcome(key, predicted, True, clip(reason)))

    def demand_loaded(self, key: str, tokens: int, load_s: float) -> None:
        self.counts.demand_loads += 1
        self.counts.tokens_demand_loaded += tokens
        self.counts.demand_load_s += load_s
        for use in self._skill(key):
            use.tokens_demand_loaded += tokens
            use.loaded(load_s)

    def _skill(self, key: str) -> tuple[SkillUse, ...]:
        """The figures of the key's skill; nothing where the key is no skill."""
        if not key.startswith(SKILL):  # as most often
            return ()
        use = self.skills.of(key)
        return () if use is None else (use,)


def _correct(figures: Counts | SkillUse, prefetch: Prefetch, more: int) -> None:
    """Its tokens are so many more than was counted when it started, and perhaps when it ended."""
    figures.tokens_prefetched += more
    if prefetch.ending is Ending.USED:
        figures.tokens_used += more
    elif prefetch.ending is not None:
        figures.tokens_wasted += more
