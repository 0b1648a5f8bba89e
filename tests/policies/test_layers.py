"""Where entries stand, what moves them, what is told of it: a test for each decided sentence."""

import gc
import weakref

import pytest

from prefetch_scheduler.policies.cache_events import (
    Accessed,
    Acknowledged,
    Drain,
    EndSession,
    FirstRead,
    Holding,
    Invalidate,
    Invalidated,
    Pin,
    Publish,
    Put,
    Read,
    Refused,
    Removed,
    Resident,
    Restamp,
    SessionLeft,
    Stored,
    Unpin,
    Withdraw,
)
from prefetch_scheduler.policies.config import MAX_PINS, Config
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.keys import PARTITION
from prefetch_scheduler.policies.layers import MAX_MOVES
from prefetch_scheduler.policies.metrics_events import (
    EntryRemoved,
    KeysRead,
    Note,
    PrefetchUsed,
    PrefetchWasted,
)
from prefetch_scheduler.policies.vocabulary import Lane, Layer, RemovalCause
from support.layer_model import Cache, an_entry, config


def cache(hot: int = 2, warm: int = 3, cold: int = 4, **rules: float) -> Cache:
    return Cache(config(hot, warm, cold, **rules))


# ---- layers (D28, D29) ---------------------------------------------------------------------------


def test_what_was_demanded_is_hot_and_what_was_prefetched_is_warm() -> None:
    c = cache()
    c.put("file:demanded")
    c.put("file:ahead", prefetch=1)
    assert c.layers() == {"file:demanded": "hot", "file:ahead": "warm"}


def test_a_hit_in_warm_or_cold_moves_the_entry_to_hot_and_says_so() -> None:
    c = cache()
    c.put("file:a", prefetch=1)
    c.put("file:b", prefetch=2)
    c.wait(20)
    assert c.layers() == {"file:a": "cold", "file:b": "cold"}
    c.read("file:a")
    assert c.layers() == {"file:a": "hot", "file:b": "cold"}
    assert Note("file:a", "promoted", "read in cold", "s") in c.told


def test_a_layer_that_is_full_demotes_one_layer_and_only_cold_drops() -> None:
    c = cache(hot=1, warm=1, cold=1)
    for name in "abcd":
        c.put(f"file:{name}")
    assert c.layers() == {"file:b": "cold", "file:c": "warm", "file:d": "hot"}
    assert [r.stored for r in c.all(Removed)] == ["file:a"]
    assert c.all(EntryRemoved) == [EntryRemoved("file:a", RemovalCause.EVICTED, "s")]
    assert any(n.event == "demoted" and n.reason.startswith("hot full") for n in c.all(Note))
    assert any(n.event == "evicted" and n.reason.startswith("cold full") for n in c.all(Note))


def test_an_entry_that_outlives_its_layer_goes_one_down_and_is_dropped_only_from_cold() -> None:
    c = cache()
    c.put("file:a")
    seen = []
    for seconds in (9, 1, 19, 1, 29, 1):
        c.wait(seconds)
        seen.append(c.layers().get("file:a"))
    assert seen == ["hot", "warm", "warm", "cold", "cold", None]
    assert [(r.cause, r.was_read) for r in c.all(Removed)] == [(RemovalCause.EXPIRED, True)]


def test_the_time_counts_from_the_last_read_in_the_layer() -> None:
    c = cache()
    c.put("file:a")
    c.wait(9)
    c.read("file:a")
    c.wait(9)
    assert c.layers() == {"file:a": "hot"}
    c.wait(1)
    assert c.layers() == {"file:a": "warm"}


def test_the_default_layers_are_those_of_the_specification() -> None:
    figures = Cache(Config()).machine.snapshot()
    assert (figures.hot.limit, figures.warm.limit, figures.cold.limit) == (20, 50, 100)
    assert figures.unread_share == 34
    c = Cache(Config())
    c.put("file:a")
    deadlines = []
    while (due := c.machine.next_deadline()) is not None:
        deadlines.append(due)
        c.wait(due - c.now)
    assert deadlines == [300, 300 + 900, 300 + 900 + 3600]


