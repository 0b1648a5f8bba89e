"""An agent's errand that every adapter runs: what its model says, its tools, and how it may go.

The model is a script: it looks around, reads the file that it has seen named, reads it again once
the person has changed it, writes it, reads it again, and ends. Three turns of a talk, each a
run of the framework's own loop.
"""

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field

from prefetch_scheduler.engine import Prediction, PrefetchEngine
from prefetch_scheduler.engine.hosts import HostPort, ReadTool
from support.waiting import wait_for

MODES = ("on", "off", "failing", "stopped")
TASKS = ("Where is the login?", "Read it.", "Mend it, and look again.")

Say = tuple[str, dict[str, Any]] | str
"""A call of a tool with its arguments, or words for the person who asked."""

SCRIPT: tuple[Say, ...] = (
    ("look", {"word": "login"}),
    "It is in src/auth.py.",
    ("read_file", {"path": "src/auth.py"}),
    ("read_file", {"path": "src/none.py"}),
    "I have read it.",
    ("read_file", {"path": "src/auth.py"}),
    ("write_file", {"path": "src/auth.py", "text": "def login(user): ...\n"}),
    ("read_file", {"path": "src/auth.py"}),
    "Mended.",
)
READ = "src/auth.py"


def config(mode: str) -> dict[str, Any]:
    """The engine's, for a mode."""
    return {"enable_speculative_prefetch": mode != "off"}


class Named:
    """Predicts the files whose names it sees. For one session after another."""

    def __init__(self) -> None:
        self._files: dict[str, None] = {}

    def session(self, id_: str, project: str | None) -> "Named":
        return self

    def task(self, text: str) -> None:
        self.seen(text)

    def read(self, key: str, text: str | None) -> None:
        self.seen(text or "")

    def seen(self, text: str) -> None:
        self._files.update(dict.fromkeys(re.findall(r"\w+/\w+\.py", text)))

    def predictions(self) -> Iterable[Prediction]:
        return [Prediction(f"file:{path}", "main_file", 0.95) for path in self._files]

    def end(self) -> None:
        self._files.clear()


@define(eq=False)
class Errand:
    """One agent's work in a folder."""

    folder: Path
    mode: str
    """One of `MODES`; with "on" what was predicted is waited for before the model asks for it."""
    calls: list[tuple[str, str]] = field(factory=list)
    """Of `read_file`: path, and who called it: "engine" or "agent"."""
    said: int = 0
    port: HostPort | None = None

    def __attrs_post_init__(self) -> None:
        (self.folder / "src").mkdir(parents=True)
        (self.folder / READ).write_text("def login(): ...\n")

    # ---- tools -----------------------------------------------------------------------------

    def look(self, word: str) -> str:
        """Say which files hold a word."""
        found = [p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*.py")]
        return f"{word}: {', '.join(sorted(found))}"

    def read_file(self, path: str) -> str:
        """Read a file.

        Args:
            path: of the file.
        """
        ahead = threading.current_thread().name.startswith("prefetch-")
        self.calls.append((path, "engine" if ahead else "agent"))
        if ahead and self.mode == "failing":
            raise ConnectionError("the source is down")
        file = self.folder / path
        return file.read_text() if file.is_file() else f"there is no {path}"

    def write_file(self, path: str, text: str) -> str:
        """Write a file."""
        (self.folder / path).write_text(text)
        return f"wrote {len(text)} characters"

    def reads(self, tool: Any = None) -> ReadTool:
        """What the adapter is given."""
        return ReadTool(self.read_file if tool is None else tool, path="path", max_age_s=600)

    def tasks(self) -> Iterator[str]:
        """What the person says, turn by turn; before the last one they change the file."""
        yield from TASKS[:-1]
        (self.folder / READ).write_text("def login(me): ...\n")
        yield TASKS[-1]

    # ---- the model -------------------------------------------------------------------------

    def next(self, engine: PrefetchEngine | None) -> Say:
        """What the model says next."""
        say = SCRIPT[self.said]
        self.said += 1
        if self.mode == "on" and self.said == 3 and engine is not None and self.port is not None:
            key = self.port.functions["read_file"].key(READ)
            wait_for(lambda: engine.peek(key))
        return say

    # ---- what must hold --------------------------------------------------------------------

    def check(self, engine: PrefetchEngine) -> None:
        """Of a run that has ended, with the adapter."""
        assert self.said == len(SCRIPT)
        by_agent = [path for path, who in self.calls if who == "agent"]
        if self.mode in ("stopped", "failing"):
            assert by_agent == [READ, "src/none.py", READ, READ]
            return
        assert by_agent == []
        figures = self.figures(engine)
        if self.mode == "on":
            assert figures["used"] >= 1
            return
        # A load that a change overtakes is made again, so there may be one more of the same.
        assert figures["total_prefetches"] == 0
        assert sorted({path for path, _ in self.calls}) == sorted({READ, "src/none.py"})
        assert len(self.calls) >= 4

    def figures(self, engine: PrefetchEngine) -> Mapping[str, Any]:
        """Of its own session."""
        report = engine.session("agent-7").report().to_dict()["prefetch_report"]
        summary: Mapping[str, Any] = report["session_summary"]
        return summary
