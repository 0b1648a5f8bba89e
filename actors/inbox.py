"""An actor's inbox: two lanes, bounded, closable, and it never makes a sender wait.

Lock-free on the sender's side: appending to a deque is atomic in CPython, and a lock is touched
only to wake a consumer that sleeps. That flag is Dekker's pattern, which relies on the order of
the flag's and the lane's memory accesses; a timed wait backs it up where that order is weak.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from prefetch_scheduler.actors.dead_letters import DeadLetters
from prefetch_scheduler.actors.reply import InboxFull, reply_of
from prefetch_scheduler.actors.signals import SIGNALS, Stop
from prefetch_scheduler.policies.errors import EngineDegraded, PrefetchError

DEFAULT_BOUND = 100_000
"""Messages that a lane holds unless it is told otherwise."""

BACKSTOP_S = 1.0
"""Real seconds after which a sleeping consumer looks for itself."""

GATHER_S = 0.005
"""The same while it gathers, see `unhurried`."""

_ALWAYS_TAKEN = (*SIGNALS, _ActorStop)


class Inbox:
    """The messages waiting for one actor, over all its incarnations.

    Args:
        name: the actor's name, for error messages.
        bound: messages that the work lane, and again the control lane, may hold. Concurrent
            senders may overshoot it by one each.
        dead_letters: where refused and left-over messages are counted.
        undelivered: told of each of them and why, in the thread that finds it; must not block.
        unhurried: types of messages for which a consumer that was busy a moment ago is not woken:
            it gathers them, and looks for itself after `GATHER_S`. Waking a thread for each costs
            more than to handle it.
    """

    def __init__(
        self,
        name: str = "actor",
        *,
        bound: int = DEFAULT_BOUND,
        dead_letters: DeadLetters | None = None,
        undelivered: Callable[[Any, PrefetchError], None] | None = None,
        unhurried: Iterable[type] = (),
    ) -> None:
        if bound < 1:
            raise ValueError(f"inbox bound must be at least 1, got {bound!r}")
        self.name = name
        self.bound = bound
        self.dead_letters = dead_letters if dead_letters is not None else DeadLetters()
        self._undelivered = undelivered
        self._control: deque[Envelope[Any]] = deque()
        self._work: deque[Envelope[Any]] = deque()
        self._closed: PrefetchError | None = None
        self._unhurried = frozenset(unhurried)
        self._gathering = False
        self._asleep = False
        self._bell = threading.Lock()  # held while there is nothing to wake up for
        self._bell.acquire()
        self._wake: Callable[[], None] = self._ring

    # ---- senders, any thread ---------------------------------------------------------------

    def put(self, envelope: Envelope[Any], control: bool = False) -> bool:
        """Take a message, or refuse it at once.

        Returns:
            False where the lane is full or the inbox closed. A refused message is counted as a
            dead letter, and its asker, if any, is answered with the error.
        """
        lane = self._control if control else self._work
        if self._closed is not None:
            self._discard(envelope, self._closed)
            return False
        if len(lane) >= self.bound and not isinstance(envelope.message, _ALWAYS_TAKEN):
            self._discard(envelope, InboxFull(f"{self.name}: {self.bound} messages are waiting"))
            return False
        lane.append(envelope)
        if self._asleep and not (self._gathering and type(envelope.message) in self._unhurried):
            self._asleep = False
            self._wake()
        if self.closed:
            # Closed between the check and the append: whoever sees that empties the lanes.
            # Popping is atomic, so each message is discarded once.
            self._discard_all()
        return True

    def fill(self) -> tuple[int, int]:
        """`(messages waiting, bound of the work lane)`."""
        return len(self._control) + len(self._work), self.bound

    @property
    def closed(self) -> bool:
        return self._closed is not None

    def close(self, error: PrefetchError) -> None:
        """Take nothing any more; answer what waits, and whatever comes later, with `error`.

        The first error stays, unless it was only meant for a while.
        """
        if self._closed is None or isinstance(self._closed, EngineDegraded):
            self._closed = error
        self._discard_all()
        self._wake()

    def seal(self, error: PrefetchError) -> None:
        """Take nothing any more, in a process without a consumer: nobody is woken, whose pipe may
        be another's, and what waits is left alone, since a lock may be held that nobody releases.
        """
        self._wake = lambda: None
        self._closed = error

    def reopen(self) -> None:
        """Take messages again after `close`; what was refused meanwhile stays refused."""
        self._closed = None

    # ---- the consumer, one thread at a time ------------------------------------------------

    def get(self) -> Envelope[Any]:
        """The next message, control before work; waits for one. `Stop` once closed and empty."""
        envelope = self.get_nowait()
        self._gathering = envelope is None and bool(self._unhurried)  # it was busy until now
        while envelope is None:
            if self._closed is not None:
                return Envelope(Stop(self._closed))
            if self.sleep():
                self._bell.acquire(timeout=GATHER_S if self._gathering else BACKSTOP_S)
                self._asleep = self._gathering = False
            envelope = self.get_nowait()
        return envelope

    def get_nowait(self) -> Envelope[Any] | None:
        """The next message, or None."""
        try:
            return self._control.popleft()
        except IndexError:
            pass
        try:
            return self._work.popleft()
        except IndexError:
            return None

    def closing(self) -> Envelope[Any] | None:
        """`Stop` once closed and empty: what `get` would return; else None."""
        if self._closed is None or not self.empty():
            return None
        return Envelope(Stop(self._closed))

    def put_back(self, envelopes: Sequence[Envelope[Any]]) -> None:
        """Return messages that were taken and not handled, to the head of the work lane."""
        self._work.extendleft(reversed(envelopes))

    def take_out(self, which: Callable[[Any], bool]) -> list[Any]:
        """Remove waiting messages; the others keep their order. Only while nobody consumes."""
        taken: list[Any] = []
        kept: list[Envelope[Any]] = []
        for _ in range(len(self._work)):
            try:
                envelope = self._work.popleft()
            except IndexError:
                break
            if which(envelope.message):
                taken.append(envelope.message)
            else:
                kept.append(envelope)
        self.put_back(kept)
        return taken

    def empty(self) -> bool:
        return not self._control and not self._work

    def sleep(self) -> bool:
        """Announce that the consumer waits to be woken. False: there is something to do already."""
        self._asleep = True
        if self._control or self._work or self._closed is not None:
            self._asleep = False
            return False
        return True

    def attach(self, wake: Callable[[], None] | None) -> None:
        """How to wake the consumer, from any sender's thread. None: `get` waits by itself."""
        self._wake = wake if wake is not None else self._ring

    def detach(self, wake: Callable[[], None]) -> None:
        """Undo `attach`, unless a successor has attached its own since."""
        if self._wake == wake:
            self._wake = self._ring

    # ---- inside ----------------------------------------------------------------------------

    def _ring(self) -> None:
        with suppress(RuntimeError):  # two senders at once: the other has rung
            self._bell.release()

    def _discard_all(self) -> None:
        while self._closed is not None and (envelope := self.get_nowait()) is not None:
            self._discard(envelope, self._closed)

    def _discard(self, envelope: Envelope[Any], error: PrefetchError) -> None:
        if isinstance(envelope.message, _ActorStop):
            reply_of(envelope).set(None)  # who wanted it stopped has his wish
            return
        if not isinstance(envelope.message, SIGNALS):
            self.dead_letters.add(envelope.message)
            if self._undelivered is not None:
                self._undelivered(envelope.message, error)
        reply_of(envelope).fail(error)
