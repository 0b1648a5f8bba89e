"""The story of each key: what was done with it, when, and why. Bounded, newest kept."""

from collections import OrderedDict, deque
from typing import assert_never

from attrs import field

from prefetch_scheduler.policies import metrics_events as ev
from prefetch_scheduler.policies.keys import public_key
from prefetch_scheduler.policies.numbered import Numbered
from prefetch_scheduler.policies.outcomes import clip
from prefetch_scheduler.policies.values import define, frozen
from prefetch_scheduler.policies.worth import Worth, with_worth
from prefetch_scheduler.policies.yaml_text import printable

LINES = 32
"""Lines kept of each key."""
KEYS = 2000
"""Keys with a story; the least recently told is dropped."""
PREFETCHES = 8192
"""Of so many numbers in a row the prefetches' keys are remembered, for reports that give only a
number."""
LATEST = 300
"""Lines kept of all keys together, for who looks on."""
_DAY_S = 86_400


@frozen
class StoryLine:
    """One line of a key's story."""

    at: float
    """Engine time in seconds."""
    wall: float
    """Wall-clock seconds since the epoch."""
    event: str
    reason: str = ""
    session: str = ""

    def __str__(self) -> str:
        """Time of day in UTC, engine time, event, reason, session."""
        milliseconds = round(self.wall % _DAY_S * 1000) % (_DAY_S * 1000)
        minutes, rest = divmod(milliseconds, 60_000)
        time = f"{minutes // 60:02d}:{minutes % 60:02d}:{rest / 1000:06.3f}Z"
        reason = f": {printable(self.reason)}" if self.reason else ""
        session = f" [{printable(self.session)}]" if self.session else ""
        return f"{time} +{self.at:.3f}s {printable(self.event)}{reason}{session}"


_Line = tuple[str, float, float, str, str, str, Worth | None]
"""The key, the fields of a `StoryLine`, and how what it tells of was weighed: many more are written
down than are ever read."""


def _shown(line: _Line) -> StoryLine:
    _, at, wall, event, reason, session, worth = line
    return StoryLine(at, wall, event, with_worth(reason, worth), session)


@define(eq=False)
class StoryBook:
    """The stories of the keys most recently told of."""

    lines: int = LINES
    keys: int = KEYS
    _stories: OrderedDict[str, list[_Line]] = field(init=False, factory=OrderedDict)
    _prefetches: Numbered[tuple[str, str]] = field(init=False, factory=lambda: Numbered(PREFETCHES))
    """Key and session of each prefetch."""
    _latest: deque[_Line] = field(init=False, factory=lambda: deque(maxlen=LATEST))
    """The newest lines of all keys."""

    def handle(self, event: ev.MetricsEvent, now: float, wall: float) -> None:
        """Add what the event tells of keys. `now`: engine seconds; `wall`: since the epoch."""
        worth = event.worth if type(event) is ev.Note else None
        for key, session, name, reason in self._told(event):
            self._tell((public_key(key), now, wall, name, clip(reason), session, worth))

    def explain(self, key: str) -> tuple[StoryLine, ...]:
        """What is known of a key, oldest line first; empty where nothing is."""
        return tuple(_shown(line) for line in self._stories.get(key, ()))

    def latest(self, count: int) -> tuple[tuple[str, StoryLine], ...]:
        """`(key, line)` of the newest lines, newest last; at most `LATEST`."""
        newest = list(self._latest)[-count:] if count > 0 else []
        return tuple((line[0], _shown(line)) for line in newest)

    def __len__(self) -> int:
        return len(self._stories)

    def _tell(self, line: _Line) -> None:
        self._latest.append(line)
        key, stories = line[0], self._stories
        story = stories.get(key)
        if story is None:
            stories[key] = [line]
            if len(stories) > self.keys:
                stories.popitem(last=False)
            return
        stories.move_to_end(key)
        story.append(line)
        if len(story) > self.lines:
            del story[0]

    def _told(self, event: ev.MetricsEvent) -> list[tuple[str, str, str, str]]:
        """`(key, session, what happened, why)` for each key that the event is about."""
        match event:
            case ev.Note(key=key, event=name, reason=reason, session=session):
                return [(key, session, name, reason)]
            case ev.Predicted(session=session, keys=keys):
                return [(key, session, "predicted", "") for key in keys]
            case ev.PrefetchStarted(id=id_, session=session, key=key):
                self._prefetches[id_] = key, session
                why = f"{event.cause.value}, {event.reason}" if event.reason else event.cause.value
                return [(key, session, "prefetch started", f"{why}, about {event.tokens} tokens")]
            case ev.PrefetchLoaded(id=id_, tokens=tokens, load_s=load_s):
                return self._of(id_, "prefetch loaded", f"{tokens} tokens in {load_s:.3f} s")
            case ev.PrefetchUsed(id=id_, session=session, waited_s=waited_s):
                waited = f"the reader waited {waited_s:.3f} s" if waited_s else "without waiting"
                return self._of(id_, "prefetch used", waited, session)
            case ev.PrefetchWasted(id=id_, reason=reason):
                return self._of(id_, "prefetch wasted", reason)
            case ev.PrefetchCancelled(id=id_, reason=reason):
                return self._of(id_, "prefetch cancelled", reason)
            case ev.PrefetchFailed(id=id_, reason=reason):
                return self._of(id_, "prefetch failed", reason)
            case ev.LateHit(session=session, key=key):
                return [(key, session, "late hit", "a reader joined the prefetch under way")]
            case ev.Joined(session=session, key=key):
                return [(key, session, "joined", "a reader waited for another reader's load")]
            case ev.Miss(session=session, key=key, predicted=predicted, reason=reason):
                why = reason or ("predicted" if predicted else "not predicted")
                return [(key, session, "miss", why)]
            case ev.DemandLoaded(session=session, key=key, tokens=tokens, load_s=load_s):
                return [(key, session, "demand loaded", f"{tokens} tokens in {load_s:.3f} s")]
            case ev.P0NotResident(session=session, key=key):
                return [(key, session, "not resident", "a P0 item that should have been")]
            case ev.ServedStale(session=session, key=key, why=why):
                return [(key, session, "served stale", why)]
            case ev.EntryRemoved(key=key, cause=cause, session=session):
                return [(key, session, "removed from the cache", str(cause))]
            case ev.SessionOpened() | ev.SessionClosed() | ev.BudgetGranted() | ev.Learned():
                return []
            case ev.Hits() | ev.KeysRead() | ev.Dropped():
                return []  # hits are too many to tell one by one
            case _:
                assert_never(event)

    def _of(
        self, id_: int, name: str, reason: str, session: str | None = None
    ) -> list[tuple[str, str, str, str]]:
        known = self._prefetches.get(id_)
        if known is None:
            return []
        key, owner = known
        return [(key, owner if session is None else session, name, reason)]
