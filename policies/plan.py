"""A plan: what is done with each candidate, in which order, and why."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from math import fsum, inf
from typing import Any

from attrs import evolve, field

from prefetch_scheduler.policies.figures import (
    MAX_LOAD_S,
    MAX_TOKENS,
    MAX_VALUE,
    shown,
    within,
)
from prefetch_scheduler.policies.priority import Rating
from prefetch_scheduler.policies.source_info import Survey
from prefetch_scheduler.policies.values import define, frozen
from prefetch_scheduler.policies.vocabulary import Lane, Priority, Reason, Role
from prefetch_scheduler.policies.worth import Worth
from prefetch_scheduler.policies.yaml_text import printable

LOADED_LANES = (Lane.IMMEDIATE, Lane.BACKGROUND)


@define
class Candidate:
    """One predicted resource with all that the planner knows of it. (Not frozen, as `Worth`.)"""

    key: str
    stored: str
    """Cache key: the key, with the user for a private source."""
    role: Role
    confidence: float
    """Stated probability that it will be read, 0..1."""
    reasons: tuple[str, ...]
    """The predictors' reasons, for people."""
    tokens: int
    """Estimated cost."""
    load_s: float
    """Estimated load time in seconds."""
    value: float | None = None
    """Replaces confidence times the role's multiplier."""
    source_id: int | None = None
    obstacle: Reason | None = None
    """Why it cannot or need not be loaded; None: nothing is in the way."""
    detail: str = ""
    """The obstacle in words."""
    recent: bool = False
    frequent: bool = False
    pending: bool = False
    """Queued or loading already; the caller has charged its tokens."""
    survey: Survey | None = None
    """What its source said of it, before any correction; None: it was not asked, or not in time."""
    worth: Worth | None = None
    """How loading it ahead was weighed; None: thresholds decide, since too little is known yet."""
    predictor: str = ""
    """Who was surest of it, where that one has a name."""


def candidate_faults(c: Candidate) -> Iterable[str]:
    """Every figure of a candidate that is negative, NaN, too large or no probability (D2)."""
    value = 0.0 if c.value is None else c.value
    sizes_hold = 0 <= c.tokens <= MAX_TOKENS and 0 <= c.load_s <= MAX_LOAD_S  # as `within` has it
    if sizes_hold and 0 <= value <= MAX_VALUE and 0 <= c.confidence <= 1:
        return ()
    return [
        f"{printable(c.key)}: {name} {shown(figure)} is not in 0..{most:g}"
        for name, figure, most in (
            ("estimated tokens", c.tokens, MAX_TOKENS),
            ("estimated load_s", c.load_s, MAX_LOAD_S),
            ("estimated value", value, MAX_VALUE),
            ("confidence", c.confidence, 1),
        )
        if not within(figure, most)
    ]


@frozen
class PlanItem:
    """What the plan does with one candidate, whose figures it shows as its own."""

    candidate: Candidate
    priority: Priority
    lane: Lane
    value: float
    start_s: float | None
    """Predicted start in seconds from the plan; None where nothing is loaded."""
    finish_s: float | None
    reason: Reason
    detail: str
    rating: Rating
    """How its priority came about; see `steps`."""

    @property
    def key(self) -> str:
        return self.candidate.key

    @property
    def stored(self) -> str:
        return self.candidate.stored

    @property
    def role(self) -> Role:
        return self.candidate.role

    @property
    def confidence(self) -> float:
        return self.candidate.confidence

    @property
    def tokens(self) -> int:
        return self.candidate.tokens

    @property
    def load_s(self) -> float:
        return self.candidate.load_s

    @property
    def reasons(self) -> tuple[str, ...]:
        return self.candidate.reasons

    @property
    def source_id(self) -> int | None:
        return self.candidate.source_id

    @property
    def survey(self) -> Survey | None:
        return self.candidate.survey

    @property
    def steps(self) -> tuple[str, ...]:
        """How its priority came about, in words."""
        return self.rating.steps(self.candidate.confidence)

    @property
    def density(self) -> float:
        """Value for each token; infinite where it costs none (decision D2)."""
        return density(self.value, self.tokens)

    @property
    def rank(self) -> tuple[int, float, str]:
        """Place in the order of decision D1; smaller is sooner."""
        return (int(self.priority), -self.density, self.key)

    @property
    def admitted(self) -> bool:
        """Whether this plan starts its load (a pending one was started before)."""
        return self.lane in LOADED_LANES and self.reason is not Reason.PENDING

    @property
    def explanation(self) -> str:
        """The decision in words: the steps to the priority, what was in the way, how it was
        weighed, the reasons.
        """
        worth = self.candidate.worth
        weighed = worth.words() if worth is not None else ""
        return "; ".join(filter(None, (*self.steps, self.detail, weighed, *self.reasons)))

    def to_dict(self) -> dict[str, Any]:
        """The item of `plan --json`; with `worth` where it was weighed."""
        worth = self.candidate.worth
        return {
            "key": self.key,
            "role": str(self.role),
            "confidence": self.confidence,
            "priority": self.priority.name,
            "lane": str(self.lane),
            "tokens": self.tokens,
            "value": _rounded(self.value),
            "start_ms": _milliseconds(self.start_s),
            "finish_ms": _milliseconds(self.finish_s),
            "reason": str(self.reason),
            "detail": self.explanation,
            **({} if worth is None else {"worth": _plain(worth)}),
        }


