"""The JSON Schema of the configuration, and the files that are made from the code.

`python -m prefetch_scheduler.engine.config_schema REPOSITORY` writes those files anew.
"""

import json
import sys
from pathlib import Path
from typing import Any, assert_never

import attrs

from prefetch_scheduler.engine.config_file import TOP_KEY
from prefetch_scheduler.engine.config_text import comment, default_yaml, manual
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.config_rules import (
    LONGEST_NAME,
    Choice,
    KeyList,
    KeyLists,
    Number,
    Rule,
    Switch,
    Table,
    Text,
)
from prefetch_scheduler.policies.vocabulary import Priority

_KEY = {"type": "string", "pattern": "^[a-z][a-z0-9_-]*:[^\\u0000]+$"}


def json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of a configuration file, with or without its top key.

    It knows every key, type and range; only values that contradict each other pass it.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Prefetch Scheduler configuration",
        "type": ["object", "null"],
        "if": {"type": "object", "required": [TOP_KEY]},
        "then": {
            "properties": {TOP_KEY: {"$ref": "#/$defs/configuration"}},
            "additionalProperties": False,
        },
        "else": {"$ref": "#/$defs/configuration"},
        "$defs": {"configuration": _group(Config, "every key may be left out")},
    }


def _group(cls: type, description: str) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for attribute in attrs.fields(cls):
        if "group" in attribute.metadata:
            properties[attribute.name] = _group(attribute.metadata["group"], comment(attribute))
        else:
            properties[attribute.name] = _key(attribute)
    return {
        "description": description,
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": False,
    }


def _key(attribute: "attrs.Attribute[Any]") -> dict[str, Any]:
    rule: Rule = attribute.metadata["rule"]
    schema = {"description": comment(attribute), **_shape(rule)}
    if isinstance(rule, Number | Switch | Choice | Text):
        schema["default"] = attribute.default
    return schema


def _shape(rule: Rule) -> dict[str, Any]:
    match rule:
        case Number():
            kind = "integer" if rule.whole else "number"
            return {
                "type": [kind, "null"] if rule.null else kind,
                "minimum": rule.low,
                "maximum": rule.largest,
            }
        case Switch():
            return {"type": "boolean"}
        case Choice():
            return {"type": "string", "enum": list(rule.words)}
        case Text():
            return {"type": "string", "pattern": "^[^\\u0000]+$"}
        case Table():
            return {
                "type": ["object", "null"],
                "properties": {
                    word: {**_cell(rule), "default": rule.default[word]} for word in rule.keys
                },
                "additionalProperties": False,
            }
        case KeyList():
            most = {} if rule.most is None else {"maxItems": rule.most}
            return {"type": ["array", "null"], "items": _KEY, **most}
        case KeyLists():
            keys = {"type": "array", "items": _KEY}
            return {
                "type": ["object", "null"],
                "propertyNames": {"maxLength": LONGEST_NAME},
                "additionalProperties": keys,
            }
        case _:
            assert_never(rule)


def _cell(rule: Table) -> dict[str, Any]:
    number = _shape(rule.number)
    if not rule.priorities:
        return number
    words = [name for priority in Priority for name in (priority.name, priority.name.lower())]
    return {"anyOf": [number, {"enum": words}]}


def generated_files() -> dict[str, str]:
    """The text of each file that is made from the code, by its path in the repository."""
    return {
        "engine/data/prefetch-scheduler.schema.json": json.dumps(json_schema(), indent=2) + "\n",
        "engine/data/default.yaml": default_yaml(),
        "docs/configuration.md": manual(),
    }


def write_generated_files(repository: Path) -> None:
    """Writes the generated files below the top folder of the repository.

    Raises:
        OSError: a file cannot be written.
    """
    for name, text in generated_files().items():
        (repository / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write_generated_files(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
