"""The cold layer that lasts: what comes back after a restart, and what must not."""

import os
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.actors.clock import SystemClock
from prefetch_scheduler.engine import (
    CallableSource,
    Content,
    FileSource,
    PrefetchEngine,
    cold_store,
)
from prefetch_scheduler.engine.cold_file import SCHEMA, ColdFile, ColdUnusable
from prefetch_scheduler.engine.cold_record import Damaged, Unkeepable, decode, encode
from prefetch_scheduler.engine.config_file import load_config
from prefetch_scheduler.engine.sources.freshness import FileStamp
from prefetch_scheduler.policies.content import Entry
from prefetch_scheduler.policies.vocabulary import Priority
from support.waiting import PATIENCE_S, wait_for


class Shifted(SystemClock):
    """Real time, with a wall clock that somebody has set."""

    def __init__(self, by: float = 0.0) -> None:
        super().__init__()
        self.by = by

    def wall(self) -> float:
        return super().wall() + self.by


class Host:
    """Starts engines one after another on one file, with sources that count their loads."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.path = folder / "cold.sqlite"
        self.loads: list[str] = []
        self.text = "one"
        self.version: Any = "v1"
        self.sources: Callable[[], list[Any]] = self.usual
        self.rules: dict[str, Any] = {}

    def usual(self) -> list[Any]:
        return [
            FileSource(self.root),
            CallableSource("versioned", self.load, read_only=True, version=lambda _: self.version),
            CallableSource("aged", self.load_aged, read_only=True),
            CallableSource("bare", self.load_bare, read_only=True),
            CallableSource(
                "mine", self.load_mine, read_only=True, private=True, version=lambda _: "v"
            ),
        ]

    def load(self, name: str) -> str:
        self.loads.append(name)
        return self.text

    def load_aged(self, name: str) -> Content:
        return Content(self.load(name), max_age_s=100)

    def load_bare(self, name: str) -> str:
        return self.load(name)

    def load_mine(self, name: str) -> str:
        return self.load(name)

    def engine(self, clock: SystemClock | None = None, **config: Any) -> PrefetchEngine:
        cache = {"cold_store": "sqlite", "cold_path": str(self.path), **self.rules}
        return PrefetchEngine({"cache": cache, **config}, sources=self.sources(), clock=clock)

    def kept(self) -> list[str]:
        """The keys in the file, while no engine runs."""
        file = ColdFile(str(self.path), items=1000, size=1 << 30)
        try:
            return sorted(stored for stored, _ in file.rows())
        finally:
            file.close(clean=file.clean)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def restored(engine: PrefetchEngine) -> None:
    """Wait until all that was kept has come back."""
    restoring = engine._runtime.cache_kept.restoring
    wait_for(lambda: restoring.over)


def test_what_its_source_can_check_comes_back_in_cold_and_is_no_prefetch(host: Host) -> None:
    (host.root / "a.txt").write_text("text of a")
    with host.engine() as engine:
        engine.get("file:a.txt")
        engine.get("versioned:x")
        engine.get("aged:x")
        engine.get("bare:x")
    host.loads.clear()
    with host.engine() as engine:
        restored(engine)
        for key, text in (("file:a.txt", "text of a"), ("versioned:x", "one"), ("aged:x", "one")):
            content = engine.get(key)
            assert (content.value, content.layer) == (text, "cold")
        assert host.loads == []
        summary = engine.report().summary()
        assert (summary["cache_hits"], summary["total_prefetches"], summary["wasted"]) == (3, 0, 0)
        assert "restored" in [line.event for line in engine.explain("versioned:x")]
        assert engine.peek("bare:x") is None  # nothing could tell whether it still holds
        assert engine.health().cold_store == "sqlite"
    assert host.kept() == ["aged:x", "file:a.txt", "versioned:x"]


@pytest.mark.parametrize("then", ["written", "idle"])
@pytest.mark.parametrize("what", ["deleted", "put in its place"])
def test_a_file_that_is_taken_away_is_done_without_and_said_so_once(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    then: str,
    what: str,
) -> None:
    if then == "idle":
        monkeypatch.setattr(cold_store, "CHECK_S", 0.01)
    (host.root / "a.txt").write_text("text of a")
    with host.engine() as engine:
        engine.get("versioned:x")
        restored(engine)
        if what == "deleted":
            host.path.unlink()
        else:
            (host.root / "other").write_text("another's")
            os.replace(host.root / "other", host.path)
        if then == "written":
            assert engine.get("file:a.txt").value == "text of a"
        wait_for(lambda: engine.health().cold_store != "sqlite")
        assert "memory" in engine.health().cold_store
        assert engine.get("versioned:x").layer is not None
    said = [record.getMessage() for record in caplog.records if record.name.endswith(".cold")]
    assert len(said) == 1
    assert what in said[0]
    assert host.path.exists() is (what != "deleted")


def test_what_has_changed_meanwhile_is_loaded_anew(host: Host) -> None:
    (host.root / "a.txt").write_text("old!")
    with host.engine() as engine:
        engine.get("file:a.txt")
        engine.get("versioned:x")
    before = os.stat(host.root / "a.txt")
    (host.root / "a.txt").write_text("new!")
    os.utime(host.root / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    host.version, host.text = "v2", "two"
    with host.engine() as engine:
        restored(engine)
        assert engine.peek("file:a.txt") is None
        assert engine.get("file:a.txt").value == "new!"
        assert engine.get("versioned:x").value == "two"


@pytest.mark.parametrize(("shift", "there"), [(0, True), (99, True), (101, False), (-60, False)])
def test_content_with_an_age_comes_back_by_the_wall_clock(
    host: Host, shift: float, there: bool
) -> None:
    with host.engine() as engine:
        engine.get("aged:x")
    with host.engine(Shifted(shift)) as engine:
        restored(engine)
        assert (engine.peek("aged:x") is not None) is there


def test_content_with_an_age_does_not_come_back_after_an_end_that_was_not_in_order(
    host: Host,
) -> None:
    """A removal may not have reached the file; what is checked at each read comes back."""
    with host.engine() as engine:
        engine.get("aged:x")
        engine.get("versioned:x")
    with sqlite3.connect(host.path) as db:
        db.execute("UPDATE state SET value=0")
    db.close()
    with host.engine() as engine:
        restored(engine)
        assert engine.peek("aged:x") is None
        assert engine.peek("versioned:x") is not None


def test_a_kill_right_after_the_start_brings_nothing_back_that_was_told_to_have_changed(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then the file has to be marked as in use, however slow it opens."""
    with host.engine() as engine:
        engine.get("aged:x")
    prepare = ColdFile._prepare

    def slowly(file: ColdFile, db: sqlite3.Connection) -> None:
        time.sleep(0.3)
        prepare(file, db)

    monkeypatch.setattr(ColdFile, "_prepare", slowly)
    left = tmp_path / "left"
    left.mkdir()
    with host.engine() as engine:
        host.text = "two"
        engine.invalidate("aged:x")
        for file in host.path.parent.glob("cold.sqlite*"):  # what a kill leaves
            shutil.copy(file, left)
    host.path = left / "cold.sqlite"
    with host.engine() as engine:
        restored(engine)
        assert engine.get("aged:x").value == "two"


