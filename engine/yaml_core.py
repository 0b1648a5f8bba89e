"""Reads one YAML document as plain data, with the place of every value and key.

Plain scalars follow the core schema of YAML 1.2 (section 10.3.2), so `on`, `no` and `1:30` are
strings and `1e3` is a number; a whole number with a leading zero stays a string, because YAML 1.1
and 1.2 read it differently. Tags and merge keys are refused: nothing is ever constructed from a
name in the text. Aliases work, within a bound on what they expand to.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Protocol

import yaml
from attrs import field

from prefetch_scheduler.policies.values import define, frozen

LONGEST = 1_048_576
"""Largest document, in bytes."""
DEEPEST = 32
"""Deepest nesting of lists and mappings, aliases expanded."""
MOST_VALUES = 100_000
"""Most values in a document, aliases expanded."""

Path = tuple[str, ...]

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})


@frozen(order=True)
class Place:
    """Where something begins in a file; line and column count from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


@define
class Document:
    """What was read, and every fault of the text itself. Paths hold keys and list indexes."""

    data: object = None
    values: dict[Path, Place] = field(factory=dict)
    keys: dict[Path, Place] = field(factory=dict)
    faults: list[tuple[Place, str]] = field(factory=list)

    def below(self, key: str) -> "Document":
        """The part below one key of the topmost mapping, with paths that begin there; no faults."""
        data = self.data[key] if isinstance(self.data, Mapping) else None
        return Document(data, _below(self.values, key), _below(self.keys, key))


def _below(places: Mapping[Path, Place], key: str) -> dict[Path, Place]:
    return {path[1:]: place for path, place in places.items() if path[:1] == (key,)}


@define(eq=False)
class _Node:
    """One value of the text, before aliases are expanded."""

    place: Place
    scalar: object = None
    items: "list[_Node] | None" = None
    entries: "list[tuple[str, Place, _Node]] | None" = None
    done: bool = True


class _Refused(Exception):
    """Ends the reading at a place: what follows makes no sense without it."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(text)
        self.place = place
        self.text = text


def read_yaml(raw: bytes) -> Document:
    """The document; an empty one has the data None. Faults are listed, never raised."""
    document = Document()
    try:
        node = _Composer(_decoded(raw), document).compose()
        if node is not None:
            budget = iter(range(MOST_VALUES))
            document.data = _expanded(document, node, (), budget)
    except _Refused as refused:
        document.faults.append((refused.place, refused.text))
    return document


def core_value(text: str) -> object:
    """A plain scalar by the core schema: None, a bool, an int, a float, or the text itself."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    try:
        if _INT.fullmatch(text):
            return int(text)
        if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
            return int(text, 0)
    except ValueError:  # more digits than Python converts: no number that anything here allows
        return text
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text) or text in _NAN:
        return float(text.replace(".", "", 1))
    return text


def _decoded(raw: bytes) -> str:
    if len(raw) > LONGEST:
        raise _Refused(Place(1, 1), f"the file is larger than the {LONGEST} bytes allowed")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", errors="replace")
        what = f"byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise _Refused(_place_after(before), what) from None


def _place_after(text: str) -> Place:
    return Place(text.count("\n") + 1, len(text) - text.rfind("\n"))


