"""Threads for blocking code that may never return.

`ThreadPoolExecutor`, `asyncio.to_thread` and their like join their threads at interpreter exit,
so that one blocked source hangs it. These are daemons: an idle one is used again and ends after
a while; one that is stuck is simply not waited for, and another takes its place.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import ParamSpec, TypeVar

logger = logging.getLogger(__name__)

IDLE_S = 5.0
"""Real seconds after which an idle thread ends."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


_Job = tuple[Callable[[], None], str, bool]
"""What to do, how to call it, and whether it is expected to take no time."""


class _Slot(threading.Thread):
    def __init__(self, owner: "SlotThreads", name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._owner = owner
        self._own_name = name
        self.bell = threading.Lock()  # held, but for the moment in which the thread is called
        self.bell.acquire()
        self.label = ""
        """What it works on; empty while it is idle."""
        self.quick = False
        """Whether that is expected to take no time."""

    def run(self) -> None:
        while True:
            job = self._owner.next_job(self)
            if job is not None:
                self._work(job[0], job[1])
                del job  # what it holds must not live as long as an idle thread
                continue
            self._named("")
            if not self._owner.rest(self):
                return
            if not self.bell.acquire(timeout=self._owner.idle_s):
                if self._owner.retire(self):
                    return
                self.bell.acquire()  # called in the very moment it gave up waiting

    def _work(self, job: Callable[[], None], label: str) -> None:
        self._named(label)
        try:
            job()
        except BaseException:  # the thread must live on for the next job
            logger.exception("a job for %s failed", label)

    def _named(self, label: str) -> None:
        if label != self.label:
            self.label = label
            self.name = f"{self._own_name}:{label}" if label else self._own_name


class SlotThreads:
    """Daemon threads that run one job each at a time, as many as there are jobs.

    Jobs wait in one line. One thread is called for them at a time: it takes the first, and if there
    are more, calls the next thread before it begins. So whatever a job does the next one begins at
    once; but a thread that has done one takes another before the one that was called has woken, and
    jobs that take no time need not wake a thread each. What is said to be `quick` waits for a
    thread that is at such a job, until `hurry` is called: that wakes no other in vain.

    The limit on threads is the caller's: a pool starts only what it was given credits for.
    `run` and `stop` may be called from any thread.

    Args:
        prefix: what the names of its threads start with.
        idle_s: real seconds after which an idle thread ends.
    """

    def __init__(self, prefix: str, idle_s: float = IDLE_S) -> None:
        self.idle_s = idle_s
        self._prefix = prefix
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._jobs: deque[_Job] = deque()
        self._called: _Slot | None = None
        """The thread that is on its way; there is one as long as a job waits."""
        self._all: set[_Slot] = set()
        self._idle: deque[_Slot] = deque()
        self._stopped = False

    def run(self, job: Callable[[], None], label: str, *, quick: bool = False) -> None:
        """Run `job` in a thread that is named after `label` meanwhile.

        Args:
            job: what to do.
            label: how to call it.
            quick: it may wait for another quick one. Who says so calls `hurry` a moment later.

        Raises:
            RuntimeError: stopped, or the system gives no further thread.
        """
        with self._lock:
            if self._stopped:
                raise RuntimeError(f"the threads of {self._prefix} have been stopped")
            self._jobs.append((job, label, quick))
            slot = self._call()
        try:
            self._bring(slot)
        except BaseException:
            with self._lock:
                others = deque([entry for entry in self._jobs if entry[0] is not job])
                if len(others) == len(self._jobs):
                    return  # another thread has become free for it
                self._jobs = others
            raise

    def hurry(self) -> None:
        """Let no job wait any longer for another that was said to be quick."""
        with self._lock:
            self._jobs = deque([(job, label, False) for job, label, _ in self._jobs])
            for busy in self._all:
                busy.quick = False  # its job has taken time
            slot = self._call()
        self._bring_for_others(slot)

    def stop(self) -> None:
        """End the idle threads now and the busy ones after their job. Never waits."""
        with self._lock:
            self._stopped = True
            idle = list(self._idle)
            self._idle.clear()
        for slot in idle:
            slot.bell.release()

    def _call(self) -> "_Slot | None":
        """The thread to bring for the jobs that wait, unless one is on its way. Under the lock."""
        if self._called is not None or not self._jobs:
            return None
        if all(quick for *_, quick in self._jobs) and any(slot.quick for slot in self._all):
            return None  # that one will soon be free
        if self._idle:
            slot = self._idle.pop()  # the one used last: the others may end
        else:
            slot = _Slot(self, f"{self._prefix}-slot-{next(self._numbers)}")
            self._all.add(slot)
        self._called = slot
        return slot

    def _bring(self, slot: "_Slot | None") -> None:
        if slot is None:
            return
        if slot.ident is not None:
            slot.bell.release()
            return
        try:
            slot.start()
        except BaseException:
            with self._lock:
                self._all.discard(slot)
                self._called = None
            raise

    def _bring_for_others(self, slot: "_Slot | None") -> None:
        """As `_bring`, for jobs that others wait for: they are not to hear of it."""
        try:
            self._bring(slot)
        except RuntimeError as error:  # who becomes free goes on with the line
            logger.warning("%s: no thread for a further job: %s", self._prefix, error)

    @property
    def stopped(self) -> bool:
        return self._stopped

    def threads(self) -> list[threading.Thread]:
        """The threads that live."""
        return [slot for slot in self._all.copy() if slot.is_alive()]

    def busy_threads(self) -> list[threading.Thread]:
        """The threads at work, named after what they work on. After `stop`: those stuck."""
        return [slot for slot in self._all.copy() if slot.label and slot.is_alive()]

    def busy(self) -> list[str]:
        """What each busy thread works on, sorted."""
        return sorted(slot.label for slot in self._all.copy() if slot.label and slot.is_alive())

    # ---- called by the threads -------------------------------------------------------------

    def next_job(self, slot: _Slot) -> _Job | None:
        """The first of the line for a thread that has come, or is free again; None: there is none,
        it should `rest`.
        """
        with self._lock:
            if self._called is slot:
                self._called = None
            job = self._jobs.popleft() if self._jobs else None
            slot.quick = job is not None and job[2]
            following = self._call()
        self._bring_for_others(following)
        return job

    def rest(self, slot: _Slot) -> bool:
        """A thread has found nothing to do. False: it should end."""
        with self._lock:
            if self._jobs:  # one has come meanwhile
                slot.bell.release()
            elif self._stopped:
                self._all.discard(slot)
                return False
            else:
                self._idle.append(slot)
        return True

    def retire(self, slot: _Slot) -> bool:
        """An idle thread has waited long enough. False: it has been called."""
        with self._lock:
            if slot not in self._idle:
                return False
            self._idle.remove(slot)
            self._all.discard(slot)
        return True


class SlotExecutor(ThreadPoolExecutor):
    """An event loop's default executor on slot threads.

    Async sources use it through `asyncio.to_thread` or a host-name lookup. asyncio insists on
    a `ThreadPoolExecutor`; none of its own threads is ever started.
    """

    def __init__(self, slots: SlotThreads) -> None:
        super().__init__(max_workers=1)
        self._slots = slots

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        future: Future[_T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - belongs to who awaits it
                future.set_exception(error)

        self._slots.run(job, getattr(fn, "__qualname__", "call"))
        return future

    def shutdown(
        self,
        wait: bool = True,  # noqa: ARG002 - the base class's signature
        *,
        cancel_futures: bool = False,
    ) -> None:
        """Nothing to wait for: the slot threads end with their pool."""
        super().shutdown(wait=False, cancel_futures=cancel_futures)
