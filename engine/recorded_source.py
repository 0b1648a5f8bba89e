"""A source that takes the recorded time of a load and returns the recorded size."""

import asyncio
import threading
from collections import Counter
from collections.abc import Hashable

from prefetch_scheduler.actors.ports import Clock
from prefetch_scheduler.engine.recorded_loads import RecordedLoads
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.tokens import BYTES_PER_TOKEN, DEFAULT_BYTES_PER_TOKEN, suffix_of

_FILLER = "recorded size, no recorded text\n"


class RecordedSource:
    """Serves one kind of a recorded session; `feed` says which session it stands for.

    It knows nothing of a name before it is loaded: an estimate of its own would tell the planner
    of later events. Content carries a version that every change bumps, so that what was loaded
    before a change, or in another session, is stale at its next read.

    Args:
        kind: the kind of key that it serves.
        clock: the engine's time; a load sleeps as long in real time as `clock.real` says.
        instant: take no time at all (replay at `max` speed): a load only yields once.
        load_timeout_s: engine seconds after which the engine gives a load up.
    """

    read_only = True
    remote = False
    private = False
    tokens = None
    load_s = None
    max_concurrency = None

    def __init__(
        self, kind: str, clock: Clock, *, instant: bool = False, load_timeout_s: float | None = None
    ) -> None:
        self.kind = kind
        self.load_timeout_s = load_timeout_s
        self._clock = clock
        self._instant = instant
        self._loads = RecordedLoads("", ())
        self._session = 0
        self._changes: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._finished: Counter[str] = Counter()
        self._started = 0
        self._tokens = 0

    @property
    def name(self) -> str:
        """What the engine calls it in logs and content."""
        return f"recorded {self.kind}"

    def feed(self, loads: RecordedLoads) -> None:
        """Stand for another session from now on; all content of earlier ones is stale."""
        with self._lock:
            self._loads = loads
            self._session += 1
            self._changes.clear()

    def change(self, name: str) -> None:
        """The resource was written: content loaded before is stale."""
        with self._lock:
            self._changes[name] += 1

    def version(self, name: str) -> Hashable:
        """Number of the session, and of changes of this name in it."""
        with self._lock:
            return self._session, self._changes.get(name, 0)

    async def load(self, name: str) -> Content:
        """Take the recorded seconds, then give content of the recorded tokens."""
        with self._lock:
            # Read before the wait: a change while it loads must leave this content stale.
            version = (self._session, self._changes.get(name, 0))
            cost = self._loads.cost(f"{self.kind}:{name}")
            self._started += 1
        await asyncio.sleep(0 if self._instant else self._clock.real(cost.load_s))
        with self._lock:
            self._finished[name] += 1
            self._tokens += cost.tokens
        return Content(_text(name, cost.tokens), tokens=cost.tokens, version=version)

    @property
    def loads_started(self) -> int:
        """Loads begun in all sessions, those cancelled on the way included."""
        with self._lock:
            return self._started

    @property
    def loaded(self) -> Counter[str]:
        """How often each name was loaded to the end, over all sessions (a copy)."""
        with self._lock:
            return self._finished.copy()

    @property
    def tokens_loaded(self) -> int:
        """Tokens of all loads that came to their end, over all sessions."""
        with self._lock:
            return self._tokens


def _text(name: str, tokens: int) -> str:
    """Filler of as many bytes as so many tokens of that suffix commonly are.

    The engine learns bytes per token from what it loads; an unlikely size would mislead it.
    """
    size = round(tokens * BYTES_PER_TOKEN.get(suffix_of(name), DEFAULT_BYTES_PER_TOKEN))
    return (_FILLER * (size // len(_FILLER) + 1))[:size]
