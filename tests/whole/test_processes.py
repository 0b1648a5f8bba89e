"""Engines and the process around them: several, forks, interrupts, loops that are closed."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from prefetch_scheduler.engine import CallableSource, Prediction, PrefetchEngine
from support.waiting import wait_for

PATIENCE_S = 10.0


def echo() -> CallableSource:
    return CallableSource("k", lambda name: f"<{name}>", read_only=True)


def gated(gate: threading.Event, entered: threading.Event) -> CallableSource:
    def load(name: str) -> str:
        entered.set()
        gate.wait(PATIENCE_S)
        return name

    return CallableSource("slow", load, read_only=True)


def test_two_engines_in_one_process_share_nothing() -> None:
    with PrefetchEngine(sources=[echo()]) as one, PrefetchEngine(sources=[echo()]) as two:
        one.get("k:x")
        assert two.peek("k:x") is None
        assert two.total_report().summary()["reads"] == 0
        two.planner.tell(object())
        assert two.get("k:y").value == "<y>"
        one.stop()
        assert two.get("k:z").value == "<z>"
        assert two.health().state == "ok"


def test_an_engine_may_be_stopped_from_its_own_callback() -> None:
    engine = PrefetchEngine(sources=[echo()]).start()
    stopped: list[float] = []
    done = threading.Event()

    def stop(_event: object) -> None:
        began = time.monotonic()
        engine.stop(timeout=5)
        stopped.append(time.monotonic() - began)
        done.set()

    engine.subscribe(stop)
    engine.submit([Prediction("k:x", "main_file", 0.9)])
    assert done.wait(PATIENCE_S)
    assert stopped[0] < 4
    assert engine.health().state == "failed"


def test_an_interrupt_while_get_waits_is_the_hosts_and_harms_nobody() -> None:
    gate, entered = threading.Event(), threading.Event()
    host = threading.main_thread().ident
    assert host is not None
    assert threading.get_ident() == host
    with PrefetchEngine(sources=[gated(gate, entered), echo()]) as engine:

        def interrupt() -> None:
            entered.wait(PATIENCE_S)
            signal.pthread_kill(host, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            engine.get("slow:x", timeout=PATIENCE_S)
        thread.join()
        assert engine.get("k:x").value == "<x>"
        gate.set()
        assert engine.get("slow:x").value == "x"
        assert engine.health().state == "ok"


def threads_of(engine: PrefetchEngine) -> list[str]:
    start = f"prefetch-{engine._runtime.system.engine_id}-"
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(start)]


def test_a_stop_that_is_interrupted_is_finished_by_the_next() -> None:
    host = threading.main_thread().ident
    assert host is not None
    assert threading.get_ident() == host
    entered, interrupted = threading.Event(), threading.Event()

    async def load(_name: str) -> str:
        entered.set()
        try:
            await asyncio.sleep(PATIENCE_S)
        except asyncio.CancelledError:  # the pool is being stopped, which the host waits for
            signal.pthread_kill(host, signal.SIGINT)
            interrupted.wait(PATIENCE_S)
            raise
        return "late"

    slow = CallableSource("slow", load, read_only=True)
    engine = PrefetchEngine(sources=[slow, echo()]).start()
    engine.get("k:x")
    engine.submit([Prediction("slow:x", "main_file", 0.95)])
    assert entered.wait(PATIENCE_S)
    with pytest.raises(KeyboardInterrupt):
        engine.stop(PATIENCE_S)
    interrupted.set()
    engine.stop(PATIENCE_S)
    assert threads_of(engine) == []
    assert pykka.ActorRegistry.get_all() == []


def test_stops_in_several_threads_at_once_all_wait_for_the_end() -> None:
    gate, at_it = threading.Event(), threading.Event()
    closed: list[str] = []

    class Slow(CallableSource):
        def close(self) -> None:
            closed.append("closed")
            at_it.set()
            gate.wait(PATIENCE_S)

    engine = PrefetchEngine(sources=[Slow("k", lambda name: name, read_only=True)]).start()
    left: list[list[str]] = []

    def stop() -> None:
        engine.stop(PATIENCE_S)
        left.append(threads_of(engine))

    threads = [threading.Thread(target=stop) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert at_it.wait(PATIENCE_S)
    engine.stop(0)  # does not wait for them
    assert left == []
    gate.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert left == [[], [], []]
    assert closed == ["closed"]


def test_a_stop_that_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PrefetchEngine(sources=[echo()]).start()
    with monkeypatch.context() as patch:
        patch.setattr(engine._runtime.direct, "stop", lambda _error: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.stop()
    engine.stop(PATIENCE_S)
    assert threads_of(engine) == []


def test_a_load_that_ignores_its_cancellation_is_named_and_counted_once_stopped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entered = threading.Event()

    async def load(_name: str) -> str:
        while True:
            entered.set()
            try:
                await asyncio.sleep(PATIENCE_S)
            except asyncio.CancelledError:
                continue

    engine = PrefetchEngine(sources=[CallableSource("deaf", load, read_only=True)]).start()
    engine.submit([Prediction("deaf:x", "main_file", 0.95)])
    assert entered.wait(PATIENCE_S)
    engine.stop(PATIENCE_S)
    gc.collect()
    assert threads_of(engine) == []
    assert engine.health().stuck_loads == {"deaf": 1}
    said = [record.getMessage() for record in caplog.records if record.levelname != "INFO"]
    (line,) = (text for text in said if "did not end" in text)
    assert line.endswith("-task:deaf")
    assert not any("destroyed" in text for text in said)


def test_a_loop_that_is_closed_under_a_waiting_aget_harms_nobody() -> None:
    gate, entered = threading.Event(), threading.Event()
    with PrefetchEngine(sources=[gated(gate, entered), echo()]) as engine:
        loop = asyncio.new_event_loop()
        task = loop.create_task(engine.aget("slow:x"))
        while not entered.is_set():
            loop.run_until_complete(asyncio.sleep(0))
        loop._ready.clear()  # type: ignore[attr-defined]  # nothing may run on it any more
        loop.set_exception_handler(lambda *_: None)  # it would log that the task never ended
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # as above
        loop.close()
        gate.set()
        assert engine.get("slow:x").value == "x"
        del task
        gc.collect()
        assert engine.get("k:x").value == "<x>"
        assert engine.health().state == "ok"


# ---- forks -----------------------------------------------------------------------------------

PREAMBLE = """
import os, sys, threading
from prefetch_scheduler.engine import *
engine = PrefetchEngine(
    sources=[CallableSource("k", lambda name: name, read_only=True)]
).start()
assert engine.get("k:before").value == "before"
"""

IN_THE_CHILD = """
child = os.fork()
if child == 0:
    try:
        for use in (
            lambda: engine.get("k:x"),
            lambda: engine.submit([]),
            lambda: engine.peek("k:before"),
            engine.report,
            lambda: engine.session("s"),
            lambda: engine.subscribe(print),
            lambda: engine.planner.ask(object()),
        ):
            try:
                use()
            except EngineStopped as error:
                assert "forked" in str(error), error
            else:
                raise AssertionError("no error")
        assert engine.health().state == "failed"
        engine.stop()
        with PrefetchEngine(
            sources=[CallableSource("k", lambda name: name, read_only=True)]
        ) as own:
            assert own.get("k:x").value == "x"
            assert own.submit([Prediction("k:y", "main_file", 0.9)]).wait_immediate(5)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert engine.get("k:after").value == "after"
