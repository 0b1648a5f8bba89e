"""Invalidations of a prefix, which take a while and are done in steps.

To look at a million entries, and to drop them, would hold up everybody else. So it is done a
bounded number of entries at a time; until it is through, the mark on the board keeps readers from
what has not been reached. Only the list of what is there is made at once: about 2 ms for each
100,000 entries.
"""

from collections.abc import Iterable, Mapping

from prefetch_scheduler.policies.eviction import Node


class Sweep:
    """One of them.

    Args:
        pattern: the prefix, ending in `*`.
        epoch: the number of its mark: what was asked for later stays.
        nodes: the entries there are. What comes later was asked for later, or is refused.
    """

    def __init__(self, pattern: str, epoch: int, nodes: Iterable[Node]) -> None:
        self.pattern = pattern
        self.epoch = epoch
        self._nodes = list(nodes)
        self._nodes.reverse()

    def step(self, held: Mapping[str, Node], most: int) -> tuple[list[Node], int]:
        """The next entries that it covers, of those still held, and how many were looked at."""
        prefix = self.pattern[:-1]  # a user stands behind the key, so it may be compared with both
        looked = self._nodes[-most:]
        del self._nodes[-most:]  # so that what was dropped is freed step by step, too
        looked.reverse()
        covered = [
            node
            for node in looked
            if node.entry.epoch < self.epoch
            and node.entry.stored.startswith(prefix)
            and held.get(node.entry.stored) is node
        ]
        return covered, len(looked)

    @property
    def done(self) -> bool:
        """Whether all entries have been looked at."""
        return not self._nodes