# ---- D18 -----------------------------------------------------------------------------------------


def test_an_unread_background_entry_leaves_warm_early() -> None:
    c = cache()
    c.put("file:a", prefetch=1, lane=Lane.BACKGROUND)
    c.put("file:b", prefetch=2, lane=Lane.IMMEDIATE)
    c.wait(5)
    assert c.layers() == {"file:a": "cold", "file:b": "warm"}
    assert not c.all(PrefetchWasted)


def test_a_background_entry_that_was_read_stays_in_warm_as_long_as_others() -> None:
    c = cache()
    c.put("file:a", prefetch=1, lane=Lane.BACKGROUND)
    c.read("file:a")
    c.wait(10)
    assert c.layers() == {"file:a": "warm"}
    c.wait(6)
    assert c.layers() == {"file:a": "warm"}


# ---- victims (D30) -------------------------------------------------------------------------------


def test_hot_gives_up_the_least_recently_read() -> None:
    c = cache(hot=2)
    c.put("file:a")
    c.put("file:b")
    c.read("file:a")
    c.put("file:c")
    assert c.layers() == {"file:a": "hot", "file:b": "warm", "file:c": "hot"}


def test_warm_gives_up_the_least_frequently_read_whose_count_survived_promotion() -> None:
    c = cache(hot=1, warm=3)
    c.put("file:often")
    c.read("file:often")
    c.put("file:twice")  # pushes the other into warm
    c.read("file:often")
    c.read("file:twice")
    c.put("file:once")
    c.put("file:newcomer")
    c.put("file:last")
    assert c.layers() == {
        "file:often": "warm",  # though it has been there longest
        "file:twice": "warm",
        "file:once": "cold",
        "file:newcomer": "warm",
        "file:last": "hot",
    }


def test_cold_gives_up_what_came_first() -> None:
    c = cache(hot=1, warm=1, cold=2)
    for name in "abcde":
        c.put(f"file:{name}")
    assert [r.stored for r in c.all(Removed)] == ["file:a"]


def test_the_lowest_priority_class_goes_first_whatever_its_age() -> None:
    c = cache(warm=2, unread_share=1.0)
    c.put("file:p3", prefetch=1, priority=3)
    c.put("file:p1", prefetch=2, priority=1)
    c.put("file:p2", prefetch=3, priority=2)
    assert c.layers() == {"file:p3": "cold", "file:p1": "warm", "file:p2": "warm"}
    c.put("file:p4", prefetch=4, priority=4)  # evict first, then add: the newcomer is spared
    assert c.layers()["file:p2"] == "cold"
    assert c.layers()["file:p4"] == "warm"


def test_what_was_ever_read_counts_as_p1() -> None:
    c = cache(hot=1, warm=2, unread_share=1.0)
    c.put("file:read", prefetch=1, priority=4)
    c.read("file:read")
    c.put("file:demanded")  # demotes it
    c.put("file:p2", prefetch=2, priority=2)
    c.put("file:p0", prefetch=3, priority=0)
    assert c.layers()["file:read"] == "warm"
    assert c.layers()["file:p2"] == "cold"
    c.put("file:p0-too", prefetch=4, priority=0)
    assert c.layers()["file:read"] == "cold"


def test_unread_prefetches_beyond_their_share_go_before_anything_that_was_read() -> None:
    c = cache(hot=1, warm=2, cold=1, unread_share=0.5)  # two of four
    c.put("file:a")
    c.put("file:b")
    c.put("file:c")
    assert c.layers() == {"file:a": "warm", "file:b": "warm", "file:c": "hot"}
    c.wait(1)
    for number in (1, 2, 3, 4):
        c.put(f"file:{number}", prefetch=number, priority=0)
    wasted = [w.id for w in c.all(PrefetchWasted)]
    assert wasted == [1, 2]  # oldest first
    assert {"file:b", "file:c"} <= set(c.view)


