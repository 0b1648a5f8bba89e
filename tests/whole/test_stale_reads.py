"""The short form of `benchmarks.stale_reads`, and the promise of `trigger` beside many readers."""

import threading

import pytest

from benchmarks.stale_reads import check
from prefetch_scheduler.engine import CallableSource, FileChanged, PrefetchEngine


@pytest.mark.timeout(120)
def test_no_read_is_stale_while_other_processes_change_the_files() -> None:
    found, details = check(6000, checked=True)
    assert found.reads >= 6000
    assert (found.stale, found.wrong) == (0, 0), found.examples
    assert sum(details["changes_by_way"].values()) > 0


@pytest.mark.timeout(120)
def test_the_same_check_finds_stale_reads_where_freshness_is_not_tested() -> None:
    found, _ = check(6000, checked=False)
    assert found.stale > 0


class Numbered:
    """Content that only its host knows to have changed."""

    def __init__(self) -> None:
        self.now = 0

    def load(self, name: str) -> str:
        return str(self.now)


def test_a_change_is_visible_to_every_reader_once_it_has_been_told() -> None:
    numbered = Numbered()
    told = 0
    stale: list[tuple[int, int]] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            at_least = told
            got = int(engine.get("file:a").value)
            if got < at_least:
                stale.append((got, at_least))

    source = CallableSource("file", numbered.load, read_only=True)
    with PrefetchEngine(sources=[source]) as engine:
        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        try:
            for number in range(1, 61):
                numbered.now = number
                match number % 3:
                    case 0:
                        engine.trigger(FileChanged("a"))
                    case 1:
                        engine.invalidate("file:a")
                    case _:
                        engine.invalidate("file:*")
                told = number
                assert int(engine.get("file:a").value) >= number
        finally:
            ended.set()
            for reader in readers:
                reader.join(10)
    assert not stale, stale[:5]
