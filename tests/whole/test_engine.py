"""The facade on real files and real threads."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefetch_scheduler.actors.messages import Demand
from prefetch_scheduler.actors.reply import ActorCrashed, AskTimeout, SyncReply
from prefetch_scheduler.engine import (
    CallableSource,
    Config,
    Constraints,
    Content,
    EngineStopped,
    FileChanged,
    FileSource,
    FollowUp,
    InvalidPrediction,
    Lane,
    LoadTimeout,
    Prediction,
    PrefetchEngine,
    PrefetchError,
    Priority,
    Reason,
    ResourceUnavailable,
    SessionEnded,
    SessionStarted,
    UnknownKind,
    UserLoggedIn,
)
from prefetch_scheduler.policies.config import Execution, Prefill


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in "abcdef":
        (tmp_path / f"{name}.py").write_text(f"# {name}\n" * 20)
    return tmp_path


@pytest.fixture
def engine(root: Path) -> Iterator[PrefetchEngine]:
    with PrefetchEngine(sources=[FileSource(root)]) as running:
        yield running


def main_file(key: str) -> Prediction:
    return Prediction(key, "main_file", 0.85)


def until(engine: PrefetchEngine, key: str) -> Content:
    """Wait for a prefetch of that key to be resident, by the engine's own event."""
    there = threading.Event()
    stop = engine.subscribe(lambda event: getattr(event, "key", "") == key and there.set())
    while engine.peek(key) is None:
        there.wait(0.05)
    stop()
    content = engine.peek(key)
    assert content is not None
    return content


def test_what_was_predicted_is_resident_and_its_read_is_a_hit(engine: PrefetchEngine):
    handle = engine.submit([main_file("file:a.py")])
    assert handle.wait_immediate(timeout=5) is True
    content = engine.get("file:a.py")
    assert content.value == "# a\n" * 20
    assert (content.key, content.source, content.layer) == ("file:a.py", "file", "warm")
    summary = engine.report().summary()
    assert (summary["cache_hits"], summary["used"], summary["total_prefetches"]) == (1, 1, 1)


def test_a_read_without_a_prediction_loads_and_then_hits(engine: PrefetchEngine):
    first = engine.get("file:./b.py")
    assert first.key == "file:b.py"
    assert until(engine, "file:b.py").layer == "hot"
    engine.get("file:b.py")
    summary = engine.report().summary()
    assert (summary["cache_hits"], summary["cache_misses"]) == (1, 1)


def test_an_edit_is_seen_by_the_next_read_without_being_told(engine: PrefetchEngine, root: Path):
    engine.get("file:a.py")
    (root / "a.py").write_text("new")
    assert engine.get("file:a.py").value == "new"
    (root / "a.py").unlink()
    with pytest.raises(ResourceUnavailable, match=r"a\.py"):
        engine.get("file:a.py")


def test_a_change_that_is_triggered_is_never_served_stale(root: Path):
    stock = {"x": "old"}
    source = CallableSource("db", lambda name: stock[name], read_only=True)
    with PrefetchEngine(sources=[source]) as engine:
        assert engine.get("db:x").value == "old"
        stock["x"] = "new"
        engine.invalidate("db:x")
        assert engine.peek("db:x") is None
        assert engine.get("db:x").value == "new"
        stock["x"] = "newer"
        engine.invalidate("db:*")
        assert engine.get("db:x").value == "newer"


def test_content_handed_over_is_what_the_next_read_gets(engine: PrefetchEngine, root: Path):
    engine.get("file:a.py")
    (root / "a.py").write_text("mine")
    engine.trigger(FileChanged("a.py", content="mine"))
    peeked = engine.peek("file:a.py")
    assert peeked is not None
    assert peeked.value == "mine"
    assert engine.get("file:a.py").value == "mine"


