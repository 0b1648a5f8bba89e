"""What a source's code may do to its readers, its pools and the figures that are worked out."""

import logging
import threading

import pytest

from prefetch_scheduler.actors.runs import describe
from prefetch_scheduler.engine import CallableSource, FileSource, Prediction, PrefetchEngine
from prefetch_scheduler.engine.sources import SourceRegistry
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import ConfigError, LoadTimeout, ResourceUnavailable
from prefetch_scheduler.policies.prediction import FollowUp
from prefetch_scheduler.policies.source_info import Survey

HUGE = 10**400
ENDS = (SystemExit, GeneratorExit, BaseException)


class Odd:
    """A source with the members it is given."""

    kind = "odd"
    read_only = True

    def __init__(self, **members):
        vars(self).update(members)

    def load(self, name):
        return f"<{name}>"


def raising(error):
    def function(*_):
        raise error

    return function


def in_thread(function):
    """What `function()` returns in a thread that is not the main one, or what it raises."""
    outcome = []

    def run():
        try:
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001 - handed over
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    return outcome[0]


# ---- figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "figure", [HUGE, float("inf"), float("nan"), -1, 10**13, "7", True], ids=range(7)
)
def test_estimates_that_no_size_or_time_can_have_count_as_unknown(figure):
    registry = SourceRegistry([Odd(tokens=lambda _: figure, load_s=lambda _: figure)])
    assert registry.survey(0, "x") == Survey()


@pytest.mark.parametrize("word", ["tokens", "load_s", "load_timeout_s", "max_concurrency"])
def test_a_constant_too_large_for_arithmetic_is_refused_at_registration(word):
    for figure in (HUGE, 10**5000):
        with pytest.raises(ConfigError, match=rf"\.{word}: .* is not"):
            SourceRegistry([Odd(**{word: figure})])


def test_content_of_more_tokens_than_can_be_is_refused():
    for tokens in (HUGE, 10**13):
        with pytest.raises(ValueError, match="tokens"):
            Content("x", tokens=tokens)
    with pytest.raises(ValueError, match="max_age_s"):
        Content("x", max_age_s=float("nan"))
    assert Content("x", max_age_s=float("inf")).max_age_s == float("inf")


def test_an_engine_survives_sources_that_state_huge_figures():
    source = Odd(tokens=lambda _: HUGE, load_s=lambda _: HUGE)
    with PrefetchEngine(sources=[source]) as engine:
        handle = engine.submit([Prediction("odd:x", "main_file", 0.9)])
        assert handle.wait_immediate(5) is True
        assert engine.health().state == "ok"
        assert not any(child.restarts for child in engine.health().actors)


def test_follow_ups_with_faulty_figures_are_left_out(caplog):
    def expand(_):
        yield Prediction("odd:a", "main_file", 0.9, value=1e308)
        yield Prediction("odd:b", "main_file", 0.9, tokens=HUGE)
        yield Prediction("odd:c", "main_file", 0.9, reason=["not", "text"])
        yield FollowUp(Prediction("odd:d", "main_file", 0.9), ["no relation"])
        yield Prediction("odd:e", "main_file", 0.9)

    registry = SourceRegistry([Odd(expand=expand)])
    with caplog.at_level(logging.WARNING):
        found = registry.expand(0, "odd:x", Content("x"))
    assert [follow_up.prediction.key for follow_up in found] == ["odd:e"]
    assert len(caplog.records) == 4


# ---- exceptions that end threads -------------------------------------------------------------


@pytest.mark.parametrize("error", ENDS)
@pytest.mark.parametrize("word", ["tokens", "load_s", "version", "excluded"])
def test_a_survey_survives_whatever_a_source_raises(word, error):
    registry = SourceRegistry([Odd(**{word: raising(error)})])
    survey = registry.survey(0, "x")
    assert survey.excluded if word == "excluded" else survey == Survey()


@pytest.mark.parametrize("error", ENDS)
def test_a_freshness_check_that_raises_anything_means_stale(error):
    content = Content("x", version=1)
    for members in ({"version": raising(error)}, {"verify": raising(error)}):
        assert SourceRegistry([Odd(**members)]).fresh(0, "x", content) is None


@pytest.mark.parametrize("error", ENDS)
def test_what_else_a_source_raises_reaches_nobody(error):
    members = ("whole", "part", "expand", "stamped")
    registry = SourceRegistry([Odd(**{word: raising(error) for word in members})])
    content = Content("x")
    assert registry.whole_key("odd:x") is None
    assert registry.extract("odd:x", content) is None
    assert registry.expand(0, "odd:x", content) == ()
    assert registry.stamped("odd:x", content).value == "x"
    with pytest.raises(ValueError, match="odd:x"):
        SourceRegistry([Odd(normalise=raising(error))]).normalise("odd:x")


def test_only_the_users_own_interrupt_in_the_main_thread_passes():
    registry = SourceRegistry(
        [Odd(version=raising(KeyboardInterrupt), whole=raising(KeyboardInterrupt))]
    )
    content = Content("x", version=1)
    for ask in (lambda: registry.fresh(0, "x", content), lambda: registry.whole_key("odd:x")):
        assert in_thread(ask) is None
        with pytest.raises(KeyboardInterrupt):
            ask()


def test_a_source_that_exits_neither_ends_the_readers_thread_nor_the_prefetch():
    source = Odd(version=raising(SystemExit), tokens=raising(SystemExit))
    with PrefetchEngine(sources=[source]) as engine:
        assert engine.submit([Prediction("odd:x", "main_file", 0.9)]).wait_immediate(5) is True
        read = in_thread(lambda: engine.get("odd:x", timeout=5))
        assert isinstance(read, Content | ResourceUnavailable)
        assert engine.health().state == "ok"


def test_members_that_raise_where_they_are_looked_up_are_unknown():
    class Property(Odd):
        asked = False

        @property
        def tokens(self):
            if self.asked:
                raise SystemExit
            return len

    source = Property()
    registry = SourceRegistry([source])
    source.asked = True
    assert registry.survey(0, "x") == Survey()


def test_a_version_that_cannot_be_compared_harms_no_plan():
    class Prickly:
        def __eq__(self, other):
            raise RuntimeError("no")

        __hash__ = object.__hash__

    with PrefetchEngine(sources=[Odd(version=lambda _: Prickly())]) as engine:
        for _ in range(2):
            handle = engine.submit([Prediction("odd:x", "main_file", 0.9)])
            assert handle.plan(5).items
            handle.wait_immediate(5)
        assert not any(child.restarts for child in engine.health().actors)


# ---- texts -----------------------------------------------------------------------------------


def test_the_text_of_an_error_is_one_line_without_escape_codes():
    assert describe(ValueError("a\n\x1b[31mb")) == r"ValueError: a \x1b[31mb"


def test_an_error_text_that_cannot_be_made_is_done_without():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    assert describe(Mute()) == "Mute"


def test_keys_in_errors_are_quoted():
    gate = threading.Event()
    load = CallableSource("slow", lambda name: gate.wait(10) and name, read_only=True)
    with PrefetchEngine(sources=[load]) as engine:
        with pytest.raises(LoadTimeout) as late:
            engine.get("slow:a\nb", timeout=0.01)
        gate.set()
    assert str(late.value).isprintable()


def test_keys_in_the_errors_of_loads_are_quoted(tmp_path):
    with (
        PrefetchEngine(sources=[FileSource(tmp_path)]) as engine,
        pytest.raises(ResourceUnavailable) as caught,
    ):
        engine.get("file:a\n\x1b[31mb")
    assert str(caught.value).isprintable()
