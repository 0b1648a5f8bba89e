"""`prefetch-scheduler replay`: recorded sessions through a real engine, in real time."""

import argparse
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from prefetch_scheduler.engine.cli.output import complain, write_json
from prefetch_scheduler.engine.cli.plan_text import plan_text
from prefetch_scheduler.engine.combined_report import combined
from prefetch_scheduler.engine.config_file import load_config
from prefetch_scheduler.engine.progress import Progress
from prefetch_scheduler.engine.replay import ReplayCounts, totals
from prefetch_scheduler.engine.replay_run import (
    FASTEST,
    MAX_SPEED,
    SLOWEST,
    Part,
    Replayed,
    Run,
    Speed,
    scan,
)
from prefetch_scheduler.policies.report import Report

SAMPLE_SPEED = 25.0
"""The bundled sample lasts eight minutes of the agents' time; so it is over in some 20 s."""

DESCRIPTION = """\
Runs recorded sessions through a real engine in real time. Kinds that the workspace serves come
from its files; the rest from a source that takes the recorded time and returns the recorded size.
Without SESSIONS the bundled sample is run: six recorded sessions and one on a small workspace.
"""


def add_parser(subparsers: Any) -> None:
    """Adds the command to the program's parser."""
    parser = subparsers.add_parser(
        "replay", help="run recorded sessions through a real engine", description=DESCRIPTION
    )
    add = parser.add_argument
    add("sessions", metavar="SESSIONS", nargs="*", help="recorded sessions: .jsonl or .jsonl.gz")
    add("--workspace", metavar="DIR", help="serve files and skills from this folder")
    add(
        "--speed",
        metavar="N",
        type=_speed,
        help="run the engine's clock and the agent N times as fast; max: leave out thinking and"
        f" recorded load times (default: 1; {SAMPLE_SPEED:g} for the bundled sample)",
    )
    add("--config", metavar="FILE", help="configuration, YAML")
    add("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(run=run)


def _speed(text: str) -> Speed:
    if text.strip().lower() == "max":
        return MAX_SPEED
    try:
        speed = Speed(float(text))
    except ValueError:
        speed = MAX_SPEED
    if speed.is_max:  # `inf` too: the word for it is max
        allowed = f"a number in {SLOWEST:g}..{FASTEST:g}"
        raise argparse.ArgumentTypeError(f"{text!r} is neither {allowed} nor max")
    return speed


def run(args: argparse.Namespace) -> int:
    """Carries the command out; returns its exit code.

    Raises:
        RecordingError: a recording has a fault; found before anything is replayed.
        ConfigError: the configuration, or the workspace, is wrong.
        EngineStopped, EngineFailed: the engine ended under the replay.
    """
    config = load_config(args.config)
    if not getattr(args, "verbose", 0):
        # Late loads are warnings, thousands of them in a fast replay: they would drown the result.
        logging.getLogger("prefetch_scheduler").setLevel(logging.ERROR)
    with as_file(files("prefetch_scheduler.engine") / "data" / "sample") as sample:
        parts = _parts(args, sample)
        speed = args.speed or Speed(1.0 if args.sessions else SAMPLE_SPEED)
        run = Run(config, [(part, scan(part.paths)) for part in parts], speed)
        began = time.monotonic()
        with Progress(lambda: _progress_line(run)):
            replayed = run.run()
    report = combined([part.report for part in replayed], config.metrics)
    if args.json:
        _write_json(run.counts, report)
    else:
        _write_text(replayed, report, run.counts, speed, time.monotonic() - began)
    _write_faults(replayed, run.counts)
    return 1 if run.counts.stale else 0


def _parts(args: argparse.Namespace, sample: Path) -> list[Part]:
    if args.sessions:
        return [Part(tuple(args.sessions), workspace=args.workspace)]
    workspace = args.workspace or sample / "workspace"
    return [
        Part((sample / "recorded.jsonl",)),
        Part((sample / "workspace.jsonl",), workspace=workspace, show_plans=True),
    ]


def _progress_line(run: Run) -> str:
    counts = run.counts
    text = f"session {counts.sessions} of {run.sessions}, {counts.accesses} accesses"
    figures = run.figures()
    if figures is None:
        return text
    rate = "–" if figures.hit_rate is None else f"{figures.hit_rate:.0%}"
    return f"{text}, hit rate {rate}, {figures.latency_saved_s:.1f} s hidden"


def _write_json(counts: ReplayCounts, report: Report) -> None:
    document = {"sessions": counts.sessions, "report": report.body(), **totals(counts)}
    write_json(document)


def _write_text(
    replayed: Sequence[Replayed], report: Report, counts: ReplayCounts, speed: Speed, took_s: float
) -> None:
    lines = [*_plan_lines(replayed), report.to_text().rstrip("\n"), ""]
    lines.append(
        f"{counts.sessions:,} sessions, {counts.accesses:,} accesses ({counts.failed:,} failed),"
        f" {counts.changes:,} changes, {counts.predictions:,} predictions;"
        f" {counts.waited_s:.1f} s waited; replayed in {took_s:.1f} s at speed {speed}"
    )
    sys.stdout.write("\n".join(lines) + "\n")


def _write_faults(replayed: Sequence[Replayed], counts: ReplayCounts) -> None:
    faults = [fault for part in replayed for fault in part.faults]
    if faults:
        failed = counts.failed + counts.refused + counts.stale
        complain(f"{failed:,} failed; the first of them:", *(f"  {fault}" for fault in faults))


def _plan_lines(replayed: Sequence[Replayed]) -> Iterator[str]:
    for part in replayed:
        for submitted, plan in part.plans:
            yield f"Plan of session {submitted.session} at {submitted.t:g} s"
            yield ""
            yield plan_text(plan)
