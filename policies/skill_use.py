"""How each skill fared in a session: what Skill Analytics is told."""

from collections import OrderedDict

from attrs import evolve, field

from prefetch_scheduler.policies.keys import public_key
from prefetch_scheduler.policies.values import define

MAX_SKILLS = 500
"""Skills followed in one session; the least recently touched are summed under `OTHERS`."""
OTHERS = "*"
SKILL = "skill:"


@define
class SkillUse:
    """Counts of one skill, all its tiers (metadata, body, references) together."""

    skill: str
    prefetched: int = 0
    used: int = 0
    wasted: int = 0
    """Wasted or cancelled."""
    failed: int = 0
    late_hits: int = 0
    misses: int = 0
    """Reads that waited for a demand load, their own or another reader's."""
    tokens_prefetched: int = 0
    tokens_used: int = 0
    tokens_wasted: int = 0
    tokens_demand_loaded: int = 0
    loads: int = 0
    """Loads that came to their end, prefetch and demand."""
    load_s_total: float = 0.0
    load_s_max: float = 0.0

    def loaded(self, load_s: float) -> None:
        self.loads += 1
        self.load_s_total += load_s
        self.load_s_max = max(self.load_s_max, load_s)

    def absorb(self, other: "SkillUse") -> None:
        """Add another skill's counts to this one."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.load_s_max = max(self.load_s_max, other.load_s_max)


_SUMS = tuple(name for name in SkillUse.__annotations__ if name not in ("skill", "load_s_max"))


def skill_of(key: str) -> str | None:
    """The skill's id, without the tier, of a key of kind `skill`; None for other kinds."""
    if not key.startswith(SKILL):
        return None
    return public_key(key)[len(SKILL) :].partition("#")[0]


@define(eq=False)
class SkillBook:
    """The skills of one session, bounded."""

    _skills: OrderedDict[str, SkillUse] = field(init=False, factory=OrderedDict)

    def of(self, key: str) -> SkillUse | None:
        """The figures to add to; None where the key is no skill."""
        skill = skill_of(key)
        if skill is None:
            return None
        use = self._skills.get(skill)
        if use is None:
            use = self._skills[skill] = SkillUse(skill)
            self._bound()
        self._skills.move_to_end(skill)
        return use

    def all(self) -> tuple[SkillUse, ...]:
        """Copies, by skill id."""
        return tuple(evolve(self._skills[skill]) for skill in sorted(self._skills))

    def __len__(self) -> int:
        return len(self._skills)

    def _bound(self) -> None:
        if len(self._skills) <= MAX_SKILLS:
            return
        others = self._skills.pop(OTHERS, None) or SkillUse(OTHERS)
        while len(self._skills) >= MAX_SKILLS:
            others.absorb(self._skills.popitem(last=False)[1])
        self._skills[OTHERS] = others
