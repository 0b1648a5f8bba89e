"""Hashes in place of names, for recordings that leave the house."""

import secrets
from collections.abc import Mapping
from hashlib import blake2b

from attrs import evolve, field

from prefetch_scheduler.policies.prediction import Constraints, Prediction
from prefetch_scheduler.policies.values import frozen


def _salt() -> bytes:
    return secrets.token_bytes(16)


@frozen
class Names:
    """Keeps names, or hashes them with a salt of its own that is written nowhere.

    A key keeps its kind and a short suffix such as `.py`, which sizes are estimated by. Hashes of
    two engines, or of two runs of one, do not match.
    """

    hashed: bool
    _key: bytes = field(factory=_salt)

    def word(self, text: str) -> str:
        """A session, project or context."""
        if not self.hashed:
            return text
        data = text.encode("utf-8", "surrogatepass")
        return blake2b(data, key=self._key, digest_size=8).hexdigest()

    def key(self, key: str) -> str:
        """A resource's key."""
        if not self.hashed:
            return key
        kind, _, name = key.partition(":")
        _, dot, suffix = name.rpartition("/")[2].rpartition(".")
        kept = dot and len(suffix) <= 5 and suffix.isalnum() and suffix.isascii()
        return f"{kind}:{self.word(name)}{f'.{suffix}' if kept else ''}"

    def prediction(self, item: Prediction) -> Prediction:
        """A prediction; its reason may tell anything, so it is left out of hashed ones."""
        if not self.hashed:
            return item
        return evolve(item, key=self.key(item.key), reason="")

    def constraints(self, given: Constraints | None) -> Constraints | None:
        if not self.hashed or given is None or not isinstance(given.priority_override, Mapping):
            return given
        override = {self.key(key): value for key, value in given.priority_override.items()}
        return evolve(given, priority_override=override)
