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
6. load times as recorded, which there is little to hide of;
7. what deciding costs an item, by processor time, beside the specification's thresholds in turn.

Bias: coding agents, one simple predictor; chances are learned in the order of the files.
"""

import random
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
DIALS = (0.0, 0.2, 0.3, 0.35, 0.4, 0.5, 1.0)
PLAIN = "specification", "everything", "reachable"
HIDDEN, TOKENS = "hidden_fraction", "tokens_prefetched"
ROLE = "related_file"

Runs = Mapping[str, Any]


# ---- 1 and 2: the frontier -----------------------------------------------------------------------


def plain(case: Case) -> dict[str, Any]:
    return {name: figures(case, name) for name in PLAIN}


def sweep(case: Case, dials: Iterable[float]) -> dict[float, Any]:
    return {dial: figures(case, config=roomy(dial)) for dial in dials}


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
    sets: Mapping[str, Case], dials: Sequence[float], details: dict[str, Any]
) -> Iterator[Figure]:
    fitted: tuple[float, float] | None = None
    for name, case in sets.items():
        others, points = plain(case), sweep(case, dials)
        default = figures(case)
        details[name] = {
            "default": default,
            **others,
            **{f"dial {d:g}": p for d, p in points.items()},
        }
        own = thrifty(points, others), frugal(points, others)
        if name == "fitted":
            fitted = own
        if name in ("reported", *REPORTED) and fitted is not None:
            yield from of_settings(name, points, fitted, others, "fitted")
        yield from of_settings(name, points, own, others, "own")
        eager = points[max(points)]
        yield figure(
            f"2 {name}, eager end: hidden by reachable's",
            [ratio(eager, others["reachable"], HIDDEN)],
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


def recorded(case: Case) -> Iterator[Figure]:
    told = evolve(case, load="recorded")
    ours, theirs, none = figures(told), figures(told, "specification"), figures(told, "none")
    spent = ratio(ours, theirs, TOKENS)
    yield figure("6 recorded load times: tokens by specification's", [spent], "x", 0.5)
    said = verdict(told).startswith("prefetching does not pay here")
    title = "6 recorded load times: the report says that it does not pay (1 yes)"
    yield figure(title, [float(said)], "", 1.0, at_most=False)
    yield figure("6 recorded load times: wait by none's", [ratio(ours, none, "wait_s")], "x", 1.0)


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
        recorded(everything),
        frontier(sets, (0.3, 0.5) if quick else DIALS, details),
        seeds(sets.get("reported", everything), "reported", 1 if quick else 5),
    ):
        for row in part:
            rows.append(row)
            print(f"  {row.name}: {row.value:.4g}", file=sys.stderr, flush=True)
    return finish("net_value", rows, options, seed=0, details={"settings": details})


if __name__ == "__main__":
    sys.exit(main())
