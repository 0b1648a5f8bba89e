"""The registry: what is refused at registration, how loads are called, what readers ask."""

import asyncio
import functools
import logging

import pytest
from attrs import evolve

from prefetch_scheduler.actors.ports import LoadPort
from prefetch_scheduler.engine.sources import (
    CallableSource,
    CancelToken,
    FileSource,
    SkillSource,
    Source,
    SourceRegistry,
)
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import (
    ConfigError,
    InvalidPrediction,
    ResourceUnavailable,
    UnknownKind,
)
from prefetch_scheduler.policies.prediction import FollowUp, Prediction
from prefetch_scheduler.policies.vocabulary import Relation


def source(load=lambda name: name, kind="x", **members):
    return CallableSource(kind, load, **{"read_only": True, **members})


def loaded(registry, name="n", source_id=0, cancel=None, parts=None):
    def on_part(key, content):
        if parts is not None:
            parts.append((key, content.value))

    cancel = cancel or CancelToken()
    if registry.is_async(source_id):
        return asyncio.run(registry.aload(source_id, name, cancel, on_part))
    return registry.load(source_id, name, cancel, on_part)


def loaded_many(registry, names):
    if registry.is_async(0):
        return asyncio.run(registry.aload_many(0, names, CancelToken()))
    return registry.load_many(0, names, CancelToken())


class Bare:
    """Only what a source must have."""

    kind = "bare"
    read_only = True

    def load(self, name):
        return f"<{name}>"


def with_members(**members):
    made = Bare()
    for word, value in members.items():
        setattr(made, word, value)
    return made


# ---- registration ---------------------------------------------------------------------------


def test_the_table_tells_what_the_decisions_need():
    registry = SourceRegistry(
        [
            source(tokens=7, load_s=0.5, remote=True, private=True, max_concurrency=2),
            source(load_many=lambda names: names, tokens=len, load_timeout_s=3),
            Bare(),
        ]
    )
    first, second, bare = registry.table.infos
    assert (first.tokens, first.load_s, first.max_concurrency) == (7, 0.5, 2)
    assert first.remote
    assert first.private
    assert not first.surveys
    assert second.surveys
    assert second.batches
    assert second.tokens is None
    assert second.load_timeout_s == 3
    assert (bare.kind, bare.remote, bare.max_concurrency) == ("bare", False, None)
    assert [info.name for info in registry.table.by_kind["x"]] == ["x", "x#2"]


def test_the_sources_of_this_library_fit_the_protocols(tmp_path):
    sources: list[Source] = [FileSource(tmp_path), SkillSource(tmp_path), source()]
    registry: LoadPort = SourceRegistry(sources)
    assert all(isinstance(each, Source) for each in sources)
    assert not registry.is_async(0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("file", r"sources: expected a list"),
        (Bare(), r"sources: expected a list of sources, got Bare"),
        ([FileSource], r"sources\[0\]: this is the class FileSource; pass an instance"),
        ([Bare(), print], r"sources\[1\]: .* no kind, read_only, load; wrap a function in"),
        ([None], r"sources\[0\]: None is not a source"),
        ([with_members(kind="No")], r"sources\[0\]\.kind: 'No' does not match"),
        ([with_members(kind=None)], r"\.kind: None"),
        ([with_members(read_only="yes")], r"\.read_only: 'yes' is not True or False"),
        ([with_members(remote=1)], r"\.remote: 1"),
        ([with_members(load=None)], r"\.load: None is not a function"),
        ([with_members(load_many=3)], r"\.load_many: 3 is not a function"),
        ([with_members(load=lambda: "")], r"\.load: it takes \(\); expected \(name\)"),
        ([with_members(load=lambda a, b, c: "")], r"\.load: it takes \(a, b, c\)"),
        ([with_members(max_concurrency=0)], r"\.max_concurrency: 0 is not a whole number"),
        ([with_members(max_concurrency=True)], r"\.max_concurrency: True"),
        ([with_members(load_timeout_s=0)], r"\.load_timeout_s: 0 is not a number above 0"),
        ([with_members(load_timeout_s=float("inf"))], r"\.load_timeout_s: inf"),
        ([with_members(tokens=-1)], r"\.tokens: -1 .* a function of the name, or None"),
        ([with_members(tokens=1.5)], r"\.tokens: 1\.5"),
        ([with_members(load_s=float("nan"))], r"\.load_s: nan"),
        ([with_members(version=[])], r"\.version: \[\] cannot be compared"),
        ([with_members(name="")], r"\.name: ''"),
        ([with_members(expand="x")], r"\.expand: 'x' is not a function"),
    ],
)
def test_a_bad_source_is_refused_by_place_and_member(given, message):
    with pytest.raises(ConfigError, match=message):
        SourceRegistry(given)


