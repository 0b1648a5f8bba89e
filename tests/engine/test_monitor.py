"""The monitor's socket: who may open it, what it answers, and that no client harms the engine."""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefetch_scheduler.engine import (
    CallableSource,
    InvalidPrediction,
    Prediction,
    PrefetchEngine,
)
from prefetch_scheduler.engine.config_file import load_config
from prefetch_scheduler.engine.monitor import answers, place, server
from prefetch_scheduler.engine.monitor import client as monitor_client
from prefetch_scheduler.engine.monitor.answers import Answers
from prefetch_scheduler.engine.monitor.client import MonitorClient, running
from prefetch_scheduler.engine.monitor.place import MonitorError
from support.waiting import wait_for

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A private folder with a path short enough for sockets, the one that `auto` uses."""
    made = Path(tempfile.mkdtemp(prefix="mon-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(made))
    yield made
    shutil.rmtree(made)


def new_engine(where: str | Path = "auto") -> PrefetchEngine:
    source = CallableSource("k", lambda name: name * 10, read_only=True)
    return PrefetchEngine({"monitor": {"socket": str(where)}}, sources=[source])


@pytest.fixture
def engine(folder: Path) -> Iterator[PrefetchEngine]:
    with new_engine(folder / "e.sock") as made:
        yield made


def sockets(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.sock"))


def talk(path: Path, sent: bytes) -> list[dict[str, Any]]:
    """What is answered to these bytes, until the other end closes or has answered every line."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(20)
        raw.connect(str(path))
        raw.sendall(sent)
        raw.shutdown(socket.SHUT_WR)
        with raw.makefile("rb") as answers:
            return [json.loads(answers.readline()) for _ in range(max(1, sent.count(b"\n")))]


# ---- where it is, and who may open it ------------------------------------------------------------


def test_no_socket_is_opened_unless_it_is_asked_for(folder: Path):
    with PrefetchEngine() as engine:
        assert engine.health().monitor == "off"
        assert not any("monitor" in thread.name for thread in threading.enumerate())
    assert sockets(folder) == []


def test_only_its_user_can_open_it_and_stop_removes_it(folder: Path):
    engine = new_engine()
    with engine:
        [found] = (folder / "prefetch-scheduler").iterdir()
        assert stat.S_IMODE(found.stat().st_mode) == 0o600
        assert stat.S_IMODE(found.parent.stat().st_mode) == 0o700
        assert engine.health().monitor == str(found)
        assert found.name.startswith(f"{os.getpid()}-engine")
    assert sockets(folder) == []
    assert not any("monitor" in thread.name for thread in threading.enumerate())


def test_without_a_private_runtime_folder_it_lies_in_one_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    folder.chmod(0o755)  # not private any more
    assert place.own_folder() == folder / f"prefetch-scheduler-{os.getuid()}"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert place.own_folder() == folder / f"prefetch-scheduler-{os.getuid()}"


def refused(where: Path) -> str:
    """Why an engine has no monitor; it runs all the same."""
    with new_engine(where) as engine:
        assert engine.get("k:a").value == "a" * 10
        told = engine.health().monitor
    assert told.startswith("not open: ")
    return told


def test_a_folder_that_others_can_look_into_is_refused(folder: Path):
    (folder / "open").mkdir()
    (folder / "open").chmod(0o750)
    assert "chmod 700" in refused(folder / "open" / "e.sock")
    (folder / "link").symlink_to(folder)
    assert "nobody else can look into" in refused(folder / "link" / "e.sock")


def test_a_file_in_its_place_is_left_alone(folder: Path):
    path = folder / "e.sock"
    path.write_text("mine")
    assert "is no socket" in refused(path)
    assert path.read_text() == "mine"


def test_a_path_too_long_for_a_socket_is_refused(folder: Path):
    assert "longer than" in refused(folder / ("x" * 120))


def test_another_engines_socket_is_left_alone(engine: PrefetchEngine, folder: Path):
    assert "another engine listens" in refused(folder / "e.sock")
    with MonitorClient(folder / "e.sock") as client:
        assert client.ask("hello")["process"] == os.getpid()


