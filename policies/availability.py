"""Which keys failed lately, and until when they are left alone (decision D24)."""

from collections import OrderedDict
from zlib import crc32

from prefetch_scheduler.policies.keys import matches
from prefetch_scheduler.policies.values import define


@define
class _Failure:
    until: float
    delay: float
    error: str


class Availability:
    """Back-off for each key: doubles from `first_s` to `longest_s`, with up to a quarter of jitter.

    The jitter is a hash of key and count, so that a run can be repeated. Bounded: past `capacity`
    keys the one that failed longest ago is forgotten, which at worst costs one more attempt.
    """

    def __init__(self, first_s: float, longest_s: float, capacity: int = 10_000) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._capacity = capacity
        self._failures: OrderedDict[str, _Failure] = OrderedDict()

    def failed(self, stored: str, now: float, error: str) -> float:
        """Note a failure of all sources of a key; returns the back-off in seconds."""
        before = self._failures.pop(stored, None)
        delay = self._first_s if before is None else min(before.delay * 2, self._longest_s)
        jitter = crc32(f"{stored}|{delay}".encode()) % 1000 / 4000
        pause = min(delay * (1 + jitter), self._longest_s)
        self._failures[stored] = _Failure(now + pause, delay, error)
        if len(self._failures) > self._capacity:
            self._failures.popitem(last=False)
        return pause

    def blocked(self, stored: str, now: float) -> str | None:
        """Why the key is left alone at this time, or None."""
        failure = self._failures.get(stored)
        if failure is None or failure.until <= now:
            return None
        return f"{failure.error}; tried again in {failure.until - now:.1f} s"

    def succeeded(self, stored: str) -> None:
        self._failures.pop(stored, None)

    def changed(self, pattern: str) -> None:
        """A change of the resource clears its back-off."""
        if not pattern.endswith("*") and pattern in self._failures:
            del self._failures[pattern]
            return
        for stored in [s for s in self._failures if matches(pattern, s)]:
            del self._failures[stored]

    def __len__(self) -> int:
        return len(self._failures)
