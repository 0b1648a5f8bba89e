"""The short form of `benchmarks.kills`, and what a fork does to the file of a cold store."""

import os
import sys
import warnings
from pathlib import Path

import pytest

from benchmarks.kills import check
from prefetch_scheduler.engine import CallableSource, PrefetchEngine


@pytest.mark.timeout(120)
def test_a_killed_engine_leaves_whole_entries_and_nothing_wrong() -> None:
    rounds = check(10, longest_s=0.15)
    assert rounds.faults == []
    assert rounds.found["kills"] == 10
    assert rounds.found["entries"] > 0
    assert rounds.found["came back"] > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_touch_the_file_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "cold.sqlite"
    source = CallableSource("doc", lambda name: f"text of {name}", read_only=True, version="v1")
    config = {"cache": {"cold_store": "sqlite", "cold_path": str(path)}}
    with PrefetchEngine(config, sources=[source]) as engine:
        engine.get("doc:a")
        engine.report()
        sys.stdout.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
            child = os.fork()
        if child == 0:
            import gc

            del engine
            gc.collect()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        engine.get("doc:b")
    with PrefetchEngine(config, sources=[source]) as engine:
        assert engine.get("doc:b").value == "text of b"
        assert engine.health().cold_store == "sqlite"
        engine.stop()
    assert not list(tmp_path.glob("*.damaged-*"))
