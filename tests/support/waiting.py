"""Waiting for what another thread brings about."""

import time
from collections.abc import Callable

PATIENCE_S = 20


def wait_for(what: Callable[[], object]) -> None:
    """Wait until `what()` is true.

    Raises:
        AssertionError: it has not become true within `PATIENCE_S`.
    """
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)
