"""How many of a project's sessions read each key: what a session is likely to read unasked."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from attrs import field

from prefetch_scheduler.policies.read_model import FIRST_SESSIONS, logit
from prefetch_scheduler.policies.values import define

PROJECTS_KEPT = 200
KEYS_KEPT = 1_000
"""Keys of a project; past it those that the fewest sessions read are forgotten."""
MEMORY = 60.0
"""Sessions at which all counts are halved, so that habits of long ago fade."""


@define(eq=False)
class _Project:
    sessions: float = 0.0
    readers: dict[str, float] = field(factory=dict)


class Odds:
    """Log odds that a session of one project reads a key, from those that have ended."""

    __slots__ = ("_known", "_readers", "_unread")

    def __init__(self, readers: Mapping[str, float], sessions: float | None) -> None:
        self._readers = readers
        self._known = 0.0 if sessions is None else sessions + 1.5
        self._unread = FIRST_SESSIONS if sessions is None else logit(0.3 / self._known)

    def of(self, stored: str) -> float:
        """Of one cache key."""
        readers = self._readers.get(stored)
        return self._unread if readers is None else logit((readers + 0.3) / self._known)


_NOTHING_KNOWN = Odds({}, None)


@define(eq=False)
class Familiar:
    """Sessions and the keys that they read, for each project."""

    _projects: "OrderedDict[str, _Project]" = field(init=False, factory=OrderedDict)

    def odds(self, project: str | None) -> "Odds":
        """How likely a session of the project is to read each key."""
        known = self._projects.get(project) if project is not None else None
        return _NOTHING_KNOWN if known is None else Odds(known.readers, known.sessions)

    def log_odds(self, project: str | None, stored: str) -> float:
        """Log odds that a session of the project reads the key, from those that have ended."""
        return self.odds(project).of(stored)

    def note(self, project: str | None, keys: Iterable[str]) -> None:
        """A session of the project has ended, in which these were read."""
        if project is None:
            return
        known = self._projects.setdefault(project, _Project())
        self._projects.move_to_end(project)
        if len(self._projects) > PROJECTS_KEPT:
            self._projects.popitem(last=False)
        known.sessions += 1
        for key in keys:
            known.readers[key] = known.readers.get(key, 0.0) + 1
        if known.sessions > MEMORY:
            known.sessions /= 2
            known.readers = {k: n / 2 for k, n in known.readers.items() if n >= 0.5}
        if len(known.readers) > KEYS_KEPT:
            ranked = sorted(known.readers.items(), key=lambda item: (-item[1], item[0]))
            known.readers = dict(ranked[: KEYS_KEPT * 3 // 4])

    def most(self, project: str | None, count: int) -> list[tuple[str, float]]:
        """The keys that most of the project's sessions read, at least two of them, each with the
        share of sessions that did, below 1.
        """
        known = self._projects.get(project) if project is not None else None
        if known is None:
            return []
        often = [(n, key) for key, n in known.readers.items() if n >= min(2.0, known.sessions)]
        often.sort(key=lambda row: (-row[0], row[1]))
        return [(key, min(0.99, n / known.sessions)) for n, key in often[:count]]

    def plain(self) -> dict[str, dict[str, object]]:
        """All of it as plain data."""
        return {
            name: {"sessions": known.sessions, "readers": dict(known.readers)}
            for name, known in self._projects.items()
        }
