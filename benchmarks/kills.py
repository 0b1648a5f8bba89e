"""Kills: `kill -9` at random points of an engine that writes its cache to SQLite.

Each round starts a child whose engine loads, changes and invalidates resources as fast as it can,
kills it after a random time, and looks at what it left:

- the file opens, and SQLite finds no damage in it;
- every entry in it is whole: its checksum, its name and its value belong together;
- an engine that is started on it serves every resource as it is *now*.

Three kinds of resources, each with its truth in files that outlive the child: files themselves,
content with a version, and content with nothing but a `max_age`, which only the child's own
`invalidate` says to have changed. The same file goes on through all rounds. What came back is
counted too: a store that loses everything would pass the rest.

    python -m benchmarks.kills [--kills N] [--quick] [--output FILE]
"""

import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.figures import figure, finish, parser
from prefetch_scheduler.engine import CallableSource, Content, FileSource, PrefetchEngine
from prefetch_scheduler.engine.cold_record import Damaged, decode

KILLS = 200
NAMES = 20
"""Resources of each kind."""
LONGEST_S = 0.4
"""A child is killed at a random time up to this after its engine runs."""
WRONG = 3
"""Exit code of a child that was served something wrong itself."""
KINDS = ("file", "versioned", "aged")


def text_of(name: str, number: int) -> str:
    """A resource's content of that number: long enough to span pages, and telling of itself."""
    seed = hashlib.sha256(f"{name} {number}".encode()).hexdigest()
    return f"{name} {number} {seed * (1 + number % 40)}"


def whole(name: str, text: str | bytes) -> bool:
    """Whether it is some content of that resource, to the last character."""
    if isinstance(text, bytes):
        return False
    parts = text.split(" ")
    return len(parts) == 3 and parts[1].isdigit() and text == text_of(name, int(parts[1]))


