"""The CacheLayer actor: the only writer of the layers and of the view that readers see."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast, get_args

from attrs import evolve

from prefetch_scheduler.actors.base import EngineActor, Home
from prefetch_scheduler.actors.desk import ChangeDesk, ChangeWaiting
from prefetch_scheduler.actors.kept import CacheKept
from prefetch_scheduler.actors.log_fields import log_fields
from prefetch_scheduler.actors.messages import CacheMessage, CacheStatusQuery
from prefetch_scheduler.actors.ports import Address, Follower
from prefetch_scheduler.actors.view import PublishedView
from prefetch_scheduler.policies.cache_events import (
    Acknowledged,
    CacheNotice,
    CacheReport,
    Drain,
    EndSession,
    FirstRead,
    Invalidate,
    Pin,
    Publish,
    Put,
    Puts,
    Read,
    Refused,
    Removed,
    Resident,
    Restore,
    Unpin,
    Withdraw,
)
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.content import Entry
from prefetch_scheduler.policies.keys import matches, public_key
from prefetch_scheduler.policies.layers import CacheEffect, CacheLayers
from prefetch_scheduler.policies.metrics_events import (
    EVENT_TYPES,
    Events,
    Hits,
    MetricsEvent,
    Note,
    PrefetchEnding,
    PrefetchFailed,
)
from prefetch_scheduler.policies.planner_events import HostEvent, ResourceEvicted
from prefetch_scheduler.policies.yaml_text import printable

logger = logging.getLogger("prefetch_scheduler.cache")

DRAIN_EVERY_S = 0.5
"""Real seconds after which readers' notes are taken in without anyone asking."""


# Looked up by type, as a union takes microseconds to look through.
_NOTICES = frozenset[type](get_args(CacheNotice))

NOTES_AT_A_MESSAGE = 128
"""Reads taken in before any message but `Drain`: beside readers and writers that are both busy the
reads would otherwise take the CacheLayer's time. The rest waits for the next tick.
"""

RETIRED_KEPT = 64
"""Tallies of ended sessions that are still looked at, beside those that somebody holds on to."""


