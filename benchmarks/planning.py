"""How fast plans are made, and how good they are: `python -m benchmarks.planning`.

Speed: CPU time of `make_plan` in one thread at 10^2 to 10^6 candidates, beside a bare sort of as
many `(density, key)` pairs; and of all that a submit of 100 predictions goes through (checks,
candidates, plan, queues). Not timed: making the candidates, and the messages between actors.

Quality, on random instances of at most 300 candidates, solved exactly by SciPy's MILP (HiGHS):

- each priority class against the best choice from it within the tokens that the classes above left
  to it, where time does not bind: a knapsack;
- the plan against a bound that knows the time budget as well: class by class, again within what
  was left, each item at once or in the background, under the tokens, the background tokens and the
  slot seconds that are left. That items cannot be cut into pieces and spread over the slots is
  left out of it, so no schedule can have more value. Where a solver's time runs out, its dual bound
  stands in.

Instances: tokens lognormal, loads a mix of files, skills and remote resources, roles drawn evenly;
value by confidence, by load time, or by size. Needs the extra `bench`.

Prints a table and writes `benchmarks/results/planning.json`.
"""

import gc
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any

from attrs import frozen

from benchmarks.figures import Figure, figure, finish, parser
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.plan import Candidate, Plan, PlanItem, density
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import PlanMade, Submit
from prefetch_scheduler.policies.planning import make_plan
from prefetch_scheduler.policies.prediction import Prediction, Terms, checked_predictions
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable
from prefetch_scheduler.policies.vocabulary import Lane, Priority, Reason, Role

SEED = 20_250_901
MS = 1000.0
SOLVER_S = 1.0
"""Seconds for one exact solution."""

LOADS = ((0.007, 0.60), (0.040, 0.25), (0.300, 0.15))
"""Median seconds and share: files, skills, remote."""
VALUES = ("confidence", "load time", "size")

OPEN = (Reason.TOKEN_BUDGET_EXCEEDED, Reason.BACKGROUND_TOKENS_EXCEEDED)
"""Why an item was left out that nothing but the budgets kept from being loaded."""


def instance(number: int, pick: random.Random, value: str = "confidence") -> list[Candidate]:
    roles = list(Role)
    found = []
    for place in range(number):
        median = pick.choices([m for m, _ in LOADS], [share for _, share in LOADS])[0]
        load_s = median * math.exp(pick.gauss(0, 0.8))
        tokens = max(1, int(pick.lognormvariate(6.4, 1.2)))
        confidence = pick.betavariate(4, 2)
        stated = {
            "confidence": None,
            "load time": confidence * load_s * 10,
            "size": confidence * tokens / 1000 * pick.uniform(0.5, 1.5),
        }[value]
        key = f"file:{pick.getrandbits(40):010x}{place}"
        role = pick.choice(roles)
        found.append(Candidate(key, key, role, confidence, (), tokens, load_s, stated))
    return found


# ---- speed ---------------------------------------------------------------------------------


def cpu_ms(action: Callable[[], Any]) -> float:
    began = time.thread_time()
    action()
    return (time.thread_time() - began) * MS


