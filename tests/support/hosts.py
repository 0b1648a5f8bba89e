"""Hosts for tests of the whole engine: a folder of real files, and an agent that works in it."""

import random
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from prefetch_scheduler.actors.messages import Drain, PlannerStatusQuery
from prefetch_scheduler.engine import Constraints, FileChanged, Prediction, PrefetchEngine
from prefetch_scheduler.engine.session import Session

LARGEST = 40_000
"""Bytes of the largest file that is copied: the folder is to be many files, not many bytes."""


def standard_library(into: Path, count: int) -> list[str]:
    """Copy `count` `.py` files of Python's own library; returns their names below `into`.

    Where it has fewer the same files are copied again, to another folder. Copied and not linked,
    since tests edit them.
    """
    library = Path(sysconfig.get_path("stdlib"))
    files = [
        file
        for file in sorted(library.rglob("*.py"))
        if file.stat().st_size <= LARGEST and _is_utf8(file) and file.is_file()
    ][:count]
    names: list[str] = []
    edition = 0
    while len(names) < count:
        edition += 1
        for file in files[: count - len(names)]:
            name = f"{edition}/{file.relative_to(library).as_posix()}"
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
            names.append(name)
    return names


def _is_utf8(file: Path) -> bool:
    try:
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not text.startswith("\ufeff")


@define(eq=False)
class Disk:
    """The folder, and for each file a lock, so that no edit falls between a read and its check."""

    root: Path
    names: Sequence[str]
    locks: dict[str, threading.Lock] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.locks = {name: threading.Lock() for name in self.names}

    def text(self, name: str) -> str:
        return (self.root / name).read_bytes().decode("utf-8")

    def edit(self, name: str, rng: random.Random) -> str:
        """Change the file; sometimes so that its size stays. Returns what it holds then."""
        text = self.text(name)
        if rng.random() < 0.5 and text:
            at = rng.randrange(len(text))
            text = text[:at] + ("x" if text[at] == "y" else "y") + text[at + 1 :]
        else:
            text += f"# {rng.random()}\n"
        (self.root / name).write_bytes(text.encode("utf-8"))
        return text


@define(eq=False)
class Agent:
    """Works in one session: predicts, edits and reads, and checks each read against the disk."""

    session: Session
    disk: Disk
    seed: int
    rounds: int
    each_round: int = 8
    reads: int = 0
    did: Counter[str] = field(factory=Counter)
    """What it did, so that a test can tell that everything was tried."""
    failure: BaseException | None = None

    def run(self) -> None:
        """In a thread of its own; what goes wrong is kept in `failure`."""
        try:
            self._work(random.Random(self.seed))
        except BaseException as error:  # noqa: BLE001 - raised again by the thread of the test
            error.add_note(f"session {self.session.id}, seed {self.seed}, {self.reads} reads")
            self.failure = error

    def _work(self, rng: random.Random) -> None:
        names = self.disk.names
        place = 0
        for number in range(self.rounds):
            if number % 4 == 0:  # it turns to other files, near one another
                place = rng.randrange(len(names))
                self.did["contexts"] += 1
            near = [names[(place + rng.randrange(30)) % len(names)] for _ in range(15)]
            handle = self.session.submit(
                [self._prediction(name, rng) for name in near],
                Constraints(token_budget=rng.choice((3000, 30_000))),
                context=f"{self.session.id} {number // 4}",
            )
            if rng.random() < 0.3:
                handle.wait_immediate()
            if rng.random() < 0.1:
                handle.cancel()
                self.did["taken back"] += 1
            for _ in range(self.each_round):
                self._read(rng.choice(near if rng.random() < 0.8 else names), rng)

    @staticmethod
    def _prediction(name: str, rng: random.Random) -> Prediction:
        role = rng.choice(("main_file", "related_file", "related_file", "documentation"))
        return Prediction(f"file:{name}", role, rng.uniform(0.4, 1.0))

    def _read(self, name: str, rng: random.Random) -> None:
        with self.disk.locks[name]:
            self._perhaps_edit(name, rng)
            if rng.random() < 0.2:
                peeked = self.session.peek(f"file:{name}")
                assert peeked is None or peeked.value == self.disk.text(name), f"peek of {name}"
                self.did["peeked" if peeked is not None else "nothing to peek"] += 1
            self.reads += 1
            content = self.session.get(f"file:{name}")
            assert content.value == self.disk.text(name), f"read of {name}"
            assert content.key == f"file:{name}"

    def _perhaps_edit(self, name: str, rng: random.Random) -> None:
        way = rng.choice((None, None, None, None, None, "handed over", "told", "unseen"))
        if way is None:
            return
        text = self.disk.edit(name, rng)
        self.did[way] += 1
        if way == "handed over":
            self.session.trigger(FileChanged(name, content=text))
        elif way == "told":
            self.session.trigger(FileChanged(name))


def together(*jobs: Callable[[], None], patience_s: float = 60.0) -> None:
    """Run jobs at once, each in a thread, and wait for all."""
    threads = [threading.Thread(target=job, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience_s)
        assert not thread.is_alive(), f"not done within {patience_s:g} s"


def at_rest(engine: PrefetchEngine, patience_s: float = 30.0) -> None:
    """Wait until the engine has nothing under way, so that figures asked for later agree."""
    end = time.monotonic() + patience_s
    while True:
        status = engine.planner.ask(PlannerStatusQuery(), timeout=5.0)
        if not (status.flights or status.pending):
            break
        assert time.monotonic() < end, f"still under way: {status}"
        threading.Event().wait(0.01)
    engine.cache.ask(Drain(), timeout=5.0)
    engine.planner.ask(PlannerStatusQuery(), timeout=5.0)


def figures(engine: PrefetchEngine | Session) -> dict[str, Any]:
    """The summary of a report, checked for what must always add up (decisions D34 and D36)."""
    summary: dict[str, Any] = engine.report().summary()
    ends = ("used", "wasted", "cancelled", "failed", "open")
    assert summary["total_prefetches"] == sum(summary[end] for end in ends), summary
    reads = ("cache_hits", "late_hits", "joined", "cache_misses")
    assert summary["reads"] == sum(summary[read] for read in reads), summary
    return summary
