"""The read path: hits from the published view, and demand where it holds nothing fresh.

A hit costs a dict lookup, a look at the board of invalidations, the source's own freshness check
and a note of the access: no lock, no message, no await. What is handed out has always been
checked in the reader's own thread: either it was loaded after the reader asked, or its source
says that it is still current.
"""

from attrs import field

from prefetch_scheduler.actors.ports import Address, Clock
from prefetch_scheduler.actors.reply import Reply
from prefetch_scheduler.actors.view import PublishedView, Tally
from prefetch_scheduler.engine.leniency import Leniency
from prefetch_scheduler.engine.sources.registry import SourceRegistry
from prefetch_scheduler.policies.cache_events import Drain, Restamp
from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.keys import cache_key, kind_of, public_key
from prefetch_scheduler.policies.planner_events import Answer, Demand, Forsake, Retry
from prefetch_scheduler.policies.values import define, frozen

NAMES_KEPT = 50_000
"""Keys whose normal form a session remembers; past them it starts afresh."""


@frozen
class Name:
    """A key as hosts write it, resolved once."""

    key: str
    stored: str
    whole: str | None
    """Key of the whole that it is a part of."""
    whole_stored: str | None


@frozen
class Identity:
    """Whose private content a session reads, and the names resolved for that user."""

    user: str | None = None
    names: dict[str, Name] = field(factory=dict)


@define(eq=False)
class ReaderSession:
    """What the read path needs of a session."""

    id: str
    tally: Tally
    """Its hits; shared by all that read for the session of that id."""
    identity: Identity = field(factory=Identity)
    """Replaced whole when a user logs in, so that no name of one user is kept for another."""

    def __attrs_post_init__(self) -> None:
        self.tally.belongs_to(self)


class Reader:
    """Reads for all sessions of an engine. Safe to use from any thread."""

    def __init__(
        self,
        view: PublishedView,
        registry: SourceRegistry,
        cache: Address,
        clock: Clock,
        leniency: Leniency | None = None,
    ) -> None:
        self._view = view
        self._board = view.board
        self._registry = registry
        self._checks = registry.checks
        self._cache = cache
        self._clock = clock
        self._leniency = leniency if leniency is not None and leniency.any else None

    def name(self, session: ReaderSession, key: str) -> Name:
        """The key in its normal form, and where its content is kept.

        Raises:
            UnknownKind: no source serves its kind.
            InvalidPrediction: it is malformed, or leaves its source's root.
        """
        identity = session.identity
        found = identity.names.get(key)
        if found is not None:
            return found
        normal = self._registry.normalise(key)
        whole = self._registry.whole_key(normal)
        name = Name(
            normal,
            self.stored(identity, normal),
            whole,
            self.stored(identity, whole) if whole is not None else None,
        )
        if len(identity.names) >= NAMES_KEPT:
            identity.names.clear()
        identity.names[key] = name
        return name

    def stored(self, identity: Identity, key: str) -> str:
        private = self._registry.table.is_private(kind_of(key))
        return cache_key(key, identity.user, private=private)

    # ---- hits ------------------------------------------------------------------------------

    def current(self, stored: str) -> tuple[Entry | None, Content | None]:
        """The resident entry of a cache key, and its content if a reader may have it now.

        The board is looked at before the entry is fetched: see `InvalidationBoard.newest`.
        """
        required = self._board.newest(stored) if self._board.standing else 0
        entry = self._view.entries.get(stored)
        if entry is None:
            return None, None
        if entry.epoch < required:
            return entry, None
        content = entry.content
        limit = content.max_age_s
        if limit is not None and self._clock.now() - entry.loaded_at > limit:
            return entry, None
        check = self._checks[entry.source_id] if entry.source_id >= 0 else None
        if check is None:
            return entry, content
        fresh = check(public_key(stored).partition(":")[2], content)
        if fresh is not None and fresh is not content:
            fresh = fresh.placed(
                key=content.key or "",
                source=content.source,
                loaded_at=content.loaded_at,
                layer=content.layer,
                tokens=content.tokens,
            )
            self._cache.tell(Restamp(entry, fresh))
        return entry, fresh

    def hit(self, session: ReaderSession, name: Name) -> tuple[Content | None, float]:
        """The content from the view, counted as a hit; else None and what was turned down.

        The second value is `loaded_at` of a resident entry that is stale, -1 where none is there.
        """
        return self.look(name, session)

    def look(self, name: Name, session: ReaderSession | None) -> tuple[Content | None, float]:
        """As `hit`; with no session nothing is counted."""
        entry, content = self.current(name.stored)
        if entry is not None and content is not None:
            if session is not None:
                self._note(entry, session)
            return content, -1.0
        seen = entry.loaded_at if entry is not None else -1.0
        if name.whole_stored is not None:
            whole, content = self.current(name.whole_stored)
            part = self._registry.extract(name.key, content) if content is not None else None
            if whole is not None and part is not None:
                if session is not None:
                    self._note(whole, session)
                return self._as_part(part, name.key, whole), -1.0
        if entry is not None and session is not None and self._leniency is not None:
            lenient = self._leniency.while_revalidating(name.stored, session.id)
            if lenient is not None:
                self._note(lenient[0], session)
                return lenient[1], -1.0
        return None, seen

    def despite(self, session: ReaderSession, key: str) -> Content | None:
        """What a read whose load failed gets instead, where its source allows that; else None."""
        if self._leniency is None:
            return None
        return self._leniency.instead_of_error(self.name(session, key).stored, session.id)

    def _note(self, entry: Entry, session: ReaderSession) -> None:
        at = self._clock.now() if entry.first_read else 0.0
        self._view.note_hit(entry, session.id, at, session.tally)

    @staticmethod
    def _as_part(part: Content, key: str, whole: Entry) -> Content:
        content = whole.content
        return part.placed(
            key=key, source=content.source, loaded_at=content.loaded_at, layer=content.layer
        )

    # ---- demand ----------------------------------------------------------------------------

    def start(self, session: ReaderSession, name: Name, seen: float) -> "Read":
        """A read that found nothing fresh in the view."""
        required = 0
        if self._board.standing:
            whole = self._board.newest(name.whole_stored) if name.whole_stored else 0
            required = max(self._board.newest(name.stored), whole)
        return Read(self, session, name, seen, self._clock.now(), required)

    def accept(self, answer: Answer, asked_at: float, required: int) -> Content | None:
        """The answered content if it is current as of `asked_at`, else None.

        Args:
            required: the newest invalidation of the key when the reader asked. One that was gone
                by then had reached the planner, which answers nobody with what it overtakes.
        """
        if answer.asked_at > asked_at:  # of two at one tick of the clock either may be first
            return answer.content
        if answer.epoch < required:
            return None
        content = answer.content
        entry, limit = answer.entry, content.max_age_s
        if entry is not None and limit is not None and self._clock.now() - entry.loaded_at > limit:
            return None  # it was loaded before the reader asked, and is being stored
        key = content.key or ""
        check = self._checks[answer.source_id] if answer.source_id >= 0 else None
        return content if check is None else check(key.partition(":")[2], content)

    def extract(self, key: str, whole: Content) -> Content | None:
        part = self._registry.extract(key, whole)
        if part is None:
            return None
        return part.placed(key=key, source=whole.source, loaded_at=whole.loaded_at, layer=None)

    def take_first_read(self, entry: Entry, session: ReaderSession) -> None:
        self._view.take_first_read(entry, session.id, self._clock.now())
        self._cache.tell(Drain())

    def now(self) -> float:
        return self._clock.now()