def test_a_file_that_opens_too_late_is_done_without(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cold_store, "OPEN_S", 0.0)
    prepare, started = ColdFile._prepare, threading.Event()

    def late(file: ColdFile, db: sqlite3.Connection) -> None:
        started.wait(PATIENCE_S)
        prepare(file, db)

    monkeypatch.setattr(ColdFile, "_prepare", late)
    with host.engine() as engine:
        started.set()
        restored(engine)
        assert engine.get("versioned:x").value == "one"
        assert "to open" in engine.health().cold_store
    assert len(warnings(caplog)) == 1


def test_what_was_invalidated_does_not_come_back(host: Host) -> None:
    with host.engine(enable_speculative_prefetch=False) as engine:  # else it is loaded again
        for key in ("aged:a", "aged:b", "versioned:a"):
            engine.get(key)
        engine.invalidate("aged:a")
        engine.invalidate("versioned:*")
    assert host.kept() == ["aged:b"]


def test_a_change_told_before_it_has_come_back_keeps_it_out(host: Host) -> None:
    with host.engine() as engine:
        engine.get("aged:a")
        engine.get("aged:b")
    engine = host.engine()
    cold = engine._runtime.followers.cold
    assert cold is not None
    told: list[Any] = []
    send = cold._restore
    cold._restore = lambda message: told.append(message) or True  # type: ignore[func-returns-value]  # held back
    with engine:
        wait_for(lambda: told)
        engine.invalidate("aged:a")
        board = engine._runtime.view.board
        wait_for(lambda: not len(board))  # everybody has taken note of it, and forgotten it
        for message in told:
            send(message)
        restored(engine)
        assert engine.peek("aged:a") is None
        assert engine.peek("aged:b") is not None
    assert host.kept() == ["aged:b"]


