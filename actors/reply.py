"""Answers to an ask: one-shot, for a waiting thread, for an event loop, or for Pykka's own ask."""

import asyncio
import threading
from typing import Any, Final, Protocol

import pykka
from pykka._envelope import Envelope

from prefetch_scheduler.policies.errors import LoadTimeout, PrefetchError


class AskTimeout(LoadTimeout):
    """No answer came within the time allowed. The message may still be handled later."""


class ActorCrashed(PrefetchError, RuntimeError):
    """The actor that owed the answer ended by an exception before it gave it."""


class InboxFull(PrefetchError, RuntimeError):
    """The actor's inbox is at its bound; the message was not taken. Send less, or later."""


class Later:
    """Type of `LATER`."""

    def __repr__(self) -> str:
        return "LATER"


LATER: Final = Later()
"""Returned by a handler that has kept `current_reply` and will answer through it."""


class Reply(Protocol):
    """Where an answer goes. Of several answers the first counts, whichever thread gives it."""

    @property
    def done(self) -> bool:
        """Whether it has been answered."""

    def set(self, value: Any) -> bool:
        """Answer with a value. False: it had been answered before."""

    def fail(self, error: BaseException) -> bool:
        """Answer with an error, which the asker sees raised."""


class _OneShot:
    """Lets exactly one of several threads answer: popping a list's only item is atomic."""

    __slots__ = ("_right", "gone")

    def __init__(self) -> None:
        self._right: list[None] = [None]
        self.gone = False
        """Whether its asker has given up before there was an answer."""

    @property
    def done(self) -> bool:
        return not self._right

    def give_up(self) -> bool:
        """Wait no longer: an answer finds nobody. False: it has been answered already."""
        self.gone = True  # first: whoever finds that it is too late looks why
        if self._claim():
            return True
        self.gone = False
        return False

    def _claim(self) -> bool:
        try:
            self._right.pop()
        except IndexError:
            return False
        return True


class SyncReply(_OneShot):
    """An answer that a thread waits for.

    A bare lock does the waiting: a Condition would be the dearest part of an ask.
    """

    __slots__ = ("_error", "_pending", "_value")

    def __init__(self) -> None:
        super().__init__()
        self._pending = threading.Lock()
        self._pending.acquire()
        self._value: Any = None
        self._error: BaseException | None = None

    def set(self, value: Any) -> bool:
        if not self._claim():
            return False
        self._value = value
        self._pending.release()
        return True

    def fail(self, error: BaseException) -> bool:
        if not self._claim():
            return False
        self._error = error
        self._pending.release()
        return True

    def wait(self, timeout: float | None = None) -> Any:
        """The value, once it is there.

        Args:
            timeout: real seconds to wait; None: until it is answered.

        Raises:
            AskTimeout: no answer within `timeout`.
            BaseException: what the actor answered with.
        """
        limit = -1.0 if timeout is None else min(max(timeout, 0.0), threading.TIMEOUT_MAX)
        if not self._pending.acquire(timeout=limit):
            raise AskTimeout(f"no answer within {timeout:g} s")
        self._pending.release()  # so that a second waiter passes too
        if self._error is not None:
            try:
                raise self._error
            finally:
                del self  # else its traceback would hold this frame, which holds it: a ring
        return self._value


class AsyncReply(_OneShot):
    """An answer that a coroutine waits for: `await reply`, or `await reply.wait(timeout)`.

    It may outlive its waiter and even its loop: an answer that comes too late is dropped.
    """

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._future: asyncio.Future[Any] = loop.create_future()

    def set(self, value: Any) -> bool:
        return self._claim() and self._hand_over(value, None)

    def fail(self, error: BaseException) -> bool:
        return self._claim() and self._hand_over(None, error)

    def _hand_over(self, value: Any, error: BaseException | None) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._resolve, value, error)
        except RuntimeError:  # the host has closed its loop: nobody waits any more
            return False
        return True

    def _resolve(self, value: Any, error: BaseException | None) -> None:
        if self._future.done():  # cancelled: its waiter timed out or went away
            return
        if error is None:
            self._future.set_result(value)
            return
        if isinstance(error, StopIteration):  # a future refuses it: it would end the coroutine
            error = RuntimeError(f"the actor answered with {error!r}")
        self._future.set_exception(error)
        self._future.exception()  # marks it seen: asyncio logs no complaint if nobody awaits

    def __await__(self) -> Any:
        return self._future.__await__()

    async def wait(self, timeout: float | None = None, *, keep: bool = False) -> Any:
        """As `SyncReply.wait`, without blocking the loop. `keep`: it may be waited for again."""
        done, _ = await asyncio.wait((self._future,), timeout=timeout)
        if not done:
            if not keep:
                self._future.cancel()
            raise AskTimeout(f"no answer within {timeout:g} s")
        return self._future.result()


class FutureReply(_OneShot):
    """The answer to an ask that came through a `pykka.ActorRef`."""

    __slots__ = ("_future",)

    def __init__(self, future: "pykka.Future[Any]") -> None:
        super().__init__()
        self._future = future

    def set(self, value: Any) -> bool:
        if not self._claim():
            return False
        self._future.set(value)
        return True

    def fail(self, error: BaseException) -> bool:
        if not self._claim():
            return False
        self._future.set_exception((type(error), error, error.__traceback__))
        return True


class _NoReply:
    """Stands for the asker of a message that was only told, so that handlers need not look."""

    done: Final = True

    def set(self, value: Any) -> bool:  # noqa: ARG002 - the protocol's signature
        return False

    def fail(self, error: BaseException) -> bool:  # noqa: ARG002 - the protocol's signature
        return False


NO_REPLY: Final = _NoReply()


def reply_of(envelope: Envelope[Any]) -> Reply:
    """Where the answer to this envelope goes; `NO_REPLY` for a tell."""
    reply_to: Any = envelope.reply_to
    if reply_to is None:
        return NO_REPLY
    if isinstance(reply_to, pykka.Future):
        return FutureReply(reply_to)
    reply: Reply = reply_to
    return reply


def raisable(error: BaseException, where: str) -> Exception:
    """The error as an asker may see it raised.

    An actor's `SystemExit`, `KeyboardInterrupt` or `CancelledError` must not end the asker.
    """
    if isinstance(error, Exception):
        return error
    crashed = ActorCrashed(f"{where}: {error!r}")
    crashed.__cause__ = error
    return crashed
