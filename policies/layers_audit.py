"""Whether the cache's lists, totals and tables agree. For tests: it walks everything."""

from collections.abc import Iterator

from prefetch_scheduler.policies.eviction import Node
from prefetch_scheduler.policies.keys import PARTITION
from prefetch_scheduler.policies.layer_lists import LayerLists
from prefetch_scheduler.policies.residents import Residents


def faults(residents: Residents) -> Iterator[str]:
    """What does not hold, a line each."""
    everywhere = (residents.hot, residents.warm, residents.cold, residents.pinned)
    for lists in everywhere:
        yield from _layer_faults(lists)
    yield from residents.pins.faults()
    shelves = [shelf for lists in everywhere for shelf in lists.order.shelves()]
    listed = [id(node) for shelf in shelves for node in shelf]
    known = {id(node) for node in residents.nodes.values()}
    if len(set(listed)) != len(listed) or set(listed) != known:
        yield f"{len(known)} entries are known by key, {len(listed)} are listed"
    for stored, node in residents.nodes.items():
        yield from _entry_faults(residents, stored, node)
    users = {stored for of_key in residents.partitions.values() for stored in of_key}
    if users != {stored for stored in residents.nodes if PARTITION in stored}:
        yield "private entries are not those found by their key"
    yield from _session_faults(residents)


def _entry_faults(residents: Residents, stored: str, node: Node) -> Iterator[str]:
    if node.entry.stored != stored:
        yield f"{node.entry.stored!r} is filed under {stored!r}"
    if (node.lists is residents.pinned) is not (stored in residents.pins):
        yield f"{stored!r} is pinned but not kept, or kept but not pinned"
    if node.chain is not None and residents.sessions.get(node.session) is not node.chain:
        yield f"{stored!r} is listed with another session than {node.session!r}"
    if not node.open and node.entry.first_read:
        yield f"{stored!r}: its prefetch is counted, but a reader could count it again"


def _session_faults(residents: Residents) -> Iterator[str]:
    owned = sum(node.chain is not None for node in residents.nodes.values())
    if owned != sum(len(chain) for chain in residents.sessions.values()):
        yield "sessions list other entries than those that are theirs"
    for session, chain in residents.sessions.items():
        yield from (f"session {session!r}: {fault}" for fault in chain.faults())
        if not len(chain):
            yield f"session {session!r} is listed without an entry"


def _layer_faults(lists: LayerLists) -> Iterator[str]:
    name = lists.layer
    for chain in [*lists.order.shelves(), *lists.queues(), lists.unread]:
        yield from (f"{name}: {fault}" for fault in chain.faults())
    nodes = [node for queue in lists.queues() for node in queue]
    on_shelves = {id(node) for shelf in lists.order.shelves() for node in shelf}
    if {id(node) for node in nodes} != on_shelves or len(nodes) != lists.count:
        yield f"{name}: {lists.count} entries, {len(nodes)} by age, {len(on_shelves)} by order"
    if {id(node) for node in lists.unread} != {id(node) for node in nodes if node.unread}:
        yield f"{name}: the unread ones are not those listed"
    figures = (sum(n.entry.tokens for n in nodes), sum(n.entry.content.size for n in nodes))
    if figures != (lists.tokens, lists.size):
        yield f"{name}: holds {figures} tokens and bytes, counted {(lists.tokens, lists.size)}"
    if lists.overfull:
        yield f"{name}: {lists.count} entries, {lists.limit} allowed"
    for queue in lists.queues():
        times = [node.since for node in queue]
        if times != sorted(times):
            yield f"{name}: entries are not in the order of their age"
    for node in nodes:
        yield from _place_faults(lists, node)


def _place_faults(lists: LayerLists, node: Node) -> Iterator[str]:
    where = f"{lists.layer}: {node.entry.stored!r}"
    if node.lists is not lists or node.entry.content.layer is not lists.layer:
        yield f"{where} is served as {node.entry.content.layer}"
    if node.shelf is not lists.order.shelf(node):
        yield f"{where} stands on a shelf of another class or frequency"
    if all(node is not other for other in lists.queue_of(node)):
        yield f"{where} stands in the wrong queue"
