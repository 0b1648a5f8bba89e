"""One session's side of a recording: the agent's own clock, and notes of what it does."""

import threading
from collections.abc import Callable
from enum import Enum, auto

from prefetch_scheduler.actors.ports import Clock
from prefetch_scheduler.policies.prediction import Constraints, Prediction
from prefetch_scheduler.policies.values import frozen


class NoteOf(Enum):
    """What a note is of."""

    ACCESS = auto()
    PREDICT = auto()
    CONTEXT = auto()
    CHANGE = auto()
    END = auto()


@frozen(eq=False)
class Note:
    """One thing that happened in a session."""

    tape: "Tape"
    of: NoteOf
    t: float
    """Seconds on the agent's own clock."""
    key: str = ""
    """The key, the pattern that changed, or the context."""
    stored: str = ""
    """Cache key under which what was read is kept."""
    tokens: int = 0
    waited_s: float = 0.0
    items: tuple[Prediction, ...] = ()
    constraints: Constraints | None = None
    own: bool = True
    """Whether this session told of the change, and not another one."""


@frozen
class Asked:
    """A read that has begun."""

    t: float
    at: float


class Tape:
    """Notes what one session does. Safe in any thread.

    The agent's clock stands still while any read of the session waits (however many do at once),
    so that what is recorded never includes the wait for a load.
    """

    def __init__(
        self, session: str, project: str | None, clock: Clock, note: Callable[[Note], None]
    ) -> None:
        self.session = session
        self.project = project
        self._clock = clock
        self._note = note
        self._lock = threading.Lock()
        self._origin = clock.now()
        self._stood = 0.0
        self._waiting = 0
        self._since = 0.0
        self._context: str | None = None

    def asked(self) -> Asked:
        """A read begins: the agent's clock stands still until it has ended."""
        with self._lock:
            now = self._clock.now()
            asked = Asked(self._t(now), now)
            if not self._waiting:
                self._since = now
            self._waiting += 1
            return asked

    def answered(self, asked: Asked, *reads: tuple[str, str, int]) -> None:
        """It has ended with these: key, cache key and tokens of each; none where it failed."""
        with self._lock:
            now = self._clock.now()
            self._waiting -= 1
            if not self._waiting:
                self._stood += now - self._since
            for key, stored, tokens in reads:
                waited = now - asked.at
                self._note(Note(self, NoteOf.ACCESS, asked.t, key, stored, tokens, waited))

    def predicted(self, items: tuple[Prediction, ...], constraints: Constraints | None) -> None:
        with self._lock:
            t = self._t(self._clock.now())
            note = Note(self, NoteOf.PREDICT, t, items=items, constraints=constraints)
            self._note(note)

    def turned(self, context: str) -> None:
        """The context; the same one again is none."""
        with self._lock:
            if context != self._context:
                self._context = context
                self._note(Note(self, NoteOf.CONTEXT, self._t(self._clock.now()), context))

    def changed(self, pattern: str, *, own: bool) -> None:
        """A key, or a prefix ending in `*`, was written, by this session (`own`) or another."""
        with self._lock:
            t = self._t(self._clock.now())
            self._note(Note(self, NoteOf.CHANGE, t, pattern, own=own))

    def end(self) -> None:
        with self._lock:
            self._note(Note(self, NoteOf.END, self._t(self._clock.now())))

    def _t(self, now: float) -> float:
        standing = now - self._since if self._waiting else 0.0
        return now - self._origin - self._stood - standing