def test_every_fault_of_every_source_is_named_at_once():
    bad = with_members(kind="", read_only=None, tokens="many")
    with pytest.raises(ConfigError) as caught:
        SourceRegistry([bad, Bare(), None])
    assert len(caught.value.faults) == 4


async def nothing(name):
    return ""


def yields(name):
    yield name


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"load": yields}, "load_parts"),
        ({"load_many": nothing}, "both be async, or both be plain"),
        ({"load": nothing, "load_parts": yields}, "both be async, or both be plain"),
        ({"version": nothing}, "version: it is async"),
        ({"tokens": nothing}, "tokens: it is async"),
        ({"verify": nothing}, "verify: it is async"),
    ],
)
def test_plain_and_async_are_not_mixed_where_that_cannot_work(members, message):
    with pytest.raises(ConfigError, match=message):
        SourceRegistry([with_members(**members)])


def test_a_callable_source_checks_its_arguments_itself():
    with pytest.raises(TypeError, match="read_only"):
        CallableSource("x", print)
    with pytest.raises(ConfigError, match=r"CallableSource\('X'\)\.kind"):
        source(kind="X")
    with pytest.raises(ConfigError, match="is not a function"):
        source(load="nothing to call")


# ---- loading --------------------------------------------------------------------------------


class CallsLate:
    async def __call__(self, name):
        return name.upper()


async def later(name):
    await asyncio.sleep(0)
    return name.upper()


@pytest.mark.parametrize(
    ("load", "is_async"),
    [
        (str.upper, False),
        (lambda name: name.upper().encode(), False),
        (lambda name: Content(name.upper()), False),
        (lambda name, depth=1: later(name), False),
        (later, True),
        (functools.partial(later), True),
        (CallsLate(), True),
    ],
)
def test_plain_and_async_loads_give_content(load, is_async):
    registry = SourceRegistry([source(load)])
    assert registry.is_async(0) is is_async
    content = loaded(registry, "some name")
    assert content.value in ("SOME NAME", b"SOME NAME")
    assert content.tokens == 2


def test_tokens_that_a_source_gives_are_kept_else_estimated_by_the_suffix():
    registry = SourceRegistry([source(lambda name: Content("x" * 300, tokens=5)), source(len)])
    assert loaded(registry).tokens == 5
    registry = SourceRegistry([source(lambda name: "x" * 300)])
    assert loaded(registry, "a.json").tokens == 100
    assert loaded(registry, "a").tokens == 75


@pytest.mark.parametrize("value", [None, 3, {}, ["a"], bytearray(b"x"), yields("x"), object()])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_wrong_type_is_named_with_source_name_and_what_is_allowed(value, is_async):
    async def async_load(name):
        return value

    registry = SourceRegistry([source(async_load if is_async else lambda name: value)])
    with pytest.raises(TypeError, match=r"source 'x' .* load\('n'\) returned .* str, bytes or"):
        loaded(registry)


def test_what_a_source_raises_reaches_the_pool():
    def fail(name):
        raise KeyError(name)

    with pytest.raises(KeyError):
        loaded(SourceRegistry([source(fail)]))


def keyword(name, *, cancel):
    return str(cancel.cancelled)


def keyword_with_default(name, encoding="x", cancel=None):
    return str(cancel.cancelled)


def positional(name, token):
    return str(token.cancelled)


def positional_only(name, cancel, /):
    return str(cancel.cancelled)


@pytest.mark.parametrize("load", [keyword, keyword_with_default, positional, positional_only])
def test_a_load_that_takes_a_cancel_token_gets_it(load):
    cancel = CancelToken()
    cancel.cancel()
    assert loaded(SourceRegistry([source(load)]), cancel=cancel).value == "True"


def test_other_parameters_keep_their_defaults():
    registry = SourceRegistry([source(lambda name, depth=3, **more: f"{depth}{more}")])
    assert loaded(registry).value == "3{}"


def test_a_cancel_ends_a_coroutine_that_a_plain_load_returned():
    cancel = CancelToken()

    async def waits():
        cancel.cancel()
        await asyncio.Event().wait()

    registry = SourceRegistry([source(lambda name: waits())])
    with pytest.raises(ResourceUnavailable, match="cancelled"):
        loaded(registry, cancel=cancel)


