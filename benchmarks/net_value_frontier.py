"""Points 1 and 2 of `net_value`: the frontier from thrifty to eager, and the setting that ships.

`spend_budget` says how many tokens may be loaded ahead for each one that the specification's
thresholds would load. Two are searched, by halving the range in which each lies: the largest that
spends no more than these, and the smallest that hides 0.95 of what `everything` hides. For files
that nothing was fitted on they are those of the others. The dial says how dear a wasted token is:
its points are the frontier that is compared with other policies, from nothing on.
"""

from collections.abc import Callable, Container, Iterator, Mapping
from itertools import pairwise
from typing import Any

from attrs import evolve

from benchmarks.figures import Figure, figure
from benchmarks.net_value_runs import Case, figures, ratio, roomy, within
from prefetch_scheduler.policies.config import Config

FITTED = "entire-cli", "skills"
REPORTED = "context-evaluator", "vorflux"
DIALS = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Of the frontier."""
BUDGETS = (1.0, 2.0, 4.0)
"""Among which, and between which, a `spend_budget` is looked for."""
HALVINGS = 5
PLAIN = "specification", "everything", "reachable"
RIVALS = "specification", "everything"
"""Policies that know no more than ours."""
HIDDEN, TOKENS = "hidden_fraction", "tokens_prefetched"
ENOUGH = 0.95
"""Of what `everything` hides."""
SPARE = 0.05
"""Of the thresholds' tokens: what a `spend_budget` leaves that is carried over to other files."""

Runs = Mapping[str, Any]
Points = dict[float, Any]


def halved(case: Case, points: Points, more: Callable[[Any], bool]) -> None:
    """Add points between the largest setting of which `more` is false and the next larger one."""
    for _ in range(HALVINGS):
        low = max((at for at in points if not more(points[at])), default=0.0)
        high = min((at for at in points if at > low and more(points[at])), default=None)
        if high is None:
            return
        middle = round((low + high) / 2, 4)
        points[middle] = figures(case, config=within(middle))


def within_tokens(points: Points, tokens: float) -> float:
    """The setting that hides most within so many tokens."""
    fine = [at for at in points if points[at][TOKENS] <= tokens]
    return max(fine, key=lambda at: float(points[at][HIDDEN]), default=min(points))


def hiding(points: Points, hidden: float) -> float:
    """The setting that costs least of those that hide so much."""
    enough = [at for at in points if points[at][HIDDEN] >= hidden]
    return min(enough, key=lambda at: int(points[at][TOKENS]), default=max(points))


def of_settings(
    name: str, how: str, points: Points, chosen: tuple[float, float], others: Runs
) -> list[Figure]:
    """Points 1 and 2, each at one `spend_budget`."""
    less, more = points[chosen[0]], points[chosen[1]]
    specified, everything = others["specification"], others["everything"]
    title = f"1 {name}, {how} spend_budget {chosen[0]:g}"
    second = f"2 {name}, {how} spend_budget {chosen[1]:g}"
    hidden = ratio(less, specified, HIDDEN), ratio(more, everything, HIDDEN)
    spent = ratio(less, specified, TOKENS), ratio(more, everything, TOKENS)
    return [
        figure(f"{title}: tokens by specification's", [spent[0]], "x", 1.0),
        figure(f"{title}: hidden by specification's", [hidden[0]], "x", 1.2, at_most=False),
        figure(f"{second}: hidden by everything's", [hidden[1]], "x", ENOUGH, at_most=False),
        figure(f"{second}: tokens by everything's", [spent[1]], "x", 0.8),
    ]


def interpolated(points: Points, tokens: float) -> float:
    """What the frontier hides for so many tokens, between the points on either side of them; what
    its eager end hides where that costs fewer.
    """
    along = sorted((float(p[TOKENS]), float(p[HIDDEN])) for p in points.values())
    for (less, low), (more, high) in pairwise([(0.0, 0.0), *along]):
        if less <= tokens < more:
            return low + (high - low) * (tokens - less) / (more - less)
    return along[-1][1]


