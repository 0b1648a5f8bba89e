"""What one session's predictions are still to come to, and what it has read so far.

An expectation opens with a prediction of a key, or when loading it unasked is weighed. It is met
by the session's next read of the key, and in vain when the key changes or the session ends first.
"""

from collections import OrderedDict
from enum import IntEnum

from attrs import field

from prefetch_scheduler.policies.calibration import Group
from prefetch_scheduler.policies.keys import matches, public_key
from prefetch_scheduler.policies.read_model import NOTHING, PRIOR_WEIGHTS, OfKey, Signs
from prefetch_scheduler.policies.values import define

KEYS_KEPT = 2_000
"""Keys of a session that are waited for, read or resident unread; past them the oldest goes."""
EXAMPLES_KEPT = 8


class Why(IntEnum):
    """Why a read is expected."""

    PREDICTED = 0
    READ_BEFORE = 1  # the session has read it, and it has changed
    FAMILIAR = 2  # other sessions of its project read it


PRIORS = {
    Why.PREDICTED: PRIOR_WEIGHTS,
    # What was read and changed is read again by what the session does, and less by what is usual.
    Why.READ_BEFORE: (-0.5, 0.3, -0.1, 0.1, 0.0, 0.3, -0.1),
    Why.FAMILIAR: PRIOR_WEIGHTS,
}
"""Weights of the signs before anything was learned."""


@define(eq=False)
class Expectation:
    """One key that one session is expected to read.

    There are thousands. What it holds is plain numbers and strings in tuples, which the garbage
    collector need not go through again and again, as it would through lists; and the first
    statements of one plan share theirs.
    """

    source: int
    since: float
    """Engine time of the first prediction, in seconds."""
    groups: tuple[Group, ...] = ()
    """Of its first, second, fourth, eighth statement and so on, for the calibration."""
    stated: tuple[float, ...] = ()
    """The confidence of each."""
    examples: "tuple[tuple[int, Signs], ...]" = ()
    """What was known of it at some of the moments at which it was weighed, and the `Why`."""
    repeats: int = 0
    """Predictions of it in a row."""
    counted: bool = False
    """Whether it was counted as what the specification's thresholds would load."""
    of_key: OfKey = NOTHING
    """The session's reads and changes end it, so that these signs last as long as it does."""


Unread = tuple[int, Group, int, int]
"""What was loaded ahead: its tokens; whose prediction it was, without a role nobody's; the tokens
that it was expected to have; and the `Why` of its read.
"""


@define(eq=False)
class Holders:
    """Which sessions expect a key or have read it, so that a change need not ask them all."""

    _first: "dict[str, SessionExpectations]" = field(init=False, factory=dict)
    """Public key -> the session that was first, for most keys the only one."""
    _further: "dict[str, dict[SessionExpectations, None]]" = field(init=False, factory=dict)
    """Public key -> the others, in order."""

    def add(self, stored: str, session: "SessionExpectations") -> None:
        key = public_key(stored)
        if self._first.setdefault(key, session) is not session:
            self._further.setdefault(key, {})[session] = None

    def remove(self, stored: str, session: "SessionExpectations") -> None:
        key = public_key(stored)
        further = self._further.get(key)
        if self._first.get(key) is not session:
            if further is not None:
                further.pop(session, None)
        elif further is not None:
            self._first[key] = second = next(iter(further))
            del further[second]
        else:
            del self._first[key]
        if further is not None and not further:
            del self._further[key]

    def of(self, key: str) -> "list[SessionExpectations]":
        """The sessions that a change of exactly this key concerns."""
        key = public_key(key)
        first = self._first.get(key)
        return [] if first is None else [first, *self._further.get(key, ())]

    def __len__(self) -> int:
        return len(self._first)


@define(eq=False)
class SessionExpectations:
    """One session's."""

    holders: Holders
    project: str | None = None
    open: "OrderedDict[str, Expectation]" = field(init=False, factory=OrderedDict)
    reads: "OrderedDict[str, int]" = field(init=False, factory=OrderedDict)
    """Cache key -> times read."""
    a_plan: float = field(init=False, default=0.0)
    """Tokens that its latest plans spent, on average; only kept where a budget limits them."""
    changes: int = field(init=False, default=0)
    """How often something that it knew has changed."""
    changed: set[str] = field(init=False, factory=set)
    """Keys that changed since they were read."""
    unread: "dict[str, Unread]" = field(init=False, factory=dict)
    """Cache key -> what was loaded ahead and not read yet."""

    def expect(self, stored: str, source: int, now: float) -> Expectation:
        """The key's expectation, opened where there is none."""
        found = self.open.get(stored)
        if found is None:
            found = self.open[stored] = Expectation(source, now)
            self.holders.add(stored, self)
        return found

    def overdue(self, before: float) -> list[tuple[str, Expectation]]:
        """Those that opened before that time, taken out as in vain; what there is no room for goes
        as well, and nothing is learned of it: its time has not come yet.

        Sessions may last for days, and what was loaded ahead is long gone from the cache by then.
        """
        found = []
        while self.open:
            stored, oldest = next(iter(self.open.items()))
            if oldest.since >= before and len(self.open) <= KEYS_KEPT:
                break
            del self.open[stored]
            self._forget(stored)
            if oldest.since < before:
                found.append((stored, oldest))
        return found

    def note_read(self, stored: str) -> Expectation | None:
        """The session read it; the expectation that this meets, if there was one."""
        known = self.reads.pop(stored, 0)
        self.reads[stored] = known + 1
        if not known:
            self.holders.add(stored, self)
            if len(self.reads) > KEYS_KEPT:
                forgotten, _ = self.reads.popitem(last=False)
                self.changed.discard(forgotten)
                self._forget(forgotten)
        self.changed.discard(stored)
        return self.open.pop(stored, None)

    def note_change(self, stored: str) -> Expectation | None:
        """The resource changed; the expectation that has been in vain, if there was one."""
        self.changes += 1
        if stored in self.reads:
            self.changed.add(stored)
        expected = self.open.pop(stored, None)
        self._forget(stored)
        return expected

    def covered(self, pattern: str) -> list[str]:
        """Keys that are expected or were read, and that an invalidation pattern covers."""
        if pattern in self.open or pattern in self.reads:
            return [pattern]
        keys = dict.fromkeys((*self.open, *self.reads))  # in order, so that learning is repeatable
        return [key for key in keys if matches(pattern, key)]

    def close(self) -> None:
        """The session is over."""
        for stored in {*self.open, *self.reads}:
            self.holders.remove(stored, self)

    def _forget(self, stored: str) -> None:
        if stored not in self.open and stored not in self.reads:
            self.holders.remove(stored, self)
