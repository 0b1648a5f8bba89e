"""Reads and writes recorded agent sessions: JSON Lines, plain or gzip, many sessions to a file."""

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

import attrs

from prefetch_scheduler.engine import adapters
from prefetch_scheduler.engine.fields import FieldReader, type_name
from prefetch_scheduler.engine.recording_events import (
    AccessEvent,
    ChangeEvent,
    ContextEvent,
    EndEvent,
    PredictEvent,
    RecordedEvent,
    RecordedSession,
    SessionEvent,
)
from prefetch_scheduler.policies.errors import InvalidPrediction, PrefetchError
from prefetch_scheduler.policies.prediction import Constraints
from prefetch_scheduler.policies.yaml_text import printable

__all__ = [
    "AccessEvent",
    "ChangeEvent",
    "ContextEvent",
    "EndEvent",
    "PredictEvent",
    "RecordedEvent",
    "RecordedSession",
    "RecordingError",
    "SessionEvent",
    "event_line",
    "parse_event",
    "read_events",
    "read_sessions",
    "sessions_of",
]

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is an error: a recording is read in bounded memory, whatever it holds."""

_GZIP_MAGIC = b"\x1f\x8b"
_EVENTS = ("session", "context", "predict", "access", "change", "end")


class RecordingError(PrefetchError, ValueError):
    """A line of a recording does not fit the format, or the file cannot be read.

    `path` and `line` (from 1; None where the file as a whole is meant) say where.
    """

    def __init__(self, path: str | os.PathLike[str], line: int | None, what: str) -> None:
        self.path = os.fspath(path)
        self.line = line
        self.what = what
        where = self.path if line is None else f"{self.path}:{line}"
        super().__init__("\n".join(f"{where}: {part}" for part in what.splitlines() or [""]))


def read_sessions(path: str | os.PathLike[str]) -> Iterator[RecordedSession]:
    """The sessions of a `.jsonl` or `.jsonl.gz` file, one at a time, in order.

    Raises:
        RecordingError: while iterating, at the first line that does not fit; its number is named.
    """
    return sessions_of(read_events(path), path)


def read_events(path: str | os.PathLike[str]) -> Iterator[tuple[int, RecordedEvent]]:
    """`(line number, event)` of each line, checked one by one; blank lines are passed over.

    Raises:
        RecordingError: while iterating, at the first line that does not fit; its number is named.
    """
    for number, raw in _lines(path):
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise RecordingError(
                path,
                number,
                f"not UTF-8: byte 0x{raw[error.start]:02x} at column {error.start + 1}",
            ) from None
        if not text.strip():
            continue
        try:
            yield number, parse_event(text)
        except ValueError as error:
            raise RecordingError(path, number, str(error)) from None


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with Path(path).open("rb") as file:
            zipped = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            stream: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=file) if zipped else file
            while line := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise RecordingError(path, number, f"longer than {MAX_LINE_BYTES} bytes")
                yield number, line
    except EOFError:
        raise RecordingError(path, number + 1, "the gzip file is cut short here") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise RecordingError(path, number + 1, f"the gzip file is damaged here: {error}") from None
    except OSError as error:
        raise RecordingError(path, None, f"cannot be read: {error.strerror or error}") from None


def sessions_of(
    events: Iterable[tuple[int, RecordedEvent]], path: str | os.PathLike[str]
) -> Iterator[RecordedSession]:
    """Groups numbered events into sessions and checks their order.

    Raises:
        RecordingError: an event stands outside a session, `t` runs backwards, or an end is missing.
    """
    gathered: list[RecordedEvent] = []
    number = 0
    for number, event in events:
        if isinstance(event, SessionEvent):
            if gathered:
                raise RecordingError(
                    path,
                    number,
                    f"session {event.id!r} begins before session {_id(gathered)!r} has ended",
                )
        elif not gathered:
            name = type(event).__name__.removesuffix("Event").lower()
            raise RecordingError(
                path, number, f"{name!r} outside a session; expected 'session' first"
            )
        elif event.t < gathered[-1].t:
            raise RecordingError(
                path,
                number,
                f"t: {event.t:g} runs backwards; the event before it has {gathered[-1].t:g}",
            )
        gathered.append(event)
        if isinstance(event, EndEvent):
            first = gathered[0]
            project = first.project if isinstance(first, SessionEvent) else None
            yield RecordedSession(_id(gathered), project, tuple(gathered))
            gathered = []
    if gathered:
        raise RecordingError(
            path, number, f"the file ends within session {_id(gathered)!r}; its 'end' is missing"
        )


def _id(events: list[RecordedEvent]) -> str:
    first = events[0]
    return first.id if isinstance(first, SessionEvent) else ""


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a finite number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{printable(twice[:80])}: given more than once in one object")
    return found


def parse_event(text: str) -> RecordedEvent:
    """The event of one line. Fields that the format does not know are ignored.

    Raises:
        ValueError: the line does not fit; one line of the message for each fault.
    """
    try:
        fields = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("not a recorded event: nested too deeply") from None
    if not isinstance(fields, Mapping):
        raise ValueError(f"expected a JSON object, got {type_name(fields)}")
    return _event(fields)


def _event(fields: Mapping[str, Any]) -> RecordedEvent:
    reader = FieldReader()
    kind = fields.get("event")
    if kind not in _EVENTS:
        raise InvalidPrediction(f"event: {kind!r} is not one of {', '.join(_EVENTS)}")
    t = float(reader.number(fields, "t", required=True) or 0.0)
    event: RecordedEvent
    match kind:
        case "session":
            project = reader.text(fields, "project") or None
            event = SessionEvent(t, reader.text(fields, "id", required=True), project)
        case "context":
            event = ContextEvent(t, reader.text(fields, "id", required=True))
        case "predict":
            event = _predict(reader, fields, t)
        case "access":
            key = reader.key(fields, "key")
            load_s = reader.number(fields, "load_s", required=True)
            tokens = reader.number(fields, "tokens", whole=True, required=True)
            event = AccessEvent(t, key, float(load_s or 0.0), int(tokens or 0))
        case "change":
            event = ChangeEvent(t, reader.key(fields, "key"))
        case _:
            event = EndEvent(t)
    reader.check()
    return event


def _predict(reader: FieldReader, fields: Mapping[str, Any], t: float) -> PredictEvent:
    constraints: Constraints | None = None
    if not isinstance(fields.get("items"), list):
        reader.fault(
            "items", f"expected a list of predictions, got {type_name(fields.get('items'))}"
        )
    items = adapters.read_predictions(reader, fields, "items")
    if fields.get("constraints") is not None:
        constraints = adapters.read_constraints(
            reader, reader.mapping(fields, "constraints"), "constraints"
        )
    return PredictEvent(t, items, constraints)


def event_line(event: RecordedEvent) -> str:
    """One line, without its line feed, that `parse_event` reads back as an equal event."""
    name = type(event).__name__.removesuffix("Event").lower()
    fields = attrs.asdict(event, filter=lambda _, value: value is not None)
    if isinstance(event, PredictEvent):
        fields["items"] = [
            attrs.asdict(item, filter=lambda _, value: value is not None and value != "")
            for item in event.items
        ]
    return json.dumps(
        {"event": name, **fields}, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