def test_unread_prefetches_may_fill_layers_that_are_not_full() -> None:
    c = cache(warm=3, cold=4, unread_share=0.0)
    for number in (1, 2, 3, 4, 5, 6, 7):
        c.put(f"file:{number}", prefetch=number)
    assert len(c.view) == 7
    assert not c.all(PrefetchWasted)


# ---- pins (D13) ----------------------------------------------------------------------------------


def test_a_pinned_entry_is_hot_outside_the_sizes_and_never_leaves_by_itself() -> None:
    c = cache(hot=1, warm=1, cold=1)
    c.put("file:pinned", prefetch=1)
    c.do(Pin("file:pinned", "s"))
    for name in "abcdef":
        c.put(f"file:{name}")
    c.wait(10_000)
    assert c.layers() == {"file:pinned": "hot"}
    assert c.machine.snapshot().pinned.entries == 1
    assert c.machine.next_deadline() is None


def test_a_pin_is_remembered_until_the_entry_comes() -> None:
    c = cache()
    c.do(Pin("file:a", "s"))
    c.put("file:a", prefetch=1)
    assert c.layers() == {"file:a": "hot"}
    assert c.machine.snapshot().pinned.entries == 1


def test_a_put_may_bring_its_pins() -> None:
    c = cache()
    c.put("file:a", "s", "t", prefetch=1)
    c.do(Unpin("file:a", "s"))
    assert c.machine.snapshot().pinned.entries == 1
    c.do(Unpin("file:a", "t"))
    assert c.machine.snapshot().pinned.entries == 0
    assert c.layers() == {"file:a": "warm"}


def test_a_pin_outlives_an_invalidation_which_says_that_the_key_is_pinned() -> None:
    c = cache()
    c.put("file:a", "s", prefetch=1)
    c.do(Invalidate("file:a", 1))
    (removed,) = c.all(Removed)
    assert (removed.pinned, removed.was_read, removed.layer) == (True, False, Layer.HOT)
    c.put("file:a", prefetch=2, epoch=1)
    assert c.machine.snapshot().pinned.entries == 1


def test_a_session_pins_ten_keys_and_no_more() -> None:
    c = cache()
    for number in range(MAX_PINS + 1):
        c.do(Pin(f"file:{number}", "s"))
    c.do(Pin("file:0", "s"))
    c.do(Pin("file:10", "other"))
    assert c.machine.snapshot().pins == MAX_PINS + 1
    (refusal,) = [n for n in c.all(Note) if n.event == "not pinned"]
    assert (refusal.key, refusal.session) == ("file:10", "s")
    assert "unpin one first" in refusal.reason


def test_unpinning_what_was_not_pinned_changes_nothing() -> None:
    c = cache()
    c.put("file:a")
    assert c.do(Unpin("file:a", "s")) == []


# ---- sessions (D32, D35) -------------------------------------------------------------------------


def test_a_session_that_ends_leaves_its_hot_entries_in_warm_and_its_pins_released() -> None:
    c = cache(hot=3)
    c.put("file:mine")
    c.put("file:kept", "s")
    c.put("file:theirs", session="t")
    c.put("file:shared")
    c.read("file:shared", "t")
    c.do(EndSession("s"))
    assert c.layers() == {
        "file:mine": "warm",
        "file:kept": "warm",
        "file:theirs": "hot",
        "file:shared": "hot",
    }
    assert c.machine.snapshot().pins == 0


def test_what_two_sessions_pin_stays_until_the_last_one_ends() -> None:
    c = cache()
    c.put("file:a", "s", "t")
    c.do(EndSession("s"))
    assert c.machine.snapshot().pinned.entries == 1
    c.do(EndSession("t"))
    assert c.layers() == {"file:a": "warm"}


def test_entries_are_demoted_in_the_order_in_which_they_were_last_read() -> None:
    c = cache(hot=3, warm=1)
    for name in "abc":
        c.put(f"file:{name}")
    for name in "cab":
        c.read(f"file:{name}")
    c.do(EndSession("s"))
    assert c.layers() == {"file:c": "cold", "file:a": "cold", "file:b": "warm"}


