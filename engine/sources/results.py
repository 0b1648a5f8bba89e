"""Turns what a source's code returned into `Content`, or says clearly what was wrong with it."""

import inspect
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from prefetch_scheduler.engine.sources.freshness import with_version
from prefetch_scheduler.policies import figures
from prefetch_scheduler.policies.content import Content, byte_size
from prefetch_scheduler.policies.tokens import suffix_of, tokens_of_size


class Results:
    """The results of one source.

    Args:
        kind: the kind it serves.
        who: what error messages call it.
    """

    def __init__(self, kind: str, who: str) -> None:
        self._kind = kind
        self._who = who

    def content(self, call: str, name: str, value: Any, version: Hashable) -> Content:
        """`value` as content, with `version` and an estimate of its tokens where it has none.

        Raises:
            TypeError: it is not str, bytes or `Content`.
        """
        if isinstance(value, Content):
            content = value
        elif isinstance(value, str | bytes):
            size = byte_size(value)
            return Content.counted(value, tokens_of_size(size, suffix_of(name)), size, version)
        else:
            raise TypeError(
                f"{self._who}: {call}({name!r}) returned {shown(value)}; expected str, bytes or "
                f"Content{_hint(value)}"
            )
        if content.version is None and version is not None:
            content = with_version(content, version)
        return self.counted(name, content)

    def counted(self, name: str, content: Content) -> Content:
        """The content, with its tokens estimated from its bytes where it does not say."""
        if content.tokens is not None:
            return content
        return content.placed(
            key=content.key or f"{self._kind}:{name}",
            source=content.source,
            loaded_at=content.loaded_at,
            layer=content.layer,
            tokens=tokens_of_size(content.size, suffix_of(name)),
        )

    def contents(
        self, names: Sequence[str], results: Any, versions: Sequence[Hashable]
    ) -> Sequence[Content | BaseException]:
        """What `load_many` returned, name by name; a wrong item becomes the error of its name.

        Raises:
            TypeError: it is no sequence, or one of another length than `names`.
        """
        allowed = "expected a sequence with one result or exception for each name, in order"
        if not isinstance(results, Sequence) or isinstance(results, str | bytes):
            raise TypeError(f"{self._who}: load_many returned {shown(results)}; {allowed}")
        if len(results) != len(names):
            raise TypeError(
                f"{self._who}: load_many returned {len(results)} results for {len(names)} names; "
                f"{allowed}"
            )
        loaded: list[Content | BaseException] = []
        for name, result, version in zip(names, results, versions, strict=True):
            if isinstance(result, BaseException):
                loaded.append(result)
                continue
            try:
                loaded.append(self.content("load_many", name, result, version))
            except TypeError as error:
                loaded.append(error)
        return loaded

    def parts(self, parts: Any, name: str) -> Iterator[Any]:
        """What `load_parts` returned, as an iterator.

        Raises:
            TypeError: it is none.
        """
        wrong = isinstance(parts, str | bytes | Content | Mapping)
        if wrong or not hasattr(parts, "__iter__"):
            raise TypeError(
                f"{self._who}: load_parts({name!r}) returned {shown(parts)}; expected an iterator "
                "of (part name, content) pairs"
            )
        return iter(parts)

    def pair(self, item: Any, name: str, version: Hashable) -> tuple[str, Content]:
        """One item of `load_parts`: the part's key, and its content.

        Raises:
            TypeError: it is not a pair of a name and content.
        """
        if not isinstance(item, tuple) or len(item) != 2 or not isinstance(item[0], str):
            raise TypeError(
                f"{self._who}: load_parts({name!r}) yielded {shown(item)}; expected a pair "
                "(part name, content)"
            )
        part, value = item
        return f"{self._kind}:{part}", self.content("load_parts", part, value, version)

    def whole(self, found: Content | None, name: str) -> Content:
        """The whole that `load_parts` ended with.

        Raises:
            TypeError: it ended without it.
        """
        if found is None:
            raise TypeError(
                f"{self._who}: load_parts({name!r}) ended without the whole; its last item must be "
                f"({name!r}, content)"
            )
        return found


def shown(value: object) -> str:
    """A value's type and the beginning of it, for an error message."""
    if value is None:
        return "None"
    try:
        text = figures.shown(value) if isinstance(value, int) else str(value)
    except Exception:  # noqa: BLE001 - the value is a source's own, its text included
        return type(value).__name__
    return f"{type(value).__name__} {text[:60]!r}"


def _hint(value: object) -> str:
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        return "; a load that yields parts is called load_parts"
    if isinstance(value, bytearray | memoryview):
        return "; wrap it in bytes(...)"
    return ""
