"""What readers in any thread see: the board of invalidations, tallies, the notes of reads."""

import sys
import threading

from prefetch_scheduler.actors.view import DRAIN_AT, InvalidationBoard, PublishedView, Tally
from prefetch_scheduler.policies.content import Content, Entry
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
            threading.Thread(target=lambda: [tally.add() for _ in range(5_000)]) for _ in range(4)
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


def test_a_reader_asks_for_a_drain_once_enough_is_noted():
    view, asked = PublishedView(), 0
    for _ in range(DRAIN_AT + 100):
        asked += view.note_hit(entry(), "s", 0.0)
    assert asked == 1
