"""What a monitor answers: figures, reports and stories of one engine, as plain data."""

import os
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from prefetch_scheduler.actors.messages import LatestQuery, ReportQuery
from prefetch_scheduler.engine.monitor.place import PROTOCOL, MonitorError
from prefetch_scheduler.policies.report import Report
from prefetch_scheduler.policies.story import LATEST

if TYPE_CHECKING:
    from prefetch_scheduler.engine.facade import PrefetchEngine

LIMIT_S = 1.0
"""Real seconds that an actor may take to answer."""
SHARED_S = 0.2
"""Real seconds for which those who look on share one snapshot."""
MOST_DECISIONS = 100
MOST_ALERTS = 100
"""Alerts that a status names; it says how many stand."""
MINOR = frozenset({"promoted", "demoted"})
"""Events of stories that are no decisions of the planner, and many."""


class Answers:
    """Answers requests about one engine; each is a mapping with `do` and further fields.

    Args:
        engine: the engine.
        name: what it is called.
    """

    def __init__(self, engine: "PrefetchEngine", name: str) -> None:
        self._engine = engine
        self._name = name
        self._began = time.monotonic()
        self._what: dict[str, tuple[Callable[..., dict[str, Any]], dict[str, type]]] = {
            "hello": (self._hello, {}),
            "status": (self._status, {"decisions": int}),
            "report": (self._report, {"session": str}),
            "explain": (self._explain, {"key": str}),
        }

    def answer(self, request: object) -> dict[str, Any]:
        """The answer to one request.

        Raises:
            MonitorError: it is none that can be answered; says what can.
            PrefetchError: the engine cannot answer it.
        """
        word = request.get("do") if isinstance(request, Mapping) else None
        if not isinstance(request, Mapping) or not isinstance(word, str) or word not in self._what:
            raise MonitorError(f'expected {{"do": one of {", ".join(self._what)}}}')
        do, types = self._what[word]
        fields = {name: value for name, value in request.items() if name != "do"}
        for name, value in fields.items():
            if name not in types:
                allowed = ", ".join(types) or "none"
                raise MonitorError(f"{word}: unknown field {name!r}; allowed: {allowed}")
            if type(value) is not types[name]:
                raise MonitorError(f"{word}: {name}: expected {types[name].__name__}")
        return do(**fields)

    def _hello(self) -> dict[str, Any]:
        return {
            "protocol": PROTOCOL,
            "version": version("prefetch-scheduler"),
            "engine": self._name,
            "process": os.getpid(),
            "running_s": round(time.monotonic() - self._began, 1),
        }

    def _status(self, decisions: int = 20) -> dict[str, Any]:
        snapshot = self._engine.metrics_snapshot(max_age_s=SHARED_S)
        count = min(max(0, decisions), MOST_DECISIONS)
        try:
            latest = self._engine.metrics.ask(LatestQuery(LATEST), timeout=LIMIT_S)
        except Exception:  # noqa: BLE001 - whatever Metrics fails on, the rest is worth showing
            latest = ()
        told = [{"key": key, **_line(line)} for key, line in latest if line.event not in MINOR]
        status = {**self._hello(), **snapshot.to_dict()}
        status["alerts_standing"] = len(status["alerts"])
        del status["alerts"][MOST_ALERTS:]
        return {**status, "decisions": told[-count:] if count else []}

    def _report(self, session: str = "") -> dict[str, Any]:
        report: Report = self._engine._runtime.ask_metrics(ReportQuery(session or None), LIMIT_S)
        counts = report.snapshot.counts
        if session and not (counts.reads or counts.prefetches or self._engine.has_session(session)):
            raise MonitorError(
                f"no session {session!r} is known: none was started, or its figures are forgotten"
            )
        return report.to_dict()

    def _explain(self, key: str = "") -> dict[str, Any]:
        return {"key": key, "story": [_line(line) for line in self._engine.explain(key)]}


def _line(line: Any) -> dict[str, Any]:
    return {
        "at": round(line.at, 3),
        "wall": round(line.wall, 3),
        "event": line.event,
        "reason": line.reason,
        "session": line.session,
    }
