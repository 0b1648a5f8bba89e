"""Reading: what hosts call most, the same on an engine and on each of its sessions.

A hit is served here by the key as the host wrote it: from `PublishedView.direct` where its source
needs no look, from `guarded` where its source confirms it: one or two dict accesses, the check, one
note of the read and one count. Everything else (another spelling, private content, a first read,
an engine that does not run) is not found there, and takes the longer way through `Reader`.
"""

import asyncio
from collections.abc import Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from prefetch_scheduler.actors.ports import Clock
from prefetch_scheduler.actors.reply import (
    ActorCrashed,
    AskTimeout,
    AsyncReply,
    SyncReply,
)
from prefetch_scheduler.engine.loops import running_loop
from prefetch_scheduler.engine.reading import Name, Read, ReaderSession
from prefetch_scheduler.engine.timeouts import checked_timeout
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import (
    EngineDegraded,
    InvalidPrediction,
    LoadTimeout,
    PrefetchError,
    ResourceUnavailable,
)
from prefetch_scheduler.policies.keys import plain_key
from prefetch_scheduler.policies.yaml_text import printable

if TYPE_CHECKING:
    from prefetch_scheduler.engine.runtime import Runtime


class Reads:
    """The reading half of the API of an engine and of a session; safe in any thread."""

    def __init__(self, runtime: "Runtime", reading: ReaderSession) -> None:
        self._runtime = runtime
        self._reading = reading
        # What a hit touches, one step away: each further one costs it a twentieth.
        self._view = runtime.view
        self._confirm = runtime.registry.confirm
        self._log = runtime.view.reads
        self._hits = reading.tally.hits
        self._reader_id = reading.id

    def get(self, key: str, *, timeout: float | None = None) -> Content:
        """The content of a resource: from the cache, by joining its load, or by loading it now.

        Args:
            timeout: engine seconds to wait, inf for as long as can be; None: `demand_timeout_s`.

        Raises:
            UnknownKind: no source serves the key's kind.
            InvalidPrediction: the key is malformed, or `timeout` no number of at least 0.
            ResourceUnavailable: every source of its kind failed, or it is not allowed.
            LoadTimeout: it was not loaded in time.
            EngineStopped, EngineFailed: the engine does not run.
            PrefetchError: it would have to wait on a thread that runs an event loop.
        """
        if timeout is None and type(key) is str:
            view = self._view
            content = view.direct.get(key)
            if content is None and (entry := view.guarded.get(key)) is not None:
                content = self._confirm[entry.source_id](key, entry.content)
            if content is not None:
                self._log.append((key, self._reader_id))
                next(self._hits)
                return content
        return self._get(key, timeout)

    def _get(self, key: str, timeout: float | None) -> Content:
        if timeout is not None:
            timeout = checked_timeout(timeout)
        name, content, seen = self._hit(key)
        if content is not None:
            return content
        if running_loop() is not None:
            raise PrefetchError(
                f"get({key!r}) would have to wait and block this thread's event loop;"
                " use `await aget(...)` here"
            )
        left = _Left(self._runtime.clock, self._runtime.demand_timeout(timeout))
        read = self._runtime.reader.start(self._reading, name, seen)
        try:
            return self._wait(read, left)
        except (ResourceUnavailable, LoadTimeout):
            return self._despite(read)

    async def aget(self, key: str, *, timeout: float | None = None) -> Content:
        """As `get`, for coroutines. A hit needs no switch of task."""
        if timeout is None and type(key) is str:  # as in `get`: one call more costs a quarter
            view = self._view
            content = view.direct.get(key)
            if content is None and (entry := view.guarded.get(key)) is not None:
                content = self._confirm[entry.source_id](key, entry.content)
            if content is not None:
                self._log.append((key, self._reader_id))
                next(self._hits)
                return content
        if timeout is not None:
            timeout = checked_timeout(timeout)
        name, found, seen = self._hit(key)
        if found is not None:
            return found
        left = _Left(self._runtime.clock, self._runtime.demand_timeout(timeout))
        read = self._runtime.reader.start(self._reading, name, seen)
        try:
            return await self._await(read, left)
        except (ResourceUnavailable, LoadTimeout):
            return self._despite(read)

    def get_many(self, keys: Iterable[str], *, timeout: float | None = None) -> list[Content]:
        """Several resources at once, in order; the first error is raised once all have ended.

        Args:
            keys: what to read.
            timeout: as for `get`, for all of them together.
        """
        if timeout is not None:
            timeout = checked_timeout(timeout)
        left = _Left(self._runtime.clock, self._runtime.demand_timeout(timeout))
        reads = [self._hit(key) for key in self._checked(keys)]
        if running_loop() is not None and any(content is None for _, content, _ in reads):
            raise PrefetchError("get_many would block this thread's event loop; use aget_many")
        replies: list[tuple[Content | None, Read | None, _Asked | None]] = []
        for name, content, seen in reads:
            if content is not None:
                replies.append((content, None, None))
                continue
            read = self._runtime.reader.start(self._reading, name, seen)
            reply = SyncReply()
            replies.append((None, read, (reply, self._runtime.demand(read, reply))))
        return _first_error_last(
            [
                content if read is None else self._caught(read, reply, left)
                for content, read, reply in replies
            ]
        )

    async def aget_many(
        self, keys: Iterable[str], *, timeout: float | None = None
    ) -> list[Content]:
        """As `get_many`, for coroutines."""
        results = await asyncio.gather(
            *(self.aget(key, timeout=timeout) for key in self._checked(keys)),
            return_exceptions=True,
        )
        return _first_error_last(results)

    def peek(self, key: str) -> Content | None:
        """What is resident and current, or None. Never waits, loads or counts.

        Raises:
            UnknownKind: no source serves the key's kind.
            InvalidPrediction: the key is malformed.
        """
        if type(key) is str:  # another may have no hash, or one that lies
            content = self._view.direct.get(key)
            if content is None and (entry := self._view.guarded.get(key)) is not None:
                content = self._confirm[entry.source_id](key, entry.content)
            if content is not None:
                return content
        self._runtime.check_running()
        return self._runtime.reader.look(self._name(key), None)[0]

    def _name(self, key: str) -> Name:
        if type(key) is not str:  # it may have no hash, or one that lies
            key = plain_key(key)
        return self._runtime.reader.name(self._reading, key)

    def _checked(self, keys: Iterable[str]) -> list[str]:
        """The keys, all of them resolved before any of them is read, and counted."""
        listed = _listed(keys)
        self._runtime.check_running()
        for key in listed:
            self._name(key)
        return listed

    def _hit(self, key: str) -> tuple[Name, Content | None, float]:
        self._runtime.check_running()
        reader = self._runtime.reader
        name = self._name(key)
        content, seen = reader.hit(self._reading, name)
        return name, content, seen

    def _caught(self, read: Read, reply: "_Asked | None", left: "_Left") -> Content | BaseException:
        try:
            try:
                return self._wait(read, left, reply)
            except (ResourceUnavailable, LoadTimeout):
                return self._despite(read)
        except PrefetchError as error:
            return error

    def _despite(self, read: Read) -> Content:
        """In an `except` clause: what its source allows to be served instead; else the error."""
        content = self._runtime.reader.despite(self._reading, read.key)
        if content is None:
            raise  # noqa: PLE0704 - the error in hand
        return content

    def _wait(self, read: Read, left: "_Left", asked: "_Asked | None" = None) -> Content:
        runtime = self._runtime
        while True:
            if asked is None:
                reply = SyncReply()
                asked = (reply, runtime.demand(read, reply))
            reply, patience = asked
            try:
                outcome = reply.wait(min(patience, left()))
            except AskTimeout:
                if patience < inf and (not patience or not runtime.planner.ready) and left() > 0:
                    return self._directly(read, reply, left)
                if patience < inf and left() > 0:
                    asked = (reply, inf)  # the planner is back, and has the demand in its inbox
                    continue
                if reply.give_up():
                    raise self._timed_out(read, reply, left.limit) from None
                try:
                    outcome = reply.wait()  # it came at the last moment
                except (EngineDegraded, ActorCrashed):
                    raise self._timed_out(read, reply, left.limit) from None
            except (EngineDegraded, ActorCrashed):
                return self._directly(read, reply, left)
            except BaseException:
                if reply.give_up():  # interrupted while it waited
                    runtime.planner.tell(read.forsake(reply))
                raise
            content = read.take(outcome)
            if content is not None:
                return content
            asked = None

    async def _await(self, read: Read, left: "_Left") -> Content:
        runtime = self._runtime
        loop = asyncio.get_running_loop()
        while True:
            reply = AsyncReply(loop)
            patience = runtime.demand(read, reply)
            try:
                outcome = await self._outcome(reply, patience, left)
            except AskTimeout:
                if reply.give_up():
                    raise self._timed_out(read, reply, left.limit) from None
                try:
                    outcome = await reply  # it came at the last moment
                except (EngineDegraded, ActorCrashed):
                    raise self._timed_out(read, reply, left.limit) from None
            except (EngineDegraded, ActorCrashed):
                return await self._adirectly(read, reply, left)
            except BaseException:
                if reply.give_up():  # cancelled, or its loop was closed
                    runtime.planner.tell(read.forsake(reply))
                raise
            content = read.take(outcome)
            if content is not None:
                return content

    async def _outcome(self, reply: AsyncReply, patience: float, left: "_Left") -> Any:
        """The planner's answer; `EngineDegraded` where there is no planner to wait for."""
        if patience < inf:
            try:
                return await reply.wait(min(patience, left()), keep=True)
            except AskTimeout:
                if left() > 0 and (not patience or not self._runtime.planner.ready):
                    raise EngineDegraded("the planner does not run") from None
        return await reply.wait(left(), keep=True)

    def _directly(self, read: Read, old: SyncReply, left: "_Left") -> Content:
        """Without the planner, for this reader alone."""
        self._runtime.planner.tell(read.forsake(old))
        reply = SyncReply()
        token = self._runtime.load_directly(read, reply)
        try:
            content: Content = reply.wait(left())
        except BaseException as error:
            token.cancel()
            if isinstance(error, AskTimeout):
                raise _too_late(read, left.limit) from None
            raise
        return content

    async def _adirectly(self, read: Read, old: AsyncReply, left: "_Left") -> Content:
        self._runtime.planner.tell(read.forsake(old))
        reply = AsyncReply(asyncio.get_running_loop())
        token = self._runtime.load_directly(read, reply)
        try:
            content: Content = await reply.wait(left())
        except BaseException as error:
            token.cancel()
            if isinstance(error, AskTimeout):
                raise _too_late(read, left.limit) from None
            raise
        return content

    def _timed_out(self, read: Read, reply: Any, limit: float) -> LoadTimeout:
        self._runtime.planner.tell(read.forsake(reply))
        return LoadTimeout(
            f"{printable(read.key)}: not loaded within {limit:g} s;"
            " it goes on loading, ask again later"
        )


_Asked = tuple[SyncReply, float]
"""A demand that was sent, and how many real seconds to wait for a planner that does not run."""


class _Left:
    """Real seconds left of a reader's time."""

    def __init__(self, clock: Clock, limit: float) -> None:
        self.limit = limit
        """Engine seconds in all."""
        self._clock = clock
        self._deadline = clock.now() + limit

    def __call__(self) -> float:
        return self._clock.real(max(0.0, self._deadline - self._clock.now()))


def _too_late(read: Read, limit: float) -> LoadTimeout:
    return LoadTimeout(
        f"{printable(read.key)}: not loaded within {limit:g} s; the engine is degraded"
    )


def _listed(keys: object) -> list[str]:
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise InvalidPrediction(f"keys: expected a list of keys, got {type(keys).__name__}")
    return list(keys)


def _first_error_last(results: Sequence[Content | BaseException | None]) -> list[Content]:
    contents: list[Content] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        if result is not None:
            contents.append(result)
    return contents
