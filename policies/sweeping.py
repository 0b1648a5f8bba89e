"""The table of all entries, and walks over it that take a while and are done in steps.

An invalidation of a prefix has to look at every entry. With a million of them that would hold up
everybody else, so it is done a bounded number of entries at a time; until it is through, the mark
on the board keeps readers from what has not been reached.
"""

from collections.abc import Iterator

from attrs import define

from prefetch_scheduler.policies.eviction import Node


class Table:
    """All nodes, densely, in no order. Constant time; a node knows its place."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []

    def add(self, node: Node) -> None:
        node.slot = len(self._nodes)
        self._nodes.append(node)

    def remove(self, node: Node) -> None:
        """The last node takes its place."""
        last = self._nodes.pop()
        if last is not node:
            self._nodes[node.slot] = last
            last.slot = node.slot

    def __len__(self) -> int:
        return len(self._nodes)

    def __getitem__(self, slot: int) -> Node:
        return self._nodes[slot]

    def between(self, first: int, end: int) -> list[Node]:
        """The nodes from place `first` to the one before `end`."""
        return self._nodes[first:end]

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes)


@define(eq=False)
class Sweep:
    """An invalidation of a prefix under way.

    It walks from the last place to the first. Whatever is removed meanwhile, only nodes that it
    has seen already, or that came after it began, move to a place before it.
    """

    pattern: str
    epoch: int
    at: int
    """Places below this one have not been looked at."""

    def step(self, table: Table, most: int) -> tuple[list[Node], int]:
        """The next entries that it covers, and how many were looked at, at most `most`."""
        self.at = min(self.at, len(table))
        end = max(0, self.at - most)
        prefix = self.pattern[:-1]  # a user stands behind the key, so it may be compared with both
        covered = [
            node
            for node in table.between(end, self.at)
            if node.entry.epoch < self.epoch and node.entry.stored.startswith(prefix)
        ]
        looked, self.at = self.at - end, end
        return covered, looked

    @property
    def done(self) -> bool:
        """Whether all entries have been looked at."""
        return not self.at
