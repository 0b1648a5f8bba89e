"""One session of a host: everything a host does with the engine, within one context and budget."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from prefetch_scheduler.actors import messages as to
from prefetch_scheduler.actors.messages import ReportQuery
from prefetch_scheduler.actors.ports import Clock
from prefetch_scheduler.actors.reply import (
    ActorCrashed,
    AskTimeout,
    AsyncReply,
    SyncReply,
)
from prefetch_scheduler.engine import events
from prefetch_scheduler.engine.handle import PlanHandle
from prefetch_scheduler.engine.loops import running_loop
from prefetch_scheduler.engine.reading import Identity, Name, Read, ReaderSession
from prefetch_scheduler.engine.submissions import accepted
from prefetch_scheduler.engine.timeouts import checked_timeout
from prefetch_scheduler.policies.cache_events import Invalidate
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import (
    EngineDegraded,
    InvalidPrediction,
    LoadTimeout,
    PrefetchError,
    ResourceUnavailable,
)
from prefetch_scheduler.policies.keys import exactly, plain_key
from prefetch_scheduler.policies.prediction import Constraints, Prediction
from prefetch_scheduler.policies.report import Report
from prefetch_scheduler.policies.yaml_text import printable

if TYPE_CHECKING:
    from prefetch_scheduler.engine.runtime import Runtime


class Session:
    """The engine's API for one session. Made by `PrefetchEngine.session`; safe in any thread."""

    def __init__(
        self,
        runtime: "Runtime",
        id_: str,
        user: str | None,
        forget: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._runtime = runtime
        self._forget = forget
        self._reading = ReaderSession(id_, Identity(user))

    @property
    def id(self) -> str:
        """The session's own name, as it was asked for."""
        return self._reading.id

    def __repr__(self) -> str:
        return f"<Session {self.id!r}>"

    # ---- predictions -----------------------------------------------------------------------

    def submit(
        self,
        predictions: Iterable[Prediction] | Mapping[str, Any],
        constraints: Constraints | None = None,
        *,
        context: str | None = None,
    ) -> PlanHandle:
        """Hand predictions over; returns at once.

        Args:
            predictions: `Prediction` values, or the Pattern Predictor's output as a mapping.
            constraints: budgets, urgency, mode; None: the configuration's, and the mode that
                the predictor's output suggests.
            context: what the predictions belong to; a new one is a change of context.

        Raises:
            InvalidPrediction: names every fault; nothing of the call is accepted.
            EngineStopped, EngineFailed: the engine does not run.

        While the engine is degraded nothing is loaded ahead: the handle's `plan` raises
        `EngineDegraded`, and its `wait_immediate` returns False at once.
        """
        self._runtime.check_running()
        checked, terms = accepted(self._runtime.registry, predictions, constraints)
        if context is not None and (not isinstance(context, str) or not context):
            raise InvalidPrediction(
                f"context: expected a string that is not empty, got {context!r}"
            )
        handle = self._runtime.new_handle()
        if self._runtime.degraded():
            handle.given_up(self._runtime.system.error())
        else:
            self._runtime.submit(to.Submit(self.id, checked, terms, context, handle))
        return handle

    def cancel(self, key: str) -> None:
        """Take one key's prediction back: its load ends, queued or running, unless another session
        or a reader wants it. A submit that is not planned yet is not looked into.

        Raises:
            UnknownKind, InvalidPrediction: as for `get`.
        """
        self._runtime.check_running()
        name = self._name(key)
        if not self._runtime.degraded():  # else nothing is under way
            self._runtime.tell_planner(to.CancelKey(self.id, name.key))

    # ---- reads -----------------------------------------------------------------------------

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
        if timeout is not None:
            timeout = checked_timeout(timeout)
        name, content, seen = self._hit(key)
        if content is not None:
            return content
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
                raise self._timed_out(read, reply, left.limit) from None
            except (EngineDegraded, ActorCrashed):
                return self._directly(read, reply, left)
            except BaseException:
                if not reply.done:  # interrupted while it waited
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
                raise self._timed_out(read, reply, left.limit) from None
            except (EngineDegraded, ActorCrashed):
                return await self._adirectly(read, reply, left)
            except BaseException:
                if not reply.done:  # cancelled, or its loop was closed
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
        return await reply.wait(left())

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

    # ---- content and pins ------------------------------------------------------------------

    def put(self, key: str, content: Content | str | bytes) -> None:
        """Hand content over: readers get it from now on, without a load.

        A source that can check freshness is asked to confirm it at the first read.

        Raises:
            UnknownKind, InvalidPrediction: as for `get`.
            TypeError: the content is neither `Content`, `str` nor `bytes`.
        """
        self._runtime.check_running()
        name = self._name(key)
        given = content if isinstance(content, Content) else Content(content)
        source_id, stamped = self._runtime.registry.adopt(name.key, given)
        pattern = exactly(name.key)
        epoch = self._runtime.view.board.note(pattern)
        command = Invalidate(
            pattern,
            epoch,
            content=stamped,
            stored=name.stored,
            source_id=source_id,
            user=self._reading.identity.user,
            session=self.id,
        )
        self._runtime.tell_cache(command)
        self._runtime.settle_cache()

    def invalidate(self, pattern: str) -> None:
        """Something changed: a key, or every key with a prefix ending in `*`.

        Once it has returned no reader gets what was loaded before.

        Raises:
            UnknownKind, InvalidPrediction: the pattern is malformed or of an unknown kind.
        """
        self._runtime.check_running()
        if isinstance(pattern, str) and pattern.endswith("*"):
            normal = self._runtime.registry.normalise_prefix(pattern)
        else:
            normal = exactly(self._name(pattern).key)
        self._invalidate(normal)

    def _changed(self, key: str) -> None:
        """One resource changed, whatever its name ends in."""
        self._invalidate(exactly(self._name(key).key))

    def _invalidate(self, pattern: str) -> None:
        self._runtime.changed(pattern, self.id)

    def pin(self, key: str) -> None:
        """Load a key if need be and keep it until it is unpinned or the session ends.

        Raises:
            PrefetchError: the session has as many pins as it may have.
        """
        self._runtime.check_running()
        name = self._name(key)
        self._runtime.settle_planner(to.PinKey(self.id, name.key))

    def unpin(self, key: str) -> None:
        """Release a pin; unknown ones are no error."""
        self._runtime.check_running()
        name = self._name(key)
        self._runtime.tell_planner(to.UnpinKey(self.id, name.key))

    # ---- events ----------------------------------------------------------------------------

    def trigger(self, event: events.TriggerEvent) -> None:
        """Tell the engine what happened. Returns at once; a changed file is never served stale.

        Raises:
            TypeError: not one of the events of `prefetch_scheduler.engine`.
        """
        self._runtime.check_running()
        tell = self._runtime.tell_planner
        match event:
            case events.SessionStarted(project, user):
                self._use_user(user)
                tell(to.SessionStarted(self.id, project, user))
            case events.SessionEnded():
                tell(to.SessionEnded(self.id))
                self._forget(self.id)
            case events.ProjectSwitched(project):
                tell(to.ProjectSwitched(self.id, project))
            case events.UserLoggedIn(user):
                self._use_user(user)
                tell(to.UserLoggedIn(self.id, user))
            case events.ContextChanged(context):
                tell(to.ContextChanged(self.id, context))
            case events.FileChanged(path, content):
                key = f"file:{path}"
                self._changed(key) if content is None else self.put(key, content)
            case events.SkillUpdated(skill):
                self._changed(f"skill:{skill}")
                self.invalidate(f"skill:{skill}#*")
            case events.HostBusy():
                tell(to.HostBusy())
            case events.HostIdle():
                tell(to.HostIdle())
            case _:
                raise TypeError(
                    f"trigger() takes an event of prefetch_scheduler.engine, got {event!r}"
                )

    def _use_user(self, user: str | None) -> None:
        if user is not None and user != self._reading.identity.user:
            self._reading.identity = Identity(user)

    # ---- figures ---------------------------------------------------------------------------

    def report(self) -> Report:
        """What this session's prefetching has brought so far, in the specification's shape."""
        report: Report = self._runtime.ask_metrics(ReportQuery(self.id))
        return report


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
