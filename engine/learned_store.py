"""What an engine has learned, over a restart: read once at its start, written now and then and at
its end, by a thread of its own.

Whatever is wrong with the file, the engine begins with nothing learned and says so once; a file
that cannot be read as it should is set aside, and one that could not even be opened or renamed is
left alone and not written.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from prefetch_scheduler.engine import learned_file
from prefetch_scheduler.engine.follower_thread import FollowerThread
from prefetch_scheduler.engine.sources.registry import SourceRegistry
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.estimates import Estimator
from prefetch_scheduler.policies.learning import Learning
from prefetch_scheduler.policies.remembering import recall

logger = logging.getLogger("prefetch_scheduler.learned")

EVERY_S = 60.0
"""Real seconds from one writing to the next."""


class LearnedStore(FollowerThread):
    """Keeps what is learned in a file.

    Args:
        path: the file.
        registry: the sources, which figures are kept of.
        ask: what has been learned by now, as `remembered` gives it; None: nobody answers.
        name: of its thread.
    """

    def __init__(
        self,
        path: str,
        registry: SourceRegistry,
        ask: Callable[[], Mapping[str, Any] | None],
        name: str,
    ) -> None:
        super().__init__(name)
        self.path = path
        self._ask = ask
        self._last: Mapping[str, Any] | None = None
        self._usable = False
        self._written: Mapping[str, Any] | None = None
        self._failed = False
        self._names = {
            str(info.id): learned_file.fingerprint(info.kind, registry.origin(info.id))
            for info in registry.table.infos
        }

    # ---- at the start ---------------------------------------------------------------------------

    def load(self, config: Config) -> Mapping[str, Any] | None:
        """What an earlier engine learned, its sources by their numbers here; None: nothing."""
        try:
            found = learned_file.read(self.path)
            self._usable = True
            if found is None:
                return None
            plain = self._numbered(found)
            recall(plain, Learning(config), Estimator())  # so that the planner need not fail on it
        except (learned_file.Unreadable, ValueError) as error:
            self._put_aside(error)
            return None
        except OSError as error:
            self._usable = False
            logger.warning("%s: %s. What is learned in this run is not kept", self.path, error)
            return None
        return plain

    def _put_aside(self, why: Exception) -> None:
        try:
            aside = learned_file.set_aside(self.path)
        except OSError as error:
            self._usable = False
            logger.warning(
                "%s: %s; it cannot be set aside: %s. What is learned in this run is not kept",
                self.path,
                why,
                error,
            )
        else:
            self._usable = True
            logger.warning(
                "%s: %s. Learning begins anew; the old file is now %s", self.path, why, aside
            )

    def _numbered(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """With numbers for names; sources that are not there any more are left out."""
        numbers = {name: number for number, name in self._names.items()}
        sources = found["sources"]
        return {
            **found,
            "sources": {numbers[n]: of for n, of in sources.items() if n in numbers},
        }

    # ---- its thread -----------------------------------------------------------------------------

    def finish(self, last: Mapping[str, Any] | None, timeout: float) -> tuple[str, ...]:
        """Write what was learned last, and end; see `FollowerThread.stop`."""
        self._last = last
        return self.stop(timeout)

    def _run(self) -> None:
        while not self._ending.wait(EVERY_S):
            self._save(self._ask())
        self._save(self._last)

    def _save(self, plain: Mapping[str, Any] | None) -> None:
        if plain is None or not plain["sources"] or not self._usable or plain == self._written:
            return
        try:
            sources = {self._names[n]: of for n, of in plain["sources"].items() if n in self._names}
            learned_file.write(self.path, {**plain, "sources": sources})
            self._written = plain
        except (OSError, ValueError) as error:
            if not self._failed:
                self._failed = True
                logger.warning("%s: what was learned is not kept: %s", self.path, error)
