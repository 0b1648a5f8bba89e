"""How long a response may be served, from its own headers (RFC 9111), to a private cache.

What a response leaves open is not guessed from its age: the source's `assumed_max_age_s` holds.
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from prefetch_scheduler.policies.values import frozen

_DIRECTIVE = re.compile(r"([a-z0-9_-]+)(?:\s*=\s*(?:\"([^\"]*)\"|([^\s,\"]*)))?", re.IGNORECASE)
_LONGEST_S = 31_536_000.0
"""A year: longer than any process keeps content."""


@frozen
class Freshness:
    """What a response says of its own life."""

    max_age_s: float | None
    """Seconds from now for which it may be served unasked; None: it does not say."""
    may_keep: bool
    """Whether it may be kept to be confirmed by a later request."""


def freshness(headers: Mapping[str, str]) -> Freshness:
    """Of a response with these headers, whose names are in lower case."""
    said = _directives(headers.get("cache-control", ""))
    if "no-store" in said:
        return Freshness(0.0, may_keep=False)
    if "no-cache" in said or ("pragma" in headers and not said and _no_cache(headers["pragma"])):
        return Freshness(0.0, may_keep=True)
    lifetime = _lifetime(said, headers)
    if lifetime is None:
        return Freshness(None, may_keep=True)
    return Freshness(min(_LONGEST_S, max(0.0, lifetime - _age(headers))), may_keep=True)


def _lifetime(said: Mapping[str, str], headers: Mapping[str, str]) -> float | None:
    if "max-age" in said:
        return _seconds(said["max-age"])
    if "expires" not in headers:
        return None
    expires, date = _date(headers["expires"]), _date(headers.get("date", ""))
    if expires is None or date is None:
        return 0.0  # `Expires: 0` and the like mean: already expired
    return expires - date


def _age(headers: Mapping[str, str]) -> float:
    return _seconds(headers["age"]) if "age" in headers else 0.0


def _directives(text: str) -> dict[str, str]:
    return {
        found[1].lower(): found[2] if found[2] is not None else found[3] or ""
        for found in _DIRECTIVE.finditer(text)
    }


def _no_cache(pragma: str) -> bool:
    return "no-cache" in pragma.lower()


def _seconds(text: str) -> float:
    """Whole seconds; what is none counts as 0, which is the safe side for an age limit."""
    return min(_LONGEST_S, float(text)) if text.isascii() and text.isdigit() else 0.0


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
