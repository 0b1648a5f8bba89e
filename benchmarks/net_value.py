"""What deciding by expected net value brings: `python -m benchmarks.net_value`.

Simulations of recorded sessions (`benchmarks/data`, or the folder given) in virtual time, load
times `lognormal:0.4,0.9` where nothing else is said. For each file, for all together, and for two
files (`REPORTED`) whose settings were chosen on the two others (`FITTED`):

1. at a setting that prefetches no more tokens than `specification`, its hidden share by that one's;
2. the tokens of the thriftiest setting that hides 0.95 of what `everything` hides, by its tokens;
   and what the eager end hides by what `reachable` does. The setting that ships counts by itself;
3. the wasted share in each window of 50 sessions after the first, with calibrated predictions;
4. with predictions that are always wrong: wait and 99th percentile by `none`'s, how much is still
   loaded, and how many good predictions bring it back;
5. learned chances against the true ones, and hidden shares with bent confidences;
6. load times as recorded, and of 10 ms, which there is little to hide of;
7. what deciding costs an item, by processor time, beside the specification's thresholds in turn.

Bias: coding agents, one simple predictor; chances are learned in the order of the files.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from benchmarks.figures import Figure, figure, finish, parser
from benchmarks.net_value_runs import (
    DATA,
    Case,
    figures,
    ratio,
    roomy,
    step_by_step,
    verdict,
    wasted_by_window,
)
from prefetch_scheduler.policies.config import Config, Execution, Speculation
from prefetch_scheduler.policies.learning import Learning
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import SessionEnded, SessionStarted, Submit
from prefetch_scheduler.policies.prediction import Prediction, Terms
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable

FITTED = "entire-cli", "skills"
REPORTED = "context-evaluator", "vorflux"
DIALS = (0.2, 0.4, 1.0)
"""From which the dials that points 1 and 2 ask for are narrowed down."""
NARROWED = 3
"""How often the range in which such a dial lies is halved."""
PLAIN = "specification", "everything", "reachable"
HIDDEN, TOKENS = "hidden_fraction", "tokens_prefetched"
ROLE = "related_file"
QUICK_LOADS = "lognormal:0.005,0.5"
"""As good as all of them at the least that a simulated load takes: 10 ms."""

Runs = Mapping[str, Any]


# ---- 1 and 2: the frontier -----------------------------------------------------------------------


def plain(case: Case) -> dict[str, Any]:
    return {name: figures(case, name) for name in PLAIN}


def narrowed(
    case: Case, points: dict[float, Any], dear: Callable[[Any], bool], times: int = NARROWED
) -> None:
    """Add points between the most eager dial of which `dear` is false and the next one."""
    for _ in range(times):
        fine = [dial for dial in points if not dear(points[dial])]
        low = max(fine, default=0.0)
        high = min((dial for dial in points if dial > low and dear(points[dial])), default=None)
        if high is None:
            return
        dial = round((low + high) / 2, 4)
        points[dial] = figures(case, config=roomy(dial))


def thrifty(points: Mapping[float, Any], others: Runs) -> float:
    """The dial that hides most with no more tokens than the specification's rules prefetch."""
    within = [d for d, p in points.items() if p[TOKENS] <= others["specification"][TOKENS]]
    return max(within, key=lambda d: points[d][HIDDEN], default=min(points))


def frugal(points: Mapping[float, Any], others: Runs) -> float:
    """The dial that costs least of those that hide 0.95 of what `everything` hides."""
    enough = [d for d, p in points.items() if p[HIDDEN] >= 0.95 * others["everything"][HIDDEN]]
    return min(enough, key=lambda d: points[d][TOKENS], default=max(points))


