"""The engine's health: one state, each actor, each queue."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import field

from prefetch_scheduler.actors.children import ChildHealth
from prefetch_scheduler.actors.inbox import DEFAULT_BOUND
from prefetch_scheduler.policies.admitting import MOST_QUEUED
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import Pool

if TYPE_CHECKING:
    from prefetch_scheduler.engine.runtime import Runtime


@frozen
class Health:
    """How an engine is: one state, each actor, each queue."""

    state: str
    """ok | degraded | failed"""
    reason: str | None
    actors: tuple[ChildHealth, ...]
    queues: Mapping[str, tuple[int, int]]
    """Name -> (waiting, bound) of every inbox and of the planner's queues: `submits` counts the
    predictions that wait to be planned, `waiting-p0` and so on the loads that wait for a slot. P0
    to P2 share one bound."""
    stuck_loads: Mapping[str, int]
    """Source -> loads that are past their time and have not ended; of a stopped engine, those that
    ignored their cancellation."""
    stuck_threads: tuple[str, ...]
    """Threads that are in a source's own code now."""
    dead_letters: Mapping[str, int]
    """Messages that nobody will handle, by type."""
    cold_store: str = "memory"
    """Where the cache is kept over a restart: `sqlite`; `memory`: it is not, with the reason where
    that is not what the configuration says."""
    held_off: Mapping[str, float] = field(factory=dict)
    """Sources that keep failing, of which nothing is loaded ahead -> engine seconds until one load
    is tried again."""
    running: Mapping[str, int] = field(factory=dict)
    """Pool -> loads that hold one of its slots."""
    held_back: Mapping[str, str] = field(factory=dict)
    """Sources, or `source, role`, of which nothing is loaded ahead because it was not read -> what
    was counted, in words."""
    monitor: str = "off"
    """The socket on which `prefetch-scheduler top` finds the engine; `off`: none is wanted; else
    why it is not open."""

    def to_dict(self) -> dict[str, Any]:
        """Plain mappings and lists, ready for JSON."""
        import cattrs  # only here: it would add a tenth to the import of the library

        plain: dict[str, Any] = cattrs.unstructure(self)
        return plain


def health_of(runtime: "Runtime", *, started: bool, stopped: bool) -> Health:
    """Look at every actor and queue. Never raises, and waits at most a second or two."""
    if not started or stopped or not runtime.running:
        why = str(runtime.stopped_error())
        system = runtime.system
        return Health("failed", why, (), {}, system.left_tasks(), system.stuck_threads(), {})
    tree = runtime.system.health()
    status = runtime.planner_status()
    addresses = (runtime.planner, runtime.cache, runtime.metrics, *runtime.pools.values())
    queues = {address.name: address.fill() for address in addresses}
    queues["submits"] = runtime.desk.fill()
    state: str = tree.state
    reason: str | None = tree.reason
    if status is None:
        state = "degraded" if state == "ok" else state
        reason = reason or "the planner does not answer"
    else:
        bounds = {Pool.P3: runtime.config.max_background_queue, Pool.DEMAND: DEFAULT_BOUND}
        for pool, waiting in status.queued.items():
            queues[f"waiting-{pool}"] = (waiting, bounds.get(pool, MOST_QUEUED))
    return Health(
        state=state,
        reason=reason,
        actors=tree.children,
        queues=queues,
        stuck_loads=dict(status.stuck) if status is not None else {},
        stuck_threads=runtime.system.stuck_threads(),
        dead_letters=runtime.system.dead_letters.counts(),
        cold_store=_cold_store(runtime),
        held_off=dict(status.held_off) if status is not None else {},
        running={str(p): n for p, n in status.running.items()} if status is not None else {},
        held_back=dict(status.held_back) if status is not None else {},
    )


def _cold_store(runtime: "Runtime") -> str:
    cold = runtime.followers.cold
    if cold is None:
        return "memory"
    return "sqlite" if cold.reason is None else f"memory: {cold.reason}"
