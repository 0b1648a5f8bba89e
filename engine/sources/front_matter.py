"""YAML front matter as people really write it: what can be read of it is, the rest is named.

Many published skills are not valid YAML, most often for a colon in an unquoted description. So
text that does not parse as a whole is cut into its top-level fields, and each is tried by itself:
as it stands, then with its plain values quoted, then as mere text. One bad field costs only itself.

Every scalar stays the text that was written: `version: 1.10` is "1.10" and `on: no` is not False.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import yaml
from attrs import field

from prefetch_scheduler.policies.values import frozen

MAX_FRONT_MATTER = 64 << 10
"""Characters; what is longer is not parsed."""

_FENCE = re.compile(r"---[ \t]*\r?")
_FIELD = re.compile(r"([A-Za-z_][\w .-]*?)[ \t]*:(?:[ \t]+(.*)|[ \t]*)")
_PLAIN = re.compile(r"([ \t]*(?:-[ \t]+)?[A-Za-z_][\w .-]*?[ \t]*:[ \t]+)(\S.*?)[ \t]*")


@frozen
class FrontMatter:
    """A document cut in two."""

    text: str
    """What stands between the fences, as written; empty where there is none."""
    body: str
    """The rest, without the empty lines it begins with."""
    fields: Mapping[str, Any] = field(factory=dict)
    """Names in lower case with `_` for `-`; values are strings, and lists and dicts of them."""
    faults: tuple[str, ...] = ()
    """What had to be repaired or was lost."""


def parse_front_matter(document: str) -> FrontMatter:
    """Cut a document into front matter and body. Never fails: see `FrontMatter.faults`."""
    text, body, fault = _cut(document)
    if fault is not None:
        return FrontMatter(text, body, faults=(fault,))
    fields, faults = parse_fields(text)
    return FrontMatter(text, body, fields, faults)


def front_matter_of(text: str) -> FrontMatter:
    """Front matter that has already been cut from its document."""
    return FrontMatter(text, "", *parse_fields(text))


def _cut(document: str) -> tuple[str, str, str | None]:
    lines = document.removeprefix("\ufeff").lstrip().split("\n")
    if not _FENCE.fullmatch(lines[0]):
        return "", document, "no front matter: the file does not begin with a line `---`"
    for index, line in enumerate(lines[1:], start=1):
        if _FENCE.fullmatch(line):
            body = "\n".join(lines[index + 1 :])
            text = "\n".join(lines[1:index])
            return text, body.lstrip("\r\n"), None
    return "", document, "no front matter: the line `---` that ends it is missing"


@lru_cache(maxsize=512)  # parsing takes a millisecond, and each estimate of a skill asks for it
def parse_fields(text: str) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The fields of front matter, and what was wrong with it."""
    if not text.strip():
        return MappingProxyType({}), ("it is empty or missing",)
    if len(text) > MAX_FRONT_MATTER:
        return MappingProxyType({}), (
            f"front matter of {len(text)} characters; at most {MAX_FRONT_MATTER} are parsed",
        )
    faults: list[str] = []
    try:
        loaded = _load(text)
    except _NotYaml as error:
        faults.append(f"not valid YAML ({error}); read field by field")
        loaded = _salvage(text, faults)
    if not isinstance(loaded, dict):
        faults.append(f"expected fields `name: value`, got {type(loaded).__name__}")
        loaded = {}
    fields = {
        name.strip().lower().replace("-", "_"): value
        for name, value in loaded.items()
        if isinstance(name, str)
    }
    return MappingProxyType(fields), tuple(faults)


class _NotYaml(Exception):
    """Says in one line what the parser did not like."""


def _load(text: str) -> Any:
    try:
        # BaseLoader makes strings, lists and dicts and nothing else, whatever a tag asks for.
        loader = yaml.BaseLoader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        # The mark counts from 0, and the fence is the file's first line.
        where = f", line {mark.line + 2}, column {mark.column + 1}" if mark is not None else ""
        raise _NotYaml(f"{error.problem or error.context}{where}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise _NotYaml(str(error).partition("\n")[0] or type(error).__name__) from None


def _salvage(text: str, faults: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for lines in _blocks(text.expandtabs(2).replace("\r", "")):
        found = _FIELD.fullmatch(lines[0])
        if found is None:
            faults.append(f"not a field, left out: {lines[0][:60]!r}")
            continue
        for attempt in (lines, [_quoted(line) for line in lines]):
            try:
                loaded = _load("\n".join(attempt))
            except _NotYaml:
                continue
            if isinstance(loaded, dict) and len(loaded) == 1:
                fields.update(loaded)
                break
        else:
            fields[found[1]] = _mere_text(found[2] or "", lines[1:])
    return fields


def _mere_text(first: str, others: list[str]) -> str | list[str]:
    items = [line.strip() for line in others]
    if not first and items and all(item.startswith("- ") for item in items):
        return [item[2:].strip() for item in items]
    return " ".join(" ".join([first, *items]).split())


def _blocks(text: str) -> Iterator[list[str]]:
    """The lines of each top-level field, with what is indented or a list item below it."""
    block: list[str] = []
    for line in text.split("\n"):
        if not line.strip() or line.startswith("#"):
            continue
        if block and (line[0].isspace() or line.startswith("- ") or not _FIELD.fullmatch(line)):
            block.append(line)
            continue
        if block:
            yield block
        block = [line]
    if block:
        yield block


def _quoted(line: str) -> str:
    """`name: value` with the value in quotes, unless it is a block, or quoted properly already."""
    found = _PLAIN.fullmatch(line)
    if found is None or re.fullmatch(r"[|>][-+0-9]*", found[2]):
        return line
    value = found[2]
    if value[0] in "\"'[{":
        try:
            _load(value)
        except _NotYaml:
            pass
        else:
            return line
    doubled = value.replace("'", "''")
    return f"{found[1]}'{doubled}'"
