"""The planner's queues: what waits for a slot, always in an order that can still change."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import count
from typing import Any

from sortedcontainers import SortedList

from prefetch_scheduler.policies.flights import Flight
from prefetch_scheduler.policies.vocabulary import Pool

_Entry = tuple[Any, ...]
_Place = tuple[Flight, Pool, int, _Entry]
"""Where a flight stands: in which pool's queue, in which source's line, and as which entry."""


class WaitingRoom:
    """One queue for each pool: demand first come first served, the others by rank.

    Within a pool each source has a line of its own, so that what waits for a source that takes
    no more is stepped over at once, however much it is. An entry is a tuple that sorts as its
    flight does and ends with the flight's number.

    Runtime complexity: adding and removing are O(log n), the heads of a pool O(sources).
    """

    def __init__(self) -> None:
        self._lines: dict[Pool, dict[int, SortedList]] = {
            pool: defaultdict(SortedList) for pool in Pool
        }
        self._lengths = dict.fromkeys(Pool, 0)
        self._places: dict[int, _Place] = {}
        """By the flight's number."""
        self._arrivals = count(1)

    def add(self, flight: Flight, *, first: bool = False) -> None:
        """Queue a flight in its pool's queue. `first`: ahead of the others (demand only)."""
        number, pool, source = flight.id, flight.pool, flight.source.id
        if number in self._places:
            raise ValueError(f"flight {number} ({flight.key}) is queued already")
        entry: _Entry
        if pool is Pool.DEMAND:
            arrival = next(self._arrivals)
            entry = (-arrival if first else arrival, number)
        else:
            entry = (*flight.rank.order, flight.stored, number)
        self._lines[pool][source].add(entry)
        self._lengths[pool] += 1
        self._places[number] = flight, pool, source, entry

    def add_all(self, flights: Iterable[Flight]) -> None:
        """Queue flights that nobody waits for yet: many at a time cost less than one by one."""
        lines: defaultdict[tuple[Pool, int], list[_Entry]] = defaultdict(list)
        for flight in flights:
            number, pool, source = flight.id, flight.pool, flight.source.id
            if number in self._places or pool is Pool.DEMAND:
                raise ValueError(f"flight {number} ({flight.key}) is queued already, or demanded")
            entry = (*flight.rank.order, flight.stored, number)
            self._places[number] = flight, pool, source, entry
            lines[pool, source].append(entry)
        for (pool, source), entries in lines.items():
            self._lines[pool][source].update(entries)
            self._lengths[pool] += len(entries)

    def remove(self, flight: Flight) -> bool:
        """Take a flight out, before its rank, pool, number or source is changed.

        Returns:
            False where it was not queued.
        """
        place = self._places.pop(flight.id, None)
        if place is None:
            return False
        _, pool, source, entry = place
        lines = self._lines[pool]
        line = lines[source]
        if line[0] is entry:  # as most often: it starts
            del line[0]
        else:
            line.remove(entry)
        if not line:
            del lines[source]
        self._lengths[pool] -= 1
        return True

    def heads(self, pool: Pool) -> list[Flight]:
        """The first flight of each source's line, in the pool's order."""
        lines = self._lines[pool]
        if len(lines) == 1:
            (line,) = lines.values()
            return [self._places[line[0][-1]][0]]
        entries = sorted([line[0] for line in lines.values()])
        return [self._places[entry[-1]][0] for entry in entries]

    def take(self, pool: Pool, source: int, most: int) -> list[Flight]:
        """Take out the first flights of one source's line, in its order."""
        line = self._lines[pool][source]
        entries = [line.pop(0) for _ in range(min(most, len(line)))]
        if not line:
            del self._lines[pool][source]
        self._lengths[pool] -= len(entries)
        return [self._places.pop(entry[-1])[0] for entry in entries]

    def queued(self, pool: Pool) -> Iterator[Flight]:
        """The flights of one queue in order, as they stand now."""
        return iter([self._places[entry[-1]][0] for entry in merge(*self._lines[pool].values())])

    def least(self, pool: Pool) -> Flight:
        """The last in order: the least valuable of the least urgent class."""
        entry = max(line[-1] for line in self._lines[pool].values())
        return self._places[entry[-1]][0]

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, flight: Flight) -> bool:
        return flight.id in self._places

    def length(self, pool: Pool) -> int:
        return self._lengths[pool]
