import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from prefetch_scheduler.policies.yaml_text import yaml_text

WORDS = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["on", "No", "1:30", "1e3", "~", "null", "0o7", "- a", "a: b", "#x", "\ud800", "\x85", "\ufeff"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | WORDS
    | st.floats(allow_nan=False).filter(math.isfinite)
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=15,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(WORDS, DATA, max_size=5))
def test_what_is_written_is_read_back_the_same(data: dict[str, object]):
    text = yaml_text(data)
    text.encode()
    back = yaml.safe_load(text)
    assert back == data
    assert repr(back) == repr(data)  # 1, 1.0 and True are equal, but not the same


def test_blocks_are_indented_by_two_in_the_order_given():
    data = {"b": {"list": [{"key": "file:a", "used": True}, [1, 2], []], "none": None}, "a": 0.84}
    assert yaml_text(data) == (
        "b:\n"
        "  list:\n"
        '    - key: "file:a"\n'
        "      used: true\n"
        "    - - 1\n"
        "      - 2\n"
        "    - []\n"
        "  none: null\n"
        "a: 0.84\n"
    )


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused(number: float):
    with pytest.raises(ValueError, match="not a finite number"):
        yaml_text({"a": [number]})


def test_what_is_not_plain_data_is_refused():
    with pytest.raises(TypeError, match="set cannot be written"):
        yaml_text({"a": {1, 2}})
    with pytest.raises(TypeError, match="must be a string, got 1"):
        yaml_text({"a": {1: 2}})
    with pytest.raises(ValueError, match="shorter than"):
        yaml_text({"k" * 2000: 1})
