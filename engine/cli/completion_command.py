"""`prefetch-scheduler completion SHELL`: the shell's completion script, made from the parsers."""

import argparse
import sys
from typing import Any

from prefetch_scheduler.engine.cli.completion import SHELLS, script

DESCRIPTION = """\
Prints a script that completes commands, options and their words. To have it in every new shell:
bash: eval "$(prefetch-scheduler completion bash)" in ~/.bashrc;
zsh: the same with zsh in ~/.zshrc, after compinit;
fish: prefetch-scheduler completion fish > ~/.config/fish/completions/prefetch-scheduler.fish
"""


def add_parser(subparsers: Any) -> None:
    """Adds the command to the program's parser."""
    parser = subparsers.add_parser(
        "completion",
        help="print a shell's completion script",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carries the command out; returns its exit code."""
    from prefetch_scheduler.engine.cli.main import parser  # which imports this module

    sys.stdout.write(script(args.shell, parser()))
    return 0