# ---- parts ----------------------------------------------------------------------------------


def parted(items, is_async=False):
    made = Bare()
    made.whole = lambda name: name.partition("#")[0] if "#" in name else None

    def plain(name):
        yield from items

    async def parts(name):
        for item in items:
            yield item

    async def load(name):
        return f"<{name}>"

    made.load_parts = parts if is_async else plain
    if is_async:
        made.load = load
    return SourceRegistry([made])


@pytest.mark.parametrize("is_async", [False, True])
def test_parts_are_handed_on_in_order_and_the_whole_is_returned(is_async):
    registry = parted([("n#a", "1"), ("n#b", b"2"), ("n", Content("3"))], is_async)
    parts = []
    assert loaded(registry, "n", parts=parts).value == "3"
    assert parts == [("bare:n#a", "1"), ("bare:n#b", b"2")]
    assert loaded(registry, "n#a", parts=parts).value == "<n#a>"
    assert len(parts) == 2


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([("n#a", "1")], "ended without the whole"),
        ([], "ended without the whole"),
        ([("n", "whole"), ("n#a", "late")], "ended without the whole"),
        (["n"], "expected a pair"),
        ([("n", None)], r"returned None; expected str, bytes or Content"),
    ],
)
def test_parts_that_do_not_fit_are_named(items, message, is_async):
    with pytest.raises(TypeError, match=message):
        loaded(parted(items, is_async))


@pytest.mark.parametrize("returned", ["text", {"n": "x"}, 3, None])
def test_parts_that_are_no_iterator_are_named(returned):
    with pytest.raises(TypeError, match="expected an iterator"):
        loaded(SourceRegistry([with_members(load_parts=lambda name: returned)]))


def test_a_cancelled_load_is_stopped_between_two_parts():
    cancel = CancelToken()
    closed = []

    def parts(name):
        try:
            yield "n#a", "1"
            cancel.cancel()
            yield "n#b", "2"
            yield "n", "never reached"
        finally:
            closed.append(True)

    registry = SourceRegistry([with_members(load_parts=parts)])
    with pytest.raises(ResourceUnavailable, match="cancelled"):
        loaded(registry, cancel=cancel)
    assert closed == [True]


# ---- many at once ---------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
def test_load_many_keeps_each_result_and_each_error(is_async):
    error = OSError("gone")

    def plain(names):
        return [names[0], error, 3, b"x"]

    async def many(names):
        return plain(names)

    registry = SourceRegistry(
        [source(later if is_async else str, load_many=many if is_async else plain)]
    )
    first, failed, wrong, last = loaded_many(registry, ["a", "b", "c", "d"])
    assert first.value == "a"
    assert failed is error
    assert isinstance(wrong, TypeError)
    assert "load_many('c') returned int" in str(wrong)
    assert last.value == b"x"


@pytest.mark.parametrize("returned", [None, {"a": "x"}, ["x"], ["x", "y", "z"], "xy", iter("xy")])
def test_load_many_that_does_not_answer_name_by_name_is_named(returned):
    registry = SourceRegistry([source(load_many=lambda names: returned)])
    with pytest.raises(TypeError, match="one result or exception for each name"):
        loaded_many(registry, ["a", "b"])


# ---- surveys --------------------------------------------------------------------------------


def test_a_survey_tells_what_the_source_knows():
    made = source(tokens=len, load_s=lambda name: 0.5, version=str.upper)
    made.excluded = lambda name: "secret" if "s" in name else None
    registry = SourceRegistry([made])
    survey = registry.survey(0, "abc")
    assert (survey.tokens, survey.load_s, survey.version) == (3, 0.5, "ABC")
    assert survey.excluded is None
    assert registry.survey(0, "s").excluded == "secret"


def test_what_an_estimate_raises_is_logged_once_and_counts_as_unknown(caplog):
    def fail(name):
        raise ZeroDivisionError

    made = source(tokens=fail, load_s=lambda name: -1.0, version=fail)
    made.excluded = fail
    registry = SourceRegistry([made])
    with caplog.at_level(logging.WARNING):
        surveys = [registry.survey(0, "a"), registry.survey(0, "b")]
    for survey in surveys:
        assert (survey.tokens, survey.load_s, survey.version) == (None, None, None)
        assert "failed to say" in survey.excluded
    assert len(caplog.records) == 4


@pytest.mark.parametrize("value", [True, "7", 1.5, float("nan")])
def test_an_estimate_that_is_no_number_of_tokens_is_ignored(value):
    assert SourceRegistry([source(tokens=lambda name: value)]).survey(0, "a").tokens is None


