"""What was read lately, how often today, and what earlier sessions used most."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.usage import (
    EARLY_READS,
    EARLY_SESSIONS,
    EarlyReads,
    Habits,
    UsageHistory,
)


def test_a_read_is_recent_until_its_time_is_over() -> None:
    usage = UsageHistory()
    usage.note("file:a", 100.0, day=1)
    assert usage.recent("file:a", 400.0, within_s=300.0)
    assert not usage.recent("file:a", 400.1, within_s=300.0)
    assert not usage.recent("file:b", 100.0, within_s=300.0)


def test_a_report_that_comes_late_does_not_make_a_read_older() -> None:
    usage = UsageHistory()
    usage.note("file:a", 100.0, day=1)
    usage.note("file:a", 10.0, day=1)
    assert usage.recent("file:a", 400.0, within_s=300.0)
    assert usage.uses_today("file:a", 1) == 2


def test_uses_are_counted_anew_each_day() -> None:
    usage = UsageHistory()
    for at in range(6):
        usage.note("file:a", float(at), day=1)
    assert usage.uses_today("file:a", 1) == 6
    assert usage.uses_today("file:a", 2) == 0
    usage.note("file:a", 10.0, day=2)
    assert usage.uses_today("file:a", 2) == 1


def test_past_the_capacity_the_one_read_longest_ago_is_forgotten() -> None:
    usage = UsageHistory(capacity=2)
    for at, key in enumerate(["a", "b", "a", "c"]):
        usage.note(key, float(at), day=1)
    assert [usage.uses_today(key, 1) for key in "abc"] == [2, 0, 1]
    assert len(usage) == 2


def test_habits_name_the_most_used_first_and_equals_by_key() -> None:
    habits = Habits()
    for key in ["c", "b", "a", "b", "c", "b", "d"]:
        habits.note("project:x", key)
    assert habits.top("project:x", 3) == ("b", "c", "a")
    assert habits.top("project:x", 0) == ()
    assert habits.top("project:y", 3) == ()


def test_habits_forget_the_group_noted_longest_ago() -> None:
    habits = Habits(groups=2)
    for group in ("x", "y", "x", "z"):
        habits.note(group, "a")
    assert [habits.top(group, 1) for group in "xyz"] == [("a",), (), ("a",)]
    assert len(habits) == 2


def test_one_off_keys_do_not_drive_out_what_is_used_again_and_again() -> None:
    habits = Habits(keys=20)
    for number in range(2_000):
        habits.note("x", f"once-{number}")
        if number % 10 == 0:
            habits.note("x", "often")
    assert habits.top("x", 1) == ("often",)


def test_a_new_habit_enters_a_group_full_of_well_used_keys() -> None:
    habits = Habits(keys=8)
    for _ in range(5):
        for number in range(8):
            habits.note("x", f"old-{number}")
    for _ in range(9):
        habits.note("x", "new")
    assert habits.top("x", 1) == ("new",)


def test_old_habits_fade() -> None:
    habits = Habits(keys=10)
    for _ in range(95):
        habits.note("x", "old")
    for _ in range(80):
        habits.note("x", "new")
    assert habits.top("x", 1) == ("new",)


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("abcdef")), max_size=50))
def test_while_there_is_room_habits_are_plain_counts(notes: list[tuple[str, str]]) -> None:
    habits, counts = Habits(), Counter(notes)
    for group, key in notes:
        habits.note(group, key)
    for group in "xyz":
        mine = [(-n, key) for (g, key), n in counts.items() if g == group]
        assert habits.top(group, 10) == tuple(key for _, key in sorted(mine))


@given(st.lists(st.integers(0, 40), max_size=300), st.integers(1, 8))
def test_habits_stay_within_their_bound(notes: list[int], keys: int) -> None:
    habits = Habits(keys=keys)
    for number in notes:
        habits.note("x", str(number))
        held = habits.top("x", 1_000)
        assert len(held) <= keys


def test_early_reads_are_taken_once_and_bounded() -> None:
    early = EarlyReads()
    for number in range(EARLY_READS + 5):
        early.note("s", f"k:{number}", f"k:{number}", 1.0)
    assert len(early.taken("s")) == EARLY_READS
    assert early.taken("s") == []
    for number in range(EARLY_SESSIONS + 1):
        early.note(f"s{number}", "k:a", "k:a", 1.0)
    assert early.taken("s0") == []
    assert early.taken("s1") == [("k:a", "k:a", 1.0)]
