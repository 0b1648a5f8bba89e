"""The fields of log records: what a record is about, for handlers that write more than its text.

Each is an attribute of the record with `prefetch_` before its name, and is not there where it says
nothing. docs/observability.md lists them for hosts.
"""

from typing import Any, TypedDict, Unpack


class LogFields(TypedDict, total=False):
    """What a record may say of itself."""

    engine: str
    """Which of the process's engines."""
    session: str
    key: str
    source: str
    actor: str
    """Which of the engine's actors."""
    error: str
    alert: str
    """The metric whose threshold was crossed."""
    value: float | None
    threshold: float
    cause: str
    """Why an entry left the cache."""


def log_fields(**fields: Unpack[LogFields]) -> dict[str, Any]:
    """What `extra` of a logging call takes."""
    return {f"prefetch_{name}": value for name, value in fields.items() if value not in ("", None)}