def test_secrets_and_private_content_are_never_written(host: Host) -> None:
    secret = "SECRET-" + "x" * 20
    (host.root / ".env").write_text(secret)
    (host.root / "link.txt").symlink_to(".env")
    host.text = secret
    with host.engine() as engine:
        assert engine.get("file:.env").value == secret
        assert engine.get("file:link.txt").value == secret
        assert engine.session("s", user="ann").get("mine:x").value == secret
        (host.root / "link.txt").unlink()
        (host.root / "link.txt").write_text("harmless")
    assert host.kept() == []
    for file in host.path.parent.glob("cold.sqlite*"):
        assert secret.encode() not in file.read_bytes()


def test_the_files_are_for_their_owner_alone_whatever_the_umask(host: Host) -> None:
    host.path.touch(0o666)
    old = os.umask(0)
    try:
        with host.engine() as engine:
            engine.get("versioned:x")
            wait_for(lambda: list(host.path.parent.glob("cold.sqlite-wal")))
            files = list(host.path.parent.glob("cold.sqlite*"))
            modes = {stat.S_IMODE(file.stat().st_mode) for file in files}
            assert modes == {0o600}, files
    finally:
        os.umask(old)


def test_what_still_waits_for_the_cache_when_the_engine_stops_is_kept(host: Host) -> None:
    engine = host.engine().start()
    machine = engine._runtime.cache_kept.layers
    real, entered, gate = machine.handle, threading.Event(), threading.Event()

    def slow(command: Any, now: float) -> Any:
        entered.set()
        gate.wait(20)
        return real(command, now)

    machine.handle = slow
    engine.get("versioned:first")
    assert entered.wait(20)
    for name in ("second", "changed", "third"):
        engine.get(f"versioned:{name}")
    engine._runtime.view.board.note("versioned:changed")  # its message is still on its way
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    wait_for(lambda: engine.cache.inbox._control)
    gate.set()
    stopping.join(20)
    assert host.kept() == ["versioned:first", "versioned:second", "versioned:third"]


def test_it_is_bounded_by_items_and_bytes_oldest_first(host: Host) -> None:
    host.text = "x" * 1000
    with host.engine(cold_cache_size=3) as engine:
        for number in range(8):
            engine.get(f"versioned:{number}")
    assert host.kept() == ["versioned:5", "versioned:6", "versioned:7"]
    host.rules = {"cold_max_bytes": 3000}
    with host.engine() as engine:
        restored(engine)
        engine.get("versioned:8")
    assert len(host.kept()) == 2
    assert "versioned:8" in host.kept()


def test_a_source_that_is_another_one_gets_nothing(host: Host, tmp_path: Path) -> None:
    (host.root / "a.txt").write_text("same")
    with host.engine() as engine:
        engine.get("file:a.txt")
        engine.get("versioned:x")
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.txt").write_text("same")
    host.sources = lambda: [
        FileSource(other),
        CallableSource("versioned", lambda name: "else", read_only=True, version="v1"),
    ]
    with host.engine() as engine:
        restored(engine)
        assert engine.peek("file:a.txt") is None
        assert engine.get("versioned:x").value == "else"


# ---- a file that cannot be used ----------------------------------------------------------------


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "prefetch_scheduler.cold"]