def of_settings(
    name: str, points: Mapping[float, Any], dials: tuple[float, float], others: Runs, how: str
) -> list[Figure]:
    """Points 1 and 2 at two dials."""
    less, more = points[dials[0]], points[dials[1]]
    specified, everything = others["specification"], others["everything"]
    title = f"1 {name}, {how} dial {dials[0]:g}"
    second = f"2 {name}, {how} dial {dials[1]:g}"
    return [
        figure(f"{title}: tokens by specification's", [ratio(less, specified, TOKENS)], "x", 1.0),
        figure(
            f"{title}: hidden by specification's",
            [ratio(less, specified, HIDDEN)],
            "x",
            1.2,
            at_most=False,
        ),
        figure(
            f"{second}: hidden by everything's",
            [ratio(more, everything, HIDDEN)],
            "x",
            0.95,
            at_most=False,
        ),
        figure(f"{second}: tokens by everything's", [ratio(more, everything, TOKENS)], "x", 0.8),
    ]


def shipped(name: str, ours: Runs, others: Runs) -> list[Figure]:
    """Of the setting that ships: 1 where one of points 1, 2 and its form for the budget holds."""
    hidden = {other: ratio(ours, others[other], HIDDEN) for other in PLAIN}
    tokens = {other: ratio(ours, others[other], TOKENS) for other in PLAIN}
    first = tokens["specification"] <= 1 and hidden["specification"] >= 1.2
    second = tokens["everything"] <= 0.8 and hidden["everything"] >= 0.95
    budgeted = tokens["everything"] <= 0.65 and hidden["everything"] >= 0.8
    title = f"default {name}"
    return [
        figure(f"{title}: hidden by specification's", [hidden["specification"]], "x"),
        figure(f"{title}: tokens by specification's", [tokens["specification"]], "x"),
        figure(f"{title}: hidden by everything's", [hidden["everything"]], "x"),
        figure(f"{title}: tokens by everything's", [tokens["everything"]], "x"),
        figure(
            f"{title}: point 1 or 2 holds (1 yes)",
            [float(first or second or budgeted)],
            "",
            1.0,
            at_most=False,
        ),
    ]


def frontier(
    sets: Mapping[str, Case], narrow: Container[str], details: dict[str, Any]
) -> Iterator[Figure]:
    """Points 1 and 2 of each set: at dials of its own where it is one of `narrow`, and for those
    that nothing was fitted on at the dials that were found on `fitted`.
    """
    fitted: tuple[float, float] | None = None
    for name, case in sets.items():
        others, default = plain(case), figures(case)
        dials = {*DIALS} if name in narrow else {max(DIALS), *(fitted or DIALS)}
        points = {dial: figures(case, config=roomy(dial)) for dial in sorted(dials)}
        if name in narrow:
            least, most = others["specification"][TOKENS], 0.95 * others["everything"][HIDDEN]
            narrowed(case, points, lambda point, least=least: point[TOKENS] > least)
            narrowed(case, points, lambda point, most=most: point[HIDDEN] >= most)
            own = thrifty(points, others), frugal(points, others)
            yield from of_settings(name, points, own, others, "own")
        if name == "fitted":
            fitted = own
        elif fitted is not None and name not in FITTED:
            for dial in fitted:
                if dial not in points:
                    points[dial] = figures(case, config=roomy(dial))
            yield from of_settings(name, points, fitted, others, "fitted")
        details[name] = {"default": default, **others}
        details[name] |= {f"dial {dial:g}": points[dial] for dial in sorted(points)}
        yield figure(
            f"2 {name}, eager end: hidden by reachable's",
            [ratio(points[max(points)], others["reachable"], HIDDEN)],
            "x",
            0.93,
            at_most=False,
        )
        yield from shipped(name, default, others)


def seeds(case: Case, name: str, count: int) -> Iterator[Figure]:
    """The setting that ships over several seeds."""
    hidden, tokens = [], []
    for seed in range(count):
        one = evolve(case, seed=seed)
        ours, theirs = figures(one), figures(one, "specification")
        hidden.append(ratio(ours, theirs, HIDDEN))
        tokens.append(ratio(ours, theirs, TOKENS))
    yield figure(f"default {name}, {count} seeds: hidden by specification's", hidden, "x")
    yield figure(f"default {name}, {count} seeds: tokens by specification's", tokens, "x")


# ---- 3 and 4: promises, and predictions that are wrong -------------------------------------------