class _Composer:
    """Builds nodes from the parser's events, with a stack of its own instead of recursion."""

    def __init__(self, text: str, document: Document) -> None:
        self._text = text
        self._document = document
        self._anchors: dict[str, _Node] = {}
        self._open: list[_Node] = []
        self._pending: list[tuple[str | None, Place] | None] = []
        """For each open node, the key whose value comes next; a key of None is left out."""
        self._root: _Node | None = None

    def compose(self) -> _Node | None:
        for event in self._events():
            place = _place(event.start_mark)
            if isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
                raise _Refused(place, "a second document begins here; only one is allowed")
            if isinstance(event, yaml.NodeEvent):
                self._node(event, place)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._open.pop().done = True
                self._pending.pop()
        return self._root

    def _events(self) -> Iterator[yaml.Event]:
        last = Place(1, 1)
        try:
            for event in yaml.parse(self._text, Loader=yaml.SafeLoader):
                last = _place(event.end_mark)
                yield event
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            context = f" ({error.context})" if error.context else ""
            raise _Refused(_place(mark), f"not valid YAML: {error.problem}{context}") from None
        except yaml.reader.ReaderError as error:
            char = self._text[error.position : error.position + 1]
            what = f"the character {char!r} may only stand escaped, within double quotes"
            place = _place_after(self._text[: error.position])
            raise _Refused(place, f"not valid YAML: {what}") from None
        except (ValueError, OverflowError) as error:  # PyYAML does not check \UFFFFFFFF itself
            raise _Refused(last, f"not valid YAML after this place: {error}") from None

    def _node(self, event: yaml.NodeEvent, place: Place) -> None:
        if isinstance(event, yaml.AliasEvent):
            node = self._aliased(event.anchor or "", place)
        else:
            node = self._built(event, place)
            if event.anchor is not None:
                self._anchors[event.anchor] = node
        self._attach(node, event, place)
        if isinstance(event, yaml.CollectionStartEvent):
            if len(self._open) >= DEEPEST:
                raise _Refused(place, f"nested deeper than the {DEEPEST} levels allowed")
            self._open.append(node)
            self._pending.append(None)

    def _aliased(self, name: str, place: Place) -> _Node:
        node = self._anchors.get(name)
        if node is None:
            raise _Refused(place, f"the alias *{name} has no anchor &{name} before it")
        if not node.done:
            raise _Refused(place, f"the alias *{name} stands within its own anchor")
        return node

    def _built(self, event: yaml.NodeEvent, place: Place) -> _Node:
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._fault(place, f"the tag {tag!r} is not allowed; write the value without it")
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0] and tag is None
            return _Node(place, scalar=core_value(event.value) if plain else event.value)
        if isinstance(event, yaml.SequenceStartEvent):
            return _Node(place, items=[], done=False)
        return _Node(place, entries=[], done=False)

    def _attach(self, node: _Node, event: yaml.NodeEvent, place: Place) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        if parent.items is not None:
            parent.items.append(node)
        elif self._pending[-1] is None:
            self._pending[-1] = (self._key(event, place), place)
        elif parent.entries is not None:
            key, key_place = self._pending[-1]
            if key is not None:
                parent.entries.append((key, key_place, node))
            self._pending[-1] = None

    def _key(self, event: yaml.NodeEvent, place: Place) -> str | None:
        """The key as written, for no key of ours is a number, a truth value or null.

        None for a merge key, whose value is left out.
        """
        if not isinstance(event, yaml.ScalarEvent):
            raise _Refused(place, "a key must be a word, not an alias, a list or a mapping")
        if event.value == "<<" and event.implicit[0]:
            self._fault(place, "merge keys (<<) are not supported; write the keys out")
            return None
        return event.value

    def _fault(self, place: Place, text: str) -> None:
        self._document.faults.append((place, text))


class _Mark(Protocol):
    line: int
    column: int


def _place(mark: _Mark | None) -> Place:
    return Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)


def _expanded(document: Document, node: _Node, path: Path, budget: Iterator[int]) -> object:
    """Plain data of a node; places and faults of its paths go into the document."""
    if next(budget, None) is None:
        raise _Refused(node.place, f"more than the {MOST_VALUES} values allowed, aliases expanded")
    if len(path) > DEEPEST:
        raise _Refused(node.place, f"nested deeper than the {DEEPEST} levels allowed")
    document.values[path] = node.place
    if node.items is not None:
        return [
            _expanded(document, item, (*path, str(index)), budget)
            for index, item in enumerate(node.items)
        ]
    if node.entries is None:
        return node.scalar
    result: dict[str, object] = {}
    for key, place, value in node.entries:
        here = (*path, key)
        if key in result:
            first = document.keys[here].line
            document.faults.append(
                (place, f"duplicate key {key!r}; it stands first in line {first}")
            )
            continue
        document.keys[here] = place
        result[key] = _expanded(document, value, here, budget)
    return result
