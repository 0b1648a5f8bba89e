"""One cache layer's lists and running totals, and how they are shown."""

from prefetch_scheduler.policies.content import Entry
from prefetch_scheduler.policies.eviction import Channel, Node, Order
from prefetch_scheduler.policies.linked import Chain
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import Layer


class AgeQueue(Chain[Node]):
    """Entries of a layer by the time they have been there. All have the same TTL, so the oldest
    is the next to go: no heap is needed.
    """

    __slots__ = ("ttl_s",)

    def __init__(self, ttl_s: float) -> None:
        super().__init__(Channel.AGE)
        self.ttl_s = ttl_s

    def due(self) -> float | None:
        """Engine time, in seconds, at which the oldest has outlived its TTL."""
        node = self.first()
        return None if node is None else node.since + self.ttl_s


@frozen
class LayerFigures:
    entries: int
    tokens: int
    size: int
    """Bytes."""
    limit: int | None = None
    """Most entries that it holds; None: not limited by itself."""


@frozen
class LayersSnapshot:
    """What the layers hold. Pinned entries are served as hot, but counted by themselves."""

    hot: LayerFigures
    warm: LayerFigures
    cold: LayerFigures
    pinned: LayerFigures
    unread: int
    """Unread prefetched entries; pinned ones are not among them."""
    unread_share: int
    """How many of these the layers keep where they are full."""
    pins: int
    """Cache keys pinned, resident or not."""
    sessions: int
    """Sessions that have entries."""
    invalidations: int
    """Invalidations that the planner has not acknowledged yet."""
    remembered: int = 0
    """Keys that have left, whose frequency is remembered."""
    sweeping: int = 0
    """Invalidations of a prefix that are still being carried out."""

    @property
    def entries(self) -> int:
        return self.hot.entries + self.warm.entries + self.cold.entries + self.pinned.entries

    @property
    def tokens(self) -> int:
        return self.hot.tokens + self.warm.tokens + self.cold.tokens + self.pinned.tokens

    @property
    def size(self) -> int:
        """Bytes."""
        return self.hot.size + self.warm.size + self.cold.size + self.pinned.size


class LayerLists:
    """The entries of one layer.

    Args:
        layer: which one they are served as.
        order: how it gives them up.
        limit: most entries; None: not limited.
        ttl_s: seconds after which an entry has outlived the layer.
        background_ttl_s: the same for unread background entries (decision D18).
    """

    def __init__(
        self,
        layer: Layer,
        order: Order,
        *,
        limit: int | None,
        ttl_s: float,
        background_ttl_s: float | None = None,
    ) -> None:
        self.layer = layer
        self.order = order
        self.limit = limit
        self.ages = AgeQueue(ttl_s)
        self.background = self.ages
        if background_ttl_s is not None:
            self.background = AgeQueue(min(ttl_s, background_ttl_s))
        self.unread: Chain[Node] = Chain(Channel.UNREAD)
        self.count = 0
        self.tokens = 0
        self.size = 0

    @property
    def overfull(self) -> bool:
        return self.limit is not None and self.count > self.limit

    def add(self, node: Node, now: float) -> None:
        node.since = now
        node.lists = self
        self.order.add(node)
        content = node.entry.content
        if node.unread:
            self.queue_of(node).append(node)
            self.unread.append(node)
        else:
            self.ages.append(node)
        self.count += 1
        self.tokens += content.tokens or 0
        self.size += content.size

    def remove(self, node: Node) -> None:
        """Must come before a change of what decides on a node's lists."""
        self.order.remove(node)
        self.queue_of(node).remove(node)
        if node.unread:
            self.unread.remove(node)
        self.count -= 1
        self.tokens -= node.entry.tokens
        self.size -= node.size

    def touch(self, node: Node, now: float) -> None:
        """Count a further read of an entry that stays in this layer: it is its newest again."""
        node.since = now
        self.order.touch(node)
        self.queue_of(node).renew(node)

    def restamp(self, node: Node, entry: Entry) -> None:
        """Put other content, of the same tokens, into an entry's place."""
        self.tokens += entry.tokens - node.entry.tokens
        self.size += entry.content.size - node.size
        node.entry = entry

    def figures(self) -> LayerFigures:
        return LayerFigures(self.count, self.tokens, self.size, self.limit)

    def queue_of(self, node: Node) -> AgeQueue:
        """Where it stands by its age."""
        return self.background if node.unread_background else self.ages

    def queues(self) -> tuple[AgeQueue, ...]:
        return (self.ages,) if self.background is self.ages else (self.ages, self.background)
