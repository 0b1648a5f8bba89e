"""Everything that the default policy learns while it runs, and how it weighs a load ahead.

It learns from what comes of *every* prediction, loaded or not: so it hears of a predictor that has
become better even while nothing of it is loaded. It is told of reads, changes and ends of sessions
by the planner, which keeps it over restarts.
"""

from attrs import field

from prefetch_scheduler.policies.calibration import GROUPS_KEPT, Calibration, Group
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.expectations import (
    PRIORS,
    Expectation,
    Holders,
    SessionExpectations,
    Unread,
    Why,
)
from prefetch_scheduler.policies.familiar import Familiar
from prefetch_scheduler.policies.learned_figures import LearnedFigures
from prefetch_scheduler.policies.places import Places
from prefetch_scheduler.policies.price import Price, pressed
from prefetch_scheduler.policies.read_model import ReadModel
from prefetch_scheduler.policies.spending import Spending
from prefetch_scheduler.policies.values import define
from prefetch_scheduler.policies.wasteful import HeldBack, Wasteful
from prefetch_scheduler.policies.weighing import WARM_UP, Weighing

FIRST_LEAD_S = 5.0
PLAN_SHARE = 0.3
"""How much the latest plan counts in what a plan spends on average."""
LEAD_MEMORY = 200
"""About so many of the latest reads tell how long after a prediction they come."""


@define(eq=False)
class Lead:
    """Mean seconds from a key's first prediction to its read."""

    mean_s: float = FIRST_LEAD_S
    count: int = 5

    def add(self, seconds: float) -> None:
        self.count = min(self.count + 1, LEAD_MEMORY)
        self.mean_s += (seconds - self.mean_s) / self.count


