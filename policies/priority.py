"""Priority of an item: its role's base and every modifier that applies (decisions D5 to D7)."""

from attrs import field

from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.prediction import Terms
from prefetch_scheduler.policies.values import define, frozen
from prefetch_scheduler.policies.vocabulary import Priority, Role, Urgency

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
    rating = rules.rate(role, confidence, key=key, recent=recent, frequent=frequent)
    return rating.priority, rating.steps(confidence)


@frozen
class Rating:
    """The priority of one case. Its words are made when somebody asks for them."""

    priority: Priority
    case: _Case
    rules: "CaseRules" = field(eq=False, repr=False)

    def steps(self, confidence: float) -> tuple[str, ...]:
        """The steps that led to the priority of an item with this confidence."""
        return self.rules.steps(self.case, confidence)


@define(eq=False)
class PriorityRules:
    """The rules of one plan. An item's case decides; there are few, and each is worked out once."""

    terms: Terms
    config: Config
    _of_case: "CaseRules" = field(init=False)
    _cases: dict[_Case, Rating] = field(init=False, factory=dict)
    _thresholds: tuple[float, float, float] = field(init=False)

    @_of_case.default
    def _with_urgency(self) -> "CaseRules":
        return CaseRules(self.terms.urgency, self.config)

    @_thresholds.default
    def _from_config(self) -> tuple[float, float, float]:
        rules = self.config.priorities
        least = self.config.min_confidence_for_immediate
        return rules.high_confidence, rules.low_confidence, least

    def rate(
        self, role: Role, confidence: float, *, key: str, recent: bool, frequent: bool
    ) -> Rating:
        high, low, least = self._thresholds
        case = (
            role,
            confidence > high,
            confidence < low,
            confidence < least,
            recent,
            frequent,
            self.terms.override.get(key, self.terms.override_all),
        )
        found = self._cases.get(case)
        if found is None:
            rules = self._of_case
            found = self._cases[case] = Rating(rules.priority(case), case, rules)
        return found


@frozen
class CaseRules:
    """What follows from a case. Ratings hold this and not the rules that hold them: plans are made
    all the time, and a ring of references waits for the garbage collector.
    """

    urgency: Urgency
    config: Config

    def priority(self, case: _Case) -> Priority:
        override = case[-1]
        if override is not None:
            return override
        base, level = self._levels(case)
        return Priority.P2 if self._held_back(case, base, level) else _LEVELS[level]

    def _levels(self, case: _Case) -> tuple[int, int]:
        """The base priority, and the level that the modifiers lead to."""
        base = int(self.config.priorities.base[case[0]])
        total: float = base
        for step, _, _ in self._modifiers(case):
            total += step
        return base, min(4, max(0, round(total)))

    @staticmethod
    def _held_back(case: _Case, base: int, level: int) -> bool:
        """Whether decision D5 applies: it is not certain enough to be loaded at once."""
        uncertain = case[3]
        return uncertain and level <= Priority.P1 and base != Priority.P0

    def steps(self, case: _Case, confidence: float) -> tuple[str, ...]:
        """The steps that lead to the priority of a case, in words for people."""
        role, override = case[0], case[-1]
        base, level = self._levels(case)
        steps = [f"base P{base:d} ({role.value})"]
        for step, why, figure in self._modifiers(case):
            steps.append(f"{why.format(confidence=confidence, figure=figure)}: {step:+g}")
        if self._held_back(case, base, level):
            least = self.config.min_confidence_for_immediate
            steps.append(f"confidence {confidence:g} < {least:g}: not immediate, P2")
        if override is not None:
            steps.append(f"priority_override: P{override:d}")
        return tuple(steps)

    def _modifiers(self, case: _Case) -> list[tuple[float, str, object]]:
        """`(steps, why, figure)` of each modifier that applies; negative is more urgent.

        The words are a template for the figure and the item's own confidence.
        """
        _, high, low, _, recent, frequent, _ = case
        rules, urgency = self.config.priorities, self.urgency
        modifiers: list[tuple[float, str, object]] = []
        if rules.urgency[urgency]:
            modifiers.append((rules.urgency[urgency], "urgency {figure}", urgency.value))
        if high:
            words = "confidence {confidence:g} > {figure:g}"
            modifiers.append((-1, words, rules.high_confidence))
        if low:
            words = "confidence {confidence:g} < {figure:g}"
            modifiers.append((+1, words, rules.low_confidence))
        if recent:
            modifiers.append((-1, "read in the last {figure:g} s", rules.recent_access_s))
        if frequent:
            words = "used more than {figure} times today"
            modifiers.append((-1, words, rules.frequent_uses))
        return modifiers