def test_a_socket_that_a_dead_process_has_left_is_replaced(folder: Path):
    path = folder / "e.sock"
    code = f"import socket; s = socket.socket(socket.AF_UNIX); s.bind({str(path)!r}); s.listen()"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert stat.S_ISSOCK(path.lstat().st_mode)
    with pytest.raises(MonitorError, match="no engine listens there any more"):
        MonitorClient(path)
    with new_engine(path), MonitorClient(path) as client:
        assert client.ask("hello")["process"] == os.getpid()


def test_auto_finds_every_engine_and_forgets_dead_processes(folder: Path):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    with new_engine() as one:
        left = Path(one.health().monitor).with_name(f"{done.pid}-engine1.sock")
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(left))
        assert [hello["process"] for _, hello in running()] == [os.getpid()]
        with new_engine() as two:
            assert not left.exists()
            found = {str(path): hello["engine"] for path, hello in running()}
            assert set(found) == {one.health().monitor, two.health().monitor}
            assert len(set(found.values())) == 2


def test_a_relative_path_is_one_of_the_configurations_folder(tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text("monitor:\n  socket: here.sock\n")
    assert load_config(file).monitor.socket == str(tmp_path / "here.sock")
    file.write_text("monitor:\n  socket: auto\n")
    assert load_config(file).monitor.socket == "auto"


@as_root
def test_another_user_cannot_open_it_and_is_not_answered_where_they_can(
    engine: PrefetchEngine, folder: Path
):
    path = folder / "e.sock"
    code = (
        "import os, socket\n"
        f"os.setuid({NOBODY})\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "try:\n"
        f'    s.connect({str(path)!r}); s.sendall(b\'{{"do": "hello"}}\\n\'); print(s.recv(99))\n'
        "except OSError as error:\n"
        "    print(type(error).__name__)\n"
    )

    def tried() -> str:
        run = [sys.executable, "-c", code]
        done = subprocess.run(run, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert tried() == "PermissionError"
    folder.chmod(0o755)
    path.chmod(0o666)
    assert tried() in ("b''", "ConnectionResetError", "BrokenPipeError")


def test_a_client_speaks_to_no_socket_of_another_user(
    engine: PrefetchEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY - 1)
    with pytest.raises(MonitorError, match="another user"):
        MonitorClient(folder / "e.sock")


# ---- what it answers -----------------------------------------------------------------------------


def test_it_answers_status_report_and_story(engine: PrefetchEngine, folder: Path):
    handle = engine.submit([Prediction("k:ahead", "main_file", 0.95)], context="turn")
    assert handle.wait_immediate(timeout=20)
    engine.get("k:ahead")
    with MonitorClient(folder / "e.sock") as client:
        status = client.ask("status", decisions=50)
        assert status["health"]["state"] == "ok"
        assert status["summary"] == engine.total_report().summary()
        told = [(each["key"], each["event"]) for each in status["decisions"]]
        assert ("k:ahead", "prefetch started") in told
        assert client.ask("status", decisions=0)["decisions"] == []
        assert client.ask("report") == engine.total_report().to_dict()
        assert client.ask("report", session="default") == engine.report().to_dict()
        story = client.ask("explain", key="k:ahead")["story"]
        assert [line["event"] for line in story] == [
            line.event for line in engine.explain("k:ahead")
        ]
        with pytest.raises(InvalidPrediction, match="no source serves the kind 'x'"):
            client.ask("explain", key="x:y")


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"hello\n", "expected a line of JSON"),
        (b"\xff\xfe\n", "expected a line of JSON"),
        (b"[" * 5000 + b"\n", "expected a line of JSON"),
        (b"[]\n", 'expected {"do": one of hello, status, report, explain}'),
        (b'{"do": "stop"}\n', 'expected {"do": one of hello'),
        (b'{"do": []}\n', 'expected {"do": one of hello'),
        (b'{"do": "hello", "x": 1}\n', "unknown field 'x'; allowed: none"),
        (b'{"do": "status", "decisions": true}\n', "decisions: expected int"),
        (b'{"do": "explain", "key": "nothing"}\n', "nothing"),
    ],
)
def test_a_request_that_cannot_be_answered_is_told_why_and_the_next_one_is_answered(
    sent: bytes, error: str, engine: PrefetchEngine, folder: Path
):
    wrong, right = talk(folder / "e.sock", sent + b'{"do": "hello"}\n')
    assert wrong["ok"] is False
    assert error in wrong["error"]
    assert right["ok"] is True


