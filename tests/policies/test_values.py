"""The decorators of the values: classes as attrs makes them, in every respect that shows."""

import attrs
import pytest
from attrs import field
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.values import define, frozen


def twins(**options):
    """The same class made here and by attrs."""

    def body():
        class Twin:
            one: object
            two: object = 2
            hidden: object = field(default=3, repr=False)
            told: object = field(default=4, repr=lambda value: f"<{value}>")

        return Twin

    return frozen(body(), **options), attrs.frozen(body(), **options)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.lists(st.text())), st.text())
def test_a_value_is_shown_as_attrs_shows_it(one: object, two: object):
    ours, theirs = twins()
    assert repr(ours(one, two)) == repr(theirs(one, two))


@pytest.mark.parametrize("options", [{}, {"eq": False}, {"kw_only": True}, {"repr": False}])
def test_options_are_those_of_attrs(options: dict[str, bool]):
    ours, theirs = twins(**options)
    assert attrs.has(ours)
    assert attrs.inspect(ours) == attrs.inspect(theirs) or options.get("repr", True)
    one, other = ours(one=1), ours(one=1)
    assert (one == other) is (theirs(one=1) == theirs(one=1))
    shown = "Twin(one=1, two=2, told=<4>)"
    assert (repr(one) == shown) is options.get("repr", True)


def test_a_class_that_holds_itself_can_be_shown():
    @define
    class Ring:
        inner: object = None

    ring = Ring()
    ring.inner = [ring]
    assert repr(ring) == "Ring(inner=[...])"


def test_a_class_keeps_the_repr_of_its_own():
    @frozen
    class Own:
        name: str

        def __repr__(self) -> str:
            return f"own {self.name}"

    @frozen
    class Derived(Own):
        more: int

    assert repr(Own("a")) == "own a"
    assert repr(Derived("a", 1)) == "Derived(name='a', more=1)"


def test_a_value_is_immutable():
    ours, _ = twins()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        ours(1).one = 2
