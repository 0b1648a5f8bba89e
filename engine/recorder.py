"""Records what hosts do, in the format of recorded sessions, while the engine runs.

Host threads only note what happened in a bounded queue. One thread of the recorder's own gathers
the notes of each session and writes a session when it has ended, or a part of it when it has grown
long: sessions run side by side, but in a file one stands after another.
"""

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import field

from prefetch_scheduler.actors.ports import Clock
from prefetch_scheduler.engine.recording_events import (
    AccessEvent,
    ChangeEvent,
    ContextEvent,
    EndEvent,
    PredictEvent,
    RecordedEvent,
    SessionEvent,
)
from prefetch_scheduler.engine.recording_file import RecordingFile
from prefetch_scheduler.engine.recording_format import event_line
from prefetch_scheduler.engine.recording_names import Names
from prefetch_scheduler.engine.tape import Note, NoteOf, Tape
from prefetch_scheduler.policies.keys import matches
from prefetch_scheduler.policies.metrics_events import Dropped, Events
from prefetch_scheduler.policies.values import define, frozen

if TYPE_CHECKING:
    from prefetch_scheduler.engine.runtime import Runtime

MOST_WAITING = 20_000
"""Notes that wait for the recorder's thread; further ones are dropped, and counted."""
PART_EVENTS = 20_000
"""Events after which a session that goes on is written in parts."""
MOST_GATHERED = 200_000
"""Events gathered of all sessions; past them the longest session is written in parts."""

_LOG = logging.getLogger("prefetch_scheduler.recording")


@frozen
class Recorded:
    """What has been recorded so far."""

    sessions: int
    """Sessions, or parts of long ones, written."""
    events: int
    """Lines written."""
    dropped: int
    """Notes lost, because they came too fast or could not be written."""


@define(eq=False)
class _Gathered:
    """What is not written yet of one session."""

    id: str
    project: str | None
    events: list[RecordedEvent] = field(factory=list)
    keys: dict[str, float] = field(factory=dict)
    """Keys spoken of, with the seconds of their last known load (-1: none is known)."""
    began: float = 0.0
    last_t: float = 0.0
    worth_it: bool = False
    """Whether anything was read or predicted: a session without is not written."""


