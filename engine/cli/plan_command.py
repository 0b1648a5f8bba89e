"""`prefetch-scheduler plan`: what would be loaded, in which order, and why. Loads nothing."""

import argparse
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attrs import evolve

from prefetch_scheduler.engine import adapters
from prefetch_scheduler.engine.cli.documents import read_document
from prefetch_scheduler.engine.cli.output import write_json
from prefetch_scheduler.engine.cli.plan_text import plan_text
from prefetch_scheduler.engine.config_file import load_config
from prefetch_scheduler.engine.dry_run import plan_predictions
from prefetch_scheduler.engine.workspace import SKILL_FOLDERS, workspace_sources
from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.prediction import Constraints
from prefetch_scheduler.policies.vocabulary import Mode, Urgency

DESCRIPTION = f"""\
Shows what would be loaded for these predictions, in which order, and why. Nothing is loaded: sizes
are those of the workspace's files. Skills are looked for in DIR's {", ".join(SKILL_FOLDERS)}.
"""


def add_parser(subparsers: Any) -> None:
    """Adds the command to the program's parser."""
    parser = subparsers.add_parser(
        "plan", help="show what would be loaded, and why", description=DESCRIPTION
    )
    add = parser.add_argument
    add(
        "predictions",
        metavar="PREDICTIONS",
        help="YAML or JSON (- for standard input): the Pattern Predictor's output,"
        " or a list of predictions",
    )
    add("--workspace", metavar="DIR", default=".", help="files and skills (default: %(default)s)")
    add("--constraints", metavar="FILE", help="YAML or JSON: the Token Economy Manager's limits")
    add("--token-budget", metavar="N", type=_tokens, help="tokens that may be loaded")
    add("--time-budget-ms", metavar="MS", type=_milliseconds, help="time for loads in P0 to P2")
    add("--urgency", choices=[str(word) for word in Urgency], help="urgency of the task")
    add("--mode", choices=[str(word) for word in Mode], help="quality mode")
    add("--config", metavar="FILE", help="configuration, YAML")
    add("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(run=run)


def _tokens(text: str) -> int:
    value = int(text) if text.strip().isdecimal() else -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return value


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def run(args: argparse.Namespace) -> int:
    """Carries the command out; returns its exit code.

    Raises:
        ConfigError: the configuration, or the workspace, is wrong.
        InvalidPrediction: the predictions or constraints are; names each fault with its file.
    """
    config = load_config(args.config)
    document = read_document(args.predictions)
    with _faults_of(args.predictions):
        predictions = adapters.predictions([] if document is None else document)
        advice = adapters.recommendations(document)
        suggested = adapters.suggested_constraints(document)
    sources = workspace_sources(args.workspace)
    plan = plan_predictions(config, sources, predictions, _constraints(args, suggested))
    if args.json:
        write_json(plan.to_dict())
        return 0
    sys.stdout.write(plan_text(plan))
    if advice:
        sys.stdout.write("\nthe predictor's own advice, for people; it changes nothing here\n")
        sys.stdout.writelines(f"  {line.when}: {line.text}\n" for line in advice)
    return 0


def _constraints(args: argparse.Namespace, suggested: Constraints) -> Constraints:
    """Options win over the manager's file, which wins over what the predictor suggests (D11)."""
    result = suggested
    if args.constraints is not None:
        document = read_document(args.constraints)
        with _faults_of(args.constraints):
            result = adapters.constraints(document, suggested=suggested)
            for alert in adapters.budget_alerts(document):
                sys.stderr.write(f"{alert}\n")
    given = {
        "token_budget": args.token_budget,
        "time_budget_ms": args.time_budget_ms,
        "urgency": args.urgency,
        "mode": args.mode,
    }
    return evolve(result, **{name: value for name, value in given.items() if value is not None})


@contextmanager
def _faults_of(path: str) -> Iterator[None]:
    """Puts the file's name before each fault of what was read from it."""
    try:
        yield
    except InvalidPrediction as error:
        raise InvalidPrediction(f"{path}: {fault}" for fault in error.faults) from None
