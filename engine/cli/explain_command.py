"""`prefetch-scheduler explain KEY`: what a running engine did with a resource, and why."""

import argparse
import sys
from typing import Any

from prefetch_scheduler.engine.cli.engines import add_socket, connected
from prefetch_scheduler.engine.cli.output import complain, write_json
from prefetch_scheduler.policies.story import StoryLine
from prefetch_scheduler.policies.yaml_text import printable

DESCRIPTION = """\
Tells the story of a resource in a running engine, oldest line first: time, what happened, why.
"""


def add_parser(subparsers: Any) -> None:
    """Adds the command to the program's parser."""
    parser = subparsers.add_parser(
        "explain", help="tell what an engine did with a resource, and why", description=DESCRIPTION
    )
    add = parser.add_argument
    add("key", metavar="KEY", help="kind:name, e.g. file:src/auth.py")
    add_socket(add)
    add("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carries the command out; returns its exit code: 1 where nothing is known of the resource.

    Raises:
        MonitorError: there is no running engine, it does not answer, or does not take the key.
    """
    with connected(args) as client:
        told = client.ask("explain", key=args.key)
    if args.json:
        write_json(told)
    else:
        sys.stdout.writelines(f"{StoryLine(**line)}\n" for line in told["story"])
    if not told["story"]:
        complain(f"nothing is known of {printable(args.key)}: it was neither predicted nor read")
    return 0 if told["story"] else 1
