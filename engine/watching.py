"""Watches the folders of cached files, so that what changes is gone, and loaded again, before it is
read. An accelerator and never the truth: each read checks its file as ever, and an event that is
lost costs the reader that load, and nothing else.

Threads: one of its own, two of watchdog's, and one of watchdog's for each folder, at most
`MAX_FOLDERS`. Files in further folders are not watched.
"""

import importlib.util
import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from prefetch_scheduler.engine.follower_thread import FollowerThread
from prefetch_scheduler.engine.sources.registry import SourceRegistry
from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.errors import ConfigError
from prefetch_scheduler.policies.keys import public_key

logger = logging.getLogger("prefetch_scheduler.watch")

MAX_FOLDERS = 64
COALESCE_S = 0.03
"""Real seconds for which events are gathered: an editor's save is several of them."""
MAX_WAITING = 50_000
"""Entries and events that may wait for the thread; past them they are lost."""

Current = Callable[[str], tuple[Entry | None, Content | None]]


def require_watchdog() -> None:
    """Raises:
    ConfigError: the package that `cache.watch` needs is not installed.
    """
    if importlib.util.find_spec("watchdog") is None:
        raise ConfigError(
            "cache.watch: needs the package watchdog, which is not installed; run"
            " pip install 'prefetch-scheduler[watch]', or set it to false"
        )


class FolderWatch(FollowerThread):
    """Follows the CacheLayer (`actors.ports.Follower`).

    Args:
        registry: the sources, which say of which files content is made.
        current: the entry of a cache key, and its content if that is fresh.
        changed: told each key whose file has changed, once; as `FileChanged` by the host.
        name: of its thread.
    """

    def __init__(
        self,
        registry: SourceRegistry,
        current: Current,
        changed: Callable[[str], object],
        name: str,
    ) -> None:
        super().__init__(name)
        self._registry = registry
        self._current = current
        self._changed = changed
        self._lock = threading.Lock()
        self._told: dict[str, int] = {}
        """Cache key -> the id of its source, or -1 where nothing is resident any more."""
        self._touched: dict[str, None] = {}
        """Paths that events named."""
        self._files: dict[str, tuple[str, ...]] = {}
        self._keys: dict[str, set[str]] = {}
        """Path -> the cache keys made from it."""
        self._folders: dict[str, set[str]] = {}
        """Folder that is watched -> the paths in it."""
        self._watches: dict[str, Any] = {}
        self._observer: Any = None
        self._warned = False
        self.events = 0
        """Events seen so far."""

    # ---- what the CacheLayer and watchdog tell --------------------------------------------------

    def resident(self, entry: Entry) -> None:
        self._tell(entry.stored, entry.source_id)

    def gone(self, stored: str) -> None:
        self._tell(stored, -1)

    def _tell(self, stored: str, source_id: int) -> None:
        with self._lock:
            if len(self._told) < MAX_WAITING:
                self._told[stored] = source_id
        self._work.set()

    def touched(self, path: str) -> None:
        """An event named this path."""
        with self._lock:
            self.events += 1
            if len(self._touched) < MAX_WAITING:
                self._touched[path] = None
        self._work.set()

    # ---- its thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._work.wait()
                self._ending.wait(COALESCE_S)
                self._work.clear()
                with self._lock:
                    told, self._told = self._told, {}
                    touched, self._touched = self._touched, {}
                for path in touched:
                    self._look(path)
                for stored, source_id in told.items():
                    self._follow(stored, source_id)
        except BaseException:  # reads are right without it
            logger.exception("watching failed and has ended; reads check their files as ever")
        finally:
            self._end()

    def _look(self, path: str) -> None:
        """Drop what was made from a file that is not what it was."""
        if path in self._folders:  # moved or deleted, and with it the watch
            paths = [*self._folders[path]]
            self._unwatch(path)
        else:
            paths = [path]
        for each in paths:
            for stored in [*self._keys.get(each, ())]:
                if self._ending.is_set():
                    return
                entry, content = self._current(stored)
                if entry is not None and content is None:
                    self._changed(public_key(stored))

    def _follow(self, stored: str, source_id: int) -> None:
        if source_id < 0:
            self._forget(stored)
            return
        if stored in self._files and all(
            os.path.dirname(path) in self._watches for path in self._files[stored]
        ):
            return
        self._forget(stored)
        name = public_key(stored).partition(":")[2]
        paths = self._registry.watched(source_id, name)
        if not paths:
            return
        for path in paths:
            self._keys.setdefault(path, set()).add(stored)
            self._watch(os.path.dirname(path), path)
        self._files[stored] = paths
        # What changed between its load and the watch was not seen. Looked at in the next round:
        # watchdog sets its watch up in a thread of its own.
        with self._lock:
            self._touched[paths[0]] = None
        self._work.set()

    def _forget(self, stored: str) -> None:
        for path in self._files.pop(stored, ()):
            keys = self._keys.get(path)
            if keys is None:
                continue
            keys.discard(stored)
            if keys:
                continue
            del self._keys[path]
            # The watch stays until another folder needs its place: the file may come back soon.
            self._folders.get(os.path.dirname(path), set()).discard(path)

    # ---- watchdog -------------------------------------------------------------------------------

    def _watch(self, folder: str, path: str) -> None:
        if folder not in self._folders:
            if len(self._folders) >= MAX_FOLDERS:
                unused = next((f for f, paths in self._folders.items() if not paths), None)
                if unused is None:
                    return
                self._unwatch(unused)
            if not self._schedule(folder):
                return
            self._folders[folder] = set()
        self._folders[folder].add(path)

    def _schedule(self, folder: str) -> bool:
        from watchdog import events
        from watchdog.observers import Observer

        try:
            if self._observer is None:
                self._observer = Observer()
                self._observer.start()
            self._watches[folder] = self._observer.schedule(
                _handler(self.touched),
                folder,
                recursive=False,
                event_filter=[
                    events.FileCreatedEvent,
                    events.FileModifiedEvent,
                    events.FileMovedEvent,
                    events.FileDeletedEvent,
                    events.DirMovedEvent,
                    events.DirDeletedEvent,
                ],
            )
        except Exception as error:  # noqa: BLE001 - the system has no watch left, or no such folder
            if not self._warned:
                self._warned = True
                logger.warning("%s cannot be watched: %s (logged once)", folder, error)
            return False
        return True

    def _unwatch(self, folder: str) -> None:
        self._folders.pop(folder, None)
        watch = self._watches.pop(folder, None)
        if watch is None:
            return
        try:
            self._observer.unschedule(watch)
        except Exception:  # noqa: BLE001 - it ended by itself, with its folder
            logger.debug("the watch of %s had ended", folder)

    def _end(self) -> None:
        observer, self._observer = self._observer, None
        if observer is None:
            return
        emitters = list(observer.emitters)
        observer.stop()
        for thread in (observer, *emitters):
            thread.join()


def _handler(touched: Callable[[str], None]) -> Any:
    from watchdog.events import FileSystemEventHandler

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: Any) -> None:
            for path in (event.src_path, event.dest_path):
                if path:
                    touched(os.fsdecode(path))

    return Handler()
