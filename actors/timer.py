"""One thread that turns deadlines into messages, for all actors of an engine."""

import logging
import threading
import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from queue import Empty, SimpleQueue

from prefetch_scheduler.actors.ports import Address
from prefetch_scheduler.actors.signals import Tick

logger = logging.getLogger(__name__)

_LONGEST_WAIT_S = 3600.0


class Timer:
    """Sends `Tick(at)` to an address when its deadline has passed.

    Each address has one deadline at a time: arming it again replaces the one before.

    Args:
        engine_id: goes into the thread's name.
        watch: called every `watch_s` real seconds in the timer's thread; must not block.
        watch_s: see `watch`.
    """

    def __init__(
        self,
        engine_id: str,
        watch: Callable[[], object] | None = None,
        watch_s: float = 1.0,
    ) -> None:
        self._orders: SimpleQueue[tuple[Address, float, float] | None] = SimpleQueue()
        self._numbers = count()
        self._due: list[tuple[float, int, Address, float]] = []
        self._latest: dict[int, int] = {}
        """The number of each address's valid deadline, by identity."""
        self._watch = watch
        self._watch_s = watch_s
        self._watch_at = inf
        self._stopped = False
        self._name = f"prefetch-{engine_id}-timer"
        self._reviving = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)

    def start(self) -> None:
        """Start the thread. Deadlines armed before are kept."""
        if self._watch is not None:
            self._watch_at = time.monotonic() + self._watch_s
        self._thread.start()

    def revive(self) -> None:
        """Start another thread where the one before has died, which takes an error from outside;
        no deadline is lost by that. Cheap; any thread.
        """
        if self._stopped or self._thread.ident is None or self._thread.is_alive():
            return
        with self._reviving:
            if not self._thread.is_alive():
                logger.error("the timer's thread died and is replaced")
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def arm(self, address: Address, at: float, delay_s: float) -> None:
        """Send `Tick(at)` to `address` in `delay_s` real seconds. Never waits; any thread."""
        self._orders.put((address, at, time.monotonic() + max(delay_s, 0.0)))

    def stop(self, timeout: float = 1.0) -> None:
        """End the thread; ticks still due are not sent. Waits at most `timeout` real seconds."""
        self._stopped = True
        self._orders.put(None)
        if self._thread.ident is not None and threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    @property
    def thread(self) -> threading.Thread:
        """The thread that sends the ticks now."""
        return self._thread

    def _run(self) -> None:
        while True:
            try:
                order = self._orders.get(timeout=self._wait())
            except Empty:
                self._send()
                continue
            if order is None:
                return
            address, at, when = order
            number = next(self._numbers)
            self._latest[id(address)] = number
            heappush(self._due, (when, number, address, at))
            self._send()
            if len(self._due) > 64 + 2 * len(self._latest):  # replaced deadlines must not pile up
                self._due = [e for e in self._due if self._latest.get(id(e[2])) == e[1]]
                heapify(self._due)

    def _wait(self) -> float:
        first = min(self._due[0][0] if self._due else inf, self._watch_at)
        return min(max(first - time.monotonic(), 0.0), _LONGEST_WAIT_S)

    def _send(self) -> None:
        now = time.monotonic()
        due, latest = self._due, self._latest
        while due and (due[0][0] <= now or latest.get(id(due[0][2])) != due[0][1]):
            _, number, address, at = heappop(due)
            if latest.get(id(address)) == number:
                del latest[id(address)]
                address.tell(Tick(at))
        if self._watch is not None and self._watch_at <= now:
            self._watch_at = now + self._watch_s
            self._watch()
