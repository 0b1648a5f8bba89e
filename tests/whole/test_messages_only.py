"""The main job driven by messages alone: no facade, no session object, only the four addresses."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefetch_scheduler.actors.kept import refuse
from prefetch_scheduler.actors.messages import (
    AlertsQuery,
    Answer,
    CacheStatusQuery,
    CancelPlan,
    ContextChanged,
    Demand,
    Drain,
    ExportQuery,
    HealthQuery,
    HostBusy,
    HostIdle,
    Invalidate,
    PinKey,
    PlannerStatusQuery,
    ProjectSwitched,
    ReportQuery,
    SessionEnded,
    SessionStarted,
    StoryQuery,
    Submit,
    UnpinKey,
    UserLoggedIn,
)
from prefetch_scheduler.engine import Content, FileSource, Prediction, SkillSource
from prefetch_scheduler.engine.runtime import Runtime
from prefetch_scheduler.engine.sources.registry import SourceRegistry
from prefetch_scheduler.policies.config import MAX_PINS, Config, Prefill
from prefetch_scheduler.policies.errors import (
    EngineStopped,
    InvalidPrediction,
    PrefetchError,
    ResourceUnavailable,
    UnknownKind,
)
from prefetch_scheduler.policies.prediction import Terms
from prefetch_scheduler.policies.vocabulary import Lane, Reason

SKILL = (
    "---\nname: systematic\ndescription: find the cause first\n---\n\n# Steps\n\nRead the error.\n"
)
CONFIG = Config(
    prefill=Prefill(project_switch={"shop": ("file:e.py",)}, user_login={"ann": ("file:f.py",)})
)


class Ticket:
    """What a host that wants to know when its urgent items are there sends along."""

    def __init__(self) -> None:
        self.plan: Any = None
        self.immediate: bool | None = None
        self.done = threading.Event()

    def plan_made(self, plan: Any) -> None:
        self.plan = plan

    def immediate_done(self, ok: bool) -> None:
        self.immediate = ok
        self.done.set()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = tmp_path / "files"
    files.mkdir()
    for name in "abcdefghijklmn":
        (files / f"{name}.py").write_text(f"# {name}\n" * 20)
    skill = tmp_path / "skills" / "debugging" / "systematic"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text(SKILL)
    return files


@pytest.fixture
def actors(root: Path) -> Iterator[Runtime]:
    """The actors of an engine. Of the runtime only its addresses are used."""
    registry = SourceRegistry([FileSource(root), SkillSource(root.parent / "skills")])
    runtime = Runtime(CONFIG, registry)
    runtime.start()
    yield runtime
    assert runtime.stop(5.0) == ()


def submit(actors: Runtime, *keys: str, role: str = "main_file", **more: Any) -> Any:
    wanted = tuple(Prediction(key, role, 0.9) for key in keys)
    return actors.planner.ask(Submit("agent", wanted, **more))


def read(actors: Runtime, key: str, session: str = "agent") -> Content:
    answer = actors.planner.ask(Demand(session, key))
    assert isinstance(answer, Answer)
    return answer.content


def settled(actors: Runtime) -> None:
    """Wait until nothing is under way and all that was read has been counted."""
    while True:
        status = actors.planner.ask(PlannerStatusQuery())
        if not (status.flights or status.pending):
            break
    actors.cache.ask(Drain())
    actors.planner.ask(PlannerStatusQuery())


def summary(actors: Runtime, session: str | None = "agent") -> dict[str, Any]:
    settled(actors)
    figures: dict[str, Any] = actors.metrics.ask(ReportQuery(session)).summary()
    return figures


def test_predictions_in_loads_ahead_reads_and_a_report(actors: Runtime) -> None:
    actors.planner.tell(SessionStarted("agent", project="p", user="ann"))
    actors.planner.tell(ContextChanged("agent", "turn 1"))
    plan = submit(actors, "file:a.py", "skill:debugging/systematic", "none:x")
    lanes = {item.key: (item.lane, item.reason) for item in plan.items}
    assert lanes["file:a.py"] == (Lane.IMMEDIATE, Reason.PLANNED)
    assert lanes["none:x"] == (Lane.SKIPPED, Reason.NO_SOURCE)
    settled(actors)
    assert read(actors, "file:a.py").value == "# a\n" * 20  # resident
    assert "# Steps" in str(read(actors, "skill:debugging/systematic").value)
    assert read(actors, "file:b.py").value == "# b\n" * 20  # not resident
    assert read(actors, "file:b.py").value == "# b\n" * 20
    report = summary(actors)
    assert report["total_prefetches"] == report["used"] == 2
    assert report["reads"] == 4
    assert (report["cache_hits"], report["cache_misses"]) == (3, 1)
    assert report["tokens_prefetched"] == report["tokens_used"] > 0
    total = summary(actors, None)
    assert total["reads"] == 4
    story = [line.event for line in actors.metrics.ask(StoryQuery("file:a.py"))]
    assert any("planned" in event for event in story)
    assert actors.metrics.ask(ExportQuery("agent")).counts.hits == 3
    assert actors.metrics.ask(AlertsQuery()) == {}
    health = actors.system.supervisor.ask(HealthQuery())
    assert health.state == "ok"
    assert {child.name for child in health.children} >= {"planner", "cache", "metrics"}


def test_a_ticket_is_told_of_the_plan_and_of_its_urgent_items(actors: Runtime) -> None:
    ticket = Ticket()
    wanted = (Prediction("file:a.py", "main_file", 0.9),)
    actors.planner.tell(Submit("agent", wanted, ticket=ticket))
    assert ticket.done.wait(5)
    assert ticket.immediate is True
    assert [item.key for item in ticket.plan.items] == ["file:a.py"]


def test_a_submit_is_taken_back_by_its_ticket(actors: Runtime) -> None:
    actors.planner.tell(HostBusy())
    ticket = Ticket()
    wanted = (Prediction("file:a.py", "documentation", 0.85),)
    actors.planner.tell(Submit("agent", wanted, ticket=ticket))
    actors.planner.ask(PlannerStatusQuery())
    actors.planner.tell(CancelPlan(ticket))
    actors.planner.tell(HostIdle())
    assert summary(actors)["total_prefetches"] == 0
    assert actors.view.entries == {}


def test_a_change_of_context_drops_what_is_queued_of_the_old_one(actors: Runtime) -> None:
    actors.planner.tell(HostBusy())
    submit(actors, "file:a.py", "file:b.py", role="documentation", context="one")
    assert actors.planner.ask(PlannerStatusQuery()).flights == 2
    submit(actors, "file:b.py", role="documentation", context="two")
    assert actors.planner.ask(PlannerStatusQuery()).flights == 1
    actors.planner.tell(HostIdle())
    assert summary(actors)["total_prefetches"] == 1
    assert set(actors.view.entries) == {"file:b.py"}


def test_once_an_invalidation_is_answered_nobody_gets_the_old_content(
    actors: Runtime, root: Path
) -> None:
    assert read(actors, "file:a.py").value == "# a\n" * 20
    settled(actors)
    (root / "a.py").write_text("new")
    actors.cache.ask(Invalidate("file:a.py"))
    assert read(actors, "file:a.py").value == "new"
    settled(actors)
    actors.cache.ask(Invalidate("file:*"))
    settled(actors)
    read(actors, "file:a.py")
    assert actors.cache.ask(CacheStatusQuery()).hot.entries == 1


def test_content_can_be_handed_over(actors: Runtime) -> None:
    actors.cache.ask(Invalidate("file:new.py", content=Content("mine", tokens=1)))
    assert read(actors, "file:new.py").value == "mine"
    assert summary(actors)["cache_hits"] == 1


def test_pins_prefill_and_the_end_of_a_session(actors: Runtime) -> None:
    actors.planner.tell(SessionStarted("agent"))
    actors.planner.ask(PinKey("agent", "file:a.py"))
    actors.planner.tell(ProjectSwitched("agent", "shop"))
    actors.planner.tell(UserLoggedIn("agent", "ann"))
    settled(actors)
    assert set(actors.view.entries) == {"file:a.py", "file:e.py", "file:f.py"}
    assert actors.cache.ask(CacheStatusQuery()).pinned.entries == 1
    actors.planner.tell(UnpinKey("agent", "file:a.py"))
    actors.planner.tell(SessionEnded("agent"))
    report = summary(actors)
    assert (report["total_prefetches"], report["wasted"], report["open"]) == (3, 3, 0)
    assert actors.cache.ask(CacheStatusQuery()).pinned.entries == 0


def test_what_cannot_be_had_is_answered_with_the_error(actors: Runtime) -> None:
    with pytest.raises(ResourceUnavailable, match=r"nope\.py"):
        read(actors, "file:nope.py")
    with pytest.raises(UnknownKind, match="file, skill"):
        read(actors, "none:x")
    with pytest.raises(InvalidPrediction, match="colon is missing"):
        read(actors, "a.py")
    with pytest.raises(InvalidPrediction, match="not a role"):
        submit(actors, "file:a.py", role="king")
    assert actors.system.supervisor.ask(HealthQuery()).state == "ok"
    assert read(actors, "file:a.py").value == "# a\n" * 20


def test_a_pin_too_many_is_refused_whether_it_was_asked_or_told(actors: Runtime) -> None:
    for name in "abcdefghij"[:MAX_PINS]:
        actors.planner.ask(PinKey("agent", f"file:{name}.py"))
    with pytest.raises(PrefetchError, match="10 pins already"):
        actors.planner.ask(PinKey("agent", "file:k.py"))
    actors.planner.tell(PinKey("agent", "file:k.py"))
    settled(actors)
    assert len(actors.view.entries) == MAX_PINS
    health = actors.system.supervisor.ask(HealthQuery())
    assert health.state == "ok"
    assert all(child.restarts == 0 for child in health.children)


def test_what_nobody_waits_for_harms_nobody(actors: Runtime) -> None:
    """A message that is told, with no ticket to answer to, is carried out all the same."""
    actors.planner.tell(Demand("agent", "file:a.py"))
    actors.planner.tell(Demand("agent", "file:nope.py"))
    actors.planner.tell(Demand("agent", "none:x"))
    actors.planner.tell(Submit("agent", (Prediction("file:b.py", "main_file", 0.9),), Terms()))
    settled(actors)
    assert set(actors.view.entries) == {"file:a.py", "file:b.py"}
    health = actors.system.supervisor.ask(HealthQuery())
    assert all(child.restarts == 0 for child in health.children)


def test_an_ask_after_the_end_raises_and_never_hangs(root: Path) -> None:
    runtime = Runtime(Config(), SourceRegistry([FileSource(root)]))
    runtime.start()
    runtime.stop(5.0)
    for address, message in (
        (runtime.planner, Demand("agent", "file:a.py")),
        (runtime.cache, CacheStatusQuery()),
        (runtime.metrics, ReportQuery()),
        (runtime.system.supervisor, HealthQuery()),
    ):
        with pytest.raises(EngineStopped):
            address.ask(message)
        assert address.tell(message) is False


def test_a_ticket_of_two_methods_is_told_when_its_submit_will_never_be_planned() -> None:
    ticket = Ticket()
    refuse(Submit("s", (), ticket=ticket), EngineStopped("over"))
    assert ticket.immediate is False
    assert ticket.done.is_set()
