"""Finds the running engine that a command is about, through its monitor's socket."""

import argparse
from collections.abc import Callable
from typing import Any

from prefetch_scheduler.engine.monitor import place
from prefetch_scheduler.engine.monitor.client import MonitorClient, running
from prefetch_scheduler.engine.monitor.place import PROTOCOL, MonitorError

HINT = "set monitor.socket to auto in the engine's configuration, or name its socket with --socket"


def add_socket(add: Callable[..., Any]) -> None:
    """Adds the option that says which engine is meant."""
    add(
        "--socket",
        metavar="PATH",
        help="the engine's monitor.socket; without it the one engine of this user that has"
        " `auto` there is found",
    )


def connected(args: argparse.Namespace) -> MonitorClient:
    """A connection to the engine that is meant.

    Raises:
        MonitorError: there is none, there are several, or it cannot be reached.
    """
    if args.socket is not None:
        return _spoken_with(MonitorClient(args.socket))
    found = list(running())
    if not found:
        raise MonitorError(f"no running engine listens in {place.own_folder()}; {HINT}")
    if len(found) > 1:
        lines = [f"{len(found)} engines are running; name one of them:"]
        for path, hello in found:
            lines.append(f"  --socket {path}  ({hello['engine']} of process {hello['process']})")
        raise MonitorError("\n".join(lines))
    return _spoken_with(MonitorClient(found[0][0]))


def _spoken_with(client: MonitorClient) -> MonitorClient:
    """The same client, once it is known that both sides mean the same."""
    try:
        hello = client.ask("hello")
        if hello["protocol"] != PROTOCOL:
            raise MonitorError(
                f"the engine is of version {hello['version']}, and speaks protocol"
                f" {hello['protocol']}, this command {PROTOCOL}: use the command that was installed"
                " with the engine"
            )
    except BaseException:
        client.close()
        raise
    return client
