"""The built-in predictor beside recency, co-access and the recorded predictions.

`python -m benchmarks.predictor [--sessions FOLDER] [--repository NAME=PATH]... [--commits N]`

Before each first read of a file or skill in a session, each side names up to five keys that the
session has not read, having seen only what came before. *Recall at 5* is the share of these reads
that were among the five; *precision* the share of all keys so named that the session went on to
read, each counted as often as it was named; *of distinct*, in the details, counts a key once a
session. *Calibration error* is the mean distance between the confidence stated and the share read.

Sessions are those of `benchmarks/data`, or of another folder of recorded sessions. They hold no
contents, so that names in results and imports are out of sight there; the recorded predictions were
made by a predictor that had them in sight, and stand beside the others for that reason only.

A repository is a checkout, or a bare clone, of any git project: each commit without a second parent
that changes 2 to 30 files is a session that reads these, in git's order, with the contents that
they had before it. Names and imports are in sight there.

The least probability at which the predictor names a key (`next_reads.LEAST`), and what its
regression is asked for, were chosen on these recorded sessions; its weights are learned during the
run, from the priors. The repositories had no part in that; only the weight of names found in texts
was set after a look at two of them.
"""

import gzip
import json
import subprocess
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from attrs import define, field, frozen

from benchmarks.figures import Figure, finish, parser
from prefetch_scheduler.engine.predictor import BuiltinPredictor
from prefetch_scheduler.engine.predictor.builtin import BuiltinSession
from prefetch_scheduler.policies.keys import kind_of

DATA = Path(__file__).parent / "data"
KINDS = ("file", "skill")
"""What is predicted. Searches and tools are hashed; they are seen, and not asked for."""
FIVE = 5
FILES = range(2, 31)
LARGEST = 200_000
"""Bytes of a file that is shown."""


@frozen
class Event:
    key: str
    text: str | None = None
    """What it says, where that is in sight."""
    recorded: tuple[str, ...] = ()
    """Keys of the newest recorded predictions, the most confident first."""


@frozen
class History:
    """One session: what it read, in order."""

    id: str
    project: str
    events: Sequence[Event]
    added: tuple[str, ...] = ()
    """Files that are there only after it."""
    removed: tuple[str, ...] = ()


class Side(Protocol):
    """Names what will be read, having seen only the past."""

    def start(self, history: History, /) -> None: ...
    def named(self, recorded: Sequence[str], /) -> Sequence[str]: ...
    def read(self, event: Event) -> None: ...
    def end(self, history: History, /) -> None: ...


@define
class Recency:
    """What the project's sessions read last."""

    _last: "defaultdict[str, OrderedDict[str, None]]" = field(
        factory=lambda: defaultdict(OrderedDict)
    )
    _seen: set[str] = field(factory=set)
    _project: str = ""

    def start(self, history: History) -> None:
        self._project, self._seen = history.project, set()

    def read(self, event: Event) -> None:
        self._seen.add(event.key)
        keys = self._last[self._project]
        keys[event.key] = None
        keys.move_to_end(event.key)

    def named(self, _: Sequence[str], /) -> Sequence[str]:
        return _five(key for key in reversed(self._last[self._project]) if key not in self._seen)

    def end(self, _: History, /) -> None: ...


@define
class CoAccess:
    """What most of the sessions read that read what this one has read, summed over its reads."""

    _together: "defaultdict[tuple[str, str], Counter[str]]" = field(
        factory=lambda: defaultdict(Counter)
    )
    _sessions: Counter[tuple[str, str]] = field(factory=Counter)
    _seen: dict[str, None] = field(factory=dict)
    _scores: dict[str, float] = field(factory=dict)
    _project: str = ""

    def start(self, history: History) -> None:
        self._project, self._seen, self._scores = history.project, {}, {}

    def read(self, event: Event) -> None:
        if event.key in self._seen:
            return
        self._seen[event.key] = None
        place = (self._project, event.key)
        for other, count in self._together[place].items():
            share = count / self._sessions[place]
            self._scores[other] = self._scores.get(other, 0.0) + share

    def named(self, _: Sequence[str], /) -> Sequence[str]:
        ranked = sorted(self._scores.items(), key=lambda item: -item[1])
        return _five(key for key, _ in ranked if key not in self._seen)

    def end(self, _: History, /) -> None:
        for key in self._seen:
            place = (self._project, key)
            self._sessions[place] += 1
            self._together[place].update(other for other in self._seen if other != key)


@define
class Recorded:
    """The predictions of the recording."""

    _seen: set[str] = field(factory=set)

    def start(self, _: History, /) -> None:
        self._seen = set()

    def read(self, event: Event) -> None:
        self._seen.add(event.key)

    def named(self, recorded: Sequence[str], /) -> Sequence[str]:
        return _five(key for key in recorded if key not in self._seen)

    def end(self, _: History, /) -> None: ...


