"""Eviction policies by name, and two that need more than lists in a fixed order."""

from collections.abc import Callable, Iterator
from itertools import chain
from math import floor, inf, log2

from prefetch_scheduler.policies.eviction import (
    ArrivalOrder,
    Channel,
    FrequencyOrder,
    Node,
    Order,
    RecencyOrder,
)
from prefetch_scheduler.policies.linked import Chain
from prefetch_scheduler.policies.vocabulary import EvictionPolicy, Priority

MAX_PASSED = 64
"""Entries that a search for a victim spares at most, so that none takes long at any size."""

STEPS = 2
"""Classes of value for each factor of two: values within one differ by less than 42 %."""


class SieveOrder(ArrivalOrder):
    """`sieve`: longest in the layer first, but what was read since it was last passed is spared.

    A hand walks from old to new. It spares what was read, once, and gives up the first that was
    not; it stays where it is, so that new entries are judged soon. `rank` is 1 for what was read.

    Source: Zhang, Yang, Yue, Vigfusson, Rashmi, "SIEVE is simpler than LRU" (NSDI 2024); that the
    hand spares no more than `MAX_PASSED` at a time is ours.
    """

    _READ = Priority.P4 - Priority.P1
    """The class that the hand walks; the others, not read, have nothing to be spared for."""

    def __init__(self) -> None:
        super().__init__()
        self._walked = self._shelves[self._READ]
        self._hand: Node | None = None

    def add(self, node: Node) -> None:
        node.rank = 0.0
        super().add(node)

    def remove(self, node: Node) -> None:
        if node is self._hand:
            self._hand = self._walked.newer(node)
        super().remove(node)

    def touch(self, node: Node) -> None:
        node.rank = 1.0

    def victim(self, newcomer: Node | None) -> Node | None:
        found = super().victim(newcomer)
        if found is None or found.shelf is not self._walked:
            return found
        node = self._hand or found
        for _ in range(MAX_PASSED):
            if node is not newcomer and not node.rank:
                break
            node.rank = 0.0
            node = self._walked.newer(node) or found
        if node is newcomer:
            node = found
        self._hand = node
        return node


class GreedyDualOrder(ArrivalOrder):
    """`gdsf`: greedy-dual size frequency. First goes what has the fewest reads for its size.

    An entry's rank is its value, reads / tokens, on top of the rank of the last one given up: so
    what is not read any more is overtaken in time. Values are rounded down to classes: within one
    the ranks grow in the order of arrival, so that only the heads of the lists are compared.

    Source: Cherkasova, "Improving WWW proxies performance with greedy-dual-size-frequency caching
    policy" (HP Labs, 1998); that values are rounded is ours, and takes the place of a heap.
    """

    def __init__(self) -> None:
        super().__init__()
        self._valued: dict[int, Chain[Node]] = {}
        self._passed = 0.0
        """The highest rank that was given up."""

    @staticmethod
    def class_of(node: Node) -> int:
        """The class of its value."""
        return floor(STEPS * log2(max(node.freq, 1) / max(node.entry.tokens, 1)))

    def shelf(self, node: Node) -> Chain[Node]:
        if node.priority is not Priority.P1:
            return super().shelf(node)
        number = self.class_of(node)
        shelf = self._valued.get(number)
        if shelf is None:
            shelf = self._valued[number] = Chain(Channel.SHELF)
        return shelf

    def add(self, node: Node) -> None:
        super().add(node)
        if node.priority is Priority.P1:
            node.rank = self._passed + 2.0 ** (self.class_of(node) / STEPS)

    def touch(self, node: Node) -> None:
        self.remove(node)
        self.add(node)

    def victim(self, newcomer: Node | None) -> Node | None:
        lower = self._shelves[: Priority.P4 - Priority.P1]
        for shelf in lower:
            node = shelf.first()
            if node is not None and node is not newcomer:
                return node
        best: Node | None = None
        lowest = (inf, 0)
        for number, shelf in self._valued.items():
            node = shelf.first()
            if node is not None and node is not newcomer and (node.rank, number) < lowest:
                best, lowest = node, (node.rank, number)
        if best is None:
            return super().victim(newcomer)
        self._passed = max(self._passed, best.rank)
        return best

    def shelves(self) -> Iterator[Chain[Node]]:
        return chain(super().shelves(), self._valued.values())


ORDERS: dict[EvictionPolicy, Callable[[], Order]] = {
    EvictionPolicy.LRU: RecencyOrder,
    EvictionPolicy.LFU: FrequencyOrder,
    EvictionPolicy.FIFO: ArrivalOrder,
    EvictionPolicy.TTL: RecencyOrder,
    EvictionPolicy.SIEVE: SieveOrder,
    EvictionPolicy.GDSF: GreedyDualOrder,
}
"""What makes a layer's order, by the name that the configuration gives."""
