"""What works beside an engine's actors, in threads of its own, and starts and ends with them: the
cold store's file, the watch over folders, and the file of what was learned.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from prefetch_scheduler.actors.messages import LearnedQuery
from prefetch_scheduler.engine.learned_file import SUFFIX
from prefetch_scheduler.engine.learned_store import LearnedStore
from prefetch_scheduler.policies.cache_events import Invalidate
from prefetch_scheduler.policies.keys import exactly
from prefetch_scheduler.policies.remembering import remembered
from prefetch_scheduler.policies.restoring import Restoring

if TYPE_CHECKING:
    from prefetch_scheduler.engine.cold_store import ColdStore
    from prefetch_scheduler.engine.runtime import Runtime
    from prefetch_scheduler.engine.watching import FolderWatch

ANSWER_S = 5.0
"""Real seconds that the planner may take to say what it has learned."""


class Followers:
    """Those that the configuration asks for.

    Args:
        runtime: the engine's, whose actors they follow.
    """

    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime
        self.cold = self._cold_store()
        """What keeps the cache over a restart; None: nothing does."""
        self.watch = self._folder_watch()
        """What watches the folders of cached files; None: nothing does."""
        self.learned: LearnedStore | None = None
        """What keeps what was learned over a restart; None: nothing does."""

    def of_cache(self) -> "list[ColdStore | FolderWatch]":
        """Those that are told what the cache holds."""
        return [follower for follower in (self.cold, self.watch) if follower is not None]

    def start(self) -> None:
        for follower in self.of_cache():
            follower.start()
        self._recall()

    def stop(self, end: float) -> tuple[str, ...]:
        """Keep what there is to keep; nobody tells them anything any more.

        Args:
            end: when it has to be done, by `time.monotonic()`.

        Returns:
            The names of threads that did not end.
        """
        left = self._finish_learning(end)
        for follower in self.of_cache():
            left += follower.stop(max(0.0, end - time.monotonic()))
        return left

    # ---- what was learned ------------------------------------------------------------------

    def _recall(self) -> None:
        """Take up what an earlier engine learned, where this one has the cold store's file."""
        if self.cold is None or self.cold.reason is not None:
            return
        runtime = self._runtime
        name = f"prefetch-{runtime.system.engine_id}-learned"
        store = LearnedStore(f"{self.cold.path}{SUFFIX}", runtime.registry, self._ask, name)
        runtime.planner_kept.learned = store.load(runtime.config)
        self.learned = store
        store.start()

    def _ask(self) -> Mapping[str, Any] | None:
        planner = self._runtime.planner
        try:
            found: Mapping[str, Any] = planner.ask(LearnedQuery(), timeout=ANSWER_S)
        except Exception:  # noqa: BLE001 - the planner is busy, or gone: the next time will do
            return None
        return found

    def _finish_learning(self, end: float) -> tuple[str, ...]:
        """Keep what was learned, once the planner is gone, which had it."""
        store, state = self.learned, self._runtime.planner_kept.state
        if store is None:
            return ()
        last = None
        with suppress(RuntimeError):  # a planner that hangs, left behind, may learn even now
            last = None if state is None else remembered(state.learning, state.estimator)
        return store.finish(last, max(0.0, end - time.monotonic()))

    # ---- the cache's -----------------------------------------------------------------------

    def _cold_store(self) -> "ColdStore | None":
        runtime = self._runtime
        rules = runtime.config.cache
        if rules.cold_store == "memory":
            return None
        from prefetch_scheduler.engine.cold_store import ColdStore, cold_path  # needs sqlite3

        runtime.cache_kept.restoring = Restoring()
        return ColdStore(
            cold_path(rules.cold_path),
            items=runtime.config.cold_cache_size,
            size=rules.cold_max_bytes,
            registry=runtime.registry,
            clock=runtime.clock,
            restore=runtime.cache.tell,
            count=runtime.count,
            name=f"prefetch-{runtime.system.engine_id}-cold",
        )

    def _folder_watch(self) -> "FolderWatch | None":
        runtime = self._runtime
        if not runtime.config.cache.watch:
            return None
        from prefetch_scheduler.engine.watching import FolderWatch, require_watchdog

        require_watchdog()
        name = f"prefetch-{runtime.system.engine_id}-watch"
        return FolderWatch(runtime.registry, runtime.reader.current, self._file_changed, name)

    def _file_changed(self, key: str) -> None:
        """As when the host says so."""
        pattern, runtime = exactly(key), self._runtime
        runtime.cache.tell(Invalidate(pattern, runtime.view.board.note(pattern)))
