"""Bad input of every kind: a clear error each time, and nothing that was there before is lost."""

import json
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from prefetch_scheduler.actors.messages import CacheStatusQuery, Drain, PlannerStatusQuery
from prefetch_scheduler.engine import (
    CallableSource,
    Config,
    ConfigError,
    Constraints,
    Content,
    ContextChanged,
    FileChanged,
    FileSource,
    HostBusy,
    HostIdle,
    InvalidPrediction,
    LoadTimeout,
    Prediction,
    PrefetchEngine,
    ProjectSwitched,
    ResourceUnavailable,
    SessionEnded,
    UnknownKind,
    UserLoggedIn,
)
from prefetch_scheduler.engine.cli import main as program
from prefetch_scheduler.policies.config import Execution

WAIT_S = 10.0


@define(eq=False)
class Busy:
    """An engine in the middle of its work: with something of everything that could get lost."""

    engine: PrefetchEngine
    gate: threading.Event
    began: threading.Event

    def state(self) -> dict[str, Any]:
        """All that a bad call must leave as it was."""
        engine = self.engine
        status = engine.actors.planner.ask(PlannerStatusQuery())
        engine.actors.cache.ask(Drain())
        layers = engine.actors.cache.ask(CacheStatusQuery())
        return {
            "read": engine.peek("file:read.py"),
            "unread": engine.peek("file:unread.py"),
            "pinned": layers.pinned.entries,
            "layers": layers,
            "queued": status.queued,
            "running": status.running,
            "flights": status.flights,
            "report": engine.report().to_dict(),
            "health": engine.health().state,
        }


def resident(engine: PrefetchEngine, key: str) -> Content:
    """Wait until a key is resident."""
    there = threading.Event()
    stop = engine.subscribe(lambda event: getattr(event, "key", "") == key and there.set())
    while (content := engine.peek(key)) is None:
        there.wait(0.01)
    stop()
    return content


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    for name in ("read", "unread", "pinned", "queued", "other"):
        (folder / f"{name}.py").write_text(f"# {name}\n")
    (tmp_path / "secret.txt").write_text("outside")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


@pytest.fixture
def busy(root: Path) -> Iterator[Busy]:
    gate, began = threading.Event(), threading.Event()

    def slow(name: str) -> str:
        began.set()
        gate.wait(WAIT_S)
        return f"slow {name}"

    sources = [FileSource(root), CallableSource("slow", slow, read_only=True)]
    with PrefetchEngine(sources=sources) as engine:
        work = Busy(engine, gate, began)
        engine.get("file:read.py")
        resident(engine, "file:read.py")
        engine.get("file:read.py")
        engine.pin("file:pinned.py")
        resident(engine, "file:pinned.py")
        engine.submit([Prediction("file:unread.py", "related_file", 0.85)])
        resident(engine, "file:unread.py")
        engine.trigger(HostBusy())
        handle = engine.submit(
            [
                Prediction("slow:x", "error_context", 0.85),
                Prediction("file:queued.py", "documentation", 0.85),
            ]
        )
        handle.plan()
        assert began.wait(WAIT_S)
        handle.wait_immediate(0.15)  # past its claim to a slot: what runs now runs on
        yield work
        gate.set()
        assert engine.get("slow:x").value == "slow x"
        engine.trigger(HostIdle())
        resident(engine, "file:queued.py")
        summary = engine.report().summary()
        assert (summary["cache_hits"], summary["late_hits"]) == (1, 1)
        assert (summary["cancelled"], summary["failed"], summary["wasted"]) == (0, 0, 0)


MISTYPED = (
    "max_prefetch_tokens",
    "hot_cache_size",
    "enable_batch_fetching",
    "max_prefetch_token",
)


def one(key: str = "file:other.py", role: str = "main_file", confidence: Any = 0.9, **more: Any):
    return [
        Prediction("file:other.py", "main_file", 0.9),
        Prediction(key, role, confidence, **more),
    ]


