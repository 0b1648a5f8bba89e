"""What a session's recording tells of the time to come, for the policies that know it."""

from collections.abc import Iterator

from attrs import field

from prefetch_scheduler.engine.recording_events import AccessEvent, ChangeEvent, RecordedSession
from prefetch_scheduler.policies.values import define, frozen

_NEVER = 1 << 60


@frozen
class Use:
    """The next read of a key."""

    key: str
    t: float
    """On the agent's own clock: it happens no earlier, seen from now, than `t` says."""


@define(eq=False)
class Future:
    """The reads that follow an event, and which of them find what is loaded now still good."""

    session: RecordedSession
    _accesses: list[tuple[int, AccessEvent]] = field(init=False, factory=list)
    _first: list[int] = field(init=False, factory=list)
    """Event -> place in `_accesses` of the first read after it."""
    _changes: dict[str, list[int]] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        for place, event in enumerate(self.session.events):
            if isinstance(event, AccessEvent):
                self._accesses.append((place, event))
            elif isinstance(event, ChangeEvent):
                self._changes.setdefault(event.key, []).append(place)
            self._first.append(len(self._accesses))

    def t(self, place: int) -> float:
        """The recorded time of an event."""
        return self.session.events[place].t

    def uses(self, place: int) -> Iterator[tuple[Use, bool]]:
        """The next read of each distinct key after the event, in order.

        With it: whether content loaded now is still good by then.
        """
        seen: set[str] = set()
        for index in range(self._first[place], len(self._accesses)):
            at, access = self._accesses[index]
            if access.key not in seen:
                seen.add(access.key)
                changes = self._changes.get(access.key, ())
                good = not any(place < change < at for change in changes)
                yield Use(access.key, access.t), good