class CacheLayer(EngineActor):
    """Shell of `CacheLayers`.

    Args:
        view: what readers see; written here and nowhere else.
        planner, metrics: told what happens.
        publish: tells the host's subscribers; must not block.
        kept: what outlives an incarnation.
        followers: told what is resident, e.g. a store that keeps it over a restart.
        desk: where changes wait that `ChangeWaiting` speaks of.
    """

    def __init__(
        self,
        home: Home,
        *,
        config: Config,
        view: PublishedView,
        planner: Address,
        metrics: Address,
        publish: Callable[[HostEvent], None],
        kept: CacheKept | None = None,
        followers: Sequence[Follower] = (),
        desk: ChangeDesk | None = None,
    ) -> None:
        super().__init__(home)
        self._followers = followers
        self._machine = CacheLayers(config)
        self._view = view
        self._planner = planner
        self._metrics = metrics
        self._publish = publish
        self._marks: dict[int, str] = {}
        """Pattern of each invalidation that the planner has not acknowledged, by epoch."""
        self._notices: list[CacheNotice] = []
        self._events: list[MetricsEvent] = []
        self._kept = kept if kept is not None else CacheKept()
        self._desk = desk if desk is not None else ChangeDesk(view.board.discard)
        self._entries = view.taken_over(self)
        self._drain_every = DRAIN_EVERY_S / home.clock.real(1.0)
        self._drain_at: float | None = None
        self._stored = 0
        """How many of the `Puts` in hand have been carried out."""

    def on_start(self) -> None:
        earlier, self._kept.layers = self._kept.layers, self._machine
        if self.home.incarnation > 1:
            self._rebuild(earlier)
        self._drain_at = self.now + self._drain_every

    def _rebuild(self, earlier: CacheLayers | None) -> None:
        """Take over what the one before had published, and the pins.

        Changes that it may have died of stand on the board still, and are carried out: what they
        cover ends as it would have. What is served by its key alone is so again once it is read.
        """
        now = self.now
        for session, keys in self._kept.pins.items():
            for stored in keys:
                self._on_command(Pin(stored, session), now)
        self._apply(self._machine.take_over(list(self._entries.values()), earlier, now))
        for epoch, pattern in self._view.board.marks():
            self._marks[epoch] = pattern
            self._kept.restoring.changed(pattern)
            self._on_command(Invalidate(pattern, epoch), now)
        # The planner waits for their outcome, and loads them again where they are still wanted.
        lost, self._kept.puts = self._kept.puts, []
        for put in lost:
            entry = put.entry
            if entry.prefetch_id and entry.claim():
                self._events.append(PrefetchFailed(entry.prefetch_id, "the cache was restarted"))
            self._notices.append(Refused(entry.stored, put.flight_id, lost=True))
        self._on_command(Resident(), now)

    # ---- messages --------------------------------------------------------------------------

    def on_receive(self, message: CacheMessage) -> Any:
        now = self.now
        # So that what it decides rests on the latest reads. A hit is noted as a read, too.
        view = self._view
        everything = isinstance(message, Drain | EndSession)
        if view.reads or view.first_reads or everything:
            self._drain(now, None if everything else NOTES_AT_A_MESSAGE)
        if isinstance(message, ChangeWaiting):
            change = self._desk.take(message)
            if change is None:
                return None
            message = change
        match message:
            case Drain():
                pass
            case CacheStatusQuery():
                return self._machine.snapshot()
            case EndSession(session):
                self._on_command(message, now)
                self._retire(session)
            case Invalidate():
                if not message.epoch:  # by message, from a host that does not see the board
                    message = evolve(message, epoch=self._view.board.note(message.pattern))
                self._marks[message.epoch] = message.pattern
                self._kept.restoring.changed(message.pattern)
                self._on_command(message, now)
            case Restore():
                self._restore(message, now)
            case Acknowledged(epoch):
                pattern = self._marks.pop(epoch, None)
                self._on_command(message, now)
                if pattern is not None:
                    self._view.board.discard(epoch, pattern)
            case Puts(puts):
                self._put(puts, now)
            case Put():
                self._put((message,), now)
            case _:
                self._on_command(message, now)
        # Whoever asked finds the counts in a report: they are sent before the answer is.
        if isinstance(message, Drain):
            self.after_batch()
        return None

    def _put(self, puts: Sequence[Put], now: float) -> None:
        self._kept.puts.extend(puts)
        for put in puts:
            self._on_command(put, now)
            self._stored += 1
        self._stored = 0

    def _restore(self, message: Restore, now: float) -> None:
        """Take back what was kept over a restart, but for what has changed since the start."""
        restoring = self._kept.restoring
        admitted = tuple(e for e in message.entries if restoring.admits(e.stored))
        self._on_command(Restore(admitted), now)
        for entry in message.entries:
            if entry.stored not in self._entries:  # changed, or no room: it need not be kept
                for follower in self._followers:
                    follower.gone(entry.stored)
        if message.last:
            restoring.end()

    def _retire(self, session: str) -> None:
        """Let an ended session's tally go, later, when nobody adds to it any more."""
        tally = self._view.tallies.pop(session, None)
        kept = self._kept
        kept.pins.pop(session, None)
        spared = len(kept.retired) - RETIRED_KEPT
        kept.retired = [
            pair for number, pair in enumerate(kept.retired) if number >= spared or pair[1].owned
        ]
        if tally is not None:
            kept.retired.append((session, tally))

    def _on_command(self, command: Any, now: float) -> None:
        match command:
            case Put():
                for session in command.pin_for:
                    self._kept.pin(command.entry.stored, session)
            case Pin(stored, session):
                self._kept.pin(stored, session)
            case Unpin(stored, session):
                self._kept.unpin(stored, session)
            case _:
                pass
        self._apply(self._machine.handle(command, now))

    def next_deadline(self) -> float | None:
        due = [at for at in (self._machine.next_deadline(), self._drain_at) if at is not None]
        return min(due, default=None)

    def on_tick(self, now: float) -> None:
        self._drain(now)
        self._drain_at = now + self._drain_every
        self._apply(self._machine.tick(now))

    # ---- readers' notes ----------------------------------------------------------------------

    def _drain(self, now: float, most: int | None = None) -> None:
        """Take in what readers have noted: hits exactly, recency as far as it was kept.

        Args:
            now: engine seconds.
            most: notes of reads to take in, the oldest; None: all, and the hits of every session.
        """
        view = self._view
        reads = [Read(stored, session, now) for stored, session in _popped(view.reads, most)]
        firsts: list[FirstRead] = list(_popped(view.first_reads))
        if reads or firsts:
            self._apply(self._machine.take_reads(reads, firsts, now))
        for stored in {read.stored for read in reads}:
            entry = self._entries.get(stored)
            if entry is not None and not view.holds(stored):  # a prefix was invalidated meanwhile
                view.publish(entry, self)
        if most is not None:
            return
        for session, tally in [*view.tallies.items(), *self._kept.retired]:
            hits = tally.take()
            if hits:
                self._events.append(Hits(session, hits))

    # ---- effects -----------------------------------------------------------------------------

    def _apply(self, effects: Iterable[CacheEffect]) -> None:
        """Take effects in whole, and only then tell the host: its code may raise or hang."""
        if self.abandoned:
            return
        entries = self._entries
        of_interest: list[Removed | Note] = []
        told = logger.isEnabledFor(logging.DEBUG)
        for effect in effects:
            match effect:
                case Publish(stored, entry):
                    entries[stored] = entry
                    self._view.publish(entry, self)
                    for follower in self._followers:
                        follower.resident(entry)
                case Withdraw(stored):
                    entries.pop(stored, None)
                    self._view.withdraw(stored, self)
                    for follower in self._followers:
                        follower.gone(stored)
                case _ if type(effect) in _NOTICES:
                    self._notices.append(cast(CacheNotice, effect))
                case _ if type(effect) in EVENT_TYPES:
                    self._events.append(cast(MetricsEvent, effect))
                case _:
                    raise AssertionError(f"unknown effect {effect!r}")
            if isinstance(effect, Removed) or (told and isinstance(effect, Note)):
                of_interest.append(effect)
        for effect in of_interest:
            self._tell_host(effect)

    def _tell_host(self, effect: Removed | Note) -> None:
        if self.abandoned:
            return
        if isinstance(effect, Removed):
            self._removed(effect)
        else:
            self._noted(effect)

    @staticmethod
    def _noted(note: Note) -> None:
        """Promoted, or demoted by a full layer (decision D30)."""
        fields = log_fields(key=note.key, session=note.session)
        logger.debug("%s %s: %s", note.key, note.event, note.reason, extra=fields)

    def _removed(self, notice: Removed) -> None:
        key = public_key(notice.stored)
        if logger.isEnabledFor(logging.DEBUG):
            fields = log_fields(key=key, session=notice.session, cause=str(notice.cause))
            logger.debug("%s left the cache: %s", printable(key), notice.cause, extra=fields)
        self._publish(ResourceEvicted(key, notice.cause, notice.layer))

    def after_batch(self) -> None:
        if self.abandoned:
            return
        if self._events:
            events, self._events = self._events, []
            self._metrics.tell(Events(tuple(events)))
        if self._notices:
            notices, self._notices = self._notices, []
            self._planner.tell(CacheReport(tuple(notices)))
        self._kept.puts = []

    def on_stop(self) -> None:
        """The engine ends: what was loaded or changed before, and waits here, is still told to who
        keeps it.
        """
        if self._closing is None or not self._followers:
            return
        marks = self._view.board.marks()
        for message in self.inbox.take_out(
            lambda m: isinstance(m, Puts | Invalidate | ChangeWaiting)
        ):
            if isinstance(message, Puts):
                current = [put for put in message.puts if not _overtaken(put.entry, marks)]
                self._put(current, self.now)
            else:
                self.on_receive(message)
        self.after_batch()

    def on_failure(self, *_: object) -> None:
        """Its successor goes on from the view; but that a prefetch has ended is said only once."""
        ended = [e for e in self._machine.undelivered() if isinstance(e, PrefetchEnding)]
        if ended:
            self._metrics.tell(Events(tuple(ended)))
        match self.in_hand:
            case Puts(puts):
                self._kept.puts.extend(puts[self._stored :])
            case Put() as put:
                self._kept.puts.append(put)
            case _:
                pass


def _overtaken(entry: Entry, marks: Iterable[tuple[int, str]]) -> bool:
    """Whether one of these changes, of which none has been carried out, covers an older entry."""
    return any(n > entry.epoch and matches(pattern, entry.stored) for n, pattern in marks)


def _popped(log: Any, most: int | None = None) -> Iterable[Any]:
    """What stands in a deque now, at most so many, taken out; readers may go on appending."""
    for _ in range(len(log) if most is None else min(most, len(log))):
        try:
            yield log.popleft()
        except IndexError:
            return
