"""Replies and cancel tokens: one-shot, from any thread, whatever has become of the asker."""

import asyncio
import threading

import pytest

from prefetch_scheduler.actors.cancel import CancelToken
from prefetch_scheduler.actors.reply import AskTimeout, AsyncReply, SyncReply, raisable
from prefetch_scheduler.policies.errors import LoadTimeout
from support.actors import PATIENCE_S


def test_a_waiting_thread_gets_the_value() -> None:
    reply = SyncReply()
    threading.Thread(target=lambda: reply.set(42)).start()
    assert reply.wait(PATIENCE_S) == 42
    assert reply.wait(0) == 42


def test_an_error_is_raised_to_the_asker() -> None:
    reply = SyncReply()
    assert reply.fail(KeyError("x"))
    with pytest.raises(KeyError):
        reply.wait(None)


def test_no_answer_in_time_is_a_load_timeout() -> None:
    with pytest.raises(LoadTimeout, match="no answer within 0 s"):
        SyncReply().wait(0)


def test_of_several_answers_exactly_one_counts() -> None:
    for _ in range(50):
        reply = SyncReply()
        start = threading.Barrier(4)
        won: list[int] = []

        def answer(
            number: int,
            reply: SyncReply = reply,
            start: threading.Barrier = start,
            won: list[int] = won,
        ) -> None:
            start.wait(PATIENCE_S)
            if reply.set(number):
                won.append(number)

        threads = [threading.Thread(target=answer, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert won == [reply.wait(0)]


def test_a_coroutine_gets_the_value_from_another_thread() -> None:
    async def main() -> object:
        reply = AsyncReply(asyncio.get_running_loop())
        threading.Thread(target=lambda: reply.set("there")).start()
        return await reply.wait(PATIENCE_S)

    assert asyncio.run(main()) == "there"


def test_a_coroutine_that_waited_too_long_leaves_a_reply_that_takes_a_late_answer() -> None:
    async def main() -> None:
        reply = AsyncReply(asyncio.get_running_loop())
        with pytest.raises(AskTimeout):
            await reply.wait(0)
        assert reply.set("late")
        assert not reply.set("later still")
        await asyncio.sleep(0)

    asyncio.run(main())


def test_an_answer_after_the_loop_has_closed_is_dropped() -> None:
    loop = asyncio.new_event_loop()
    reply = AsyncReply(loop)
    other = AsyncReply(loop)
    loop.close()
    assert not reply.set("nobody there")
    assert not other.fail(ValueError("nobody there"))


def test_a_cancelled_coroutine_does_not_disturb_the_answer() -> None:
    async def main() -> None:
        reply = AsyncReply(asyncio.get_running_loop())
        task = asyncio.ensure_future(reply.wait(None))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        reply.fail(ValueError("late"))
        await asyncio.sleep(0)

    asyncio.run(main())


def test_an_actors_base_exception_reaches_the_asker_as_an_ordinary_one() -> None:
    error = raisable(SystemExit(3), "planner on Submit")
    assert isinstance(error, RuntimeError)
    assert isinstance(error.__cause__, SystemExit)
    assert "planner on Submit" in str(error)


def test_cancel_callbacks_run_once_and_a_late_one_at_once() -> None:
    token, calls = CancelToken(), list[str]()
    token.on_cancel(lambda: calls.append("early"))
    states = [token.cancelled]
    token.cancel()
    token.cancel()
    token.on_cancel(lambda: calls.append("late"))
    states.append(token.cancelled)
    assert states == [False, True]
    assert calls == ["early", "late"]


def test_a_failing_cancel_callback_keeps_no_other_from_running() -> None:
    token, calls = CancelToken(), []

    def bad() -> None:
        raise SystemExit(1)

    token.on_cancel(bad)
    token.on_cancel(lambda: calls.append("good"))
    token.cancel()
    assert calls == ["good"]
