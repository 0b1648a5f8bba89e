"""OpenTelemetry: an engine's figures as observable instruments, its loads as spans. Extra `otel`.

    telemetry = Telemetry(engine)      # the global providers, or those that are given
    ...
    telemetry.close()

It needs the API only; the host chooses and configures the SDK. The engine makes no call into it:
figures are read where the reader asks for them; spans, and the histogram of how long loads take,
are made in a subscriber's thread, after the load. What is served from the cache loads nothing, and
so has no span.
"""

from collections.abc import Callable, Iterator
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

try:
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider
except ImportError as error:
    raise ImportError(
        "Telemetry needs opentelemetry-api: pip install 'prefetch-scheduler[otel]'"
    ) from error

from prefetch_scheduler.engine.facade import PrefetchEngine
from prefetch_scheduler.engine.observability.instruments import (
    INSTRUMENTS,
    PREFIX,
    Instrument,
    Shape,
)
from prefetch_scheduler.policies.planner_events import ResourceFailed, ResourceLoaded

SCOPE = "prefetch_scheduler"
SPAN = f"{PREFIX}.load"
DURATION = f"{PREFIX}.load.duration"
_NS = 1_000_000_000


class Telemetry:
    """Bridges one engine to OpenTelemetry until it is closed.

    Args:
        engine: in any state; where it does not run, `prefetch.up` is 0 and counts stand still.
        meter_provider: None: the global one.
        tracer_provider: None: the global one.
        keys: whether spans name the keys that were loaded; metrics never do.
        max_age_s: real seconds; instruments that are read within them share one snapshot.
    """

    def __init__(
        self,
        engine: PrefetchEngine,
        *,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
        keys: bool = True,
        max_age_s: float = 0.5,
    ) -> None:
        self._engine = engine
        self._keys = keys
        self._max_age_s = max_age_s
        self._open = True
        release = version("prefetch-scheduler")
        meter = metrics.get_meter(SCOPE, release, meter_provider=meter_provider)
        self._tracer = trace.get_tracer(SCOPE, release, tracer_provider=tracer_provider)
        for instrument in INSTRUMENTS:
            make = (
                meter.create_observable_counter
                if instrument.shape is Shape.COUNTER
                else meter.create_observable_gauge
            )
            make(
                f"{PREFIX}.{instrument.name}",
                callbacks=[self._reader(instrument)],
                unit=instrument.unit,
                description=instrument.about,
            )
        self._durations = meter.create_histogram(
            DURATION, unit="s", description="how long sources take, by source, cause and error"
        )
        self._unsubscribe = engine.subscribe(self._on_event)

    def close(self) -> None:
        """No further spans or figures. OpenTelemetry itself cannot take instruments back."""
        self._open = False
        self._unsubscribe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---- figures -----------------------------------------------------------------------------

    def _reader(self, instrument: Instrument) -> Callable[[CallbackOptions], Iterator[Observation]]:
        names = tuple(f"{PREFIX}.{name}" for name in instrument.attributes)

        def read(_options: CallbackOptions) -> Iterator[Observation]:
            if not self._open:
                return
            snapshot = self._engine.metrics_snapshot(max_age_s=self._max_age_s)
            for values, figure in instrument.read(snapshot):
                yield Observation(figure, dict(zip(names, values, strict=True)))

        return read

    # ---- spans -------------------------------------------------------------------------------

    def _on_event(self, event: Any) -> None:
        if not self._open or not isinstance(event, ResourceLoaded | ResourceFailed):
            return
        told: dict[str, str] = {
            "prefetch.source": event.source,
            "prefetch.cause": str(event.cause),
        }
        if isinstance(event, ResourceFailed):
            told["error.type"] = "ResourceUnavailable"
        self._durations.record(event.load_s, told)
        attributes: dict[str, str | int] = {**told, "gen_ai.conversation.id": event.session}
        if self._keys:
            attributes["prefetch.key"] = event.key
        if isinstance(event, ResourceLoaded):
            attributes["prefetch.tokens"] = event.tokens
        ended = round(event.wall * _NS)
        # A root of its own: a load ahead belongs to no request, and is often wanted by several.
        span = self._tracer.start_span(
            SPAN,
            context=trace.set_span_in_context(trace.INVALID_SPAN),
            kind=SpanKind.INTERNAL,
            attributes=attributes,
            start_time=ended - round(event.load_s * _NS),
        )
        if isinstance(event, ResourceFailed):
            span.set_status(Status(StatusCode.ERROR, event.error))
        span.end(end_time=ended)
