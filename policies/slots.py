"""Who may start a load: the slot arithmetic of decisions D16, D17 and D19.

Prefetching has `max_concurrent_fetches` slots, some of them kept for P0 and P1; eager and
background loads have limits of their own; demand has its own slots and takes free prefetch slots.
"""

from attrs import Factory, field

from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.values import define
from prefetch_scheduler.policies.vocabulary import Pool

STANDBY = 64
"""Loads of P0, P1 or P2 at most that wait in a pool for the slots of its running ones."""

STANDBY_S = 0.002
"""Seconds that a load which stands by may be expected to wait for a slot; so none stands by any
more once a load of its source took longer by itself."""

STANDING_BY = (Pool.P0, Pool.P1, Pool.P2)

PREFETCH_POOLS = (Pool.P0, Pool.P1, Pool.P2, Pool.P3)


def pool_capacity(config: Config, pool: Pool) -> int:
    """How many requests a pool takes at once: the credits it grants when it starts."""
    return pool_slots(config, pool) + (STANDBY if pool in STANDING_BY else 0)


def pool_slots(config: Config, pool: Pool) -> int:
    """How many loads of a pool may run at once; of the background pool, wait there as well."""
    run = config.execution
    match pool:
        case Pool.P0 | Pool.P1:
            return config.max_concurrent_fetches
        case Pool.P2:
            unreserved = config.max_concurrent_fetches - config.reserved_slots
            return min(run.eager_max_concurrent, unreserved)
        case Pool.P3:
            return run.background_max_pending
        case Pool.DEMAND:
            return run.demand_slots + config.max_concurrent_fetches


def _of_each_pool() -> dict[Pool, set[int]]:
    return {pool: set() for pool in Pool}


@define
class Slots:
    """Claims to slots, by pool, and the credits that the pools have granted."""

    config: Config
    credits: dict[Pool, int] = field(init=False, default=Factory(lambda: dict.fromkeys(Pool, 0)))
    claims: dict[Pool, set[int]] = field(init=False, default=Factory(_of_each_pool))
    """Flights holding a slot. For P3: those that have started, each on one of the permits."""
    standby: dict[Pool, set[int]] = field(init=False, default=Factory(_of_each_pool))
    """Flights that wait in a pool for the slot of one that runs there."""
    permits: int = field(init=False, default=0)
    """Permits given to the background pool and neither returned nor released yet."""

    def _prefetching(self) -> int:
        claims = self.claims
        urgent = len(claims[Pool.P0]) + len(claims[Pool.P1])
        return urgent + len(claims[Pool.P2]) + self.permits

    def _borrowed(self) -> int:
        """Prefetch slots that demand holds beyond its own."""
        return max(0, len(self.claims[Pool.DEMAND]) - self.config.execution.demand_slots)

    def _free(self) -> int:
        return self.config.max_concurrent_fetches - self._prefetching() - self._borrowed()

    def _free_unreserved(self) -> int:
        """Free slots that P2 and P3 may take: what is kept for P0 and P1 is out of their reach."""
        limit = self.config.max_concurrent_fetches - self.config.reserved_slots
        held = len(self.claims[Pool.P2]) + self.permits
        return min(self._free(), limit - held)

    def room(self, pool: Pool) -> int:
        """How many more loads of that pool may start now (for P3: be handed over)."""
        credits_, claimed = self.credits[pool], len(self.claims[pool])
        match pool:
            case Pool.DEMAND:
                own = max(0, self.config.execution.demand_slots - claimed)
                return min(credits_, own + max(0, self._free()))
            case Pool.P0 | Pool.P1:
                return min(credits_, self._free())
            case Pool.P2:
                limit = self.config.execution.eager_max_concurrent
                return min(credits_, limit - claimed, self._free_unreserved())
            case Pool.P3:
                return credits_

    def permits_free(self) -> int:
        """How many more background loads may start now, apart from decision D19."""
        limit = self.config.execution.background_max_concurrent
        return max(0, min(limit - self.permits, self._free_unreserved()))

    def claim(self, pool: Pool, flight: int, *, standby: bool = False) -> None:
        self.credits[pool] -= 1
        if standby:
            self.standby[pool].add(flight)
        elif pool is not Pool.P3:
            self.claims[pool].add(flight)

    def release(self, pool: Pool, flight: int) -> None:
        """A flight gave its slot back; for P3 the permit with which it had started, if it had."""
        if pool is Pool.P3 and flight in self.claims[pool]:
            self.permits -= 1
        self.claims[pool].discard(flight)
        self.standby[pool].discard(flight)

    def grant(self, pool: Pool, count: int) -> None:
        """A pool takes so many more requests; never more than its capacity in all, since a pool
        that was restarted may still work off what its predecessor had been sent.
        """
        capacity = pool_capacity(self.config, pool)
        self.credits[pool] = min(self.credits[pool] + count, capacity)

    def started(self, pool: Pool, flight: int) -> None:
        """One that waited in its pool, for a permit or for another's slot, has begun."""
        self.standby[pool].discard(flight)
        self.claims[pool].add(flight)

    def untouched(self, pool: Pool) -> bool:
        """Whether the pool has been given nothing that it has not given back."""
        return not self.claims[pool] and self.credits[pool] >= pool_capacity(self.config, pool)

    def urgent_claims(self) -> int:
        """Running demand, P0 and P1 loads: while there are any, background waits (D19)."""
        return sum(len(self.claims[p]) for p in (Pool.DEMAND, Pool.P0, Pool.P1))

    def reset(self, pool: Pool, credits_: int) -> set[int]:
        """A pool started afresh; returns the flights whose claims are void."""
        lost = self.claims[pool]
        self.claims[pool] = set()
        self.standby[pool] = set()
        self.credits[pool] = credits_
        if pool is Pool.P3:
            self.permits = 0
        return lost
