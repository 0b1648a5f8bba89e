"""What was learned, over a restart: kept beside the cold store, and set aside where damaged."""

import json
import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from prefetch_scheduler.engine import (
    CallableSource,
    Prediction,
    PrefetchEngine,
    SessionEnded,
    learned_store,
)
from prefetch_scheduler.engine.learned_file import FORMAT, SUFFIX, VERSION, fingerprint
from support.waiting import wait_for


def load(name: str) -> str:
    return f"content of {name}"


def engine(folder: Path) -> PrefetchEngine:
    rules = {"cold_store": "sqlite", "cold_path": str(folder / "cold.sqlite")}
    return PrefetchEngine({"cache": rules}, sources=[CallableSource("doc", load, read_only=True)])


def learn(running: PrefetchEngine, sessions: int = 12) -> None:
    for number in range(sessions):
        session = running.session(f"s{number}", project="secret-project")
        wanted = [Prediction(f"doc:secret-{number}-{n}", "related_file", 0.8) for n in range(5)]
        session.submit(wanted).plan(timeout=5)
        session.get(f"doc:secret-{number}-1")
        session.trigger(SessionEnded())


def kept(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / f"cold.sqlite{SUFFIX}").read_text()))


def outcomes(running: PrefetchEngine) -> int:
    report = running.total_report().to_dict()["prefetch_report"]
    return sum(row["count"] for row in report["speculation"]["reliability"])


def test_an_engine_knows_after_a_restart_what_it_had_learned(tmp_path: Path) -> None:
    with engine(tmp_path) as first:
        learn(first)
        known = outcomes(first)
    assert known == 60
    file = tmp_path / f"cold.sqlite{SUFFIX}"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "secret" not in file.read_text()
    with engine(tmp_path) as second:
        plan = second.submit([Prediction("doc:new", "related_file", 0.8)]).plan(timeout=5)
        assert plan.items[0].candidate.worth is not None  # thresholds do not decide any more
        second.session("one-more").trigger(SessionEnded())
        assert outcomes(second) == known
    assert not [name for name in os.listdir(tmp_path) if "damaged" in name or name.endswith(".new")]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda _: "",
        lambda _: "\x00\xff",
        lambda text: text.replace(f'"version":{VERSION}', f'"version":{VERSION + 1}'),
        lambda text: text.replace(FORMAT, "another program's"),
        lambda text: text.replace('"lead":[', '"lead":[-7,'),
        lambda _: "[" * 100_000,
        lambda text: text.replace('"lead":[', '"lead":[NaN,'),
    ],
)
def test_a_file_that_cannot_be_used_is_set_aside_with_a_warning(
    tmp_path: Path, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with engine(tmp_path) as first:
        learn(first, 2)
    file = tmp_path / f"cold.sqlite{SUFFIX}"
    damaged = damage(file.read_text())
    assert damaged != file.read_text()
    file.write_text(damaged)
    with caplog.at_level(logging.WARNING), engine(tmp_path) as second:
        assert second.get("doc:a").value == "content of a"
        learn(second, 1)
    (aside,) = [name for name in os.listdir(tmp_path) if "damaged" in name]
    assert (tmp_path / aside).read_text() == damaged
    assert [r for r in caplog.records if aside in r.getMessage()]
    assert kept(tmp_path)["version"] == VERSION


def test_a_folder_in_its_place_is_set_aside_too_and_one_that_cannot_be_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / f"cold.sqlite{SUFFIX}"
    file.mkdir()
    with engine(tmp_path) as first:
        learn(first, 1)
    assert file.is_file()
    file.write_text("not ours")

    def refuse(path: str) -> str:
        raise PermissionError(f"{path}: read-only")

    monkeypatch.setattr(learned_store.learned_file, "set_aside", refuse)
    with caplog.at_level(logging.WARNING), engine(tmp_path) as second:
        learn(second, 1)
    assert file.read_text() == "not ours"
    assert "is not kept" in caplog.text


def test_it_is_written_from_time_to_time_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned_store, "EVERY_S", 0.02)
    file = tmp_path / f"cold.sqlite{SUFFIX}"
    with engine(tmp_path) as running:
        learn(running, 3)
        wait_for(file.exists)
        assert kept(tmp_path)["format"] == FORMAT


def test_sources_that_are_gone_are_forgotten_and_others_keep_their_own(tmp_path: Path) -> None:
    with engine(tmp_path) as first:
        learn(first)
    rules = {"cold_store": "sqlite", "cold_path": str(tmp_path / "cold.sqlite")}
    other = CallableSource("note", load, read_only=True)
    mine = CallableSource("doc", load, read_only=True)
    with PrefetchEngine({"cache": rules}, sources=[other, mine]) as second:
        plan = second.submit(
            [
                Prediction("doc:new", "related_file", 0.8),
                Prediction("note:new", "related_file", 0.8),
            ]
        ).plan(timeout=5)
        weighed = {item.key: item.candidate.worth is not None for item in plan.items}
    assert weighed == {"doc:new": True, "note:new": False}


def test_an_engine_without_a_cold_store_writes_nothing(tmp_path: Path) -> None:
    before = set(os.listdir("."))
    with PrefetchEngine(sources=[CallableSource("doc", load, read_only=True)]) as running:
        learn(running, 1)
    assert set(os.listdir(".")) == before


def test_names_of_sources_tell_nothing_of_them() -> None:
    assert fingerprint("doc", "a") != fingerprint("doc", "b") != fingerprint("file", "b")
    assert "secret" not in fingerprint("doc", "secret")
