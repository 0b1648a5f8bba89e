"""`PrefetchEngine`: what a host embeds. It holds references to the actors, no state of its own."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from attrs import evolve

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.messages import ReportQuery, StoryQuery
from prefetch_scheduler.actors.ports import Clock
from prefetch_scheduler.actors.reply import AsyncReply
from prefetch_scheduler.engine import events
from prefetch_scheduler.engine.addresses import Actors
from prefetch_scheduler.engine.config_file import load_config
from prefetch_scheduler.engine.ending import Ending
from prefetch_scheduler.engine.handle import PlanHandle
from prefetch_scheduler.engine.health import Health, health_of
from prefetch_scheduler.engine.observability.snapshot import MetricsSnapshot, SnapshotTaker
from prefetch_scheduler.engine.prefetchable import MAX_AGE_S, Functions, Prefetchable, Terms
from prefetch_scheduler.engine.reads import Reads
from prefetch_scheduler.engine.runtime import Runtime
from prefetch_scheduler.engine.session import Session
from prefetch_scheduler.engine.sources.protocol import Source
from prefetch_scheduler.engine.sources.registry import Expand, SourceRegistry
from prefetch_scheduler.engine.timeouts import checked_timeout
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import PrefetchError, UnknownKind
from prefetch_scheduler.policies.keys import plain_key
from prefetch_scheduler.policies.planner_events import DEFAULT_SESSION
from prefetch_scheduler.policies.prediction import Constraints, Prediction
from prefetch_scheduler.policies.report import Report
from prefetch_scheduler.policies.story import StoryLine

if TYPE_CHECKING:
    from prefetch_scheduler.engine.monitor.server import MonitorServer
    from prefetch_scheduler.engine.recorder import Recorded, Recorder

P = ParamSpec("P")
R = TypeVar("R")


class PrefetchEngine(Reads):
    """Loads what an agent is about to need, and serves what it reads.

    Use it as a context manager, or call `start` and `stop`. All methods may be called from any
    thread and event loop. Its own methods act on a default session; see `session` for more.

    An engine that is started and never stopped keeps its threads, its content and the host's
    sources until the interpreter exits, which its threads do not hold up: they are daemons. That
    nothing refers to it any more does not stop it.

    Args:
        config: a `Config`, a mapping, the path of a YAML file, or None for the defaults.
        sources: where content comes from; of several for one kind, later ones are alternatives.
        record: where to record what hosts do, as sessions that `prefetch-scheduler simulate` and
            `replay` take: `NAME.jsonl` or `NAME.jsonl.gz`. See docs/simulation.md.
        expand: returns further predictions that loaded content gives rise to (decision D23).
        clock: the engine's time; None: real time.

    Raises:
        ConfigError: the configuration or a source has faults; names each.
    """

    def __init__(
        self,
        config: Config | Mapping[str, Any] | str | os.PathLike[str] | None = None,
        *,
        sources: Iterable[Source] = (),
        record: str | os.PathLike[str] | None = None,
        expand: Expand | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._functions = Functions()
        registry = SourceRegistry(self._functions.beside(sources), expand=expand)
        runtime = Runtime(load_config(config), registry, clock)
        self._functions.attach(runtime)
        self._recorder = None if record is None else _recorder_of(runtime, record)
        self._runtime = runtime
        self._default = self._new_session(DEFAULT_SESSION)
        super().__init__(runtime, self._default._reading)
        if self._recorder is not None:  # its own reads are those of a session that records
            for word in ("get", "aget", "get_many", "aget_many"):
                setattr(self, word, getattr(self._default, word))
        self._sessions: dict[str, Session] = {DEFAULT_SESSION: self._default}
        self._lock = threading.RLock()  # a signal's handler may stop what it has interrupted
        self._started = False
        self._stopped = False
        self._ending = Ending(self._end, f"prefetch-{runtime.system.engine_id}-stop")
        self._snapshots = SnapshotTaker(runtime, self.health)
        self._monitor = _monitor_of(self, runtime)

    # ---- life ------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the actors.

        Raises:
            PrefetchError: it was started before; a stopped engine cannot be started again.
        """
        with self._lock:
            if self._stopped:
                raise self._runtime.stopped_error()
            if self._started:
                raise PrefetchError("the engine has been started already; start it once")
            if self._recorder is not None:
                self._recorder.start()
            self._started = True
        self._runtime.start()
        self._default.trigger(events.SessionStarted())
        if self._monitor is not None:
            self._monitor.start()
        return self

    def stop(self, timeout: float = 5.0) -> None:
        """Stop the actors in order. Never waits longer than `timeout`.

        May be called again: a call waits for what an earlier one began, which goes on also where
        that call was interrupted.

        Args:
            timeout: real seconds. Threads that are stuck in a source's own code by then are left
                behind as daemons, logged by name.

        Raises:
            InvalidPrediction: `timeout` is no number of at least 0; the engine runs on.
        """
        limit = checked_timeout(timeout)
        with self._lock:
            self._stopped = True
        self._ending.run(limit, awaited=self._runtime.system.runs_caller)

    def _end(self, limit: float, caller: int) -> None:
        """Stop what has been started, without waiting for the caller's thread."""
        deadline = time.monotonic() + limit
        if self._monitor is not None:
            self._monitor.end()
        if self._recorder is not None:
            self._recorder.close(limit / 2)
        self._runtime.stop(max(0.0, deadline - time.monotonic()), caller)
        if self._monitor is not None:  # it may have waited for an answer of the actors
            self._monitor.stop(max(0.0, deadline - time.monotonic()))

    async def astart(self) -> Self:
        """As `start`, without blocking the event loop."""
        await _in_thread(self.start, undo=self.stop)
        return self

    async def astop(self, timeout: float = 5.0) -> None:
        """As `stop`, without blocking the event loop."""
        await _in_thread(lambda: self.stop(timeout))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await self.astart()

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.astop()

    # ---- sessions --------------------------------------------------------------------------

    def session(self, id: str, project: str | None = None, user: str | None = None) -> Session:  # noqa: A002 - the contract's name
        """The session of that id: the same API with a context, budget, pins and report of its own.

        The first call starts it, which loads its pins and prefill; later ones return the same.

        Raises:
            PrefetchError: the id is not a string, or empty.
            EngineStopped, EngineFailed: the engine does not run.
        """
        if not isinstance(id, str) or not id:
            raise PrefetchError(f"session id: expected a string that is not empty, got {id!r}")
        id = str.__str__(id)  # noqa: A001 - as above; a subclass may have no hash
        started = events.SessionStarted(project, user)
        self._runtime.check_running()
        with self._lock:
            found = self._sessions.get(id)
            if found is None:
                found = self._new_session(id, started.project, started.user)
                self._sessions[id] = found
                new = True
            else:
                new = False
        if new:
            found.trigger(started)
        return found

    def _new_session(
        self, id_: str, project: str | None = None, user: str | None = None
    ) -> Session:
        if self._recorder is None:
            return Session(self._runtime, id_, user, forget=self._forget_session)
        from prefetch_scheduler.engine.recording_session import RecordingSession

        return RecordingSession(
            self._runtime, id_, user, self._recorder, project, forget=self._forget_session
        )

    def _forget_session(self, id_: str) -> None:
        """An ended session leaves nothing behind here; its id may be used again."""
        with self._lock:
            if id_ != DEFAULT_SESSION:
                self._sessions.pop(id_, None)

    # ---- the default session ---------------------------------------------------------------

    def submit(
        self,
        predictions: Iterable[Prediction] | Mapping[str, Any],
        constraints: Constraints | None = None,
        *,
        context: str | None = None,
    ) -> PlanHandle:
        """See `Session.submit`."""
        return self._default.submit(predictions, constraints, context=context)

    def cancel(self, key: str) -> None:
        """See `Session.cancel`."""
        self._default.cancel(key)

    def put(self, key: str, content: Content | str | bytes) -> None:
        """See `Session.put`."""
        self._default.put(key, content)

    def invalidate(self, pattern: str) -> None:
        """See `Session.invalidate`."""
        self._default.invalidate(pattern)

    def pin(self, key: str) -> None:
        """See `Session.pin`."""
        self._default.pin(key)

    def unpin(self, key: str) -> None:
        """See `Session.unpin`."""
        self._default.unpin(key)

    def trigger(self, event: events.TriggerEvent) -> None:
        """See `Session.trigger`."""
        self._default.trigger(event)

    def report(self) -> Report:
        """See `Session.report`."""
        return self._default.report()

    # ---- functions of the host -------------------------------------------------------------

    def prefetchable(
        self,
        *,
        read_only: bool,
        name: str | None = None,
        max_age_s: float | None = MAX_AGE_S,
        version: Callable[..., Hashable] | None = None,
        remote: bool = False,
        session: Session | None = None,
    ) -> Callable[[Callable[P, R]], Prefetchable[P, R]]:
        """A decorator: calls of a plain or async function are served through the engine.

        ::

            @engine.prefetchable(read_only=True)
            def search(query: str) -> str: ...

            engine.submit([Prediction(search.key("locks"), "related_file", 0.8)])

        Its answer may depend on nothing but its arguments and what `max_age_s` and `version` speak
        of: it is called in other threads, and all who call it with the same arguments share it.
        Where the engine cannot serve a call, for whatever reason, the function is called directly.

        Args:
            read_only: True: calling it changes nothing. There is no default, and nothing else is
                allowed: what changes something is neither called ahead nor served from a cache.
            name: what keys call it, with a number where that is taken; None: its own name.
            max_age_s: seconds for which a result stands for a new call; None: until invalidated.
            version: a quick plain function of the same arguments, called at every read; a result
                is served for as long as it gives the same.
            remote: whether calling it leaves this machine: it is called ahead only with
                `execution.prefetch_remote`.
            session: the session for which its calls are counted; None: the default one.

        Raises:
            ConfigError: an argument is wrong, or a source of the host has the kind `call`.
        """
        terms = Terms(read_only, name, max_age_s, version, remote=remote)
        return self._functions.decorator(terms, self if session is None else session)

    # ---- the whole engine ------------------------------------------------------------------

    def total_report(self) -> Report:
        """The report of all sessions together."""
        report: Report = self._runtime.ask_metrics(ReportQuery(None))
        return report

    def explain(self, key: str) -> tuple[StoryLine, ...]:
        """What happened to a resource, oldest first: time, event, reason."""
        try:
            return self._story(self._default._name(key).key)
        except UnknownKind:
            lines = self._story(plain_key(key))  # that it was predicted is a story all the same
            if not lines:
                raise
            return lines

    def has_session(self, id: str) -> bool:  # noqa: A002 - as of `session`
        """Whether a session of that id has been started, and has not ended."""
        with self._lock:
            return id in self._sessions or id == DEFAULT_SESSION

    def _story(self, key: str) -> tuple[StoryLine, ...]:
        lines: tuple[StoryLine, ...] = self._runtime.ask_metrics(StoryQuery(key))
        return lines

    def health(self) -> Health:
        """`state` ok, degraded or failed, each actor, each queue. Works in every state."""
        found = health_of(self._runtime, started=self._started, stopped=self._stopped)
        monitor = self._monitor
        if monitor is None:
            return found
        where = f"not open: {monitor.reason}" if monitor.path is None else str(monitor.path)
        return evolve(found, monitor=where)

    def metrics_snapshot(self, *, max_age_s: float = 0.0) -> MetricsSnapshot:
        """All figures of the engine at one moment, for a dashboard or an exporter.

        Works in every state and never raises; where an actor does not answer it waits some seconds,
        in the caller's thread. See docs/observability.md.

        Args:
            max_age_s: real seconds; figures that somebody else has asked for within them will do.
        """
        return self._snapshots.take(max_age_s)

    def subscribe(self, callback: Callable[[Any], object]) -> Callable[[], None]:
        """Call `callback(event)` when something is loaded, fails or is evicted, when an alert is
        raised or cleared, and when a context changes.

        Callbacks run in threads of their own, in order; a slow one loses events, harming nobody.

        Returns:
            A function that ends the subscription.

        Raises:
            TypeError: `callback` is no plain function; nothing would await an async one.
            EngineStopped, EngineFailed: the engine has ended: nothing would ever be told.
        """
        self._runtime.check_not_ended()
        return self._runtime.subscribers.subscribe(callback)

    def recorded(self) -> "Recorded | None":
        """What has been recorded so far, and what was lost; None where nothing is."""
        return None if self._recorder is None else self._recorder.recorded()

    @property
    def config(self) -> Config:
        """The effective configuration."""
        return self._runtime.config

    # ---- the actors' addresses, for hosts that speak in messages -----------------------------

    @property
    def actors(self) -> Actors:
        """All of them. Each has `tell(message)` and `ask(message, timeout=...)`."""
        return Actors(self.planner, self.cache, self.metrics, self.supervisor)

    @property
    def planner(self) -> Address:
        """Takes predictions, reads, sessions, contexts and pins."""
        return self._runtime.planner

    @property
    def cache(self) -> Address:
        """Takes changes of resources."""
        return self._runtime.cache

    @property
    def metrics(self) -> Address:
        """Answers reports, stories, exports and alerts."""
        return self._runtime.metrics

    @property
    def supervisor(self) -> Address:
        """Answers health."""
        return self._runtime.system.supervisor


