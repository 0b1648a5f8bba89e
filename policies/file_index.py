"""The files that are known to be there, and which of them a name in a text may mean."""

from collections.abc import Iterable
from posixpath import basename, dirname

from attrs import field

from prefetch_scheduler.policies.values import define

AMBIGUOUS = 4
"""Files that a name may mean at most; one that may mean more says nothing."""


@define(eq=False)
class FileIndex:
    """Paths relative to a root, found again by any end of them."""

    _paths: dict[str, None] = field(init=False, factory=dict)
    _by_name: dict[str, set[str]] = field(init=False, factory=dict)
    _by_folder: dict[str, set[str]] = field(init=False, factory=dict)
    """By the name of the innermost folder."""

    def add(self, paths: Iterable[str]) -> None:
        """These are there."""
        for path in paths:
            self._paths[path] = None
            self._by_name.setdefault(basename(path), set()).add(path)
            self._by_folder.setdefault(basename(dirname(path)), set()).add(path)

    def remove(self, paths: Iterable[str]) -> None:
        """These are not there any more."""
        for path in paths:
            if path in self._paths:
                del self._paths[path]
                self._by_name[basename(path)].discard(path)
                self._by_folder[basename(dirname(path))].discard(path)

    def __contains__(self, path: object) -> bool:
        return path in self._paths

    def __len__(self) -> int:
        return len(self._paths)

    def meant(self, name: str) -> list[str]:
        """The files that a name means: that path, else those that end in it; none if too many.

        `*/a/b.py` is any path that ends so, `*/a/` the files of a folder whose path ends so.
        """
        if name in self._paths:
            return [name]
        end = name.removeprefix("*/")
        if end.endswith("/"):
            folder = end.rstrip("/")
            inside = self._by_folder.get(basename(folder), ())
            found = [p for p in inside if f"/{dirname(p)}".endswith(f"/{folder}")]
        else:
            found = [p for p in self._by_name.get(basename(end), ()) if p.endswith(f"/{end}")]
        return sorted(found) if len(found) <= AMBIGUOUS else []
