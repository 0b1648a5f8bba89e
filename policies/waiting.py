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


class WaitingRoom:
    """One queue for each pool: demand first come first served, the others by rank.

    Within a pool each source has a line of its own, so that what waits for a source that takes
    no more is stepped over at once, however much it is. An entry is a tuple that sorts as its
    flight does; it ends with the flight's number, its pool and its source, and the flight.

    Runtime complexity: adding and removing are O(log n), the heads of a pool O(sources).
    """

    def __init__(self) -> None:
        self._lines: dict[Pool, dict[int, SortedList]] = {
            pool: defaultdict(SortedList) for pool in Pool
        }
        self._lengths = dict.fromkeys(Pool, 0)
        self._entries: dict[int, _Entry] = {}
        """By the flight's number."""
        self._arrivals = count(1)

    def add(self, flight: Flight, *, first: bool = False) -> None:
        """Queue a flight in its pool's queue. `first`: ahead of the others (demand only)."""
        number, pool, source = flight.id, flight.pool, flight.source.id
        if number in self._entries:
            raise ValueError(f"flight {number} ({flight.key}) is queued already")
        entry: _Entry
        if pool is Pool.DEMAND:
            arrival = next(self._arrivals)
            entry = (-arrival if first else arrival, number, pool, source, flight)
        else:
            entry = (*flight.order, flight.stored, number, pool, source, flight)
        self._lines[pool][source].add(entry)
        self._lengths[pool] += 1
        self._entries[number] = entry

    def add_all(self, flights: Iterable[Flight]) -> None:
        """Queue flights that nobody waits for yet: many at a time cost less than one by one."""
        lines: defaultdict[tuple[Pool, int], list[_Entry]] = defaultdict(list)
        for flight in flights:
            number, pool, source = flight.id, flight.pool, flight.source.id
            if number in self._entries or pool is Pool.DEMAND:
                raise ValueError(f"flight {number} ({flight.key}) is queued already, or demanded")
            entry = (*flight.order, flight.stored, number, pool, source, flight)
            self._entries[number] = entry
            lines[pool, source].append(entry)
        for (pool, source), entries in lines.items():
            self._lines[pool][source].update(entries)
            self._lengths[pool] += len(entries)

    def remove(self, flight: Flight) -> bool:
        """Take a flight out, before its rank, pool, number or source is changed.

        Returns:
            False where it was not queued.
        """
        entry = self._entries.pop(flight.id, None)
        if entry is None:
            return False
        *_, pool, source, _ = entry
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
            return [line[0][-1]]
        entries = sorted([line[0] for line in lines.values()])
        return [entry[-1] for entry in entries]

    def take(self, pool: Pool, source: int, most: int) -> list[Flight]:
        """Take out the first flights of one source's line, in its order."""
        line = self._lines[pool][source]
        entries = [line.pop(0) for _ in range(min(most, len(line)))]
        if not line:
            del self._lines[pool][source]
        self._lengths[pool] -= len(entries)
        flights: list[Flight] = [entry[-1] for entry in entries]
        for flight in flights:
            del self._entries[flight.id]
        return flights

    def queued(self, pool: Pool) -> Iterator[Flight]:
        """The flights of one queue in order, as they stand now."""
        return iter([entry[-1] for entry in merge(*self._lines[pool].values())])

    def least(self, pool: Pool) -> Flight:
        """The last in order: the least valuable of the least urgent class."""
        entry = max(line[-1] for line in self._lines[pool].values())
        flight: Flight = entry[-1]
        return flight

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, flight: Flight) -> bool:
        return flight.id in self._entries

    def length(self, pool: Pool) -> int:
        return self._lengths[pool]
