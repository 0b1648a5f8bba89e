"""Everything one running engine consists of, wired together.

The facade and its sessions hold a `Runtime` and no state of their own. Who is started, in which
order, and why: Metrics first, since everybody tells it things; the CacheLayer and the planner,
which the pools report to; the pools last, so that the first credits find somebody to take them.
"""

import itertools
import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.cache import CacheLayer
from prefetch_scheduler.actors.children import ChildSpec
from prefetch_scheduler.actors.clock import SystemClock
from prefetch_scheduler.actors.messages import (
    CACHE_CONTROL,
    PLANNER_CONTROL,
    POOL_CONTROL,
    CancelPlan,
    Drain,
    PlannerStatus,
    PlannerStatusQuery,
)
from prefetch_scheduler.actors.metrics import Ledgers, Metrics
from prefetch_scheduler.actors.notifier import Notifier, Publish, Subscribers
from prefetch_scheduler.actors.planner import Planner
from prefetch_scheduler.actors.pool import FetcherPool
from prefetch_scheduler.actors.ports import Clock
from prefetch_scheduler.actors.system import ActorSystem
from prefetch_scheduler.actors.view import PublishedView
from prefetch_scheduler.engine.handle import PlanHandle
from prefetch_scheduler.engine.loops import running_loop
from prefetch_scheduler.engine.reading import Reader
from prefetch_scheduler.engine.sources.registry import SourceRegistry
from prefetch_scheduler.policies.accounting import Accounting
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.errors import EngineFailed, EngineStopped, PrefetchError
from prefetch_scheduler.policies.pool import PoolMachine
from prefetch_scheduler.policies.slots import pool_capacity
from prefetch_scheduler.policies.story import StoryBook
from prefetch_scheduler.policies.vocabulary import Pool

logger = logging.getLogger("prefetch_scheduler.engine")

QUERY_S = 5.0
"""Real seconds that questions to the actors (reports, health) wait for an answer."""

ACKNOWLEDGE_S = 1.0
"""Real seconds that a thread without an event loop waits for its put or pin to be visible."""

_numbers = itertools.count(1)


