"""Prometheus: an engine's figures as a collector. Extra `prometheus`.

    REGISTRY.register(PrefetchCollector(engine))

A scrape takes a snapshot in the scraper's own thread, and keeps nothing in the engine waiting.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ImportError(
        "PrefetchCollector needs prometheus_client: pip install 'prefetch-scheduler[prometheus]'"
    ) from error

from prefetch_scheduler.engine.facade import PrefetchEngine
from prefetch_scheduler.engine.observability.instruments import (
    INSTRUMENTS,
    PREFIX,
    Instrument,
    Shape,
)

_UNITS = {"s": "seconds", "By": "bytes"}
"""What Prometheus calls the units that it puts into names."""
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def metric_name(instrument: Instrument) -> str:
    """Its name in Prometheus, without the `_total` of counters."""
    name = f"{PREFIX}_{instrument.name.replace('.', '_')}"
    unit = _UNITS.get(instrument.unit)
    return name if unit is None else f"{name}_{unit}"


class PrefetchCollector(Collector):
    """What a registry collects from one engine, or from several.

    Args:
        engine: in any state; where it does not run, `prefetch_up` is 0 and counts stand still. Of
            several, each by a name, which is its label `engine`.
        labels: labels for all its samples.
        max_age_s: real seconds; scrapes within them share one snapshot.

    Raises:
        ValueError: a label's name is no Prometheus label, or is one of the collector's own.
    """

    def __init__(
        self,
        engine: PrefetchEngine | Mapping[str, PrefetchEngine],
        *,
        labels: Mapping[str, str] | None = None,
        max_age_s: float = 0.0,
    ) -> None:
        fixed = dict(labels or {})
        own = {name for instrument in INSTRUMENTS for name in instrument.attributes}
        self._names: tuple[str, ...] = tuple(fixed)
        self._engines: list[tuple[tuple[str, ...], PrefetchEngine]]
        if isinstance(engine, PrefetchEngine):
            self._engines = [(tuple(fixed.values()), engine)]
        else:
            own.add("engine")
            self._names = (*fixed, "engine")
            self._engines = [((*fixed.values(), name), each) for name, each in engine.items()]
        self._max_age_s = max_age_s
        for name in fixed:
            if not _LABEL.fullmatch(name) or name.startswith("__"):
                raise ValueError(f"label {name!r}: expected letters, digits and underscores")
            if name in own:
                raise ValueError(
                    f"label {name!r}: the collector has one of that name; take another"
                )

    def describe(self) -> Iterator[Any]:
        """The families without samples: registering asks the engine nothing."""
        for instrument in INSTRUMENTS:
            yield self._family(instrument)

    def collect(self) -> Iterator[Any]:
        """The families with their samples of now."""
        taken = [
            (values, engine.metrics_snapshot(max_age_s=self._max_age_s))
            for values, engine in self._engines
        ]
        for instrument in INSTRUMENTS:
            family = self._family(instrument)
            for constant, snapshot in taken:
                for values, figure in instrument.read(snapshot):
                    family.add_metric((*constant, *values), figure)
            yield family

    def _family(self, instrument: Instrument) -> Any:
        make = CounterMetricFamily if instrument.shape is Shape.COUNTER else GaugeMetricFamily
        labels = (*self._names, *instrument.attributes)
        return make(metric_name(instrument), instrument.about, labels=labels)