# ---- freshness ------------------------------------------------------------------------------


def test_a_source_without_versions_needs_no_check():
    registry = SourceRegistry([source(), source(version=1), Bare()])
    assert [check is None for check in registry.checks] == [True, False, True]
    content = Content("x")
    assert registry.fresh(0, "n", content) is content
    assert registry.fresh(-1, "n", content) is content


def test_content_is_stale_once_the_version_differs():
    versions = {"n": 1}
    registry = SourceRegistry([source(version=versions.get)])
    content = loaded(registry)
    assert content.version == 1
    assert registry.fresh(0, "n", content) is content
    versions["n"] = 2
    assert registry.fresh(0, "n", content) is None
    assert registry.fresh(0, "n", loaded(registry)) is not None


def test_the_version_is_taken_before_the_load_starts():
    versions = {"n": 1}

    def changes_while_it_loads(name):
        versions["n"] += 1
        return "read before the change"

    registry = SourceRegistry([source(changes_while_it_loads, version=versions.get)])
    assert registry.fresh(0, "n", loaded(registry)) is None


def test_a_version_that_the_source_puts_on_content_is_kept():
    registry = SourceRegistry(
        [source(lambda name: Content("x", version="mine"), version=lambda name: "mine")]
    )
    assert registry.fresh(0, "n", loaded(registry)) is not None


def test_a_constant_version_may_be_replaced_by_the_host():
    made = source(version="v1")
    registry = SourceRegistry([made])
    content = loaded(registry)
    assert registry.fresh(0, "n", content) is content
    made.version = "v2"
    assert registry.fresh(0, "n", content) is None


def test_a_version_that_fails_means_stale(caplog):
    broken = [True]

    def version(name):
        if broken:
            raise OSError("away")
        return 1

    registry = SourceRegistry([source(version=version)])
    content = loaded(registry)
    assert registry.fresh(0, "n", content) is None
    broken.clear()
    assert registry.fresh(0, "n", content) is None  # loaded while nobody could say which it was
    assert registry.fresh(0, "n", loaded(registry)) is not None
    assert len(caplog.records) == 1


def test_verify_decides_where_a_source_has_it(caplog):
    answers = []
    made = with_members(verify=lambda name, content: answers.pop(0))
    registry = SourceRegistry([made])
    content = Content("x")
    newer = Content("x", version=2)
    answers += [content, newer, None, True]
    assert registry.fresh(0, "n", content) is content
    assert registry.fresh(0, "n", content) is newer
    assert registry.fresh(0, "n", content) is None
    assert registry.fresh(0, "n", content) is None
    assert "not Content or None" in caplog.text
    assert registry.fresh(0, "n", content) is None  # it raises now


# ---- keys -----------------------------------------------------------------------------------


def test_a_key_has_one_spelling(tmp_path):
    registry = SourceRegistry([FileSource(tmp_path), source()])
    assert registry.normalise("file:./a/../b") == "file:b"
    assert registry.normalise("file:./a/../b") == "file:b"
    assert registry.normalise("x:./a/../b") == "x:./a/../b"


def test_a_key_of_an_unserved_kind_names_those_served(tmp_path):
    registry = SourceRegistry([FileSource(tmp_path), source()])
    with pytest.raises(UnknownKind, match="'url'; kinds served: file, x"):
        registry.normalise("url:https://example.org")


@pytest.mark.parametrize("key", ["no colon", "file:", "File:x", "file:../x", "file:/etc/passwd", 3])
def test_a_malformed_key_or_one_that_leaves_its_root_is_invalid(tmp_path, key):
    with pytest.raises(InvalidPrediction, match="key"):
        SourceRegistry([FileSource(tmp_path)]).normalise(key)


