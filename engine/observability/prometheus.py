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
    """What a registry collects from one engine.

    Args:
        engine: in any state; where it does not run, `prefetch_up` is 0 and counts stand still.
        labels: labels for all its samples, e.g. to tell several engines of a process apart.
        max_age_s: real seconds; scrapes within them share one snapshot.

    Raises:
        ValueError: a label's name is no Prometheus label, or is one of the collector's own.
    """

    def __init__(
        self,
        engine: PrefetchEngine,
        *,
        labels: Mapping[str, str] | None = None,
        max_age_s: float = 0.0,
    ) -> None:
        self._engine = engine
        self._labels = dict(labels or {})
        self._max_age_s = max_age_s
        own = {name for instrument in INSTRUMENTS for name in instrument.attributes}
        for name in self._labels:
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
        snapshot = self._engine.metrics_snapshot(max_age_s=self._max_age_s)
        constant = tuple(self._labels.values())
        for instrument in INSTRUMENTS:
            family = self._family(instrument)
            for values, figure in instrument.read(snapshot):
                family.add_metric((*constant, *values), figure)
            yield family

    def _family(self, instrument: Instrument) -> Any:
        make = CounterMetricFamily if instrument.shape is Shape.COUNTER else GaugeMetricFamily
        labels = (*self._labels, *instrument.attributes)
        return make(metric_name(instrument), instrument.about, labels=labels)
