"""How much waiting each policy hides, for how many wasted tokens: `python -m benchmarks.frontier`.

Runs `prefetch-scheduler simulate` over the recorded sessions of `benchmarks/data`: all policies,
with load times as recorded, drawn from a log-normal law (remote sources), and with predictions
that are always wrong; then the default policy with smaller and larger token budgets. Virtual
time: the same bytes on every machine, so one run is enough. The last figure alone is real time:
of the six policies over all sessions. Bias: the sessions are of coding agents, most of whose
reads are of local files; the predictions are those of one simple predictor.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, figure, finish, parser

DATA = Path(__file__).parent / "data"
POLICIES = "none", "everything", "specification", "reachable", "oracle", "default"
SEED = 1
LOGNORMAL = "lognormal:0.4,0.9"
CASES: Mapping[str, Sequence[str]] = {
    "recorded": (),
    "lognormal": ("--load", LOGNORMAL),
    "adversarial": ("--predictions", "adversarial"),
}
BUDGETS = 2_500, 5_000, 20_000, 40_000
"""Values of `max_prefetch_tokens` beside the one that ships."""
GOALS: Mapping[tuple[str, str], tuple[float, float]] = {
    ("recorded", "reachable"): (0.151, 0.05),
    ("recorded", "everything"): (0.141, 0.05),
    ("lognormal", "reachable"): (0.245, 0.10),
    ("lognormal", "everything"): (0.225, 0.10),
}
"""(case, policy) -> what an independent simulator by the same rules gives, and the tolerance."""


def simulate(
    sessions: Sequence[Path], policies: Sequence[str], *more: str, budget: int | None = None
) -> dict[str, Any]:
    """The document of one run of the command.

    Raises:
        RuntimeError: the command failed; with what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text("{}\n" if budget is None else f"max_prefetch_tokens: {budget}\n")
        chosen = [part for name in policies for part in ("--policy", name)]
        command = [sys.executable, "-m", "prefetch_scheduler.engine", "simulate"]
        command += [*map(str, sessions), *chosen, *more, "--seed", str(SEED)]
        command += ["--config", str(config), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"simulate: exit code {done.returncode}: {done.stderr.strip()}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def points(document: Mapping[str, Any], setting: str) -> list[dict[str, Any]]:
    """A run's policies as points of the frontier."""
    kept = "tokens_prefetched", "tokens_wasted", "hidden_fraction"
    return [
        {"policy": name, "setting": setting, **{key: row[key] for key in kept}}
        for name, row in document["policies"].items()
    ]


def rows(case: str, document: Mapping[str, Any], *, every: bool) -> list[Figure]:
    """The figures of one case; `every`: of all the sessions, which alone have known figures."""
    figures = []
    policies = document["policies"]
    for name, row in policies.items():
        hidden = row["hidden_fraction"] or 0.0
        figures.append(figure(f"{case}: hidden by {name}", [hidden], ""))
        known = GOALS.get((case, name)) if every else None
        if known is not None:
            off = abs(hidden / known[0] - 1)
            title = f"{case}: {name}, off an independent simulator by"
            figures.append(figure(title, [off], "", known[1]))
        figures.append(
            figure(f"{case}: tokens wasted by {name}", [row["tokens_wasted"] / 1e6], "M")
        )
    waits = {name: row["wait_s"] for name, row in policies.items()}
    bound = min(waits["everything"], waits["specification"], waits["none"])
    figures.append(
        figure(
            f"{case}: wait of oracle by reachable", [waits["oracle"] / waits["reachable"]], "x", 1
        )
    )
    figures.append(
        figure(
            f"{case}: wait of reachable by the best plain policy",
            [waits["reachable"] / bound],
            "x",
            1,
        )
    )
    return figures


def main() -> int:
    """Simulate everything; the exit code is 1 where a goal is missed, 2 where it cannot run."""
    options = parser(__doc__).parse_args()
    sessions = sorted(DATA.glob("*.jsonl.gz"))
    if options.quick:
        sessions = [path for path in sessions if path.name.startswith("skills")]
    figures: list[Figure] = []
    frontier: dict[str, list[dict[str, Any]]] = {}
    took = 0.0
    try:
        for case, more in CASES.items():
            began = time.perf_counter()
            document = simulate(sessions, POLICIES, *more)
            took = took or time.perf_counter() - began
            figures += rows(case, document, every=not options.quick)
            frontier[case] = points(document, "shipped")
            for budget in BUDGETS if case != "adversarial" else ():
                run = simulate(sessions, ["default"], *more, budget=budget)
                frontier[case] += points(run, f"{budget:,} tokens")
    except RuntimeError as error:
        print(f"frontier: {error}", file=sys.stderr)
        return 2
    figures.append(figure("six policies over all sessions", [took], "s", 90))
    return finish("frontier", figures, options, seed=SEED, details={"frontier": frontier})


if __name__ == "__main__":
    sys.exit(main())
