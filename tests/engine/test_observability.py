"""The metrics snapshot, and what Prometheus and OpenTelemetry make of it: the real libraries."""

import threading
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from prefetch_scheduler.engine import (
    CallableSource,
    MetricsSnapshot,
    Prediction,
    PrefetchEngine,
    ResourceUnavailable,
)
from prefetch_scheduler.engine.observability import snapshot
from prefetch_scheduler.engine.observability.instruments import INSTRUMENTS, Shape
from prefetch_scheduler.engine.observability.otel import Telemetry
from prefetch_scheduler.engine.observability.prometheus import PrefetchCollector, metric_name
from prefetch_scheduler.policies.story import StoryBook
from support.waiting import wait_for


def load(name: str) -> str:
    if name == "gone":
        raise LookupError("no such thing")
    return name * 10


def new_engine() -> PrefetchEngine:
    return PrefetchEngine(sources=[CallableSource("k", load, read_only=True)])


@pytest.fixture
def engine() -> Iterator[PrefetchEngine]:
    with new_engine() as running:
        yield running


def work(engine: PrefetchEngine) -> None:
    """One prefetch that is used, then a hit, a miss and a failure."""
    handle = engine.submit([Prediction("k:ahead", "main_file", 0.95)], context="turn")
    assert handle.wait_immediate(timeout=20)
    for key in ("k:ahead", "k:ahead", "k:demanded"):
        engine.get(key)
    with pytest.raises(ResourceUnavailable):
        engine.get("k:gone")


# ---- the snapshot ------------------------------------------------------------------------------


def test_a_snapshot_has_the_reports_figures_the_pools_and_the_layers(engine: PrefetchEngine):
    work(engine)
    taken = engine.metrics_snapshot()
    assert taken.up
    assert taken.counts.used == 1
    assert taken.counts.reads == 4
    plain = taken.to_dict()
    assert plain["summary"] == engine.total_report().summary()
    assert set(plain["pools"]) == {"p0", "p1", "p2", "p3", "demand"}
    assert all(pool["running"] == pool["waiting"] == 0 for pool in plain["pools"].values())
    assert sum(layer["entries"] for layer in plain["layers"].values()) == 2
    assert plain["sessions_live"] == 1


def test_a_load_under_way_is_seen_in_its_pool():
    release = threading.Event()
    source = CallableSource("slow", lambda _: "x" * release.wait(20), read_only=True)
    with PrefetchEngine({"max_immediate_time_ms": 60_000}, sources=[source]) as engine:
        engine.submit([Prediction("slow:one", "main_file", 0.85)], context="turn")
        wait_for(lambda: engine.metrics_snapshot().pools["p1"].running == 1)
        release.set()
        wait_for(lambda: engine.metrics_snapshot().pools["p1"].running == 0)


def test_a_snapshot_can_be_taken_in_every_state_and_keeps_the_last_counts():
    engine = new_engine()
    before = engine.metrics_snapshot()
    assert (before.up, before.health.state, before.counts.reads) == (False, "failed", 0)
    with engine:
        work(engine)
        assert engine.metrics_snapshot().counts.reads == 4
    after = engine.metrics_snapshot()
    assert (after.up, after.counts.reads) == (False, 4)


def test_those_who_ask_together_share_a_snapshot(engine: PrefetchEngine):
    one = engine.metrics_snapshot()
    assert engine.metrics_snapshot(max_age_s=60.0) is one
    assert engine.metrics_snapshot() is not one


def test_an_actor_that_does_not_answer_costs_a_snapshot_its_figures_and_nobody_else_a_wait(
    monkeypatch: pytest.MonkeyPatch,
):
    entered, release = threading.Event(), threading.Event()

    def hang(*_: object) -> tuple[()]:
        entered.set()
        release.wait(20)
        return ()

    with new_engine() as engine:
        work(engine)
        engine.metrics_snapshot()
        monkeypatch.setattr(StoryBook, "explain", hang)
        monkeypatch.setattr(snapshot, "LIMIT_S", 0.05)
        asker = threading.Thread(target=lambda: engine.explain("k:ahead"), daemon=True)
        asker.start()
        assert entered.wait(20)
        assert engine.get("k:demanded").value == "demanded" * 10  # Metrics hangs; reads do not
        taken = engine.metrics_snapshot()
        assert taken.counts.reads == 4  # those of the snapshot before
        assert set(taken.pools) == {"p0", "p1", "p2", "p3", "demand"}
        release.set()
        asker.join(20)


