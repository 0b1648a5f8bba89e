"""The entry made of content that the host hands over, e.g. its own edit (decision D31)."""

from prefetch_scheduler.policies.cache_events import Invalidate
from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.eviction import Node
from prefetch_scheduler.policies.keys import public_key
from prefetch_scheduler.policies.tokens import suffix_of, tokens_of_size
from prefetch_scheduler.policies.vocabulary import Priority


def handed_over(
    command: Invalidate, stored: str, content: Content, old: Node | None, now: float
) -> Entry:
    """An entry that is no prefetch; it keeps the class, the session and the load time of `old`.

    Args:
        command: the change that it came with.
        stored: the cache key that takes it.
        content: what the host gave.
        old: the entry that it takes the place of.
        now: engine time in seconds.
    """
    key = public_key(stored)
    known = old.entry if old is not None else None
    source = content.source
    if source is None and known is not None and known.source_id == command.source_id:
        source = known.content.source
    return Entry(
        stored=stored,
        content=content.placed(
            key=key,
            source=source,
            loaded_at=content.loaded_at,
            layer=None,
            tokens=tokens_of_size(content.size, suffix_of(key)),
        ),
        source_id=command.source_id,
        epoch=command.epoch,
        asked_at=now,
        loaded_at=now,
        load_s=known.load_s if known is not None else 0.0,
        session=command.session or (old.session if old is not None else ""),
        priority=known.priority if known is not None else Priority.P1,
    )
