"""The planning pipeline: merge, prioritise, fit tokens and time, give each item a reason.

Strict priority (decisions D1, D12): candidates are taken in the order of priority, then falling
density, then key, and what is taken is never given back. So nothing that ranks lower can change
what becomes of an item, and a lower class never takes budget from a higher one. As in the
specification's loop, an item that does not fit is passed over, and smaller ones after it may use
what it left. The cost of that order is in the plan: `value` against `value_blind`.

Runtime complexity: O(n log n), of the sorting.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import floor, fsum

from attrs import field

from prefetch_scheduler.policies.bound import fractional_bound, greedy_value
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.plan import (
    LOADED_LANES,
    Candidate,
    Plan,
    PlanItem,
    candidate_faults,
    density,
)
from prefetch_scheduler.policies.prediction import Prediction, Terms
from prefetch_scheduler.policies.priority import PriorityRules, Rating
from prefetch_scheduler.policies.scheduling import SlotSchedule
from prefetch_scheduler.policies.steps import QUICK, Steps, at_once, in_steps
from prefetch_scheduler.policies.values import define
from prefetch_scheduler.policies.vocabulary import Lane, Priority, Reason, Role, SpeculationMode

ITEMISED_LIMIT = 10_000
"""With more candidates than this, those that are not loaded are counted and not listed."""

_ROLE_ORDER = {role: place for place, role in enumerate(Role)}
"""`Role` is declared from the most to the least urgent (decision D7)."""

_ROLES: dict[str, Role] = {role.value: role for role in Role}


@define
class Merged:
    """All predictions of one key as one (decision D9). (Not frozen, as `Worth`.)"""

    key: str
    role: Role
    confidence: float
    tokens: int | None = None
    load_s: float | None = None
    value: float | None = None
    reasons: tuple[str, ...] = ()
    predictor: str = ""
    """Who was surest of it."""


def merged(predictions: Iterable[Prediction]) -> tuple[Merged, ...]:
    """One item for each key, in the order of first mention.

    Highest confidence, most urgent role, every reason; of sizes, times and values that several
    predictions state, the largest, so that the result does not depend on their order.
    """
    return at_once(merging(tuple(predictions)))


def merging(predictions: Sequence[Prediction]) -> Steps[tuple[Merged, ...]]:
    """As `merged`, in steps."""
    firsts: dict[str, Prediction] = {}
    further: dict[str, list[Prediction]] = {}
    for some in in_steps(predictions, QUICK):
        for prediction in some:
            first = firsts.setdefault(prediction.key, prediction)
            if first is not prediction:
                further.setdefault(prediction.key, [first]).append(prediction)
        yield
    result: list[Merged] = []
    for some in in_steps(list(firsts.values()), QUICK):
        result.extend([_merged(further[p.key]) if p.key in further else _alone(p) for p in some])
        yield
    return tuple(result)


def _alone(p: Prediction) -> Merged:
    reasons = (p.reason,) if p.reason else ()
    role = _ROLES.get(p.role) or Role(p.role)
    return Merged(p.key, role, p.confidence, p.tokens, p.load_s, p.value, reasons, p.predictor)


def _merged(same: Sequence[Prediction]) -> Merged:
    return Merged(
        key=same[0].key,
        role=min((Role(p.role) for p in same), key=_ROLE_ORDER.__getitem__),
        confidence=max(p.confidence for p in same),
        tokens=max((p.tokens for p in same if p.tokens is not None), default=None),
        load_s=max((p.load_s for p in same if p.load_s is not None), default=None),
        value=max((p.value for p in same if p.value is not None), default=None),
        reasons=tuple(dict.fromkeys(p.reason for p in same if p.reason)),
        predictor=max((p.confidence, p.predictor) for p in same)[1],
    )


def plan_budget(terms: Terms, config: Config) -> int:
    """Tokens that one plan may spend (decision D11).

    The smallest of what remains of each limit and the plan's own budget; where it names none,
    the configured one times the quality mode.
    """
    own: float | None = terms.token_budget
    if own is None:
        own = config.max_prefetch_tokens * config.execution.mode_multipliers[terms.mode]
    least = min([own, *terms.limits.values()])
    return least if isinstance(least, int) else floor(least + 1e-9)  # 100 * 0.29 is 28.999...


def make_plan(
    session: str,
    candidates: Sequence[Candidate],
    terms: Terms,
    config: Config,
    *,
    charged_tokens: int = 0,
    charged_background: int = 0,
    budget: int | None = None,
    named: bool = False,
) -> Plan:
    """Decide what becomes of each candidate. Their keys must differ: see `merged`.

    Args:
        session: whose plan it is.
        candidates: what was predicted, with estimates and obstacles.
        terms: budgets, urgency, mode and overrides of this plan.
        config: thresholds, limits and multipliers.
        charged_tokens: tokens of the session's loads that are queued or running (decision D10).
        charged_background: those of them that are in the background lane.
        budget: tokens to spend in place of `plan_budget` (follow-ups share an older plan's rest).
        named: what is certain is named by the configuration, and loaded where predictions are only
            observed.

    Raises:
        InvalidPrediction: an estimate is negative, NaN or too large (decision D2); names each.
    """
    return at_once(
        planning(
            session,
            candidates,
            terms,
            config,
            charged_tokens=charged_tokens,
            charged_background=charged_background,
            budget=budget,
            named=named,
        )
    )


def planning(
    session: str,
    candidates: Sequence[Candidate],
    terms: Terms,
    config: Config,
    *,
    charged_tokens: int = 0,
    charged_background: int = 0,
    budget: int | None = None,
    named: bool = False,
) -> Steps[Plan]:
    """As `make_plan`, in steps; sorting is one step, of any length."""
    faults: list[str] = []
    for some in in_steps(candidates, QUICK):
        faults.extend([fault for candidate in some for fault in candidate_faults(candidate)])
        yield
    if faults:
        raise InvalidPrediction(faults)
    granted = plan_budget(terms, config) if budget is None else max(0, budget)
    time_ms = config.time_budget_ms if terms.time_budget_ms is None else terms.time_budget_ms
    itemise = len(candidates) <= ITEMISED_LIMIT
    rejected: Counter[Reason] = Counter()
    rows = yield from _rated(candidates, terms, config, None if itemise else rejected, named=named)
    yield
    in_order = _by_priority(rows)
    left = max(0, granted - charged_tokens)
    background_left = max(0, config.background_tokens - charged_background)
    fitting = _Fitting(config, left, background_left, time_ms / 1000, explain=itemise)
    yield from fitting.fit_all(in_order)
    items = yield from _itemised(in_order, rejected, itemise=itemise)
    started = [item for item in items if item.admitted]
    value = fsum([item.value for item in started])
    # What either order may choose from: all that is not pending and has nothing in the way.
    choice = [row for row in rows if row.open and not row.item.pending]
    blind = greedy_value(_sizes(choice), left)
    return Plan(
        session=session,
        items=items,
        token_budget=granted,
        tokens_planned=sum([item.candidate.tokens for item in started]),
        tokens_charged=charged_tokens,
        value=value,
        # No choice exceeds the bound but by the rounding of its last fraction.
        value_bound=max(fractional_bound(_sizes(choice), left), value, blind),
        value_blind=blind,
        time_budget_s=time_ms / 1000,
        rejected=rejected,
    )


@define(eq=False)
class _Row:
    """A candidate while its fate is worked out."""

    item: Candidate
    priority: Priority
    rating: Rating
    value: float
    density: float
    """Value for each token."""
    open: bool
    """Whether nothing but the budgets is in the way."""
    lane: Lane
    reason: Reason
    detail: str
    start_s: float | None = None
    finish_s: float | None = None


def _rated(
    candidates: Sequence[Candidate],
    terms: Terms,
    config: Config,
    rejected: Counter[Reason] | None,
    *,
    named: bool,
) -> Steps[list[_Row]]:
    """The candidates with priority and value, by falling density, then key.

    With `rejected`, those that something is in the way of are only counted there.
    """
    rate, multipliers = PriorityRules(terms, config).rate, config.priorities.value_multipliers
    planned, least = Reason.PLANNED, config.min_confidence_for_prefetch
    observed = config.speculation.mode == SpeculationMode.OBSERVE
    destinations = _OBSERVED if observed else _BY_PRIORITY
    certain = _BY_PRIORITY if named else destinations
    rows: list[_Row] = []
    for place, c in enumerate(candidates):
        if place % QUICK == QUICK - 1:
            yield
        confidence, value = c.confidence, c.value
        rating = rate(c.role, confidence, key=c.key, recent=c.recent, frequent=c.frequent)
        priority = rating.priority
        worth = c.worth
        if worth is not None:
            net_s = worth.gain_s - worth.cost_s
            worthy = net_s > 0
            value = net_s if worthy else 0.0
        else:
            worthy = confidence >= least
            if value is None:
                value = confidence * multipliers[c.role]
        if c.obstacle is None and worthy:
            lane, reason, detail = (certain if confidence == 1 else destinations)[priority]
        else:
            lane, reason, detail = _hindered(c, least)
        if rejected is not None and reason is not planned:
            rejected[reason] += 1
            continue
        dense, open_ = density(value, c.tokens), reason is planned
        rows.append(_Row(c, priority, rating, value, dense, open_, lane, reason, detail))
    # Two sorts, the second of which keeps the order of the first: no pair is made for each.
    rows.sort(key=lambda row: row.item.key)
    rows.sort(key=lambda row: -row.density)
    return rows


_BY_PRIORITY: dict[Priority, tuple[Lane, Reason, str]] = {
    **dict.fromkeys(Priority, (Lane.IMMEDIATE, Reason.PLANNED, "")),
    Priority.P3: (Lane.BACKGROUND, Reason.PLANNED, ""),
    Priority.P4: (Lane.DEFERRED, Reason.PRIORITY_DEFERRED, "P4 is loaded only when asked for"),
}
"""Lane, reason and detail before budgets are looked at; `PLANNED` where they decide."""

_OBSERVED: dict[Priority, tuple[Lane, Reason, str]] = {
    **dict.fromkeys(
        Priority, (Lane.DEFERRED, Reason.OBSERVED, "speculation.mode is observe: not loaded")
    ),
    Priority.P4: _BY_PRIORITY[Priority.P4],
}


def _hindered(c: Candidate, least: float) -> tuple[Lane, Reason, str]:
    """Lane, reason and detail of what has an obstacle, or a confidence below the least."""
    if c.obstacle is not None:
        return Lane.SKIPPED, c.obstacle, c.detail
    if c.worth is not None:
        return Lane.DEFERRED, Reason.NOT_WORTH_IT, ""
    detail = f"confidence {c.confidence:g} is below {least:g}"
    return Lane.DEFERRED, Reason.BELOW_MIN_CONFIDENCE, detail


def _sizes(rows: Iterable[_Row]) -> Iterator[tuple[float, int]]:
    """Value and tokens of each."""
    return ((row.value, row.item.tokens) for row in rows)


def _by_priority(rows: Iterable[_Row]) -> list[_Row]:
    """Rows that are in the order of density, in the order of decision D1."""
    classes: dict[Priority, list[_Row]] = {priority: [] for priority in Priority}
    for row in rows:
        classes[row.priority].append(row)
    return [row for same in classes.values() for row in same]


@define
class _Fitting:
    """Budgets and slots as they are used up, while items are taken in the order of D1."""

    config: Config
    tokens_left: int
    background_left: int
    time_budget_s: float
    explain: bool
    """Whether what is skipped is told in words, too."""
    slots: SlotSchedule = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.slots = SlotSchedule(self.config)

    def fit_all(self, in_order: Sequence[_Row]) -> Steps[None]:
        for some in in_steps(in_order, QUICK):
            for row in some:
                if row.open:
                    self._fit(row)
            yield
        # Background comes after all that is immediate, items that did not fit the time included.
        for row in in_order:
            if row.lane is Lane.BACKGROUND:
                row.start_s, row.finish_s = self.slots.background(row.item.load_s)

    def _fit(self, row: _Row) -> None:
        c = row.item
        if c.pending:  # under way and charged already: it takes a slot, whatever the budgets
            row.reason, row.detail = Reason.PENDING, "queued or loading already"
            if row.lane is Lane.IMMEDIATE:
                placed = self.slots.immediate(row.priority, c.load_s, None)
                row.start_s, row.finish_s = placed.start_s, placed.finish_s
            return
        if c.tokens > self.tokens_left:
            row.lane, row.reason = Lane.SKIPPED, Reason.TOKEN_BUDGET_EXCEEDED
            if self.explain:
                row.detail = f"{c.tokens} tokens, {self.tokens_left} of the budget are left"
            return
        if row.lane is Lane.IMMEDIATE:
            placed = self.slots.immediate(row.priority, c.load_s, self.time_budget_s)
            if placed.in_time:
                row.start_s, row.finish_s = placed.start_s, placed.finish_s
                self.tokens_left -= c.tokens
                return
            row.lane, row.reason = Lane.BACKGROUND, Reason.OVER_TIME_BUDGET
            row.detail = f"would be there after {placed.finish_s:.3g} s of {self.time_budget_s:g} s"
        if c.tokens > self.background_left:
            row.lane, row.reason = Lane.SKIPPED, Reason.BACKGROUND_TOKENS_EXCEEDED
            if self.explain:
                text = f"{c.tokens} tokens, {self.background_left} for the background are left"
                row.detail = f"{row.detail}; {text}" if row.detail else text
            return
        self.tokens_left -= c.tokens
        self.background_left -= c.tokens


_LANE_ORDER = (Lane.IMMEDIATE, Lane.BACKGROUND, Lane.DEFERRED, Lane.SKIPPED)


def _itemised(
    in_order: Sequence[_Row], rejected: Counter[Reason], *, itemise: bool
) -> Steps[tuple[PlanItem, ...]]:
    """The plan's items in plan order; counts in `rejected` those not loaded, by reason."""
    lanes: dict[Lane, list[PlanItem]] = {lane: [] for lane in _LANE_ORDER}
    for some in in_steps(in_order, QUICK):
        for row in some:
            if row.lane not in LOADED_LANES:
                rejected[row.reason] += 1
                if not itemise:
                    continue
            lanes[row.lane].append(_item(row))
        yield
    return tuple([item for items in lanes.values() for item in items])


def _item(row: _Row) -> PlanItem:
    return PlanItem(
        row.item,
        row.priority,
        row.lane,
        row.value,
        row.start_s,
        row.finish_s,
        row.reason,
        row.detail,
        row.rating,
    )