def test_instruments_are_named_as_opentelemetry_wants_it(engine: PrefetchEngine):
    work(engine)
    snapshot = engine.metrics_snapshot()
    names = [instrument.name for instrument in INSTRUMENTS]
    assert len(set(names)) == len(names)
    for instrument in INSTRUMENTS:
        assert instrument.name == instrument.name.lower()
        assert instrument.about
        for values, figure in instrument.read(snapshot):
            assert len(values) == len(instrument.attributes), instrument.name
            assert figure >= 0


# ---- Prometheus --------------------------------------------------------------------------------


def scraped(registry: CollectorRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_scrapes_the_engines_figures(engine: PrefetchEngine):
    work(engine)
    registry = CollectorRegistry()
    registry.register(PrefetchCollector(engine))
    found = scraped(registry)
    assert found["prefetch_up", ()] == 1
    assert found["prefetch_reads_total", (("result", "hit"),)] == 2
    assert found["prefetch_reads_total", (("result", "miss"),)] == 2
    assert found["prefetch_loads_ahead_total", (("cause", "prediction"),)] == 1
    assert found["prefetch_loads_ahead_ended_total", (("ending", "used"),)] == 1
    assert found["prefetch_hit_rate", ()] == 0.5
    assert found["prefetch_pool_running", (("pool", "p1"),)] == 0
    assert ("prefetch_latency_saved_seconds_total", ()) in found
    assert not any("k:" in value for _, labels in found for _, value in labels)


def test_every_family_has_help_and_type(engine: PrefetchEngine):
    registry = CollectorRegistry()
    registry.register(PrefetchCollector(engine))
    text = generate_latest(registry).decode()
    for instrument in INSTRUMENTS:
        name = metric_name(instrument)
        total = "_total" if instrument.shape is Shape.COUNTER else ""
        assert f"# HELP {name}{total} {instrument.about}\n" in text
        assert f"# TYPE {name}{total} {instrument.shape}\n" in text


def test_several_engines_of_a_process_are_told_apart_by_a_label(engine: PrefetchEngine):
    registry = CollectorRegistry()
    engines = {"one": engine, "two": new_engine()}
    registry.register(PrefetchCollector(engines, labels={"host": "h"}))
    found = scraped(registry)
    assert found["prefetch_up", (("engine", "one"), ("host", "h"))] == 1
    assert found["prefetch_up", (("engine", "two"), ("host", "h"))] == 0
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(PrefetchCollector(engine))


@pytest.mark.parametrize("name", ["result", "engine", "a-b", "", "__x"])
def test_a_label_that_prometheus_would_not_take_is_refused(name: str, engine: PrefetchEngine):
    with pytest.raises(ValueError, match="label"):
        PrefetchCollector({"one": engine}, labels={name: "x"})


def test_registering_asks_the_engine_nothing(monkeypatch: pytest.MonkeyPatch):
    engine = new_engine()

    def asked(**_: object) -> MetricsSnapshot:
        raise AssertionError("asked")

    monkeypatch.setattr(engine, "metrics_snapshot", asked)
    CollectorRegistry(auto_describe=True).register(PrefetchCollector(engine))


# ---- OpenTelemetry -----------------------------------------------------------------------------


class Sdk:
    """The SDK with its in-memory reader and exporter."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider(metric_readers=[self.reader])
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))

    def telemetry(self, engine: PrefetchEngine, **options: bool) -> Telemetry:
        return Telemetry(
            engine,
            meter_provider=self.meters,
            tracer_provider=self.tracers,
            max_age_s=0.0,
            **options,
        )

    def points(self) -> dict[tuple[str, str, tuple[tuple[str, object], ...]], float]:
        data = self.reader.get_metrics_data()
        return {
            (metric.name, metric.unit, tuple(point.attributes.items())): point.value
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
            if not isinstance(point, HistogramDataPoint)
        }

    def durations(self) -> dict[tuple[object, ...], HistogramDataPoint]:
        """The histogram of loads: by cause and error."""
        data = self.reader.get_metrics_data()
        return {
            (point.attributes["prefetch.cause"], point.attributes.get("error.type")): point
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == "prefetch.load.duration"
            for point in metric.data.data_points
        }

    def spans(self) -> dict[str, object]:
        return {
            span.attributes["prefetch.key"]: span for span in self.exporter.get_finished_spans()
        }


@pytest.fixture
def sdk() -> Iterator[Sdk]:
    made = Sdk()
    yield made
    made.meters.shutdown()
    made.tracers.shutdown()


def test_opentelemetry_reads_the_engines_figures(engine: PrefetchEngine, sdk: Sdk):
    with sdk.telemetry(engine):
        work(engine)
        found = sdk.points()
    assert found["prefetch.reads", "{read}", (("prefetch.result", "hit"),)] == 2
    assert found["prefetch.loads.ahead.ended", "{load}", (("prefetch.ending", "used"),)] == 1
    assert found["prefetch.hit_rate", "1", ()] == 0.5
    assert ("prefetch.latency.saved", "s", ()) in found
    assert all(name.startswith("prefetch.") for name, _, _ in found)
    assert not any(":" in str(value) for _, _, items in found for _, value in items)


def test_loads_are_spans_and_hits_are_none(engine: PrefetchEngine, sdk: Sdk):
    with sdk.telemetry(engine):
        work(engine)
        wait_for(lambda: len(sdk.exporter.get_finished_spans()) >= 3)
        engine.get("k:ahead")
        engine.get("k:marker")  # a load after the hits: what they would have made has come by then
        wait_for(lambda: "k:marker" in sdk.spans())
    spans = sdk.spans()
    assert len(sdk.exporter.get_finished_spans()) == 4
    assert set(spans) == {"k:ahead", "k:demanded", "k:gone", "k:marker"}
    ahead, failed = spans["k:ahead"], spans["k:gone"]
    assert ahead.name == "prefetch.load"
    assert ahead.attributes["prefetch.cause"] == "prediction"
    assert ahead.attributes["prefetch.source"] == "k"
    assert ahead.attributes["prefetch.tokens"] > 0
    assert ahead.attributes["gen_ai.conversation.id"] == "default"
    assert ahead.start_time <= ahead.end_time
    assert ahead.parent is None
    assert spans["k:demanded"].attributes["prefetch.cause"] == "demand"
    assert failed.status.status_code is StatusCode.ERROR
    assert "no such thing" in failed.status.description


def test_how_long_loads_take_is_a_histogram(engine: PrefetchEngine, sdk: Sdk):
    with sdk.telemetry(engine):
        work(engine)
        wait_for(lambda: len(sdk.exporter.get_finished_spans()) == 3)
        found = sdk.durations()
    assert {key: point.count for key, point in found.items()} == {
        ("prediction", None): 1,
        ("demand", None): 1,
        ("demand", "ResourceUnavailable"): 1,
    }
    assert all(point.sum >= 0 for point in found.values())
    assert all("prefetch.key" not in point.attributes for point in found.values())


def test_keys_can_be_left_out_of_spans(engine: PrefetchEngine, sdk: Sdk):
    with sdk.telemetry(engine, keys=False):
        engine.get("k:secret")
        wait_for(sdk.exporter.get_finished_spans)
    [span] = sdk.exporter.get_finished_spans()
    assert "prefetch.key" not in span.attributes


def test_closed_telemetry_makes_neither_spans_nor_figures(engine: PrefetchEngine, sdk: Sdk):
    telemetry = sdk.telemetry(engine)
    telemetry.close()
    telemetry.close()
    seen = threading.Event()
    engine.subscribe(lambda _: seen.set())
    engine.get("k:one")
    assert seen.wait(20)
    assert sdk.points() == {}
    assert sdk.exporter.get_finished_spans() == ()


def test_nothing_of_the_sdk_is_needed(engine: PrefetchEngine):
    """With the API alone, as a host without an SDK has it, everything does nothing."""
    with Telemetry(engine):
        engine.get("k:one")
