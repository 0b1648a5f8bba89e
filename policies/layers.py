"""The CacheLayer's state machine: three layers, pins, invalidations (decisions D13, D27 to D35).

Where an entry stands, and what moves it::

            read, or pinned                 read
         ┌───────────────────┐   ┌───────────────────────┐
         ▼                   │   ▼                       │
        hot ──full, TTL──▶ warm ──full, TTL, D18──▶ cold ──full, TTL──▶ removed
         └──session ended──▶ ▲
                             └── put unread

A pinned entry is served as hot, stands outside the layers' sizes and does not age. Whatever the
state, an invalidation or a newer content takes an entry out at once.

Every prefetched entry holds one token until its first reader takes it (`Entry.first_read`).
The machine takes it itself when it counts a prefetch as wasted. So each prefetch ends as exactly
one of used and wasted, also where a reader and a removal meet: whoever takes the token decides.
"""

from collections import deque
from collections.abc import Iterable
from typing import assert_never

from attrs import evolve

from prefetch_scheduler.policies.cache_events import (
    Accessed,
    Acknowledged,
    CacheCommand,
    Drain,
    EndSession,
    FirstRead,
    Holding,
    Invalidate,
    Invalidated,
    Pin,
    Publish,
    Put,
    Read,
    Refused,
    Resident,
    Restamp,
    Restore,
    SessionLeft,
    Stored,
    Unpin,
    Withdraw,
)
from prefetch_scheduler.policies.config import MAX_PINS, Config
from prefetch_scheduler.policies.content import Entry
from prefetch_scheduler.policies.eviction import Node
from prefetch_scheduler.policies.handed_over import handed_over
from prefetch_scheduler.policies.keys import public_key
from prefetch_scheduler.policies.layer_lists import LayerFigures, LayersSnapshot
from prefetch_scheduler.policies.layers_audit import faults
from prefetch_scheduler.policies.marks import Marks
from prefetch_scheduler.policies.metrics_events import (
    OVERTAKEN,
    KeysRead,
    Note,
    PrefetchCancelled,
    PrefetchUsed,
)
from prefetch_scheduler.policies.residents import CacheEffect, Residents
from prefetch_scheduler.policies.sweeping import Sweep
from prefetch_scheduler.policies.vocabulary import RemovalCause

__all__ = [
    "MAX_MOVES",
    "CacheEffect",
    "CacheLayers",
    "LayerFigures",
    "LayersSnapshot",
    "Publish",
    "Withdraw",
]

MAX_MOVES = 100
"""Entries that one `tick` moves or drops at most, so that a mass expiry does not hold up other
messages.
"""

MAX_LOOKS = 2_000
"""Entries that one step of an invalidation looks at, at most."""

_MOST_FOR_ONE = 3  # an entry that leaves hot may push one out of warm, and that one out of cold


