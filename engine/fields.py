"""Reading fields of parsed YAML or JSON: every fault is noted with its path, none is final."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import field

from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.figures import MAX_TOKENS, shown, within
from prefetch_scheduler.policies.keys import key_fault
from prefetch_scheduler.policies.values import define


def type_name(value: object) -> str:
    """What a value is, in the words of YAML and JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names: dict[type, str] = {str: "a string", int: "a number", float: "a number"}
    for cls, name in names.items():
        if isinstance(value, cls):
            return name
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, Sequence) else type(value).__name__


def join(where: str, name: str) -> str:
    """The path of a field below another; `where` is empty at the top."""
    return f"{where}.{name}" if where else name


@define
class FieldReader:
    """Takes values out of nested mappings and keeps a list of what was wrong, each with its path.

    A method that finds a fault notes it and returns a harmless value; `check` raises for all.
    """

    faults: list[str] = field(factory=list)

    def check(self) -> None:
        """Raises:
        InvalidPrediction: something was wrong; names every fault.
        """
        if self.faults:
            raise InvalidPrediction(self.faults)

    def fault(self, where: str, text: str) -> None:
        self.faults.append(f"{where}: {text}" if where else text)

    def mapping(self, parent: Mapping[str, Any], name: str, where: str = "") -> Mapping[str, Any]:
        """A section; empty where it is missing, null or not a mapping (a fault)."""
        value = parent.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.fault(join(where, name), f"expected a mapping, got {type_name(value)}")
            return {}
        return value

    def items(
        self, parent: Mapping[str, Any], name: str, where: str = ""
    ) -> Iterator[tuple[str, Any]]:
        """`(path, value)` of each element of a list; none where it is missing or null."""
        value = parent.get(name)
        path = join(where, name)
        if value is None:
            return
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            self.fault(path, f"expected a list, got {type_name(value)}")
            return
        for index, element in enumerate(value):
            yield f"{path}[{index}]", element

    def mappings(
        self, parent: Mapping[str, Any], name: str, where: str = ""
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """`(path, mapping)` of each element of a list of mappings."""
        for path, element in self.items(parent, name, where):
            if isinstance(element, Mapping):
                yield path, element
            else:
                self.fault(path, f"expected a mapping, got {type_name(element)}")

    def text(
        self, parent: Mapping[str, Any], name: str, where: str = "", *, required: bool = False
    ) -> str:
        """A string; empty where it is missing (a fault if required) or not a string (a fault)."""
        value = parent.get(name)
        path = join(where, name)
        if value is None:
            if required:
                self.fault(path, "missing; expected a string that is not empty")
            return ""
        if not isinstance(value, str):
            self.fault(path, f"{value!r} is not a string")
            return ""
        if required and not value.strip():
            self.fault(path, "empty; expected a string that is not empty")
        return value

    def word(
        self, parent: Mapping[str, Any], name: str, words: Sequence[str], where: str = ""
    ) -> str | None:
        """One of a closed list of words, in lower case; None where it is missing or not one."""
        value = parent.get(name)
        if value is None:
            return None
        if isinstance(value, str) and value.strip().lower() in words:
            return value.strip().lower()
        self.fault(join(where, name), f"{value!r} is not one of {', '.join(words)}")
        return None

    def number(
        self,
        parent: Mapping[str, Any],
        name: str,
        where: str = "",
        *,
        high: float | None = None,
        most: float = MAX_TOKENS,
        whole: bool = False,
        required: bool = False,
    ) -> float | None:
        """A number of at least 0; None where it is missing or not one.

        Args:
            high: the end of its range, which messages name.
            most: what bounds it where it has no `high`.
        """
        value = parent.get(name)
        if value is None and not required:
            return None
        path = join(where, name)
        kind = "a whole number" if whole else "a number"
        allowed = f"{kind} of at least 0" if high is None else f"{kind} in 0..{high:g}"
        if value is None:
            self.fault(path, f"missing; expected {allowed}")
            return None
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            self.fault(path, f"{shown(value)} is not {allowed}")
            return None
        if not within(value, most if high is None else high):
            span = f"in 0..{high:g}" if high is not None else f"{allowed}, at most {most:g}"
            self.fault(path, f"{shown(value)} is not {span}")
            return None
        return value

    def key(self, parent: Mapping[str, Any], name: str, where: str = "") -> str:
        """A well-formed resource key; empty where it is missing or malformed (a fault)."""
        value = parent.get(name)
        if value is None:
            self.fault(join(where, name), "missing; expected a key `kind:name`")
            return ""
        fault = key_fault(value)
        if fault is not None:
            self.fault(where, fault)
            return ""
        return str(value)

    def relative_path(self, value: object, where: str) -> str:
        """A POSIX path normalised and inside its root; empty where it is not (a fault)."""
        if not isinstance(value, str) or not value.strip():
            self.fault(where, f"{value!r} is not a path")
            return ""
        path = posixpath.normpath(value)
        if path.startswith(("/", "../")) or path == "..":
            self.fault(where, f"{value!r} leaves the workspace; expected a path relative to it")
            return ""
        if path == "." or "\x00" in path:
            self.fault(where, f"{value!r} is not the path of a file below the workspace")
            return ""
        return path
