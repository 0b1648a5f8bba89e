"""One line on a terminal that is rewritten while a replay runs; nothing elsewhere."""

import shutil
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

INTERVAL_S = 0.2
"""Real seconds between two lines."""

_ERASE_LINE = "\r\x1b[2K"


class Progress:
    """Shows `line()` again and again, from a thread of its own, so that long waits show as well.

    What `line` raises is not shown and stops nothing. Quiet where the stream is no terminal.

    Args:
        line: makes the text; called from the thread.
        stream: where it goes; None: standard error.
    """

    def __init__(self, line: Callable[[], str], stream: TextIO | None = None) -> None:
        self._line = line
        self._stream = sys.stderr if stream is None else stream
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Progress":
        if self._stream.isatty():
            self._thread = threading.Thread(target=self._run, name="replay-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
            self._write(_ERASE_LINE)

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            try:
                text = self._line()
            except Exception:  # noqa: BLE001 - the engine may be stopping; a line less is no loss
                continue
            width = max(20, shutil.get_terminal_size().columns - 1)
            self._write(_ERASE_LINE + text[:width])

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._stop.set()