BAD_CALLS: dict[str, tuple[Callable[[PrefetchEngine], object], type[Exception], str]] = {
    "confidence above 1": (
        lambda e: e.submit(one(confidence=1.01)),
        InvalidPrediction,
        r"predictions\[1\]\.confidence: 1\.01 is not a number in 0\.\.1",
    ),
    "confidence below 0": (
        lambda e: e.submit(one(confidence=-0.1)),
        InvalidPrediction,
        r"predictions\[1\]\.confidence: -0\.1 is not a number in 0\.\.1",
    ),
    "confidence NaN": (
        lambda e: e.submit(one(confidence=math.nan)),
        InvalidPrediction,
        r"predictions\[1\]\.confidence: nan is not a number in 0\.\.1",
    ),
    "confidence of a wrong type": (
        lambda e: e.submit(one(confidence="high")),
        InvalidPrediction,
        r"predictions\[1\]\.confidence: 'high' is not a number in 0\.\.1",
    ),
    "negative tokens": (
        lambda e: e.submit(one(tokens=-1)),
        InvalidPrediction,
        r"predictions\[1\]\.tokens: -1 is not a whole number",
    ),
    "an unknown role": (
        lambda e: e.submit(one(role="king")),
        InvalidPrediction,
        r"predictions\[1\]\.role: 'king' is not a role; allowed: master_file, ",
    ),
    "a negative token budget": (
        lambda e: e.submit(one(), Constraints(token_budget=-5)),
        InvalidPrediction,
        r"constraints\.token_budget: -5 is not",
    ),
    "a negative time budget": (
        lambda e: e.submit(one(), Constraints(time_budget_ms=-5)),
        InvalidPrediction,
        r"constraints\.time_budget_ms: -5 is not",
    ),
    "a negative limit": (
        lambda e: e.submit(one(), Constraints(limits={"task": -5})),
        InvalidPrediction,
        r"constraints\.limits\.task: -5 is not",
    ),
    "a priority that is none": (
        lambda e: e.submit(one(), Constraints(priority_override={"file:a": "P9"})),
        InvalidPrediction,
        r"'P9' is not one of P0\.\.P4",
    ),
    "submit of a key that leaves the root": (
        lambda e: e.submit(one("file:../secret.txt")),
        InvalidPrediction,
        r"predictions\[1\]: key 'file:\.\./secret\.txt': .*root",
    ),
    "get of a key that leaves the root": (
        lambda e: e.get("file:../secret.txt"),
        InvalidPrediction,
        r"key 'file:\.\./secret\.txt': .*root",
    ),
    "get_many with a key that leaves the root": (
        lambda e: e.get_many(["file:read.py", "file:../secret.txt"]),
        InvalidPrediction,
        r"key 'file:\.\./secret\.txt': .*root",
    ),
    "peek of a key that leaves the root": (
        lambda e: e.peek("file:a/../../secret.txt"),
        InvalidPrediction,
        r"key 'file:a/\.\./\.\./secret\.txt': .*root",
    ),
    "pin of a key that leaves the root": (
        lambda e: e.pin("file:/etc/passwd"),
        InvalidPrediction,
        r"key 'file:/etc/passwd': .*root",
    ),
    "unpin of a key that leaves the root": (
        lambda e: e.unpin("file:../secret.txt"),
        InvalidPrediction,
        r"key 'file:\.\./secret\.txt': .*root",
    ),
    "put of a key that leaves the root": (
        lambda e: e.put("file:../secret.txt", "mine"),
        InvalidPrediction,
        r"key 'file:\.\./secret\.txt': .*root",
    ),
    "invalidation of a key that leaves the root": (
        lambda e: e.invalidate("file:../secret.txt"),
        InvalidPrediction,
        r"key 'file:\.\./secret\.txt': .*root",
    ),
    "a change outside the root": (
        lambda e: e.trigger(FileChanged("../secret.txt")),
        InvalidPrediction,
        r"key 'file:\.\./secret\.txt': .*root",
    ),
    "content handed over for a file outside the root": (
        lambda e: e.trigger(FileChanged("../secret.txt", content="mine")),
        InvalidPrediction,
        r"key 'file:\.\./secret\.txt': .*root",
    ),
    "a key without a kind": (
        lambda e: e.get("read.py"),
        InvalidPrediction,
        r"key 'read\.py': expected `kind:name`.* the colon is missing",
    ),
    "a kind that nobody serves": (
        lambda e: e.get("nope:x"),
        UnknownKind,
        r"no source serves the kind 'nope'; kinds served: file, slow",
    ),
    "content of a wrong type": (
        lambda e: e.put("file:other.py", 42),  # type: ignore[arg-type]  # that is the point
        TypeError,
        r"Content\.value must be str or bytes, got int",
    ),
    "an event that is none": (
        lambda e: e.trigger("changed"),  # type: ignore[arg-type]  # that is the point
        TypeError,
        r"takes an event of prefetch_scheduler\.engine, got 'changed'",
    ),
}


