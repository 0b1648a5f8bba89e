"""The instruments: the name, unit and meaning of each figure, whoever exports it.

Names and units as OpenTelemetry writes them: dots between the parts, units in UCUM, where what is
counted stands in braces. No attribute holds a key or the name of a session: these have no bound.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum, auto

from prefetch_scheduler.engine.observability.snapshot import MetricsSnapshot
from prefetch_scheduler.policies.alerts import AlertName
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import Cause

PREFIX = "prefetch"

Point = tuple[tuple[str, ...], float]
"""The values of an instrument's attributes, in their order, and the figure."""


class Shape(StrEnum):
    """What a figure does over time."""

    COUNTER = auto()  # it only grows
    GAUGE = auto()  # it comes and goes


@frozen
class Instrument:
    """One figure, or one for each value of its attributes."""

    name: str
    """Below `prefetch`."""
    shape: Shape
    unit: str
    """UCUM."""
    about: str
    read: Callable[[MetricsSnapshot], Iterable[Point]]
    attributes: tuple[str, ...] = ()
    """Below `prefetch`, too."""


def _one(figure: Callable[[MetricsSnapshot], float | None]) -> Callable[..., Iterator[Point]]:
    """A figure without attributes; nothing where there was nothing to count."""

    def read(snapshot: MetricsSnapshot) -> Iterator[Point]:
        value = figure(snapshot)
        if value is not None:
            yield (), value

    return read


def _by_name(table: Callable[[MetricsSnapshot], Mapping[str, float]]) -> Callable[..., list[Point]]:
    return lambda snapshot: [((str(name),), value) for name, value in table(snapshot).items()]


def _causes(s: MetricsSnapshot) -> dict[str, float]:
    return {str(c): s.counts.causes.get(c, 0) for c in Cause if c is not Cause.DEMAND}


def _reads(s: MetricsSnapshot) -> dict[str, float]:
    c = s.counts
    return {"hit": c.hits, "late_hit": c.late_hits, "joined": c.joined, "miss": c.misses}


def _endings(s: MetricsSnapshot) -> dict[str, float]:
    c = s.counts
    return {"used": c.used, "wasted": c.wasted, "cancelled": c.cancelled, "failed": c.failed}


def _tokens(s: MetricsSnapshot) -> dict[str, float]:
    c = s.counts
    return {
        "prefetched": c.tokens_prefetched,
        "used": c.tokens_used,
        "wasted": c.tokens_wasted,
        "failed": c.tokens_failed,
        "demanded": c.tokens_demand_loaded,
    }


def _alerts(s: MetricsSnapshot) -> dict[str, float]:
    """How many sessions each alert stands for."""
    names = [str(breach.name) for breaches in s.alerts.values() for breach in breaches]
    return {str(name): names.count(str(name)) for name in AlertName}


def _sessions(s: MetricsSnapshot) -> float:
    return 0 if s.figures.engine is None else s.figures.engine.sessions_live


def _counter(
    name: str, unit: str, about: str, read: Callable[..., Iterable[Point]], *attributes: str
) -> Instrument:
    return Instrument(name, Shape.COUNTER, unit, about, read, attributes)


def _gauge(
    name: str, unit: str, about: str, read: Callable[..., Iterable[Point]], *attributes: str
) -> Instrument:
    return Instrument(name, Shape.GAUGE, unit, about, read, attributes)


INSTRUMENTS: tuple[Instrument, ...] = (
    _gauge("up", "1", "1 where the engine runs and all of it answers", _one(lambda s: s.up)),
    _counter("reads", "{read}", "reads by hosts", _by_name(_reads), "result"),
    _counter(
        "stale.reads",
        "{read}",
        "reads served past their age, as their source allows",
        _one(lambda s: s.counts.stale_served),
    ),
    _counter("loads.ahead", "{load}", "loads begun ahead of a read", _by_name(_causes), "cause"),
    _counter(
        "loads.ahead.ended", "{load}", "loads ahead by how they ended", _by_name(_endings), "ending"
    ),
    _gauge(
        "loads.ahead.open",
        "{load}",
        "loads ahead that run, or are there and not yet read",
        _one(lambda s: s.figures.open),
    ),
    _counter(
        "loads.demanded",
        "{load}",
        "loads that a reader waited for from their beginning",
        _one(lambda s: s.counts.demand_loads),
    ),
    _counter(
        "loads.demanded.time",
        "s",
        "time that these took",
        _one(lambda s: s.counts.demand_load_s),
    ),
    _counter(
        "latency.saved",
        "s",
        "time of loading that no reader waited for",
        _one(lambda s: s.counts.latency_saved_s),
    ),
    _counter("tokens", "{token}", "tokens by what became of them", _by_name(_tokens), "state"),
    _counter(
        "tokens.granted",
        "{token}",
        "tokens that plans were granted",
        _one(lambda s: s.counts.budget_granted),
    ),
    _gauge("hit_rate", "1", "hits by all reads", _one(lambda s: s.counts.hit_rate)),
    _gauge(
        "accuracy", "1", "loads ahead that were used, by all", _one(lambda s: s.counts.accuracy)
    ),
    _gauge(
        "efficiency",
        "1",
        "prefetched tokens that were used, by all of them",
        _one(lambda s: s.counts.efficiency),
    ),
    _gauge(
        "cache.entries",
        "{entry}",
        "entries by layer",
        _by_name(lambda s: {name: layer.entries for name, layer in s.layers.items()}),
        "layer",
    ),
    _gauge(
        "cache.tokens",
        "{token}",
        "tokens by layer",
        _by_name(lambda s: {name: layer.tokens for name, layer in s.layers.items()}),
        "layer",
    ),
    _gauge(
        "cache.size",
        "By",
        "bytes by layer",
        _by_name(lambda s: {name: layer.size for name, layer in s.layers.items()}),
        "layer",
    ),
    _counter(
        "cache.removals",
        "{entry}",
        "entries that left, by why",
        _by_name(lambda s: s.counts.removals),
        "cause",
    ),
    _gauge(
        "pool.running",
        "{load}",
        "loads that hold a slot",
        _by_name(lambda s: {name: pool.running for name, pool in s.pools.items()}),
        "pool",
    ),
    _gauge(
        "pool.waiting",
        "{load}",
        "loads that wait for a slot",
        _by_name(lambda s: {name: pool.waiting for name, pool in s.pools.items()}),
        "pool",
    ),
    _gauge(
        "queue.length",
        "{message}",
        "messages that wait in each inbox",
        _by_name(lambda s: {name: fill for name, (fill, _) in s.health.queues.items()}),
        "queue",
    ),
    _gauge("sessions", "{session}", "sessions that have not ended", _one(_sessions)),
    _gauge("alerts", "{session}", "sessions that an alert stands for", _by_name(_alerts), "alert"),
    _gauge(
        "source.stuck",
        "{load}",
        "loads past their time that have not ended",
        _by_name(lambda s: s.health.stuck_loads),
        "source",
    ),
    _gauge(
        "source.held_off",
        "s",
        "time until a source that keeps failing is tried again",
        _by_name(lambda s: s.health.held_off),
        "source",
    ),
    _counter(
        "actor.restarts",
        "{restart}",
        "restarts of the engine's actors",
        _by_name(lambda s: {actor.name: actor.restarts for actor in s.health.actors}),
        "actor",
    ),
    _counter(
        "dropped",
        "{message}",
        "late results, notices and messages dropped, by what they were",
        _by_name(lambda s: s.counts.dropped),
        "what",
    ),
)