def test_a_session_that_ends_wastes_what_it_prefetched_unread_once_and_for_all() -> None:
    c = cache()
    c.put("file:a", prefetch=1)
    c.put("file:b", prefetch=2, session="t")
    c.do(EndSession("s"))
    assert c.all(PrefetchWasted) == [PrefetchWasted(1, "session_ended")]
    assert "file:a" in c.view
    c.read("file:a", "t")
    c.do(EndSession("s"))
    c.do(Invalidate("file:a", 1))
    assert c.all(PrefetchWasted) == [PrefetchWasted(1, "session_ended")]
    assert not c.all(PrefetchUsed)


def test_a_first_read_of_what_was_counted_as_wasted_counts_nothing() -> None:
    c = cache()
    c.put("file:a", prefetch=1)
    c.put("file:b", prefetch=2)
    c.do(EndSession("s"))
    c.do(Invalidate("file:b", 1))
    assert [w.id for w in c.all(PrefetchWasted)] == [1, 2]
    c.firsts += [FirstRead(1, "file:a", "t", 0.0), FirstRead(2, "file:b", "t", 0.0)]
    c.drain()
    assert not c.all(PrefetchUsed)


def test_a_session_without_entries_may_end() -> None:
    assert cache().do(EndSession("nobody")) == [SessionLeft("nobody")]


# ---- used and wasted (D34, D35) ------------------------------------------------------------------


def test_the_first_read_makes_a_prefetch_used_once() -> None:
    c = cache()
    c.put("file:a", prefetch=5)
    c.read("file:a", "reader")
    c.read("file:a", "reader")
    assert c.all(PrefetchUsed) == [PrefetchUsed(5, "reader")]
    c.do(Invalidate("file:a", 1))
    assert not c.all(PrefetchWasted)


def test_a_first_read_counts_though_its_note_of_recency_was_lost() -> None:
    c = cache()
    c.put("file:a", prefetch=5)
    c.read("file:a", lose=True)
    assert c.all(PrefetchUsed) == [PrefetchUsed(5, "s")]
    assert c.layers() == {"file:a": "hot"}


@pytest.mark.parametrize("leaves", ["invalidated", "replaced", "expired"])
def test_an_entry_that_leaves_unread_is_wasted_for_that_reason(leaves: str) -> None:
    c = cache()
    c.put("file:a", prefetch=5)
    match leaves:
        case "invalidated":
            c.do(Invalidate("file:a", 1))
        case "replaced":
            c.put("file:a", prefetch=6)
        case _:
            c.wait(1000)
    assert c.all(PrefetchWasted) == [PrefetchWasted(5, leaves)]
    assert [(r.cause, r.was_read) for r in c.all(Removed)] == [(RemovalCause(leaves), False)]


def test_a_reader_that_was_quicker_than_the_removal_makes_it_used() -> None:
    c = cache()
    c.put("file:a", prefetch=5)
    c.read("file:a", drain=False)
    c.do(Invalidate("file:a", 1))
    c.drain()
    assert c.all(PrefetchUsed) == [PrefetchUsed(5, "s")]
    assert not c.all(PrefetchWasted)
    assert [r.was_read for r in c.all(Removed)] == [True]


def test_a_removal_that_was_quicker_leaves_the_reader_no_token() -> None:
    c = cache()
    c.put("file:a", prefetch=5)
    entry = c.view["file:a"]
    c.do(Invalidate("file:a", 1))
    assert not entry.first_read
    assert c.all(PrefetchWasted) == [PrefetchWasted(5, "invalidated")]


def test_the_token_is_shared_by_the_entry_in_every_layer() -> None:
    c = cache()
    c.put("file:a", prefetch=5)
    token, in_warm = c.view["file:a"].first_read, c.view["file:a"].content
    c.wait(20)
    assert c.view["file:a"].first_read is token
    assert (in_warm.layer, c.view["file:a"].content.layer) == (Layer.WARM, Layer.COLD)


