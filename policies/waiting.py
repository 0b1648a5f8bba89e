"""The planner's queues: what waits for a slot, always in an order that can still change."""

from collections import OrderedDict
from collections.abc import Iterator

from sortedcontainers import SortedKeyList

from prefetch_scheduler.policies.flights import Flight
from prefetch_scheduler.policies.vocabulary import Pool


class WaitingRoom:
    """One queue for each pool: demand first come first served, the others by rank.

    Runtime complexity: adding, removing and taking the first are O(log n).
    """

    def __init__(self) -> None:
        self._demand: OrderedDict[int, Flight] = OrderedDict()
        self._ranked: dict[Pool, SortedKeyList] = {
            pool: SortedKeyList(key=lambda flight: (*flight.rank.order, flight.stored))
            for pool in Pool
            if pool is not Pool.DEMAND
        }
        self._place: dict[int, Pool] = {}

    def add(self, flight: Flight, *, first: bool = False) -> None:
        """Queue a flight in its pool's queue. `first`: ahead of the others (demand only)."""
        if flight.id in self._place:
            raise ValueError(f"flight {flight.id} ({flight.key}) is queued already")
        self._place[flight.id] = flight.pool
        if flight.pool is Pool.DEMAND:
            self._demand[flight.id] = flight
            if first:
                self._demand.move_to_end(flight.id, last=False)
        else:
            self._ranked[flight.pool].add(flight)

    def remove(self, flight: Flight) -> bool:
        """Take a flight out, before its rank or pool is changed; False: it was not queued."""
        pool = self._place.pop(flight.id, None)
        if pool is None:
            return False
        if pool is Pool.DEMAND:
            del self._demand[flight.id]
        else:
            self._ranked[pool].remove(flight)
        return True

    def queued(self, pool: Pool) -> Iterator[Flight]:
        """The flights of one queue in order, as they stand now."""
        return iter(list(self._demand.values() if pool is Pool.DEMAND else self._ranked[pool]))

    def least(self, pool: Pool) -> Flight:
        """The last in order: the least valuable of the least urgent class."""
        flight: Flight = self._ranked[pool][-1]
        return flight

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, flight: Flight) -> bool:
        return flight.id in self._place

    def length(self, pool: Pool) -> int:
        return len(self._demand) if pool is Pool.DEMAND else len(self._ranked[pool])
