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
from queue import Empty, SimpleQueue
from typing import ParamSpec, TypeVar

logger = logging.getLogger(__name__)

IDLE_S = 5.0
"""Real seconds after which an idle thread ends."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Slot(threading.Thread):
    def __init__(self, owner: "SlotThreads", name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._owner = owner
        self._own_name = name
        self.jobs: SimpleQueue[tuple[Callable[[], None], str] | None] = SimpleQueue()
        self.label = ""
        """What it works on; empty while it is idle."""

    def run(self) -> None:
        while True:
            try:
                job = self.jobs.get(timeout=self._owner.idle_s)
            except Empty:
                if self._owner.retire(self):
                    return
                job = self.jobs.get()  # chosen in the very moment it gave up waiting
            if job is None:
                self._owner.forget(self)
                return
            self._work(*job)
            if not self._owner.rest(self):
                return

    def _work(self, job: Callable[[], None], label: str) -> None:
        self.label = label
        self.name = f"{self._own_name}:{label}"
        try:
            job()
        except BaseException:  # the thread must live on for the next job
            logger.exception("a job for %s failed", label)
        finally:
            del job  # what it holds must not live as long as an idle thread
            self.label = ""
            self.name = self._own_name


class SlotThreads:
    """Daemon threads that run one job each at a time, as many as there are jobs.

    The limit on them is the caller's: a pool starts only what it was given credits for.
    `run` and `stop` may be called from any thread.

    Args:
        prefix: what the names of its threads start with.
        idle_s: real seconds after which an idle thread ends.
    """

    def __init__(self, prefix: str, idle_s: float = IDLE_S) -> None:
        self.idle_s = idle_s
        self._prefix = prefix
        self._numbers = count(1)
        self._all: set[_Slot] = set()
        self._idle: deque[_Slot] = deque()
        self._stopped = False

    def run(self, job: Callable[[], None], label: str) -> None:
        """Run `job` in a thread that is named after `label` meanwhile.

        Raises:
            RuntimeError: stopped, or the system gives no further thread.
        """
        if self._stopped:
            raise RuntimeError(f"the threads of {self._prefix} have been stopped")
        try:
            slot = self._idle.pop()  # the one used last: the others may end
        except IndexError:
            slot = _Slot(self, f"{self._prefix}-slot-{next(self._numbers)}")
            self._all.add(slot)
            try:
                slot.start()
            except BaseException:
                self._all.discard(slot)
                raise
        slot.label = label
        slot.jobs.put((job, label))

    def stop(self) -> None:
        """End the idle threads now and the busy ones after their job. Never waits."""
        self._stopped = True
        self._poison_idle()

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

    def rest(self, slot: _Slot) -> bool:
        """A thread has finished its job. False: it should end."""
        if self._stopped:
            self._all.discard(slot)
            return False
        self._idle.append(slot)
        if self.stopped:  # in between: nobody else would wake it
            self._poison_idle()
        return True

    def retire(self, slot: _Slot) -> bool:
        """An idle thread has waited long enough. False: a job is on its way to it."""
        try:
            self._idle.remove(slot)
        except ValueError:
            return False
        self._all.discard(slot)
        return True

    def forget(self, slot: _Slot) -> None:
        self._all.discard(slot)

    def _poison_idle(self) -> None:
        while True:
            try:
                self._idle.pop().jobs.put(None)
            except IndexError:
                return


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