def above(name: str, points: Points, others: Runs) -> Iterator[Figure]:
    """The frontier at the tokens of each policy that knows no more, and at its two ends."""
    for rival in RIVALS:
        theirs = others[rival]
        share = interpolated(points, float(theirs[TOKENS])) / max(1e-9, float(theirs[HIDDEN]))
        title = f"2 {name}, frontier at {rival}'s tokens: hidden by its"
        yield figure(title, [share], "x", 1.0, at_most=False)
    least = ratio(points[min(points)], others["specification"], TOKENS)
    title = f"2 {name}, thrifty end, dial {min(points):g}: tokens by specification's"
    yield figure(title, [least], "x", 0.02)
    most = ratio(points[max(points)], others["reachable"], HIDDEN)
    title = f"2 {name}, eager end: hidden by reachable's"
    yield figure(title, [most], "x", 0.93, at_most=False)


def shipped(name: str, ours: Runs, others: Runs) -> list[Figure]:
    """Of the setting that ships: 1 where one of points 1, 2 and its form for the budget holds."""
    hidden = {other: ratio(ours, others[other], HIDDEN) for other in PLAIN}
    tokens = {other: ratio(ours, others[other], TOKENS) for other in PLAIN}
    first = tokens["specification"] <= 1 and hidden["specification"] >= 1.2
    second = tokens["everything"] <= 0.8 and hidden["everything"] >= ENOUGH
    budgeted = tokens["everything"] <= 0.65 and hidden["everything"] >= 0.8
    title = f"default {name}"
    holds = float(first or second or budgeted)
    return [
        figure(f"{title}: hidden by specification's", [hidden["specification"]], "x"),
        figure(f"{title}: tokens by specification's", [tokens["specification"]], "x"),
        figure(f"{title}: hidden by everything's", [hidden["everything"]], "x"),
        figure(f"{title}: tokens by everything's", [tokens["everything"]], "x"),
        figure(f"{title}: point 1 or 2 holds (1 yes)", [holds], "", 1.0, at_most=False),
    ]


def frontier(
    sets: Mapping[str, Case], narrow: Container[str], details: dict[str, Any]
) -> Iterator[Figure]:
    """Points 1 and 2 of each set: at settings of its own where it is one of `narrow`, and for those
    that nothing was fitted on at the settings that were found on `fitted`.
    """
    fitted: tuple[float, float] | None = None
    for name, case in sets.items():
        others = {other: figures(case, other) for other in PLAIN}
        default = figures(case)
        dials = {dial: figures(case, config=roomy(dial)) for dial in DIALS}
        yield from above(name, dials, others)
        most = float(others["specification"][TOKENS])
        enough = ENOUGH * float(others["everything"][HIDDEN])
        points: Points = {}
        if name in narrow:
            points |= {at: figures(case, config=within(at)) for at in BUDGETS}
            halved(case, points, lambda point, most=most: point[TOKENS] > most)
            halved(case, points, lambda point, enough=enough: point[HIDDEN] >= enough)
            own = within_tokens(points, most), hiding(points, enough)
            yield from of_settings(name, "own", points, own, others)
            if name == "fitted":
                fitted = within_tokens(points, (1 - SPARE) * most), own[1]
        if fitted is not None and name not in ("fitted", *FITTED):
            for at in fitted:
                if at not in points:
                    points[at] = figures(case, config=within(at))
            yield from of_settings(name, "fitted", points, fitted, others)
        details[name] = {"default": default, **others}
        details[name] |= {f"dial {dial:g}": dials[dial] for dial in sorted(dials)}
        details[name] |= {f"spend_budget {at:g}": points[at] for at in sorted(points)}
        yield from shipped(name, default, others)


def seeds(case: Case, name: str, count: int) -> Iterator[Figure]:
    """The setting that ships with other load times."""
    if not count:
        return
    hidden, tokens = [], []
    for seed in range(count):
        one = evolve(case, seed=seed)
        ours, theirs = figures(one, config=Config()), figures(one, "specification")
        hidden.append(ratio(ours, theirs, HIDDEN))
        tokens.append(ratio(ours, theirs, TOKENS))
    yield figure(f"default {name}, {count} seeds: hidden by specification's", hidden, "x")
    yield figure(f"default {name}, {count} seeds: tokens by specification's", tokens, "x")