@define
class Builtin:
    """The built-in predictor, as a host uses it."""

    files: set[str] | None = None
    """Of a repository: those that are there; a session is shown them when it begins."""
    _predictor: BuiltinPredictor | None = None
    _session: BuiltinSession | None = None
    stated: list[tuple[float, bool]] = field(factory=list)
    """Confidences of what was named, and whether it was read."""
    _named: list[tuple[float, str]] = field(factory=list)

    def start(self, history: History) -> None:
        if self._predictor is None:
            listing = None if self.files is None else (lambda: self.files or ())
            self._predictor = BuiltinPredictor(files=listing)
        self._session = self._predictor.session(history.id, history.project)

    def read(self, event: Event) -> None:
        assert self._session is not None
        self._session.read(event.key, event.text)

    def named(self, _: Sequence[str], /) -> Sequence[str]:
        assert self._session is not None
        chosen = self._session.ranked()[:FIVE]
        self._named += [(each.confidence, each.key) for each in chosen]
        return [each.key for each in chosen]

    def end(self, history: History) -> None:
        assert self._session is not None
        self._session.end()
        read = {event.key for event in history.events}
        self.stated += [(confidence, key in read) for confidence, key in self._named]
        self._named = []
        if self.files is not None:
            self.files.difference_update(history.removed)
            self.files.update(history.added)


def _five(keys: Iterable[str]) -> list[str]:
    found: list[str] = []
    for key in keys:
        if kind_of(key) in KINDS:
            found.append(key)
            if len(found) == FIVE:
                break
    return found


@define
class Tally:
    """What one side got right."""

    reads: int = 0
    foreseen: int = 0
    named: int = 0
    right: int = 0
    distinct: int = 0
    distinct_right: int = 0

    @property
    def recall(self) -> float:
        return self.foreseen / max(1, self.reads)

    @property
    def precision(self) -> float:
        return self.right / max(1, self.named)

    @property
    def of_distinct(self) -> float:
        return self.distinct_right / max(1, self.distinct)

    def add(self, other: "Tally") -> None:
        self.reads += other.reads
        self.foreseen += other.foreseen
        self.named += other.named
        self.right += other.right
        self.distinct += other.distinct
        self.distinct_right += other.distinct_right

    def plain(self) -> dict[str, float]:
        return {
            "reads": self.reads,
            "named": self.named,
            "recall_at_5": round(self.recall, 4),
            "precision": round(self.precision, 4),
            "of_distinct": round(self.of_distinct, 4),
        }


def judged(side: Side, histories: Iterable[History]) -> Tally:
    """What a side got right over all sessions, one after another."""
    tally = Tally()
    for history in histories:
        side.start(history)
        read = {event.key for event in history.events}
        seen: set[str] = set()
        ever: set[str] = set()
        for event in history.events:
            if event.key not in seen:
                named = side.named(event.recorded)
                if kind_of(event.key) in KINDS:
                    tally.reads += 1
                    tally.foreseen += event.key in named
                tally.named += len(named)
                tally.right += sum(key in read for key in named)
                ever.update(named)
                seen.add(event.key)
            side.read(event)
        tally.distinct += len(ever)
        tally.distinct_right += len(ever & read)
        side.end(history)
    return tally


# ---- what they are judged on -----------------------------------------------------------------


def recorded(path: Path, most: int | None) -> list[History]:
    """The sessions of a data set."""
    histories: list[History] = []
    events: list[Event] = []
    predicted: tuple[str, ...] = ()
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            match event["event"]:
                case "session":
                    events, predicted = [], ()
                    histories.append(History(event["id"], event.get("project", ""), events))
                case "predict":
                    items = sorted(event["items"], key=lambda item: -item["confidence"])
                    predicted = tuple(item["key"] for item in items)
                case "access":
                    events.append(Event(event["key"], None, predicted))
    return histories[:most]


