"""The engine's health: one state, each actor, each queue."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from prefetch_scheduler.actors.children import ChildHealth

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
    """Name -> (waiting, bound) of every inbox and of the planner's background queue."""
    stuck_loads: Mapping[str, int]
    """Source -> loads that are past their time and have not ended."""
    stuck_threads: tuple[str, ...]
    """Threads that are in a source's own code now."""
    dead_letters: Mapping[str, int]
    """Messages that nobody will handle, by type."""
    cold_store: str = "memory"
    """Where the cache is kept over a restart: `sqlite`; `memory`: it is not, with the reason where
    that is not what the configuration says."""

    def to_dict(self) -> dict[str, Any]:
        """Plain mappings and lists, ready for JSON."""
        import cattrs  # only here: it would add a tenth to the import of the library

        plain: dict[str, Any] = cattrs.unstructure(self)
        return plain


def health_of(runtime: "Runtime", *, started: bool, stopped: bool) -> Health:
    """Look at every actor and queue. Never raises, and waits at most a second or two."""
    if not started or stopped or not runtime.running:
        why = str(runtime.stopped_error())
        return Health("failed", why, (), {}, {}, runtime.system.stuck_threads(), {})
    tree = runtime.system.health()
    status = runtime.planner_status()
    addresses = (runtime.planner, runtime.cache, runtime.metrics, *runtime.pools.values())
    queues = {address.name: address.fill() for address in addresses}
    state: str = tree.state
    reason: str | None = tree.reason
    if status is None:
        state = "degraded" if state == "ok" else state
        reason = reason or "the planner does not answer"
    else:
        bound = runtime.config.max_background_queue
        for pool, waiting in status.queued.items():
            queues[f"waiting-{pool}"] = (waiting, bound if pool == "p3" else waiting)
    return Health(
        state=state,
        reason=reason,
        actors=tree.children,
        queues=queues,
        stuck_loads=dict(status.stuck) if status is not None else {},
        stuck_threads=runtime.system.stuck_threads(),
        dead_letters=runtime.system.dead_letters.counts(),
        cold_store=_cold_store(runtime),
    )


def _cold_store(runtime: "Runtime") -> str:
    cold = runtime.cold
    if cold is None:
        return "memory"
    return "sqlite" if cold.reason is None else f"memory: {cold.reason}"
