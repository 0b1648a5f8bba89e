"""Priority of an item: its role's base and every modifier that applies (decisions D5 to D7)."""

from attrs import define, field

from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.prediction import Terms
from prefetch_scheduler.policies.vocabulary import Priority, Role

CONFIDENCE = "{confidence}"
"""Stands in a step's words for the item's own confidence."""

_LEVELS = tuple(Priority)

_Case = tuple[Role, bool, bool, bool, bool, bool, Priority | None]
"""Role, confidence high, low, below the least for immediate, recent, frequent, override."""


def priority_of(
    role: Role,
    confidence: float,
    terms: Terms,
    config: Config,
    *,
    key: str,
    recent: bool,
    frequent: bool,
) -> tuple[Priority, tuple[str, ...]]:
    """The priority, and the steps that led to it in words for people.

    All modifiers are summed before the result is clamped to P0..P4; then decision D5 holds back
    what is not certain enough to be loaded at once; then the host's override replaces the result.

    Args:
        role: what the resource is to the task.
        confidence: stated probability that it will be read, 0..1.
        terms: the plan's urgency and overrides.
        config: base priorities and thresholds.
        key: the resource's key, by which an override may name it.
        recent: whether it was read within `priorities.recent_access_s`.
        frequent: whether it was used more than `priorities.frequent_uses` times today.
    """
    rules = PriorityRules(terms, config)
    priority, steps = rules.rate(role, confidence, key=key, recent=recent, frequent=frequent)
    return priority, in_words(steps, confidence)


def in_words(steps: tuple[str, ...], confidence: float) -> tuple[str, ...]:
    """The steps of `PriorityRules.rate` with the item's confidence in its place."""
    if len(steps) == 1:  # the base alone, as most often
        return steps
    figure = f"{confidence:g}"
    return tuple([step.replace(CONFIDENCE, figure) for step in steps])


@define
class PriorityRules:
    """The rules of one plan. An item's case decides; there are few, and each is worked out once."""

    terms: Terms
    config: Config
    _cases: dict[_Case, tuple[Priority, tuple[str, ...]]] = field(init=False, factory=dict)

    def rate(
        self, role: Role, confidence: float, *, key: str, recent: bool, frequent: bool
    ) -> tuple[Priority, tuple[str, ...]]:
        """Priority and steps, in which `CONFIDENCE` stands for the figure; see `in_words`."""
        rules, terms = self.config.priorities, self.terms
        case = (
            role,
            confidence > rules.high_confidence,
            confidence < rules.low_confidence,
            confidence < self.config.min_confidence_for_immediate,
            recent,
            frequent,
            terms.override.get(key, terms.override_all),
        )
        found = self._cases.get(case)
        if found is None:
            found = self._cases[case] = self._rated(case)
        return found

    def _rated(self, case: _Case) -> tuple[Priority, tuple[str, ...]]:
        role, _, _, uncertain, _, _, override = case
        base = int(self.config.priorities.base[role])
        steps = [f"base P{base:d} ({role.value})"]
        total: float = base
        for step, why in self._modifiers(case):
            total += step
            steps.append(f"{why}: {step:+g}")
        level = min(4, max(0, round(total)))
        if level <= Priority.P1 and uncertain and base != Priority.P0:
            least = self.config.min_confidence_for_immediate
            steps.append(f"confidence {CONFIDENCE} < {least:g}: not immediate, P2")
            level = Priority.P2
        if override is not None:
            steps.append(f"priority_override: P{override:d}")
            level = override
        return _LEVELS[level], tuple(steps)

    def _modifiers(self, case: _Case) -> list[tuple[float, str]]:
        """`(steps, why)` of each modifier that applies; negative is more urgent."""
        _, high, low, _, recent, frequent, _ = case
        rules, urgency = self.config.priorities, self.terms.urgency
        modifiers: list[tuple[float, str]] = []
        if rules.urgency[urgency]:
            modifiers.append((rules.urgency[urgency], f"urgency {urgency.value}"))
        if high:
            modifiers.append((-1, f"confidence {CONFIDENCE} > {rules.high_confidence:g}"))
        if low:
            modifiers.append((+1, f"confidence {CONFIDENCE} < {rules.low_confidence:g}"))
        if recent:
            modifiers.append((-1, f"read in the last {rules.recent_access_s:g} s"))
        if frequent:
            modifiers.append((-1, f"used more than {rules.frequent_uses} times today"))
        return modifiers
