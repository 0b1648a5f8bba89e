"""What deciding by expected net value brings: `python -m benchmarks.net_value`.

Simulations of recorded sessions (`benchmarks/data`, or the folder given) in virtual time, load
times `lognormal:0.4,0.9` where nothing else is said. For each file, for all together, and for two
files (`REPORTED`) whose settings were chosen on the two others (`FITTED`):

1. at a setting that prefetches no more tokens than `specification`, its hidden share by that one's;
2. the tokens of the thriftiest setting that hides 0.95 of what `everything` hides, by its tokens;
   what the frontier hides at the tokens of `specification` and `everything`, by what they hide; and
   what the eager end hides by what `reachable` does. The setting that ships counts by itself;
3. the wasted share in each window of 50 sessions after the first, with calibrated predictions;
4. with predictions that are always wrong: wait and 99th percentile by `none`'s, how much is still
   loaded, and how many good predictions bring it back;
5. learned chances against the true ones, and hidden shares with bent confidences;
6. load times as recorded, and of 10 ms, which there is little to hide of;
7. what deciding costs an item, by processor time, beside the specification's thresholds in turn.

Bias: coding agents, one simple predictor; chances are learned in the order of the files.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import evolve

from benchmarks.figures import Figure, figure, finish, parser
from benchmarks.net_value_frontier import FITTED, REPORTED, frontier, seeds
from benchmarks.net_value_learning import ROLE, chances, recovery
from benchmarks.net_value_runs import (
    DATA,
    LOGNORMAL,
    Case,
    figures,
    ratio,
    step_by_step,
    verdict,
    wasted_by_window,
)
from prefetch_scheduler.policies.config import Config, Execution, Speculation
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import SessionEnded, SessionStarted, Submit
from prefetch_scheduler.policies.prediction import Prediction, Terms
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable

QUICK_LOADS = "lognormal:0.005,0.5"
"""As good as all of them at the least that a simulated load takes: 10 ms."""


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


# ---- 6 and 7: little to hide, and what deciding costs --------------------------------------------


def quick_loads(case: Case) -> Iterator[Figure]:
    """Load times as recorded, half of which are above 0.1 s; and quick ones, as of local files."""
    for name, load, goal in (("recorded", "recorded", None), ("10 ms", QUICK_LOADS, 0.25)):
        told = evolve(case, load=load)
        ours, theirs, none = figures(told), figures(told, "specification"), figures(told, "none")
        title = f"6 load times {name}"
        spent = ratio(ours, theirs, "tokens_prefetched")
        yield figure(f"{title}: tokens by specification's", [spent], "x", goal)
        wait = ratio(ours, none, "wait_s")
        yield figure(f"{title}: wait by none's", [wait], "x", 1.0)
        yield does_not_pay(told, title, 1.0)
    paying = does_not_pay(evolve(case, load=LOGNORMAL), f"6 load times {LOGNORMAL}", 0.0)
    yield evolve(paying, at_most=True)


def does_not_pay(case: Case, title: str, goal: float) -> Figure:
    said = verdict(case).startswith("prefetching does not pay here")
    name = f"{title}: the report says that it does not pay (1 yes)"
    return figure(name, [float(said)], "", goal, at_most=False)


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
    shown = sets.get("reported", everything)
    for part in (
        deciding(30 if quick else 600),
        promises(everything, 3 if quick else 50),
        wrong(everything),
        chances(small, 2 if quick else 20),
        quick_loads(small),
        frontier(sets, {"fitted", *found}, details),
        seeds(shown, "reported", 1 if quick else 5),
        seeds(small, "fitted", 0 if quick else 5),
    ):
        for row in part:
            rows.append(row)
            print(f"  {row.name}: {row.value:.4g}", file=sys.stderr, flush=True)
    return finish("net_value", rows, options, seed=0, details={"settings": details})


if __name__ == "__main__":
    sys.exit(main())
