"""Content past its age that is served all the same, where its source allows that.

Two opt-ins of a source, both counted in seconds past the content's own `max_age_s`, as RFC 5861
has them for HTTP: `stale_while_revalidate_s` and `stale_if_error_s`. They extend an age and
nothing else: what a change has made stale, told or seen by the source's own check, is never served
(decision D27).
"""

from collections.abc import Callable

from prefetch_scheduler.actors.ports import Clock
from prefetch_scheduler.actors.view import PublishedView
from prefetch_scheduler.engine.sources.registry import SourceRegistry
from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.keys import public_key
from prefetch_scheduler.policies.metrics_events import MetricsEvent, ServedStale
from prefetch_scheduler.policies.planner_events import Revalidate
from prefetch_scheduler.policies.source_info import SourceInfo

ASK_AGAIN_S = 1.0
"""Engine seconds after which a reader asks once more for what it asked for: a message may be
lost to a planner that was restarted."""
ASKED_KEPT = 1000
"""Keys of which it is remembered when that was; past them it is forgotten of all."""

WHILE_REVALIDATING = "while it is loaded again"
INSTEAD_OF_ERROR = "its load failed"


class Leniency:
    """Safe to use from any thread.

    Args:
        revalidate: has content loaded again in the background; must not block or raise.
        count: counts an event; must not block or raise.
    """

    def __init__(
        self,
        view: PublishedView,
        registry: SourceRegistry,
        clock: Clock,
        revalidate: Callable[[Revalidate], object],
        count: Callable[[MetricsEvent], object],
    ) -> None:
        self._view = view
        self._registry = registry
        self._clock = clock
        self._revalidate = revalidate
        self._count = count
        self._asked: dict[str, float] = {}
        infos = registry.table.infos
        self.any = any(i.stale_while_revalidate_s or i.stale_if_error_s for i in infos)
        """Whether any source allows anything: else nobody need ask."""

    def while_revalidating(self, stored: str, session: str) -> tuple[Entry, Content] | None:
        """The entry and its content, marked `stale`, while it is loaded again; None: not allowed.

        What it returns is to be counted as a hit, too.
        """
        found = self._allowed(stored, lambda info: info.stale_while_revalidate_s)
        if found is None:
            return None
        now = self._clock.now()
        if self._asked.get(stored, now - 2 * ASK_AGAIN_S) <= now - ASK_AGAIN_S:
            if len(self._asked) >= ASKED_KEPT:
                self._asked.clear()
            self._asked[stored] = now
            self._revalidate(Revalidate(session, public_key(stored), stored))
        self._served(stored, session, WHILE_REVALIDATING)
        return found

    def instead_of_error(self, stored: str, session: str) -> Content | None:
        """The content, marked `stale`, for a read whose load failed; None: not allowed."""
        found = self._allowed(stored, lambda info: info.stale_if_error_s)
        if found is None:
            return None
        self._served(stored, session, INSTEAD_OF_ERROR)
        return found[1]

    def _allowed(
        self, stored: str, window: Callable[[SourceInfo], float]
    ) -> tuple[Entry, Content] | None:
        board = self._view.board
        required = board.newest(stored) if len(board) else 0  # before the entry: see `newest`
        entry = self._view.entries.get(stored)
        if entry is None or entry.source_id < 0 or entry.epoch < required:
            return None
        limit = entry.content.max_age_s
        allowed = window(self._registry.table.infos[entry.source_id])
        if limit is None or not allowed:
            return None
        past = self._clock.now() - entry.loaded_at - limit
        if not 0 < past <= allowed:
            return None
        name = public_key(stored).partition(":")[2]
        if self._registry.fresh(entry.source_id, name, entry.content) is None:
            return None
        return entry, entry.content.as_stale()

    def _served(self, stored: str, session: str, why: str) -> None:
        self._count(ServedStale(session, public_key(stored), why))