@define(eq=False)
class Learning:
    """What was learned, by whom it may be asked.

    Args:
        config: the dial and the promise about waste.
    """

    config: Config
    price: Price = field(init=False)
    spending: Spending | None = field(init=False, default=None)
    """None: it is not limited."""
    calibration: Calibration = field(init=False, factory=Calibration)
    familiar: Familiar = field(init=False, factory=Familiar)
    places: Places = field(init=False, factory=Places)
    lead: Lead = field(init=False, factory=Lead)
    models: dict[Why, dict[int, ReadModel]] = field(
        init=False, factory=lambda: {why: {} for why in Why}
    )
    """By why a read is expected, and by source."""
    wasteful: Wasteful = field(init=False, factory=Wasteful)
    _groups: dict[Group, Group] = field(init=False, factory=dict)
    """One object for each group: thousands of loads are remembered with theirs."""
    turned: "list[tuple[Group, HeldBack | None]]" = field(init=False, factory=list)
    """Whose breakers have opened, or closed (None), since the planner looked last."""
    _sessions: dict[str, SessionExpectations] = field(init=False, factory=dict)
    _holders: Holders = field(init=False, factory=Holders)
    _loaded_for: dict[str, SessionExpectations] = field(init=False, factory=dict)
    """Cache key of what was loaded ahead and is unread -> for whom."""
    _horizon_s: float = field(init=False)
    """How long what nobody reads stays in the cache: a read that comes later is no success."""

    def __attrs_post_init__(self) -> None:
        rules = self.config.speculation
        self.price = Price(rules.dial, rules.waste_budget)
        if rules.spend_budget:
            self.spending = Spending(rules.spend_budget)
        self._horizon_s = self.config.cache.warm_ttl_s + self.config.cache.cold_ttl_s

    # ---- predictions -----------------------------------------------------------------------

    def moment(
        self, session: str, now: float, loads_ahead: float = 0.0, left: float | None = None
    ) -> Weighing:
        """Weighs what the session is expected to read; to be used at once.

        Args:
            session: who is expected to read.
            now: engine time in seconds.
            loads_ahead: how many loads of an item's own length go before it.
            left: tokens left of the session's or a period's budget; None: there is none.
        """
        known = self._of(session)
        for stored, expected in known.overdue(now - self._horizon_s):
            self._learn(stored, expected, read=False)
        return Weighing(
            known,
            now,
            loads_ahead,
            self.price.now * (1.0 if left is None else pressed(left, known.a_plan)),
            0.0 if self.spending is None else self.spending.now,
            self.price.least_chance,
            self.lead.mean_s,
            self.familiar.odds(known.project),
            self.places,
            self.calibration,
            self.models,
        )

    def _model(self, why: Why, source: int) -> ReadModel:
        found = self.models[why].get(source)
        if found is None:
            found = self.models[why][source] = ReadModel(list(PRIORS[why]))
        return found

    def planned(self, session: str, tokens: int) -> None:
        """A plan of a session whose budget is limited starts loads of so many tokens."""
        known = self._of(session)
        known.a_plan += (tokens - known.a_plan) * (PLAN_SHARE if known.a_plan else 1.0)

    # ---- what comes of them -----------------------------------------------------------------

    def read(self, session: str, stored: str, now: float) -> None:
        """A session read a key. One that is over is not brought back by a read that comes late."""
        ahead = self._taken(stored)
        if ahead is not None:
            self._settle(ahead, used=True)
        known = self._sessions.get(session)
        if known is None:
            return
        expected = known.note_read(stored)
        if expected is not None:
            if expected.stated:
                self.lead.add(max(0.0, now - expected.since))
            self._learn(stored, expected, read=True)

    def changed(self, pattern: str) -> None:
        """A key, or all that a prefix ending in `*` covers, changed."""
        if pattern.endswith("*"):
            concerned = list(self._sessions.values())
        else:
            concerned = self._holders.of(pattern)
        for known in concerned:
            for stored in known.covered(pattern):
                expected = known.note_change(stored)
                if expected is not None:
                    self._learn(stored, expected, read=False)

    def began(self, session: str, project: str | None) -> None:
        """A session began, or turned to another project."""
        self._of(session).project = project

    def ended(self, session: str) -> None:
        """A session is over: what it was still expected to read, it has not."""
        known = self._sessions.pop(session, None)
        if known is None:
            return
        for stored, expected in known.open.items():
            self._learn(stored, expected, read=False)
        for stored in list(known.unread):
            self.left(stored)
        known.close()
        self.familiar.note(known.project, known.reads)

    def _learn(self, stored: str, expected: Expectation, *, read: bool) -> None:
        self.places.note(stored, true=read)
        for group, stated in zip(expected.groups, expected.stated, strict=True):
            self.calibration.observe(group, stated, read=read)
        if self.wasteful.any_open and expected.groups:
            for who in _whose(expected.groups[-1]):
                if self.wasteful.came(who, true=read):
                    self.turned.append((who, None))
        for why, example in expected.examples:
            self._model(Why(why), expected.source).learn(example, read=read)

    # ---- what it cost -----------------------------------------------------------------------

    def loaded(
        self,
        session: str,
        stored: str,
        group: Group,
        tokens: int,
        *,
        expected: int | None = None,
        why: Why = Why.PREDICTED,
    ) -> None:
        """Something was loaded ahead, and is resident unread.

        Args:
            session: for whom.
            stored: its cache key.
            group: source and role of its prediction; no role: nobody predicted it.
            tokens: its size.
            expected: what its size was expected to be; None: just that.
            why: a read was expected.
        """
        known = self._sessions.get(session)
        if len(self._groups) > GROUPS_KEPT:
            self._groups.clear()
        group = self._groups.setdefault(group, group)
        ahead = tokens, group, tokens if expected is None else expected, int(why)
        self._spend(tokens)
        if known is None:
            self._settle(ahead, used=False)
        else:
            self.left(stored)
            known.unread[stored] = ahead
            self._loaded_for[stored] = known

    def used(self, group: Group, tokens: int) -> None:
        """A reader came for something that was still being loaded ahead."""
        self._spend(tokens)
        self._settle((tokens, group, tokens, Why.PREDICTED.value), used=True)

    def left(self, stored: str) -> None:
        """It left the cache; if it was unread, it has been wasted."""
        ahead = self._taken(stored)
        if ahead is not None:
            self._settle(ahead, used=False)

    def _taken(self, stored: str) -> Unread | None:
        """What was loaded ahead under this key and not read yet, for whichever session."""
        known = self._loaded_for.pop(stored, None)
        return None if known is None else known.unread.pop(stored, None)

    def given_up(self, tokens: int) -> None:
        """A load ahead was cancelled or overtaken: a waste, which says nothing of who predicted."""
        self._spend(tokens)
        self.price.settle(tokens, wasted=True)

    def _spend(self, tokens: int) -> None:
        if self.spending is not None:
            self.spending.spend(tokens)

    def _settle(self, ahead: Unread, *, used: bool) -> None:
        tokens, group, expected, why = ahead
        self.price.settle(tokens, wasted=not used)
        if not used:
            self._model(Why(why), group[0]).waste.add(expected, tokens)
        if not group[1]:
            return  # nobody predicted it: no predictor is to blame, nor to be praised
        for who in _whose(group):
            if self.wasteful.loaded(who, used=used):
                self.turned.append((who, self.wasteful.held(who)))

    def figures(self) -> LearnedFigures:
        """What is reported of it."""
        price, spending = self.price, self.spending
        return LearnedFigures(
            price=price.now,
            spend_promised=None if spending is None else spending.promise,
            spend_lately=None if spending is None else spending.share,
            promised=price.promise,
            wasted=price.share,
            kept=price.kept,
            least_chance=price.least_chance,
            lead_s=self.lead.mean_s,
            reliability=self.calibration.table(),
            held_back=self.wasteful.open(),
        )

    # ---- looking in -------------------------------------------------------------------------

    def held_back(self, group: Group) -> HeldBack | None:
        """The breaker that keeps a load ahead from being planned, if one does."""
        for who in _whose(group):
            if self.wasteful.holds(who):
                return self.wasteful.held(who)
        return None

    @property
    def experienced(self) -> bool:
        """Whether enough is known of some source for its loads to be weighed."""
        return any(model.outcomes >= WARM_UP for model in self.models[Why.PREDICTED].values())

    @property
    def sessions(self) -> int:
        """Sessions of which something is expected."""
        return len(self._sessions)

    def _of(self, session: str) -> SessionExpectations:
        found = self._sessions.get(session)
        if found is None:
            found = self._sessions[session] = SessionExpectations(self._holders)
        return found


def _whose(group: Group) -> tuple[Group, ...]:
    """The breakers that one prediction counts with: its role's and its source's."""
    source, role = group
    return (group, (source, "")) if role else (group,)
