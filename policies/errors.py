"""Every error a host can see, grouped by what the host would do about it.

::

    PrefetchError
    ├── ConfigError            mend the configuration (also a ValueError)
    ├── InvalidPrediction      mend the call: role, key, number (also a ValueError)
    ├── UnknownKind            register a source for that kind (also a LookupError)
    ├── ResourceUnavailable    the resource cannot be had: go on without, or ask again later
    ├── LoadTimeout            it took too long: ask again, or go on without (also a TimeoutError)
    ├── EngineStopped          the engine is not running: start one (also a RuntimeError)
    ├── EngineDegraded         go on: reads work, predictions do not (also a RuntimeError)
    └── EngineFailed           the engine gave up: read its log, start another (also a RuntimeError)
"""

from collections.abc import Iterable


class PrefetchError(Exception):
    """Base of every error that this library raises on purpose."""


class _FaultListError(PrefetchError, ValueError):
    """An error that names every fault it found, one a line."""

    def __init__(self, faults: str | Iterable[str]) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


class ConfigError(_FaultListError):
    """The configuration has faults; `faults` holds one line for each."""


class InvalidPrediction(_FaultListError):
    """A prediction or constraint has faults; `faults` names each. Nothing of the call was taken."""


class UnknownKind(PrefetchError, LookupError):
    """No source serves the kind of a key."""

    def __init__(self, kind: str, served: Iterable[str]) -> None:
        self.kind = kind
        self.served = tuple(sorted(served))
        listed = ", ".join(self.served) or "none: the engine was given no sources"
        super().__init__(f"no source serves the kind {kind!r}; kinds served: {listed}")


class ResourceUnavailable(PrefetchError):
    """No source of the key's kind could load it; the message says why."""


class LoadTimeout(PrefetchError, TimeoutError):
    """The content was not there within the time allowed."""


class EngineStopped(PrefetchError, RuntimeError):
    """The engine was not started, or has been stopped."""


class EngineDegraded(PrefetchError, RuntimeError):
    """The actors do not run for now and are being rebuilt.

    Reads work, straight from the sources; nothing is loaded ahead until then.
    """


class EngineFailed(PrefetchError, RuntimeError):
    """The engine could not keep itself running and gave up."""
