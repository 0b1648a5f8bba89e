"""What `submit` returns: the plan once it is made, and a wait for what is urgent in it."""

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from prefetch_scheduler.actors.ports import Clock
from prefetch_scheduler.actors.reply import AskTimeout, AsyncReply, SyncReply
from prefetch_scheduler.engine.timeouts import checked_timeout
from prefetch_scheduler.policies.errors import LoadTimeout, PrefetchError
from prefetch_scheduler.policies.plan import Plan
from prefetch_scheduler.policies.vocabulary import Reason

logger = logging.getLogger("prefetch_scheduler.engine")


class Latch:
    """A value that is set once and that any number of threads and coroutines wait for."""

    def __init__(self) -> None:
        self._sync = SyncReply()
        self._waiting: list[AsyncReply] = []
        self._lock = threading.Lock()

    def set(self, value: Any) -> None:
        with self._lock:
            if not self._sync.set(value):
                return
            waiting, self._waiting = self._waiting, []
        for reply in waiting:
            reply.set(value)

    def wait(self, timeout: float | None) -> Any:
        """The value; `AskTimeout` after `timeout` real seconds."""
        return self._sync.wait(timeout)

    async def await_(self, timeout: float | None) -> Any:
        """The same without blocking the loop."""
        reply = AsyncReply(asyncio.get_running_loop())
        with self._lock:
            if not self._sync.done:
                self._waiting.append(reply)
                reply_now = False
            else:
                reply_now = True
        if reply_now:
            return self._sync.wait(0)
        try:
            return await reply.wait(timeout)
        finally:
            with self._lock:
                if reply in self._waiting:
                    self._waiting.remove(reply)


class Ticket:
    """A handle from the planner's side. The planner remembers its plans for a while, but a host
    that has let go of its handle need not be told any more, and nothing is kept for it.
    """

    __slots__ = ("_handle",)

    def __init__(self, handle: "PlanHandle") -> None:
        self._handle = weakref.ref(handle)

    def plan_made(self, plan: Plan) -> None:
        handle = self._handle()
        if handle is not None:
            handle.plan_made(plan)

    def immediate_done(self, ok: bool) -> None:
        handle = self._handle()
        if handle is not None:
            handle.immediate_done(ok)

    def item_shed(self, key: str, reason: Reason) -> None:
        handle = self._handle()
        if handle is not None:
            handle.item_shed(key, reason)

    def never_planned(self, session: str, count: int, reason: Reason) -> None:
        """The submit, of so many predictions, is given up before it is planned."""
        handle = self._handle()
        if handle is not None:
            handle.never_planned(session, count, reason)

    def given_up(self, error: PrefetchError) -> None:
        handle = self._handle()
        if handle is not None:
            handle.given_up(error)


class PlanHandle:
    """One submit, from the host's side. Safe to use from any thread or event loop.

    Args:
        cancel: takes the submit back.
        clock: time-outs are engine seconds.
        immediate_s: how long `wait_immediate` waits where it names no time-out.
        plan_s: the same for `plan`.
    """

    def __init__(
        self,
        cancel: Callable[["PlanHandle"], None],
        clock: Clock,
        immediate_s: float,
        plan_s: float,
    ) -> None:
        self._cancel = cancel
        self._clock = clock
        self._immediate_s = immediate_s
        self._plan_s = plan_s
        self._plan = Latch()
        self._immediate = Latch()
        self._shed: dict[str, Reason] = {}
        self.ticket = Ticket(self)
        """What the planner is given of it."""

    # ---- the planner's side ------------------------------------------------------------------

    def plan_made(self, plan: Plan) -> None:
        """Called by the planner."""
        self._plan.set(plan)

    def immediate_done(self, ok: bool) -> None:
        """Called by the planner."""
        self._immediate.set(ok)

    def item_shed(self, key: str, reason: Reason) -> None:
        """Called by the planner."""
        self._shed[key] = reason

    def never_planned(self, session: str, count: int, reason: Reason) -> None:
        """Called when the submit, of so many predictions, is given up before it is planned."""
        self._plan.set(Plan.of_nothing(session, count, reason))
        self._immediate.set(False)

    def given_up(self, error: PrefetchError) -> None:
        """Called when the engine ends before the plan is made."""
        self._plan.set(error)
        self._immediate.set(False)

    # ---- the host's side ---------------------------------------------------------------------

    def plan(self, timeout: float | None = None) -> Plan:
        """The plan: every item with its lane, its predicted times and the reason.

        A submit that was given up before it was planned has a plan without items, which counts its
        predictions under `rejected`: `replaced` by a later submit of the session, `queue_full`
        where too many were waiting, `context_changed` or `host_cancelled`.

        Args:
            timeout: engine seconds to wait; None: as long as a demand may take.

        Raises:
            LoadTimeout: it was not made in time.
            InvalidPrediction: `timeout` is no number of at least 0.
            EngineStopped, EngineFailed: the engine ended before it was made.
        """
        limit = self._plan_s if timeout is None else checked_timeout(timeout)
        try:
            made = self._plan.wait(self._clock.real(limit))
        except AskTimeout:
            raise LoadTimeout(f"the plan was not made within {limit:g} s") from None
        if isinstance(made, PrefetchError):
            raise made
        plan: Plan = made
        return plan

    def wait_immediate(self, timeout: float | None = None) -> bool:
        """Wait until all P0 and P1 items of the plan are loaded.

        Args:
            timeout: engine seconds to wait; None: `max_immediate_time_ms` (decision D14).

        Returns:
            True when all are loaded; False on a time-out, or when one could not be loaded.
        """
        limit = self._limit(timeout)
        try:
            return bool(self._immediate.wait(self._clock.real(limit)))
        except AskTimeout:
            return self._late(limit)

    async def await_immediate(self, timeout: float | None = None) -> bool:
        """As `wait_immediate`, without blocking the event loop."""
        limit = self._limit(timeout)
        try:
            return bool(await self._immediate.await_(self._clock.real(limit)))
        except AskTimeout:
            return self._late(limit)

    @property
    def shed(self) -> Mapping[str, Reason]:
        """Key -> why, of the plan's items that were given up so far to keep a queue within its
        bound. What there was no room for from the beginning is also in the plan: its items of
        reason `queue_full`, and `Plan.rejected`.
        """
        return dict(self._shed)

    def cancel(self) -> None:
        """Take the submit back: what only it wanted is dropped, queued and running."""
        self._cancel(self)

    def _limit(self, timeout: float | None) -> float:
        return self._immediate_s if timeout is None else checked_timeout(timeout)

    @staticmethod
    def _late(limit: float) -> bool:
        logger.warning("urgent items were not loaded within %g s; going on without them", limit)
        return False
