"""The inbox: lanes, bound, closing, waking; and that nothing put is ever lost or doubled."""

import threading
import time

import pykka
import pytest
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.dead_letters import DeadLetters
from prefetch_scheduler.actors.inbox import Inbox
from prefetch_scheduler.actors.reply import InboxFull, SyncReply
from prefetch_scheduler.actors.signals import Stop, Tick
from prefetch_scheduler.policies.errors import EngineStopped
from support.actors import PATIENCE_S

STOPPED = EngineStopped("over")


def contents(inbox: Inbox) -> list[object]:
    result = []
    while (envelope := inbox.get_nowait()) is not None:
        result.append(envelope.message)
    return result


def test_control_is_read_before_work_and_each_lane_in_order() -> None:
    inbox = Inbox()
    for number in range(3):
        inbox.put(Envelope(number))
        inbox.put(Envelope(str(number)), control=True)
    assert contents(inbox) == ["0", "1", "2", 0, 1, 2]


def test_a_full_lane_refuses_at_once_and_counts_the_message() -> None:
    inbox = Inbox("planner", bound=2)
    assert [inbox.put(Envelope(n)) for n in range(3)] == [True, True, False]
    assert inbox.put(Envelope("urgent"), control=True)
    assert inbox.fill() == (3, 2)
    assert inbox.dead_letters.counts() == {"int": 1}


def test_the_runtimes_own_signals_are_taken_by_a_full_inbox() -> None:
    inbox = Inbox(bound=1)
    inbox.put(Envelope(1), control=True)
    assert inbox.put(Envelope(Tick(1.0)), control=True)
    assert inbox.put(Envelope(Stop()), control=True)
    inbox.put(Envelope(1))
    assert inbox.put(Envelope(_ActorStop()))


def test_a_refused_ask_is_answered() -> None:
    inbox = Inbox("planner", bound=1)
    address = Address("planner", inbox)
    address.tell(1)
    with pytest.raises(InboxFull, match="planner: 1 messages"):
        address.ask(2, timeout=PATIENCE_S)


def test_closing_answers_what_waits_and_refuses_what_comes() -> None:
    inbox = Inbox()
    address = Address("cache", inbox)
    reply = SyncReply()
    address.send("question", reply)
    address.tell("news")
    inbox.close(STOPPED)
    with pytest.raises(EngineStopped, match="over"):
        reply.wait(PATIENCE_S)
    assert not address.tell("late news")
    with pytest.raises(EngineStopped):
        address.ask("late question", timeout=PATIENCE_S)
    assert inbox.dead_letters.counts() == {"str": 4}


def test_a_closed_inbox_tells_its_consumer_to_stop() -> None:
    inbox = Inbox()
    inbox.close(STOPPED)
    assert inbox.get().message == Stop(STOPPED)


def test_closing_wakes_a_sleeping_consumer() -> None:
    inbox = Inbox()
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(inbox.get().message))
    thread.start()
    inbox.close(STOPPED)
    thread.join(PATIENCE_S)
    assert got == [Stop(STOPPED)]


def test_a_pykka_stop_left_in_a_closed_inbox_counts_as_done() -> None:
    inbox = Inbox()
    future = pykka.ThreadingFuture[None]()
    inbox.put(Envelope(_ActorStop(), reply_to=future))
    inbox.close(STOPPED)
    assert future.get(timeout=PATIENCE_S) is None
    assert inbox.dead_letters.total == 0


def test_an_attached_consumer_is_woken_only_when_it_sleeps() -> None:
    inbox = Inbox()
    wakes: list[None] = []
    inbox.attach(lambda: wakes.append(None))
    inbox.put(Envelope(1))
    assert wakes == []
    assert not inbox.sleep()  # there is something to do
    contents(inbox)
    assert inbox.sleep()
    inbox.put(Envelope(2))
    inbox.put(Envelope(3))
    assert len(wakes) == 1


