"""List scheduling onto the prefetch slots (decisions D3, D16, D19)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.config import Config, Execution
from prefetch_scheduler.policies.scheduling import SlotSchedule
from prefetch_scheduler.policies.vocabulary import Priority

P0, P1, P2, P3, _ = Priority
Span = tuple[float, float]


def place(schedule: SlotSchedule, priority: Priority, load_s: float) -> Span:
    placed = schedule.immediate(priority, load_s, None)
    return placed.start_s, placed.finish_s


def at_once(spans: list[Span]) -> int:
    """The most loads that run at one moment; a load ends before one that starts then."""
    moments = sorted([(s, 1) for s, f in spans if f > s] + [(f, -1) for s, f in spans if f > s])
    running = most = 0
    for _, change in moments:
        running += change
        most = max(most, running)
    return most


def test_p1_takes_all_eight_slots_and_the_ninth_waits() -> None:
    schedule = SlotSchedule(Config())
    starts = [place(schedule, P1, 0.5)[0] for _ in range(9)]
    assert starts == [0.0] * 8 + [0.5]


def test_eager_loads_run_five_at_once() -> None:
    schedule = SlotSchedule(Config())
    starts = [place(schedule, P2, 0.5)[0] for _ in range(6)]
    assert starts == [0.0] * 5 + [0.5]


def test_eager_waits_for_a_slot_where_p1_holds_them_all() -> None:
    schedule = SlotSchedule(Config())
    for seconds in (0.3, *[1.0] * 7):
        place(schedule, P1, seconds)
    assert place(schedule, P2, 0.1)[0] == 0.3


def test_two_slots_are_left_alone_by_all_but_p0_and_p1() -> None:
    config = Config(execution=Execution(eager_max_concurrent=8))
    schedule = SlotSchedule(config)
    assert [place(schedule, P2, 1.0)[0] for _ in range(7)] == [0.0] * 6 + [1.0]
    narrow = SlotSchedule(Config(max_concurrent_fetches=3))
    assert [place(narrow, P2, 1.0)[0] for _ in range(2)] == [0.0, 1.0]


def test_a_load_that_misses_its_deadline_takes_no_slot() -> None:
    schedule = SlotSchedule(Config(max_concurrent_fetches=3))
    late = schedule.immediate(P2, 3.0, 2.0)
    assert (late.in_time, late.finish_s) == (False, 3.0)
    assert place(schedule, P2, 1.0) == (0.0, 1.0)


def test_sums_of_decimal_fractions_meet_their_deadline() -> None:
    schedule = SlotSchedule(
        Config(max_concurrent_fetches=1, execution=Execution(immediate_reserved=0))
    )
    assert 0.1 + 0.1 + 0.1 > 0.3
    assert all(schedule.immediate(P2, 0.1, 0.3).in_time for _ in range(3))
    assert not schedule.immediate(P2, 0.1, 0.3).in_time


def test_background_starts_after_its_delay_three_at_once() -> None:
    schedule = SlotSchedule(Config())
    starts = [schedule.background(1.0)[0] for _ in range(4)]
    assert starts == pytest.approx([0.05, 0.05, 0.05, 1.05])


def test_background_waits_for_p1_but_runs_beside_eager_loads() -> None:
    schedule = SlotSchedule(Config())
    place(schedule, P1, 0.2)
    for _ in range(5):
        place(schedule, P2, 1.0)
    assert schedule.background(1.0)[0] == 0.2
    assert schedule.background(1.0)[0] == 1.0  # six loads hold all that is not reserved


def test_a_slot_that_eager_loads_may_not_use_is_left_to_the_background() -> None:
    schedule = SlotSchedule(Config())
    assert [place(schedule, P2, 1.0)[0] for _ in range(6)] == [0.0] * 5 + [1.0]
    assert schedule.background(0.5)[0] == 0.05


loads = st.lists(
    st.tuples(st.sampled_from([P0, P1, P2, P3]), st.floats(0.01, 3.0)), max_size=40
).map(lambda items: sorted(items, key=lambda item: item[0]))


@given(
    loads=loads,
    slots=st.integers(2, 10),
    reserved=st.integers(0, 3),
    eager=st.integers(1, 6),
    background=st.integers(1, 4),
)
def test_no_limit_is_ever_exceeded_and_starts_never_go_back(
    loads: list[tuple[Priority, float]], slots: int, reserved: int, eager: int, background: int
) -> None:
    config = Config(
        max_concurrent_fetches=slots,
        execution=Execution(
            immediate_reserved=min(reserved, slots - 1),
            eager_max_concurrent=eager,
            background_max_concurrent=background,
        ),
    )
    schedule = SlotSchedule(config)
    spans: dict[Priority, list[Span]] = {priority: [] for priority in Priority}
    for priority, seconds in loads:
        span = (
            schedule.background(seconds) if priority is P3 else place(schedule, priority, seconds)
        )
        assert span[1] == span[0] + seconds
        spans[priority].append(span)
    urgent, unreserved = spans[P0] + spans[P1], spans[P2] + spans[P3]
    assert at_once(urgent + unreserved) <= slots
    assert at_once(unreserved) <= slots - config.execution.immediate_reserved
    assert at_once(spans[P2]) <= eager
    assert at_once(spans[P3]) <= background
    for of_class in (urgent, spans[P2], spans[P3]):
        assert of_class == sorted(of_class, key=lambda span: span[0])
    if spans[P3]:
        assert spans[P3][0][0] >= max([0.05, *(finish for _, finish in urgent)])