def promises(case: Case, window: int) -> Iterator[Figure]:
    for chance, promised in ((0.7, 0.5), (0.9, 0.5)):
        config = Config(speculation=Speculation(waste_budget=promised))
        told = evolve(case, predictions=f"calibrated:{chance:g}")
        above = [share - promised for share in wasted_by_window(told, config, window)]
        title = f"3 calibrated {chance:g}: waste above a budget of {promised:g}, worst window"
        yield figure(title, [max(above)], "", 0.03)


def wrong(case: Case) -> Iterator[Figure]:
    told = evolve(case, predictions="adversarial")
    ours, none = figures(told), figures(told, "none")
    yield figure("4 adversarial: wait by none's", [ratio(ours, none, "wait_s")], "x", 1.01)
    p99 = ratio(ours, none, "demand_p99_ms")
    yield figure("4 adversarial: 99th percentile by none's", [p99], "x", 1.01)
    first, last = None, None
    for step in step_by_step(told, Config()):
        last = step
        if first is None and step.counts.wasted >= 50:
            first = step
    if first is not None and last is not None and last.items > first.items:
        before = first.counts.causes.get("prediction", 0) / first.items
        after = last.counts.causes.get("prediction", 0) - first.counts.causes.get("prediction", 0)
        share = after / (last.items - first.items) / max(1e-9, before)
        yield figure("4 adversarial: loads ahead after 50 wasted, by before", [share], "x", 0.02)
    yield figure("4 good predictions until they are loaded again", [recovery()], "", 50)


def recovery() -> int:
    """Predictions that come true after very many that did not, until one is worth loading."""
    learning, group = Learning(Config()), (0, ROLE)
    for number in range(2_000):
        session = f"wrong{number // 20}"
        _weighed(learning, session, f"file:wrong/{number}", 0.7)
        learning.loaded(session, f"file:wrong/{number}", group, 500)
        if number % 20 == 19:
            learning.ended(session)
    for number in range(500):
        key = f"file:right/{number}"
        worth = _weighed(learning, "right", key, 0.7)
        if worth.net_s > 0 and learning.held_back(group) is None:
            return number
        learning.read("right", key, 2.0)
    return 500


def _weighed(learning: Learning, session: str, key: str, stated: float) -> Any:
    moment, group = learning.moment(session, 1.0), (0, ROLE)
    expected = moment.predicted(key, 0, group, stated)
    return moment.worth(expected, group, stated, 500, 0.4, 1.0)


# ---- 5: what is learned --------------------------------------------------------------------------


def learned(true: float, stated: float, seed: int, outcomes: int = 200) -> float:
    """The chance of one more item after so many outcomes of one predictor."""
    learning, drawn = Learning(Config()), random.Random(seed)
    for number in range(outcomes):
        session, key = f"s{number // 20}", f"file:{number % 10}/{number}"
        _weighed(learning, session, key, stated)
        if drawn.random() < true:
            learning.read(session, key, 2.0)
        if number % 20 == 19:
            learning.ended(session)
    chance: float = _weighed(learning, "new", "file:0/new", stated).chance
    return chance


def chances(case: Case, count: int) -> Iterator[Figure]:
    for true in (0.3, 0.5, 0.7, 0.9):
        found = [learned(true, true, seed) for seed in range(count)]
        off = [abs(statistics.mean(found) - true)]
        yield figure(f"5 chance of {true:g} after 200 outcomes: mean is off by", off, "", 0.05)
        errors = [statistics.mean(abs(chance - true) for chance in found)]
        yield figure(f"5 chance of {true:g} after 200 outcomes: mean error", errors, "", 0.05)
    straight = figures(case)[HIDDEN]
    for name, bend, goal in (
        ("squared", lambda c: c * c, 0.05),
        ("rooted", lambda c: c**0.5, 0.05),
        ("constant", lambda _: 0.5, None),
    ):
        hidden = figures(evolve(case, bend=bend))[HIDDEN]
        yield figure(
            f"5 confidences {name}: hidden is off by", [abs(hidden / straight - 1)], "", goal
        )


# ---- 6 and 7: little to hide, and what deciding costs --------------------------------------------


