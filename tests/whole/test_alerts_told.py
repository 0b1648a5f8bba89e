"""When subscribers are told of alerts: once one has stood for a moment."""

import threading
from pathlib import Path

import pytest

from prefetch_scheduler.actors import metrics
from prefetch_scheduler.actors.messages import Submit
from prefetch_scheduler.engine import (
    AlertCleared,
    AlertRaised,
    Constraints,
    FileSource,
    InvalidPrediction,
    PrefetchEngine,
)


def test_hits_that_are_counted_after_a_miss_raise_no_false_alert(tmp_path: Path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    told: list[object] = []
    with PrefetchEngine(sources=[FileSource(tmp_path)]) as engine:
        engine.subscribe(told.append)
        engine.put("file:a", "a")
        for _ in range(5):
            engine.get("file:a")
        engine.get("file:b")
        assert engine.report().summary()["hit_rate"] == 0.83
        assert engine.metrics.ask(metrics.AlertsQuery()) == {}
    assert not any(isinstance(event, AlertRaised | AlertCleared) for event in told)


def test_an_alert_that_stands_is_told_and_so_is_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(metrics, "HOLD_S", 0.01)
    (tmp_path / "a").write_text("a")
    raised, cleared = threading.Event(), threading.Event()

    def see(event: object) -> None:
        if isinstance(event, AlertRaised):
            raised.set()
        if isinstance(event, AlertCleared):
            cleared.set()

    with PrefetchEngine(sources=[FileSource(tmp_path)]) as engine:
        engine.subscribe(see)
        engine.get("file:a")
        assert raised.wait(10)
        while not cleared.is_set():
            engine.get("file:a")
            engine.report()


def test_constraints_with_faults_are_refused_where_the_message_is_made():
    assert Submit("s", (), Constraints(token_budget=5)).terms.token_budget == 5
    for terms in (Constraints(urgency="hgih"), {"token_budget": 5}):
        with pytest.raises(InvalidPrediction):
            Submit("s", (), terms)  # type: ignore[arg-type]  # what is refused
