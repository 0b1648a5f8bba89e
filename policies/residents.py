"""The resident entries: where each stands, what moves it, and what is told of that.

`CacheLayers` says what happened; this carries it through the lists (decisions D28 to D32, D35).
Effects are collected in `out`, in order.
"""

from collections.abc import Iterable
from math import inf

from prefetch_scheduler.policies.cache_events import (
    CacheNotice,
    Publish,
    Removed,
    ViewEffect,
    Withdraw,
)
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.content import Entry
from prefetch_scheduler.policies.eviction import (
    MAX_FREQUENCY,
    Channel,
    Node,
    RecencyOrder,
)
from prefetch_scheduler.policies.ghosts import Ghosts
from prefetch_scheduler.policies.keys import PARTITION, public_key
from prefetch_scheduler.policies.layer_lists import AgeQueue, LayerLists
from prefetch_scheduler.policies.linked import Chain
from prefetch_scheduler.policies.metrics_events import (
    EntryRemoved,
    MetricsEvent,
    Note,
    PrefetchWasted,
)
from prefetch_scheduler.policies.numbered import Numbered
from prefetch_scheduler.policies.orders import ORDERS
from prefetch_scheduler.policies.pins import Pins
from prefetch_scheduler.policies.vocabulary import EvictionPolicy, Layer, Reason, RemovalCause

MAX_WASTED = 4096
"""Prefetches counted as wasted that are remembered, in case a first read of one is reported."""

CacheEffect = CacheNotice | MetricsEvent | ViewEffect


