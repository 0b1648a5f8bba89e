"""One thread that turns deadlines into messages, for all actors of an engine."""

import threading
import time
from heapq import heapify, heappop, heappush
from itertools import count
from queue import Empty, SimpleQueue

from prefetch_scheduler.actors.ports import Address
from prefetch_scheduler.actors.signals import Tick

_LONGEST_WAIT_S = 3600.0


class Timer:
    """Sends `Tick(at)` to an address when its deadline has passed.

    Each address has one deadline at a time: arming it again replaces the one before.

    Args:
        engine_id: goes into the thread's name.
    """

    def __init__(self, engine_id: str) -> None:
        self._orders: SimpleQueue[tuple[Address, float, float] | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=self._run, name=f"prefetch-{engine_id}-timer", daemon=True
        )

    def start(self) -> None:
        """Start the thread. Deadlines armed before are kept."""
        self._thread.start()

    def arm(self, address: Address, at: float, delay_s: float) -> None:
        """Send `Tick(at)` to `address` in `delay_s` real seconds. Never waits; any thread."""
        self._orders.put((address, at, time.monotonic() + max(delay_s, 0.0)))

    def stop(self, timeout: float = 1.0) -> None:
        """End the thread; ticks still due are not sent. Waits at most `timeout` real seconds."""
        self._orders.put(None)
        if self._thread.ident is not None and threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    @property
    def thread(self) -> threading.Thread:
        return self._thread

    def _run(self) -> None:
        numbers = count()
        due: list[tuple[float, int, Address, float]] = []
        latest: dict[int, int] = {}  # the number of each address's valid deadline, by identity
        while True:
            try:
                order = self._orders.get(timeout=self._wait(due))
            except Empty:
                self._send(due, latest)
                continue
            if order is None:
                return
            address, at, when = order
            number = next(numbers)
            latest[id(address)] = number
            heappush(due, (when, number, address, at))
            self._send(due, latest)
            if len(due) > 64 + 2 * len(latest):  # replaced deadlines must not pile up
                due = [entry for entry in due if latest.get(id(entry[2])) == entry[1]]
                heapify(due)

    @staticmethod
    def _wait(due: list[tuple[float, int, Address, float]]) -> float:
        if not due:
            return _LONGEST_WAIT_S
        return min(max(due[0][0] - time.monotonic(), 0.0), _LONGEST_WAIT_S)

    @staticmethod
    def _send(due: list[tuple[float, int, Address, float]], latest: dict[int, int]) -> None:
        now = time.monotonic()
        while due and (due[0][0] <= now or latest.get(id(due[0][2])) != due[0][1]):
            _, number, address, at = heappop(due)
            if latest.get(id(address)) == number:
                del latest[id(address)]
                address.tell(Tick(at))