@pytest.mark.parametrize("damage", ["garbage", "torn", "schema"])
def test_a_damaged_file_is_set_aside_with_a_warning_and_begun_anew(
    host: Host, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    host.text = "x" * 50_000
    with host.engine() as engine:
        for number in range(4):
            engine.get(f"versioned:{number}")
    match damage:
        case "garbage":
            host.path.write_bytes(b"not a database" * 1000)
        case "torn":
            with host.path.open("r+b") as file:
                file.seek(4096)
                file.write(b"\xff" * 8192)
        case _:
            with sqlite3.connect(host.path) as db:
                db.execute(f"PRAGMA user_version={SCHEMA + 1}")
            db.close()
    held = host.path.read_bytes()
    with host.engine() as engine:
        restored(engine)
        assert engine.get("versioned:9").value == host.text
    (aside,) = [f for f in host.path.parent.glob("*.damaged-*") if f.suffix != "-wal"]
    assert aside.read_bytes() == held
    (warning,) = warnings(caplog)
    assert str(aside) in warning
    assert host.kept() == ["versioned:9"]


def test_a_record_that_was_tampered_with_is_left_out(host: Host) -> None:
    with host.engine() as engine:
        engine.get("versioned:a")
        engine.get("versioned:b")
    with sqlite3.connect(host.path) as db:
        ((record,),) = db.execute("SELECT record FROM entries WHERE stored=?", (b"versioned:a",))
        db.execute(
            "UPDATE entries SET record=? WHERE stored=?",
            (record.replace(b"one", b"eno"), b"versioned:a"),
        )
    db.close()
    with host.engine() as engine:
        restored(engine)
        assert engine.peek("versioned:a") is None
        assert engine.peek("versioned:b") is not None


def in_use(path: Path) -> Iterator[None]:
    file = ColdFile(str(path), items=1, size=1)
    yield
    file.close(clean=True)


def locked(path: Path) -> Iterator[None]:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA application_id=1346786115")
    db.execute("BEGIN EXCLUSIVE")
    yield
    db.close()


def foreign(path: Path) -> Iterator[None]:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE precious (x)")
    db.close()
    held = path.read_bytes()
    yield
    assert path.read_bytes() == held


def a_folder(path: Path) -> Iterator[None]:
    path.mkdir()
    yield


def a_link(path: Path) -> Iterator[None]:
    path.symlink_to("elsewhere")
    yield
    assert not path.with_name("elsewhere").exists()


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (in_use, "another engine of this process"),
        (locked, "in use by another process"),
        (foreign, "another program"),
        (a_folder, "not a regular file"),
        (a_link, "not a regular file"),
    ],
)
def test_a_file_that_cannot_be_used_leaves_the_cache_in_memory_with_one_warning(
    host: Host,
    trouble: Callable[[Path], Iterator[None]],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = trouble(host.path)
    next(made)
    try:
        with host.engine() as engine:
            restored(engine)
            engine.get("versioned:x")
            engine.get("versioned:x")
            assert said in engine.health().cold_store
            assert engine.health().state == "ok"
    finally:
        for _ in made:
            pass
    (warning,) = warnings(caplog)
    assert said in warning
    assert str(host.path) in warning
    assert "in memory alone" in warning


def test_a_full_disk_leaves_the_cache_in_memory_with_one_warning(
    host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = ColdFile._prepare

    def tight(file: ColdFile, db: sqlite3.Connection) -> None:
        opened(file, db)
        db.execute("PRAGMA max_page_count=12")  # SQLite then says that the disk is full

    monkeypatch.setattr(ColdFile, "_prepare", tight)
    host.text = "x" * 100_000
    with host.engine() as engine:
        engine.get("versioned:x")
        wait_for(lambda: warnings(caplog))
        assert engine.get("versioned:x").value == host.text
        assert engine.health().cold_store.startswith("memory: ")
    assert len(warnings(caplog)) == 1


def test_what_is_written_too_fast_is_dropped_and_counted(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold_store, "MAX_PENDING_BYTES", 2500)
    monkeypatch.setattr(cold_store, "GATHER_S", 30.0)
    host.text = "x" * 1000
    with host.engine() as engine:
        restored(engine)
        for number in range(5):
            engine.get(f"versioned:{number}")
        engine.report()
        cold = engine._runtime.followers.cold
        assert cold is not None
        assert cold._dropped == 3
        assert cold._pending_bytes == 2000
    assert host.kept() == ["versioned:0", "versioned:1"]


def test_pending_removals_are_bounded_by_removing_everything(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with host.engine() as engine:
        engine.get("aged:kept")
    monkeypatch.setattr(cold_store, "MAX_PENDING", 4)
    monkeypatch.setattr(cold_store, "GATHER_S", 30.0)
    with host.engine() as engine:
        restored(engine)
        cold = engine._runtime.followers.cold
        assert cold is not None
        for number in range(20):
            cold.gone(f"aged:{number}")
            assert len(cold._pending) <= 8
    assert host.kept() == []


# ---- records ------------------------------------------------------------------------------------

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.builds(FileStamp, *[st.integers(-1, 2**62)] * 5, settled=st.booleans()),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=4,
)
contents = st.builds(
    Content,
    st.text() | st.binary() | st.just("\udcff"),
    tokens=st.none() | st.integers(0, 10**6),
    version=plain,
    media_type=st.none() | st.text(),
    max_age_s=st.none() | st.floats(0, 1e9) | st.just(float("inf")),
)


def entry_of(content: Content, stored: str = "doc:a") -> Entry:
    placed = content.placed(key=stored, source="doc", loaded_at=1000.5, layer=None)
    return Entry(stored, placed, 0, 7, 1.0, 2.0, 0.25, "s", Priority.P2)


@given(contents)
def test_a_record_is_read_back_as_it_was_written(content: Content) -> None:
    record = decode("doc:a", encode(entry_of(content), "origin"))
    assert record.content == content
    assert type(record.content.version) is type(content.version)
    assert (record.origin, record.loaded_at, record.load_s) == ("origin", 1000.5, 0.25)
    assert record.priority is Priority.P2


@given(st.data())
def test_a_record_that_was_changed_or_cut_anywhere_is_refused(data: st.DataObject) -> None:
    written = encode(entry_of(Content("some text", version=3)), "origin")
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(written) - 1))
        flipped = written[at] ^ data.draw(st.integers(1, 255))
        changed = written[:at] + bytes([flipped]) + written[at + 1 :]
    else:
        changed = written[: data.draw(st.integers(0, len(written) - 1))]
    with pytest.raises(Damaged):
        decode("doc:a", changed)
    with pytest.raises(Damaged):
        decode("doc:b", written)