def test_every_bad_call_is_a_clear_error_and_loses_nothing(busy: Busy) -> None:
    before = busy.state()
    assert before["read"] is not None
    assert before["unread"] is not None
    assert before["pinned"] == 1
    assert before["flights"] == 2
    for name, (call, error, words) in BAD_CALLS.items():
        with pytest.raises(error, match=words):
            call(busy.engine)
        assert busy.state() == before, name
    assert busy.engine.peek("file:other.py") is None  # what stood beside a fault is not taken


def test_every_fault_of_a_call_is_named(busy: Busy) -> None:
    bad = [
        Prediction("x", "king", 2.0),
        Prediction("file:../secret.txt", "main_file", 0.9),
        Prediction("file:read.py", "main_file", math.inf, load_s=-1),
    ]
    with pytest.raises(InvalidPrediction) as caught:
        busy.engine.submit(bad)
    text = str(caught.value)
    for fault in ("[0]: key 'x'", "[0].role", "[0].confidence", "[2].confidence", "[2].load_s"):
        assert f"predictions{fault}" in text


def test_a_link_that_leaves_the_root_is_not_read(busy: Busy) -> None:
    before = busy.state()
    with pytest.raises(ResourceUnavailable, match=r"link\.txt"):
        busy.engine.get("file:link.txt")
    after = busy.state()
    for name in ("read", "unread", "pinned", "queued", "flights"):
        assert after[name] == before[name], name


# ---- recorded sessions and configurations ----------------------------------------------------


