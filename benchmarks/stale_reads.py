"""Stale reads: reads of an engine against other processes that change the files all the time.

What counts as stale. A writer publishes the number of each change once it is done. A reader looks
at that number, *then* reads through the engine's public `get` (every tenth time `peek`). What it
gets must be of that number or a later one in every part; content that is not whole, or an error, is
right only where another change had begun by the time the read ended. Everything else is stale, or
wrong, and the goal for both is none.

The same check is then made with the source's freshness test switched off, where it must find stale
reads: a check that cannot fail proves nothing. `--without-check` runs that part alone, and its exit
code is 1, as for any run that finds stale reads.

    python -m benchmarks.stale_reads [--reads N] [--without-check] [--quick] [--output FILE]
"""

import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import define, field

from benchmarks.figures import Figure, figure, finish, parser
from benchmarks.file_writers import WAYS, Board, name_of, numbers_in
from prefetch_scheduler.engine import Content, FileSource, PrefetchEngine, ResourceUnavailable

READS = 1_000_000
CONTROL = 20_000
"""Reads of the part in which the freshness test is switched off."""
FILES = 2 * len(WAYS)
WRITERS = 2
READERS = 2
LEAST_CHANGES = 100
"""Changes that must have been made before a check is over, however many reads there were."""
PATIENCE_S = 60.0
"""Seconds after which it is over all the same."""


class Unchecked(FileSource):
    """Files whose content counts as fresh for ever."""

    def verify(self, name: str, content: Content) -> Content | None:  # noqa: ARG002 - the protocol's
        return content


