"""Everything one running engine consists of, wired together.

The facade and its sessions hold a `Runtime` and no state of their own. How its actors are made is
in `wiring`.
"""

import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from math import inf
from typing import Any, NoReturn

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.cancel import CancelToken
from prefetch_scheduler.actors.clock import SystemClock
from prefetch_scheduler.actors.desk import ChangeDesk, SubmitDesk, SubmitWaiting
from prefetch_scheduler.actors.kept import CacheKept, PlannerKept, refuse
from prefetch_scheduler.actors.log_fields import log_fields
from prefetch_scheduler.actors.messages import (
    CACHE_CONTROL,
    PLANNER_CONTROL,
    POOL_CONTROL,
    CancelPlan,
    Drain,
    PlannerStatus,
    PlannerStatusQuery,
    Submit,
)
from prefetch_scheduler.actors.metrics import Ledgers
from prefetch_scheduler.actors.notifier import Publish, Subscribers
from prefetch_scheduler.actors.ports import Clock
from prefetch_scheduler.actors.reply import ActorCrashed, AskTimeout, Reply
from prefetch_scheduler.actors.system import ActorSystem, State
from prefetch_scheduler.actors.view import PublishedView
from prefetch_scheduler.engine.care import Care
from prefetch_scheduler.engine.direct import DirectLoader
from prefetch_scheduler.engine.followers import Followers
from prefetch_scheduler.engine.handle import PlanHandle
from prefetch_scheduler.engine.held import Held
from prefetch_scheduler.engine.leniency import Leniency
from prefetch_scheduler.engine.loops import running_loop
from prefetch_scheduler.engine.reading import Read, Reader
from prefetch_scheduler.engine.sources.life import SourceLife
from prefetch_scheduler.engine.sources.registry import SourceRegistry
from prefetch_scheduler.engine.wiring import child_specs
from prefetch_scheduler.policies.accounting import Accounting
from prefetch_scheduler.policies.cache_events import Invalidate
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import (
    EngineDegraded,
    EngineFailed,
    EngineStopped,
    PrefetchError,
)
from prefetch_scheduler.policies.keys import exactly
from prefetch_scheduler.policies.metrics_events import DemandLoaded, Events, MetricsEvent, Miss
from prefetch_scheduler.policies.story import StoryBook
from prefetch_scheduler.policies.vocabulary import Pool, Reason

logger = logging.getLogger("prefetch_scheduler.engine")

QUERY_S = 5.0
"""Real seconds that questions to the actors (reports, health) wait for an answer."""

ACKNOWLEDGE_S = 1.0
"""Real seconds that a thread without an event loop waits for its put or pin to be visible."""

CARE = Care()
"""How engines look after themselves."""

_numbers = itertools.count(1)
_RUNNING: "weakref.WeakSet[Runtime]" = weakref.WeakSet()


def _after_fork() -> None:
    """A fork copies the engine and none of its threads: every use of it here says so."""
    for runtime in list(_RUNNING):
        runtime.forked()


os.register_at_fork(after_in_child=_after_fork)