def test_content_handed_over_that_is_not_what_is_on_disk_is_not_served(
    engine: PrefetchEngine, root: Path
):
    engine.put("file:a.py", "a lie")
    assert engine.get("file:a.py").value == "# a\n" * 20


def test_many_resources_are_read_in_order(engine: PrefetchEngine):
    contents = engine.get_many([f"file:{n}.py" for n in "cab"])
    assert [c.key for c in contents] == ["file:c.py", "file:a.py", "file:b.py"]
    with pytest.raises(ResourceUnavailable):
        engine.get_many(["file:a.py", "file:nope.py"])


def test_peek_counts_nothing_and_loads_nothing(engine: PrefetchEngine):
    assert engine.peek("file:a.py") is None
    assert engine.report().summary()["reads"] == 0


# ---- asyncio ---------------------------------------------------------------------------------


def test_the_same_from_a_coroutine(root: Path):
    async def main() -> None:
        async with PrefetchEngine(sources=[FileSource(root)]) as engine:
            handle = engine.submit([main_file("file:a.py")])
            assert await handle.await_immediate(5) is True
            assert (await engine.aget("file:a.py")).value.startswith("# a")
            several = await engine.aget_many(["file:b.py", "file:c.py"])
            assert [c.key for c in several] == ["file:b.py", "file:c.py"]

    asyncio.run(main())


def test_a_get_that_would_block_the_event_loop_raises_and_names_aget(root: Path):
    async def main() -> None:
        async with PrefetchEngine(sources=[FileSource(root)]) as engine:
            with pytest.raises(PrefetchError, match="aget"):
                engine.get("file:a.py")
            await engine.aget("file:a.py")
            while engine.peek("file:a.py") is None:
                await asyncio.sleep(0)
            assert engine.get("file:a.py").value  # a hit does not wait

    asyncio.run(main())


def test_awaiting_a_slow_load_lets_the_loop_go_on(root: Path):
    gate = threading.Event()
    source = CallableSource("slow", lambda name: gate.wait(10) and name, read_only=True)

    async def main() -> int:
        async with PrefetchEngine(sources=[source]) as engine:
            task = asyncio.create_task(engine.aget("slow:x"))
            turns = 0
            while turns < 50:
                await asyncio.sleep(0)
                turns += 1
            assert not task.done()
            gate.set()
            assert (await task).value == "x"
            return turns

    assert asyncio.run(main()) == 50


