"""The JSON Schema, and the files that are made from the code."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefetch_scheduler.engine.config_file import TOP_KEY, load_config
from prefetch_scheduler.engine.config_schema import (
    generated_files,
    json_schema,
    write_generated_files,
)
from prefetch_scheduler.engine.config_text import SCHEMA_LINE, plain
from prefetch_scheduler.engine.yaml_core import read_yaml
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.errors import ConfigError

REPOSITORY = Path(__file__).parents[2]

TYPES: dict[str, Any] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "integer": lambda v: TYPES["number"](v) and float(v).is_integer(),
}


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether a value meets a schema; knows the keywords that ours uses, and no others."""
    checks = {
        "$ref": lambda rule: fits(value, root["$defs"][rule.rpartition("/")[2]], root),
        "type": lambda rule: any(TYPES[t](value) for t in ([rule] if type(rule) is str else rule)),
        "minimum": lambda rule: not TYPES["number"](value) or value >= rule,
        "maximum": lambda rule: not TYPES["number"](value) or value <= rule,
        "enum": lambda rule: value in rule,
        "anyOf": lambda rule: any(fits(value, option, root) for option in rule),
        "pattern": lambda rule: not isinstance(value, str) or bool(re.search(rule, value)),
        "items": lambda rule: (
            not isinstance(value, list) or all(fits(item, rule, root) for item in value)
        ),
        "maxItems": lambda rule: not isinstance(value, list) or len(value) <= rule,
        "required": lambda rule: not isinstance(value, dict) or all(k in value for k in rule),
        "properties": lambda rule: (
            not isinstance(value, dict)
            or all(fits(value[k], rule[k], root) for k in rule if k in value)
        ),
        "propertyNames": lambda rule: (
            not isinstance(value, dict) or all(fits(k, rule, root) for k in value)
        ),
        "maxLength": lambda rule: not isinstance(value, str) or len(value) <= rule,
        "additionalProperties": lambda rule: additional(value, schema, rule, root),
        "if": lambda rule: fits(
            value, schema["then"] if fits(value, rule, root) else schema["else"], root
        ),
    }
    notes = {"$schema", "$defs", "title", "description", "default", "then", "else"}
    return all(checks[word](rule) for word, rule in schema.items() if word not in notes)


def additional(value: Any, schema: dict[str, Any], rule: Any, root: dict[str, Any]) -> bool:
    if not isinstance(value, dict):
        return True
    extra = [v for k, v in value.items() if k not in schema.get("properties", {})]
    return not extra if rule is False else all(fits(v, rule, root) for v in extra)


def accepted(value: Any) -> bool:
    schema = json_schema()
    return fits(value, schema, schema)


def loads(value: Any) -> bool:
    try:
        load_config(value)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("name", sorted(generated_files()))
def test_the_files_made_from_the_code_are_current(name: str) -> None:
    """If not: `python -m prefetch_scheduler.engine.config_schema` in the repository."""
    assert (REPOSITORY / name).read_text(encoding="utf-8") == generated_files()[name]


def test_the_files_can_be_written_anew(tmp_path: Path) -> None:
    (tmp_path / "engine/data").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    write_generated_files(tmp_path)
    for name, text in generated_files().items():
        assert (tmp_path / name).read_bytes() == text.encode()


def test_the_schema_installs_with_the_package() -> None:
    shipped = files("prefetch_scheduler.engine") / "data" / "prefetch-scheduler.schema.json"
    assert json.loads(shipped.read_text(encoding="utf-8")) == json_schema()


def test_the_default_file_gives_the_defaults_and_names_its_schema() -> None:
    shipped = Path(str(files("prefetch_scheduler.engine") / "data" / "default.yaml"))
    assert load_config(shipped) == Config()
    first = shipped.read_text(encoding="utf-8").splitlines()[0]
    assert first + "\n" == SCHEMA_LINE
    assert (shipped.parent / first.rpartition("/")[2]).is_file()


def test_the_default_file_meets_the_schema() -> None:
    document = read_yaml(generated_files()["engine/data/default.yaml"].encode())
    assert accepted(document.data)
    assert isinstance(document.data, dict)
    assert accepted(document.data[TOP_KEY])


def test_the_schema_describes_every_key() -> None:
    properties = json_schema()["$defs"]["configuration"]["properties"]
    assert list(properties) == [attribute.name for attribute in attrs.fields(Config)]
    assert properties["hot_cache_size"] == {
        "description": "entries in hot (items, whole, at least 1)",
        "type": "integer",
        "minimum": 1,
        "maximum": 10**15,
        "default": 20,
    }


def test_the_manual_names_every_key() -> None:
    manual = generated_files()["docs/configuration.md"]
    for attribute in attrs.fields(Config):
        assert f"`{attribute.name}`" in manual
        for part in attrs.fields(attribute.metadata.get("group", Config)):
            assert f"| `{part.name}` |" in manual or "group" in part.metadata


PATHS = [
    (name,) if not isinstance(value, dict) else (name, inner)
    for name, value in plain(Config())[TOP_KEY].items()
    for inner in (value if isinstance(value, dict) else [""])
]
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 30),
    st.sampled_from([0.5, 1.0, 3.0, 5e9, 1e16, "P1", "p4", "P5", "on", "1", "", -1.5, 2**60]),
    st.lists(st.sampled_from(["file:a", "x", "File:a", "file:", "a-b:c d", 3]), max_size=12),
    st.dictionaries(
        st.sampled_from(["main_file", "critical", "economy", "web", "", "x" * 300]),
        st.sampled_from([1, 0.5, "P2", "P7", -1, ["file:a"], ["x"], None]),
        max_size=2,
    ),
)


@settings(max_examples=300)
@given(st.sampled_from(PATHS), values, st.booleans())
def test_the_schema_and_the_reader_agree_on_every_value(
    path: tuple[str, ...], value: Any, top: bool
) -> None:
    data: Any = {path[0]: value} if len(path) == 1 else {path[0]: {path[1]: value}}
    if top:
        data = {TOP_KEY: data}
    try:
        load_config(data)
    except ConfigError as error:
        # What contradicts another value is the one thing that the schema does not know.
        contradicts = all(re.search("must (be below|not exceed)", f) for f in error.faults)
        assert accepted(data) is contradicts
    else:
        assert accepted(data)


@pytest.mark.parametrize(
    "data",
    [
        {"hot_cache_sice": 1},
        {TOP_KEY: {}, "pins": []},
        {"execution": {"x": 1}},
        {"prefill": {"user_login": {"x" * 300: ["file:a"]}}},
        {"execution": []},
        {"priorities": {"base": {"king": 1}}},
        [],
        "text",
    ],
)
def test_the_schema_and_the_reader_refuse_a_wrong_shape(data: Any) -> None:
    assert not accepted(data)
    assert not loads(data)
