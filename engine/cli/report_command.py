"""`prefetch-scheduler report`: what prefetching has brought, live or from a saved report."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from prefetch_scheduler.engine.cli.documents import STDIN, read_document
from prefetch_scheduler.engine.cli.engines import add_socket, connected
from prefetch_scheduler.engine.cli.output import write_json
from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.report_text import report_text

DESCRIPTION = """\
Shows the report of a running engine, or one that was saved as YAML or JSON: what Report.to_yaml or
to_dict made, or `replay --json`.
"""


def add_parser(subparsers: Any) -> None:
    """Adds the command to the program's parser."""
    parser = subparsers.add_parser(
        "report", help="show what prefetching has brought", description=DESCRIPTION
    )
    add = parser.add_argument
    add("file", metavar="FILE", nargs="?", help="a saved report (- for standard input)")
    add_socket(add)
    add("--session", metavar="ID", help="of this session; without it, of the whole engine")
    add("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carries the command out; returns its exit code.

    Raises:
        InvalidPrediction: the file holds no report.
        MonitorError: there is no running engine, or it does not answer.
    """
    if args.file is None:
        fields = {} if args.session is None else {"session": args.session}
        with connected(args) as client:
            document: object = client.ask("report", **fields)
        name = "the engine's answer"
    else:
        name = "<stdin>" if args.file == STDIN else args.file
        if args.session is not None or args.socket is not None:
            raise InvalidPrediction(f"{name}: --session and --socket are for a running engine")
        document = read_document(args.file)
    body = _body(document)
    try:
        text = report_text(body)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InvalidPrediction(f"{name}: holds no prefetch report") from None
    if args.json:
        write_json({"prefetch_report": body})
    else:
        sys.stdout.write(text)
    return 0


def _body(document: object) -> Mapping[str, Any]:
    """What stands under `prefetch_report`, or `report` in what `replay --json` prints."""
    if isinstance(document, Mapping):
        for key in ("prefetch_report", "report"):
            inner = document.get(key)
            if isinstance(inner, Mapping):
                return inner
        return document
    return {}