def test_a_cancelled_aget_leaves_the_engine_well():
    gate = threading.Event()
    source = CallableSource("slow", lambda name: gate.wait(10) and name, read_only=True)

    async def main() -> None:
        async with PrefetchEngine(sources=[source]) as engine:
            task = asyncio.create_task(engine.aget("slow:x"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.set()
            assert (await engine.aget("slow:x")).value == "x"

    asyncio.run(main())


# ---- sessions --------------------------------------------------------------------------------


def test_sessions_have_reports_of_their_own_and_share_content(engine: PrefetchEngine):
    one, two = engine.session("one"), engine.session("two")
    assert engine.session("one") is one
    one.get("file:a.py")
    until(engine, "file:a.py")
    two.get("file:a.py")
    assert one.report().summary()["cache_misses"] == 1
    assert two.report().summary()["cache_hits"] == 1
    assert engine.report().summary()["reads"] == 0
    assert engine.total_report().summary()["reads"] == 2


def test_private_content_is_kept_apart_by_user():
    calls: list[str] = []

    def load(name: str) -> str:
        calls.append(name)
        return f"{name} {len(calls)}"

    source = CallableSource("mail", load, read_only=True, private=True)
    with PrefetchEngine(sources=[source]) as engine:
        ann, bob = engine.session("1", user="ann"), engine.session("2", user="bob")
        assert ann.get("mail:inbox").value == "inbox 1"
        assert bob.get("mail:inbox").value == "inbox 2"
        until_resident(lambda: ann.peek("mail:inbox"))
        assert ann.get("mail:inbox").value == "inbox 1"
        bob.trigger(UserLoggedIn("ann"))
        assert bob.get("mail:inbox").value == "inbox 1"


def until_resident(look) -> None:  # type: ignore[no-untyped-def]  # any function
    deadline = time.monotonic() + 10
    while look() is None:
        assert time.monotonic() < deadline


def test_a_session_that_ended_may_begin_again(engine: PrefetchEngine):
    engine.session("x").submit([main_file("file:a.py")]).wait_immediate(5)
    engine.session("x").trigger(SessionEnded())
    engine.total_report()  # all that was told before has been counted now
    again = engine.session("x")
    again.get("file:a.py")
    assert again.report().summary()["reads"] == 1
    assert engine.total_report().summary()["wasted"] == 1


def test_pins_and_prefill_are_loaded_when_a_session_starts(root: Path):
    config = Config(
        pins=("file:a.py",),
        prefill=Prefill(session_start=("file:b.py",), user_login={"ann": ("file:c.py",)}),
    )
    with PrefetchEngine(config, sources=[FileSource(root)]) as engine:
        assert until(engine, "file:a.py").layer == "hot"
        until(engine, "file:b.py")
        engine.trigger(UserLoggedIn("ann"))
        until(engine, "file:c.py")


def test_what_earlier_sessions_of_a_project_read_is_prefilled(engine: PrefetchEngine):
    first = engine.session("first", project="p")
    first.get("file:d.py")
    first.report()
    engine.invalidate("file:d.py")
    first.trigger(SessionEnded())
    engine.session("second", project="p")
    until(engine, "file:d.py")


def test_a_session_may_pin_ten_keys(tmp_path: Path):
    source = CallableSource("k", lambda name: name, read_only=True)
    with PrefetchEngine(sources=[source]) as engine:
        for number in range(10):
            engine.pin(f"k:{number}")
        with pytest.raises(PrefetchError, match="10 pins"):
            engine.pin("k:10")
        engine.unpin("k:0")
        engine.pin("k:10")
        until(engine, "k:10")


# ---- sources that misbehave ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "text"),
    [
        (lambda name: 1 / 0, "ZeroDivisionError"),
        (lambda name: 17, "int"),
        (lambda name: None, "None"),
    ],
)
def test_a_source_that_raises_or_returns_the_wrong_type_is_a_clear_error(load, text: str):
    with PrefetchEngine(sources=[CallableSource("bad", load, read_only=True)]) as engine:
        with pytest.raises(ResourceUnavailable, match=text):
            engine.get("bad:x")
        assert engine.health().state == "ok"


def test_a_source_that_never_returns_times_out_and_harms_no_other(root: Path):
    gate = threading.Event()
    hanging = CallableSource("hang", lambda name: gate.wait(30) and name, read_only=True)
    with PrefetchEngine(sources=[hanging, FileSource(root)]) as engine:
        engine.submit([main_file(f"hang:{n}") for n in range(20)])
        with pytest.raises(LoadTimeout, match="hang:x"):
            engine.get("hang:x", timeout=0.05)
        assert engine.get("file:a.py").value
        handle = engine.submit([main_file("file:b.py")])
        assert handle.wait_immediate(5) is True
        gate.set()


def test_the_caller_of_wait_immediate_is_free_after_its_time(root: Path):
    gate = threading.Event()
    slow = CallableSource("slow", lambda name: gate.wait(10) and name, read_only=True)
    with PrefetchEngine(sources=[slow]) as engine:
        began = time.monotonic()
        assert engine.submit([main_file("slow:x")]).wait_immediate() is False
        assert time.monotonic() - began < 5
        gate.set()


def test_an_alternative_source_serves_where_the_first_fails():
    def fails(name: str) -> str:
        raise OSError("down")

    first = CallableSource("doc", fails, read_only=True)
    second = CallableSource("doc", lambda name: f"copy of {name}", read_only=True)
    with PrefetchEngine(sources=[first, second]) as engine:
        assert engine.get("doc:x").value == "copy of x"


def test_follow_ups_of_the_host_and_of_a_source_are_loaded(root: Path):
    def expand(content: Content) -> list[FollowUp]:
        if content.key == "file:a.py":
            return [FollowUp(Prediction("file:b.py", "related_file", 0.8))]
        return []

    with PrefetchEngine(sources=[FileSource(root)], expand=expand) as engine:
        engine.submit([main_file("file:a.py")])
        until(engine, "file:b.py")


def test_similar_requests_go_out_in_one_call():
    calls: list[list[str]] = []

    def load_many(names: list[str]) -> list[str]:
        calls.append(list(names))
        return [f"<{name}>" for name in names]

    source = CallableSource("db", lambda name: name, read_only=True, load_many=load_many)
    with PrefetchEngine(sources=[source]) as engine:
        handle = engine.submit([main_file(f"db:{n}") for n in range(4)])
        assert handle.wait_immediate(5)
        assert engine.get("db:2").value == "<2>"
    assert calls == [["0", "1", "2", "3"]]


# ---- bad input and life ----------------------------------------------------------------------


def test_bad_predictions_are_all_named_and_nothing_of_the_call_is_accepted(engine: PrefetchEngine):
    with pytest.raises(InvalidPrediction) as caught:
        engine.submit(
            [
                main_file("file:a.py"),
                Prediction("file:b.py", "main_file", 1.7),
                Prediction("file:b.py", "nonsense", float("nan")),
                Prediction("no colon", "main_file", 0.5),
                Prediction("file:../../etc/passwd", "main_file", 0.5, tokens=-1),
            ]
        )
    assert len(caught.value.faults) >= 5
    assert engine.report().summary()["total_prefetches"] == 0
    with pytest.raises(InvalidPrediction):
        engine.submit([Prediction("file:../x", "main_file", 0.9)])
    with pytest.raises(InvalidPrediction, match="token_budget"):
        engine.submit([], Constraints(token_budget=-1))


def test_an_unknown_kind_is_an_error_for_readers_and_skipped_in_a_plan(engine: PrefetchEngine):
    for read in (engine.get, engine.peek):
        with pytest.raises(UnknownKind, match="file"):
            read("nope:x")
    plan = engine.submit([Prediction("nope:x", "behavior", 0.9)]).plan(5)
    assert (plan.items[0].lane, plan.items[0].reason) == (Lane.SKIPPED, Reason.NO_SOURCE)


def test_an_engine_starts_once_and_stops_more_than_once(root: Path):
    engine = PrefetchEngine(sources=[FileSource(root)])
    engine.subscribe(lambda _: None)  # in good time for the first event
    with pytest.raises(EngineStopped, match="not started"):
        engine.get("file:a.py")
    engine.start()
    with pytest.raises(PrefetchError, match="already"):
        engine.start()
    engine.stop()
    engine.stop()
    for use in (
        lambda: engine.get("file:a.py"),
        lambda: engine.submit([]),
        engine.report,
        engine.start,
        lambda: engine.trigger(SessionStarted()),
        lambda: engine.subscribe(print),
    ):
        with pytest.raises(EngineStopped, match="stopped"):
            use()
    assert engine.health().state == "failed"


def test_the_engine_stops_while_loads_hang_and_readers_wait(root: Path):
    gate = threading.Event()
    hanging = CallableSource("hang", lambda name: gate.wait(30) and name, read_only=True)
    engine = PrefetchEngine(sources=[hanging]).start()
    caught: list[BaseException] = []

    def read() -> None:
        try:
            engine.get("hang:x")
        except PrefetchError as error:
            caught.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    while not engine.health().stuck_threads:
        pass
    began = time.monotonic()
    engine.stop(timeout=2)
    assert time.monotonic() - began < 4
    reader.join(5)
    assert isinstance(caught[0], EngineStopped)
    gate.set()


def test_a_subscriber_that_raises_harms_nobody(engine: PrefetchEngine):
    seen: list[object] = []
    ready = threading.Event()

    def bad(event: object) -> None:
        raise RuntimeError("host code")

    def good(event: object) -> None:
        seen.append(event)
        ready.set()

    engine.subscribe(bad)
    unsubscribe = engine.subscribe(good)
    engine.get("file:a.py")
    assert ready.wait(5)
    unsubscribe()
    unsubscribe()
    assert engine.get("file:b.py").value


def test_explain_tells_a_keys_story(engine: PrefetchEngine):
    engine.submit([main_file("file:a.py")]).wait_immediate(5)
    engine.get("file:a.py")
    story = "\n".join(str(line) for line in engine.explain("file:a.py"))
    assert "planned P1" in story
    assert "used" in story


def test_urgency_and_budget_reach_the_plan(engine: PrefetchEngine):
    plan = engine.submit(
        [main_file("file:a.py")], Constraints(urgency="critical", token_budget=5000)
    ).plan(5)
    assert plan.token_budget == 5000
    assert plan.items[0].priority is Priority.P0


def test_a_crashed_planner_is_restarted_and_found_again(engine: PrefetchEngine):
    engine.planner.tell(object())  # no message of its: the handler raises
    assert engine.get("file:a.py").value
    assert engine.submit([main_file("file:b.py")]).wait_immediate(5) is True
    assert engine.health().state == "ok"


def test_a_crashed_cache_keeps_its_content(engine: PrefetchEngine):
    engine.get("file:a.py")
    until(engine, "file:a.py")
    engine.cache.tell(object())
    engine.get("file:a.py")
    assert engine.report().summary()["cache_hits"] == 1


def test_limits_of_the_configuration_reach_the_pools():
    running: set[str] = set()
    most: list[int] = []
    pair = threading.Barrier(2)  # no load ends before another runs beside it

    def load(name: str) -> str:
        running.add(name)
        most.append(len(running))
        pair.wait(10)
        running.discard(name)
        return name

    config = Config(max_concurrent_fetches=2, execution=Execution(immediate_reserved=1))
    with PrefetchEngine(config, sources=[CallableSource("k", load, read_only=True)]) as engine:
        handle = engine.submit([main_file(f"k:{n}") for n in range(8)])
        assert handle.wait_immediate(10) is True
    assert max(most) == 2


def test_content_handed_over_of_a_private_source_is_its_users_alone():
    source = CallableSource("mail", lambda name: "loaded", read_only=True, private=True)
    with PrefetchEngine(sources=[source]) as engine:
        ann, bob = engine.session("1", user="ann"), engine.session("2", user="bob")
        ann.put("mail:x", "ann's")
        assert ann.get("mail:x").value == "ann's"
        assert bob.get("mail:x").value == "loaded"


def test_a_key_that_ends_in_a_star_is_a_key_and_no_prefix():
    source = CallableSource("url", lambda name: "loaded", read_only=True)
    with PrefetchEngine(sources=[source]) as engine:
        engine.put("url:h/?q=1", "one")
        engine.put("url:h/?q=*", "star")
        assert [engine.get(f"url:h/?q={end}").value for end in "1*"] == ["one", "star"]
        engine.invalidate("url:h/?q=*")  # here the star is a prefix's
        assert [engine.get(f"url:h/?q={end}").value for end in "1*"] == ["loaded", "loaded"]


def test_a_prefix_in_another_spelling_invalidates_what_it_means():
    stock = {"abc": "old"}

    class Lower(CallableSource):
        def normalise(self, name: str) -> str:
            return name.lower()

    with PrefetchEngine(sources=[Lower("doc", stock.__getitem__, read_only=True)]) as engine:
        assert engine.get("doc:ABC").value == "old"
        stock["abc"] = "new"
        engine.invalidate("doc:A*")
        assert engine.get("doc:Abc").value == "new"
        with pytest.raises(UnknownKind):
            engine.invalidate("nokind:*")


def test_a_name_resolved_for_one_user_is_never_kept_for_another():
    calls: list[str] = []

    class Switching(CallableSource):
        """Logs another user in while a name is being resolved for the one before."""

        def normalise(self, name: str) -> str:
            if not calls:
                calls.append(name)
                session.trigger(UserLoggedIn("bob"))
            return name

    source = Switching("mail", lambda name: name, read_only=True, private=True)
    with PrefetchEngine(sources=[source]) as engine:
        ann = engine.session("a", user="ann")
        session = engine.session("s", user="ann")
        session.peek("mail:x")
        ann.put("mail:x", "ann's")
        assert session.peek("mail:x") is None


def test_health_is_ready_for_json(engine: PrefetchEngine):
    health = json.loads(json.dumps(engine.health().to_dict()))
    assert health["state"] == "ok"
    assert {actor["name"] for actor in health["actors"]} >= {"planner", "cache", "metrics"}
    assert health["queues"]["planner"][1] > 0


def test_a_read_that_was_given_up_while_it_was_sent_back_is_counted() -> None:
    """The planner leaves it to its reader to count a hit in the view; this one is gone by then."""
    with PrefetchEngine(sources=[CallableSource("k", str, read_only=True)]) as engine:
        engine.get("k:a")
        before = engine.total_report()
        reply = SyncReply()
        assert reply.give_up()
        engine.planner.tell(Demand("default", "k:a", reply, at=0.0, seen=-1.0))
        after = engine.total_report()
    assert after.summary()["cache_misses"] == before.summary()["cache_misses"] + 1


# ---- what is learned of reads --------------------------------------------------------------------


@pytest.mark.parametrize("then", ["end", "change"])
def test_a_hit_counts_as_a_read_however_soon_its_session_ends_or_its_key_changes(then: str):
    with PrefetchEngine(sources=[CallableSource("k", str, read_only=True)]) as engine:
        for number in range(5):
            session = engine.session(f"s{number}")
            key = f"k:{number}"
            session.submit([Prediction(key, "main_file", 0.9)]).wait_immediate(5)
            until(engine, key)
            session.get(key)
            if then == "change":
                session.invalidate(key)
            session.trigger(SessionEnded())
        report = engine.total_report().to_dict()["prefetch_report"]
    (line,) = report["speculation"]["reliability"]
    assert (line["true"], line["count"]) == (1.0, 5)
    assert type(line["role"]) is str


def test_the_story_of_what_no_source_serves_is_told():
    with PrefetchEngine(sources=[CallableSource("k", str, read_only=True)]) as engine:
        engine.submit([Prediction("mail:x", "main_file", 0.9)]).plan(5)
        assert any("no_source" in line.reason for line in engine.explain("mail:x"))


def test_the_whole_report_says_from_the_start_whether_it_pays():
    with PrefetchEngine() as engine:
        body = engine.total_report().to_dict()["prefetch_report"]
    assert "nothing was read" in body["speculation"]["verdict"]


def test_a_planner_that_fails_in_the_last_moment_of_a_read_makes_it_a_time_out(
    monkeypatch: pytest.MonkeyPatch,
):
    with PrefetchEngine(sources=[CallableSource("k", str, read_only=True)]) as engine:
        wait = SyncReply.wait

        def late(reply: SyncReply, timeout: float | None = None) -> Any:
            if timeout is not None and reply.fail(ActorCrashed("the planner failed")):
                raise AskTimeout("no answer")
            return wait(reply, timeout)

        monkeypatch.setattr(SyncReply, "wait", late)
        with pytest.raises(LoadTimeout):
            engine.get("k:a", timeout=5)
        monkeypatch.undo()
