"""A small predictor that comes with the engine: useful alone, replaced by any other at will.

It sees what a host's port tells it: the task's words, what was read and what it says, what else was
seen. From these: files that are named or imported, tests by convention, what other sessions of the
project read together or one after another, what was read lately, and skills whose descriptions fit
the task. How much each of these is worth it learns online (`policies.next_reads`). Without contents
it does with the rest; without a list of the workspace's files, with the files it has heard of.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prefetch_scheduler.engine.sources.skill_catalogue import SkillEntry
from prefetch_scheduler.policies.file_index import FileIndex
from prefetch_scheduler.policies.file_names import imported, is_test, mentioned
from prefetch_scheduler.policies.keys import kind_of
from prefetch_scheduler.policies.next_reads import NextRead, NextReads
from prefetch_scheduler.policies.skill_match import SkillMatcher

__all__ = ["BuiltinPredictor"]

MOST = 10
"""Predictions at a time."""


class BuiltinPredictor:
    """Predicts for all sessions of a host, learning from each. Safe in any thread.

    ::

        predictor = BuiltinPredictor(files=lambda: list_of_paths(), skills=skill_source.catalogue())
        port = HostPort(engine, "agent-7", predictor=predictor, project="shop")

    Args:
        files: paths of the workspace's files, relative to its root, or a function that lists them,
            called when a session begins; None: only names that are whole paths are believed.
        skills: what `SkillSource.catalogue()` lists.
        most: predictions at a time.
    """

    def __init__(
        self,
        *,
        files: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        skills: Iterable[SkillEntry] = (),
        most: int = MOST,
    ) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._reads = NextReads()
        self._list = files if callable(files) else None
        self._index: FileIndex | None = None
        if files is not None and not callable(files):
            self._index = FileIndex()
            self._index.add(files)
        self._skills = SkillMatcher()
        for entry in skills:
            self._skills.add(entry.key, entry.meta.name or "", entry.meta.description or "")

    def session(self, id_: str, project: str | None = None) -> "BuiltinSession":
        """A session begins. Sessions of one project learn from each other."""
        if self._list is not None:
            index = FileIndex()
            index.add(self._list())
            self._index = index
        with self._lock:
            self._reads.start(id_, project or "")
        return BuiltinSession(self, id_)

    # ---- for its sessions --------------------------------------------------------------------

    def files(self, names: Iterable[str]) -> list[str]:
        """Keys of the files that names may mean."""
        index = self._index
        if index is None:
            return [f"file:{name}" for name in names if "*" not in name]
        return [f"file:{path}" for name in names for path in index.meant(name)]

    def tell(self, event: Callable[[NextReads], Any]) -> Any:
        """Do something with what has been learned, alone."""
        with self._lock:
            return event(self._reads)

    def fitting(self, task: str) -> Mapping[str, float]:
        """Skills for a task."""
        return self._skills.scores(task)

    @property
    def most(self) -> int:
        """Predictions at a time."""
        return self._most


class BuiltinSession:
    """One session of `BuiltinPredictor`. Told what happens, asked what comes."""

    def __init__(self, predictor: BuiltinPredictor, id_: str) -> None:
        self._predictor = predictor
        self._id = id_

    def task(self, text: str) -> None:
        """The agent was given a task."""
        scores = self._predictor.fitting(text)
        self._predictor.tell(lambda reads: reads.fits(self._id, scores))
        self.seen(text)

    def read(self, key: str, text: str | None) -> None:
        """The agent read a resource."""
        self._predictor.tell(lambda reads: reads.read(self._id, key))
        if text is None:
            return
        kind, _, path = key.partition(":")
        if kind == "file":
            found = self._predictor.files(imported(path, text))
            self._predictor.tell(lambda reads: reads.named(self._id, found, imported=True))
        self.seen(text)

    def seen(self, text: str) -> None:
        """The agent saw a text that may name files."""
        found = self._predictor.files(mentioned(text))
        if found:
            self._predictor.tell(lambda reads: reads.named(self._id, found))

    def ranked(self) -> list[NextRead]:
        """Files and skills that may be read, the likeliest to come soon first."""
        ranked: list[NextRead] = self._predictor.tell(lambda reads: reads.ranked(self._id))
        return ranked

    def predictions(self) -> Mapping[str, Any]:
        """What will be read next, as the Pattern Predictor says it: files, tests and skills."""
        chosen = self.ranked()[: self._predictor.most]
        files = [each for each in chosen if kind_of(each.key) == "file"]
        skills = [_entry("skill_id", each) for each in chosen if kind_of(each.key) == "skill"]
        tests = [each for each in files if is_test(_name(each))]
        return {
            "prediction_output": {
                "skills": {"primary": skills[0] if skills else None, "secondary": skills[1:]},
                "files": {
                    "likely_read": [_entry("path", each) for each in files if each not in tests],
                    "likely_tests": [_entry("path", each) for each in tests],
                },
            }
        }

    def end(self) -> None:
        """The session is over; what it did and did not read is learned from."""
        self._predictor.tell(lambda reads: reads.end(self._id))


def _name(each: NextRead) -> str:
    return each.key.partition(":")[2]


def _entry(field: str, each: NextRead) -> dict[str, Any]:
    return {field: _name(each), "confidence": round(each.confidence, 3), "reason": each.reason}
