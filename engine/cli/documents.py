"""Reads a YAML or JSON document that a command was given: a file, or `-` for standard input."""

import json
import sys
from pathlib import Path

from prefetch_scheduler.engine.yaml_core import read_yaml
from prefetch_scheduler.policies.errors import InvalidPrediction

MAX_BYTES = 16 * 1024 * 1024
"""A larger document is refused rather than read into memory."""

STDIN = "-"


def read_document(path: str) -> object:
    """Plain data; None for an empty document.

    Raises:
        InvalidPrediction: it cannot be read, or is neither JSON nor YAML; each fault with its
            file, line and column.
    """
    name = "<stdin>" if path == STDIN else path
    try:
        if path == STDIN:
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidPrediction(f"{name}: cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise InvalidPrediction(f"{name}: larger than the {MAX_BYTES} bytes allowed")
    return _parsed(raw, name, is_json=path.endswith(".json"))


def _parsed(raw: bytes, name: str, *, is_json: bool) -> object:
    try:
        data: object = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        if is_json:
            where = f"{name}:{error.lineno}:{error.colno}"
            raise InvalidPrediction(f"{where}: not valid JSON: {error.msg}") from None
    except (ValueError, RecursionError):  # not UTF-8, a key twice, or too deep: YAML says where
        pass
    else:
        return data
    document = read_yaml(raw)
    if document.faults:
        raise InvalidPrediction(f"{name}:{place}: {text}" for place, text in document.faults)
    return document.data


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of a JSON document. What it says of a key twice is not known to be meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found
