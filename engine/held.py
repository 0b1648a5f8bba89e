"""What is kept for the actors while their whole tree is rebuilt, and sent when it is back."""

import threading
from collections import deque
from typing import Any

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.messages import Events
from prefetch_scheduler.actors.system import ActorSystem, State
from prefetch_scheduler.policies.errors import PrefetchError
from prefetch_scheduler.policies.metrics_events import MetricsEvent


class Held:
    """Messages of the host, and counts of what happens meanwhile. Safe in any thread.

    Args:
        system: whose actors they are for.
        metrics: where the counts go.
        limit: messages kept at most, and again counts.
    """

    def __init__(self, system: ActorSystem, metrics: Address, limit: int) -> None:
        self._system = system
        self._metrics = metrics
        self._limit = limit
        self._lock = threading.Lock()
        self._messages: list[tuple[Address, Any]] = []
        self._counts: deque[MetricsEvent] = deque(maxlen=limit)

    def hold(self, address: Address, message: Any) -> bool:
        """Keep what the host says until the actors are back. False: they are back already.

        Raises:
            PrefetchError: as many are kept as may be.
        """
        with self._lock:
            if self._system.state is not State.DEGRADED:
                return False
            if len(self._messages) >= self._limit:
                raise PrefetchError(
                    f"the engine is degraded ({self._system.reason}) and keeps"
                    f" {self._limit} messages already; send less, or later"
                )
            self._messages.append((address, message))
        return True

    def count(self, event: MetricsEvent) -> None:
        """Count at once, or when Metrics is back."""
        if self._system.state is State.DEGRADED:
            self._counts.append(event)
        else:
            self._metrics.tell(Events((event,)))

    def release(self) -> None:
        """The actors are back: send what was kept, in order."""
        with self._lock:
            held, self._messages = self._messages, []
            for address, message in held:
                address.tell(message)
        counted = [self._counts.popleft() for _ in range(len(self._counts))]
        if counted:
            self._metrics.tell(Events(tuple(counted)))
