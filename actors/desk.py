"""Where a flood is made small before it reaches an inbox: the latest takes the place of the rest.

A message that says *something is at the desk* goes through the inbox and keeps its place there;
what it stands for can still be replaced until it is taken. So a host that submits, or reports
changes of one key, faster than they are worked off fills neither inbox nor memory.

Each desk has a lock, held for a few dictionary accesses: by a sender, and by the one actor that
takes. No reader of cached content comes here.
"""

import threading
from collections.abc import Callable
from typing import Any

from attrs import evolve

from prefetch_scheduler.policies.cache_events import Invalidate
from prefetch_scheduler.policies.planner_events import Submit
from prefetch_scheduler.policies.values import define, frozen

FLOOD = 256
"""Predictions waiting, of all sessions together, up to which every submit is planned by itself."""

MOST_PREDICTIONS = 200_000
"""Predictions that wait at most; a submit on top of them is shed (`queue_full`)."""


@frozen
class SubmitWaiting:
    """To the planner: a submit is at the desk under this number."""

    number: int


@frozen
class ChangeWaiting:
    """To the CacheLayer: a change is at the desk under this number."""

    number: int


@frozen
class HandedIn:
    """What became of a submit at the desk."""

    message: SubmitWaiting | None
    """To be sent; None: the one that is on its way already stands for it, or it was shed."""
    replaced: Submit | None = None
    """The earlier submit of the session whose place it took."""
    shed: bool = False
    """Whether too many predictions wait: it was not taken."""


@define
class _Waiting:
    submit: Submit
    number: int


class SubmitDesk:
    """Submits on their way to the planner.

    Below `flood` predictions each waits by itself. Above, a submit takes the place of the one of
    its session that waits already, unless something that the session's plans depend on has been
    said in between (`seal`). Past `most` predictions nothing more is taken: the newest is shed,
    since whoever waits longest is served first.
    """

    def __init__(self, flood: int = FLOOD, most: int = MOST_PREDICTIONS) -> None:
        self._flood = flood
        self._most = most
        self._lock = threading.Lock()
        self._waiting: dict[int, Submit] = {}
        self._latest: dict[str, int] = {}
        self._last = 0
        self._predictions = 0

    def hand_in(self, submit: Submit) -> HandedIn:
        count = len(submit.predictions)
        with self._lock:
            number = self._latest.get(submit.session)
            flooded = self._predictions + count > self._flood
            if number is not None and flooded:
                earlier = self._waiting[number]
                left = self._predictions - len(earlier.predictions)
                if not left or left + count <= self._most:
                    if submit.context is None and earlier.context is not None:
                        submit = evolve(submit, context=earlier.context)
                    self._waiting[number] = submit
                    self._predictions = left + count
                    return HandedIn(None, replaced=earlier)
            if self._predictions and self._predictions + count > self._most:
                return HandedIn(None, shed=True)
            self._last += 1
            self._waiting[self._last] = submit
            self._latest[submit.session] = self._last
            self._predictions += count
            return HandedIn(SubmitWaiting(self._last))

    def take(self, message: SubmitWaiting) -> Submit | None:
        """The submit, for whoever got the message; None: it was withdrawn."""
        with self._lock:
            return self._taken(message.number)

    def withdraw(self, ticket: Any) -> Submit | None:
        """Take a submit back that waits still. None: it does not."""
        with self._lock:
            for number, submit in self._waiting.items():
                if submit.ticket is ticket:
                    return self._taken(number)
        return None

    def seal(self, session: str) -> None:
        """Later submits of the session do not take the place of one that waits now."""
        with self._lock:
            self._latest.pop(session, None)

    def __len__(self) -> int:
        """Submits waiting."""
        return len(self._waiting)

    def fill(self) -> tuple[int, int]:
        """`(predictions waiting, most)`."""
        return self._predictions, self._most

    def _taken(self, number: int) -> Submit | None:
        submit = self._waiting.pop(number, None)
        if submit is not None:
            self._predictions -= len(submit.predictions)
            if self._latest.get(submit.session) == number:
                del self._latest[submit.session]
        return submit


class ChangeDesk:
    """Changes on their way to the CacheLayer: of one pattern at most one.

    Its epoch is that of the newest change. So it may overtake what was sent in between, and only
    makes more of that out of date, which the newest change does anyway.
    """

    def __init__(self, forget: Callable[[int, str], None]) -> None:
        """`forget(epoch, pattern)`: that mark needs no standing of its own any more."""
        self._forget = forget
        self._lock = threading.Lock()
        self._waiting: dict[int, Invalidate] = {}
        self._by_pattern: dict[str, int] = {}
        self._last = 0

    def hand_in(self, change: Invalidate) -> ChangeWaiting | None:
        """The message to send; None: one that is on its way already stands for it."""
        with self._lock:
            number = self._by_pattern.get(change.pattern)
            if number is not None:
                earlier = self._waiting[number]
                newer, older = sorted((change, earlier), key=lambda c: c.epoch, reverse=True)
                self._waiting[number] = newer
                self._forget(older.epoch, older.pattern)
                return None
            self._last += 1
            self._waiting[self._last] = change
            self._by_pattern[change.pattern] = self._last
            return ChangeWaiting(self._last)

    def take(self, message: ChangeWaiting) -> Invalidate | None:
        """The change, for whoever got the message."""
        with self._lock:
            change = self._waiting.pop(message.number, None)
            if change is not None:
                self._by_pattern.pop(change.pattern, None)
            return change

    def fill(self) -> int:
        """Changes waiting."""
        return len(self._waiting)
