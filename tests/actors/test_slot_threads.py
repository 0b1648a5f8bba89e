"""Slot threads: reused, replaced, ended; never waited for."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Iterator

import pytest

from prefetch_scheduler.actors.slot_threads import SlotExecutor, SlotThreads
from support.actors import PATIENCE_S


@pytest.fixture
def slots() -> Iterator[SlotThreads]:
    made = SlotThreads("prefetch-t-p1", idle_s=60.0)
    yield made
    made.stop()


def run_and_wait(slots: SlotThreads) -> threading.Thread:
    done = threading.Event()
    worker: list[threading.Thread] = []

    def job() -> None:
        worker.append(threading.current_thread())
        done.set()

    slots.run(job, "files")
    assert done.wait(PATIENCE_S)
    return worker[0]


def wait_idle(slots: SlotThreads) -> None:
    end = time.monotonic() + PATIENCE_S
    while not slots._idle:  # the thread is between its job's end and its rest
        assert time.monotonic() < end


def test_a_job_runs_in_a_daemon_named_after_its_source(slots: SlotThreads) -> None:
    names: list[str] = []
    done = threading.Event()

    def job() -> None:
        names.append(threading.current_thread().name)
        done.set()

    slots.run(job, "files")
    assert done.wait(PATIENCE_S)
    assert names == ["prefetch-t-p1-slot-1:files"]
    assert all(thread.daemon for thread in slots.threads())


def test_an_idle_thread_is_used_again() -> None:
    slots = SlotThreads("prefetch-t-x", idle_s=60.0)
    first = run_and_wait(slots)
    wait_idle(slots)
    assert run_and_wait(slots) is first
    slots.stop()


def test_a_blocked_thread_is_replaced_and_named_as_busy(slots: SlotThreads) -> None:
    gate, running = threading.Event(), threading.Barrier(2)

    def hang() -> None:
        running.wait(PATIENCE_S)
        gate.wait(PATIENCE_S)

    slots.run(hang, "stuck source")
    running.wait(PATIENCE_S)
    run_and_wait(slots)
    assert "stuck source" in slots.busy()
    assert [t.name for t in slots.busy_threads() if "stuck" in t.name] == [
        "prefetch-t-p1-slot-1:stuck source"
    ]
    gate.set()


def test_idle_threads_end_after_a_while() -> None:
    slots = SlotThreads("prefetch-t-x", idle_s=0.01)
    thread = run_and_wait(slots)
    thread.join(PATIENCE_S)
    assert slots.threads() == []
    assert run_and_wait(slots) is not thread
    slots.stop()


def test_no_job_is_lost_to_a_thread_that_gives_up_waiting() -> None:
    slots = SlotThreads("prefetch-t-x", idle_s=0.0)
    for _ in range(500):
        run_and_wait(slots)
    slots.stop()


def test_a_job_that_raises_anything_leaves_its_thread_usable(slots: SlotThreads) -> None:
    def bad() -> None:
        raise SystemExit(1)

    slots.run(bad, "bad")
    run_and_wait(slots)


def test_stopping_ends_idle_threads_now_and_busy_ones_after_their_job(slots: SlotThreads) -> None:
    gate, running = threading.Event(), threading.Barrier(2)

    def hang() -> None:
        running.wait(PATIENCE_S)
        gate.wait(PATIENCE_S)

    slots.run(hang, "slow")
    running.wait(PATIENCE_S)
    idle = run_and_wait(slots)
    slots.stop()
    idle.join(PATIENCE_S)
    assert not idle.is_alive()
    assert slots.busy() == ["slow"]
    (busy,) = slots.threads()
    gate.set()
    busy.join(PATIENCE_S)
    assert slots.threads() == []
    with pytest.raises(RuntimeError, match="stopped"):
        slots.run(lambda: None, "late")


def test_an_event_loop_uses_them_for_to_thread_and_closes_while_one_hangs(
    slots: SlotThreads,
) -> None:
    gate = threading.Event()
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    async def main() -> tuple[str, int]:
        asyncio.get_running_loop().set_default_executor(SlotExecutor(slots))
        variable.set(7)
        hanging = asyncio.ensure_future(asyncio.to_thread(gate.wait, PATIENCE_S))
        name = await asyncio.to_thread(lambda: threading.current_thread().name)
        hanging.cancel()
        return name, await asyncio.to_thread(variable.get)

    loop = asyncio.new_event_loop()
    name, value = loop.run_until_complete(main())
    loop.close()
    assert name.startswith("prefetch-t-p1-slot-")
    assert value == 7
    gate.set()


def test_no_job_waits_behind_one_that_blocks(slots: SlotThreads) -> None:
    together = threading.Barrier(21)
    for _ in range(20):
        slots.run(lambda: together.wait(PATIENCE_S) and None, "files")
    together.wait(PATIENCE_S)  # passes only if all of them run at once


def test_quick_jobs_wait_for_the_thread_that_is_at_one(slots: SlotThreads) -> None:
    gate, done = threading.Event(), threading.Event()
    workers: list[threading.Thread] = []

    def first() -> None:
        workers.append(threading.current_thread())
        gate.wait(PATIENCE_S)

    slots.run(first, "files", quick=True)
    for _ in range(5):
        slots.run(lambda: workers.append(threading.current_thread()), "files", quick=True)
    slots.run(done.set, "files", quick=True)
    assert len(slots.threads()) == 1
    gate.set()
    assert done.wait(PATIENCE_S)
    assert workers == [workers[0]] * 6
    assert len(slots.threads()) == 1


@pytest.mark.parametrize("by", ["hurry", "another job"])
def test_quick_jobs_wait_for_no_slow_one(slots: SlotThreads, by: str) -> None:
    gate, running = threading.Event(), threading.Barrier(2)
    waited, done = threading.Event(), threading.Event()

    def slow() -> None:
        running.wait(PATIENCE_S)
        gate.wait(PATIENCE_S)

    slots.run(slow, "files", quick=True)
    running.wait(PATIENCE_S)
    slots.run(waited.set, "files", quick=True)
    if by == "hurry":
        slots.run(done.set, "files", quick=True)
        assert not done.is_set()
        slots.hurry()
    else:
        slots.run(done.set, "files")
    assert waited.wait(PATIENCE_S)
    assert done.wait(PATIENCE_S)
    gate.set()


def test_of_many_jobs_each_is_done_once(slots: SlotThreads) -> None:
    done: list[int] = []
    every = threading.Semaphore(0)

    def job(number: int) -> None:
        done.append(number)
        every.release()

    for number in range(500):
        slots.run(lambda number=number: job(number), "files")  # type: ignore[misc]  # its default
    for _ in range(500):
        assert every.acquire(timeout=PATIENCE_S)
    assert sorted(done) == list(range(500))


def test_where_no_thread_is_to_be_had_the_job_is_refused_or_done_by_who_becomes_free(
    slots: SlotThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, done = threading.Event(), threading.Semaphore(0)
    running = threading.Event()

    def busy() -> None:
        running.set()
        gate.wait(PATIENCE_S)

    slots.run(busy, "files")
    assert running.wait(PATIENCE_S)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        slots.run(done.release, "files")
    monkeypatch.undo()
    gate.set()
    slots.run(done.release, "files")
    assert done.acquire(timeout=PATIENCE_S)
    assert not done.acquire(blocking=False)  # what was refused is not done
