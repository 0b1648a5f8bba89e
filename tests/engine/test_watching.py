"""Watching, with the real watchdog: it makes reads quicker, and never decides what is right."""

import importlib.util
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prefetch_scheduler.engine import ConfigError, FileSource, PrefetchEngine, watching
from prefetch_scheduler.engine.watching import FolderWatch
from support.waiting import PATIENCE_S, wait_for

WATCHED = {"cache": {"watch": True}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("one")
    (tmp_path / "target.txt").write_text("one")
    (tmp_path / "link.txt").symlink_to("target.txt")
    return tmp_path


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Watchdog's own threads are not named as the engine's are."""
    before = set(threading.enumerate())
    yield
    end = time.monotonic() + PATIENCE_S
    while left := set(threading.enumerate()) - before:
        assert time.monotonic() < end, f"threads left behind: {left}"
        time.sleep(0.01)


def watch_of(engine: PrefetchEngine) -> FolderWatch:
    watch = engine._runtime.followers.watch
    assert watch is not None
    return watch


def read_and_watched(engine: PrefetchEngine, key: str) -> None:
    engine.get(key)
    wait_for(lambda: key in watch_of(engine)._files)


def awake(engine: PrefetchEngine, folder: Path) -> None:
    """Wait until watchdog, which sets its watch up in a thread of its own, tells of events."""
    watch = watch_of(engine)
    before = watch.events
    wait_for(lambda: (folder / "probe").write_text("x") and watch.events > before)


def over(path: Path) -> None:
    path.write_text("two")


def replace(path: Path) -> None:
    path.with_name("aside").write_text("two")
    os.replace(path.with_name("aside"), path)


def make_anew(path: Path) -> None:
    path.unlink()
    path.write_text("two")


@pytest.mark.parametrize("change", [over, replace, make_anew])
def test_what_was_read_is_loaded_again_before_it_is_read(
    root: Path, change: Callable[[Path], None]
) -> None:
    with PrefetchEngine(WATCHED, sources=[FileSource(root)]) as engine:
        read_and_watched(engine, "file:sub/a.txt")
        awake(engine, root / "sub")
        change(root / "sub" / "a.txt")

        def came() -> bool:
            content = engine.peek("file:sub/a.txt")
            return content is not None and content.value == "two"

        wait_for(came)
        assert engine.report().summary()["prefetches_by_cause"]["reload"] >= 1
        assert engine.get("file:sub/a.txt").value == "two"


def test_a_link_is_watched_where_it_leads(root: Path) -> None:
    with PrefetchEngine(WATCHED, sources=[FileSource(root)]) as engine:
        read_and_watched(engine, "file:link.txt")
        awake(engine, root)
        over(root / "target.txt")
        wait_for(lambda: getattr(engine.peek("file:link.txt"), "value", None) == "two")


def test_a_touch_that_changes_nothing_reloads_nothing(root: Path) -> None:
    looked: list[str] = []
    with PrefetchEngine(WATCHED, sources=[FileSource(root)]) as engine:
        watch = watch_of(engine)
        read_and_watched(engine, "file:sub/a.txt")
        awake(engine, root / "sub")
        current = watch._current
        watch._current = lambda stored: looked.append(stored) or current(stored)  # type: ignore[func-returns-value]  # noted, then asked
        os.utime(root / "sub" / "a.txt")
        wait_for(lambda: looked)
        report = engine.report().summary()
        assert report["prefetches_by_cause"]["reload"] == 0
        assert report["removals"]["invalidated"] == 0
        assert engine.get("file:sub/a.txt").value == "one"


def test_reads_are_right_where_every_event_is_lost(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []
    monkeypatch.setattr(FolderWatch, "touched", lambda self, path: lost.append(path))
    with PrefetchEngine(WATCHED, sources=[FileSource(root)]) as engine:
        read_and_watched(engine, "file:sub/a.txt")
        for number in range(20):
            (root / "sub" / "a.txt").write_text(f"{number:03}")
            assert engine.get("file:sub/a.txt").value == f"{number:03}"
        wait_for(lambda: over(root / "sub" / "a.txt") or lost)
        assert engine.report().summary()["prefetches_by_cause"]["reload"] == 0


def test_a_folder_that_is_put_in_the_place_of_another_is_read_right(root: Path) -> None:
    """Its watch went with the one that was moved away."""
    path = root / "sub" / "a.txt"
    with PrefetchEngine(WATCHED, sources=[FileSource(root)]) as engine:
        read_and_watched(engine, "file:sub/a.txt")
        other = root / "other"
        other.mkdir()
        (other / "a.txt").write_text("two")
        path.parent.rename(root / "gone")
        other.rename(path.parent)
        assert engine.get("file:sub/a.txt").value == "two"
        over(path)
        assert engine.get("file:sub/a.txt").value == "two"


def test_so_many_folders_are_watched_and_no_more(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MAX_FOLDERS", 2)
    for number in range(5):
        (root / str(number)).mkdir()
        (root / str(number) / "f").write_text("one")
    before = threading.active_count()
    config = {**WATCHED, "enable_speculative_prefetch": False}
    with PrefetchEngine(config, sources=[FileSource(root)]) as engine:
        watch = watch_of(engine)
        for number in range(5):
            read_and_watched(engine, f"file:{number}/f")
        assert len(watch._watches) == 2
        named = [t for t in threading.enumerate() if not t.name.startswith("prefetch-")]
        assert len(named) <= before + 2 + 2, named
        for number in range(5):
            over(root / str(number) / "f")
            assert engine.get(f"file:{number}/f").value == "two"
        # A folder of which nothing is cached makes room for another one.
        engine.invalidate("file:*")
        wait_for(lambda: not watch._files)
        read_and_watched(engine, "file:4/f")
        assert str(root / "4") in watch._watches
        assert len(watch._watches) == 2


def test_without_the_package_the_error_says_what_to_install(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"prefetch-scheduler\[watch\]"):
        PrefetchEngine(WATCHED, sources=[FileSource(root)])
    with PrefetchEngine(sources=[FileSource(root)]) as engine:
        assert engine._runtime.followers.watch is None


def test_a_folder_that_cannot_be_watched_costs_a_warning(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from watchdog.observers import Observer

    def refuse(*given: object, **named: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(Observer, "schedule", refuse)
    with PrefetchEngine(WATCHED, sources=[FileSource(root)]) as engine:
        for name in ("sub/a.txt", "target.txt"):
            read_and_watched(engine, f"file:{name}")
            over(root / name)
            assert engine.get(f"file:{name}").value == "two"
    said = [r.getMessage() for r in caplog.records if r.name == "prefetch_scheduler.watch"]
    assert len(said) == 1
    assert "inotify watch limit" in said[0]