class Truth:
    """What each resource is now: files below one folder, replaced as one."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind: str, name: str) -> Path:
        return self.root / kind / name

    def now(self, kind: str, name: str) -> str:
        return self.path(kind, name).read_text()

    def number(self, kind: str, name: str) -> int:
        return int(self.now(kind, name).split(" ")[1])

    def change(self, kind: str, name: str, number: int) -> None:
        path = self.path(kind, name)
        aside = path.with_name(f".new-{name}")
        aside.write_text(text_of(name, number))
        os.replace(aside, path)

    def make(self) -> None:
        for kind in KINDS:
            (self.root / kind).mkdir(parents=True)
            for name in names():
                self.change(kind, name, 0)


def names() -> list[str]:
    return [f"r{number}" for number in range(NAMES)]


def engine_on(folder: Path) -> PrefetchEngine:
    """The engine of the child, and the one that looks at what it left."""
    truth = Truth(folder / "truth")
    sources = [
        FileSource(truth.root / "file"),
        CallableSource(
            "versioned",
            Versioned(truth).load,
            read_only=True,
            version=lambda name: truth.number("versioned", name),
        ),
        CallableSource("aged", Aged(truth).load, read_only=True),
    ]
    cache = {"cold_store": "sqlite", "cold_path": str(folder / "cold.sqlite")}
    return PrefetchEngine({"cache": cache, "cold_cache_size": 2 * NAMES}, sources=sources)


class Versioned:
    def __init__(self, truth: Truth) -> None:
        self._truth = truth

    def load(self, name: str) -> str:
        return self._truth.now("versioned", name)


class Aged:
    def __init__(self, truth: Truth) -> None:
        self._truth = truth

    def load(self, name: str) -> Content:
        return Content(self._truth.now("aged", name), max_age_s=3600)


def child(folder: str, seed: int) -> None:
    """Load and change at random until killed, or, where nobody does that, for a minute."""
    end = time.monotonic() + 60
    rng = random.Random(seed)
    truth = Truth(Path(folder) / "truth")
    with engine_on(Path(folder)) as engine:
        print(f"ready {os.getpid()}", flush=True)
        while time.monotonic() < end:
            kind, name = rng.choice(KINDS), rng.choice(names())
            key = f"{kind}:{name}"
            if rng.random() < 0.3:
                truth.change(kind, name, truth.number(kind, name) + 1)
                if kind == "aged":
                    engine.invalidate(key if rng.random() < 0.9 else "aged:*")
            if engine.get(key).value != truth.now(kind, name):
                os._exit(WRONG)
            if rng.random() < 0.02:
                time.sleep(rng.random() * 0.1)  # some batches end in peace


def nursery() -> None:
    """Fork a child for each line of input, and say how it ended: the imports are made once."""
    for line in sys.stdin:
        folder, seed = json.loads(line)
        pid = os.fork()
        if not pid:
            child(folder, seed)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        print(f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


class Rounds:
    """One folder, killed over and over."""

    def __init__(self, folder: Path, seed: int = 0, longest_s: float = LONGEST_S) -> None:
        self.folder = folder
        self._longest_s = longest_s
        self.found: Counter[str] = Counter()
        self.faults: list[str] = []
        self._rng = random.Random(seed)
        Truth(folder / "truth").make()

    def run(self, kills: int) -> None:
        """So many rounds."""
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.kills", "--nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        ) as nursery:
            for _ in range(kills):
                self._kill(nursery)
                self._look()
                self._serve()

    def _kill(self, nursery: "subprocess.Popen[str]") -> None:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        print(json.dumps([str(self.folder), self._rng.randrange(1 << 30)]), file=nursery.stdin)
        nursery.stdin.flush()
        said, _, pid = nursery.stdout.readline().partition(" ")
        assert said == "ready", f"the child did not start: {said}"
        time.sleep(self._rng.random() * self._longest_s)
        with suppress(ProcessLookupError):  # it was served wrong, and ended
            os.kill(int(pid), signal.SIGKILL)
        ended = nursery.stdout.readline().split()
        if ended == ["ended", str(WRONG)]:
            self._fault("served wrong", "to the child itself")
        else:
            assert ended == ["ended", "-9"], f"the child ended by itself: {ended}"
        self.found["kills"] += 1

    def _look(self) -> None:
        path = self.folder / "cold.sqlite"
        if not path.stat().st_size and not path.with_name("cold.sqlite-wal").exists():
            return  # killed before it had made anything of it
        db = sqlite3.connect(path)
        try:
            ((said,),) = db.execute("PRAGMA integrity_check(1)").fetchall()
            if said != "ok":
                self._fault("damaged", said)
            if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                return
            for stored, record in db.execute("SELECT stored, record FROM entries"):
                self._entry(stored.decode(), record)
        except sqlite3.Error as error:
            self._fault("damaged", repr(error))
        finally:
            db.close()

    def _entry(self, stored: str, record: bytes) -> None:
        self.found["entries"] += 1
        self.found[f"entries, {stored.partition(':')[0]}"] += 1
        try:
            value = decode(stored, record).content.value
        except Damaged as error:
            self._fault("not whole", f"{stored}: {error}")
            return
        if not whole(stored.partition(":")[2], value):
            self._fault("not whole", f"{stored}: {value[:60]!r}")

    def _serve(self) -> None:
        truth = Truth(self.folder / "truth")
        with engine_on(self.folder) as engine:
            end = time.monotonic() + 10
            while not engine._runtime.cache_kept.restoring.over and time.monotonic() < end:
                time.sleep(0.002)
            for kind in KINDS:
                for name in names():
                    key = f"{kind}:{name}"
                    content = engine.peek(key)
                    self.found["came back"] += content is not None
                    self.found[f"came back, {kind}"] += content is not None
                    content = content or engine.get(key)
                    self.found["reads"] += 1
                    if content.value != truth.now(kind, name):
                        self._fault("served wrong", f"{key}: {content.value[:60]!r}")
            if engine.health().cold_store != "sqlite":
                self._fault("not opened", engine.health().cold_store)
        if next(self.folder.glob("*.damaged-*"), None) is not None:
            self._fault("not opened", "the file was set aside")

    def _fault(self, what: str, why: str) -> None:
        self.found[what] += 1
        self.faults.append(f"round {self.found['kills']}: {what}: {why}")


def check(kills: int, seed: int = 0, longest_s: float = LONGEST_S) -> Rounds:
    """So many kills of one file, each at most `longest_s` after the start; what was found."""
    with tempfile.TemporaryDirectory() as folder:
        rounds = Rounds(Path(folder), seed, longest_s)
        rounds.run(kills)
        return rounds


def main() -> int:
    """The command; its exit code is 1 where anything was wrong."""
    options_of = parser(__doc__)
    options_of.add_argument("--kills", type=int, default=None, help=f"default {KILLS}")
    options_of.add_argument("--nursery", action="store_true", help="of the children; not for you")
    options = options_of.parse_args()
    if options.nursery:
        nursery()
        return 0
    kills = options.kills or (KILLS // 20 if options.quick else KILLS)
    begun = time.perf_counter()
    rounds = check(kills)
    found = rounds.found
    figures = [
        figure("kills", [found["kills"]], "", kills, at_most=False),
        figure("files that were damaged or did not open", [found["damaged"]], "", 0),
        figure("engines that did without the file", [found["not opened"]], "", 0),
        figure("entries found", [found["entries"]], "", 1, at_most=False),
        figure("entries that were not whole", [found["not whole"]], "", 0),
        figure("reads after a restart", [found["reads"]], ""),
        figure("of these, entries that came back", [found["came back"]], "", 1, at_most=False),
        figure("reads that were served wrong", [found["served wrong"]], "", 0),
    ]
    details: dict[str, Any] = {
        "found": dict(found),
        "faults": rounds.faults[:20],
        "seconds": round(time.perf_counter() - begun, 1),
    }
    return finish("kills", figures, options, details=details, seed=0)


if __name__ == "__main__":
    # Under its own name: a store tells sources by the modules of their functions.
    from benchmarks import kills  # noqa: PLW0406 - see above

    sys.exit(kills.main())
