"""The command line `prefetch-scheduler`: its commands, exit codes and error messages.

Exit codes: 0 done, 1 the work failed, 2 wrong usage or bad input, 130 interrupted. Results go to
standard output; messages and progress to standard error.
"""

import argparse
import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any

from prefetch_scheduler.engine.cli.output import complain
from prefetch_scheduler.policies.errors import PrefetchError

PROGRAM = "prefetch-scheduler"
DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

COMMANDS = ("replay", "simulate", "plan", "top", "report", "explain", "config", "completion")
"""Each is in a module `NAME_command`, which is imported only where the command is wanted."""
_LOG_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
_LOG = logging.getLogger("prefetch_scheduler")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code.

    Args:
        argv: the arguments without the program's name; None for those of the process.
    """
    try:
        given = sys.argv[1:] if argv is None else argv
        args = parser(_wanted(given)).parse_args(given)
    except SystemExit as wish:  # argparse has printed the help, the version or what was wrong
        return wish.code if isinstance(wish.code, int) else BAD_INPUT
    with _logging(args.verbose):
        return _guarded(args)


def _wanted(argv: Sequence[str]) -> tuple[str, ...]:
    """The commands that these arguments need to know of: all, unless they begin with one."""
    for argument in argv:
        if argument in COMMANDS:
            return (argument,)
        if argument == "--version":
            return ()
        if argument.rstrip("v") != "-" and argument != "--verbose":
            break
    return COMMANDS


def parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of the command line with these commands."""
    top = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Loads what an AI agent is about to need before it asks.",
        epilog="Exit codes: 0 done, 1 the work failed, 2 wrong usage or bad input,"
        " 130 interrupted.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"{PROGRAM} {version(PROGRAM)}")
    _add_verbose(top, default=0)
    commands = top.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=_CommandParser
    )
    for name in names:
        module = import_module(f"prefetch_scheduler.engine.cli.{name}_command")
        module.add_parser(commands)
    return top


class _CommandParser(argparse.ArgumentParser):
    """A command's parser: `-v` may also stand after the command."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)
        _add_verbose(self, default=argparse.SUPPRESS)


def _add_verbose(to: argparse.ArgumentParser, *, default: int | str) -> None:
    explained = "log what happens to standard error; twice: in detail"
    to.add_argument("-v", "--verbose", action="count", default=default, help=explained)


def _guarded(args: argparse.Namespace) -> int:
    if sys.stdout is None:  # closed before the program began
        complain(f"{PROGRAM}: standard output is closed; there is nowhere to print the result")
        return FAILED
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A terminal without Unicode shows an escape in place of a character, not a failure.
            sys.stdout.reconfigure(errors="backslashreplace")
        code: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
        return FAILED
    except KeyboardInterrupt:
        complain(f"{PROGRAM}: interrupted")
        return INTERRUPTED
    except (PrefetchError, OSError) as error:
        _LOG.debug("the command ended with an error", exc_info=True)
        complain(*_lines(error))
        return exit_code(error)
    except Exception as error:  # noqa: BLE001  a bug, too, ends with a line and an exit code
        _LOG.info("this is a bug; where it happened:", exc_info=True)
        what = f"{type(error).__name__}: {error}"
        complain(f"{PROGRAM}: internal error: {what} (-v shows where)")
        return FAILED
    return code


def _lines(error: PrefetchError | OSError) -> list[str]:
    if isinstance(error, OSError) and not isinstance(error, PrefetchError) and error.filename:
        return [f"{error.filename}: {error.strerror}"]
    lines = (str(error) or type(error).__name__).split("\n")
    # Faults of the input begin with their file and line, where editors look for them.
    return lines if exit_code(error) == BAD_INPUT else [f"{PROGRAM}: {line}" for line in lines]


def exit_code(error: PrefetchError | OSError) -> int:
    """2 where the input is to be mended, 1 where the work itself failed."""
    if isinstance(error, PrefetchError):
        # A fault of what was given is also a ValueError or LookupError: see policies/errors.py.
        return BAD_INPUT if isinstance(error, ValueError | LookupError) else FAILED
    unusable = FileNotFoundError | IsADirectoryError | NotADirectoryError | PermissionError
    return BAD_INPUT if isinstance(error, unusable) else FAILED


def _forget_stdout() -> None:
    """Nobody reads standard output any more; the flush when Python exits must not fail on it."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # not a real file: nothing is flushed to it
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


@contextmanager
def _logging(verbose: int) -> Iterator[None]:
    """The engine's log on standard error while a command runs: warnings, or more if asked."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    before = _LOG.level
    _LOG.setLevel(_LOG_LEVELS[min(verbose, len(_LOG_LEVELS) - 1)])
    _LOG.addHandler(handler)
    try:
        yield
    finally:
        _LOG.removeHandler(handler)
        _LOG.setLevel(before)


if __name__ == "__main__":
    sys.exit(main())