def _monitor_of(engine: PrefetchEngine, runtime: Runtime) -> "MonitorServer | None":
    setting = runtime.config.monitor.socket
    if setting == "off":
        return None
    from prefetch_scheduler.engine.monitor.answers import Answers
    from prefetch_scheduler.engine.monitor.server import MonitorServer

    name = runtime.system.engine_id
    return MonitorServer(setting, name, Answers(engine, name).answer)


def _recorder_of(runtime: Runtime, path: str | os.PathLike[str]) -> "Recorder":
    from prefetch_scheduler.engine.recorder import recorder_of  # only where something is recorded

    return recorder_of(runtime, path)


async def _in_thread(action: Callable[[], object], undo: Callable[[], object] | None = None) -> Any:
    """Run a blocking action in a daemon thread and wait for it without blocking the loop.

    Not in the loop's executor: its threads would hang the interpreter's exit if a source did.

    Args:
        undo: called in that thread where the waiter was cancelled before the action was done.
    """
    reply = AsyncReply(asyncio.get_running_loop())

    def run() -> None:
        try:
            done = action()
        except BaseException as error:  # noqa: BLE001 - handed over to the waiter
            reply.fail(error)
            return
        if not reply.set(done) and undo is not None:
            undo()

    threading.Thread(target=run, name="prefetch-life", daemon=True).start()
    try:
        return await reply.wait(None)
    except asyncio.CancelledError:
        if not reply.give_up() and undo is not None:  # it was done at that very moment
            threading.Thread(target=undo, name="prefetch-life", daemon=True).start()
        raise
