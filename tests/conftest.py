"""Invariants that hold after every test, whatever it tested."""

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pykka
import pytest

# How long an example takes is the machine's affair: figures are in the benchmarks.
hypothesis.settings.register_profile(
    "suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--whole-recordings", action="store_true", help="replay recordings to their last session"
    )


PREFIX = "prefetch-"
PATIENCE_S = 3.0


def _engine_threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith(PREFIX)}


def _engine_files() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No actor registered, no thread of an engine alive, no temporary file of one left."""
    threads, files = _engine_threads(), _engine_files()
    yield
    end = time.monotonic() + PATIENCE_S
    for thread in _engine_threads() - threads:
        thread.join(max(0.0, end - time.monotonic()))
    left = sorted(t.name for t in _engine_threads() - threads)
    assert not left, f"threads left behind: {left}"
    registered = pykka.ActorRegistry.get_all()
    assert not registered, f"actors left registered: {registered}"
    new_files = _engine_files() - files
    assert not new_files, f"temporary files left behind: {sorted(new_files)}"
