"""Entries that come back after a restart: where they stand, and what keeps them out."""

from attrs import evolve

from prefetch_scheduler.policies.cache_events import (
    Acknowledged,
    Invalidate,
    Pin,
    Publish,
    Restore,
    Stored,
)
from prefetch_scheduler.policies.content import Entry
from prefetch_scheduler.policies.layers import CacheLayers
from prefetch_scheduler.policies.metrics_events import PrefetchWasted
from prefetch_scheduler.policies.restoring import MAX_PATTERNS, Restoring
from support.layer_model import an_entry, config


def kept(stored: str) -> Entry:
    return evolve(an_entry(stored), epoch=0, asked_at=float("-inf"), session="", prefetch_id=0)


def layers(cold: int = 3) -> CacheLayers:
    return CacheLayers(config(2, 2, cold))


def test_what_comes_back_stands_in_cold_and_is_told_of() -> None:
    machine = layers()
    effects = machine.handle(Restore((kept("file:a"), kept("file:b"))), 1.0)
    assert [e.stored for e in effects if isinstance(e, Publish)] == ["file:a", "file:b"]
    assert [e.flight_id for e in effects if isinstance(e, Stored)] == [0, 0]
    figures = machine.snapshot()
    assert (figures.cold.entries, figures.unread, figures.sessions) == (2, 0, 0)
    machine.check()


def test_what_is_there_already_is_newer() -> None:
    machine = layers()
    machine.handle(Restore((kept("file:a"),)), 1.0)
    assert machine.handle(Restore((kept("file:a"),)), 2.0) == []
    assert machine.snapshot().entries == 1


def test_it_comes_back_only_where_there_is_room() -> None:
    machine = layers(cold=2)
    machine.handle(Restore(tuple(kept(f"file:{n}") for n in range(4))), 1.0)
    assert machine.snapshot().cold.entries == 2
    machine.check()


def test_a_change_that_stands_keeps_it_out() -> None:
    machine = layers()
    machine.handle(Invalidate("file:a", 1), 1.0)
    assert machine.handle(Restore((kept("file:a"),)), 2.0) == []
    machine.handle(Acknowledged(1), 3.0)
    machine.check()


def test_a_pinned_one_is_kept_as_a_pin() -> None:
    machine = layers()
    machine.handle(Pin("file:a", "s"), 1.0)
    machine.handle(Restore((kept("file:a"),)), 2.0)
    assert machine.snapshot().pinned.entries == 1
    machine.check()


def test_it_is_no_prefetch_when_it_leaves() -> None:
    machine = layers()
    machine.handle(Restore((kept("file:a"),)), 1.0)
    effects = machine.handle(Invalidate("file:a", 1), 2.0)
    assert not any(isinstance(e, PrefetchWasted) for e in effects)
    machine.check()


def test_what_changed_before_it_came_back_is_remembered_until_all_is_back() -> None:
    restoring = Restoring()
    restoring.changed("file:a*")
    restoring.changed("doc:x")
    assert not restoring.admits("file:ab")
    assert not restoring.admits("doc:x")
    assert restoring.admits("file:b")
    restoring.end()
    assert not restoring.admits("file:b")


def test_more_changes_than_are_remembered_let_nothing_more_come_back() -> None:
    restoring = Restoring()
    for number in range(MAX_PATTERNS + 1):
        restoring.changed(f"doc:{number}")
    assert restoring.over
    assert not restoring.admits("file:b")
