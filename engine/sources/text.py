"""Bytes to text: which encoding a file has, and whether it is text at all."""

import codecs
import re

from prefetch_scheduler.policies.values import frozen

_BOMS = (
    # UTF-32's little-endian mark begins with UTF-16's, so it comes first.
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = re.compile(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")
"""Bytes that text in a one-byte encoding does not hold: all of C0 but white space, BS and ESC."""
_CONTROL_TEXT = re.compile("[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff]")
_DECLARED = re.compile(rb"coding[:=][ \t]*[\"']?([-\w.]{1,40})")
"""PEP 263's `coding: x`, and the `encoding="x"` of XML."""
_SAMPLE = 4096
_ZEROS = 0.4
"""Share of zero bytes at one parity from which UTF-16 is tried: Latin text has nearly all of it."""


@frozen
class Decoded:
    """What a file holds: text with its encoding's name, or its bytes where it is not text."""

    value: str | bytes
    encoding: str | None

    @property
    def media_type(self) -> str:
        if self.encoding is None:
            return "application/octet-stream"
        return f"text/plain; charset={self.encoding}"


def decode(raw: bytes, *, encoding: str | None = None) -> Decoded:
    """The text of `raw`, or `raw` itself where it is not text. Never fails; drops only a BOM.

    In order: `encoding` where given and it fits; a byte order mark; UTF-8; UTF-16 without a mark,
    by where its zero bytes lie; an encoding that the file declares in its first two lines;
    Windows-1252 and Latin-1 for what holds no control characters. Line ends stay as they are.
    """
    if encoding is not None:
        text = _attempt(raw, encoding)
        if text is not None:
            return Decoded(text, encoding)
    for mark, name in _BOMS:
        if raw.startswith(mark):
            text = _attempt(raw, name)
            if text is not None:
                return Decoded(text, name)
    if b"\x00" in raw:
        return _wide(raw)
    text = _attempt(raw, "utf-8")
    if text is not None:
        return Decoded(text, "utf-8")
    if _CONTROL.search(raw):
        return Decoded(raw, None)
    for name in filter(None, (_declared(raw), "cp1252", "latin-1")):
        text = _attempt(raw, name)
        if text is not None:
            return Decoded(text, name)
    return Decoded(raw, None)


def looks_binary(sample: bytes) -> bool:
    """Whether a file's beginning, of an even size, shows that `decode` would leave it as bytes."""
    if any(sample.startswith(mark) for mark, _ in _BOMS):
        return False
    if b"\x00" in sample:
        return _wide(sample).encoding is None
    if not _CONTROL.search(sample):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # the last character may be cut
    except UnicodeDecodeError:
        return True
    return False


def _wide(raw: bytes) -> Decoded:
    if len(raw) % 2 == 0:
        sample = raw[:_SAMPLE]
        half = len(sample) // 2
        for name, high, low in (
            ("utf-16-le", sample[1::2], sample[::2]),
            ("utf-16-be", sample[::2], sample[1::2]),
        ):
            if high.count(0) < half * _ZEROS or low.count(0):
                continue
            text = _attempt(raw, name)
            if text is not None and not _CONTROL_TEXT.search(text):
                return Decoded(text, name)
    return Decoded(raw, None)


def _declared(raw: bytes) -> str | None:
    for line in raw.split(b"\n", 2)[:2]:
        found = _DECLARED.search(line)
        if found is not None:
            return found[1].decode("ascii", "replace")
    return None


def _attempt(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except (UnicodeError, LookupError, ValueError):
        return None
