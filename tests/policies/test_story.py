from collections.abc import Iterable

from attrs import evolve

from prefetch_scheduler.policies.metrics_events import (
    DemandLoaded,
    Dropped,
    EntryRemoved,
    Hits,
    Joined,
    KeysRead,
    LateHit,
    MetricsEvent,
    Miss,
    Note,
    P0NotResident,
    Planned,
    Predicted,
    PrefetchCancelled,
    PrefetchFailed,
    PrefetchLoaded,
    PrefetchStarted,
    PrefetchUsed,
    PrefetchWasted,
    SessionClosed,
    SessionOpened,
)
from prefetch_scheduler.policies.story import KEYS, LATEST, LINES, PREFETCHES, StoryBook, StoryLine
from prefetch_scheduler.policies.vocabulary import Cause, RemovalCause


def told(*events: MetricsEvent) -> StoryBook:
    book = StoryBook()
    for second, event in enumerate(events):
        book.handle(event, float(second), 1e9 + second)
    return book


def words(lines: Iterable[StoryLine]) -> list[tuple[str, str, str]]:
    return [(line.event, line.reason, line.session) for line in lines]


def started(id_: int, key: str = "file:a") -> PrefetchStarted:
    return PrefetchStarted(id_, "s", key, Cause.PREDICTION, 80, "P1, main_file")


def test_a_prefetch_is_told_from_prediction_to_removal():
    book = told(
        SessionOpened("s"),
        Predicted("s", ("file:a", "file:b")),
        Note("file:a", "planned", "planned as P1", "s"),
        started(7),
        PrefetchLoaded(7, 90, 0.25),
        LateHit("s", "file:a"),
        PrefetchUsed(7, "t", 0.1),
        EntryRemoved("file:a", RemovalCause.EVICTED),
        SessionClosed("s"),
    )
    lines = book.explain("file:a")
    assert [(line.at, line.event, line.reason) for line in lines] == [
        (2.0, "planned", "planned as P1"),
        (3.0, "prefetch started", "prediction, P1, main_file, about 80 tokens"),
        (4.0, "prefetch loaded", "90 tokens in 0.250 s"),
        (5.0, "late hit", "a reader joined the prefetch under way"),
        (6.0, "prefetch used", "the reader waited 0.100 s"),
        (7.0, "removed from the cache", "evicted"),
    ]
    assert [line.session for line in lines] == ["s", "s", "s", "s", "t", ""]
    assert book.explain("file:b") == ()  # what its plan made of it would be a note


def test_a_start_told_with_its_end_makes_two_lines():
    start = PrefetchStarted(7, "s", "file:a", Cause.PREDICTION, 80, "P1, main_file")
    apart = told(start, PrefetchLoaded(7, 90, 0.25))
    at_once = told(evolve(start, loaded=90, load_s=0.25))
    assert words(at_once.explain("file:a")) == words(apart.explain("file:a"))
    for count in (0, 1, 2, 3):
        latest = [[line for _, line in book.latest(count)] for book in (at_once, apart)]
        assert words(latest[0]) == words(latest[1])


def test_every_ending_and_every_waiting_read_is_told():
    book = told(
        *(started(i, f"file:{i}") for i in range(3)),
        PrefetchWasted(0, "evicted"),
        PrefetchCancelled(1, "context_changed"),
        PrefetchFailed(2, "no such file"),
        Miss("s", "file:x", False),
        Joined("s", "file:x"),
        DemandLoaded("s", "file:x", 12, 1.5),
        P0NotResident("s", "file:x"),
    )
    assert book.explain("file:0")[-1].reason == "evicted"
    assert book.explain("file:1")[-1].event == "prefetch cancelled"
    assert book.explain("file:2")[-1].reason == "no such file"
    told_of_x = [line.event for line in book.explain("file:x")]
    assert told_of_x == ["miss", "joined", "demand loaded", "not resident"]


def test_an_unknown_key_has_no_story_and_unknown_numbers_tell_nothing():
    book = told(PrefetchUsed(99, "s"), Hits("s", 5), KeysRead("s", ("file:a",)), Dropped("x"))
    assert book.explain("file:a") == ()
    assert len(book) == 0


def test_a_line_reads_as_time_event_reason_and_session():
    line = StoryLine(12.3456, 1_700_000_000.25, "planned", "P1\x1b[0m", "agent")
    assert str(line) == "22:13:20.250Z +12.346s planned: P1\\x1b[0m [agent]"
    assert str(StoryLine(0.0, 86_399.9999, "miss")) == "00:00:00.000Z +0.000s miss"


def test_a_key_keeps_its_newest_lines():
    book = told(*(Note("file:a", f"event {i}") for i in range(LINES + 5)))
    events = [line.event for line in book.explain("file:a")]
    assert events == [f"event {i}" for i in range(5, LINES + 5)]


def test_the_key_least_recently_told_of_is_dropped():
    book = told(*(Note(f"file:{i}", "x") for i in range(KEYS)), Note("file:0", "again"))
    book.handle(Note("file:new", "x"), 0.0, 0.0)
    assert len(book) == KEYS
    assert book.explain("file:1") == ()
    assert len(book.explain("file:0")) == 2


def test_a_prefetch_long_past_is_no_longer_told_of_by_number():
    book = told(started(-1), *(started(i, "file:b") for i in range(PREFETCHES)))
    book.handle(PrefetchUsed(-1, "s"), 0.0, 0.0)
    assert [line.event for line in book.explain("file:a")] == ["prefetch started"]


def test_a_number_is_never_taken_for_another_that_has_its_place():
    early, late = started(5), started(5 + PREFETCHES, "file:b")
    book = told(early, late, PrefetchWasted(early.id, "evicted"), PrefetchLoaded(late.id, 7, 0.5))
    assert [line.event for line in book.explain("file:a")] == ["prefetch started"]
    assert [line.event for line in book.explain("file:b")] == [
        "prefetch started",
        "prefetch loaded",
    ]


def test_a_private_key_is_told_without_its_user_and_a_long_reason_is_cut():
    book = told(Note("mail:inbox\x00anna", "failed", "x" * 10_000))
    (line,) = book.explain("mail:inbox")
    assert len(line.reason) == 300


def test_what_a_plan_made_of_each_key_is_told_and_no_long_text_is_kept():
    text = "x" * 10_000
    book = told(
        Planned(
            "s", (("file:a", "planned P1 immediate", "planned", None), ("file:b", "p", text, None))
        ),
        PrefetchStarted(1, "s", "file:b", Cause.PREDICTION, 5, text),
        PrefetchFailed(1, text),
        Miss("s", "file:b", True, text),
    )
    (line,) = book.explain("file:a")
    assert (line.event, line.reason, line.session) == ("planned P1 immediate", "planned", "s")
    kept = book._stories["file:b"]
    assert len(kept) == 4
    assert all(len(str(line)) < 1000 for line in kept)


def test_the_latest_lines_are_those_of_all_keys_newest_last_and_bounded():
    book = told(*(Note(f"file:{n}", "planned", str(n), "s") for n in range(LATEST + 5)))
    latest = book.latest(3)
    assert [key for key, _ in latest] == [f"file:{LATEST + n}" for n in (2, 3, 4)]
    assert latest[-1][1] == book.explain(f"file:{LATEST + 4}")[0]
    assert len(book.latest(10 * LATEST)) == LATEST
    assert book.latest(0) == book.latest(-1) == StoryBook().latest(5) == ()
