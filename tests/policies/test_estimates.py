"""Estimates of tokens and load times, and how they learn."""

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.estimates import (
    DEFAULT_LOAD_S,
    DEFAULT_TOKENS,
    GROUPS_KEPT,
    NAMES_KEPT,
    Estimator,
)
from prefetch_scheduler.policies.source_info import SourceInfo, Survey
from prefetch_scheduler.policies.tokens import suffix_of, tokens_of_size

FILES = SourceInfo(0, "files", "file", read_only=True)
DOCS = SourceInfo(1, "docs", "doc", read_only=True)


def tokens_of(
    estimator: Estimator,
    name: str,
    stated: int | None = None,
    info: SourceInfo | None = FILES,
) -> int:
    survey = None if stated is None else Survey(tokens=stated)
    return estimator.estimate(info, name, survey, None, None).tokens


def seconds_of(estimator: Estimator, name: str, info: SourceInfo | None = FILES) -> float:
    return estimator.estimate(info, name, None, None, None).load_s


def observe(
    estimator: Estimator,
    names: Iterable[str],
    tokens: int,
    load_s: float = 0.1,
    stated: int | None = None,
    info: SourceInfo | None = FILES,
) -> None:
    for name in names:
        estimator.observe(info, name, estimated_tokens=stated, tokens=tokens, load_s=load_s)


def test_with_nothing_known_the_default_stands() -> None:
    for info in (FILES, None):
        estimate = Estimator().estimate(info, "a.py", None, None, None)
        assert (estimate.tokens, estimate.load_s) == (DEFAULT_TOKENS, DEFAULT_LOAD_S)
        assert estimate.basis == "tokens: default; time: default"


def test_a_predictions_own_figures_win_even_where_they_are_zero() -> None:
    estimator = Estimator()
    observe(estimator, ["a.py"], 500)
    survey = Survey(tokens=300, load_s=3.0)
    estimate = estimator.estimate(FILES, "a.py", survey, 7, 0.25)
    assert (estimate.tokens, estimate.load_s) == (7, 0.25)
    estimate = estimator.estimate(FILES, "a.py", survey, 0, 0.0)
    assert (estimate.tokens, estimate.load_s) == (0, 0.0)


def test_what_the_source_states_comes_before_what_was_seen_of_other_names() -> None:
    estimator = Estimator()
    observe(estimator, ["b.py"], 50, load_s=5.0)
    estimate = estimator.estimate(FILES, "a.py", Survey(tokens=300, load_s=3.0), None, None)
    assert (estimate.tokens, estimate.load_s) == (300, 3.0)
    assert estimate.basis == "tokens: source; time: source"


def test_a_sources_constants_stand_where_its_survey_is_silent() -> None:
    info = SourceInfo(2, "s", "s", read_only=True, tokens=40, load_s=0.4)
    estimate = Estimator().estimate(info, "x", Survey(), None, None)
    assert estimate.tokens == 40
    assert estimate.load_s == pytest.approx(0.4)
    estimate = Estimator().estimate(info, "x", Survey(tokens=90), None, None)
    assert estimate.tokens == 90
    assert estimate.load_s == pytest.approx(0.4)


def test_a_name_loaded_before_is_known_exactly() -> None:
    estimator = Estimator()
    observe(estimator, ["a.py"], 812, load_s=0.7, stated=1000)
    assert tokens_of(estimator, "a.py") == 812
    same = estimator.estimate(FILES, "a.py", Survey(tokens=1000), None, None)
    assert same.tokens == 812
    assert same.basis == "tokens: loaded before; time: loaded before"
    assert seconds_of(estimator, "a.py") == 0.7


def test_a_name_that_has_grown_keeps_its_own_ratio() -> None:
    estimator = Estimator()
    observe(estimator, ["a.py"], 800, stated=1000)
    assert tokens_of(estimator, "a.py", stated=2000) == pytest.approx(1600, abs=2)


def test_statements_are_corrected_by_what_such_names_came_to() -> None:
    estimator = Estimator()
    observe(estimator, [f"{n}.py" for n in range(50)], 500, stated=1000)
    assert tokens_of(estimator, "new.py", stated=3000) == pytest.approx(1500, rel=0.05)
    assert tokens_of(estimator, "new.md", stated=3000) == 3000  # another suffix
    assert tokens_of(estimator, "new.py", 3000, DOCS) == 3000  # another source


def test_constants_are_corrected_as_well() -> None:
    info = SourceInfo(2, "s", "s", read_only=True, tokens=100, load_s=1.0)
    estimator = Estimator()
    observe(estimator, map(str, range(50)), 400, load_s=0.1, info=info)
    assert tokens_of(estimator, "new", info=info) == pytest.approx(400, rel=0.05)
    assert seconds_of(estimator, "new", info) == pytest.approx(0.1, rel=0.05)