SESSION = {"event": "session", "t": 0.0, "id": "s", "project": "p"}
END = {"event": "end", "t": 9.0}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{not json", "JSON"),
        ('["a", "list"]', "object"),
        ('{"event":"dance","t":1.0}', "dance"),
        ('{"event":"access","t":1.0,"load_s":0.1,"tokens":5}', "key"),
        ('{"event":"access","t":1.0,"key":"file:a","load_s":-1,"tokens":5}', "load_s"),
        ('{"event":"access","t":1.0,"key":"a","load_s":1,"tokens":5}', "colon"),
        ('{"event":"access","t":NaN,"key":"file:a","load_s":1,"tokens":5}', "t"),
        (
            '{"event":"predict","t":1.0,"items":[{"key":"file:a","role":"king","confidence":1}]}',
            "king",
        ),
        (
            '{"event":"predict","t":1.0,"items":[{"key":"file:a","role":"main_file",'
            '"confidence":1.5}]}',
            "confidence",
        ),
    ],
)
def test_a_malformed_session_line_is_named_by_its_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    path = tmp_path / "s.jsonl"
    good = '{"event":"access","t":0.5,"key":"file:a","load_s":0.1,"tokens":5}'
    path.write_text("\n".join((json.dumps(SESSION), good, line, json.dumps(END))) + "\n")
    before = path.read_bytes()
    assert program.main(["replay", str(path), "--speed", "max", "--json"]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert f"{path}:3:" in out.err
    assert words in out.err
    assert "Traceback" not in out.err
    assert path.read_bytes() == before


def test_a_configuration_of_a_wrong_type_is_refused_with_its_place(
    tmp_path: Path, root: Path, busy: Busy
) -> None:
    path = tmp_path / "prefetch.yaml"
    path.write_text(
        "prefetch_scheduler_config:\n"
        "  max_prefetch_tokens: lots\n"
        "  hot_cache_size: -1\n"
        "  enable_batch_fetching: 3\n"
        "  max_prefetch_token: 5\n"
    )
    before = busy.state()
    with pytest.raises(ConfigError) as caught:
        PrefetchEngine(path, sources=[FileSource(root)])
    faults = str(caught.value).splitlines()
    assert len(faults) == 4
    for fault, (line, name) in zip(
        sorted(faults),
        enumerate(
            (
                "max_prefetch_tokens",
                "hot_cache_size",
                "enable_batch_fetching",
                "max_prefetch_token",
            ),
            start=2,
        ),
        strict=True,
    ):
        assert fault.startswith(f"{path}:{line}:")
        assert name in fault
    with pytest.raises(ConfigError, match="max_prefetch_tokens"):
        PrefetchEngine({"max_prefetch_tokens": "lots"}, sources=[FileSource(root)])
    assert busy.state() == before


# ---- sources ---------------------------------------------------------------------------------


def _raises(name: str) -> str:
    raise OSError(f"no {name} today")


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (_raises, "no x today"),
        (lambda _: 42, "int"),
        (lambda _: None, "None"),
        (lambda _: ["a", "list"], "list"),
    ],
    ids=("raises", "int", "None", "list"),
)
def test_a_source_that_raises_or_returns_the_wrong_type_harms_no_other(
    root: Path, load: Callable[[str], Any], words: str
) -> None:
    sources = [FileSource(root), CallableSource("bad", load, read_only=True)]
    with PrefetchEngine(sources=sources) as engine:
        engine.get("file:read.py")
        kept = resident(engine, "file:read.py")
        handle = engine.submit(
            [
                Prediction("bad:y", "main_file", 0.9),
                Prediction("file:other.py", "related_file", 0.85),
            ]
        )
        assert handle.wait_immediate(WAIT_S) is False
        with pytest.raises(ResourceUnavailable, match=words) as caught:
            engine.get("bad:x")
        assert "bad:x" in str(caught.value)
        assert engine.peek("file:read.py") == kept
        assert resident(engine, "file:other.py").value == "# other\n"
        summary = engine.report().summary()
        assert (summary["total_prefetches"], summary["failed"]) == (2, 1)
        assert engine.health().state == "ok"


def test_a_source_that_never_returns_harms_no_other(root: Path) -> None:
    gate = threading.Event()
    hanging = CallableSource("hang", lambda _: gate.wait(60) and "", read_only=True)
    config = Config(execution=Execution(load_timeout_s=0.3, demand_stuck_ms=50))
    try:
        with PrefetchEngine(config, sources=[FileSource(root), hanging]) as engine:
            engine.get("file:read.py")
            kept = resident(engine, "file:read.py")
            handle = engine.submit([Prediction("hang:y", "main_file", 0.9)])
            assert handle.wait_immediate(0.05) is False
            with pytest.raises(LoadTimeout, match=r"hang:x: not loaded within 0\.05 s"):
                engine.get("hang:x", timeout=0.05)
            with pytest.raises(LoadTimeout, match=r"hang:z.*not loaded within 0\.3 s"):
                engine.get("hang:z")
            assert engine.peek("file:read.py") == kept
            assert engine.get("file:other.py").value == "# other\n"
            summary = engine.report().summary()
            assert summary["reads"] == 4
            gate.set()  # let its threads go, so that the engine leaves none behind
    finally:
        gate.set()


class Unhashable(str):
    """A string that code of its own keeps from being a key of a dict."""

    def __hash__(self) -> int:
        raise RuntimeError("no hash")


def test_names_of_a_strange_kind_of_string_are_taken_as_plain_ones() -> None:
    with PrefetchEngine() as engine:
        session = engine.session(Unhashable("s"), project=Unhashable("p"), user=Unhashable("u"))
        assert engine.session("s") is session
        session.trigger(ProjectSwitched(Unhashable("q")))
        session.trigger(ContextChanged(Unhashable("c")))
        session.trigger(UserLoggedIn(Unhashable("v")))
        session.trigger(SessionEnded())
        assert engine.total_report() is not None
        assert all(actor.restarts == 0 for actor in engine.health().actors)
