"""Sources that hold something open: opened ahead, told of the end, never in anybody's way."""

import threading

import pytest

from prefetch_scheduler.engine import ConfigError, Content, PrefetchEngine
from prefetch_scheduler.engine.sources.validation import require_source

WAIT_S = 10.0


class Held:
    """Serves what it holds, and notes what the engine does to it."""

    kind = "held"
    read_only = True

    def __init__(self) -> None:
        self.value = "first"
        self.did: list[str] = []
        self.changed = None
        self.opened, self.closed = threading.Event(), threading.Event()

    def open(self, changed) -> None:
        self.did.append("open")
        self.changed = changed
        self.opened.set()

    def close(self) -> None:
        self.did.append("close")
        self.closed.set()

    def load(self, name: str) -> Content:
        self.did.append(f"load {name}")
        return Content(self.value)


def test_a_source_is_opened_without_a_read_and_closed_when_the_engine_has_stopped():
    source = Held()
    with PrefetchEngine(sources=[source]) as engine:
        assert source.opened.wait(WAIT_S)
        assert engine.get("held:x").value == "first"
    assert source.did == ["open", "load x", "close"]


def test_a_source_that_serves_a_second_engine_is_opened_again():
    source = Held()
    for _ in range(2):
        with PrefetchEngine(sources=[source]):
            assert source.opened.wait(WAIT_S)
        source.opened.clear()
    assert source.did == ["open", "close"] * 2


def test_an_engine_that_was_never_started_closes_nothing():
    source = Held()
    PrefetchEngine(sources=[source]).stop()
    assert source.did == []


@pytest.mark.parametrize("pattern", ["x", "x*", "*"])
def test_what_a_source_says_has_changed_is_loaded_anew(pattern: str):
    source = Held()
    with PrefetchEngine(sources=[source]) as engine:
        assert source.opened.wait(WAIT_S)
        assert engine.get("held:x").value == "first"
        source.value = "second"
        assert engine.get("held:x").value == "first"  # it has no version
        source.changed(pattern)
        assert engine.get("held:x").value == "second"


def test_a_change_told_after_the_stop_or_in_a_wrong_form_harms_nobody(caplog):
    source = Held()
    with PrefetchEngine(sources=[source]) as engine:
        assert source.opened.wait(WAIT_S)
        source.changed("")
        assert "not taken note of" in caplog.text
        assert engine.get("held:x").value == "first"
    source.changed("x")


def test_an_open_that_never_returns_holds_up_neither_reads_nor_the_stop():
    class Hangs(Held):
        def __init__(self) -> None:
            super().__init__()
            self.release = threading.Event()

        def open(self, changed) -> None:
            super().open(changed)
            self.release.wait(WAIT_S)

    source = Hangs()
    engine = PrefetchEngine(sources=[source]).start()
    assert source.opened.wait(WAIT_S)
    assert engine.get("held:x").value == "first"
    engine.stop(timeout=0.5)
    assert source.did.count("close") == 1
    source.closed.clear()
    source.release.set()
    assert source.closed.wait(WAIT_S)  # what was opened after all is closed again


def test_a_source_that_raises_while_it_is_opened_or_closed_harms_only_itself(caplog):
    class Raises(Held):
        def open(self, changed) -> None:
            super().open(changed)
            raise RuntimeError("no such server")

        def close(self) -> None:
            super().close()
            raise SystemExit(3)

    source = Raises()
    with PrefetchEngine(sources=[source]) as engine:
        assert source.opened.wait(WAIT_S)
        assert engine.get("held:x").value == "first"
    assert source.did == ["open", "load x", "close"]
    assert "open:held of a source failed" in caplog.text
    assert "close:held of a source failed" in caplog.text


@pytest.mark.parametrize("word", ["open", "close"])
def test_open_and_close_are_plain_functions(word: str):
    class Wrong(Held):
        pass

    async def never(self, *_: object) -> None: ...

    setattr(Wrong, word, never)
    with pytest.raises(ConfigError, match=rf"\.{word}: it is async"):
        require_source(Wrong(), "source")


def test_a_flood_of_changes_told_by_a_source_is_carried_out_as_a_few():
    source = Held()
    with PrefetchEngine(sources=[source]) as engine:
        assert source.opened.wait(WAIT_S)
        machine = engine._runtime.cache_kept.layers
        real, gate, handled = machine.handle, threading.Event(), []

        def slow(command, now):
            handled.append(command)
            gate.wait(WAIT_S)
            return real(command, now)

        machine.handle = slow
        for _ in range(1000):
            source.changed("*")
        assert engine.cache.fill()[0] <= 3
        gate.set()
        assert engine.get("held:x").value == "first"
        assert sum(getattr(command, "pattern", "") == "held:*" for command in handled) <= 3
