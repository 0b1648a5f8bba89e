"""Changes files in every way that a cache may miss, and says which change is done.

A process of its own, started by `benchmarks.stale_reads`; it imports nothing but the standard
library, and ends when its standard input does.

Each file holds its *number* many times over, always in the same number of bytes. The board is a
mapped file with two numbers for each file: the change that has begun last, and the one that is
done. A change is begun before anything of it can be seen, and done once all of it can.
"""

import mmap
import os
import random
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

COPIES = 8
WIDTH = 12
CELL = 16
"""Bytes of the board for each file."""

PAUSES = (0.0, 0.0, 0.0005, 0.002, 0.01, 0.06)
"""Seconds between two changes: within a tick of the file system's clock, and well outside."""


def text_of(number: int) -> bytes:
    """What a file holds after its change of that number."""
    return (f"{number:0{WIDTH}d}|" * COPIES).encode()


def numbers_in(text: str | bytes) -> list[int] | None:
    """The numbers in a file's content; None: it is not whole."""
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    parts = text.split("|")
    whole = len(parts) == COPIES + 1 and not parts[-1]
    if not whole or not all(len(part) == WIDTH and part.isdigit() for part in parts[:-1]):
        return None
    return [int(part) for part in parts[:-1]]


class Board:
    """Which change of each file has begun, and which is done. Shared by mapping one file."""

    def __init__(self, path: Path, files: int) -> None:
        if not path.exists():
            path.write_bytes(bytes(CELL * files))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), CELL * files)
        self._cells = memoryview(self._map).cast("Q")  # whole words: each is written at once

    def begun(self, file: int) -> int:
        return self._cells[2 * file]

    def done(self, file: int) -> int:
        return self._cells[2 * file + 1]

    def begin(self, file: int, number: int) -> None:
        self._cells[2 * file] = number

    def end(self, file: int, number: int) -> None:
        self._cells[2 * file + 1] = number


class ChangedFile:
    """One file, and the one way in which it is changed."""

    def __init__(self, root: Path, board: Board, index: int) -> None:
        self.way = WAYS[index % len(WAYS)]
        self.path = root / name_of(index)
        self._aside = root / f"aside-{index}"
        self._targets = [root / f"target-{index}-{side}" for side in "ab"]
        self._board = board
        self._index = index
        self._number = 0
        if self.way == "link swapped":
            self._targets[0].write_bytes(text_of(0))
            self.path.symlink_to(self._targets[0].name)
        else:
            self.path.write_bytes(text_of(0))

    def change(self) -> None:
        match self.way:
            case "in place":
                self._as_one(self._over)
            case "twice in a tick":
                self._as_one(self._over)
                self._as_one(self._over)
            case "mtime set back":
                self._as_one(self._over_and_back)
            case "cut and written":
                self._as_one(self.path.write_bytes)
            case "replaced":
                self._as_one(self._replace)
            case "link swapped":
                self._as_one(self._swap)
            case "deleted and made anew":
                self._as_one(self._anew)
            case _:
                raise AssertionError(self.way)

    def _as_one(self, write: Callable[[bytes], object]) -> None:
        self._number += 1
        self._board.begin(self._index, self._number)
        write(text_of(self._number))
        self._board.end(self._index, self._number)

    def _over(self, text: bytes) -> None:
        descriptor = os.open(self.path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, text, 0)
        finally:
            os.close(descriptor)

    def _over_and_back(self, text: bytes) -> None:
        before = os.stat(self.path)
        self._over(text)
        os.utime(self.path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def _replace(self, text: bytes) -> None:
        self._aside.write_bytes(text)
        os.replace(self._aside, self.path)

    def _swap(self, text: bytes) -> None:
        target = self._targets[self._number % 2]
        target.write_bytes(text)
        self._aside.symlink_to(target.name)
        os.replace(self._aside, self.path)

    def _anew(self, text: bytes) -> None:
        self.path.unlink()
        self.path.write_bytes(text)


WAYS = (
    "in place",
    "twice in a tick",
    "mtime set back",
    "cut and written",
    "replaced",
    "link swapped",
    "deleted and made anew",
)


def name_of(index: int) -> str:
    """The name of a file below the root."""
    return f"{index}.txt"


def main(arguments: list[str]) -> None:
    """`ROOT BOARD FILES WRITERS WRITER`: change every file of which this writer is the owner."""
    root, board_path = Path(arguments[0]), Path(arguments[1])
    files, writers, writer = map(int, arguments[2:])
    board = Board(board_path, files)
    mine = [ChangedFile(root, board, index) for index in range(writer, files, writers)]
    rng = random.Random(writer)
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        # Some are left alone for a while, so that what is known of them settles.
        busy = rng.sample(mine, k=rng.randint(1, len(mine)))
        for _ in range(rng.randint(1, 40)):
            rng.choice(busy).change()
            time.sleep(rng.choice(PAUSES))


if __name__ == "__main__":
    main(sys.argv[1:])
