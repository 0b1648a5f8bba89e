"""What is remembered by number, against a dict of the newest."""

from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.numbered import Numbered

PLACES = 8


@given(st.lists(st.integers(-3, 40)))
def test_each_place_holds_the_number_that_came_last(numbers: list[int]) -> None:
    found, model = Numbered[str](PLACES), dict[int, int]()
    for number in numbers:
        found[number] = f"value {number}"
        model[number % PLACES] = number
        assert len(found) == len(model)
        assert list(found) == sorted(model.values())
    for number in range(-10, 50):
        known = model.get(number % PLACES) == number
        assert (number in found) == known
        assert found.get(number) == (f"value {number}" if known else None)


def test_so_many_numbers_in_a_row_are_all_known() -> None:
    found = Numbered[None](PLACES)
    for number in range(100):
        found[number] = None
    assert list(found) == list(range(100 - PLACES, 100))
