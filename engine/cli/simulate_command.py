"""`prefetch-scheduler simulate`: recorded sessions in virtual time, policies side by side."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from prefetch_scheduler.engine.cli.output import complain, write_json
from prefetch_scheduler.engine.config_file import load_config
from prefetch_scheduler.engine.progress import Progress
from prefetch_scheduler.engine.simulation.loads import load_law
from prefetch_scheduler.engine.simulation.predictions import predictor
from prefetch_scheduler.engine.simulation.simulation import BASE, POLICIES, SHIPPED
from prefetch_scheduler.engine.simulation.work import Contents, Task, document, scan
from prefetch_scheduler.engine.simulation.work import run as run_task

DESCRIPTION = """\
Runs recorded sessions in virtual time through the engine's own state machines, and through the
policies that it is to be measured against. The same arguments give the same bytes.
"""


def add_parser(subparsers: Any) -> None:
    """Adds the command to the program's parser."""
    parser = subparsers.add_parser(
        "simulate", help="compare policies on recorded sessions", description=DESCRIPTION
    )
    add = parser.add_argument
    add("sessions", metavar="SESSIONS", nargs="+", help="recorded sessions: .jsonl or .jsonl.gz")
    add(
        "--policy",
        metavar="NAME",
        action="append",
        choices=list(POLICIES),
        help=f"may be given several times: {', '.join(POLICIES)} (default: all of them)",
    )
    add(
        "--predictions",
        metavar="WHICH",
        default="recorded",
        type=_checked(predictor),
        help="recorded, calibrated:P (right with probability P), oracle, or adversarial",
    )
    add(
        "--load",
        metavar="LAW",
        default="recorded",
        type=_checked(load_law),
        help="recorded, or lognormal:MEDIAN_S,SIGMA: drawn for each key",
    )
    add("--seed", metavar="N", default=0, type=int, help="of what is drawn (default: 0)")
    add("--report", metavar="DIR", type=_folder, help="write an HTML page and plots to this folder")
    add("--config", metavar="FILE", help="configuration, YAML")
    add("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(run=run)


def _checked(read: Callable[[str, int], object]) -> Callable[[str], str]:
    """Checks a word as it is read from the command line; it is kept as it was written."""

    def check(text: str) -> str:
        try:
            read(text, 0)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text

    return check


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("the name of a folder is empty")
    return Path(text)


def run(args: argparse.Namespace) -> int:
    """Carries the command out; returns its exit code.

    Raises:
        RecordingError: a recording has a fault; found before anything is simulated.
        ConfigError: the configuration is wrong.
        OSError: the report cannot be written.
    """
    names = tuple(dict.fromkeys(args.policy or POLICIES))
    config = load_config(args.config)
    task = Task(tuple(args.sessions), names, args.load, args.predictions, args.seed, config)
    at = 0

    def seen(number: int) -> None:
        nonlocal at
        at = number

    with Progress(lambda: f"session {at}"):
        contents = scan(task)
        results = run_task(task, contents, seen)
        whole = document(results, contents.sessions)
        swept = sweep(task, contents, seen) if args.report is not None else []
    if args.report is not None:
        _write_report(whole, results, swept, args.report)
    shown = {**whole, "policies": {name: whole["policies"][name] for name in names}}
    if args.json:
        write_json(shown)
    else:
        sys.stdout.write("\n".join(_lines(shown, task)) + "\n")
    return 0


DIALS = (0.0, 0.1, 0.2, 0.35, 0.5, 1.0)
"""Of the default policy, from thrifty to eager, for the frontier of the report."""


def sweep(
    task: Task, contents: Contents, seen: Callable[[int], None] = lambda _: None
) -> list[dict[str, Any]]:
    """The default policy's points of the frontier, by dial and without a promise about waste,
    where it is one of the policies.
    """
    points = []
    for dial in DIALS if SHIPPED in task.policies else ():
        rules = evolve(task.config.speculation, dial=dial, waste_budget=1.0)
        config = evolve(task.config, speculation=rules)
        one = evolve(task, policies=(SHIPPED,), config=config)
        found = document(run_task(one, contents, seen), contents.sessions)
        points.append(_point(SHIPPED, f"dial {dial:g}", found["policies"][SHIPPED]))
    return points


def _point(name: str, setting: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    kept = "tokens_prefetched", "tokens_wasted", "hidden_fraction"
    return {"policy": name, "setting": setting, **{key: figures[key] for key in kept}}


def _write_report(
    whole: Mapping[str, Any],
    results: Mapping[str, Mapping[str, Any]],
    swept: Sequence[Mapping[str, Any]],
    directory: Path,
) -> None:
    from prefetch_scheduler.engine.simulation.report import render

    data = report_data(whole, results, swept)
    directory.mkdir(parents=True, exist_ok=True)
    render(data, directory)
    complain(f"report: {directory}")


def report_data(
    whole: Mapping[str, Any],
    results: Mapping[str, Mapping[str, Any]],
    swept: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """What the report is made of: the figures, wait histograms, a time line and the frontier, with
    the points of a `sweep`.
    """
    policies = {
        name: {**figures, "waits": results[name]["waits"]}
        for name, figures in whole["policies"].items()
    }
    shown = next((name for name in ("default", "specification") if name in results), BASE)
    return {
        "sessions": whole["sessions"],
        "accesses": whole["accesses"],
        "policies": policies,
        "timeline": results[shown]["timeline"],
        "frontier": [
            *(
                _point(name, "as configured" if swept and name == SHIPPED else "", figures)
                for name, figures in whole["policies"].items()
            ),
            *swept,
        ],
        "speculation": results.get(SHIPPED, {}).get("speculation"),
    }


_COLUMNS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("wait s", "wait_s", lambda v: f"{v:,.1f}"),
    ("hidden", "hidden_fraction", lambda v: f"{v:.1%}"),
    ("hit rate", "hit_rate", lambda v: f"{v:.1%}"),
    ("late hits", "late_hit_rate", lambda v: f"{v:.1%}"),
    ("accuracy", "prefetch_accuracy", lambda v: f"{v:.1%}"),
    ("prefetches", "prefetches", lambda v: f"{v:,}"),
    ("tokens", "tokens_prefetched", lambda v: f"{v:,}"),
    ("wasted", "wasted_fraction", lambda v: f"{v:.1%}"),
    ("p50 ms", "demand_p50_ms", lambda v: f"{v:,.1f}"),
    ("p99 ms", "demand_p99_ms", lambda v: f"{v:,.1f}"),
)


def _lines(shown: Mapping[str, Any], task: Task) -> Iterator[str]:
    yield (
        f"{shown['sessions']:,} sessions, {shown['accesses']:,} accesses; load times {task.load},"
        f" predictions {task.predictions}, seed {task.seed}"
    )
    yield ""
    rows = [["policy", *(title for title, _, _ in _COLUMNS)]]
    for name, figures in shown["policies"].items():
        cells = (
            "–" if figures[field] is None else text(figures[field]) for _, field, text in _COLUMNS
        )
        rows.append([name, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = row
        padded = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *padded])
    yield ""
    yield "hidden: share of the waits of none that the policy saves; p50 and p99 over all reads"
