"""Resident entries, and the order in which a layer gives them up (decision D30).

Within a layer the victims are, first, unread prefetched entries where those hold more than their
share of all layers, oldest first; then the lowest priority class; within the class the layer's
own order, chosen by name in the configuration. So an order keeps one list for each class, or for
each class and frequency, and finds a victim by looking at no more than a fixed number of heads.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from prefetch_scheduler.policies.content import Entry
from prefetch_scheduler.policies.linked import Chain, Linked
from prefetch_scheduler.policies.vocabulary import Lane, Priority

if TYPE_CHECKING:
    from prefetch_scheduler.policies.layer_lists import LayerLists

MAX_FREQUENCY = 15
"""Frequencies are counted up to here. Unbounded counts keep what was popular once for ever."""


class Channel(IntEnum):
    """The lists that a node can stand in at the same time."""

    SHELF = 0  # its layer's order of eviction
    AGE = 1  # its layer's order of expiry
    UNREAD = 2  # its layer's unread prefetched entries
    SESSION = 3  # the entries of one session


_CHANNELS = len(Channel)


class Node(Linked):
    """A resident entry and where it stands."""

    __slots__ = (
        "chain",
        "entry",
        "freq",
        "lists",
        "open",
        "rank",
        "read",
        "session",
        "shelf",
        "since",
    )

    entry: Entry
    session: str
    """The session that last read it, or for which it was loaded."""
    chain: "Chain[Node] | None"
    """That session's entries; None where it has ended."""
    freq: int
    """Reads noted, at most `MAX_FREQUENCY`; remembered when it changes layers."""
    read: bool
    """Whether a reader got it: at once where a demand loaded it."""
    open: bool
    """Whether its prefetch has not been counted yet as used or wasted."""
    since: float
    """Engine time, in seconds, at which it entered its layer or was last read in it."""
    rank: float
    """For its layer's order alone; it says what for."""
    lists: "LayerLists"
    shelf: "Chain[Node]"

    def __init__(self, entry: Entry, *, read: bool, freq: int = 0) -> None:
        super().__init__(_CHANNELS)
        self.entry = entry
        self.session = entry.session
        self.chain = None
        self.freq = freq
        self.read = read
        self.open = entry.prefetch_id != 0
        self.since = 0.0
        self.rank = 0.0

    @property
    def size(self) -> int:
        """Bytes of its content."""
        return self.entry.content.size

    @property
    def unread(self) -> bool:
        """Whether it is a prefetched entry that nobody has read yet."""
        return not self.read and self.entry.prefetch_id != 0

    @property
    def unread_background(self) -> bool:
        """Whether decision D18's shorter time in warm is for it."""
        return self.entry.lane is Lane.BACKGROUND and self.unread

    @property
    def priority(self) -> Priority:
        """Its class among victims: what was ever read counts as P1."""
        return Priority.P1 if self.read else self.entry.priority


class Order(Protocol):
    """How one layer chooses among entries of the same class: an eviction policy.

    A node stands in one of its lists from `add` to `remove`. All operations take constant time.
    """

    def add(self, node: Node) -> None:
        """A node enters the layer."""

    def remove(self, node: Node) -> None:
        """A node leaves the layer."""

    def touch(self, node: Node) -> None:
        """A node was read once more and stays; its frequency is the new one already."""

    def victim(self, newcomer: Node | None) -> Node | None:
        """Whom to give up first; None where there is nobody but `newcomer`, who is spared.

        The caller gives it up.
        """

    def shelf(self, node: Node) -> Chain[Node]:
        """The list in which a node of the layer has to stand; for tests."""

    def shelves(self) -> Iterator[Chain[Node]]:
        """All lists; for tests."""


class Shelves:
    """An order of lists, in which the first that is not empty gives up its oldest."""

    def __init__(self, count: int) -> None:
        self._shelves: list[Chain[Node]] = [Chain(Channel.SHELF) for _ in range(count)]

    def shelf(self, node: Node) -> Chain[Node]:
        raise NotImplementedError

    def add(self, node: Node) -> None:
        node.shelf = shelf = self.shelf(node)
        shelf.append(node)

    def remove(self, node: Node) -> None:
        node.shelf.remove(node)

    def touch(self, node: Node) -> None:
        self.remove(node)
        self.add(node)

    def victim(self, newcomer: Node | None) -> Node | None:
        for shelf in self._shelves:
            node = shelf.first()
            # The newcomer is the newest of its list: at the head only where it is alone.
            if node is not None and node is not newcomer:
                return node
        return None

    def shelves(self) -> Iterator[Chain[Node]]:
        return iter(self._shelves)


class RecencyOrder(Shelves):
    """`lru`: least recently read first. `ttl` is the same, as each read renews the time to live."""

    def __init__(self) -> None:
        super().__init__(len(Priority))

    def shelf(self, node: Node) -> Chain[Node]:
        return self._shelves[Priority.P4 - node.priority]

    def touch(self, node: Node) -> None:
        node.shelf.renew(node)


class ArrivalOrder(RecencyOrder):
    """`fifo`: longest in the layer first, read or not."""

    def touch(self, node: Node) -> None:
        """Reads change nothing."""


class FrequencyOrder(Shelves):
    """`lfu`: least often read first, of these the longest here; constant time by buckets.

    Source: Shah, Mitra, Matani, "An O(1) algorithm for implementing the LFU cache eviction scheme"
    (2010), with a fixed range of frequencies. Only the class of what was read needs buckets.
    """

    _P1 = Priority.P4 - Priority.P1
    _P0 = _P1 + MAX_FREQUENCY + 1

    def __init__(self) -> None:
        super().__init__(self._P0 + 1)

    def shelf(self, node: Node) -> Chain[Node]:
        if node.read:
            return self._shelves[self._P1 + node.freq]
        priority = node.entry.priority
        return self._shelves[self._P0 if priority is Priority.P0 else Priority.P4 - priority]