def quick_loads(case: Case) -> Iterator[Figure]:
    """Load times as recorded, half of which are above 0.1 s; and quick ones, as of local files."""
    for name, load, goal in (("recorded", "recorded", None), ("10 ms", QUICK_LOADS, 0.25)):
        told = evolve(case, load=load)
        ours, theirs, none = figures(told), figures(told, "specification"), figures(told, "none")
        title = f"6 load times {name}"
        spent = ratio(ours, theirs, TOKENS)
        yield figure(f"{title}: tokens by specification's", [spent], "x", goal)
        wait = ratio(ours, none, "wait_s")
        yield figure(f"{title}: wait by none's", [wait], "x", 1.0)
        said = verdict(told).startswith("prefetching does not pay here")
        yield figure(
            f"{title}: the report says that it does not pay (1 yes)",
            [float(said)],
            "",
            None if goal is None else 1.0,
            at_most=False,
        )


def deciding(repeat: int, items: int = 100) -> Iterator[Figure]:
    table = SourceTable((SourceInfo(0, "files", "file", read_only=True),))
    machines = {}
    for policy in ("specification", "default"):
        machine = PlannerMachine(Config(execution=Execution(policy=policy)), table)
        for number in range(100):
            session = f"s{number}"
            machine.handle(SessionStarted(session, "p"), float(number))
            early = [Prediction(f"file:early{number}/{n}", ROLE, 0.3) for n in range(5)]
            machine.handle(Submit(session, tuple(early), Terms()), float(number))
            machine.handle(SessionEnded(session), number + 0.5)
        machine.handle(SessionStarted("s", "p"), 200.0)
        machines[policy] = machine
    batches = [
        tuple(Prediction(f"file:{batch}/{n}.py", ROLE, 0.3) for n in range(items))
        for batch in range(15)
    ]
    took: dict[str, list[float]] = {policy: [] for policy in machines}
    for turn in range(repeat):
        for policy, machine in machines.items():
            event = Submit("s", batches[turn % len(batches)], Terms())
            began = time.thread_time_ns()
            machine.handle(event, 300.0 + turn / 100)
            took[policy].append((time.thread_time_ns() - began) / items / 1000)
    more = [ours - theirs for theirs, ours in zip(*took.values(), strict=True)]
    for policy, times in took.items():
        yield figure(f"7 planning of an item, {policy}", times, "µs")
    yield figure("7 planning of an item, default above specification", more, "µs", 3.0)


# ---- all of it -----------------------------------------------------------------------------------


def main() -> int:
    """Simulate everything; the exit code is 1 where a goal is missed, 2 where it cannot run."""
    options_parser = parser(__doc__)
    options_parser.add_argument(
        "--sessions", type=Path, default=DATA, help="the recordings' folder"
    )
    options = options_parser.parse_args()
    found = {
        path.name.partition(".")[0]: path for path in sorted(options.sessions.glob("*.jsonl*"))
    }
    if not found:
        print(f"net_value: no recordings in {options.sessions}", file=sys.stderr)
        return 2
    quick = options.quick
    if quick:
        found = {"skills": found["skills"]} if "skills" in found else dict([*found.items()][:1])
    everything = Case(tuple(found.values()), most=40 if quick else None)
    sets: dict[str, Case] = {}
    if not quick and {*FITTED, *REPORTED} <= found.keys():
        sets["fitted"] = Case(tuple(found[name] for name in FITTED))
        sets["reported"] = Case(tuple(found[name] for name in REPORTED))
    sets |= {name: evolve(everything, paths=(path,)) for name, path in found.items()}
    if len(found) > 1:
        sets["together"] = everything
    details: dict[str, Any] = {}
    small = sets.get("fitted", everything)
    rows: list[Figure] = []
    for part in (
        deciding(30 if quick else 600),
        promises(everything, 3 if quick else 50),
        wrong(everything),
        chances(small, 2 if quick else 20),
        quick_loads(small),
        frontier(sets, {"fitted", *found}, details),
        seeds(sets.get("reported", everything), "reported", 1 if quick else 3),
    ):
        for row in part:
            rows.append(row)
            print(f"  {row.name}: {row.value:.4g}", file=sys.stderr, flush=True)
    return finish("net_value", rows, options, seed=0, details={"settings": details})


if __name__ == "__main__":
    sys.exit(main())