@frozen
class Plan:
    """The answer to one submit."""

    session: str
    items: tuple[PlanItem, ...]
    """Immediate, background, deferred, skipped; by decision D1 within each, which in the first
    two is the order of loading. A very large plan leaves out what it does not load."""
    token_budget: int
    tokens_planned: int
    """Tokens of the loads that this plan starts."""
    tokens_charged: int
    """Tokens of the session's earlier loads that are not done yet, charged first (D10)."""
    value: float
    """Value of the loads that this plan starts."""
    value_bound: float
    """No choice within the same tokens has more value than this (decision D12)."""
    value_blind: float
    """Value that an order blind to priority would carry."""
    time_budget_s: float
    rejected: Mapping[Reason, int] = field(factory=dict)
    """How many candidates are not loaded, by reason; also those that `items` leaves out."""

    @classmethod
    def of_nothing(cls, session: str, count: int, reason: Reason) -> "Plan":
        """The answer to a submit that was given up before it was planned: `count` predictions,
        none of them looked at, let alone loaded."""
        rejected = {reason: count} if count else {}
        return cls(session, (), 0, 0, 0, 0.0, 0.0, 0.0, 0.0, rejected)

    def without(self, dropped: Collection[str], reason: Reason) -> "Plan":
        """The plan after loads of these cache keys were given up: skipped, for that reason."""
        gone = [i for i in self.items if i.lane in LOADED_LANES and i.stored in dropped]
        if not gone:
            return self
        skipped = [
            evolve(i, lane=Lane.SKIPPED, reason=reason, detail="", start_s=None, finish_s=None)
            for i in gone
        ]
        stays = [i for i in self.items if i.lane not in LOADED_LANES or i.stored not in dropped]
        first = [i for i in stays if i.lane is not Lane.SKIPPED]
        last = sorted([*(i for i in stays if i.lane is Lane.SKIPPED), *skipped], key=_rank)
        admitted = [i for i in first if i.admitted]
        return evolve(
            self,
            items=(*first, *last),
            tokens_planned=sum(i.tokens for i in admitted),
            value=fsum(i.value for i in admitted),
            rejected=Counter(self.rejected) + Counter({reason: len(gone)}),
        )

    def to_dict(self) -> dict[str, Any]:
        """The document of `plan --json`: times in milliseconds, null where nothing is loaded."""
        return {
            "token_budget": self.token_budget,
            "tokens_planned": self.tokens_planned,
            "tokens_charged": self.tokens_charged,
            "value": _rounded(self.value),
            "value_bound": _rounded(self.value_bound),
            "value_blind": _rounded(self.value_blind),
            "items": [item.to_dict() for item in self.items],
            "rejected": {str(reason): count for reason, count in sorted(self.rejected.items())},
        }


def density(value: float, tokens: int) -> float:
    """Value for each token; infinite where it costs none (decision D2)."""
    return value / tokens if tokens else inf


def _plain(worth: Worth) -> dict[str, float]:
    """Probability of a read, and seconds."""
    return {
        "chance": round(worth.chance, 4),
        "hidden_s": _rounded(worth.hidden_s),
        "gain_s": _rounded(worth.gain_s),
        "cost_s": _rounded(worth.cost_s),
        "price_s_per_1000_tokens": _rounded(worth.price * 1000),
    }


def _rank(item: PlanItem) -> tuple[int, float, str]:
    return item.rank


def _rounded(value: float) -> float:
    return round(value, 6)  # 0.92 * 1.5 is 1.3800000000000001; nobody wants to read that


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