class Runtime:
    """One engine's actors, view, sources and clock.

    Args:
        config: the effective configuration.
        registry: the sources.
        clock: the engine's time; None: real time.
    """

    def __init__(
        self, config: Config, registry: SourceRegistry, clock: Clock | None = None
    ) -> None:
        self.config = config
        self.registry = registry
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.view = PublishedView()
        self.system = ActorSystem(f"engine{next(_numbers)}", clock=self.clock)
        self.metrics = self.system.address("metrics")
        self.cache = self.system.address("cache", control=CACHE_CONTROL)
        self.planner = self.system.address("planner", control=PLANNER_CONTROL)
        self.notifier = self.system.address("notifier", bound=10_000)
        self.pools: Mapping[Pool, Address] = {
            pool: self.system.address(f"pool-{pool}", control=POOL_CONTROL) for pool in Pool
        }
        self.subscribers = Subscribers(self.system.slots("callbacks"))
        self.reader = Reader(self.view, registry, self.cache, self.clock)
        self.ledgers = Ledgers(Accounting(config), StoryBook())
        self.failure: str | None = None
        self._handles: weakref.WeakSet[PlanHandle] = weakref.WeakSet()
        self._state = "new"

    # ---- starting and stopping -------------------------------------------------------------

    def start(self) -> None:
        """Start all actors; returns when they take messages."""
        self._state = "running"
        try:
            self.system.start(list(self._specs()), on_failed=self._failed)
        except BaseException:
            self._state = "stopped"
            raise

    def stop(self, timeout: float) -> tuple[str, ...]:
        """Stop all actors; returns the names of threads stuck in other people's code."""
        self._state = "stopped"
        left = self.system.stop(timeout)
        self._give_up_handles()
        if left:
            logger.warning("threads that did not end: %s", ", ".join(left))
        return left

    def _specs(self) -> Iterable[ChildSpec]:
        config, table = self.config, self.registry.table

        def planner(home: Any) -> Any:
            return Planner.start(
                home,
                config=config,
                table=table,
                pools=self.pools,
                cache=self.cache,
                metrics=self.metrics,
                view=self.view,
                current=self.reader.current,
                publish=self.publish,
            )

        def cache(home: Any) -> Any:
            return CacheLayer.start(
                home,
                config=config,
                view=self.view,
                planner=self.planner,
                metrics=self.metrics,
                publish=self.publish,
            )

        def metrics(home: Any) -> Any:
            return Metrics.start(home, self.ledgers, self.publish)

        def notifier(home: Any) -> Any:
            return Notifier.start(home, self.subscribers)

        yield ChildSpec(address=self.notifier, start=notifier)
        yield ChildSpec(address=self.metrics, start=metrics)
        yield ChildSpec(address=self.cache, start=cache)
        yield ChildSpec(address=self.planner, start=planner)
        for pool, address in self.pools.items():
            yield ChildSpec(address=address, start=self._pool_starter(pool))

    def _pool_starter(self, pool: Pool) -> Callable[[Any], Any]:
        slots = self.system.slots(f"pool-{pool}")

        def start(home: Any) -> Any:
            machine = PoolMachine(
                pool,
                pool_capacity(self.config, pool),
                permits=pool is Pool.P3,
                batch=self.config.enable_batch_fetching,
                table=self.registry.table,
            )
            return FetcherPool.start(
                home, machine, self.registry, self.planner, slots, self.registry.table
            )

        return start

    def _failed(self, reason: str) -> None:
        """The Supervisor gave up: everyone who waits, now or later, is told."""
        self.failure = reason
        self._give_up_handles()

    def _give_up_handles(self) -> None:
        for handle in list(self._handles):
            handle.given_up(self.stopped_error())

    # ---- sending ---------------------------------------------------------------------------

    def check_running(self) -> None:
        """Raise where the engine does not run."""
        if self._state == "running" and self.failure is None:
            return
        raise self.stopped_error()

    def stopped_error(self) -> PrefetchError:
        if self.failure is not None:
            return EngineFailed(f"the engine failed: {self.failure}; start another one")
        if self._state == "new":
            return EngineStopped("the engine was not started: use `with engine:` or engine.start()")
        return EngineStopped("the engine has been stopped; make another one")

    def tell_planner(self, message: Any) -> None:
        self._tell(self.planner, message)

    def tell_cache(self, message: Any) -> None:
        self._tell(self.cache, message)

    def _tell(self, address: Address, message: Any) -> None:
        self.check_running()
        if not address.tell(message):
            self.check_running()
            queued, bound = address.fill()
            raise PrefetchError(
                f"the {address.name} is overloaded: {queued} of {bound} messages are waiting;"
                " send less, or later"
            )

    def settle(self, address: Address, message: Any) -> None:
        """Send; in a thread without an event loop also wait until it has taken effect.

        A thread with one must not block it: there the effect is visible a little later.
        """
        self.check_running()
        if running_loop() is not None or address.owner == threading.get_ident():
            self._tell(address, message)
        else:
            address.ask(message, timeout=ACKNOWLEDGE_S)

    def settle_cache(self) -> None:
        self.settle(self.cache, Drain())

    def settle_planner(self, message: Any) -> None:
        self.settle(self.planner, message)

    def publish(self, event: Any) -> None:
        """Tell the host's subscribers; costs nothing where there are none."""
        if len(self.subscribers):
            self.notifier.tell(Publish(event))

    # ---- asking ----------------------------------------------------------------------------

    def ask_metrics(self, query: Any) -> Any:
        """Ask Metrics once all reads and loads up to now have been counted."""
        self.check_running()
        self.planner.ask(PlannerStatusQuery(), timeout=QUERY_S)
        self.cache.ask(Drain(), timeout=QUERY_S)
        return self.metrics.ask(query, timeout=QUERY_S)

    def planner_status(self) -> PlannerStatus | None:
        try:
            status: PlannerStatus = self.planner.ask(PlannerStatusQuery(), timeout=ACKNOWLEDGE_S)
        except PrefetchError:
            return None
        return status

    # ---- for sessions ----------------------------------------------------------------------

    def demand_timeout(self, timeout: float | None) -> float:
        return self.config.execution.demand_timeout_s if timeout is None else timeout

    def new_handle(self) -> PlanHandle:
        handle = PlanHandle(
            cancel=lambda handle: self.tell_planner(CancelPlan(handle)),
            clock=self.clock,
            immediate_s=self.config.max_immediate_time_ms / 1000,
            plan_s=self.config.execution.demand_timeout_s,
        )
        self._handles.add(handle)
        return handle
