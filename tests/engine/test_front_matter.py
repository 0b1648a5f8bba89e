"""Front matter as published skills really have it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefetch_scheduler.engine.sources.front_matter import parse_front_matter
from prefetch_scheduler.engine.sources.skill_meta import skill_meta


def fields(text):
    return dict(parse_front_matter(f"---\n{text}\n---\nBody\n").fields)


def test_valid_front_matter_is_cut_from_its_body_without_a_fault():
    document = parse_front_matter("---\nname: a\ndescription: does a\n---\n\n# Body\n\ntext\n")
    assert document.text == "name: a\ndescription: does a"
    assert document.body == "# Body\n\ntext\n"
    assert document.fields == {"name": "a", "description": "does a"}
    assert document.faults == ()


def test_windows_line_ends_a_byte_order_mark_and_trailing_spaces_do_no_harm():
    document = parse_front_matter("\ufeff---  \r\nname: a\r\n---\r\n\r\nBody\r\n")
    assert document.fields == {"name": "a"}
    assert document.body == "Body\r\n"


@pytest.mark.parametrize(
    "line",
    [
        "Use when building video workflows: creating clips, adding captions",
        "Runs: everything: twice",
        "Triggers on: '/pua:mama', '/pua mama'",
        'It\'s "quoted" inside: and has a # hash',
        '"Quoted at first" but not: to the end',
        "[Goal] load: seasonal",
        "@mention at the start: yes",
        "ends with a colon:",
    ],
)
def test_an_unquoted_colon_costs_nothing_but_a_warning(line):
    document = parse_front_matter(f"---\nname: a\ndescription: {line}\nversion: 1.10\n---\nB")
    assert document.fields == {"name": "a", "description": line, "version": "1.10"}
    assert len(document.faults) == 1
    assert "not valid YAML" in document.faults[0]
    assert "line 3" in document.faults[0]


def test_a_colon_in_a_folded_description_keeps_its_words_and_the_fields_around_it():
    text = (
        "name: grill-me\ndescription:\n  Use it for\n"
        '  "review my plan". Pairs with the tech-design skill: grill first,\n  then build.\n'
        "dependencies:\n  - debugging/systematic\n- debugging/verification\n"
        "token_estimate:\n  min: 100\n  typical: 400"
    )
    assert fields(text) == {
        "name": "grill-me",
        "description": 'Use it for "review my plan". Pairs with the tech-design skill: '
        "grill first, then build.",
        "dependencies": ["debugging/systematic", "debugging/verification"],
        "token_estimate": {"min": "100", "typical": "400"},
    }


def test_tabs_and_stray_lines_lose_only_themselves():
    document = parse_front_matter("---\nstray words\nname:\ta\nmetadata:\n\tauthor: b: c\n---\nB")
    assert document.fields == {"name": "a", "metadata": {"author": "b: c"}}
    assert any("stray words" in fault for fault in document.faults)


def test_yaml_1_1_makes_no_booleans_numbers_dates_or_sexagesimals():
    text = "on: no\nversion: 1.10\nsize: 1e3\ntime: 1:30\nwhen: 2026-01-30\nx: 0o17\nnothing: ~"
    assert fields(text) == {
        "on": "no",
        "version": "1.10",
        "size": "1e3",
        "time": "1:30",
        "when": "2026-01-30",
        "x": "0o17",
        "nothing": "~",
    }


@pytest.mark.parametrize(
    "text",
    [
        "name: !!python/object/apply:os.system ['echo hi']",
        "name: !!python/name:os.system ''",
        "name: !custom x",
        "name: !!int words",
        "name: !!timestamp words",
    ],
)
def test_tags_make_no_objects(text):
    assert isinstance(fields(text)["name"], str | list)


@pytest.mark.parametrize(
    "text",
    ["- a\n- b", "just words", "&a [*a]", "? [x]\n: y", "{", "\x00", "a: \x07", "[" * 5000, "*x"],
)
def test_what_is_no_mapping_of_fields_is_named_and_the_body_survives(text):
    document = parse_front_matter(f"---\n{text}\n---\nBody\n")
    assert document.body == "Body\n"
    assert document.faults


def test_without_fences_all_of_it_is_body():
    for text in ("# Just Markdown\n", "", "---\nname: a\nnever closed\n"):
        document = parse_front_matter(text)
        assert document.body == text
        assert document.fields == {}
        assert "no front matter" in document.faults[0]


def test_front_matter_past_the_limit_is_not_parsed():
    document = parse_front_matter("---\nname: " + "x" * 70_000 + "\n---\nBody")
    assert document.body == "Body"
    assert "65536" in document.faults[0]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_no_text_makes_it_fail(text):
    document = parse_front_matter(f"---\n{text}\n---\nBody")
    assert isinstance(document.body, str)
    skill_meta(document)


@pytest.mark.parametrize(
    ("written", "tokens"),
    [
        ("{min: 1, typical: 4000, max: 9}", 4000),
        ("{min: 2500, max: 7000}", 7000),
        ("4000", 4000),
        ("~4,000 tokens", 4000),
        ("4.5k", 4500),
        ("1e3", None),
        ("lots", None),
        ("-5", None),
        ("[1, 2]", None),
        ("", None),
    ],
)
def test_a_token_estimate_is_read_however_it_is_written(written, tokens):
    document = parse_front_matter(
        f"---\nname: a\ndescription: b\ntoken_estimate: {written}\n---\nB"
    )
    assert skill_meta(document).token_estimate == tokens


@pytest.mark.parametrize(
    "written",
    [
        "[a/b, c]",
        "a/b, c",
        "\n  - a/b\n  - c",
        "\n  - skill: a/b\n    version: 2\n  - id: c",
        "\n  required: [a/b]\n  optional:\n    - c",
        "[a/b, c, a/b]",
    ],
)
def test_dependencies_are_read_however_they_are_written(written):
    document = parse_front_matter(f"---\ndependencies: {written}\n---\nB")
    assert skill_meta(document).dependencies == ("a/b", "c")


def test_aliases_that_stand_for_millions_of_words_are_cut_off():
    bomb = "a: &a [x1, x2, x3, x4, x5, x6, x7, x8, x9]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\n"
    for name, below in zip("cdefghij", "bcdefghi", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]\n"
    document = parse_front_matter(f"---\n{bomb}dependencies: *j\n---\nB")
    assert len(skill_meta(document).dependencies) <= 200


def test_missing_fields_are_named():
    meta = skill_meta(parse_front_matter("---\nversion: 2\n---\nB"))
    assert meta.faults == ("no name", "no description")
    assert meta.version == "2"