class Recorder:
    """One engine's recording.

    Args:
        file: where to.
        names: whether to hash names.
        clock: the engine's time.
        load_s: seconds of the load that brought what a cache key holds; None: it holds nothing.
        dropped: told how many notes were lost, each time that some were.
        most_waiting: notes that wait for the recorder's thread.
        part_events: events after which a session that goes on is written in parts.
    """

    def __init__(
        self,
        file: RecordingFile,
        names: Names,
        clock: Clock,
        load_s: Callable[[str], float | None],
        dropped: Callable[[int], None],
        *,
        most_waiting: int = MOST_WAITING,
        part_events: int = PART_EVENTS,
    ) -> None:
        self._file = file
        self._names = names
        self._clock = clock
        self._load_s = load_s
        self._tell_dropped = dropped
        self._queue: queue.Queue[Note | None] = queue.Queue(most_waiting)
        self._part_events = part_events
        self._thread = threading.Thread(target=self._work, name="prefetch-recorder", daemon=True)
        self._lock = threading.Lock()
        self._tapes: dict[str, Tape] = {}
        self._gathered: dict[Tape, _Gathered] = {}
        self._total = 0
        self._lost = self._told = 0
        self._written = self._lines = 0
        self._failing = self._closing = False

    # ---- the engine's side ---------------------------------------------------------------------

    def start(self) -> None:
        """Begin to record.

        Raises:
            ConfigError: the file cannot be written.
        """
        self._file.check()
        self._thread.start()

    def tape(self, session: str, project: str | None = None) -> Tape:
        """What a session's events are told to; made when its session begins."""
        with self._lock:
            found = self._tapes.get(session)
            if found is None:
                found = self._tapes[session] = Tape(session, project, self._clock, self.note)
            return found

    def changed(self, origin: str, pattern: str) -> None:
        """A resource changed, for every session: those that never spoke of it leave it out."""
        with self._lock:
            tapes = list(self._tapes.values())
        for tape in tapes:
            tape.changed(pattern, own=tape.session == origin)

    def ended(self, session: str) -> None:
        """The session is over; the same name may begin another one."""
        with self._lock:
            tape = self._tapes.pop(session, None)
        if tape is not None:
            tape.end()

    def note(self, note: Note) -> None:
        """Take a note from any thread, at once; where too many wait it is lost, and counted."""
        try:
            self._queue.put_nowait(note)
        except queue.Full:
            with self._lock:
                self._lost += 1

    def close(self, timeout: float) -> None:
        """End all sessions, write what is left and stop; at most `timeout` real seconds."""
        deadline = time.monotonic() + timeout
        if not self._thread.is_alive():
            return
        with self._lock:
            sessions = list(self._tapes)
        for session in sessions:
            self.ended(session)
        self._closing = True  # should there be no room for the word that it is over
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=max(0.0, deadline - time.monotonic()))
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def recorded(self) -> Recorded:
        """What has been written and lost so far. From any thread."""
        return Recorded(self._written, self._lines, self._lost)

    # ---- the recorder's thread -----------------------------------------------------------------

    def _work(self) -> None:
        while True:
            try:
                note = self._queue.get(timeout=1.0)
            except queue.Empty:
                if self._closing:
                    break
                self._say_dropped()
                continue
            if note is None:
                break
            self._take(note)
        for gathered in list(self._gathered.values()):
            self._write(gathered)
        self._gathered.clear()
        self._say_dropped()

    def _take(self, note: Note) -> None:
        gathered = self._gathered.get(note.tape)
        if gathered is None:
            tape = note.tape
            gathered = self._gathered[tape] = _Gathered(tape.session, tape.project)
        for event in self._events(gathered, note):
            gathered.events.append(event)
            self._total += 1
        gathered.last_t = max(gathered.last_t, note.t)
        if note.of is NoteOf.END:
            del self._gathered[note.tape]
            self._write(gathered)
        elif len(gathered.events) >= self._part_events:
            self._write(gathered)
        elif self._total >= MOST_GATHERED:
            self._write(max(self._gathered.values(), key=lambda g: len(g.events)))

    def _events(self, gathered: _Gathered, note: Note) -> list[RecordedEvent]:
        t, names = round(max(0.0, note.t - gathered.began), 6), self._names
        match note.of:
            case NoteOf.ACCESS:
                gathered.worth_it = True
                loaded = self._load_s(note.stored)
                known = gathered.keys.get(note.key, -1.0)
                load_s = loaded if loaded is not None else known if known >= 0 else note.waited_s
                gathered.keys[note.key] = load_s
                return [AccessEvent(t, names.key(note.key), round(load_s, 6), note.tokens)]
            case NoteOf.PREDICT:
                gathered.worth_it = True
                for item in note.items:
                    gathered.keys.setdefault(item.key, -1.0)
                items = tuple(map(names.prediction, note.items))
                return [PredictEvent(t, items, names.constraints(note.constraints))]
            case NoteOf.CONTEXT:
                return [ContextEvent(t, names.word(note.key))]
            case NoteOf.CHANGE:
                keys = [key for key in gathered.keys if matches(note.key, key)]
                if not keys and note.own and not note.key.endswith("*"):
                    keys = [note.key]
                return [ChangeEvent(t, names.key(key)) for key in keys]
            case NoteOf.END:
                return []

    def _write(self, gathered: _Gathered) -> None:
        """Write what is gathered of a session as a whole one; what follows begins another."""
        events, gathered.events = gathered.events, []
        self._total -= len(events)
        t = round(max(0.0, gathered.last_t - gathered.began), 6)
        gathered.began = gathered.last_t
        if not gathered.worth_it:
            return
        gathered.worth_it = False
        gathered.keys = {}
        project = None if gathered.project is None else self._names.word(gathered.project)
        first = SessionEvent(0.0, self._names.word(gathered.id), project)
        whole = (first, *events, EndEvent(t))
        try:
            self._file.append(map(event_line, whole))
        except (OSError, TypeError, ValueError) as error:
            with self._lock:
                self._lost += len(events)
            if not self._failing:
                _LOG.error("not recorded: %s: %s", self._file.path, error)
            self._failing = True
            return
        self._failing = False
        self._written += 1
        self._lines += len(whole)

    def _say_dropped(self) -> None:
        lost = self._lost
        if lost > self._told:
            _LOG.warning("%d events were not recorded", lost - self._told)
            self._tell_dropped(lost - self._told)
            self._told = lost


def recorder_of(runtime: "Runtime", path: str | os.PathLike[str]) -> Recorder:
    """The recorder of an engine, as its configuration says; not started yet.

    Raises:
        ConfigError: the path has another suffix than a recording's.
    """
    rules, view = runtime.config.recording, runtime.view
    file = RecordingFile(path, int(rules.max_file_mb * 1e6), rules.files_kept)

    def load_s(stored: str) -> float | None:
        entry = view.entries.get(stored)  # another dict after a restart of the cache
        return None if entry is None else entry.load_s

    def dropped(count: int) -> None:
        runtime.metrics.tell(Events((Dropped("recording", count),)))

    return Recorder(file, Names(rules.hash_keys), runtime.clock, load_s, dropped)