class Runtime:
    """One engine's actors, view, sources and clock.

    Args:
        config: the effective configuration.
        registry: the sources.
        clock: the engine's time; None: real time.
        care: how it looks after itself; None: `CARE`.
    """

    def __init__(
        self,
        config: Config,
        registry: SourceRegistry,
        clock: Clock | None = None,
        care: Care | None = None,
    ) -> None:
        self.config = config
        self.registry = registry
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.view = PublishedView(registry.unchecked)
        self.care = care if care is not None else CARE
        self.system = ActorSystem(
            f"engine{next(_numbers)}", clock=self.clock, watch=self.care.watch
        )
        self.metrics = self.system.address("metrics", unhurried=(Events,))
        self.cache = self.system.address("cache", control=CACHE_CONTROL)
        self.planner = self.system.address(
            "planner", control=PLANNER_CONTROL, undelivered=self._undelivered
        )
        self.desk = SubmitDesk()
        self.changes = ChangeDesk(self.view.board.discard)
        self.notifier = self.system.address("notifier", bound=10_000)
        self.pools: Mapping[Pool, Address] = {
            pool: self.system.address(f"pool-{pool}", control=POOL_CONTROL) for pool in Pool
        }
        self.subscribers = Subscribers(self.system.slots("callbacks"))
        leniency = Leniency(self.view, registry, self.clock, self.planner.tell, self.count)
        self.reader = Reader(self.view, registry, self.cache, self.clock, leniency)
        self.ledgers = Ledgers(Accounting(config), StoryBook())
        self.direct = DirectLoader(
            registry,
            self.system.slots("direct"),
            self.clock,
            self._loaded_directly,
            self.care.direct_limit,
        )
        self.sources = SourceLife(registry, self._source_changed)
        self.failure: str | None = None
        self.planner_kept = PlannerKept()
        self.cache_kept = CacheKept()
        self.blockers: set[int] = set()
        self._held = Held(self.system, self.metrics, self.care.held)
        self.followers = Followers(self)
        self._handles: weakref.WeakSet[PlanHandle] = weakref.WeakSet()
        self._state = "new"

    # ---- starting and stopping -------------------------------------------------------------

    def start(self) -> None:
        """Start all actors; returns when they take messages."""
        self._state = "running"
        _RUNNING.add(self)
        try:
            self.followers.start()
            self.system.start(
                list(child_specs(self)),
                rule=self.care.rule,
                rebuild=self.care.rebuild,
                on_change=self._changed,
            )
        except BaseException:
            self._state = "stopped"
            self.followers.stop(time.monotonic() + QUERY_S)
            raise
        self.sources.open()
        logger.info("%s has started", self.system.engine_id, extra=self._named())

    def _named(self, error: str = "") -> dict[str, Any]:
        return log_fields(engine=self.system.engine_id, error=error)

    def stop(self, timeout: float, caller: int | None = None) -> tuple[str, ...]:
        """Stop all actors; returns the names of threads and tasks stuck in other people's code.

        Args:
            timeout: real seconds.
            caller: the thread that waits for this one, and is not waited for; None: this one.
        """
        if self._state == "forked":
            return ()
        self._state = "stopped"
        self.view.close()
        end = time.monotonic() + timeout
        self.direct.stop(self.stopped_error())
        left = self.system.stop(timeout, caller)
        left += self.followers.stop(end)
        self._give_up_handles()
        # Last, so that no load of a pool opens again what has been closed.
        left = (*left, *self.sources.close(end))
        if left:
            text = "threads and tasks that did not end: %s"
            logger.warning(text, ", ".join(left), extra=self._named())
        logger.info("%s has stopped", self.system.engine_id, extra=self._named())
        return left

    # ---- when actors fail ------------------------------------------------------------------

    def _changed(self, state: State, reason: str) -> None:
        """The tree of actors was given up, or is back. Called in the system's threads."""
        match state:
            case State.FAILED:
                self.failure = reason
                self.view.close()
                self.direct.stop(self.stopped_error())
                self._give_up_handles()
            case State.RUNNING:
                self._held.release()
            case _:
                text = "the engine is degraded: %s"
                logger.error(text, reason, extra=self._named(reason))

    def degraded(self) -> bool:
        """Whether the actors are being rebuilt."""
        return self.system.state is State.DEGRADED

    def _loaded_directly(self, key: str, session: str, content: Content, load_s: float) -> None:
        self.count(DemandLoaded(session, key, content.tokens or 0, load_s))

    def count(self, event: MetricsEvent) -> None:
        """Count what happened without the planner, at once or when Metrics is back."""
        self._held.count(event)

    def forked(self) -> None:
        """In a forked child, where none of the engine's threads exists."""
        self._state = "forked"
        # Not by `close`: a thread that is not here may have held its lock.
        self.view.closed, self.view.direct, self.view.guarded = True, {}, {}
        self.system.forget_threads()

    def _give_up_handles(self) -> None:
        for handle in list(self._handles):
            handle.given_up(self.stopped_error())

    # ---- sending ---------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether it has been started, here, and neither stopped nor given up; degraded counts."""
        return self._state == "running" and self.failure is None

    def check_running(self) -> None:
        """Raise where the engine does not run."""
        if self.running:
            return
        raise self.stopped_error()

    def check_not_ended(self) -> None:
        """Raise where the engine runs no more, here; before it was started is in order."""
        if self._state != "new":
            self.check_running()

    def stopped_error(self) -> PrefetchError:
        if self.failure is not None:
            return EngineFailed(f"the engine failed: {self.failure}; start another one")
        if self._state == "forked":
            return EngineStopped(
                "the engine runs in the process that this one was forked from, and not here:"
                " make another one after the fork"
            )
        if self._state == "new":
            return EngineStopped("the engine was not started: use `with engine:` or engine.start()")
        return EngineStopped("the engine has been stopped; make another one")

    def tell_planner(self, message: Any) -> None:
        self.desk.seal(getattr(message, "session", ""))
        self._tell(self.planner, message)

    def tell_cache(self, message: Any) -> None:
        self._tell(self.cache, message)

    def _tell(self, address: Address, message: Any) -> None:
        self.check_running()
        if self.degraded() and self._held.hold(address, message):
            return
        if not address.tell(message):
            self.check_running()
            if self.degraded() and self._held.hold(address, message):
                return
            self._overloaded(address)

    def _source_changed(self, pattern: str) -> None:
        """A source says that a key, or every key with a prefix ending in `*`, has changed."""
        if not self.running:
            return
        if pattern.endswith("*"):
            normal = self.registry.normalise_prefix(pattern)
        else:
            normal = exactly(self.registry.normalise(pattern))
        self.changed(normal, "")

    def settle(self, address: Address, message: Any) -> None:
        """Send; in a thread without an event loop also wait until it has taken effect.

        A thread with one must not block it: there the effect is visible a little later.
        """
        self.check_running()
        if self.degraded() or running_loop() is not None or address.owner == threading.get_ident():
            self._tell(address, message)
        else:
            try:
                address.ask(message, timeout=ACKNOWLEDGE_S)
            except EngineDegraded:
                self._tell(address, message)
            except AskTimeout:  # it has been sent, and takes effect as soon as it can
                logger.warning("the %s is slow: a call did not wait for its effect", address.name)
            except PrefetchError:
                raise
            except Exception as error:
                raise ActorCrashed(f"the {address.name} failed on this call: {error!r}") from error

    def settle_cache(self) -> None:
        """Wait until what was told before has been handled: a failure here undoes none of it."""
        with suppress(ActorCrashed):
            self.settle(self.cache, Drain())

    def settle_planner(self, message: Any) -> None:
        self.desk.seal(getattr(message, "session", ""))
        self.settle(self.planner, message)

    def publish(self, event: Any) -> None:
        """Tell the host's subscribers; costs nothing where there are none."""
        if len(self.subscribers):
            self.notifier.tell(Publish(event))

    # ---- asking ----------------------------------------------------------------------------

    def ask_metrics(self, query: Any, limit_s: float = QUERY_S) -> Any:
        """Ask Metrics once all reads and loads up to now have been counted.

        Args:
            query: the question.
            limit_s: real seconds that each of the actors may take to answer.
        """
        self.check_running()
        if self.degraded():
            raise self.system.error()
        self.planner.ask(PlannerStatusQuery(), timeout=limit_s)
        self.cache.ask(Drain(), timeout=limit_s)
        self.planner.ask(PlannerStatusQuery(), timeout=limit_s)  # what it learns of these reads
        return self.metrics.ask(query, timeout=limit_s)

    def planner_status(self) -> PlannerStatus | None:
        """How full the planner is; None where it does not run or answer."""
        if not self.planner.ready:
            return None
        try:
            status: PlannerStatus = self.planner.ask(PlannerStatusQuery(), timeout=ACKNOWLEDGE_S)
        except Exception:  # noqa: BLE001 - it may fail on this very question
            return None
        return status

    # ---- readers ---------------------------------------------------------------------------

    def demand(self, read: Read, reply: Reply) -> float:
        """Ask the planner for a resource.

        Returns:
            Real seconds after which the reader, where it has no answer and the planner does not
            run, does without it; 0: nobody was asked.
        """
        self.check_running()
        if self.degraded():
            return 0.0
        self.system.check()
        demand = read.demand(reply)
        if not self.planner.tell(demand):
            self.check_running()
            if self.degraded():
                return 0.0
            self._overloaded(self.planner)
        return inf if self.planner.ready else self.care.patience_s

    def load_directly(self, read: Read, reply: Reply) -> CancelToken:
        """Load for this reader straight from the sources."""
        if read.claim():
            self.count(Miss(read.session, read.key, predicted=False, reason="no planner"))
        return self.direct.load(read.key, read.session, reply)

    def submit(self, submit: Submit) -> None:
        """Hand a submit to the planner; degraded at that very moment, its handle says so."""
        self.check_running()
        handed = self.desk.hand_in(submit)
        if handed.replaced is not None:
            self._never_planned(handed.replaced, Reason.REPLACED)
        if handed.shed:
            self._never_planned(submit, Reason.QUEUE_FULL)
        if handed.message is None:
            return
        try:
            self.planner_tell(handed.message)
        except EngineDegraded as error:
            submit.ticket.given_up(error)

    def _undelivered(self, message: Any, error: PrefetchError) -> None:
        """Tell whoever waits for it that the planner will not handle a message."""
        refuse(self.desk.take(message) if isinstance(message, SubmitWaiting) else message, error)

    @staticmethod
    def _never_planned(submit: Submit, reason: Reason) -> None:
        submit.ticket.never_planned(submit.session, len(submit.predictions), reason)

    def changed(self, pattern: str, session: str) -> None:
        """Something changed: no reader gets what was loaded before. Many changes of one pattern
        in a row cost no more than a few.
        """
        epoch = self.view.board.note(pattern)
        message = self.changes.hand_in(Invalidate(pattern, epoch, session=session))
        if message is None:
            return
        try:
            self.tell_cache(message)
        except PrefetchError:
            self.changes.take(message)
            raise

    def planner_tell(self, message: Any) -> None:
        """As `tell_planner`, of what is worth nothing later.

        Raises:
            EngineDegraded: the actors are being rebuilt.
        """
        self.check_running()
        if self.planner.tell(message):
            return
        self.check_running()
        if self.degraded():
            raise self.system.error()
        self._overloaded(self.planner)

    @staticmethod
    def _overloaded(address: Address) -> NoReturn:
        queued, bound = address.fill()
        raise PrefetchError(
            f"the {address.name} is overloaded: {queued} of {bound} messages are waiting;"
            " send less, or later"
        )

    # ---- for sessions ----------------------------------------------------------------------

    def demand_timeout(self, timeout: float | None) -> float:
        return self.config.execution.demand_timeout_s if timeout is None else timeout

    def new_handle(self) -> PlanHandle:
        handle = PlanHandle(
            cancel=self._cancel_plan,
            clock=self.clock,
            immediate_s=self.config.max_immediate_time_ms / 1000,
            plan_s=self.config.execution.demand_timeout_s,
        )
        self._handles.add(handle)
        return handle

    def _cancel_plan(self, handle: PlanHandle) -> None:
        waiting = self.desk.withdraw(handle.ticket)
        if waiting is not None:
            self._never_planned(waiting, Reason.HOST_CANCELLED)
            return
        if not self.degraded():  # else there is nothing to cancel
            self.tell_planner(CancelPlan(handle.ticket))