def test_what_a_reader_took_from_the_planner_before_it_was_stored_is_used() -> None:
    c = cache()
    entry = an_entry("file:a", prefetch=5)
    entry.first_read.pop()
    c.firsts.append(FirstRead(5, "file:a", "s", 0.0))
    c.do(Put(entry))
    assert c.layers() == {"file:a": "hot"}
    c.drain()
    assert c.all(PrefetchUsed) == [PrefetchUsed(5, "s")]


def test_a_note_of_an_entry_before_it_does_not_make_a_prefetch_read() -> None:
    c = cache()
    c.put("file:a")
    c.read("file:a", drain=False)
    c.put("file:a", prefetch=5)
    c.drain()
    assert c.layers() == {"file:a": "warm"}
    c.do(EndSession("s"))
    assert c.all(PrefetchWasted) == [PrefetchWasted(5, "session_ended")]


# ---- put -----------------------------------------------------------------------------------------


def test_a_put_over_an_entry_replaces_it_without_a_gap_for_readers() -> None:
    c = cache()
    c.put("file:a", value="old", tokens=10)
    effects = c.put("file:a", value="new", tokens=3)
    assert not [e for e in effects if isinstance(e, Withdraw)]
    kinds = [type(e) for e in effects]
    assert kinds.index(Removed) < kinds.index(Stored)  # or the planner would forget the new one
    assert c.view["file:a"].content.value == "new"
    assert (c.machine.snapshot().tokens, c.machine.snapshot().size) == (3, 3)
    assert [r.cause for r in c.all(Removed)] == [RemovalCause.REPLACED]


def test_an_entry_asked_for_later_is_kept_and_the_put_is_answered_all_the_same() -> None:
    c = cache()
    c.put("file:a", value="newer", asked_at=5.0)
    c.put("file:a", "t", value="older", asked_at=4.0, prefetch=9)
    assert c.view["file:a"].content.value == "newer"
    assert c.all(Stored) == [Stored("file:a", 7)] * 2
    assert c.all(PrefetchWasted) == [PrefetchWasted(9, "replaced")]
    assert c.machine.snapshot().pinned.entries == 1


def test_the_same_put_twice_changes_nothing() -> None:
    c = cache()
    put = Put(an_entry("file:a", prefetch=5), 7)
    c.do(put)
    assert c.do(put) == [Stored("file:a", 7)]
    assert not c.all(PrefetchWasted)


def test_a_load_overtaken_by_a_change_is_refused_until_the_planner_knows() -> None:
    c = cache()
    c.do(Invalidate("file:a", 3))
    effects = c.put("file:a", prefetch=5, epoch=2)
    assert Refused("file:a", 7) in effects
    assert c.view == {}
    assert not c.all(PrefetchWasted)  # the planner counts it as cancelled
    c.put("file:a", epoch=3)
    assert "file:a" in c.view
    c.do(Acknowledged(3))
    c.put("file:a", epoch=0, asked_at=9.0)
    assert c.all(Refused) == [Refused("file:a", 7)]


def test_a_prefix_refuses_all_that_it_covers_and_nothing_else() -> None:
    c = cache()
    c.do(Invalidate("skill:debugging*", 3))
    c.put("skill:debugging/systematic", epoch=2)
    c.put("skill:security", epoch=2)
    assert c.all(Refused) == [Refused("skill:debugging/systematic", 7)]
    assert list(c.view) == ["skill:security"]


# ---- invalidate (D31) ----------------------------------------------------------------------------


def test_a_stale_entry_is_gone_at_once_and_told_with_whether_it_had_been_read() -> None:
    c = cache()
    c.put("file:read", session="t", tokens=12)
    c.put("file:unread", prefetch=5)
    effects = c.do(Invalidate("file:*", 1))
    assert c.view == {}
    assert [(r.stored, r.was_read, r.session, r.tokens) for r in c.all(Removed)] == [
        ("file:read", True, "t", 12),
        ("file:unread", False, "s", 1),
    ]
    assert effects[-1] == Invalidated("file:*", 1)
    assert c.all(PrefetchWasted) == [PrefetchWasted(5, "invalidated")]


