"""How often what was predicted of a key, and of its folder, came true in earlier sessions.

A predictor that goes by names is right again and again of some keys and folders, and wrong of
others. A key of which little is known leans on its folder, and a folder on what is usual: two
levels of a Beta prior, as in `calibration`. Counts fade, so that habits may change.
"""

from collections import OrderedDict
from math import log

from attrs import field

from prefetch_scheduler.policies.values import define

USUAL = 0.2
"""Share of predictions that come true where nothing is known."""
PRIOR = 4.0
"""Outcomes that a prior counts for."""
MEMORY = 60.0
"""Outcomes at which counts are halved."""
KEYS_KEPT = 10_000
FOLDERS_KEPT = 2_000

_USUAL_ODDS = log(USUAL / (1 - USUAL))


@define(eq=False)
class _Folder:
    count: float = 0.0
    true: float = 0.0

    def add(self, true: bool) -> None:
        if self.count >= MEMORY:
            self.count /= 2
            self.true /= 2
        self.count += 1
        self.true += true


@define(eq=False)
class _Key(_Folder):
    folder: _Folder = field(kw_only=True)


def folder_of(stored: str) -> str:
    """The folder that a cache key lies in: its kind alone where its name has none."""
    head, slash, _ = stored.rpartition("/")
    return head if slash else stored.partition(":")[0]


@define(eq=False)
class Places:
    """Keys and folders, the ones that were heard of longest ago forgotten."""

    _keys: "OrderedDict[str, _Key]" = field(init=False, factory=OrderedDict)
    _folders: "OrderedDict[str, _Folder]" = field(init=False, factory=OrderedDict)

    def odds(self, stored: str) -> float:
        """Log odds that a prediction of the key comes true, above what is usual."""
        key = self._keys.get(stored)
        folder = self._folders.get(folder_of(stored)) if key is None else key.folder
        if folder is None:
            return 0.0
        true, count = folder.true + PRIOR * USUAL, folder.count + PRIOR
        if key is not None:
            true, count = key.true + PRIOR * true / count, key.count + PRIOR
        return log(true / (count - true)) - _USUAL_ODDS

    def note(self, stored: str, *, true: bool) -> None:
        """What was expected of the key came true, or came to its end."""
        key = self._keys.get(stored)
        if key is None:
            key = self._keys[stored] = _Key(folder=self._folder(folder_of(stored)))
            if len(self._keys) > KEYS_KEPT:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(stored)
        key.add(true)
        key.folder.add(true)

    def _folder(self, name: str) -> _Folder:
        found = self._folders.get(name)
        if found is None:
            found = self._folders[name] = _Folder()
            if len(self._folders) > FOLDERS_KEPT:
                self._folders.popitem(last=False)
        else:
            self._folders.move_to_end(name)
        return found

    def __len__(self) -> int:
        return len(self._keys) + len(self._folders)