class Residents:
    """All entries, in three layers and a place outside them for pinned ones."""

    def __init__(self, config: Config) -> None:
        rules = config.cache
        self.hot = LayerLists(
            Layer.HOT,
            ORDERS[EvictionPolicy(rules.hot_policy)](),
            limit=config.hot_cache_size,
            ttl_s=rules.hot_ttl_s,
        )
        self.warm = LayerLists(
            Layer.WARM,
            ORDERS[EvictionPolicy(rules.warm_policy)](),
            limit=config.warm_cache_size,
            ttl_s=rules.warm_ttl_s,
            background_ttl_s=rules.unread_background_s,
        )
        self.cold = LayerLists(
            Layer.COLD,
            ORDERS[EvictionPolicy(rules.cold_policy)](),
            limit=config.cold_cache_size,
            ttl_s=rules.cold_ttl_s,
        )
        self.pinned = LayerLists(Layer.HOT, RecencyOrder(), limit=None, ttl_s=float("inf"))
        self._max_tokens = rules.max_tokens or inf
        self._max_size = rules.max_bytes or inf
        self.limited = bool(rules.max_tokens or rules.max_bytes)
        """Whether the layers together are limited in tokens or bytes."""
        self.ghosts = Ghosts(rules.ghost_entries)
        sizes = config.hot_cache_size + config.warm_cache_size + config.cold_cache_size
        self.unread_share = int(rules.unread_share * sizes)
        self.pins = Pins()
        self.nodes: dict[str, Node] = {}
        self.sessions: dict[str, Chain[Node]] = {}
        self.out: list[CacheEffect] = []
        self.moves = 0
        """Entries moved or removed so far."""
        self.newcomer: Node | None = None
        """What the present command has added."""
        self.partitions: dict[str, dict[str, None]] = {}
        """Key -> its users' cache keys, where what it names is private."""
        self._wasted: Numbered[None] = Numbered(MAX_WASTED)
        self._below = {Layer.HOT: self.warm, Layer.WARM: self.cold}
        self._queues: tuple[AgeQueue, ...] = tuple(
            queue for lists in (self.hot, self.warm, self.cold) for queue in lists.queues()
        )

    # ---- in and out --------------------------------------------------------------------------

    def insert(self, entry: Entry, now: float, *, read: bool, freq: int) -> None:
        """Add an entry under a key that is free: hot where it was read or is pinned, else warm.

        Args:
            entry: what is added.
            now: engine seconds.
            read: whether a reader got it already.
            freq: how often it was read since it was last remembered that it was.
        """
        freq = min(freq + self.ghosts.recall(entry.stored), MAX_FREQUENCY)
        node = Node(entry, read=read, freq=freq)
        self.nodes[entry.stored] = node
        self.newcomer = node
        if PARTITION in entry.stored:
            self.partitions.setdefault(public_key(entry.stored), {})[entry.stored] = None
        self._own(node, entry.session)
        if entry.stored in self.pins:
            self._enter(node, self.pinned, now)
        else:
            self._enter(node, self.hot if read else self.warm, now)

    def restore_cold(self, entry: Entry, now: float) -> bool:
        """Add an entry kept over a restart, in cold. False: there is no room."""
        cold = self.cold
        pinned = entry.stored in self.pins
        if not pinned and cold.limit is not None and cold.count >= cold.limit:
            return False
        node = Node(entry, read=True)
        self.nodes[entry.stored] = node
        if PARTITION in entry.stored:
            self.partitions.setdefault(public_key(entry.stored), {})[entry.stored] = None
        self._enter(node, self.pinned if pinned else cold, now)
        return True

    def restore(self, entry: Entry, before: Node | None, since: float) -> None:
        """Put an entry back where it stood, after a restart: in its layer, unread as it was.

        Args:
            entry: as readers see it; its key is free.
            before: what was known of it; None: nothing, then its place says whether it was read.
            since: engine time at which it entered its layer or was last read in it.
        """
        layer = entry.content.layer
        if before is None:
            read, freq = not entry.first_read and layer is Layer.HOT, 0
        else:
            read, freq = before.read, before.freq
        node = Node(entry, read=read, freq=freq)
        self.nodes[entry.stored] = node
        if PARTITION in entry.stored:
            self.partitions.setdefault(public_key(entry.stored), {})[entry.stored] = None
        if before is None:
            self._own(node, entry.session)
        else:
            node.open, node.session = before.open, before.session
            if before.chain is not None:
                self._own(node, before.session)
        lists = {Layer.HOT: self.hot, Layer.COLD: self.cold}.get(layer or Layer.WARM, self.warm)
        if entry.stored in self.pins:
            lists = self.pinned
        if layer is lists.layer:
            lists.add(node, since)  # too many of them are seen to at the end, by `settle`
        else:
            self._enter(node, lists, since)

    def settle(self, wasted: Iterable[int], now: float) -> None:
        """After the last `restore`: what was counted as wasted, and no layer over its size."""
        for number in wasted:
            self._wasted[number] = None
        for lists in (self.hot, self.warm, self.cold):
            while lists.overfull:
                victim = lists.order.victim(None)
                if victim is None:
                    break
                self._demote(victim, RemovalCause.EVICTED, f"{lists.layer} full", now)

    def drop(self, node: Node, cause: RemovalCause, why: str = "") -> bool:
        """Remove an entry. A replaced one stays published until the new one is. Was it read?"""
        stored, key = node.entry.stored, public_key(node.entry.stored)
        node.lists.remove(node)
        del self.nodes[stored]
        if cause is not RemovalCause.REPLACED:
            self.ghosts.remember(stored, node.freq)
        if PARTITION in stored:
            users = self.partitions[key]
            del users[stored]
            if not users:
                del self.partitions[key]
        self._disown(node)
        if node is self.newcomer:
            self.newcomer = None
        self.moves += 1
        if cause is not RemovalCause.REPLACED:
            self.out.append(Withdraw(stored))
        self.waste(node, cause)
        # One that is still open has lost its token to a reader whose note is on its way.
        was_read = node.read or node.open
        if why:
            self.out.append(Note(key, str(cause), why, node.session))
        self.out.append(EntryRemoved(key, cause, node.session))
        self.out.append(
            Removed(
                stored,
                cause,
                was_read,
                node.session,
                node.entry.tokens,
                node.lists.layer,
                stored in self.pins,
            )
        )
        return was_read

    def of_key(self, pattern: str) -> list[Node]:
        """The entries that an invalidation of one key covers: for a private one, of all users."""
        key = public_key(pattern)
        stored = [key, *self.partitions.get(key, ())]
        return [self.nodes[each] for each in stored if each in self.nodes]

    # ---- moves -------------------------------------------------------------------------------

    def hit(self, node: Node, session: str, now: float, *, count: bool) -> None:
        """A reader got it: in hot it is the newest again, from below it is promoted (D29)."""
        lists = node.lists
        freq = min(node.freq + 1, MAX_FREQUENCY) if count else node.freq
        self._own(node, session)
        if node.read and lists.layer is Layer.HOT:
            node.freq = freq
            lists.touch(node, now)
            return
        lists.remove(node)
        node.read, node.freq = True, freq
        if lists is self.pinned:
            lists.add(node, now)
            return
        self._note(node, "promoted", f"read in {lists.layer}")
        self.moves += 1
        self._enter(node, self.hot, now)

    def outlived(self, node: Node, now: float) -> None:
        """It outlived its layer: one layer down, and out of cold (decisions D18, D28)."""
        layer = node.lists.layer
        if node.lists.queue_of(node) is node.lists.ages:
            self._demote(node, RemovalCause.EXPIRED, f"outlived {layer}", now)
        else:
            self._demote(node, RemovalCause.EXPIRED, "background item not read in time", now)

    def keep(self, node: Node, now: float) -> None:
        """Its key is pinned: out of the layers' sizes, served as hot."""
        if node.lists is not self.pinned:
            node.lists.remove(node)
            self.moves += 1
            self._enter(node, self.pinned, now)

    def release(self, node: Node, now: float) -> None:
        """Its last pin is gone: to hot where a session that goes on has read it, else to warm."""
        if node.lists is self.pinned and node.entry.stored not in self.pins:
            node.lists.remove(node)
            self.moves += 1
            to_hot = node.read and node.chain is not None
            self._enter(node, self.hot if to_hot else self.warm, now)

    def end_session(self, session: str, now: float) -> None:
        """Count what it prefetched unread, release its pins, then demote its hot entries (D32)."""
        chain = self.sessions.get(session)
        nodes = list(chain) if chain is not None else []
        for node in nodes:
            self._disown(node)
            self.waste(node, Reason.SESSION_ENDED)
        for stored in self.pins.of(session):
            self.pins.remove(stored, session)
            pinned = self.nodes.get(stored)
            if pinned is not None:
                self.release(pinned, now)
        for node in nodes:
            # What these moves push out of the cache is in none of the lists any more.
            if node.lists is self.hot:
                self._demote(node, RemovalCause.EVICTED, "its session ended", now)

    def _enter(self, node: Node, lists: LayerLists, now: float) -> None:
        if node.entry.content.layer is not lists.layer:
            node.entry.move(lists.layer)
        lists.add(node, now)
        self.out.append(Publish(node.entry.stored, node.entry))
        if lists.overfull:
            victim, why = self._victim(lists, node)
            self._demote(victim, RemovalCause.EVICTED, f"{lists.layer} full: {why}", now)

    def shed(self, most: int) -> None:
        """Where the layers hold too many tokens or bytes, drop what they give up first: unread
        entries beyond their share, then from cold, from warm, from hot; at most so many. What has
        just been added is spared, unless it is too large by itself.
        """
        newcomer = self.newcomer
        if newcomer is not None and self._too_large(newcomer):
            self.drop(newcomer, RemovalCause.EVICTED, "larger than the cache may be")
        newcomer = self.newcomer
        while most > 0 and self.overweight:
            found = self._heaviest(newcomer)
            if found is None:
                return
            victim, why = found
            self.drop(victim, RemovalCause.EVICTED, f"tokens or bytes at their limit: {why}")
            most -= 1

    def _heaviest(self, newcomer: Node | None) -> tuple[Node, str] | None:
        layers = (self.cold, self.warm, self.hot)
        if self.unread > self.unread_share:
            for lists in layers:
                unread = lists.unread.first()
                if unread is not None and unread is not newcomer:
                    return unread, "unread beyond their share"
        for lists in layers:
            victim = lists.order.victim(newcomer)
            if victim is not None:
                return victim, f"first of {lists.layer}, {victim.priority.name}"
        return None

    def _too_large(self, node: Node) -> bool:
        if node.lists is self.pinned:
            return False
        return node.entry.tokens > self._max_tokens or node.size > self._max_size

    @property
    def overweight(self) -> bool:
        """Whether the layers hold more tokens or bytes than they may."""
        hot, warm, cold = self.hot, self.warm, self.cold
        return (
            hot.tokens + warm.tokens + cold.tokens > self._max_tokens
            or hot.size + warm.size + cold.size > self._max_size
        )

    def _victim(self, lists: LayerLists, newcomer: Node) -> tuple[Node, str]:
        """Whom a full layer gives up (decision D30). The newcomer is spared, unless it is one
        unread entry too many: those never push out what was read.
        """
        if self.unread > self.unread_share:
            oldest = lists.unread.first()
            if oldest is not None:
                return oldest, "unread beyond their share"
        victim = lists.order.victim(newcomer) or newcomer
        return victim, f"lowest of its entries, {victim.priority.name}"

    def _demote(self, node: Node, cause: RemovalCause, why: str, now: float) -> None:
        below = self._below.get(node.lists.layer)
        if below is None:
            self.drop(node, cause, why)
            return
        node.lists.remove(node)
        self._note(node, "demoted", why)
        self.moves += 1
        self._enter(node, below, now)

    # ---- time --------------------------------------------------------------------------------

    def due(self) -> tuple[float, AgeQueue] | None:
        """When the next entry outlives its layer, and the queue in which it stands first."""
        soonest: tuple[float, AgeQueue] | None = None
        for queue in self._queues:
            at = queue.due()
            if at is not None and (soonest is None or at < soonest[0]):
                soonest = at, queue
        return soonest

    # ---- counting ----------------------------------------------------------------------------

    @property
    def unread(self) -> int:
        """Unread prefetched entries within the layers."""
        return len(self.hot.unread) + len(self.warm.unread) + len(self.cold.unread)

    def waste(self, node: Node, reason: RemovalCause | Reason) -> None:
        """Count its prefetch as wasted, unless that was done, or a reader has taken its token."""
        if node.open and self.claim(node.entry, reason):
            node.open = False

    def claim(self, entry: Entry, reason: RemovalCause | Reason) -> bool:
        """Take a prefetched entry's token; with it nobody can read it for the first time."""
        if not entry.claim():
            return False
        entry.settle()
        self._wasted[entry.prefetch_id] = None
        self.out.append(PrefetchWasted(entry.prefetch_id, str(reason)))
        return True

    def wasted(self) -> tuple[int, ...]:
        """Numbers of the prefetches counted as wasted lately, lowest first."""
        return tuple(self._wasted)

    def was_wasted(self, prefetch_id: int) -> bool:
        return prefetch_id in self._wasted

    # ---- sessions ----------------------------------------------------------------------------

    def _own(self, node: Node, session: str) -> None:
        """The session's newest entry is the one that it read last."""
        chain = node.chain
        if chain is not None and node.session == session:
            chain.renew(node)
            return
        self._disown(node)
        chain = self.sessions.get(session)
        if chain is None:
            chain = self.sessions[session] = Chain(Channel.SESSION)
        chain.append(node)
        node.session, node.chain = session, chain

    def _disown(self, node: Node) -> None:
        chain, node.chain = node.chain, None
        if chain is not None:
            chain.remove(node)
            if not len(chain) and self.sessions.get(node.session) is chain:
                del self.sessions[node.session]
                chain.discard()

    def _note(self, node: Node, event: str, why: str) -> None:
        self.out.append(Note(public_key(node.entry.stored), event, why, node.session))