def speeds(sizes: Sequence[int], repeat: int) -> list[Figure]:
    config, terms = Config(), Terms()
    goals = {100: 0.5, 100_000: 1000.0}
    figures: list[Figure] = []
    ratios: dict[int, float] = {}
    for size in sizes:
        candidates = instance(size, random.Random(SEED))
        pairs = [(-density(c.confidence, c.tokens), c.key) for c in candidates]
        times, sorts = [], []
        gc.collect()
        for _ in range(max(2, min(repeat, 1_000_000 // size))):
            times.append(cpu_ms(lambda c=candidates: make_plan("s", c, terms, config)))
            sorts.append(cpu_ms(lambda p=pairs: sorted(p)))
        ratios[size] = statistics.median(times) / statistics.median(sorts)
        figures += [
            figure(f"plan of {size:,} candidates", times, "ms", goals.get(size)),
            figure(f"bare sort of {size:,} pairs", sorts, "ms"),
        ]
    largest, smaller = sizes[-1], sizes[-1] // 100
    name = f"growth from {smaller:,} to {largest:,}, by that of the sort"
    figures.append(figure(name, [ratios[largest] / ratios[smaller]], "x", 1))
    return figures


def submit_path(repeat: int, items: int = 100) -> Figure:
    """Checking predictions, then all that the planner's machine does before the plan is told."""
    table = SourceTable((SourceInfo(0, "file", "file", read_only=True),))
    pick = random.Random(SEED)
    given = [Prediction(c.key, c.role, c.confidence) for c in instance(items, pick)]
    samples = []
    for _ in range(repeat):
        machine = PlannerMachine(Config(), table)
        made: list[Any] = []

        def submit(machine: PlannerMachine = machine, made: list[Any] = made) -> None:
            event = Submit("s", checked_predictions(given), Terms(), ticket=object())
            made += [e for e in machine.handle(event, 0.0) if isinstance(e, PlanMade)]

        samples.append(cpu_ms(submit))
        assert len(made) == 1
        assert len(made[0].plan.items) == items
    return figure(f"whole submit of {items} predictions", samples, "ms")


# ---- quality -------------------------------------------------------------------------------


@frozen
class Left:
    """What the classes above one left to it."""

    tokens: int
    background: int
    slot_s: float
    """Seconds of slots within the time budget."""


def classes(plan: Plan, config: Config) -> Iterator[tuple[Priority, list[PlanItem], Left]]:
    """Each class that is loaded ahead: what it could choose from, and within what."""
    tokens, background = plan.token_budget, config.background_tokens
    slots, eager = config.max_concurrent_fetches, config.execution.eager_max_concurrent
    busy_s = 0.0
    for priority in (Priority.P0, Priority.P1, Priority.P2, Priority.P3):
        choice = [
            item
            for item in plan.items
            if item.priority is priority and (item.admitted or item.reason in OPEN)
        ]
        slot_s = slots * plan.time_budget_s - busy_s
        if priority is Priority.P2:
            slot_s = min(slot_s, eager * plan.time_budget_s)
        if choice:
            yield priority, choice, Left(tokens, background, slot_s)
        for item in filter(_admitted, choice):
            tokens -= item.tokens
            if item.lane is Lane.BACKGROUND:
                background -= item.tokens
            else:
                busy_s += item.load_s


def _admitted(item: PlanItem) -> bool:
    return item.admitted


def best(values: Sequence[float], limits: Iterable[tuple[Sequence[float], float]]) -> float:
    """The most value of a choice of whole items under linear limits, or a bound above it."""
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp

    found = milp(
        -np.array(values),
        constraints=[LinearConstraint(np.array(row), -np.inf, most) for row, most in limits],
        integrality=np.ones(len(values)),
        bounds=Bounds(0, 1),
        options={"time_limit": SOLVER_S, "mip_rel_gap": 1e-5},
    )
    bound = found.mip_dual_bound
    return -(found.fun if bound is None else min(bound, found.fun if found.fun else bound))


def best_in_tokens(priority: Priority, choice: Sequence[PlanItem], left: Left) -> float:
    background = priority is Priority.P3
    budget = min(left.tokens, left.background) if background else left.tokens
    return best([i.value for i in choice], [([i.tokens for i in choice], budget)])


def best_in_time(
    priority: Priority, choice: Sequence[PlanItem], left: Left, budget_s: float
) -> float:
    """Variables: item by item at once, then item by item in the background."""
    if priority is Priority.P3:
        return best_in_tokens(priority, choice, left)
    number = len(choice)
    values, tokens = [i.value for i in choice], [i.tokens for i in choice]
    none = [0.0] * number
    limits: list[tuple[Sequence[float], float]] = [
        ([*tokens, *tokens], left.tokens),
        ([*none, *tokens], left.background),
        ([*(i.load_s for i in choice), *none], left.slot_s),
    ]
    for place, item in enumerate(choice):
        once = [0.0] * (2 * number)
        once[place] = once[number + place] = 1.0
        limits.append((once, 1))
        if item.load_s > budget_s:
            alone = [0.0] * (2 * number)
            alone[place] = 1.0
            limits.append((alone, 0))
    return best([*values, *values], limits)


def quality(repeat: int, sizes: Sequence[int]) -> tuple[list[Figure], list[dict[str, Any]]]:
    config = Config()
    by_class: dict[Priority, list[float]] = {}
    in_time: list[float] = []
    rows: list[dict[str, Any]] = []
    budgets = (10_000, 40_000, 200_000)
    for value, size, budget, time_ms in product(VALUES, sizes, budgets, (500.0, 2000.0)):
        tokens_only: list[float] = []
        timed: list[float] = []
        for number in range(repeat):
            pick = random.Random(f"{SEED}/{value}/{size}/{number}")
            candidates = instance(size, pick, value)
            free = make_plan(
                "s", candidates, Terms(token_budget=budget, time_budget_ms=1e9), config
            )
            for priority, choice, left in classes(free, config):
                most = best_in_tokens(priority, choice, left)
                if most > 0:
                    got = math.fsum(i.value for i in choice if i.admitted)
                    by_class.setdefault(priority, []).append(min(1.0, got / most))
                    tokens_only.append(min(1.0, got / most))
            plan = make_plan(
                "s", candidates, Terms(token_budget=budget, time_budget_ms=time_ms), config
            )
            bounds = [
                best_in_time(priority, choice, left, plan.time_budget_s)
                for priority, choice, left in classes(plan, config)
            ]
            if sum(bounds) > 0:
                timed.append(min(1.0, plan.value / math.fsum(bounds)))
        in_time += timed
        rows.append(
            {
                "value by": value,
                "candidates": size,
                "tokens": budget,
                "time ms": time_ms,
                "class by exact, mean": statistics.mean(tokens_only),
                "class by exact, least": min(tokens_only),
                "plan by time-aware bound, mean": statistics.mean(timed),
                "plan by time-aware bound, least": min(timed),
            }
        )
    figures = [
        _mean(f"{priority.name}: value by the class's optimum, mean", found, 0.95)
        for priority, found in sorted(by_class.items())
    ]
    figures.append(_mean("plan: value by the time-aware bound, mean", in_time, 0.90))
    least = [row["plan by time-aware bound, mean"] for row in rows]
    figures.append(figure("the same, least mean of a kind of instance", [min(least)], ""))
    return figures, rows


def _mean(name: str, found: Sequence[float], goal: float) -> Figure:
    quarters = statistics.quantiles(found, n=4)
    spread = (quarters[0], quarters[2])
    return Figure(name, statistics.mean(found), "", spread, goal, at_most=False)


# ---- all of it -----------------------------------------------------------------------------


def main() -> int:
    """Measure everything; the exit code is 1 where a goal is missed."""
    options = parser(__doc__).parse_args()
    try:
        import scipy  # noqa: F401 - told of before anything is measured
    except ImportError:
        sys.exit("benchmarks.planning needs SciPy: pip install 'prefetch-scheduler[bench]'")
    quick = options.quick
    sizes = (100, 1_000, 10_000) if quick else (100, 1_000, 10_000, 100_000, 1_000_000)
    figures = [*speeds(sizes, 10 if quick else 50), submit_path(20 if quick else 200)]
    found, rows = quality(2 if quick else 4, (20,) if quick else (20, 100, 300))
    return finish(
        "planning",
        [*figures, *found],
        options,
        peers=("scipy",),
        seed=SEED,
        details={"instances": rows},
    )


if __name__ == "__main__":
    sys.exit(main())
