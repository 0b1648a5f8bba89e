"""What one session's predictions are still to come to, and what it has read so far.

An expectation opens with a prediction of a key, or when loading it unasked is weighed. It is met
by the session's next read of the key, and in vain when the key changes or the session ends first.
"""

from collections import OrderedDict

from attrs import field

from prefetch_scheduler.policies.calibration import Group
from prefetch_scheduler.policies.keys import PARTITION, matches
from prefetch_scheduler.policies.read_model import Signs
from prefetch_scheduler.policies.values import define

KEYS_KEPT = 2_000
"""Keys of a session that are waited for, read or resident unread; past them the oldest goes."""
INSTANCES_KEPT = 64
EXAMPLES_KEPT = 8


@define(eq=False)
class Expectation:
    """One key that one session is expected to read."""

    source: int
    since: float
    """Engine time of the first prediction, in seconds."""
    stated: list[tuple[Group, float]] = field(factory=list)
    """Every statement of it, for the calibration."""
    examples: list[Signs] = field(factory=list)
    """What was known of it at some of the moments at which it was weighed."""
    repeats: int = 0
    """Predictions of it in a row."""


@define(eq=False)
class SessionExpectations:
    """One session's."""

    project: str | None = None
    open: "OrderedDict[str, Expectation]" = field(init=False, factory=OrderedDict)
    reads: "OrderedDict[str, int]" = field(init=False, factory=OrderedDict)
    """Cache key -> times read."""
    changed: set[str] = field(init=False, factory=set)
    """Keys that changed since they were read."""
    _partitioned: bool = field(init=False, default=False)
    """Whether some of the keys are a user's own: their cache keys are not their public keys."""
    unread: "OrderedDict[str, int]" = field(init=False, factory=OrderedDict)
    """Cache key -> tokens of what was loaded ahead and not read yet."""

    def expect(self, stored: str, source: int, now: float) -> Expectation:
        """The key's expectation, opened where there is none."""
        found = self.open.get(stored)
        if found is None:
            found = self.open[stored] = Expectation(source, now)
            self._partitioned = self._partitioned or PARTITION in stored
            if len(self.open) > KEYS_KEPT:
                self.open.popitem(last=False)  # its outcome will not be known
        return found

    def note_read(self, stored: str) -> Expectation | None:
        """The session read it; the expectation that this meets, if there was one."""
        self.reads[stored] = self.reads.pop(stored, 0) + 1
        self._partitioned = self._partitioned or PARTITION in stored
        if len(self.reads) > KEYS_KEPT:
            forgotten, _ = self.reads.popitem(last=False)
            self.changed.discard(forgotten)
        self.changed.discard(stored)
        return self.open.pop(stored, None)

    def note_change(self, stored: str) -> Expectation | None:
        """The resource changed; the expectation that has been in vain, if there was one."""
        if stored in self.reads:
            self.changed.add(stored)
        return self.open.pop(stored, None)

    def covered(self, pattern: str) -> list[str]:
        """Keys that are expected or were read, and that an invalidation pattern covers."""
        if pattern in self.open or pattern in self.reads:
            return [pattern]
        if pattern.endswith("*") or self._partitioned:
            return [key for key in {*self.open, *self.reads} if matches(pattern, key)]
        return []
