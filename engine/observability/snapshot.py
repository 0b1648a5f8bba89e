"""One moment of an engine in figures: what exporters, `top` and hosts read.

Taking one sends four questions to the actors and waits for the answers in the asker's own thread;
nobody in the engine waits for anything. Askers that come close together share one.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, field

from prefetch_scheduler.actors.messages import AlertsQuery, CacheStatusQuery, ExportQuery
from prefetch_scheduler.engine.health import Health
from prefetch_scheduler.policies.alerts import Breach
from prefetch_scheduler.policies.counts import Counts
from prefetch_scheduler.policies.layer_lists import LayerFigures, LayersSnapshot
from prefetch_scheduler.policies.report import Report, whether_it_pays
from prefetch_scheduler.policies.slots import pool_slots
from prefetch_scheduler.policies.snapshot import Snapshot
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import Pool

if TYPE_CHECKING:
    from prefetch_scheduler.engine.runtime import Runtime

LIMIT_S = 1.0
"""Real seconds that each question waits for its answer."""


@frozen
class PoolFigures:
    """One pool of loads."""

    waiting: int
    """Loads that wait in the planner for a slot of this pool."""
    running: int
    """Loads that hold a slot."""
    capacity: int
    """Loads that the pool takes at once; all prefetching together takes no more than
    `max_concurrent_fetches`."""


@frozen
class MetricsSnapshot:
    """The figures of a whole engine at one moment. Nothing that happens later changes it."""

    wall: float
    """When it was taken: wall-clock seconds since the epoch."""
    health: Health
    figures: Snapshot
    """What was counted since the engine was made. Where the engine does not run, or did not answer
    in time, as in the snapshot before."""
    pools: Mapping[str, PoolFigures] = field(factory=dict)
    layers: Mapping[str, LayerFigures] = field(factory=dict)
    """hot, warm, cold and pinned; empty where the cache does not answer."""
    alerts: Mapping[str, tuple[Breach, ...]] = field(factory=dict)
    """Session -> the thresholds that it has crossed; only sessions with one."""

    @property
    def up(self) -> bool:
        """Whether the engine runs and all of it answers."""
        return self.health.state == "ok"

    @property
    def counts(self) -> Counts:
        """The sums over all sessions."""
        return self.figures.counts

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold. Rates are None where there was nothing to count."""
        report = Report(self.figures)
        engine = self.figures.engine
        return {
            "wall": round(self.wall, 3),
            "health": self.health.to_dict(),
            "summary": report.summary(),
            "time_saved_today_s": round(self.figures.saved_today_s, 3),
            "verdict": whether_it_pays(self.figures),
            "pools": {
                name: {"waiting": p.waiting, "running": p.running, "capacity": p.capacity}
                for name, p in self.pools.items()
            },
            "layers": {
                name: {
                    "entries": layer.entries,
                    "limit": layer.limit,
                    "tokens": layer.tokens,
                    "bytes": layer.size,
                }
                for name, layer in self.layers.items()
            },
            "alerts": [
                {
                    "session": session,
                    "name": str(breach.name),
                    "value": round(breach.value, 4),
                    "threshold": breach.threshold,
                }
                for session, breaches in self.alerts.items()
                for breach in breaches
            ],
            "sessions_live": 0 if engine is None else engine.sessions_live,
            "dropped": dict(self.counts.dropped),
        }


_NOTHING = Snapshot(
    session=None,
    counts=Counts(),
    open=0,
    open_tokens=0,
    outcomes={},
    predictions=(),
    skills=(),
    alerts=(),
    targets=(),
    saved_today_s=0.0,
)


class SnapshotTaker:
    """Takes the snapshots of one engine; one at a time, however many ask.

    Args:
        runtime: the engine.
        health: its health now; never raises.
    """

    def __init__(self, runtime: "Runtime", health: Callable[[], Health]) -> None:
        self._runtime = runtime
        self._health = health
        self._lock = threading.Lock()
        self._last: MetricsSnapshot | None = None
        self._taken_at = 0.0

    def take(self, max_age_s: float = 0.0) -> MetricsSnapshot:
        """The engine's figures now, or those of at most `max_age_s` real seconds ago.

        Never raises. Waits some seconds at most, and only where an actor does not answer.
        """
        asked_at = time.monotonic()
        with self._lock:
            if self._last is None or self._taken_at < asked_at - max_age_s:
                self._taken_at = time.monotonic()
                self._last = self._new()
            return self._last

    def _new(self) -> MetricsSnapshot:
        runtime, health = self._runtime, self._health()
        figures = self._last.figures if self._last is not None else _NOTHING
        taken = MetricsSnapshot(runtime.clock.wall(), health, figures)
        if health.state == "failed":
            return taken
        counted = self._asked(lambda: runtime.ask_metrics(ExportQuery(None), LIMIT_S))
        layers = self._asked(lambda: runtime.cache.ask(CacheStatusQuery(), timeout=LIMIT_S))
        alerts = self._asked(lambda: runtime.metrics.ask(AlertsQuery(), timeout=LIMIT_S))
        return evolve(
            taken,
            figures=figures if counted is None else counted,
            pools=_pools(runtime, health),
            layers={} if layers is None else _layers(layers),
            alerts=alerts or {},
        )

    @staticmethod
    def _asked(question: Callable[[], Any]) -> Any:
        """The answer; None where there is none, for whatever reason."""
        try:
            return question()
        except Exception:  # noqa: BLE001 - the actor may fail on this very question
            return None


def _pools(runtime: "Runtime", health: Health) -> dict[str, PoolFigures]:
    return {
        str(pool): PoolFigures(
            waiting=health.queues.get(f"waiting-{pool}", (0, 0))[0],
            running=health.running.get(str(pool), 0),
            capacity=pool_slots(runtime.config, pool),
        )
        for pool in Pool
    }


def _layers(layers: LayersSnapshot) -> dict[str, LayerFigures]:
    return {
        "hot": layers.hot,
        "warm": layers.warm,
        "cold": layers.cold,
        "pinned": layers.pinned,
    }