@define(eq=False)
class Verdicts:
    """What became of the reads of one thread."""

    reads: int = 0
    stale: int = 0
    wrong: int = 0
    """Errors and half content while nothing was being changed; content from the future."""
    absent: int = 0
    """Reads during a change that found no file, or one that kept changing."""
    half: int = 0
    """Reads during a change that found a part of it."""
    compared: int = 0
    """Reads of content so young that it was compared byte for byte."""
    by_way: Counter[str] = field(factory=Counter)
    examples: list[str] = field(factory=list)

    def add(self, other: "Verdicts") -> None:
        for name in ("reads", "stale", "wrong", "absent", "half", "compared"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.by_way += other.by_way
        self.examples = [*self.examples, *other.examples][:5]


class Reading:
    """One thread's reads."""

    def __init__(self, engine: PrefetchEngine, board: Board, reads: int, seed: int) -> None:
        self.verdicts = Verdicts()
        self._engine = engine
        self._board = board
        self._reads = reads
        self._rng = random.Random(seed)
        self._patience_ends = time.monotonic() + PATIENCE_S
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while self.verdicts.reads < self._reads or self._nothing_happened():
                self._read(self._rng.randrange(FILES), peek=self._rng.random() < 0.1)
        except BaseException as error:  # noqa: BLE001 - raised again by who joins the thread
            self.error = error

    def _nothing_happened(self) -> bool:
        """Whether the writers, on a machine that is busy, have hardly been given a turn yet."""
        changes = sum(self._board.done(index) for index in range(FILES))
        return changes < LEAST_CHANGES and time.monotonic() < self._patience_ends

    def _read(self, index: int, *, peek: bool) -> None:
        key = f"file:{name_of(index)}"
        done = self._board.done(index)
        try:
            content = self._engine.peek(key) if peek else self._engine.get(key)
        except ResourceUnavailable as error:
            self.verdicts.reads += 1
            self.verdicts.absent += 1
            if self._board.begun(index) == done:
                self._found("wrong", index, f"{error}, and nothing was being changed")
            return
        if content is not None:
            self._judge(index, done, content)

    def _judge(self, index: int, done: int, content: Content) -> None:
        begun = self._board.begun(index)
        verdicts = self.verdicts
        verdicts.reads += 1
        verdicts.compared += not getattr(content.version, "settled", False)
        numbers = numbers_in(content.value)
        if numbers is None:
            verdicts.half += 1
            if begun == done:
                self._found("wrong", index, f"half content {content.value!r}")
        elif min(numbers) < done:
            self._found("stale", index, f"{min(numbers)} after {done} was done")
        elif max(numbers) > begun:
            self._found("wrong", index, f"{max(numbers)} before it was begun")

    def _found(self, what: str, index: int, why: str) -> None:
        way = WAYS[index % len(WAYS)]
        setattr(self.verdicts, what, getattr(self.verdicts, what) + 1)
        self.verdicts.by_way[way] += 1
        if len(self.verdicts.examples) < 5:
            self.verdicts.examples.append(f"{what}: {name_of(index)} ({way}): {why}")


def check(reads: int, *, checked: bool, seed: int = 0) -> tuple[Verdicts, dict[str, Any]]:
    """Make so many reads against the writers; returns what they found, and details."""
    with tempfile.TemporaryDirectory() as folder:
        root, board_path = Path(folder) / "root", Path(folder) / "board"
        root.mkdir()
        board = Board(board_path, FILES)
        arguments = [str(root), str(board_path), str(FILES), str(WRITERS)]
        command = [sys.executable, "-m", "benchmarks.file_writers", *arguments]
        writers = [
            subprocess.Popen(
                [*command, str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=Path(__file__).parent.parent,
            )
            for number in range(WRITERS)
        ]
        try:
            for writer in writers:
                assert writer.stdout is not None
                assert writer.stdout.readline().strip() == b"ready"
            return _read_all(root, board, reads, checked=checked, seed=seed)
        finally:
            for writer in writers:
                writer.communicate(timeout=30)  # the end of its input ends it


def _read_all(
    root: Path, board: Board, reads: int, *, checked: bool, seed: int
) -> tuple[Verdicts, dict[str, Any]]:
    source = FileSource(root) if checked else Unchecked(root)
    begun = time.perf_counter()
    with PrefetchEngine(sources=[source]) as engine:
        readings = [
            Reading(engine, board, reads // READERS + 1, seed + number) for number in range(READERS)
        ]
        threads = [threading.Thread(target=reading.run) for reading in readings]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        summary = engine.report().summary()
    total = Verdicts()
    for reading in readings:
        if reading.error is not None:
            raise reading.error
        total.add(reading.verdicts)
    details = {
        "reads": total.reads,
        "stale": total.stale,
        "wrong": total.wrong,
        "found_by_way": dict(total.by_way),
        "examples": total.examples,
        "during_a_change_absent": total.absent,
        "during_a_change_half": total.half,
        "compared_byte_for_byte": total.compared,
        "changes_by_way": {
            way: sum(board.done(index) for index in range(at, FILES, len(WAYS)))
            for at, way in enumerate(WAYS)
        },
        "hit_rate": summary["hit_rate"],
        "seconds": round(time.perf_counter() - begun, 1),
    }
    return total, details


def main() -> int:
    """The command; its exit code is 1 where stale reads were found."""
    options_of = parser(__doc__)
    options_of.add_argument("--reads", type=int, default=None, help=f"default {READS}")
    options_of.add_argument(
        "--without-check", action="store_true", help="switch the freshness test off; must fail"
    )
    options = options_of.parse_args()
    reads = options.reads or (READS // 50 if options.quick else READS)
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    if not options.without_check:
        found, details["checked"] = check(reads, checked=True)
        changes = sum(details["checked"]["changes_by_way"].values())
        figures += [
            figure("checked reads", [found.reads], "", reads, at_most=False),
            figure("changes meanwhile", [changes], ""),
            figure("stale reads", [found.stale], "", 0),
            figure("wrong errors and half content", [found.wrong], "", 0),
        ]
    else:
        options.quick = True  # a failure on purpose is no result to keep
    control, details["without_check"] = check(min(reads, CONTROL), checked=False)
    name = "stale reads with the freshness test off"
    if options.without_check:
        figures.append(figure(name, [control.stale], "", 0))
    else:
        figures.append(figure(name, [control.stale], "", 1, at_most=False))
    return finish("stale_reads", figures, options, details=details, seed=0)


if __name__ == "__main__":
    sys.exit(main())
