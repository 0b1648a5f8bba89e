"""Loads straight from the sources, for readers while there is no planner to ask.

No prediction, no joining, no cache: each reader gets a load of its own, its sources tried in order.
Blocking and async sources alike run on daemon threads, so that no event loop and no stop ever
waits for them. At most `limit` such threads work at once, at most half of them for one kind, so
that a source that hangs leaves room for the others; further readers wait, within their time-outs.
"""

import logging
import threading
from collections import Counter, deque
from typing import Protocol

from prefetch_scheduler.actors.cancel import CancelToken
from prefetch_scheduler.actors.ports import Clock
from prefetch_scheduler.actors.reply import Reply
from prefetch_scheduler.actors.runs import describe
from prefetch_scheduler.actors.slot_threads import SlotThreads
from prefetch_scheduler.engine.sources.registry import SourceRegistry
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import PrefetchError, ResourceUnavailable
from prefetch_scheduler.policies.keys import kind_of
from prefetch_scheduler.policies.source_info import SourceInfo
from prefetch_scheduler.policies.values import define
from prefetch_scheduler.policies.yaml_text import printable

logger = logging.getLogger("prefetch_scheduler.engine")

LIMIT = 16
"""Loads for readers at once."""


class Loaded(Protocol):
    """Told of each load: cache accounting happens there."""

    def __call__(self, key: str, session: str, content: Content, load_s: float) -> None: ...


@define(eq=False)
class _Job:
    key: str
    session: str
    reply: Reply
    token: CancelToken


class DirectLoader:
    """Runs readers' loads; all methods may be called from any thread.

    Args:
        registry: the sources.
        slots: its threads.
        clock: the engine's time.
        loaded: told of each load that succeeded.
        limit: loads at once.
    """

    def __init__(
        self,
        registry: SourceRegistry,
        slots: SlotThreads,
        clock: Clock,
        loaded: Loaded,
        limit: int = LIMIT,
    ) -> None:
        self._registry = registry
        self._slots = slots
        self._clock = clock
        self._loaded = loaded
        self._limit = limit
        self._each = max(1, limit // 2)
        self._lock = threading.Lock()  # never held while a source's code runs
        self._running: Counter[str] = Counter()
        self._jobs: set[_Job] = set()
        self._ended_by: PrefetchError | None = None
        self._waiting: deque[_Job] = deque()

    def load(self, key: str, session: str, reply: Reply) -> CancelToken:
        """Load a key; answers `reply` with its `Content` or an error. Never waits.

        Returns:
            What the reader cancels when it waits no longer.
        """
        job = _Job(key, session, reply, CancelToken())
        with self._lock:
            ended = self._ended_by
            if ended is None:
                self._waiting.append(job)
                self._jobs.add(job)
        if ended is not None:
            reply.fail(ended)
        self._start_waiting()
        return job.token

    def stop(self, error: PrefetchError) -> None:
        """Cancel all loads, and tell their readers and later ones why."""
        with self._lock:
            self._ended_by = error
            jobs = list(self._jobs)
            self._waiting.clear()
        for job in jobs:
            job.reply.fail(error)
            job.token.cancel(lambda callbacks: self._slots.run(callbacks, "cancel"))

    @property
    def running(self) -> int:
        """Loads under way."""
        return self._running.total()

    def _start_waiting(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._slots.run(lambda job=job: self._work(job), kind_of(job.key))  # type: ignore[misc]  # bound early
            except RuntimeError as error:
                self._ended(job)
                job.reply.fail(ResourceUnavailable(f"{printable(job.key)}: {error}"))

    def _next(self) -> _Job | None:
        with self._lock:
            if self._running.total() >= self._limit:
                return None
            for place, job in enumerate(self._waiting):
                kind = kind_of(job.key)
                if self._running[kind] < self._each:
                    del self._waiting[place]
                    self._running[kind] += 1
                    return job
        return None

    def _ended(self, job: _Job) -> None:
        with self._lock:
            kind = kind_of(job.key)
            self._running[kind] -= 1
            if not self._running[kind]:
                del self._running[kind]
            self._jobs.discard(job)

    def _work(self, job: _Job) -> None:
        try:
            if not (job.token.cancelled or job.reply.done):
                self._load(job)
        except BaseException as error:  # noqa: BLE001 - whatever it is, its reader must not wait
            job.reply.fail(ResourceUnavailable(f"{printable(job.key)}: {describe(error)}"))
        finally:
            self._ended(job)
            self._start_waiting()

    def _load(self, job: _Job) -> None:
        sources = self._registry.table.by_kind.get(kind_of(job.key), ())
        faults: list[str] = []
        cause: BaseException | None = None
        for source in sources:
            if job.token.cancelled:
                return
            begun = self._clock.now()
            try:
                content = self._from(source, job)
            except BaseException as error:  # noqa: BLE001 - a source may raise anything
                faults.append(f"{source.name}: {describe(error)}")
                cause = error
                continue
            if not job.token.cancelled:
                self._loaded(job.key, job.session, content, self._clock.now() - begun)
            job.reply.set(content)
            return
        refusal: PrefetchError = ResourceUnavailable(f"{printable(job.key)}: {'; '.join(faults)}")
        refusal.__cause__ = cause
        job.reply.fail(refusal)

    def _from(self, source: SourceInfo, job: _Job) -> Content:
        name = job.key.partition(":")[2]
        content = self._registry.load(source.id, name, job.token, lambda _key, _content: None)
        return content.placed(
            key=job.key, source=source.name, loaded_at=self._clock.wall(), layer=None
        )
