"""Messages that nobody will handle, counted by type."""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)


class DeadLetters:
    """Counts what was refused, left in a closed inbox, or killed its actor.

    Each thread counts in a table of its own, so that the count is exact without a lock that
    actors would share.

    Args:
        hook: called with each dead message, in the thread that found it; what it raises is logged.
    """

    def __init__(self, hook: Callable[[Any], None] | None = None) -> None:
        self._hook = hook
        self._tables: dict[int, Counter[str]] = {}

    def add(self, message: Any) -> None:
        """Count one message and hand it to the hook."""
        ident = threading.get_ident()
        table = self._tables.get(ident)
        if table is None:
            table = self._tables.setdefault(ident, Counter())
        table[type(message).__name__] += 1
        if self._hook is None:
            return
        try:
            self._hook(message)
        except Exception:  # a hook is the host's code: its faults are not the sender's
            logger.exception("the dead-letter hook failed on %s", type(message).__name__)

    def counts(self) -> dict[str, int]:
        """Dead messages so far by type name."""
        total: Counter[str] = Counter()
        for table in list(self._tables.values()):
            total.update(dict(table))
        return dict(total)

    @property
    def total(self) -> int:
        return sum(self.counts().values())
