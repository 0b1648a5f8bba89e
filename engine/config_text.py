"""Writes a configuration as commented YAML, and the manual page of all its keys."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, assert_never

import attrs

from prefetch_scheduler.engine.config_file import TOP_KEY
from prefetch_scheduler.policies.config import Config, ordered_keys
from prefetch_scheduler.policies.config_rules import (
    Choice,
    KeyList,
    KeyLists,
    Number,
    Rule,
    Switch,
    Table,
    Text,
)
from prefetch_scheduler.policies.yaml_text import yaml_text

SCHEMA_LINE = "# yaml-language-server: $schema=./prefetch-scheduler.schema.json\n"
"""Tells editors where the schema is; right for a file that lies beside it."""

_INDENT = "  "
_Attribute = attrs.Attribute  # its parameter is the type of the value, which differs by key


def to_yaml(config: Config) -> str:
    """The effective configuration, with the help and unit of each key as comments.

    `load_config` reads the text back as an equal `Config`.
    """
    lines = [f"{TOP_KEY}:"]
    for attribute in attrs.fields(Config):
        lines += _lines(attribute, getattr(config, attribute.name), 1)
    return "".join(f"{line}\n" for line in lines)


def default_yaml() -> str:
    """The text of the default configuration file that installs with the package."""
    return SCHEMA_LINE + to_yaml(Config())


def plain(config: Config) -> dict[str, Any]:
    """The effective configuration as plain data, ready for JSON; `load_config` takes it back."""
    return {TOP_KEY: attrs.asdict(config, value_serializer=_serialised)}


def _serialised(_owner: object, _attribute: object, value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def comment(attribute: "_Attribute[Any]") -> str:
    """What a key means, its unit and range, as one line."""
    rule = attribute.metadata.get("rule")
    detail = "" if rule is None else _detail(rule)
    return f"{attribute.metadata['help']}{f' ({detail})' if detail else ''}"


def _lines(attribute: "_Attribute[Any]", value: Any, depth: int) -> Iterator[str]:
    indent = _INDENT * depth
    if "group" in attribute.metadata:
        yield ""
        yield f"{indent}# {comment(attribute)}"
        yield f"{indent}{attribute.name}:"
        for part in attrs.fields(attribute.metadata["group"]):
            yield from _lines(part, getattr(value, part.name), depth + 1)
        return
    yield f"{indent}# {comment(attribute)}"
    for line in yaml_text({attribute.name: value}).rstrip("\n").split("\n"):
        yield f"{indent}{line}"


def _detail(rule: Rule) -> str:
    match rule:
        case Number():
            span = f"at least {rule.low:g}" if rule.high is None else f"{rule.low:g}..{rule.high:g}"
            null = f"; null: {rule.null}" if rule.null else ""
            return f"{rule.unit}, {'whole, ' if rule.whole else ''}{span}{null}"
        case Table():
            words = ", or P0 to P4" if rule.priorities else ""
            return f"{_detail(rule.number)}{words}"
        case KeyList():
            return "keys" if rule.most is None else f"keys, at most {rule.most}"
        case KeyLists():
            return "lists of keys"
        case Switch():
            return "true or false"
        case Choice():
            return f"one of {', '.join(rule.words)}"
        case Text():
            return "a text that is not empty"
        case _:
            assert_never(rule)


def manual() -> str:
    """The manual page of the configuration: every key with its default, unit and meaning."""
    tops = [a for a in attrs.fields(Config) if "group" not in a.metadata]
    groups = [a for a in attrs.fields(Config) if "group" in a.metadata]
    parts = [_INTRODUCTION, "## Top level\n", *_key_table(tops)]
    for attribute in groups:
        help_ = attribute.metadata["help"]
        parts += [f"\n## `{attribute.name}`\n", f"{help_[0].upper()}{help_[1:]}.\n"]
        parts += _key_table(attrs.fields(attribute.metadata["group"]))
        for part in attrs.fields(attribute.metadata["group"]):
            rule = part.metadata["rule"]
            if isinstance(rule, Table):
                parts += ["", f"Defaults of `{part.name}`: {_cells(rule)}."]
    parts += ["\n## Values that must agree\n", *(f"- {sentence}" for sentence in ordered_keys())]
    return "\n".join(parts) + "\n"


def _key_table(fields: "Sequence[_Attribute[Any]]") -> list[str]:
    rows = ["| key | default | allowed | meaning |", "|---|---|---|---|"]
    for attribute in fields:
        metadata = attribute.metadata
        default = _default(attribute, metadata["rule"])
        rows.append(
            f"| `{attribute.name}` | {default} | {_detail(metadata['rule'])} | {metadata['help']} |"
        )
    return rows


def _default(attribute: "_Attribute[Any]", rule: Rule) -> str:
    match rule:
        case Number() | Switch() | Choice() | Text():
            return f"`{json.dumps(attribute.default)}`"
        case Table():
            return "below"
        case KeyList():
            return "`[]`"
        case KeyLists():
            return "`{}`"
        case _:
            assert_never(rule)


def _cells(rule: Table) -> str:
    return ", ".join(f"`{word}` {number:g}" for word, number in rule.default.items())


_INTRODUCTION = f"""# Configuration

<!-- Made from the code by `python -m prefetch_scheduler.engine.config_schema`; edit that. -->

A configuration is a YAML file (`PrefetchEngine("prefetch.yaml")`), a mapping of the same shape, or
a `Config` object. The keys stand under `{TOP_KEY}:`, which may be left out. Every key has a
default, so an empty file is valid, and so is a group with nothing below it. `prefetch-scheduler
config` prints the effective configuration with comments, `prefetch-scheduler config --schema` its
JSON Schema for editors.

```yaml
{TOP_KEY}:
  max_prefetch_tokens: 20000
  execution:
    demand_timeout_s: 10
  priorities:
    base:
      test_file: P3
  pins:
    - "file:docs/MASTER.md"
```

What does not fit is an error that names every fault, one line for each, as `FILE:LINE:COL`. Files
are read by the core schema of YAML 1.2: `on`, `yes` and `1:30` are strings, `1e3` is the number
1000, and a whole number may also be written `1000.0`. Duplicate keys, tags, merge keys (`<<`),
several documents and text that is not UTF-8 are errors. Keys that end in `_ms` or `_s` take a
plain number of milliseconds or seconds, at most about 46 days.
"""
