"""`prefetch-scheduler config`: the effective configuration, or its schema."""

import argparse
import sys
from typing import Any

from prefetch_scheduler.engine.cli.output import write_json
from prefetch_scheduler.engine.config_file import load_config
from prefetch_scheduler.engine.config_schema import json_schema
from prefetch_scheduler.engine.config_text import plain, to_yaml

DESCRIPTION = """\
Prints the effective configuration as YAML with comments: the values of FILE, and the defaults for
all else. FILE is checked; each fault is one line on standard error.
"""


def add_parser(subparsers: Any) -> None:
    """Adds the command to the program's parser."""
    parser = subparsers.add_parser(
        "config", help="print the effective configuration", description=DESCRIPTION
    )
    add = parser.add_argument
    add("--schema", action="store_true", help="print the JSON Schema of the configuration instead")
    add("--config", metavar="FILE", help="configuration, YAML")
    add("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carries the command out; returns its exit code.

    Raises:
        ConfigError: the configuration is wrong; also with `--schema`, so that no fault hides.
    """
    config = load_config(args.config)
    if args.schema:
        write_json(json_schema())
    elif args.json:
        write_json(plain(config))
    else:
        sys.stdout.write(to_yaml(config))
    return 0
