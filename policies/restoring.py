"""Which of the entries that a cold store brings back may still be stored.

They come in a while after the engine has begun to take changes. A change that was told, taken note
of by everybody and forgotten before such an entry comes must still keep it out.
"""

from attrs import field

from prefetch_scheduler.policies.keys import matches, public_key
from prefetch_scheduler.policies.values import define

MAX_PATTERNS = 10_000
"""Changes remembered; past them nothing more is brought back, which costs loads and no more."""


@define(eq=False)
class Restoring:
    """Changes from the engine's start to the moment when all that was kept has come back."""

    over: bool = False
    """Nothing more will come."""
    _keys: set[str] = field(init=False, factory=set)
    _prefixes: list[str] = field(init=False, factory=list)

    def changed(self, pattern: str) -> None:
        """A key, or a prefix ending in `*`, has changed."""
        if self.over:
            return
        if pattern.endswith("*"):
            self._prefixes.append(pattern)
        else:
            self._keys.add(public_key(pattern))
        if len(self._keys) + len(self._prefixes) > MAX_PATTERNS:
            self.end()

    def admits(self, stored: str) -> bool:
        """Whether an entry of this cache key is not known to have changed."""
        if self.over or public_key(stored) in self._keys:
            return False
        return not any(matches(pattern, stored) for pattern in self._prefixes)

    def end(self) -> None:
        """Admit nothing more, remember nothing more."""
        self.over = True
        self._keys.clear()
        self._prefixes.clear()
