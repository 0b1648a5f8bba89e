"""What readers in any thread see: the board of invalidations, tallies, the notes of reads."""

import sys
import threading

import pytest

from prefetch_scheduler.actors.view import InvalidationBoard, PublishedView, Tally
from prefetch_scheduler.engine.reading import ReaderSession
from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.keys import PARTITION
from prefetch_scheduler.policies.vocabulary import Priority


def entry(stored: str = "k:a", *, prefetch: int = 0) -> Entry:
    first = [None] if prefetch else []
    content = Content("x")
    return Entry(stored, content, 0, 0, 0.0, 0.0, 0.1, "s", Priority.P1, None, prefetch, first)


def test_a_mark_covers_its_key_or_prefix_until_it_is_discarded():
    board = InvalidationBoard()
    key, prefix = board.note("k:a"), board.note("k:b*")
    assert board.newest("k:a") == key
    assert board.newest("k:a\x00ann") == key
    assert board.newest("k:bc") == prefix
    assert board.newest("k:c") == 0
    assert board.marks() == [(key, "k:a"), (prefix, "k:b*")]
    board.discard(key, "k:a")
    board.discard(prefix, "k:b*")
    assert board.newest("k:a") == board.newest("k:bc") == len(board) == 0


def test_discarding_an_older_mark_leaves_a_newer_one_of_the_same_key():
    board = InvalidationBoard()
    old, new = board.note("k:a"), board.note("k:a")
    board.discard(old, "k:a")
    assert board.newest("k:a") == new


def test_a_tally_is_exact_whatever_threads_add_to_it():
    tally, taken = Tally(), []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [
            threading.Thread(target=lambda: [next(tally.hits) for _ in range(5_000)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            taken.append(tally.take())
        taken.append(tally.take())
    finally:
        sys.setswitchinterval(interval)
    assert sum(taken) == 20_000


def test_exactly_one_reader_notes_the_first_read_of_a_prefetched_entry():
    view, prefetched = PublishedView(), entry(prefetch=7)
    for session in ("one", "two"):
        view.note_hit(prefetched, session, 1.0)
    assert [(f.prefetch_id, f.session) for f in view.first_reads] == [(7, "one")]
    assert view.tally("one").take() == view.tally("two").take() == 1


# ---- what is served by its key alone -------------------------------------------------------------


@pytest.fixture
def view():
    made = PublishedView(unchecked=[0])
    made.taken_over("writer")
    return made


@pytest.mark.parametrize(
    "other",
    [
        Entry("k:a", Content("x"), 1, 0, 0.0, 0.0, 0.1, "s", Priority.P1),
        Entry("k:a", Content("x", max_age_s=9), 0, 0, 0.0, 0.0, 0.1, "s", Priority.P1),
        entry("k:a\x00ann"),
        entry(prefetch=7),
    ],
    ids=["its source is asked", "it may be too old", "it is private", "its first read counts"],
)
def test_only_what_anyone_may_have_at_once_is_served_by_its_key_alone(view, other):
    view.publish(other, "writer")
    assert view.direct == {}
    plain = entry()
    view.publish(plain, "writer")
    assert view.direct == {"k:a": plain.content}
    view.publish(other, "writer")
    assert "k:a" not in view.direct or PARTITION in other.stored


@pytest.mark.parametrize("pattern", ["k:a", "k:*"])
def test_a_mark_takes_away_what_it_covers_before_it_is_given_out(view, pattern):
    view.publish(entry(), "writer")
    epoch = view.board.note(pattern)
    assert view.direct == {}
    view.publish(entry(), "writer")
    assert view.direct == {}, "put back while the mark stands"
    newer = Entry("k:a", Content("y"), 0, epoch, 0.0, 0.0, 0.1, "s", Priority.P1)
    view.publish(newer, "writer")
    assert view.direct == {"k:a": newer.content}


def test_nobody_but_the_present_writer_puts_anything_there_and_a_closed_view_stays_empty(view):
    view.publish(entry(), "writer")
    view.taken_over("its successor")
    view.publish(entry(), "writer")
    assert view.direct == {}
    view.publish(entry(), "its successor")
    view.withdraw("k:a", "writer")
    assert set(view.direct) == {"k:a"}
    view.close()
    view.publish(entry(), "its successor")
    assert view.direct == {}


def test_a_tally_is_owned_as_long_as_somebody_may_add_to_it(view):
    tally = view.tally("s")
    reader = ReaderSession("s", tally)
    assert tally.owned
    del reader
    assert not tally.owned
