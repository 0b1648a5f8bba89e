"""Which keys the sessions of a project read together, and which one after another, counted online.

Co-access: in how many sessions both of two keys were read. Succession: how often one was read for
the first time within `WINDOW` reads after the other, nearer ones counting more. All counts are
halved now and then, so that habits of long ago fade, and all are bounded.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from heapq import nlargest
from itertools import islice

from attrs import field

from prefetch_scheduler.policies.keys import kind_of
from prefetch_scheduler.policies.values import define

WINDOW = 4
"""Reads after one within which another follows it."""
KEYS_KEPT = 3_000
"""Keys of a project; past it the one that was read longest ago is forgotten."""
KINDS = ("file", "skill")
"""What is predicted. Reads of other kinds, searches say, are signs of these, and no more."""
PARTNERS_KEPT = 40
"""Partners and followers of a key; past it the weakest are forgotten."""
PAIRED = 60
"""Keys of a session that are paired with each other: its first ones. Pairs grow with the square."""
MEMORY = 60.0
"""Sessions with a key at which its counts are halved."""


@define(eq=False)
class _Known:
    sessions: float = 0.0
    """In which it was read."""
    last: int = 0
    """The number of the latest of them."""
    partners: dict[str, float] = field(factory=dict)
    followers: dict[str, float] = field(factory=dict)


@define(eq=False)
class Together:
    """What is known of one project's keys."""

    sessions: int = 0
    """That have ended."""
    _keys: "OrderedDict[str, _Known]" = field(init=False, factory=OrderedDict)
    _folders: dict[str, dict[str, None]] = field(init=False, factory=dict)

    def note(self, order: Sequence[str]) -> None:
        """A session has ended that read these keys, in the order of their first reads."""
        self.sessions += 1
        for key in order:
            self._known(key)
        paired = [key for key in order[:PAIRED] if kind_of(key) in KINDS]
        for place, key in enumerate(order):
            known = self._keys.get(key)
            if known is None:
                continue
            known.sessions += 1
            known.last = self.sessions
            if place < PAIRED:
                for other in paired:
                    if other != key:
                        known.partners[other] = known.partners.get(other, 0.0) + 1
            for distance, other in enumerate(order[place + 1 : place + 1 + WINDOW]):
                if kind_of(other) not in KINDS:
                    continue
                known.followers[other] = known.followers.get(other, 0.0) + 1 / (1 + distance)
            _fade(known)

    def _known(self, key: str) -> None:
        if key in self._keys:
            self._keys.move_to_end(key)
            return
        self._keys[key] = _Known()
        self._folders.setdefault(folder_of(key), {})[key] = None
        if len(self._keys) > KEYS_KEPT:
            gone, _ = self._keys.popitem(last=False)
            siblings = self._folders[folder_of(gone)]
            del siblings[gone]
            if not siblings:
                del self._folders[folder_of(gone)]

    def partners(self, key: str) -> Iterable[tuple[str, float]]:
        """Keys that were read in the same sessions, each with the share of those that read it."""
        known = self._keys.get(key)
        return () if known is None else _shares(known.partners, known.sessions)

    def followers(self, key: str) -> Iterable[tuple[str, float]]:
        """Keys that were read soon after, each with about the share of sessions in which."""
        known = self._keys.get(key)
        return () if known is None else _shares(known.followers, known.sessions)

    def sessions_with(self, key: str) -> float:
        """In how many sessions it was read, older ones faded."""
        known = self._keys.get(key)
        return 0.0 if known is None else known.sessions

    def sessions_since(self, key: str) -> int | None:
        """Sessions since the one that read it last; None: none is known."""
        known = self._keys.get(key)
        return None if known is None else self.sessions - known.last

    def siblings(self, key: str, count: int) -> list[str]:
        """Known keys of the same folder, those that most sessions read first."""
        found = self._folders.get(folder_of(key), {})
        if len(found) <= count:
            return list(found)
        return nlargest(count, found, key=lambda other: (self._keys[other].sessions, other))

    def latest(self, count: int) -> list[str]:
        """Keys that were read last, the latest first."""
        foreseeable = (key for key in reversed(self._keys) if kind_of(key) in KINDS)
        return list(islice(foreseeable, count))


def folder_of(key: str) -> str:
    """The key up to its last slash; up to its colon where it has none."""
    folder, slash, _ = key.rpartition("/")
    return folder if slash else key.partition(":")[0] + ":"


def _shares(counts: dict[str, float], sessions: float) -> Iterable[tuple[str, float]]:
    return [(key, min(1.0, count / (sessions + 1))) for key, count in counts.items()]


def _fade(known: _Known) -> None:
    if known.sessions > MEMORY:
        known.sessions /= 2
        known.partners = {k: n / 2 for k, n in known.partners.items() if n > 1}
        known.followers = {k: n / 2 for k, n in known.followers.items() if n > 1}
    for counts in (known.partners, known.followers):
        if len(counts) > PARTNERS_KEPT + PARTNERS_KEPT // 2:
            # The latest stay: a new one could never enter among well-known ones otherwise.
            listed = list(counts.items())
            strong = dict(nlargest(PARTNERS_KEPT * 3 // 4, listed, key=lambda item: item[1]))
            strong.update(listed[-(PARTNERS_KEPT // 4) :])
            counts.clear()
            counts.update(strong)