class CacheLayers:
    """Owns every entry. Takes commands and readers' notes; returns effects, in order.

    Effects are of three kinds: `CacheNotice` for the planner, `MetricsEvent` for Metrics, and
    `Publish` and `Withdraw`, to be applied to the dict that readers see. `now` is engine time in
    seconds; one that runs backwards is taken as the latest seen.

    Runtime complexity: constant for every command on one key, at any size. `Invalidate` of a
    prefix walks all entries, a bounded number at a time: `tick` goes on with it. `Resident` walks
    all keys, `EndSession` the entries of that session.
    """

    def __init__(self, config: Config) -> None:
        self._residents = Residents(config)
        self._marks = Marks()
        self._sweeps: deque[Sweep] = deque()
        """Invalidations of a prefix under way, oldest first."""
        self._now = float("-inf")

    # ---- in ----------------------------------------------------------------------------------

    def handle(self, command: CacheCommand, now: float) -> list[CacheEffect]:
        """Carry out one command."""
        now = self._at(now)
        self._residents.newcomer = None
        match command:
            case Put():
                self._put(command, now)
            case Restore(entries):
                for entry in entries:
                    self._restore(entry, now)
            case Invalidate():
                self._invalidate(command, now)
            case Acknowledged(epoch):
                self._marks.acknowledged(epoch)
            case Restamp():
                self._restamp(command)
            case Pin(stored, session):
                self._pin(stored, session, now)
            case Unpin(stored, session):
                self._unpin(stored, session, now)
            case EndSession(session):
                self._residents.end_session(session, now)
                self._residents.out.append(SessionLeft(session))
            case Resident():
                self._resident()
            case Drain():
                pass  # the actor takes the notes in before any command
            case _:
                assert_never(command)
        if self._residents.limited:
            self._residents.shed(MAX_MOVES)
        return self._taken()

    def take_reads(
        self, reads: Iterable[Read], first_reads: Iterable[FirstRead], now: float
    ) -> list[CacheEffect]:
        """Take in what readers have noted, oldest first.

        Recency is that of taking in, not `Read.at`: so the lists stay in the order of time.
        """
        now = self._at(now)
        reads = tuple(reads)
        keys: dict[str, dict[str, None]] = {}
        for first in first_reads:
            keys.setdefault(first.session, {})[public_key(first.stored)] = None
            self._first_read(first, now)
        for read in reads:
            keys.setdefault(read.session, {})[public_key(read.stored)] = None
            node = self._residents.nodes.get(read.stored)
            # With its token still there nobody has read this entry: the note is of one before it.
            if node is not None and not node.entry.first_read:
                self._residents.hit(node, read.session, now, count=True)
        out = self._residents.out
        out.extend(KeysRead(session, tuple(read_)) for session, read_ in keys.items())
        if reads:
            out.append(Accessed(reads))
        return self._taken()

    def next_deadline(self) -> float | None:
        """Engine time, in seconds, at which `tick` has something to do; None: never."""
        if self._sweeps or (self._residents.limited and self._residents.overweight):
            return self._now
        due = self._residents.due()
        return None if due is None else due[0]

    def tick(self, now: float) -> list[CacheEffect]:
        """Go on with invalidations under way, and demote what has outlived its layer: at most
        `MAX_MOVES` moves in all.

        Where more is due, `next_deadline` lies in the past still: call again.
        """
        now = self._at(now)
        residents = self._residents
        if self._sweeps:
            self._sweep()
            return self._taken()
        if residents.limited:
            residents.shed(MAX_MOVES)
        enough = residents.moves + MAX_MOVES - _MOST_FOR_ONE
        while residents.moves <= enough:
            due = residents.due()
            if due is None or due[0] > now:
                break
            node = due[1].first()
            if node is None:
                break
            residents.outlived(node, now)
        return self._taken()

    def _at(self, now: float) -> float:
        self._now = max(self._now, now)
        return self._now

    def _taken(self) -> list[CacheEffect]:
        out, self._residents.out = self._residents.out, []
        return out

    def undelivered(self) -> list[CacheEffect]:
        """What was decided and not handed out, since an error struck meanwhile."""
        return self._taken()

    # ---- after a restart ---------------------------------------------------------------------

    def take_over(
        self, entries: Iterable[Entry], earlier: "CacheLayers | None", now: float
    ) -> list[CacheEffect]:
        """Go on with the entries that readers see, each in its layer, as old and as often read as
        it was. Called once, on a machine that knows nothing yet but pins.

        Args:
            entries: what is published: that is what there is, whatever `earlier` holds.
            earlier: the machine before this one. It may have failed in the midst of a change, so
                of each entry only single figures are taken from it, never its lists.
            now: engine seconds.
        """
        now = self._at(now)
        nodes = earlier._residents.nodes if earlier is not None else {}
        known: list[tuple[float, Entry, Node | None]] = []
        for entry in entries:
            node = nodes.get(entry.stored)
            if node is not None and not node.entry.is_same_load(entry):
                node = None  # of other content
            known.append((min(node.since, now) if node is not None else now, entry, node))
        known.sort(key=_since)
        for since, entry, node in known:
            self._residents.restore(entry, node, since)
        self._residents.settle(earlier._residents.wasted() if earlier is not None else (), now)
        if earlier is not None:
            self._marks.remember_as(earlier._marks)
            self._residents.ghosts.take_over(earlier._residents.ghosts)
        return self._taken()

    # ---- content -----------------------------------------------------------------------------

    def _put(self, put: Put, now: float) -> None:
        residents, entry = self._residents, put.entry
        stored = entry.stored
        if self._marks.covers(stored, entry.epoch):
            self._note(stored, "not stored", "it changed after its load began", entry.session)
            # Counted here: the planner may be another one by the time that it hears of it.
            if entry.prefetch_id and entry.claim():
                residents.out.append(PrefetchCancelled(entry.prefetch_id, OVERTAKEN))
            residents.out.append(Refused(stored, put.flight_id))
            return
        old = residents.nodes.get(stored)
        if old is not None and self._keeps(old, entry):
            for session in put.pin_for:
                self._pin(stored, session, now)
            residents.out.append(Stored(stored, put.flight_id, old.entry))
            return
        freq = 0
        if old is not None:
            freq = old.freq
            residents.drop(old, RemovalCause.REPLACED)
        for session in put.pin_for:
            self._pin(stored, session, now)
        residents.out.append(Stored(stored, put.flight_id, entry))
        demanded = entry.prefetch_id == 0
        # A prefetch without its token was read from the planner's answer, before it came here.
        read = demanded or not entry.first_read
        residents.insert(entry, now, read=read, freq=freq + demanded)

    def _restore(self, entry: Entry, now: float) -> None:
        """It is checked when it is read, as every entry is; what is there already is newer."""
        residents, stored = self._residents, entry.stored
        if stored in residents.nodes or self._marks.covers(stored, entry.epoch):
            return
        if residents.restore_cold(entry, now):
            residents.out.append(Stored(stored, 0, entry))
            self._note(stored, "restored", "kept over a restart", entry.session)

    def _keeps(self, old: Node, entry: Entry) -> bool:
        """Whether what is there is as good as what is put: the same, or asked for later."""
        if old.entry.is_same_load(entry):
            return True
        if old.entry.asked_at <= entry.asked_at:
            return False
        if entry.prefetch_id:
            self._residents.claim(entry, RemovalCause.REPLACED)
        return True

    def _restamp(self, command: Restamp) -> None:
        """Only where that very entry is still there; its layer may have changed since."""
        node = self._residents.nodes.get(command.old.stored)
        if node is None or not node.entry.is_same_load(command.old):
            return
        content, old = command.content, node.entry.content
        entry = evolve(
            node.entry,
            content=content.placed(
                key=old.key or public_key(node.entry.stored),
                source=old.source,
                loaded_at=content.loaded_at if content.loaded_at is not None else old.loaded_at,
                layer=node.lists.layer,
                tokens=old.tokens,
            ),
        )
        node.lists.restamp(node, entry)
        self._residents.out.append(Publish(entry.stored, entry))
        self._residents.out.append(Stored(entry.stored, 0, entry))

    # ---- changes -----------------------------------------------------------------------------

    def _invalidate(self, command: Invalidate, now: float) -> None:
        """What is older than the change is gone; what the host handed over takes its place."""
        residents = self._residents
        self._marks.note(command.epoch, command.pattern)
        stored = self._receiver(command)
        if command.pattern.endswith("*"):
            self._sweeps.append(Sweep(command.pattern, command.epoch, residents.nodes.values()))
            if len(self._sweeps) == 1:
                self._sweep()
            return
        old: Node | None = None
        for node in residents.of_key(command.pattern):
            if node.entry.epoch >= command.epoch:
                continue  # asked for after the change
            if node.entry.stored == stored:
                old = node
            else:
                residents.drop(node, RemovalCause.INVALIDATED)
        if stored is not None and command.content is not None:
            entry = handed_over(command, stored, command.content, old, now)
            freq = old.freq if old is not None else 0
            read = old is not None and residents.drop(old, RemovalCause.REPLACED)
            residents.out.append(Stored(stored, 0, entry))
            residents.insert(entry, now, read=read, freq=freq)
            self._note(stored, "handed over", "by the host", command.session)
        residents.out.append(Invalidated(command.pattern, command.epoch))

    def _sweep(self) -> None:
        """Go on with the oldest invalidation of a prefix; once it is through the planner is told,
        and only then can its mark be taken off the board.
        """
        residents, looks, drops = self._residents, MAX_LOOKS, MAX_MOVES
        while self._sweeps and looks > 0 and drops > 0:
            sweep = self._sweeps[0]
            covered, looked = sweep.step(residents.nodes, min(looks, drops))
            for node in covered:
                residents.drop(node, RemovalCause.INVALIDATED)
            looks -= looked
            drops -= len(covered)
            if sweep.done:
                self._sweeps.popleft()
                residents.out.append(Invalidated(sweep.pattern, sweep.epoch))
                looks -= 1

    def _receiver(self, command: Invalidate) -> str | None:
        """The cache key that takes the content handed over; None where nothing is to be stored."""
        if command.content is None or command.pattern.endswith("*"):
            return None
        stored = command.stored or public_key(command.pattern)
        node = self._residents.nodes.get(stored)
        newer = node is not None and node.entry.epoch >= command.epoch
        if newer or not self._marks.newest_of(stored, command.epoch):
            self._note(stored, "not stored", "it changed again meanwhile", command.session)
            return None
        return stored

    def _resident(self) -> None:
        """A planner that has just started learns of the changes that nobody acknowledged, too."""
        nodes = self._residents.nodes.values()
        out = self._residents.out
        out.append(Holding(tuple(n.entry for n in nodes)))
        out.extend(Invalidated(pattern, epoch) for epoch, pattern in self._marks.pending())

    # ---- pins and reads ----------------------------------------------------------------------

    def _pin(self, stored: str, session: str, now: float) -> None:
        residents = self._residents
        if not residents.pins.add(stored, session):
            why = f"session {session!r} has {MAX_PINS} pins already; unpin one first"
            self._note(stored, "not pinned", why, session)
            return
        node = residents.nodes.get(stored)
        if node is not None:
            residents.keep(node, now)

    def _unpin(self, stored: str, session: str, now: float) -> None:
        residents = self._residents
        node = residents.nodes.get(stored)
        if residents.pins.remove(stored, session) and node is not None:
            residents.release(node, now)

    def _first_read(self, first: FirstRead, now: float) -> None:
        """Of each prefetch one; what has been counted as wasted stays so (decision D35)."""
        residents = self._residents
        node = residents.nodes.get(first.stored)
        if node is None or node.entry.prefetch_id != first.prefetch_id:
            if not residents.was_wasted(first.prefetch_id):
                residents.out.append(PrefetchUsed(first.prefetch_id, first.session))
            return
        if node.open:
            node.open = False
            node.entry.settle()
            residents.out.append(PrefetchUsed(first.prefetch_id, first.session))
        if not node.read:
            residents.hit(node, first.session, now, count=False)

    def _note(self, stored: str, event: str, why: str, session: str) -> None:
        self._residents.out.append(Note(public_key(stored), event, why, session))

    # ---- looking in --------------------------------------------------------------------------

    def snapshot(self) -> LayersSnapshot:
        """Counts, tokens and bytes of each layer; constant time."""
        residents = self._residents
        return LayersSnapshot(
            hot=residents.hot.figures(),
            warm=residents.warm.figures(),
            cold=residents.cold.figures(),
            pinned=residents.pinned.figures(),
            unread=residents.unread,
            unread_share=residents.unread_share,
            pins=len(residents.pins),
            sessions=len(residents.sessions),
            invalidations=len(self._marks),
            remembered=len(residents.ghosts),
            sweeping=len(self._sweeps),
        )

    def check(self) -> None:
        """For tests: walk everything.

        Raises:
            AssertionError: an invariant does not hold; names all that do not.
        """
        found = list(faults(self._residents))
        if found:
            raise AssertionError("; ".join(found))


def _since(known: tuple[float, Entry, Node | None]) -> float:
    return known[0]
