"""What a source says of its names: estimates and versions, each answer checked and guarded."""

import logging
import sys
import threading
from collections.abc import Callable, Hashable
from typing import Any

from prefetch_scheduler.engine.sources.results import shown
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.figures import MAX_LOAD_S, MAX_TOKENS, is_number, within
from prefetch_scheduler.policies.source_info import Survey

logger = logging.getLogger(__name__)

Check = Callable[[str, Content], Content | None]


def pass_interrupt(error: BaseException) -> None:
    """Raise the user's own Ctrl-C, which Python delivers to the main thread alone, once more.

    Everything else that a source raises is its own affair: `SystemExit` must end neither the
    host's thread nor a pool's.
    """
    if (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
    ):
        raise error


class _Unknown:
    """The version of what was loaded while its source could not say: equal to nothing."""

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "<version unknown>"


UNKNOWN_VERSION: Hashable = _Unknown()


def _has_short_way(source: type) -> bool:
    """Whether its `quick_check` speaks of the `verify` that it has: no subclass has another one."""

    def depth(word: str) -> int:
        """How far up its definition is."""
        owners = (at for at, owner in enumerate(source.__mro__) if word in vars(owner))
        return next(owners, len(source.__mro__))

    others = min(depth("verify"), depth("file_of"), depth("version"))
    return depth("quick_check") <= others < len(source.__mro__)


class Asked:
    """The questions that one source is asked. No answer of its code raises out of here.

    Args:
        source: a source that has been validated.
        who: what log messages call it.
    """

    def __init__(self, source: Any, who: str) -> None:
        self._source = source
        self._who = who
        self._warned: set[str] = set()
        self._excluded: Callable[[str], Any] | None = getattr(source, "excluded", None)
        self._verify: Callable[[str, Content], Any] | None = getattr(source, "verify", None)
        self._versioned = getattr(source, "version", None) is not None
        self.check: Check | None = None
        """Whether content is fresh: `(name, content)` -> content, a re-stamped copy, or None."""
        if self._verify is not None:
            self.check = self._verified
        elif self._versioned:
            self.check = self._compared
        self.confirm: Callable[[str, Content], Content | None] = (
            source.quick_check() if _has_short_way(type(source)) else self._confirmed
        )
        """`(key, content)` -> `content` where the check returns it as it is; None says nothing."""
        words = ("tokens", "load_s", "version")
        self.surveys = self._excluded is not None or any(
            callable(getattr(source, word, None)) for word in words
        )

    def constant(self, word: str) -> Any:
        """The constant estimate `word`; None where it is a function, or missing."""
        value = getattr(self._source, word, None)
        return None if callable(value) else value

    # ---- freshness --------------------------------------------------------------------------

    def _confirmed(self, key: str, content: Content) -> Content | None:
        if self.check is None or self.check(key.partition(":")[2], content) is not content:
            return None
        return content

    def _verified(self, name: str, content: Content) -> Content | None:
        try:
            result = self._verify(name, content) if self._verify is not None else content
        except BaseException as error:  # noqa: BLE001 - the source's code
            pass_interrupt(error)
            self.warn("verify", f"raised for {name!r}; content counts as stale")
            return None
        if result is None or isinstance(result, Content):
            return result
        self.warn("verify", f"returned {shown(result)}, not Content or None; it counts as stale")
        return None

    def _compared(self, name: str, content: Content) -> Content | None:
        try:
            return content if content.version == self._version(name) else None
        except BaseException as error:  # noqa: BLE001 - the source's code
            pass_interrupt(error)
            self.warn("version", f"raised for {name!r}; content counts as stale")
            return None

    def _version(self, name: str) -> Hashable:
        # Asked anew each time: a host may replace a constant.
        version: Hashable | Callable[[str], Hashable] = self._source.version
        return version(name) if callable(version) else version

    def version_now(self, name: str) -> Hashable:
        """The version before a load; `UNKNOWN_VERSION` where the source fails to say."""
        if not self._versioned:
            return None
        try:
            version = self._version(name)
            hash(version)
        except BaseException as error:  # noqa: BLE001 - the source's code
            pass_interrupt(error)
            self.warn("version", f"raised for {name!r}; what is loaded counts as stale")
            return UNKNOWN_VERSION
        return version

    def knows(self, name: str) -> bool:
        """Whether the source can tell a version of this name now."""
        version = self.version_now(name)
        return version is not None and version is not UNKNOWN_VERSION

    def judges(self, content: Content) -> bool:
        """Whether a check of this content can find it stale: by `verify`, or by its version."""
        if self._verify is not None:
            return True
        known = content.version is not None and content.version is not UNKNOWN_VERSION
        return self._versioned and known

    # ---- before loading ---------------------------------------------------------------------

    def survey(self, name: str) -> Survey:
        """What the source knows of a name without loading it."""
        version = self.version_now(name)
        return Survey(
            tokens=self._estimate("tokens", name, whole=True),
            load_s=self._estimate("load_s", name, whole=False),
            version=None if version is UNKNOWN_VERSION else version,
            excluded=self.why_excluded(name),
        )

    def _estimate(self, word: str, name: str, *, whole: bool) -> Any:
        most = MAX_TOKENS if whole else MAX_LOAD_S
        try:
            estimate = getattr(self._source, word, None)
            value = estimate(name) if callable(estimate) else estimate
            if value is None or (is_number(value, whole=whole) and within(value, most)):
                return value
        except BaseException as error:  # noqa: BLE001 - the source's code
            pass_interrupt(error)
            self.warn(word, f"raised for {name!r}; estimated without it")
            return None
        what = f"returned {shown(value)} for {name!r}, not a number in 0..{most:g}; ignored"
        self.warn(word, what)
        return None

    def why_excluded(self, name: str) -> str | None:
        """Why the source excludes the name from being prefetched; None: it does not."""
        if self._excluded is None:
            return None
        try:
            why = self._excluded(name)
            if not why:
                return None
        except BaseException as error:  # noqa: BLE001 - the source's code
            pass_interrupt(error)
            # What may be a secret is not loaded ahead on the strength of a bug.
            self.warn("excluded", f"raised for {name!r}; it is not prefetched")
            return "its source failed to say whether it may be prefetched"
        return why if isinstance(why, str) else "its source excludes it from prefetching"

    def warn(self, word: str, what: str) -> None:
        """Once for each member, with the traceback of the exception being handled, if any."""
        if word in self._warned:
            return
        self._warned.add(word)
        logger.warning(
            "%s: its %s %s (logged once)", self._who, word, what, exc_info=sys.exception()
        )