def test_a_version_that_is_not_made_of_plain_values_is_not_kept() -> None:
    class Custom(str):
        __slots__ = ()

    for version in (Custom("v"), object(), (1, frozenset())):
        with pytest.raises(Unkeepable):
            encode(entry_of(Content("x", version=version)), "origin")


# ---- parts --------------------------------------------------------------------------------------


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = ColdFile(str(tmp_path / "f"), items=10, size=10_000)
    file.write({"a:1": b"one"})
    with pytest.raises(sqlite3.Error):
        file.write({"a:2": b"two", "a:3": [1]})  # type: ignore[dict-item]  # SQLite refuses it
    assert dict(file.rows()) == {"a:1": b"one"}
    file.close(clean=True)
    with pytest.raises(ColdUnusable, match="cannot be made"):
        ColdFile(str(tmp_path / "f" / "g"), items=1, size=1)


def test_a_path_in_a_file_is_relative_to_that_file(tmp_path: Path) -> None:
    config = tmp_path / "conf" / "prefetch.yaml"
    config.parent.mkdir()
    config.write_text("cache:\n  cold_store: sqlite\n  cold_path: kept/cold.sqlite\n")
    assert load_config(config).cache.cold_path == str(tmp_path / "conf" / "kept" / "cold.sqlite")
    config.write_text("cache:\n  cold_store: sqlite\n  cold_path: ~/cold.sqlite\n")
    assert load_config(config).cache.cold_path == os.path.expanduser("~/cold.sqlite")
    given = {"cache": {"cold_store": "sqlite", "cold_path": "x"}}
    assert load_config(given).cache.cold_path == "x"


def test_a_disk_that_hangs_holds_up_nothing_but_itself(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, disk = threading.Event(), threading.Event()
    write = ColdFile.write

    def hang(file: ColdFile, *given: Any, **named: Any) -> None:
        begun.set()
        disk.wait(30)
        write(file, *given, **named)

    monkeypatch.setattr(ColdFile, "write", hang)
    engine = host.engine().start()
    try:
        engine.get("versioned:0")
        assert begun.wait(PATIENCE_S)
        for number in range(1, 50):
            assert engine.get(f"versioned:{number}").value == "one"
            assert engine.get(f"versioned:{number}").value == "one"
        assert engine.report().summary()["reads"] == 99  # the CacheLayer has answered
        engine.stop(timeout=1.0)
        cold = engine._runtime.followers.cold
        assert cold is not None
        assert cold._thread.is_alive()
    finally:
        disk.set()
    cold._thread.join(PATIENCE_S)
    assert len(host.kept()) == 50