def test_an_alternative_may_accept_what_the_first_source_refuses(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    registry = SourceRegistry([FileSource(tmp_path / "one"), FileSource(tmp_path / "two")])
    assert registry.normalise(f"file:{tmp_path}/two/a") == "file:a"


# ---- wholes, parts, content handed over -------------------------------------------------------


@pytest.fixture
def skills(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "SKILL.md").write_text("---\nname: s\n---\nBody\n")
    return SourceRegistry([source(), SkillSource(tmp_path)])


def test_the_whole_of_a_part_is_known(skills):
    assert skills.whole_key("skill:s#meta") == "skill:s"
    assert skills.whole_key("skill:s") is None
    assert skills.whole_key("x:s#meta") is None
    assert skills.whole_key("other:s#meta") is None


def test_a_part_is_cut_out_of_the_whole(skills):
    whole = loaded(skills, "s", 1).placed(key="skill:s", source="skill", loaded_at=4.0, layer=None)
    part = skills.extract("skill:s#meta", whole)
    assert (part.value, part.key, part.loaded_at) == ("name: s", "skill:s#meta", 4.0)
    assert part.version == whole.version
    assert skills.fresh(1, "s#meta", part) is not None
    assert skills.extract("skill:s#references/a", whole) is None


def test_content_handed_over_is_checked_by_the_source_that_knows_it(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "two" / "a").write_text("there")
    registry = SourceRegistry([FileSource(tmp_path / "one"), FileSource(tmp_path / "two")])
    source_id, content = registry.adopt("file:a", Content("there"))
    assert source_id == 1
    assert content.tokens == 1
    assert registry.fresh(1, "a", content) is not None
    assert registry.fresh(1, "a", registry.stamped("file:a", Content("not"))) is None


def test_content_handed_over_gets_the_version_of_now():
    registry = SourceRegistry([source(version=lambda name: 7)])
    assert registry.stamped("x:n", Content("v")).version == 7
    assert registry.stamped("x:n", Content("v", version=6)).version == 6
    assert registry.adopt("other:n", Content("v"))[0] == -1


def test_content_handed_over_again_with_an_old_stamp_is_stamped_anew(tmp_path):
    (tmp_path / "a").write_text("there")
    registry = SourceRegistry([FileSource(tmp_path)])
    edited = evolve(loaded(registry, "a"), value="mine")
    assert registry.fresh(0, "a", registry.stamped("file:a", edited)) is None


# ---- follow-ups -----------------------------------------------------------------------------


def test_follow_ups_are_spelt_and_checked_and_faulty_ones_left_out(tmp_path, caplog):
    seen = []

    def expand(content):
        seen.append(content.key)
        return [
            Prediction("file:./b", "related_file", 0.7),
            FollowUp(Prediction("url:x", "documentation", 0.6), Relation.REFERENCE),
            Prediction("file:../c", "related_file", 0.7),
            Prediction("file:d", "related_file", 1.7),
            "file:e",
        ]

    registry = SourceRegistry([source(expand=expand), FileSource(tmp_path)])
    follow_ups = registry.expand(0, "x:n", Content("v"))
    assert [(f.prediction.key, f.relation) for f in follow_ups] == [
        ("file:b", Relation.CONTEXT),
        ("url:x", Relation.REFERENCE),
    ]
    assert seen == ["x:n"]
    assert len(caplog.records) == 3


def test_nothing_follows_where_a_source_has_no_say_or_nothing_to_say():
    registry = SourceRegistry([source(), source(expand=lambda content: None)])
    assert registry.expand(0, "x:n", Content("v")) == ()
    assert registry.expand(1, "x:n", Content("v")) == ()


def test_the_host_expands_content_of_any_source_after_the_source():
    first = Prediction("x:a", "related_file", 0.7)
    second = Prediction("x:b", "related_file", 0.7)
    registry = SourceRegistry(
        [source(expand=lambda content: [first]), source()], expand=lambda content: [second]
    )
    for source_id, expected in ((0, [first, second]), (1, [second])):
        follow_ups = registry.expand(source_id, "x:n", Content("v"))
        assert [f.prediction for f in follow_ups] == expected


def fails_late(content):
    yield Prediction("x:lost", "related_file", 0.7)
    raise OSError


@pytest.mark.parametrize("broken", [fails_late, lambda content: 3, lambda content: 1 / 0])
def test_an_expand_that_fails_is_logged_and_costs_only_what_it_would_have_given(broken, caplog):
    kept = Prediction("x:kept", "related_file", 0.7)
    registry = SourceRegistry([source(expand=broken)], expand=lambda content: [kept])
    for _ in range(2):
        follow_ups = registry.expand(0, "x:n", Content("v"))
        assert [f.prediction for f in follow_ups] == [kept]
    assert len(caplog.records) == 1


def test_an_expand_without_an_end_is_cut_off():
    def endless(content):
        while True:
            yield Prediction("x:a", "related_file", 0.7)

    assert len(SourceRegistry([source(expand=endless)]).expand(0, "x:n", Content("v"))) == 1000


def test_an_expand_of_the_host_that_is_no_plain_function_is_refused():
    for wrong in (3, nothing):
        with pytest.raises(ConfigError, match="expand"):
            SourceRegistry([], expand=wrong)