def test_stated_times_are_corrected_where_they_were_remembered() -> None:
    estimator = Estimator()
    for n in range(50):
        estimator.observe(
            FILES, f"{n}.py", estimated_tokens=None, tokens=1, load_s=2.0, estimated_load_s=1.0
        )
    estimate = estimator.estimate(FILES, "new.py", Survey(load_s=3.0), None, None)
    assert estimate.load_s == pytest.approx(6.0, rel=0.05)


def test_one_surprise_does_not_overturn_a_sources_statements() -> None:
    estimator = Estimator()
    observe(estimator, ["a.py"], 4000, stated=1000)
    assert 1000 < tokens_of(estimator, "b.py", stated=1000) < 4000


def test_the_nearest_experience_is_used() -> None:
    estimator = Estimator()
    observe(estimator, ["a.py"], 100)
    assert tokens_of(estimator, "x.py", info=DOCS) == 100  # of everything
    observe(estimator, ["a.md", "b.md", "c.md"], 5000, info=DOCS)
    assert tokens_of(estimator, "x.rst", info=DOCS) == 5000  # of its source
    observe(estimator, ["a.py"], 300, info=DOCS)
    assert tokens_of(estimator, "x.py", info=DOCS) == 300  # of its source and suffix


def test_an_outlier_moves_the_estimate_by_a_bounded_factor() -> None:
    estimator = Estimator()
    observe(estimator, [f"{n}.py" for n in range(20)], 1000, load_s=0.01)
    observe(estimator, ["huge.py"], 10**9, load_s=1e6)
    assert tokens_of(estimator, "new.py") < 1300
    assert seconds_of(estimator, "new.py") < 0.013


def test_a_lasting_change_is_followed() -> None:
    estimator = Estimator()
    observe(estimator, [f"{n}.py" for n in range(500)], 100, load_s=0.01)
    observe(estimator, [f"{n}.py" for n in range(500, 560)], 2000, load_s=1.0)
    assert tokens_of(estimator, "new.py") == pytest.approx(2000, rel=0.05)
    assert seconds_of(estimator, "new.py") == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf])
def test_a_figure_that_no_size_can_have_counts_as_not_stated(bad: float) -> None:
    estimator = Estimator()
    survey = Survey(tokens=bad, load_s=bad)  # type: ignore[arg-type]  # a source may do worse
    estimate = estimator.estimate(FILES, "a.py", survey, None, None)
    assert (estimate.tokens, estimate.load_s) == (DEFAULT_TOKENS, DEFAULT_LOAD_S)
    observe(estimator, ["b.py"], bad, load_s=bad)  # type: ignore[arg-type]
    assert tokens_of(estimator, "a.py") == DEFAULT_TOKENS
    assert seconds_of(estimator, "a.py") == DEFAULT_LOAD_S


def test_what_is_remembered_is_bounded() -> None:
    estimator = Estimator()
    observe(estimator, ["first.py"], 12_345)
    observe(estimator, (f"{n}.s{n}" for n in range(NAMES_KEPT)), 10)
    assert tokens_of(estimator, "first.py") != 12_345
    remembered = estimator.remembered()
    assert remembered["names"] <= 2 * NAMES_KEPT
    assert remembered["groups"] <= 4 * GROUPS_KEPT


@given(
    loads=st.lists(
        st.tuples(
            st.sampled_from(["a.py", "b.py", "c.md", "d"]),
            st.none() | st.integers(0, 10**9),
            st.integers(0, 10**9),
            st.floats(0, 1e6),
        ),
        max_size=30,
    ),
    stated=st.none() | st.integers(0, 10**9),
)
def test_estimates_are_always_finite_and_never_negative(
    loads: list[tuple[str, int | None, int, float]], stated: int | None
) -> None:
    estimator = Estimator()
    for name, estimated, tokens, load_s in loads:
        estimator.observe(FILES, name, estimated_tokens=estimated, tokens=tokens, load_s=load_s)
    for name in ("a.py", "new.py", "new.md", "new"):
        estimate = estimator.estimate(FILES, name, Survey(tokens=stated), None, None)
        assert isinstance(estimate.tokens, int)
        assert estimate.tokens >= 0
        assert 0 <= estimate.load_s < math.inf


@given(st.lists(st.integers(50, 5_000), min_size=1, max_size=40))
def test_an_estimate_lies_within_what_was_seen(sizes: list[int]) -> None:
    estimator = Estimator()
    for number, tokens in enumerate(sizes):
        observe(estimator, [f"{number}.py"], tokens)
    assert min(sizes) <= tokens_of(estimator, "new.py") <= max(sizes)


def test_tokens_are_estimated_from_bytes_by_suffix() -> None:
    assert tokens_of_size(4200, ".md") == 1000
    assert tokens_of_size(3000, ".json") == 1000
    assert tokens_of_size(2000, ".log") == 1000
    assert tokens_of_size(4000, ".unknown") == 1000
    assert (tokens_of_size(0, ".py"), tokens_of_size(1, ".py")) == (0, 1)


def test_a_suffix_is_that_of_the_last_part_in_lower_case() -> None:
    assert suffix_of("src/A.PY") == ".py"
    assert suffix_of("v1.2/README") == ""
    assert suffix_of(".env") == ""
