"""`prefetch-scheduler top`: a running engine, live."""

import argparse
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prefetch_scheduler.engine.cli.engines import add_socket, connected
from prefetch_scheduler.engine.cli.output import write_json
from prefetch_scheduler.engine.cli.top_text import text_of
from prefetch_scheduler.engine.cli.top_view import View, view_of

INTERVAL_S = 1.0
SHORTEST_S, LONGEST_S = 0.1, 3600.0
DECISIONS = 40
WIDE = 200
"""Characters of a line where there is no terminal to say."""
CLEAR = "\x1b[H\x1b[2J"

DESCRIPTION = """\
Shows a running engine: lanes and their loads, layers, queues, hit rate, alerts and the latest
decisions. Ctrl-C ends it. The engine must have monitor.socket set; only its own user can look.
With the extra `cli` it is drawn with rich. What is no terminal gets the figures once, as text.
"""

Show = Callable[[View], None]


def add_parser(subparsers: Any) -> None:
    """Adds the command to the program's parser."""
    parser = subparsers.add_parser(
        "top", help="show a running engine live", description=DESCRIPTION
    )
    add = parser.add_argument
    add_socket(add)
    add(
        "--interval",
        metavar="S",
        type=_seconds,
        default=INTERVAL_S,
        help="seconds between two looks (default: %(default)g)",
    )
    add("--once", action="store_true", help="look once, and end")
    add("--plain", action="store_true", help="text without colours and boxes, also with rich")
    add("--json", action="store_true", help="look once: one JSON document on standard output")
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not SHORTEST_S <= value <= LONGEST_S:
        allowed = f"{SHORTEST_S:g}..{LONGEST_S:g}"
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds in {allowed}")
    return value


def run(args: argparse.Namespace) -> int:
    """Carries the command out; returns its exit code.

    Raises:
        MonitorError: there is no running engine, or it ends while it is looked at.
    """
    with connected(args) as client:
        status = client.ask("status", decisions=DECISIONS)
        if args.json:
            write_json(status)
            return 0
        once = args.once or not sys.stdout.isatty()
        with _screen(once=once, plain=args.plain) as show:
            before = None
            try:
                while True:
                    show(view_of(status, before))
                    if once:
                        return 0
                    time.sleep(args.interval)
                    before, status = status, client.ask("status", decisions=DECISIONS)
            except KeyboardInterrupt:  # the way out
                return 0


@contextmanager
def _screen(*, once: bool, plain: bool) -> Iterator[Show]:
    """What shows a view: with rich where it is installed, as text elsewhere."""
    clear = not (once or plain or os.environ.get("TERM", "dumb") == "dumb")
    if plain or not sys.stdout.isatty():
        yield _text_screen(once=once, clear=clear)
        return
    try:
        from rich.console import Console

        from prefetch_scheduler.engine.cli.top_rich import live, screen_of
    except ImportError:
        yield _text_screen(once=once, clear=clear)
        return
    console = Console()  # with colours where the terminal has them, and never with NO_COLOR
    if console.is_dumb_terminal:
        yield _text_screen(once=once, clear=clear)
    elif once:
        yield lambda view: console.print(screen_of(view, console.width))
    else:
        with live(console) as shown:
            yield lambda view: shown.update(
                screen_of(view, console.width, console.height), refresh=True
            )


def _text_screen(*, once: bool, clear: bool) -> Show:
    def show(view: View) -> None:
        size = shutil.get_terminal_size((100, 50))
        width = size.columns if sys.stdout.isatty() else WIDE
        text = text_of(view, width, None if once else size.lines - 1)
        sys.stdout.write(f"{CLEAR}{text}" if clear else text if once else f"{text}\n")
        sys.stdout.flush()

    return show
