"""What an order blind to priority would carry, and what no order can exceed (decision D12).

Both take `(value, tokens)` pairs in the order of falling density (value for each token, infinite
where an item costs nothing), so that one sort serves them and the plan itself.
"""

from collections.abc import Iterable
from math import fsum


def greedy_value(by_density: Iterable[tuple[float, int]], budget: int) -> float:
    """Value that the budget (tokens) holds where each item that still fits is taken in turn."""
    left = budget
    taken: list[float] = []
    for value, tokens in by_density:
        if tokens <= left:
            left -= tokens
            taken.append(value)
    return fsum(taken)


def fractional_bound(by_density: Iterable[tuple[float, int]], budget: int) -> float:
    """Value of the fractional knapsack: no choice of whole items within the budget has more.

    Dantzig, "Discrete-Variable Extremum Problems", Operations Research 5 (1957): take items by
    density while they fit, then the part of the next one that fills the budget.
    """
    left = budget
    taken: list[float] = []
    for value, tokens in by_density:
        if tokens > left:
            taken.append(value * (left / tokens))
            break
        left -= tokens
        taken.append(value)
    return fsum(taken)
