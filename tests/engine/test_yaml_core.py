"""YAML text as plain data with places: scalars, structure, and what is refused."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.engine.yaml_core import (
    DEEPEST,
    LONGEST,
    MOST_VALUES,
    Place,
    core_value,
    read_yaml,
)
from prefetch_scheduler.policies.yaml_text import yaml_text


def data_of(text: str) -> object:
    document = read_yaml(text.encode())
    assert document.faults == []
    return document.data


def faults_of(text: str | bytes) -> list[str]:
    raw = text if isinstance(text, bytes) else text.encode()
    return [f"{place}: {what}" for place, what in read_yaml(raw).faults]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("12", 12),
        ("-3", -3),
        ("+4", 4),
        ("0", 0),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", "017"),
        ("-08", "-08"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("12:30:45", "12:30:45"),
        ("1e3", 1000.0),
        ("1e-3", 0.001),
        ("1.5", 1.5),
        (".5", 0.5),
        ("6.", 6.0),
        ("2020-01-01", "2020-01-01"),
        ("0b11", "0b11"),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("=", "="),
        ("<<", "<<"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    result = core_value(text)
    assert result == value
    assert type(result) is type(value)


def test_not_a_number_is_a_number() -> None:
    result = core_value(".nan")
    assert isinstance(result, float)
    assert result != result


def test_quoted_scalars_are_strings() -> None:
    assert data_of("a: 'true'\nb: \"12\"\nc: |\n  1\n") == {"a": "true", "b": "12", "c": "1\n"}


def test_keys_are_the_text_as_written() -> None:
    assert data_of("2024: 1\non: 2\n~: 3\n017: 4\n") == {"2024": 1, "on": 2, "~": 3, "017": 4}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "---\n...\n", "\ufeff"])
def test_a_document_without_content_is_none(text: str) -> None:
    assert data_of(text) is None


def test_every_value_and_key_has_its_place() -> None:
    document = read_yaml(b"a:\n  b: [1, 2]\n  c: {d: 3}\n")
    assert document.values == {
        (): Place(1, 1),
        ("a",): Place(2, 3),
        ("a", "b"): Place(2, 6),
        ("a", "b", "0"): Place(2, 7),
        ("a", "b", "1"): Place(2, 10),
        ("a", "c"): Place(3, 6),
        ("a", "c", "d"): Place(3, 10),
    }
    assert document.keys[("a", "c")] == Place(3, 3)


def test_the_part_below_a_key_has_paths_of_its_own() -> None:
    part = read_yaml(b"a:\n  b: 1\nc: 2\n").below("a")
    assert part.data == {"b": 1}
    assert part.values == {(): Place(2, 3), ("b",): Place(2, 6)}


def test_anchors_and_aliases_work() -> None:
    text = "a: &list [1, {b: 2}]\nc: *list\n"
    assert data_of(text) == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}
    assert data_of("- &x 1\n- &x 2\n- *x\n") == [1, 2, 2]


def test_duplicate_keys_are_all_named_and_the_first_stays() -> None:
    document = read_yaml(b"a: 1\nb: {c: 1, c: 2}\n'a': 3\na: 4\n")
    assert document.data == {"a": 1, "b": {"c": 1}}
    assert sorted(f"{place}: {what}" for place, what in document.faults) == [
        "2:11: duplicate key 'c'; it stands first in line 2",
        "3:1: duplicate key 'a'; it stands first in line 1",
        "4:1: duplicate key 'a'; it stands first in line 1",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: *b\n", "1:4: the alias *b has no anchor &b before it"),
        ("a: &b [*b]\n", "1:8: the alias *b stands within its own anchor"),
        ("a: 1\n---\nb: 2\n", "2:1: a second document begins here; only one is allowed"),
        ("a: {<<: {b: 1}}\n", "1:5: merge keys (<<) are not supported; write the keys out"),
        ("? [a]\n: 1\n", "1:3: a key must be a word, not an alias, a list or a mapping"),
        ("a: &b c\n*b : 1\n", "2:1: a key must be a word, not an alias, a list or a mapping"),
        ("a: [1\nb: 2\n", "2:2: not valid YAML: expected ',' or ']', but got ':' (while"),
        ("a:\n\tb: 1\n", "2:1: not valid YAML: found character '\\t' that cannot start any token"),
        ("a: 1\nb: \x07\n", "2:4: not valid YAML: the character '\\x07' may only stand escaped"),
        ('a: "\\UFFFFFFFF"\n', "1:2: not valid YAML after this place"),
        (b"a: 1\nb: \xff\n", "2:4: byte 0xff is not UTF-8; save the file as UTF-8"),
        ("a: 1".encode("utf-16-le"), "1:2: not valid YAML: the character '\\x00'"),
        ("a: !!str 1\n", "1:4: the tag 'tag:yaml.org,2002:str' is not allowed"),
        ("!!python/object:os.system {}\n", "1:1: the tag 'tag:yaml.org,2002:python/object"),
        ("a: ! 1\n", "1:4: the tag '!' is not allowed; write the value without it"),
    ],
)
def test_what_is_refused_is_named_with_its_place(text: str | bytes, fault: str) -> None:
    (found,) = faults_of(text)
    assert found.startswith(fault)


@pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 5000, "- " * 5000, "a: &x [1]\n"])
def test_deep_nesting_is_refused_before_it_costs_anything(text: str) -> None:
    found = faults_of(text)
    assert all(f"nested deeper than the {DEEPEST} levels allowed" in fault for fault in found)
    assert bool(found) is (len(text) > 100)


def test_nesting_by_aliases_counts_as_nesting() -> None:
    lines = ["a0: &a0 " + "[" * 20 + "]" * 20]
    lines += [f"a{n}: &a{n} {'[' * 20}*a{n - 1}{']' * 20}" for n in range(1, 4)]
    (found,) = faults_of("\n".join(lines))
    assert "nested deeper" in found


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    (found,) = faults_of("\n".join(lines))
    assert f"more than the {MOST_VALUES} values allowed, aliases expanded" in found


def test_a_file_beyond_the_size_limit_is_not_parsed() -> None:
    (found,) = faults_of(b"[" * (LONGEST + 1))
    assert found == f"1:1: the file is larger than the {LONGEST} bytes allowed"


plain_data: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(plain_data)
def test_what_the_package_writes_as_yaml_is_read_back(data: Any) -> None:
    document = read_yaml(yaml_text({"data": data}).encode())
    assert document.faults == []
    assert document.data == {"data": data}


@given(st.text(max_size=40) | st.binary(max_size=40))
def test_any_text_is_read_or_has_faults_and_never_raises(text: str | bytes) -> None:
    raw = text.encode(errors="replace") if isinstance(text, str) else text
    document = read_yaml(raw)
    try:
        expected = list(yaml.safe_load_all(raw.decode("utf-8-sig")))
    except (yaml.YAMLError, ValueError):
        return
    if not document.faults:
        assert (document.data is None) is (not expected or expected[0] is None)
