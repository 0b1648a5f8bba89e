"""How well skills fit a task, by the words of their names and descriptions.

A word counts by how few of the skills have it (inverse document frequency, Sparck Jones 1972); a
skill's score is the share of its own weight, and of the task's known words, that both have.
"""

import re
from collections import Counter
from collections.abc import Mapping
from math import log, sqrt

from attrs import field

from prefetch_scheduler.policies.values import define

_WORD = re.compile(r"[a-z][a-z0-9+#]{2,}")
_COMMON_WORDS = """
the and for with that this from are you your when use used using not all any can will into have has
how its what which who why was were been being more most other some such than then there these they
them their our out over under also only just like make makes
"""
_COMMON = frozenset(_COMMON_WORDS.split())
NAME_WEIGHT = 2.0
"""A word of the name counts for so many of the description."""


def words_of(text: str) -> Counter[str]:
    """The telling words of a text, without endings that say little."""
    return Counter(_stem(w) for w in _WORD.findall(text.lower()) if w not in _COMMON)


def _stem(word: str) -> str:
    for end in ("ing", "ies", "ed", "es", "s", "er"):
        if word.endswith(end) and len(word) - len(end) >= 4:
            return word[: -len(end)]
    return word


@define(eq=False)
class SkillMatcher:
    """The skills that there are."""

    _skills: dict[str, dict[str, float]] = field(init=False, factory=dict)
    _having: Counter[str] = field(init=False, factory=Counter)

    def add(self, key: str, name: str, description: str) -> None:
        """There is a skill."""
        weights: dict[str, float] = {}
        for word in words_of(name.replace("-", " ").replace("/", " ")):
            weights[word] = NAME_WEIGHT
        for word in words_of(description):
            weights.setdefault(word, 1.0)
        self._skills[key] = weights
        self._having.update(weights)

    def scores(self, task: str, most: int = 5) -> Mapping[str, float]:
        """The skills that fit best, each with its score above 0 and up to 1."""
        asked = words_of(task)
        known = {word: self._rarity(word) for word in asked if word in self._having}
        norm = sqrt(sum(weight * weight for weight in known.values()))
        if not norm:
            return {}
        found = {key: self._score(weights, known, norm) for key, weights in self._skills.items()}
        ranked = sorted(
            ((score, key) for key, score in found.items() if score > 0.05),
            key=lambda row: (-row[0], row[1]),
        )
        return {key: score for score, key in ranked[:most]}

    def _score(
        self, weights: Mapping[str, float], known: Mapping[str, float], norm: float
    ) -> float:
        """The cosine of the two."""
        own = {word: weight * self._rarity(word) for word, weight in weights.items()}
        length = sqrt(sum(weight * weight for weight in own.values()))
        shared = sum(own.get(word, 0.0) * rarity for word, rarity in known.items())
        return min(1.0, shared / (length * norm)) if length else 0.0

    def _rarity(self, word: str) -> float:
        return log(1 + (len(self._skills) + 1) / (self._having[word] + 0.5))
