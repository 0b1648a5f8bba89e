"""What the commands share in what they print: JSON on standard output, complaints on stderr."""

import json
import math
import sys
from collections.abc import Mapping
from enum import Enum

from prefetch_scheduler.policies.yaml_text import printable


def write_json(document: object) -> None:
    """One JSON document on standard output, and nothing else.

    A number that is not finite becomes null, as a rate without requests does (decision D39); sets
    are sorted, all else keeps its order. Escaped to ASCII, so that any terminal or pipe takes it.

    Raises:
        TypeError: something in the document is not plain data.
    """
    sys.stdout.write(json.dumps(_finite(document), indent=2, allow_nan=False) + "\n")


def _finite(value: object) -> object:
    if isinstance(value, Enum):
        return _finite(value.value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, set | frozenset):
        return [_finite(inner) for inner in sorted(value)]
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def complain(*lines: str) -> None:
    """Says on standard error what was wrong, one line for each fault."""
    if sys.stderr is not None:  # closed before the program began: there is nobody to tell
        sys.stderr.writelines(f"{printable(line)}\n" for line in lines)
