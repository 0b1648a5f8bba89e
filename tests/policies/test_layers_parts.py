"""The lists, marks and pins that the layers are made of."""

import pytest

from prefetch_scheduler.policies.cache_events import Pin, Put, Read
from prefetch_scheduler.policies.config import MAX_PINS
from prefetch_scheduler.policies.linked import Chain, Linked
from prefetch_scheduler.policies.marks import MAX_ACKNOWLEDGED, MAX_MARKS, Marks
from prefetch_scheduler.policies.pins import Pins
from support.layer_model import Cache, an_entry


def test_a_chain_keeps_order_through_removal_and_renewal() -> None:
    chain: Chain[Linked] = Chain(0)
    nodes = [Linked(1) for _ in range(4)]
    for node in nodes:
        chain.append(node)
    chain.remove(nodes[1])
    chain.renew(nodes[0])
    assert list(chain) == [nodes[2], nodes[3], nodes[0]]
    assert chain.first() is nodes[2]
    assert (len(chain), list(chain.faults())) == (3, [])


def test_a_node_stands_in_one_list_of_each_channel() -> None:
    first, second = Chain[Linked](0), Chain[Linked](1)
    node = Linked(2)
    first.append(node)
    second.append(node)
    first.remove(node)
    assert (first.first(), second.first()) == (None, node)


def test_a_node_cannot_be_added_twice_or_removed_from_nowhere() -> None:
    chain: Chain[Linked] = Chain(0)
    node = Linked(1)
    with pytest.raises(ValueError, match="stands in no list of channel 0"):
        chain.remove(node)
    chain.append(node)
    with pytest.raises(ValueError, match="remove it first"):
        Chain[Linked](0).append(node)


def test_nodes_may_be_removed_while_a_chain_is_walked() -> None:
    chain: Chain[Linked] = Chain(0)
    for _ in range(3):
        chain.append(Linked(1))
    for node in chain:
        chain.remove(node)
    assert len(chain) == 0


def test_a_chain_notices_what_is_wrong_with_it() -> None:
    chain: Chain[Linked] = Chain(0)
    nodes = [Linked(1) for _ in range(3)]
    for node in nodes:
        chain.append(node)
    Chain[Linked](0).remove(nodes[1])  # by the wrong list
    assert list(chain.faults()) == ["channel 0: 2 nodes linked, 3 counted"]
    nodes[2][0] = None
    assert list(chain.faults()) == ["channel 0: links broken after 1 nodes"]


def test_the_check_names_what_does_not_hold() -> None:
    cache = Cache()
    cache.do(Put(an_entry("file:a")))
    residents = cache.machine._residents
    residents.hot.tokens += 1
    residents.nodes["file:b"] = residents.nodes.pop("file:a")
    residents.pins.add("file:b", "s")
    with pytest.raises(AssertionError, match="tokens") as caught:
        cache.machine.check()
    for fault in ("filed under 'file:b'", "is pinned but not kept"):
        assert fault in str(caught.value)


def test_marks_past_the_bound_cover_every_key_until_all_are_acknowledged() -> None:
    marks = Marks()
    for epoch in range(1, MAX_MARKS + 2):
        marks.note(epoch, f"file:{epoch}")
    assert marks.covers("file:unrelated", 5)
    assert not marks.covers("file:unrelated", MAX_MARKS)
    for epoch in range(1, MAX_MARKS):
        marks.acknowledged(epoch)
    assert marks.covers("file:unrelated", 5)
    marks.acknowledged(MAX_MARKS)
    assert not marks.covers("file:unrelated", 5)
    assert marks.covers(f"file:{MAX_MARKS + 1}", 5)
    assert len(marks) == 1


def test_folded_marks_are_told_a_new_planner_as_one() -> None:
    marks = Marks()
    for epoch in range(1, MAX_MARKS + 2):
        marks.note(epoch, f"file:{epoch}")
    pending = marks.pending()
    assert pending == [(MAX_MARKS, "*"), (MAX_MARKS + 1, f"file:{MAX_MARKS + 1}")]
    for epoch, _ in pending:
        marks.acknowledged(epoch)
    assert len(marks) == 0
    assert not marks.covers("file:1", 0)


def test_an_older_mark_of_a_key_does_not_lift_a_newer_one() -> None:
    marks = Marks()
    marks.note(7, "file:a")
    marks.note(5, "file:a")
    marks.acknowledged(5)
    assert marks.covers("file:a", 6)
    marks.acknowledged(7)
    assert not marks.covers("file:a", 6)


def test_a_change_is_known_to_be_the_newest_only_where_no_later_one_can_have_been() -> None:
    marks = Marks()
    marks.note(3, "file:a")
    marks.acknowledged(3)
    assert not marks.newest_of("file:a", 2)
    assert marks.newest_of("file:b", 2)
    marks.note(9, "skill:*")
    marks.acknowledged(9)
    assert not marks.newest_of("file:b", 8)  # of prefixes only the newest epoch is remembered
    assert marks.newest_of("file:b", 10)


def test_acknowledged_changes_are_remembered_within_a_bound() -> None:
    marks = Marks()
    for epoch in range(1, MAX_ACKNOWLEDGED + 2):
        marks.note(epoch, f"file:{epoch}")
        marks.acknowledged(epoch)
    assert len(marks._acknowledged) == MAX_ACKNOWLEDGED
    assert not marks.newest_of("file:1", 0)


def test_pins_are_known_from_both_sides() -> None:
    pins = Pins()
    assert pins.add("file:a", "s")
    assert pins.add("file:a", "t")
    assert pins.add("file:b", "s")
    assert pins.of("s") == ("file:a", "file:b")
    assert pins.remove("file:a", "s")
    assert not pins.remove("file:a", "s")
    assert "file:a" in pins
    assert pins.remove("file:a", "t")
    assert "file:a" not in pins
    assert (len(pins), pins.faults()) == (1, [])


def test_a_pin_that_is_refused_leaves_no_trace() -> None:
    pins = Pins()
    for number in range(MAX_PINS):
        pins.add(f"file:{number}", "s")
    assert not pins.add("file:x", "s")
    assert "file:x" not in pins
    assert pins.add("file:0", "s")
    assert pins.faults() == []


def test_frequencies_are_capped_so_that_old_fame_does_not_last_for_ever() -> None:
    cache = Cache()
    cache.put("file:a")
    cache.machine.take_reads([Read("file:a", "s", 0.0)] * 100, [], 0.0)
    cache.machine.handle(Pin("file:b", "s"), 0.0)
    cache.machine.check()
    assert cache.machine._residents.nodes["file:a"].freq == 15
