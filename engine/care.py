"""How an engine looks after itself: limits that no host needs to set, in one place."""

from attrs import field

from prefetch_scheduler.actors.children import Watch
from prefetch_scheduler.actors.system import Rebuild
from prefetch_scheduler.engine.direct import LIMIT
from prefetch_scheduler.policies.restarts import RestartRule
from prefetch_scheduler.policies.values import frozen


@frozen(kw_only=True)
class Care:
    """Restarts, the watchdog, degraded mode."""

    rule: RestartRule = field(factory=RestartRule)
    """How often and how fast each actor is restarted."""
    watch: Watch = field(factory=Watch)
    """When an actor counts as hung."""
    rebuild: Rebuild = field(factory=Rebuild)
    """How the whole tree of actors is built anew."""
    patience_s: float = 0.05
    """Real seconds that a reader waits for a planner that is being restarted."""
    direct_limit: int = LIMIT
    """Loads for readers at once that do without the planner."""
    held: int = 10_000
    """Messages of the host kept for the planner and the cache until they have been rebuilt."""
