"""What was learned as plain data, and back: what an engine keeps over a restart.

Figures of sources and roles alone: no key, no project, no session and nothing of any content, so
that nothing can be read from them that a source would not have had loaded ahead. What projects
read, which goes by keys, is learned anew.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from attrs import field

from prefetch_scheduler.policies.calibration import BINS, Calibration, is_whose
from prefetch_scheduler.policies.estimates import SECONDS_FLOOR, TOKENS_FLOOR, Estimator
from prefetch_scheduler.policies.expectations import Why
from prefetch_scheduler.policies.learning import LEAD_MEMORY, Lead, Learning
from prefetch_scheduler.policies.quantiles import SHARES, Quantiles
from prefetch_scheduler.policies.read_model import PRIOR_WEIGHTS, ReadModel
from prefetch_scheduler.policies.values import define
from prefetch_scheduler.policies.waste_size import FIGURES, WasteSize
from prefetch_scheduler.policies.wasteful import LONGEST_PAUSE

MOST = 1e9
"""No figure in it can be larger."""
MOST_SOURCES = 1_000


def remembered(learning: Learning, estimator: Estimator) -> dict[str, Any]:
    """Everything to keep, as data that JSON can hold; sources by their number, as text."""
    sources: dict[str, dict[str, Any]] = {}

    def of(source: int) -> dict[str, Any]:
        return sources.setdefault(str(source), {})

    for why, models in learning.models.items():
        for source, model in models.items():
            kept = [model.outcomes, *model.weights, *model.squares]
            of(source).setdefault("models", {})[why.name.lower()] = kept
            of(source).setdefault("wasted_sizes", {})[why.name.lower()] = model.waste.plain()
    for (source, role), figures in learning.calibration.plain():
        of(source).setdefault("roles", {})[str(role)] = figures
    for (source, role), figures in learning.wasteful.plain():
        of(source).setdefault("breakers", {})[str(role)] = figures
    for name, table in (("times", estimator.times), ("sizes", estimator.sizes)):
        for source, known in table.items():
            of(source)[name] = known.plain()
    price, lead, spending = learning.price, learning.lead, learning.spending
    whole: dict[str, Any] = {
        "lead": [lead.mean_s, lead.count],
        "price": [price.ended, price.wasted, price.raised],
        "sources": sources,
    }
    if spending is not None:
        whole["spending"] = [spending.spent, spending.threshold, spending.raised]
    return whole


def recall(plain: object, learning: Learning, estimator: Estimator) -> None:
    """Take up what `remembered` gave, in place of what was learned so far; all of it or nothing.

    Args:
        plain: what was kept; sources that are not there any more left out.
        learning, estimator: of an engine that has just begun.

    Raises:
        ValueError: it is not of that form; with where.
    """
    read = _Reading(learning, estimator)
    whole = _mapping(plain, "the document")
    mean_s, count = _numbers(whole.get("lead"), 2, "lead")
    read.lead = Lead(mean_s, min(LEAD_MEMORY, int(count)))
    price = _numbers(whole.get("price"), 3, "price")
    if price[1] > price[0]:
        raise ValueError("price: more is wasted than was prefetched")
    spent = whole.get("spending")
    spending = None if spent is None else _numbers(spent, 3, "spending", low=-MOST)
    if spending is not None and min(spending[:2]) < 0:
        raise ValueError("spending: tokens are negative")
    sources = _mapping(whole.get("sources"), "sources")
    if len(sources) > MOST_SOURCES:
        raise ValueError(f"sources: {len(sources)}; at most {MOST_SOURCES}")
    for name, figures in sources.items():
        if not name.isdecimal():
            raise ValueError(f"sources: {name!r:.40} is no number")
        read.source(int(name), _mapping(figures, f"sources.{name}"))
    learning.lead = read.lead
    learning.price.recall(*price)
    if spending is not None and learning.spending is not None:
        learning.spending.recall(*spending)
    for why, number in read.models:
        learning.models[why][number] = read.models[why, number]
    learning.calibration = read.calibration
    for (source, role), breaker in read.breakers.items():
        learning.wasteful.recall((source, role), breaker)
    estimator.times.update(read.times)
    estimator.sizes.update(read.sizes)


@define
class _Reading:
    """What has been read so far."""

    learning: Learning
    estimator: Estimator
    lead: Lead = field(factory=Lead)
    calibration: Calibration = field(factory=Calibration)
    models: dict[tuple[Why, int], ReadModel] = field(factory=dict)
    breakers: dict[tuple[int, str], Sequence[float]] = field(factory=dict)
    times: dict[int, Quantiles] = field(factory=dict)
    sizes: dict[int, Quantiles] = field(factory=dict)

    def source(self, number: int, figures: Mapping[str, Any]) -> None:
        where, weights = f"sources.{number}", len(PRIOR_WEIGHTS)
        for why, model in _mapping(figures.get("models", {}), f"{where}.models").items():
            place = f"{where}.models.{why}"
            if why.upper() not in Why.__members__:
                raise ValueError(f"{place:.60}: no such reason to expect a read")
            outcomes, *rest = _numbers(model, 1 + 2 * weights, place, low=-MOST)
            squares = rest[weights:]
            if outcomes < 0 or min(squares) <= 0:
                raise ValueError(f"{place}: a count or a sum of squares is not positive")
            known = ReadModel(rest[:weights], squares, int(outcomes))
            self.models[Why[why.upper()], number] = known
        for why, sizes in _mapping(
            figures.get("wasted_sizes", {}), f"{where}.wasted_sizes"
        ).items():
            place = f"{where}.wasted_sizes.{why}"
            if why.upper() not in Why.__members__:
                raise ValueError(f"{place:.60}: no such reason to expect a read")
            known = self.models.setdefault((Why[why.upper()], number), ReadModel())
            known.waste = WasteSize.from_plain(_numbers(sizes, FIGURES, place))
        for role, bins in _mapping(figures.get("roles", {}), f"{where}.roles").items():
            if not is_whose(role):
                raise ValueError(f"{where}.roles: {role!r:.40} is no role")
            place = f"{where}.roles.{role}"
            self.calibration.recall((number, role), _numbers(bins, 3 * BINS, place), place)
        for role, breaker in _mapping(figures.get("breakers", {}), f"{where}.breakers").items():
            if role and not is_whose(role):
                raise ValueError(f"{where}.breakers: {role!r:.40} is no role")
            kept = _numbers(breaker, 3, f"{where}.breakers.{role}")
            if kept[1] > kept[0] or kept[2] > LONGEST_PAUSE:
                raise ValueError(f"{where}.breakers.{role}: {kept} does not fit together")
            self.breakers[number, role] = kept
        for name, floor, table in (
            ("times", SECONDS_FLOOR, self.times),
            ("sizes", TOKENS_FLOOR, self.sizes),
        ):
            if name in figures:
                kept = _numbers(figures[name], 2 + len(SHARES), f"{where}.{name}", low=-MOST)
                table[number] = Quantiles.from_plain(floor, kept)


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{where}: not a mapping")
    return value


def _numbers(value: object, count: int, where: str, low: float = 0.0) -> list[float]:
    """So many finite numbers."""
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"{where}: not a list of {count} numbers")
    for number in value:
        sound = type(number) in (int, float) and isfinite(number) and low <= number <= MOST
        if not sound:
            raise ValueError(f"{where}: {number!r:.40} is no number in {low:g}..{MOST:g}")
    return [float(number) for number in value]