@cache
def unopened() -> server.MonitorServer:
    return server.MonitorServer("off", "engine0", Answers(PrefetchEngine(), "engine0").answer)


@settings(max_examples=50)
@given(st.one_of(st.binary(), st.recursive(st.none() | st.text() | st.floats(), st.lists)))
def test_whatever_is_sent_is_answered_in_one_line_of_json(sent: object):
    served = unopened()
    line = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    told = server._line(served._answered(line))
    assert told.count(b"\n") == 1
    assert json.loads(told)["ok"] in (True, False)


def test_a_status_names_only_so_many_alerts_and_counts_the_rest(
    engine: PrefetchEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(answers, "MOST_ALERTS", 1)
    for name in ("one", "two", "three"):
        engine.session(name).get(f"k:{name}")  # a miss: the hit rate is 0
    wait_for(lambda: len(engine.metrics_snapshot().alerts) == 3)
    with MonitorClient(folder / "e.sock") as client:
        status = client.ask("status")
    assert (len(status["alerts"]), status["alerts_standing"]) == (1, 3)


# ---- clients that mean harm, and the end ---------------------------------------------------------


def test_a_client_that_sends_without_end_is_closed(engine: PrefetchEngine, folder: Path):
    with socket.socket(socket.AF_UNIX) as flood:
        flood.settimeout(20)
        flood.connect(str(folder / "e.sock"))
        with pytest.raises(OSError, match=r"Broken pipe|reset by peer"):
            flood.sendall(b"x" * 100_000_000)
    with MonitorClient(folder / "e.sock") as client:
        assert client.ask("hello")["running_s"] >= 0


def test_a_client_that_does_not_read_is_closed_and_holds_nobody_up(
    engine: PrefetchEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server, "STALL_S", 0.2)
    with socket.socket(socket.AF_UNIX) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        slow.connect(str(folder / "e.sock"))
        slow.setblocking(False)
        lines = b'{"do": "status", "decisions": 100}\n' * 300  # answers of megabytes in all
        slow.send(lines)
        with MonitorClient(folder / "e.sock") as client:
            assert client.ask("hello")
            assert engine.get("k:a").value == "a" * 10
            monitor = engine._monitor
            assert monitor is not None
            wait_for(lambda: len(monitor._clients) == 1)  # the slow one has gone
            assert client.ask("hello")


def test_no_more_clients_are_taken_than_it_can_serve(engine: PrefetchEngine, folder: Path):
    clients = [MonitorClient(folder / "e.sock") for _ in range(server.MOST_CLIENTS)]
    for client in clients:
        assert client.ask("hello")
    with MonitorClient(folder / "e.sock") as late, pytest.raises(MonitorError, match="has ended"):
        late.ask("hello")
    clients.pop().close()
    monitor = engine._monitor
    assert monitor is not None
    wait_for(lambda: len(monitor._clients) < server.MOST_CLIENTS)
    with MonitorClient(folder / "e.sock") as next_one:
        assert next_one.ask("hello")
    for client in clients:
        client.close()


def test_stop_ends_the_clients_and_leaves_anothers_socket(folder: Path):
    path = folder / "e.sock"
    engine = new_engine(path)
    engine.start()
    with MonitorClient(path) as client:
        assert client.ask("hello")
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            engine.stop()
            with pytest.raises(MonitorError, match="the engine has ended"):
                client.ask("hello")
            assert path.exists()


def test_a_fork_takes_no_socket_along(engine: PrefetchEngine, folder: Path):
    child = os.fork()
    if child == 0:
        told = engine.health().monitor
        engine.stop()
        os._exit(0 if told.startswith("not open") and (folder / "e.sock").exists() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with MonitorClient(folder / "e.sock") as client:
        assert client.ask("hello")


def test_a_server_that_speaks_otherwise_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(monitor_client, "PATIENCE_S", 0.2)
    path = folder / "e.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        for answer, error in ((b"hi\n", "does not speak"), (b"{}\n", "does not speak")):
            with MonitorClient(path) as client:
                accepted, _ = listener.accept()
                with accepted:
                    accepted.sendall(answer)
                    with pytest.raises(MonitorError, match=error):
                        client.ask("hello")
        with MonitorClient(path) as client, pytest.raises(MonitorError, match="no answer within"):
            client.ask("hello")