engine.stop()
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_is_told_clearly_and_may_start_an_engine_of_its_own() -> None:
    result = run(PREAMBLE + IN_THE_CHILD)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_while_the_registry_of_actors_is_locked_does_not_lock_the_child() -> None:
    locked = """
import pykka
held, go = threading.Event(), threading.Event()
def hold():
    with pykka.ActorRegistry._actor_refs_lock:
        held.set()
        go.wait(20)
threading.Thread(target=hold, daemon=True).start()
held.wait(20)
child = os.fork()
if child == 0:
    with PrefetchEngine(sources=[CallableSource("k", lambda n: n, read_only=True)]) as own:
        os._exit(0 if own.get("k:x").value == "x" else 1)
go.set()
_, status = os.waitpid(child, 0)
engine.stop()
sys.exit(os.waitstatus_to_exitcode(status))
"""
    result = run(PREAMBLE + locked)
    assert result.returncode == 0, result.stderr


def test_the_registry_has_the_lock_that_a_fork_renews() -> None:
    """A contract with Pykka: what `forked` reaches into is there."""
    assert isinstance(pykka.ActorRegistry._actor_refs_lock, type(threading.RLock()))
    assert isinstance(pykka.ActorRegistry._actor_refs, list)


@pytest.mark.parametrize(
    "ending",
    ["", "engine.stop()", "import os; del engine"],
    ids=["never stopped", "stopped", "dropped"],
)
def test_the_interpreter_exits_with_an_engine_whose_loads_hang(ending: str) -> None:
    hanging = """
gate = threading.Event()
slow = PrefetchEngine(sources=[CallableSource("h", lambda n: gate.wait(), read_only=True)]).start()
slow.submit([Prediction(f"h:{n}", "main_file", 0.9) for n in range(40)]).plan(5)
"""
    began = time.monotonic()
    result = run(PREAMBLE + hanging + ending)
    assert result.returncode == 0, result.stderr
    assert time.monotonic() - began < 20


def test_what_an_engine_starts_ends_with_it() -> None:
    before = set(threading.enumerate())
    keep: list[Callable[..., Any]] = []
    with PrefetchEngine(sources=[echo()]) as engine:
        keep.append(engine.subscribe(lambda _: None))
        engine.get("k:x")
    assert not set(threading.enumerate()) - before


def test_an_engine_whose_start_is_cancelled_does_not_run_on() -> None:
    engine = PrefetchEngine(sources=[CallableSource("k", str, read_only=True)])

    async def use() -> None:
        async with engine:
            await asyncio.sleep(60)

    async def cancelled_while_it_starts() -> None:
        task = asyncio.create_task(use())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled_while_it_starts())
    wait_for(lambda: "has been stopped" in (engine.health().reason or ""))