class Read:
    """One read on its way: the demands it sends and what it makes of the answers.

    The same for threads and coroutines, which differ only in how they wait.
    """

    def __init__(
        self,
        reader: Reader,
        session: ReaderSession,
        name: Name,
        seen: float,
        asked_at: float,
        required: int,
    ) -> None:
        self._reader = reader
        self._session = session
        self._name = name
        self._seen = seen
        self._asked_at = asked_at
        self._required = required
        self._not_before = -1.0
        self._attempt = 0
        self._counted = False
        self._turn: list[None] = [None]
        self._whole = name.whole

    @property
    def key(self) -> str:
        return self._name.key

    def forsake(self, reply: Reply) -> Forsake:
        """The message that this reader waits no longer."""
        return Forsake(reply, self._name.stored, self._name.whole_stored)

    @property
    def session(self) -> str:
        """The session that it is counted for."""
        return self._session.id

    def claim(self) -> bool:
        """Take the turn to count it without the planner. False: the planner has counted it."""
        if self._counted:
            return False
        self._counted = True
        try:
            self._turn.pop()
        except IndexError:
            return False
        return True

    def demand(self, reply: Reply) -> Demand:
        """The message to send now."""
        return Demand(
            self._session.id,
            self._name.key,
            reply,
            at=self._asked_at,
            seen=self._seen,
            not_before=self._not_before,
            whole=self._whole,
            stored=self._name.stored,
            whole_stored=self._name.whole_stored,
            attempt=self._attempt,
            counted=self._counted,
            turn=self._turn,
        )

    def take(self, outcome: Answer | Retry) -> Content | None:
        """The content, or None where another demand must be sent."""
        self._attempt += 1
        self._counted = self._counted or not isinstance(outcome, Retry) or outcome.counted
        if isinstance(outcome, Retry):
            counts_as = None if self._counted else self._session
            self._turn = [None]  # the planner has left it to this reader
            content, self._seen = self._reader.look(self._name, counts_as)
            return content
        if outcome.entry is not None:
            self._reader.take_first_read(outcome.entry, self._session)
        content = self._reader.accept(outcome, self._asked_at, self._required)
        if content is None:
            self._not_before = self._reader.now()
            return None
        if content.key != self._name.key:
            content = self._reader.extract(self._name.key, content)
            self._whole = None  # the whole does not hold it: ask for it by itself
        return content
