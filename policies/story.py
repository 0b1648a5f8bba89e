"""The story of each key: what was done with it, when, and why. Bounded, newest kept."""

from collections import OrderedDict, deque
from itertools import chain
from typing import TypeVar, assert_never

from attrs import evolve, field

from prefetch_scheduler.policies import metrics_events as ev
from prefetch_scheduler.policies.keys import public_key
from prefetch_scheduler.policies.numbered import Numbered
from prefetch_scheduler.policies.outcomes import MAX_REASON, clip
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

_E = TypeVar(
    "_E",
    bound=ev.Note
    | ev.Miss
    | ev.PrefetchStarted
    | ev.PrefetchWasted
    | ev.PrefetchCancelled
    | ev.PrefetchFailed,
)


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


_Line = tuple[str, float, float, ev.MetricsEvent | ev.Told, str]
"""The key, engine time, wall clock, what happened, and the session: put into words when somebody
asks, since many more are written down than are ever read."""


def _shown(line: _Line) -> list[StoryLine]:
    _, at, wall, event, session = line
    worth: Worth | None = None
    more: list[StoryLine] = []
    match event:
        case tuple():
            _, name, reason, worth = event
        case ev.Note(worth=worth):
            name, reason = event.event, event.reason
        case _:
            name, reason = _words(event)
            if isinstance(event, ev.PrefetchStarted) and event.loaded is not None:
                end = _words(ev.PrefetchLoaded(event.id, event.loaded, event.load_s))
                more.append(StoryLine(at, wall, *end, session))
    return [StoryLine(at, wall, name, with_worth(clip(reason), worth), session), *more]


@define(eq=False)
class StoryBook:
    """The stories of the keys most recently told of."""

    lines: int = LINES
    keys: int = KEYS
    _stories: OrderedDict[str, list[_Line]] = field(init=False, factory=OrderedDict)
    _prefetches: Numbered[ev.PrefetchStarted] = field(
        init=False, factory=lambda: Numbered(PREFETCHES)
    )
    """How each prefetch began: later events give its number only."""
    _latest: deque[_Line] = field(init=False, factory=lambda: deque(maxlen=LATEST))
    """The newest lines of all keys."""

    def handle(self, event: ev.MetricsEvent, now: float, wall: float) -> None:
        """Add what the event tells of keys. `now`: engine seconds; `wall`: since the epoch."""
        match event:  # the most frequent first
            case ev.PrefetchStarted(id=id_, key=key):
                self._prefetches[id_] = begun = _bounded(event)
                self._tell((public_key(key), now, wall, begun, event.session))
            case ev.PrefetchLoaded(id=id_) | ev.PrefetchUsed(id=id_):
                self._go_on(id_, event, now, wall)
            case ev.Note() | ev.Miss():
                self._tell((public_key(event.key), now, wall, _bounded(event), event.session))
            case ev.Planned(session=session, keys=keys):
                for told in keys:
                    self._tell((public_key(told[0]), now, wall, _shortened(told), session))
            case ev.PrefetchWasted() | ev.PrefetchCancelled() | ev.PrefetchFailed():
                self._go_on(event.id, _bounded(event), now, wall)
            case ev.LateHit() | ev.Joined() | ev.DemandLoaded() | ev.P0NotResident():
                self._tell((public_key(event.key), now, wall, event, event.session))
            case ev.ServedStale() | ev.EntryRemoved():
                self._tell((public_key(event.key), now, wall, event, event.session))
            case ev.SessionOpened() | ev.SessionClosed() | ev.BudgetGranted() | ev.Learned():
                pass
            case ev.Predicted():
                pass  # a note of what the plan made of each follows
            case ev.Hits() | ev.KeysRead() | ev.Dropped():
                pass  # hits are too many to tell one by one
            case _:
                assert_never(event)

    def explain(self, key: str) -> tuple[StoryLine, ...]:
        """What is known of a key, oldest line first; empty where nothing is."""
        return tuple(chain.from_iterable(map(_shown, self._stories.get(key, ()))))

    def latest(self, count: int) -> tuple[tuple[str, StoryLine], ...]:
        """`(key, line)` of the newest lines, newest last; at most `LATEST`."""
        newest = list(self._latest)[-count:] if count > 0 else []
        shown = [(line[0], words) for line in newest for words in _shown(line)]
        return tuple(shown[-count:])

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

    def _go_on(
        self, id_: int, event: ev.PrefetchLoaded | ev.PrefetchEnding, now: float, wall: float
    ) -> None:
        """Tell on of a prefetch; of one that is not known any more, nothing."""
        begun = self._prefetches.get(id_)
        if begun is not None:
            session = event.session if isinstance(event, ev.PrefetchUsed) else begun.session
            self._tell((public_key(begun.key), now, wall, event, session))


def _bounded(event: _E) -> _E:
    """The event with a text of bounded length: an error's may be of any."""
    if len(event.reason) <= MAX_REASON:
        return event
    return evolve(event, reason=clip(event.reason))


def _shortened(told: ev.Told) -> ev.Told:
    """The same of what a plan made of a key."""
    key, name, reason, worth = told
    return told if len(reason) <= MAX_REASON else (key, name, clip(reason), worth)


def _words(event: ev.MetricsEvent) -> tuple[str, str]:
    """What happened, and why."""
    match event:
        case ev.PrefetchStarted(cause=cause, tokens=tokens, reason=reason):
            why = f"{cause.value}, {reason}" if reason else cause.value
            return "prefetch started", f"{why}, about {tokens} tokens"
        case ev.PrefetchLoaded(tokens=tokens, load_s=load_s):
            return "prefetch loaded", f"{tokens} tokens in {load_s:.3f} s"
        case ev.PrefetchUsed(waited_s=waited_s):
            waited = f"the reader waited {waited_s:.3f} s" if waited_s else "without waiting"
            return "prefetch used", waited
        case ev.PrefetchWasted(reason=reason):
            return "prefetch wasted", reason
        case ev.PrefetchCancelled(reason=reason):
            return "prefetch cancelled", reason
        case ev.PrefetchFailed(reason=reason):
            return "prefetch failed", reason
        case ev.LateHit():
            return "late hit", "a reader joined the prefetch under way"
        case ev.Joined():
            return "joined", "a reader waited for another reader's load"
        case ev.Miss(predicted=predicted, reason=reason):
            return "miss", reason or ("predicted" if predicted else "not predicted")
        case ev.DemandLoaded(tokens=tokens, load_s=load_s):
            return "demand loaded", f"{tokens} tokens in {load_s:.3f} s"
        case ev.P0NotResident():
            return "not resident", "a P0 item that should have been"
        case ev.ServedStale(why=why):
            return "served stale", why
        case ev.EntryRemoved(cause=cause):
            return "removed from the cache", str(cause)
        case _:
            raise ValueError(f"no line of a story: {event!r}")