class Contents:
    """Contents of files at any commit, through one `git cat-file`."""

    def __init__(self, repository: Path) -> None:
        self._git = subprocess.Popen(
            ("git", "-C", str(repository), "cat-file", "--batch"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def text(self, commit: str, path: str) -> str | None:
        """None: it was not there, or is no text."""
        assert self._git.stdin is not None
        assert self._git.stdout is not None
        if "\n" in path:
            return None
        self._git.stdin.write(f"{commit}:{path}\n".encode())
        self._git.stdin.flush()
        head = self._git.stdout.readline().split()
        if len(head) != 3 or head[1] != b"blob":
            return None
        raw = self._git.stdout.read(int(head[2]) + 1)[:-1]
        try:
            return raw[:LARGEST].decode()
        except UnicodeDecodeError:
            return None

    def close(self) -> None:
        self._git.communicate()


def commits(repository: Path, name: str, most: int) -> tuple[set[str], list[History]]:
    """The files before the first of the newest commits, and these, oldest first."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ("git", "-C", str(repository), *words), capture_output=True, check=True
        )
        return done.stdout.decode("utf-8", "replace")

    log = git(
        *("log", "--no-merges", "--no-renames", "--reverse", "--name-status", "-z"),
        *("--format=%x01%H %P", f"--max-count={most}"),
    )
    chunks = [chunk.strip("\0\n") for chunk in log.split("\x01") if chunk.strip("\0\n")]
    contents = Contents(repository)
    histories: list[History] = []
    first = ""
    for chunk in chunks:
        head, *words = chunk.replace("\n", "\0").split("\0")
        commit, _, parent = head.partition(" ")
        words = [word for word in words if word]
        changed = dict(zip(words[1::2], words[::2], strict=False))
        if not parent:
            continue
        first = first or parent
        before = [path for path, what in changed.items() if what != "A"]
        texts = {path: contents.text(parent, path) for path in before}
        events = [Event(f"file:{path}", texts[path]) for path in before if texts[path] is not None]
        histories.append(
            History(
                commit,
                name,
                events if len(events) in FILES else [],
                tuple(path for path, what in changed.items() if what == "A"),
                tuple(path for path, what in changed.items() if what == "D"),
            )
        )
    contents.close()
    there = git("ls-tree", "-r", "--name-only", "-z", first).split("\0") if first else []
    return {path for path in there if path}, histories


def figures_of(
    what: str, tallies: dict[str, Tally], within: Sequence[dict[str, Tally]]
) -> list[Figure]:
    """Each side's recall and precision, and by how much the predictor is ahead of the baselines."""
    rows = []
    for word in ("recall", "precision"):
        label = "recall at 5" if word == "recall" else word
        for side, tally in tallies.items():
            each = [getattr(one[side], word) for one in within]
            spread = (min(each), max(each))
            rows.append(Figure(f"{what}: {label}, {side}", getattr(tally, word), "", spread))
        best = max(getattr(tallies[side], word) for side in ("recency", "co-access"))
        ahead = getattr(tallies["built-in"], word) / best if best else 0.0
        rows.append(
            Figure(
                f"{what}: {label}, built-in by the better baseline",
                ahead,
                "x",
                (ahead, ahead),
                1.0,
                at_most=False,
            )
        )
    return rows


def reliability(stated: Sequence[tuple[float, bool]]) -> list[dict[str, float]]:
    """Mean stated confidence and true share, by tenths of the confidence."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for confidence, read in stated:
        bins.setdefault(min(9, int(confidence * 10)), []).append((confidence, read))
    return [
        {
            "stated": round(sum(c for c, _ in rows) / len(rows), 3),
            "read": round(sum(r for _, r in rows) / len(rows), 3),
            "count": len(rows),
        }
        for _, rows in sorted(bins.items())
    ]


def calibration_error(stated: Sequence[tuple[float, bool]]) -> float:
    """Mean distance of stated confidence and true share over the tenths, by their counts (ECE)."""
    rows = reliability(stated)
    total = sum(row["count"] for row in rows)
    return sum(abs(row["stated"] - row["read"]) * row["count"] for row in rows) / max(1, total)


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--sessions", type=Path, default=DATA, help="a folder of recorded sessions")
    made.add_argument("--repository", action="append", default=[], metavar="NAME=PATH")
    made.add_argument("--commits", type=int, default=2000, help="the newest of a repository")
    options = made.parse_args()
    figures: list[Figure] = []
    details: dict[str, object] = {"spread": "the lowest and the highest of the data sets"}
    sets = {
        path.name.removesuffix(".jsonl.gz"): recorded(path, 10 if options.quick else None)
        for path in sorted(options.sessions.glob("*.jsonl.gz"))
    }
    ours = Builtin()
    sides = {
        "built-in": ours,
        "recency": Recency(),
        "co-access": CoAccess(),
        "recorded": Recorded(),
    }
    totals = {name: Tally() for name in sides}
    each: dict[str, dict[str, Tally]] = {}
    for label, histories in sets.items():
        each[label] = {name: judged(side, histories) for name, side in sides.items()}
        for name, tally in each[label].items():
            totals[name].add(tally)
    figures += figures_of("sessions", totals, list(each.values()))
    figures.append(_error("sessions", ours))
    details["sessions"] = _plain(each)
    details["reliability"] = {"sessions": reliability(ours.stated)}
    for given in options.repository:
        name, _, path = given.partition("=")
        there, histories = commits(Path(path), name, 100 if options.quick else options.commits)
        in_sight = Builtin(set(there))
        blind = [History(h.id, h.project, [Event(e.key) for e in h.events]) for h in histories]
        tallies = {
            "built-in": judged(in_sight, histories),
            "recency": judged(Recency(), histories),
            "co-access": judged(CoAccess(), histories),
            "built-in without contents": judged(Builtin(), blind),
        }
        figures += figures_of(name, tallies, [tallies])
        figures.append(_error(name, in_sight))
        details[name] = {
            "commits": sum(bool(h.events) for h in histories),
            **_plain({"": tallies})[""],
        }
        details["reliability"] |= {name: reliability(in_sight.stated)}  # type: ignore[operator]  # a dict
    return finish("predictor", figures, options, details=details)


def _error(what: str, side: Builtin) -> Figure:
    error = calibration_error(side.stated)
    return Figure(f"{what}: calibration error, built-in", error, "", (error, error))


def _plain(each: dict[str, dict[str, Tally]]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        label: {name: tally.plain() for name, tally in tallies.items()}
        for label, tallies in each.items()
    }


if __name__ == "__main__":
    raise SystemExit(main())
