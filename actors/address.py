"""A stable address: it stays good when the actor behind it is restarted."""

import asyncio
import threading
from collections.abc import Iterable
from typing import Any

import pykka
from pykka._envelope import Envelope

from prefetch_scheduler.actors.inbox import Inbox
from prefetch_scheduler.actors.reply import AskTimeout, Reply, SyncReply
from prefetch_scheduler.actors.signals import SIGNALS
from prefetch_scheduler.policies.errors import PrefetchError

ASK_TIMEOUT_S = 5.0


class Address:
    """Where messages to one actor go.

    Args:
        name: the actor's role, e.g. `planner`.
        inbox: its inbox, kept over restarts.
        control: message types that overtake all others (cancels, invalidations).
    """

    def __init__(self, name: str, inbox: Inbox, control: Iterable[type] = ()) -> None:
        self.name = name
        self.inbox = inbox
        self.owner: int | None = None
        """Identifier of the thread that serves it now."""
        self.ref: pykka.ActorRef[Any] | None = None
        """The incarnation that serves it now, or was the last to."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """The event loop of the incarnation that serves it, where it runs one."""
        self.ready = False
        """Whether an incarnation takes messages now; False while one is being restarted."""
        self._control = frozenset((*SIGNALS, *control))

    def __repr__(self) -> str:
        return f"<Address of {self.name}>"

    def tell(self, message: Any, /) -> bool:
        """Send without waiting. False: inbox full or closed, and the message is a dead letter."""
        return self.inbox.put(Envelope(message), type(message) in self._control)

    def send(self, message: Any, reply: Reply) -> bool:
        """Send with a place for the answer. A refused message is answered with the error."""
        # Pykka's envelope wants one of its futures here; the base actor takes any `Reply`.
        envelope: Envelope[Any] = Envelope(message)
        envelope.reply_to = reply  # type: ignore[assignment]  # see above
        return self.inbox.put(envelope, type(message) in self._control)

    def ask(self, message: Any, timeout: float | None = ASK_TIMEOUT_S) -> Any:
        """Send and wait for the answer. It always ends: a queued ask survives a restart, and is
        answered with an error when its actor ends for good.

        Args:
            timeout: real seconds to wait; None: until the actor answers or ends.

        Raises:
            AskTimeout: no answer within `timeout`; the message may still be handled.
            EngineStopped, EngineFailed: the actor has ended.
            InboxFull: the inbox is at its bound.
            RuntimeError: an actor asks itself, which could only wait for ever.
            Exception: whatever the handler raised.
        """
        if self.owner == threading.get_ident():
            raise RuntimeError(f"{self.name} asks itself, which would wait for ever; tell instead")
        reply = SyncReply()
        self.send(message, reply)
        try:
            return reply.wait(timeout)
        except AskTimeout:
            if reply.done:  # answered in the very last moment, or the handler's own time-out
                return reply.wait(0)
            raise AskTimeout(
                f"{self.name} has not answered {type(message).__name__} within {timeout:g} s"
            ) from None

    def fill(self) -> tuple[int, int]:
        """`(messages waiting, bound of the work lane)`."""
        return self.inbox.fill()

    def close(self, error: PrefetchError) -> None:
        """Refuse everything from now on; waiting and later askers get `error`."""
        self.inbox.close(error)

    def reopen(self) -> None:
        """Take messages again, for an actor that is about to be started anew."""
        self.inbox.reopen()

    def abandon(self) -> None:
        """Leave the incarnation that serves it behind: it hangs. Should it ever return, it finds
        itself stopped, and touches nothing that its successor may have.
        """
        self.ready = False
        if self.ref is not None:
            self.ref.actor_stopped.set()
            pykka.ActorRegistry.unregister(self.ref)