def test_what_was_asked_for_after_the_change_is_kept() -> None:
    c = cache()
    c.put("file:a", epoch=4)
    c.do(Invalidate("file:a", 4))
    c.do(Invalidate("file:*", 3))
    assert "file:a" in c.view


def test_a_change_of_a_private_resource_takes_it_from_every_user() -> None:
    c = cache()
    c.put(f"mail:1{PARTITION}ann")
    c.put(f"mail:1{PARTITION}bob")
    c.put(f"mail:2{PARTITION}bob")
    c.do(Invalidate("mail:1", 1))
    assert list(c.view) == [f"mail:2{PARTITION}bob"]


def test_private_content_handed_over_is_its_users_alone() -> None:
    c = cache()
    c.put(f"mail:1{PARTITION}bob")
    mine = f"mail:1{PARTITION}ann"
    c.do(Invalidate("mail:1", 1, Content("new"), user="ann", stored=mine))
    assert list(c.view) == [mine]
    assert c.view[mine].content.key == "mail:1"


def test_content_handed_over_becomes_the_entry_keeps_pins_and_counts_as_read_if_the_old_did() -> (
    None
):
    c = cache()
    c.put("file:a.py", "s", tokens=10)
    c.do(Invalidate("file:a.py", 1, Content("x" * 42), session="t"))
    entry = c.view["file:a.py"]
    assert (entry.content.value, entry.tokens, entry.epoch) == ("x" * 42, 10, 1)
    assert c.machine.snapshot().pinned.entries == 1
    assert [(r.cause, r.was_read) for r in c.all(Removed)] == [(RemovalCause.REPLACED, True)]
    assert c.all(Stored)[-1] == Stored("file:a.py", 0)
    c.do(Invalidate("file:a.py", 2))
    assert c.all(Removed)[-1].was_read


def test_content_handed_over_for_an_unread_prefetch_wastes_that_and_is_unread_itself() -> None:
    c = cache()
    c.put("file:a", prefetch=5)
    c.do(Invalidate("file:a", 1, Content("new")))
    assert c.all(PrefetchWasted) == [PrefetchWasted(5, "replaced")]
    assert c.layers() == {"file:a": "warm"}
    c.do(Invalidate("file:a", 2))
    assert not c.all(Removed)[-1].was_read
    assert len(c.all(PrefetchWasted)) == 1


def test_content_handed_over_for_a_new_key_is_kept_and_promoted_by_its_first_read() -> None:
    c = cache()
    c.do(Invalidate("note:a", 1, Content("new")))
    assert c.layers() == {"note:a": "warm"}
    c.read("note:a")
    assert c.layers() == {"note:a": "hot"}
    assert not c.all(PrefetchUsed)


def test_content_handed_over_before_a_later_change_is_not_stored() -> None:
    c = cache()
    c.do(Invalidate("file:a", 2))
    c.do(Invalidate("file:a", 1, Content("older than the change")))
    c.do(Acknowledged(2))
    c.do(Acknowledged(1))
    c.do(Invalidate("file:a", 1, Content("older than the change")))
    assert c.view == {}
    assert {n.event for n in c.all(Note)} == {"not stored"}


def test_a_prefix_takes_no_content() -> None:
    c = cache()
    c.do(Invalidate("file:*", 1, Content("new")))
    assert c.view == {}


def test_restamped_content_is_served_from_the_same_layer() -> None:
    c = cache()
    c.put("file:a", prefetch=5, value="same", tokens=7)
    seen = c.view["file:a"]
    c.wait(20)
    c.do(Restamp(seen, Content("same", version=2)))
    served = c.view["file:a"]
    assert (served.content.version, served.content.layer, served.tokens) == (2, Layer.COLD, 7)
    assert served.first_read is seen.first_read


def test_restamping_what_has_been_replaced_changes_nothing() -> None:
    c = cache()
    c.put("file:a", value="old")
    seen = c.view["file:a"]
    c.put("file:a", value="new")
    assert c.do(Restamp(seen, Content("old", version=2))) == []
    assert c.do(Restamp(an_entry("file:b"), Content("old", version=2))) == []
    assert c.view["file:a"].content.value == "new"


