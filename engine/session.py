"""One session of a host: everything a host does with the engine, within one context and budget."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefetch_scheduler.actors import messages as to
from prefetch_scheduler.actors.messages import ReportQuery
from prefetch_scheduler.actors.reply import AskTimeout, AsyncReply, SyncReply
from prefetch_scheduler.engine import events
from prefetch_scheduler.engine.handle import PlanHandle
from prefetch_scheduler.engine.loops import running_loop
from prefetch_scheduler.engine.reading import Name, Read, ReaderSession
from prefetch_scheduler.engine.submissions import accepted
from prefetch_scheduler.policies.cache_events import Invalidate
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import InvalidPrediction, LoadTimeout, PrefetchError
from prefetch_scheduler.policies.keys import key_fault
from prefetch_scheduler.policies.planner_events import Forsake
from prefetch_scheduler.policies.prediction import Constraints, Prediction
from prefetch_scheduler.policies.report import Report

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
        self._reading = ReaderSession(id_, user)

    @property
    def id(self) -> str:
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
        """
        self._runtime.check_running()
        checked, terms = accepted(self._runtime.registry, predictions, constraints)
        if context is not None and (not isinstance(context, str) or not context):
            raise InvalidPrediction(
                f"context: expected a string that is not empty, got {context!r}"
            )
        handle = self._runtime.new_handle()
        self._runtime.tell_planner(to.Submit(self.id, checked, terms, context, handle))
        return handle

    # ---- reads -----------------------------------------------------------------------------

    def get(self, key: str, *, timeout: float | None = None) -> Content:
        """The content of a resource: from the cache, by joining its load, or by loading it now.

        Args:
            timeout: engine seconds to wait; None: `demand_timeout_s`.

        Raises:
            UnknownKind: no source serves the key's kind.
            InvalidPrediction: the key is malformed.
            ResourceUnavailable: every source of its kind failed, or it is not allowed.
            LoadTimeout: it was not loaded in time.
            EngineStopped, EngineFailed: the engine does not run.
            PrefetchError: it would have to wait on a thread that runs an event loop.
        """
        name, content, seen = self._hit(key)
        if content is not None:
            return content
        if running_loop() is not None:
            raise PrefetchError(
                f"get({key!r}) would have to wait and block this thread's event loop;"
                " use `await aget(...)` here"
            )
        return self._wait(self._runtime.reader.start(self._reading, name, seen), timeout)

    async def aget(self, key: str, *, timeout: float | None = None) -> Content:
        """As `get`, for coroutines. A hit needs no switch of task."""
        name, content, seen = self._hit(key)
        if content is not None:
            return content
        return await self._await(self._runtime.reader.start(self._reading, name, seen), timeout)

    def get_many(self, keys: Iterable[str], *, timeout: float | None = None) -> list[Content]:
        """Several resources at once, in order; the first error is raised once all have ended."""
        reads = [(key, *self._hit(key)) for key in keys]
        if running_loop() is not None and any(content is None for _, _, content, _ in reads):
            raise PrefetchError("get_many would block this thread's event loop; use aget_many")
        replies: list[tuple[Content | None, Read | None, SyncReply | None]] = []
        for _, name, content, seen in reads:
            if content is not None:
                replies.append((content, None, None))
                continue
            read = self._runtime.reader.start(self._reading, name, seen)
            reply = SyncReply()
            self._runtime.tell_planner(read.demand(reply))
            replies.append((None, read, reply))
        return _first_error_last(
            [
                content if read is None else self._caught(read, reply, timeout)
                for content, read, reply in replies
            ]
        )

    async def aget_many(
        self, keys: Iterable[str], *, timeout: float | None = None
    ) -> list[Content]:
        """As `get_many`, for coroutines."""
        results = await asyncio.gather(
            *(self.aget(key, timeout=timeout) for key in keys), return_exceptions=True
        )
        return _first_error_last(results)

    def peek(self, key: str) -> Content | None:
        """What is resident and current, or None. Never waits, loads or counts.

        Raises:
            UnknownKind: no source serves the key's kind.
            InvalidPrediction: the key is malformed.
        """
        self._runtime.check_running()
        return self._runtime.reader.peek(self._reading, key)

    def _hit(self, key: str) -> tuple[Name, Content | None, float]:
        self._runtime.check_running()
        reader = self._runtime.reader
        name = reader.name(self._reading, key)
        content, seen = reader.hit(self._reading, name)
        return name, content, seen

    def _caught(
        self, read: Read, reply: SyncReply | None, timeout: float | None
    ) -> Content | BaseException:
        try:
            return self._wait(read, timeout, reply)
        except PrefetchError as error:
            return error

    def _wait(self, read: Read, timeout: float | None, reply: SyncReply | None = None) -> Content:
        clock = self._runtime.clock
        limit = self._runtime.demand_timeout(timeout)
        deadline = clock.now() + limit
        while True:
            if reply is None:
                reply = SyncReply()
                self._runtime.tell_planner(read.demand(reply))
            try:
                outcome = reply.wait(clock.real(max(0.0, deadline - clock.now())))
            except AskTimeout:
                raise self._timed_out(read, reply, limit) from None
            content = read.take(outcome)
            if content is not None:
                return content
            reply = None

    async def _await(self, read: Read, timeout: float | None) -> Content:
        clock = self._runtime.clock
        limit = self._runtime.demand_timeout(timeout)
        deadline = clock.now() + limit
        loop = asyncio.get_running_loop()
        while True:
            reply = AsyncReply(loop)
            self._runtime.tell_planner(read.demand(reply))
            try:
                outcome = await reply.wait(clock.real(max(0.0, deadline - clock.now())))
            except AskTimeout:
                raise self._timed_out(read, reply, limit) from None
            except asyncio.CancelledError:
                self._runtime.planner.tell(Forsake(reply))
                raise
            content = read.take(outcome)
            if content is not None:
                return content

    def _timed_out(self, read: Read, reply: Any, limit: float) -> LoadTimeout:
        self._runtime.planner.tell(Forsake(reply))
        return LoadTimeout(
            f"{read.key}: not loaded within {limit:g} s; it goes on loading, ask again later"
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
        name = self._runtime.reader.name(self._reading, key)
        given = content if isinstance(content, Content) else Content(content)
        source_id, stamped = self._runtime.registry.adopt(name.key, given)
        epoch = self._runtime.view.board.note(name.key)
        command = Invalidate(
            name.key,
            epoch,
            content=stamped,
            source_id=source_id,
            user=self._reading.user,
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
            fault = None if ":" not in pattern else key_fault(pattern)
            if fault is not None:
                raise InvalidPrediction(fault)
            normal = pattern
        else:
            normal = self._runtime.reader.name(self._reading, pattern).key
        epoch = self._runtime.view.board.note(normal)
        self._runtime.tell_cache(Invalidate(normal, epoch, session=self.id))

    def pin(self, key: str) -> None:
        """Load a key if need be and keep it until it is unpinned or the session ends.

        Raises:
            PrefetchError: the session has as many pins as it may have.
        """
        self._runtime.check_running()
        name = self._runtime.reader.name(self._reading, key)
        self._runtime.settle_planner(to.PinKey(self.id, name.key))

    def unpin(self, key: str) -> None:
        """Release a pin; unknown ones are no error."""
        self._runtime.check_running()
        name = self._runtime.reader.name(self._reading, key)
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
                self.invalidate(key) if content is None else self.put(key, content)
            case events.SkillUpdated(skill):
                self.invalidate(f"skill:{skill}")
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
        if user is not None and user != self._reading.user:
            self._reading.user = user
            self._reading.names = {}  # private content is kept under other names now

    # ---- figures ---------------------------------------------------------------------------

    def report(self) -> Report:
        """What this session's prefetching has brought so far, in the specification's shape."""
        report: Report = self._runtime.ask_metrics(ReportQuery(self.id))
        return report


def _first_error_last(results: Sequence[Content | BaseException | None]) -> list[Content]:
    contents: list[Content] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        if result is not None:
            contents.append(result)
    return contents
