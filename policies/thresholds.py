"""What the specification's thresholds would load of the same predictions: a yardstick of spending.

It is counted beside the policy's own decisions: of what is likely enough by its stated confidence,
urgent enough by its priority and within the budgets of one plan, each key once until it is read,
changes or is given up. The budgets are those that ship, or smaller ones that are configured: with
larger ones the yardstick does not grow.
"""

from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.expectations import Expectation
from prefetch_scheduler.policies.planning import Merged, plan_budget
from prefetch_scheduler.policies.prediction import Terms
from prefetch_scheduler.policies.priority import PriorityRules
from prefetch_scheduler.policies.spending import Spending
from prefetch_scheduler.policies.values import define
from prefetch_scheduler.policies.vocabulary import Priority

_SHIPPED = Config()


@define(eq=False)
class Thresholds:
    """Of one plan."""

    spending: Spending
    rules: PriorityRules
    least: float
    """Confidence below which nothing would be loaded."""
    tokens_left: int
    background_left: int

    @classmethod
    def of(cls, spending: Spending, terms: Terms, config: Config) -> "Thresholds":
        """The yardstick of one plan; what it counts goes to `spending`."""
        return cls(
            spending,
            PriorityRules(terms, config),
            config.min_confidence_for_prefetch,
            min(plan_budget(terms, config), _SHIPPED.max_prefetch_tokens),
            min(config.background_tokens, _SHIPPED.background_tokens),
        )

    def count(
        self, item: Merged, expected: Expectation, tokens: int, *, recent: bool, frequent: bool
    ) -> None:
        """An item was predicted that would have to be loaded.

        Args:
            item: the prediction.
            expected: its key's expectation, with which it is counted once.
            tokens: its size.
            recent: whether it was read lately; as `frequent`, a sign of urgency.
            frequent: whether it is read often.
        """
        if expected.counted or item.confidence < self.least or tokens > self.tokens_left:
            return
        rating = self.rules.rate(
            item.role, item.confidence, key=item.key, recent=recent, frequent=frequent
        )
        if rating.priority >= Priority.P4:
            return
        if rating.priority is Priority.P3:
            if tokens > self.background_left:
                return
            self.background_left -= tokens
        self.tokens_left -= tokens
        expected.counted = True
        self.spending.would_load(tokens)
