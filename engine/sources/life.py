"""Sources that hold something open: told when their engine has started, and when it stops.

Neither `open` nor `close` is waited for by anybody but a stop, and that only within its time-out:
each runs in a daemon thread of its own, so that a server that does not answer holds nobody up.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from prefetch_scheduler.actors.runs import describe
from prefetch_scheduler.engine.sources.registry import SourceRegistry

logger = logging.getLogger(__name__)


class Changed(Protocol):
    """Told by a source what has changed. Safe to call from any thread, at any time; never raises.

    `changed(name)`, or a prefix of names ending in `*`; all of the source's names are `*`.
    """

    def __call__(self, pattern: str, /) -> None: ...


class SourceLife:
    """Opens and closes the sources of one engine.

    Args:
        registry: the sources.
        invalidate: takes a key, or a prefix of keys ending in `*`.
    """

    def __init__(self, registry: SourceRegistry, invalidate: Callable[[str], None]) -> None:
        self._registry = registry
        self._invalidate = invalidate
        self._opening: dict[int, threading.Thread] = {}
        self._opened = False

    def open(self) -> None:
        """Begin to open all sources, at once; returns without waiting for any."""
        self._opened = True
        for bound in self._registry.bound:
            if bound.open is not None:
                self._opening[bound.info.id] = _started(
                    f"open:{bound.info.name}",
                    lambda bound=bound: bound.open(self._changed(bound.info.kind)),  # type: ignore[misc]  # bound early
                )

    def close(self, end: float) -> tuple[str, ...]:
        """Close all sources at once, if they were opened.

        Args:
            end: when to stop waiting, on the monotonic clock, in seconds.

        Returns:
            The names of the threads that had not ended by then.
        """
        if not self._opened:
            return ()
        closing = [
            _started(
                f"close:{bound.info.name}",
                lambda close=bound.close, id_=bound.info.id: self._close(id_, close),  # type: ignore[misc]  # bound early
            )
            for bound in self._registry.bound
            if bound.close is not None
        ]
        threads = [*self._opening.values(), *closing]
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        return tuple(thread.name for thread in threads if thread.is_alive())

    def _close(self, source_id: int, close: Callable[[], object]) -> None:
        close()
        # What was still being opened when it was closed has to be closed as well.
        opening = self._opening.get(source_id)
        if opening is not None and opening.is_alive():
            opening.join()
            close()

    def _changed(self, kind: str) -> Changed:
        def changed(pattern: str, /) -> None:
            try:
                self._invalidate(f"{kind}:{pattern}")
            except Exception as error:  # noqa: BLE001 - the source's thread must live on
                logger.warning(
                    "kind %r: change of %r not taken note of: %s", kind, pattern, describe(error)
                )

        return changed


def _started(label: str, action: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        try:
            action()
        except BaseException:  # the source's code: it harms itself alone
            logger.warning("%s of a source failed", label, exc_info=True)

    thread = threading.Thread(target=run, name=f"prefetch-source-{label}", daemon=True)
    thread.start()
    return thread
