"""What a cold store keeps of one entry, as bytes: a small header, the value, and a checksum.

::

    magic (4) | length of the header (4, big-endian) | header (JSON) | value | BLAKE2b (16)

The checksum covers the cache key too. Nothing is unpickled: a header holds plain values, and a
version is written only where it is made of them, or is a file's stamp.
"""

import json
from collections.abc import Hashable
from hashlib import blake2b
from typing import Any

from attrs import astuple

from prefetch_scheduler.engine.sources.freshness import FileStamp
from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import Layer, Priority

MAGIC = b"PSC1"
_DIGEST = 16
_START = len(MAGIC) + 4
_ERRORS = "surrogatepass"  # text from a file may hold what UTF-8 proper has no bytes for


class Unkeepable(ValueError):
    """It cannot be written so that it could be checked after a restart; says why."""


class Damaged(ValueError):
    """The bytes are not what was written."""


@frozen
class Record:
    """One entry as it was kept."""

    content: Content
    origin: str
    """The source that loaded it, as `SourceRegistry.origin` has it."""
    loaded_at: float
    """Wall-clock time of its load, in seconds since the epoch."""
    load_s: float
    priority: Priority

    def entry(self, stored: str, source_id: int, source: str, *, now: float, age: float) -> Entry:
        """The entry to restore.

        Args:
            stored: its cache key.
            source_id: the source that judges it from now on, named `source`.
            now: engine time, in seconds.
            age: seconds since it was loaded.
        """
        content = self.content.placed(
            key=stored, source=source, loaded_at=self.loaded_at, layer=Layer.COLD
        )
        return Entry(
            stored=stored,
            content=content,
            source_id=source_id,
            epoch=0,
            asked_at=float("-inf"),  # whatever this engine has loaded itself is newer
            loaded_at=now - age,
            load_s=self.load_s,
            session="",
            priority=self.priority,
        )


def encode(entry: Entry, origin: str) -> bytes:
    """The bytes of an entry.

    Raises:
        Unkeepable: its version is not made of plain values.
    """
    content = entry.content
    text = isinstance(content.value, str)
    header = {
        "text": text,
        "tokens": content.tokens,
        "media_type": content.media_type,
        "max_age_s": content.max_age_s,
        "version": _plain(content.version),
        "origin": origin,
        "loaded_at": content.loaded_at,
        "load_s": entry.load_s,
        "priority": int(entry.priority),
    }
    try:
        head = json.dumps(header, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise Unkeepable(f"its description cannot be written: {error}") from error
    value = content.value
    raw = value.encode("utf-8", _ERRORS) if isinstance(value, str) else value
    body = b"".join((MAGIC, len(head).to_bytes(4, "big"), head, raw))
    return body + _digest(entry.stored, body)


def decode(stored: str, data: bytes) -> Record:
    """The record of a cache key.

    Raises:
        Damaged: these are not the bytes that were written under that key.
    """
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    if not body.startswith(MAGIC) or digest != _digest(stored, body):
        raise Damaged("its checksum does not match")
    end = _START + int.from_bytes(body[len(MAGIC) : _START], "big")
    try:
        head: dict[str, Any] = json.loads(body[_START:end])
        raw = body[end:]
        content = Content(
            raw.decode("utf-8", _ERRORS) if head["text"] else raw,
            tokens=head["tokens"],
            version=_version(head["version"]),
            media_type=head["media_type"],
            max_age_s=head["max_age_s"],
        )
        loaded_at, load_s = float(head["loaded_at"]), float(head["load_s"])
        return Record(content, head["origin"], loaded_at, load_s, Priority(head["priority"]))
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise Damaged(f"it cannot be read: {error!r}") from error


def _digest(stored: str, body: bytes) -> bytes:
    key = stored.encode("utf-8", _ERRORS)
    return blake2b(len(key).to_bytes(4, "big") + key + body, digest_size=_DIGEST).digest()


def _plain(version: Hashable) -> Any:
    """A version as JSON: `[kind, value]`. Exact types only: a subclass may compare in its way."""
    kind = type(version)
    if version is None or kind in (bool, int, str):
        return ["plain", version]
    if isinstance(version, float) and kind is float:
        return ["float", version.hex()]
    if isinstance(version, bytes) and kind is bytes:
        return ["bytes", version.hex()]
    if isinstance(version, tuple) and kind is tuple:
        return ["tuple", [_plain(part) for part in version]]
    if isinstance(version, FileStamp) and kind is FileStamp:
        *fields, _path = astuple(version)  # the root may be another one next time
        return ["file", fields]
    raise Unkeepable(f"its version is a {kind.__name__}, which cannot be written and read back")


def _version(plain: Any) -> Hashable:
    kind, value = plain
    match kind:
        case "plain":
            known: Hashable = value
            return known
        case "float":
            return float.fromhex(value)
        case "bytes":
            return bytes.fromhex(value)
        case "tuple":
            return tuple(_version(part) for part in value)
        case "file":
            mtime_ns, ctime_ns, size, inode, device, settled = value
            return FileStamp(mtime_ns, ctime_ns, size, inode, device, settled=settled)
        case _:
            raise ValueError(f"unknown kind of version {kind!r}")
