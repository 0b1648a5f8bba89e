"""The benchmark of the predictor: what it counts, and how it reads a repository's history."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field

from benchmarks.predictor import (
    Builtin,
    CoAccess,
    Event,
    History,
    Recency,
    Recorded,
    calibration_error,
    commits,
    judged,
    recorded,
)
from support.repositories import Repository


def session(name: str, *names: str, project: str = "p") -> History:
    return History(name, project, [Event(f"file:{each}") for each in names])


@define
class Fixed:
    """Names the same keys every time, and notes what it is shown."""

    keys: Sequence[str]
    shown: list[str] = field(factory=list)

    def start(self, history: History, /) -> None:
        self.shown.append(f"start {history.id}")

    def named(self, recorded: Sequence[str], /) -> Sequence[str]:
        self.shown.append("named")
        return [key for key in self.keys if key not in self.shown]

    def read(self, event: Event, /) -> None:
        self.shown.append(event.key)

    def end(self, history: History, /) -> None:
        self.shown.append("end")


def test_first_reads_are_counted_once_and_after_what_was_named():
    side = Fixed(["file:b", "file:never"])
    tally = judged(side, [session("s", "a", "b", "a", "b", "c")])
    assert side.shown == [
        *("start s", "named", "file:a", "named", "file:b"),
        *("file:a", "file:b", "named", "file:c", "end"),
    ]
    assert (tally.reads, tally.foreseen) == (3, 1)
    assert (tally.named, tally.right) == (5, 2)  # two, two and, once b was read, one
    assert (tally.distinct, tally.distinct_right) == (2, 1)


def test_the_baselines_name_what_they_are_called_after():
    histories = [session("1", "a", "b"), session("2", "x", "y"), session("3", "a", "b")]
    assert judged(CoAccess(), histories).foreseen == 1
    assert judged(CoAccess(), histories).named == 1
    recent = Recency()
    judged(recent, histories[:2])
    recent.start(histories[2])
    assert recent.named(()) == ["file:y", "file:x", "file:b", "file:a"]
    other = session("4", "a", project="other")
    recent.start(other)
    assert recent.named(()) == []


def test_recordings_keep_the_newest_predictions_beside_each_read(tmp_path: Path):
    lines = [
        {"event": "session", "t": 0, "id": "s", "project": "p"},
        {"event": "access", "t": 1, "key": "file:a", "load_s": 0, "tokens": 1},
        {
            "event": "predict",
            "t": 1,
            "items": [
                {"key": "file:c", "role": "main_file", "confidence": 0.2},
                {"key": "file:b", "role": "main_file", "confidence": 0.7},
            ],
        },
        {"event": "access", "t": 2, "key": "file:b", "load_s": 0, "tokens": 1},
    ]
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    histories = recorded(path, None)
    assert [event.recorded for event in histories[0].events] == [(), ("file:b", "file:c")]
    tally = judged(Recorded(), histories)
    assert (tally.reads, tally.foreseen, tally.named) == (2, 1, 2)


def test_a_commit_is_a_session_that_reads_what_it_changes_as_it_was(tmp_path: Path):
    repository = Repository(tmp_path / "r")
    repository.commit({"a.py": "1", "b.py": "1", "c.py": "1"})
    repository.commit({"a.py": "import b", "b.py": "2", "new.py": "1"})
    repository.commit({"a.py": "3", "b.py": "3", "c.py": None, "name with ä.py": "1"})
    repository.commit({"a.py": "4"})
    there, histories = commits(repository.folder, "r", 100)
    assert there == {"a.py", "b.py", "c.py"}
    assert [[(e.key, e.text) for e in h.events] for h in histories] == [
        [("file:a.py", "1"), ("file:b.py", "1")],
        [("file:a.py", "import b"), ("file:b.py", "2"), ("file:c.py", "1")],
        [],  # one file is no session
    ]
    assert [(h.added, h.removed) for h in histories[:2]] == [
        (("new.py",), ()),
        (("name with ä.py",), ("c.py",)),
    ]
    side = Builtin(set(there))
    assert judged(side, histories).foreseen >= 2
    assert side.files == {"a.py", "b.py", "new.py", "name with ä.py"}


def test_what_comes_later_changes_nothing_that_was_named_before():
    past = [session(f"s{n}", "a", f"x{n % 3}", "b") for n in range(9)]
    named = []
    for later in (["a", "b", "c"], ["a", "q", "r", "s"]):
        side = Builtin()
        judged(side, past)
        side.start(session("last", *later))
        side.read(Event("file:a"))
        named.append(list(side.named(())))
    assert named[0] == named[1] != []


def test_the_calibration_error_is_the_distance_of_what_is_stated_from_what_is_true():
    assert calibration_error([(0.25, True), (0.25, False), (0.25, False), (0.25, False)]) == 0
    assert abs(calibration_error([(0.9, False), (0.9, False)]) - 0.9) < 1e-9
    assert calibration_error([]) == 0
