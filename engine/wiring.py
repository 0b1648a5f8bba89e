"""How the actors of an engine are made, again and again, and what else happens when one fails.

Who is started, in which order, and why: Metrics first, since everybody tells it things; the
CacheLayer and the planner, which the pools report to; the pools last, so that the first credits
find somebody to take them.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.cache import CacheLayer
from prefetch_scheduler.actors.children import ChildSpec
from prefetch_scheduler.actors.kept import AskedDemand
from prefetch_scheduler.actors.log_fields import log_fields
from prefetch_scheduler.actors.messages import Demand, Retry
from prefetch_scheduler.actors.metrics import Metrics
from prefetch_scheduler.actors.notifier import Notifier
from prefetch_scheduler.actors.planner import Planner
from prefetch_scheduler.actors.pool import FetcherPool
from prefetch_scheduler.policies.pool import PoolMachine
from prefetch_scheduler.policies.slots import pool_capacity
from prefetch_scheduler.policies.vocabulary import Pool

if TYPE_CHECKING:
    from prefetch_scheduler.engine.runtime import Runtime

logger = logging.getLogger("prefetch_scheduler.engine")


def child_specs(runtime: "Runtime") -> Iterable[ChildSpec]:
    """The actors of an engine in starting order, each with how it is made."""
    config, table = runtime.config, runtime.registry.table
    followers = runtime.followers.of_cache()

    def planner(home: Any) -> Any:
        return Planner.start(
            home,
            config=config,
            table=table,
            pools=runtime.pools,
            cache=runtime.cache,
            metrics=runtime.metrics,
            view=runtime.view,
            current=runtime.reader.current,
            publish=runtime.publish,
            heard=lambda: len(runtime.subscribers) > 0,
            kept=runtime.planner_kept,
            desk=runtime.desk,
        )

    def cache(home: Any) -> Any:
        return CacheLayer.start(
            home,
            config=config,
            view=runtime.view,
            planner=runtime.planner,
            metrics=runtime.metrics,
            publish=runtime.publish,
            kept=runtime.cache_kept,
            followers=followers,
            desk=runtime.changes,
        )

    def metrics(home: Any) -> Any:
        return Metrics.start(home, runtime.ledgers, runtime.publish)

    def notifier(home: Any) -> Any:
        return Notifier.start(home, runtime.subscribers)

    yield ChildSpec(address=runtime.notifier, start=notifier)
    yield ChildSpec(address=runtime.metrics, start=metrics)
    yield ChildSpec(address=runtime.cache, start=cache)
    yield ChildSpec(address=runtime.planner, start=planner, on_down=partial(planner_down, runtime))
    for pool, address in runtime.pools.items():
        yield ChildSpec(
            address=address,
            start=_pool_starter(runtime, pool),
            on_down=partial(_pool_down, runtime, address),
        )


def _pool_starter(runtime: "Runtime", pool: Pool) -> Callable[[Any], Any]:
    slots = runtime.system.slots(f"pool-{pool}")

    def start(home: Any) -> Any:
        machine = PoolMachine(
            pool,
            pool_capacity(runtime.config, pool),
            permits=pool is Pool.P3,
            batch=runtime.config.enable_batch_fetching,
            table=runtime.registry.table,
            incarnation=home.incarnation,
            planner=runtime.planner_kept.incarnation,
        )
        return FetcherPool.start(
            home,
            machine,
            runtime.registry,
            runtime.planner,
            slots,
            runtime.registry.table,
            blockers=runtime.blockers,
        )

    return start


def planner_down(runtime: "Runtime", delay: float) -> None:
    """Readers do not wait through a back-off; one restart at once they do not notice."""
    runtime.planner_kept.release(runtime.planner)
    if delay <= runtime.care.patience_s:
        return
    for message in runtime.planner.inbox.take_out(lambda m: isinstance(m, Demand)):
        if isinstance(message.ticket, AskedDemand | None):
            runtime.planner.tell(message)  # asked by message: it has no other way
        else:
            message.ticket.set(Retry(None, message.counted))


def _pool_down(runtime: "Runtime", address: Address, _delay: float) -> None:
    """A pool that hangs was blocked by some source's coroutine: from now on that source's
    loads get threads of their own, where it blocks nobody else.
    """
    culprit = FetcherPool.culprit(address.loop)
    if culprit is not None:
        runtime.blockers.add(culprit)
        name = runtime.registry.table.infos[culprit].name
        fields = log_fields(engine=runtime.system.engine_id, source=name)
        logger.error("source %r blocks the event loop; its loads get threads", name, extra=fields)
