"""Background flights by the time at which they are dropped if nothing starts them (D18)."""

from heapq import heapify, heappop, heappush

from prefetch_scheduler.policies.flights import Flight, FlightTable, State
from prefetch_scheduler.policies.vocabulary import Pool

_SPARE = 64


class Unstarted:
    """Which background flight has waited longest, in the planner's queue or in its pool.

    What has been started or cancelled since is stepped over when it comes up, and cleared away
    where it makes up more than half. Runtime complexity: O(log n), amortised.
    """

    def __init__(self, flights: FlightTable) -> None:
        self._flights = flights
        self._heap: list[tuple[float, int]] = []

    def add(self, flight: Flight) -> None:
        """A flight has been queued for the background pool."""
        heappush(self._heap, (flight.created_at, flight.id))
        if len(self._heap) > _SPARE + 2 * len(self._flights.live):
            self._heap = [entry for entry in set(self._heap) if self._waits(entry) is not None]
            heapify(self._heap)

    def first(self) -> Flight | None:
        """The one that has waited longest, or None."""
        while self._heap:
            flight = self._waits(self._heap[0])
            if flight is not None:
                return flight
            heappop(self._heap)
        return None

    def take_overdue(self, now: float, limit_s: float) -> list[Flight]:
        """Take out those that have waited for `limit_s` seconds, the oldest first."""
        taken: list[Flight] = []
        while self._heap and self._heap[0][0] + limit_s <= now:
            flight = self._waits(heappop(self._heap))
            if flight is not None:
                taken.append(flight)
        return taken

    def __len__(self) -> int:
        return len(self._heap)

    def _waits(self, entry: tuple[float, int]) -> Flight | None:
        """The flight of an entry, where it still waits as it did then and no reader wants it."""
        created_at, number = entry
        flight = self._flights.by_id.get(number)
        if flight is None or flight.created_at != created_at or flight.waiters:
            return None
        waits = flight.state in (State.QUEUED, State.HANDED) and flight.pool is Pool.P3
        return flight if waits else None