# ---- the planner's questions ---------------------------------------------------------------------


def test_a_new_planner_learns_what_is_held_and_which_changes_are_not_acknowledged() -> None:
    c = cache()
    c.do(Invalidate("file:b", 1))
    c.put("file:a", tokens=3)
    holding, outstanding = c.do(Resident())
    assert isinstance(holding, Holding)
    assert [(e.stored, e.tokens) for e in holding.entries] == [("file:a", 3)]
    assert outstanding == Invalidated("file:b", 1)


def test_reads_are_passed_on_in_order_with_the_keys_of_each_session() -> None:
    c = cache()
    c.put("file:a")
    c.put("file:b")
    for key, session in (("file:b", "s"), ("file:a", "s"), ("file:b", "s"), ("file:a", "t")):
        c.read(key, session, drain=False)
    effects = c.drain()
    assert [(r.stored, r.session) for r in effects[-1].reads] == [
        ("file:b", "s"),
        ("file:a", "s"),
        ("file:b", "s"),
        ("file:a", "t"),
    ]
    assert c.all(KeysRead) == [KeysRead("s", ("file:b", "file:a")), KeysRead("t", ("file:a",))]


def test_a_read_of_what_is_gone_is_only_passed_on() -> None:
    c = cache()
    effects = c.machine.take_reads([Read("file:gone", "s", 0.0)], [], 0.0)
    assert [type(e) for e in effects] == [KeysRead, Accessed]
    assert c.do(Drain()) == []


# ---- bounds --------------------------------------------------------------------------------------


def test_a_mass_expiry_is_done_in_bounded_steps() -> None:
    count = 2500
    c = Cache(config(hot=count, warm=count, cold=count))
    for number in range(count):
        c.machine.handle(Put(an_entry(f"file:{number}")), 0.0)
    c.now = 10.0
    steps = []
    while (due := c.machine.next_deadline()) is not None and due <= c.now:
        effects = c.machine.tick(c.now)
        steps.append(len([e for e in effects if isinstance(e, Publish)]))
    assert sum(steps) == count
    assert max(steps) <= MAX_MOVES
    assert min(steps[:-1]) >= MAX_MOVES - 3, "steps that do less than they might"


def test_cascading_moves_count_towards_the_bound() -> None:
    count = 1200
    c = Cache(config(hot=count, warm=1, cold=1))
    for number in range(count):
        c.machine.handle(Put(an_entry(f"file:{number}")), 0.0)
    effects = c.machine.tick(10.0)
    assert len([e for e in effects if isinstance(e, Publish | Withdraw)]) <= MAX_MOVES


def test_time_that_runs_backwards_is_taken_as_the_latest_seen() -> None:
    c = cache()
    c.machine.handle(Put(an_entry("file:a")), 100.0)
    c.machine.handle(Put(an_entry("file:b")), 50.0)
    c.machine.check()
    assert c.machine.next_deadline() == 110.0


def test_content_that_left_the_cache_is_freed_without_the_garbage_collector() -> None:
    c = cache(hot=1, warm=1, cold=1)
    gc.collect()
    gc.disable()
    try:
        entry = an_entry("file:a", session="gone")
        content = weakref.ref(entry.content)
        c.do(Put(entry))
        del entry
        for name in "bcd":
            c.put(f"file:{name}")
        assert "file:a" not in c.view
        c.told.clear()  # what the planner was told holds it until it is told of the removal
        assert content() is None
    finally:
        gc.enable()


def test_sessions_that_hold_nothing_are_forgotten() -> None:
    c = cache(hot=1, warm=1, cold=1)
    for number in range(50):
        c.put(f"file:{number}", session=f"session {number}")
    assert c.machine.snapshot().sessions == 3


def test_what_was_too_large_by_itself_is_not_shed_again_at_the_next_tick() -> None:
    c = Cache(config(max_tokens=20))
    c.put("file:small", tokens=10)
    c.put("file:large", tokens=30)
    assert "file:large" not in c.layers()
    c.wait(10_000)  # past every layer's time
    assert c.layers() == {}
