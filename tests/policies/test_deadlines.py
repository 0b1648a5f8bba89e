from hypothesis import given, settings
from hypothesis import strategies as st

from prefetch_scheduler.policies.deadlines import LEAST, Deadlines

CHANGES = st.lists(
    st.tuples(st.integers(0, 9), st.none() | st.integers(0, 20).map(float)), max_size=300
)


@settings(max_examples=60, deadline=None)
@given(CHANGES, st.integers(0, 20).map(float))
def test_what_is_due_comes_in_order_and_what_is_void_never(
    changes: list[tuple[int, float | None]], now: float
) -> None:
    due: dict[int, float] = {}
    deadlines = Deadlines(due.get)
    for number, at in changes:
        due.pop(number, None)
        if at is not None:
            due[number] = at
            deadlines.set(number, at)
        assert deadlines.first() == min(due.values(), default=None)
    taken: list[float] = []
    while (passed := deadlines.passed(now)) is not None:
        taken.append(due.pop(passed))
    assert taken == sorted(taken)
    assert all(at <= now for at in taken)
    assert all(at > now for at in due.values())


def test_those_of_what_has_ended_do_not_pile_up() -> None:
    due: dict[int, float] = {1: 1e6}
    deadlines = Deadlines(due.get)
    deadlines.set(1, 1e6)
    for number in range(2, 10_000):
        due[number] = 10.0 + number
        deadlines.set(number, due[number])
        del due[number]
        assert len(deadlines) <= LEAST + 1
    assert deadlines.first() == 1e6
