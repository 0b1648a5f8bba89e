"""Breakers against waste: when they open, how they are probed, and what closes them."""

from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.wasteful import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    PROBES,
    TRUE_AGAIN,
    WINDOW,
    Wasteful,
)

WHO = (0, "related_file")


def opened() -> Wasteful:
    breakers = Wasteful()
    told = [breakers.loaded(WHO, used=False) for _ in range(WINDOW)]
    assert told == [False] * (WINDOW - 1) + [True]
    return breakers


def let_through(breakers: Wasteful, predictions: int) -> int:
    return sum(not breakers.holds(WHO) for _ in range(predictions))


def test_it_opens_where_nothing_was_read_and_lets_a_few_through_after_a_pause() -> None:
    breakers = opened()
    assert let_through(breakers, FIRST_PAUSE) == 0
    assert let_through(breakers, 1_000) == PROBES
    (held,) = breakers.open()
    assert (held.source, held.role, held.used, held.ended) == (0, "related_file", 0, WINDOW)
    assert "0 of 40" in held.words()


def test_probes_that_nobody_reads_double_the_pause_up_to_a_bound() -> None:
    breakers, pause = opened(), FIRST_PAUSE
    for _ in range(8):
        assert let_through(breakers, pause + PROBES) == PROBES
        for _ in range(PROBES):
            assert not breakers.loaded(WHO, used=False)
        pause = min(2 * pause, LONGEST_PAUSE)
        assert let_through(breakers, pause) == 0
        breakers._breakers[WHO].left = pause


def test_a_probe_that_is_read_closes_it() -> None:
    breakers = opened()
    let_through(breakers, FIRST_PAUSE + PROBES)
    assert breakers.loaded(WHO, used=True)
    assert not breakers.any_open
    assert let_through(breakers, 10) == 10


def test_predictions_that_come_true_close_it_although_none_was_loaded() -> None:
    breakers = opened()
    for _ in range(1_000):
        assert not breakers.came(WHO, true=False)
    told = [breakers.came(WHO, true=True) for _ in range(2 * TRUE_AGAIN)]
    assert True in told
    assert let_through(breakers, 10) == 10


def test_a_predictor_that_is_right_now_and_then_is_left_alone() -> None:
    breakers = Wasteful()
    for number in range(1_000):
        breakers.loaded(WHO, used=number % 15 == 0)
    assert not breakers.any_open


@given(st.lists(st.tuples(st.sampled_from("luhc"), st.booleans()), max_size=400))
def test_whatever_happens_what_is_told_is_what_holds(steps: list[tuple[str, bool]]) -> None:
    breakers, is_open = Wasteful(), False
    for what, good in steps:
        match what:
            case "l" | "u":
                turned = breakers.loaded(WHO, used=what == "u" and good)
            case "c":
                turned = breakers.came(WHO, true=good)
            case _:
                held = breakers.holds(WHO)
                assert is_open or not held
                turned = False
        is_open ^= turned
        assert breakers.any_open == is_open == bool(breakers.open())
