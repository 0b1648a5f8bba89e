"""`top`, `report` and `explain` against a running engine, `completion` in real shells."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from prefetch_scheduler.engine import CallableSource, Prediction, PrefetchEngine
from prefetch_scheduler.engine.cli import engines
from prefetch_scheduler.engine.cli.completion import SHELLS, script
from prefetch_scheduler.engine.cli.main import main, parser
from prefetch_scheduler.engine.cli.top_rich import screen_of
from prefetch_scheduler.engine.cli.top_text import text_of
from prefetch_scheduler.engine.cli.top_view import Tone, view_of
from prefetch_scheduler.engine.monitor.client import MonitorClient

Captured = pytest.CaptureFixture[str]
CLI = [sys.executable, "-m", "prefetch_scheduler.engine.cli.main"]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="top-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(made))
    yield made
    shutil.rmtree(made)


def new_engine() -> PrefetchEngine:
    source = CallableSource("k", lambda name: name * 10, read_only=True)
    return PrefetchEngine({"monitor": {"socket": "auto"}}, sources=[source])


@pytest.fixture
def engine(folder: Path) -> Iterator[PrefetchEngine]:
    with new_engine() as made:
        handle = made.submit([Prediction("k:ahead", "main_file", 0.95)], context="turn")
        assert handle.wait_immediate(timeout=20)
        made.get("k:ahead")
        yield made


@pytest.fixture
def status(engine: PrefetchEngine) -> dict[str, Any]:
    with MonitorClient(engine.health().monitor) as client:
        return client.ask("status", decisions=100)


# ---- the commands against an engine --------------------------------------------------------------


def test_top_in_a_pipe_is_the_figures_once_as_text(engine: PrefetchEngine, capsys: Captured):
    assert main(["top"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "\x1b" not in captured.out
    assert captured.out.startswith("engine")
    assert "state: ok" in captured.out
    for title in ("lanes", "layers", "queues", "alerts: none", "latest decisions"):
        assert f"\n{title}" in captured.out
    assert re.search(r"prefetch used +k:ahead +without waiting", captured.out)
    assert re.search(r"immediate +P0 +0/8 +0\n", captured.out)


def test_top_as_json_is_one_document(engine: PrefetchEngine, capsys: Captured):
    assert main(["top", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["summary"] == engine.total_report().summary()
    assert {"pools", "layers", "decisions", "alerts", "health"} <= set(told)


def test_report_is_that_of_the_engine_or_of_a_session(engine: PrefetchEngine, capsys: Captured):
    assert main(["report"]) == 0
    assert capsys.readouterr().out == engine.total_report().to_text()
    assert main(["report", "--session", "nobody"]) == 1
    assert "no session 'nobody' is known" in capsys.readouterr().err
    assert main(["report", "--session", "default"]) == 0
    assert capsys.readouterr().out == engine.report().to_text()
    assert main(["report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == engine.total_report().to_dict()


def test_explain_tells_a_keys_story(engine: PrefetchEngine, capsys: Captured):
    assert main(["explain", "k:ahead"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("s ")[2] for line in lines] == [
        str(line).partition("s ")[2] for line in engine.explain("k:ahead")
    ]
    assert main(["explain", "k:ahead", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["key"] == "k:ahead"


def test_explain_of_what_nobody_knows_says_so_and_ends_with_1(
    engine: PrefetchEngine, capsys: Captured
):
    assert main(["explain", "k:never"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "nothing is known of k:never: it was neither predicted nor read\n"


@pytest.mark.parametrize(
    ("argv", "code", "error"),
    [
        (["explain", "x:y"], 2, "no source serves the kind 'x'; kinds served: k"),
        (["explain", "nonsense"], 2, "nonsense"),
        (["top", "--interval", "0"], 2, "is not a number of seconds in 0.1..3600"),
        (["top", "--socket", "/nowhere/x.sock"], 1, "/nowhere/x.sock: cannot be opened: No such"),
        (["report", "--socket", "README.md"], 1, "README.md: cannot be opened"),
    ],
)
def test_what_is_wrong_is_said_and_has_its_exit_code(
    argv: list[str],
    code: int,
    error: str,
    engine: PrefetchEngine,
    capsys: Captured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert error in captured.err


@pytest.mark.parametrize("command", [["top"], ["report"], ["explain", "k:a"]])
def test_without_an_engine_it_is_said_what_to_set(
    command: list[str], folder: Path, capsys: Captured
):
    assert main(command) == 1
    assert "set monitor.socket to auto" in capsys.readouterr().err


def test_an_engine_of_another_version_is_told_apart(
    engine: PrefetchEngine, capsys: Captured, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engines, "PROTOCOL", 99)
    assert main(["top"]) == 1
    told = capsys.readouterr().err
    assert f"is of version {version('prefetch-scheduler')}, and speaks protocol 1" in told


def test_of_several_engines_one_must_be_named(engine: PrefetchEngine, capsys: Captured):
    with new_engine() as other:
        assert main(["top"]) == 1
        told = capsys.readouterr().err
        assert "2 engines are running" in told
        where = other.health().monitor
        assert f"--socket {where}" in told
        assert main(["top", "--socket", where]) == 0
        assert "reads        0: 0 hits" in capsys.readouterr().out


# ---- saved reports -------------------------------------------------------------------------------


def test_a_saved_report_is_shown_as_the_live_one(
    engine: PrefetchEngine, tmp_path: Path, capsys: Captured
):
    report = engine.total_report()
    documents = {
        "r.json": json.dumps(report.to_dict()),
        "r.yaml": report.to_yaml(),
        "replayed.json": json.dumps({"sessions": 1, "report": report.body()}),
        "body.json": json.dumps(report.body()),
    }
    for name, text in documents.items():
        (tmp_path / name).write_text(text)
        assert main(["report", str(tmp_path / name)]) == 0
        assert capsys.readouterr().out == report.to_text()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"prefetch_report": {"session": null}}', "- x"])
def test_a_file_without_a_report_is_bad_input(text: str, tmp_path: Path, capsys: Captured):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    assert main(["report", str(path)]) == 2
    assert capsys.readouterr() == ("", f"{path}: holds no prefetch report\n")


def test_a_saved_report_has_no_socket(tmp_path: Path, capsys: Captured):
    assert main(["report", str(tmp_path / "r.json"), "--session", "s"]) == 2
    assert "are for a running engine" in capsys.readouterr().err


# ---- what is shown -------------------------------------------------------------------------------


def test_rates_are_those_since_the_status_before(status: dict[str, Any]):
    later = {**status, "wall": status["wall"] + 2, "summary": {**status["summary"], "reads": 11}}
    assert "reads" in dict(view_of(later).figures)
    assert dict(view_of(later, status).figures)["reads"].text.endswith("; 5.0/s")
    assert not dict(view_of(status, later).figures)["reads"].text.endswith("/s")
    other = {**status, "process": -1}
    assert not dict(view_of(later, other).figures)["reads"].text.endswith("/s")


def test_alerts_actors_and_sources_in_trouble_are_shown(status: dict[str, Any]):
    alert = {"session": "a\x1b[31m", "name": "cache_hit_rate", "value": 0.1, "threshold": 0.5}
    actor = {"name": "planner", "state": "restarting", "restarts": 2, "error": "KeyError"}
    health = {
        **status["health"],
        "state": "degraded",
        "reason": "rebuilding",
        "actors": [actor],
        "held_off": {"wiki": 12.3},
        "stuck_loads": {"db": 3, "fine": 0},
    }
    view = view_of({**status, "alerts": [alert], "alerts_standing": 1, "health": health})
    assert view.state.tone is Tone.WARN
    text = text_of(view)
    assert "state: degraded: rebuilding" in text
    assert "cache_hit_rate is 0.10, past 0.5" in text
    assert "restarting, 2 restarts: KeyError" in text
    assert "keeps failing; tried again in 12 s" in text
    assert "loads past their time that have not ended: 3" in text
    assert "\x1b" not in text
    assert "fine" not in text


def test_of_many_alerts_the_first_are_shown_and_the_rest_is_counted(status: dict[str, Any]):
    alert = {"name": "cache_hit_rate", "value": 0.1, "threshold": 0.5}
    many = [{"session": f"s{n}", **alert} for n in range(100)]
    rows = view_of({**status, "alerts": many, "alerts_standing": 2000}).troubles.rows
    assert [row[1].text for row in rows[:-1]] == [f"s{n}" for n in range(8)]
    assert rows[-1][2].text == "… and 1,992 more"


def test_a_status_without_answers_is_shown_all_the_same(status: dict[str, Any]):
    bare = {**status, "pools": {}, "layers": {}, "decisions": []}
    text = text_of(view_of(bare))
    assert "lanes: no answer" in text
    assert "latest decisions: none yet" in text


def drawn(status: dict[str, Any], width: int, height: int, **options: Any) -> str:
    console = Console(width=width, height=height, **options)
    with console.capture() as capture:
        console.print(screen_of(view_of(status), width, height))
    return capture.get()


@pytest.mark.parametrize(("width", "height"), [(140, 46), (100, 40), (80, 24), (80, 30)])
def test_a_screen_fits_its_terminal(status: dict[str, Any], width: int, height: int):
    many = {**status, "decisions": status["decisions"] * 20}
    lines = drawn(many, width, height).splitlines()
    assert len(lines) < height
    assert max(map(len, lines)) == width
    text = "\n".join(lines)
    for title in ("lanes", "layers", "alerts", "latest decisions", "k:ahead"):
        assert title in text


def test_there_are_colours_only_where_they_belong(
    status: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-9]")
    terminal: dict[str, Any] = {"force_terminal": True, "color_system": "standard"}
    assert coloured.search(drawn(status, 140, 46, **terminal))
    assert not coloured.search(drawn(status, 140, 46, **terminal, no_color=True))
    assert "\x1b" not in drawn(status, 140, 46)


# ---- in a terminal -------------------------------------------------------------------------------


class Terminal:
    """A real pseudo-terminal with a command in it."""

    def __init__(self, argv: list[str], **environment: str) -> None:
        ours, theirs = pty.openpty()
        self._ours = ours
        self.text = ""
        env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "45"}
        self.process = subprocess.Popen(
            argv, stdin=theirs, stdout=theirs, stderr=theirs, env={**env, **environment}
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # the command has ended
                return
            self.text += piece.decode(errors="replace")

    def wait_for(self, what: Callable[[str], object]) -> None:
        end = time.monotonic() + 20
        while not what(self.text):
            assert time.monotonic() < end, self.text
            time.sleep(0.01)

    def ended(self) -> int:
        code = self.process.wait(20)
        self._reader.join(20)
        return code

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
        self._reader.join(20)
        os.close(self._ours)


def test_top_draws_again_and_again_until_ctrl_c(engine: PrefetchEngine):
    with Terminal([*CLI, "top", "--interval", "0.1"], NO_COLOR="1") as terminal:
        terminal.wait_for(lambda text: text.count("latest decisions") >= 2)
        engine.get("k:new")
        terminal.wait_for(lambda text: "k:new" in text)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.ended() == 0
    assert terminal.text.count("\x1b[?1049h") == terminal.text.count("\x1b[?1049l") == 1
    assert not re.search(r"\x1b\[[0-9;]*3[1-7]m", terminal.text)
    assert "Traceback" not in terminal.text


def test_top_without_rich_is_text_and_says_when_the_engine_ends(folder: Path):
    code = (
        "import sys; sys.modules['rich'] = None\n"
        "from prefetch_scheduler.engine.cli.main import main\n"
        "sys.exit(main(['top', '--interval', '0.1']))"
    )
    engine = new_engine().start()
    try:
        with Terminal([sys.executable, "-c", code]) as terminal:
            terminal.wait_for(lambda text: text.count("latest decisions") >= 2)
            engine.stop()
            assert terminal.ended() == 1
    finally:
        engine.stop()
    assert "\x1b[H\x1b[2J" in terminal.text
    assert "─" not in terminal.text
    assert terminal.text.rstrip().endswith("the engine has ended")


# ---- completion ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_can_be_completed(shell: str, capsys: Captured):
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert text == script(shell, parser())
    for word in ("replay", "simulate", "plan", "top", "report", "explain", "config", "completion"):
        assert re.search(rf"\b{word}\b", text)
    for flag in ("version", "workspace", "once", "socket", "policy", "schema"):
        assert re.search(rf"(--|-l ){flag}\b", text)
    assert "specification" in text


def completed(*words: str) -> list[str]:
    """What bash offers for the last of the words."""
    line = " ".join(f"'{word}'" for word in words)
    code = (
        f"{script('bash', parser())}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}\n"
        '_prefetch_scheduler; echo "${COMPREPLY[@]}"'
    )
    run = ["bash", "--norc", "-c", code]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["re"], ["replay", "report"]),
        (["plan", "--mo"], ["--mode"]),
        (["plan", "--mode", "p"], ["premium"]),
        (["-v", "top", "--on"], ["--once"]),
        (["completion", "z"], ["zsh"]),
        (["config", "--config", ""], []),
        (["replay", "x"], []),
    ],
)
def test_bash_completes(words: list[str], offered: list[str]):
    assert completed("prefetch-scheduler", *words) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_is_one_of_its_shell(shell: str, tmp_path: Path):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    path = tmp_path / "script"
    path.write_text(script(shell, parser()))
    subprocess.run([shell, "-n" if shell == "zsh" else "--no-execute", str(path)], check=True)