def test_a_bound_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Inbox(bound=0)


def test_many_senders_lose_nothing_and_keep_their_own_order() -> None:
    inbox = Inbox()
    senders, each = 4, 3000
    start = threading.Barrier(senders + 1)

    def send(sender: int) -> None:
        start.wait(PATIENCE_S)
        for number in range(each):
            assert inbox.put(Envelope((sender, number)))

    threads = [threading.Thread(target=send, args=(n,)) for n in range(senders)]
    for thread in threads:
        thread.start()
    start.wait(PATIENCE_S)
    got = [inbox.get().message for _ in range(senders * each)]
    for thread in threads:
        thread.join(PATIENCE_S)
    assert inbox.empty()
    for sender in range(senders):
        assert [n for s, n in got if s == sender] == list(range(each))


def test_each_message_put_around_closing_is_handled_or_counted_once() -> None:
    for _ in range(30):
        letters = DeadLetters()
        inbox = Inbox(dead_letters=letters)
        senders, each = 3, 50
        start = threading.Barrier(senders + 2)
        handled: list[object] = []
        refused_asks: list[SyncReply] = []

        def send(
            inbox: Inbox = inbox,
            start: threading.Barrier = start,
            replies: list[SyncReply] = refused_asks,
            each: int = each,
        ) -> None:
            address = Address("x", inbox)
            start.wait(PATIENCE_S)
            for number in range(each):
                reply = SyncReply()
                replies.append(reply)
                address.send(number, reply)

        def consume(
            inbox: Inbox = inbox,
            start: threading.Barrier = start,
            handled: list[object] = handled,
        ) -> None:
            start.wait(PATIENCE_S)
            while not isinstance((envelope := inbox.get()).message, Stop):
                handled.append(envelope.message)
                envelope.reply_to.set(None)  # type: ignore[union-attr]  # all of them are asked

        threads = [threading.Thread(target=send) for _ in range(senders)]
        threads.append(threading.Thread(target=consume))
        for thread in threads:
            thread.start()
        start.wait(PATIENCE_S)
        inbox.close(STOPPED)
        for thread in threads:
            thread.join(PATIENCE_S)
        assert len(handled) + letters.total == senders * each
        assert all(reply.done for reply in refused_asks)


def test_dead_letters_are_handed_to_the_hook_whose_faults_stay_there() -> None:
    seen: list[object] = []

    def hook(message: object) -> None:
        seen.append(message)
        raise ValueError("the hook's own fault")

    inbox = Inbox(bound=1, dead_letters=DeadLetters(hook))
    inbox.put(Envelope(1))
    assert not inbox.put(Envelope(2))
    assert seen == [2]


def test_a_consumer_that_gathers_is_woken_only_for_what_cannot_wait() -> None:
    inbox = Inbox(unhurried=[int])
    wakes: list[None] = []
    inbox.attach(lambda: wakes.append(None))
    inbox._gathering = True  # as `get` does once nothing more waits
    assert inbox.sleep()
    inbox.put(Envelope(1))
    assert wakes == []
    inbox.put(Envelope("urgent"))
    assert wakes == [None]
    assert contents(inbox) == [1, "urgent"]


def test_what_is_gathered_is_found_and_wakes_a_consumer_that_has_been_idle() -> None:
    inbox = Inbox(unhurried=[int])
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.extend(inbox.get().message for _ in range(3)))
    began = time.monotonic()
    thread.start()
    inbox.put(Envelope(1))
    while not (got == [1] and inbox._asleep):
        assert time.monotonic() - began < PATIENCE_S
        time.sleep(0.001)
    inbox.put(Envelope(2))  # whether it gathers still or is idle by now
    while not (got == [1, 2] and inbox._asleep and not inbox._gathering):
        assert time.monotonic() - began < PATIENCE_S
        time.sleep(0.001)
    inbox.put(Envelope(3))
    thread.join(PATIENCE_S)
    assert got == [1, 2, 3]
