"""The base actor: guard, replies, batches, deadlines, and what survives a failure."""

import threading
from collections.abc import Iterator
from typing import Any

import pykka
import pytest

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.base import LATER, EngineActor, Home
from prefetch_scheduler.actors.clock import SystemClock
from prefetch_scheduler.actors.inbox import Inbox
from prefetch_scheduler.actors.reply import ActorCrashed, AskTimeout, Reply, SyncReply
from prefetch_scheduler.actors.signals import ChildFailed, ChildStarted, ChildStopped, Stop
from prefetch_scheduler.actors.timer import Timer
from prefetch_scheduler.policies.errors import EngineStopped, InvalidPrediction
from support.actors import PATIENCE_S, Recorder

STOPPED = EngineStopped("over")


class Worker(EngineActor):
    """Does what its messages say."""

    def __init__(self, home: Home, log: list[Any]) -> None:
        super().__init__(home)
        self.log = log
        self.effects: list[Any] = []
        self.kept: list[Reply] = []
        self.deadline: float | None = None

    def on_receive(self, message: Any) -> Any:
        match message:
            case BaseException():
                raise message
            case threading.Event():
                message.wait(PATIENCE_S)
            case "later":
                self.kept.append(self.current_reply)
                return LATER
            case "answer":
                self.kept.pop(0).set("at last")
            case "effect", effect:
                self.effects.append(effect)
            case "wake me", seconds:
                self.deadline = self.now + seconds
            case _:
                return ("got", message)
        return None

    def after_batch(self) -> None:
        if self.effects:
            self.log.append(tuple(self.effects))
            self.effects.clear()

    def next_deadline(self) -> float | None:
        return self.deadline

    def on_tick(self, now: float) -> None:
        assert self.deadline is not None
        self.log.append(("tick", now >= self.deadline))
        self.deadline = None

    def on_stop(self) -> None:
        self.log.append("stopped")


class Bench:
    """One address with its timer and a recording supervisor."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.supervisor = Recorder()
        self.address = Address("worker", Inbox("worker"), control=(threading.Barrier,))
        self.timer = Timer("t")
        self.timer.start()
        self.threads: list[threading.Thread] = []

    def start(self, incarnation: int = 1, *, supervised: bool = True) -> "pykka.ActorRef[Worker]":
        home = Home(
            engine_id="t",
            role="worker",
            address=self.address,
            clock=SystemClock(),
            timer=self.timer,
            supervisor=self.supervisor if supervised else None,
            incarnation=incarnation,
            register_thread=self.threads.append,
        )
        return Worker.start(home, self.log)

    def ask(self, message: Any) -> Any:
        return self.address.ask(message, timeout=PATIENCE_S)

    def failed(self) -> ChildFailed:
        return self.supervisor.wait_for(
            lambda told: [m for m in told if isinstance(m, ChildFailed)]
        )[0]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.address.tell(Stop(STOPPED))
    made.address.close(STOPPED)
    made.timer.stop()


def test_an_ask_gets_the_handlers_value(bench: Bench) -> None:
    bench.start()
    assert bench.ask(1) == ("got", 1)


def test_its_thread_is_a_named_daemon(bench: Bench) -> None:
    bench.start()
    (thread,) = bench.threads
    assert thread.daemon
    assert thread.name == "prefetch-t-worker"


def test_a_handler_may_answer_later(bench: Bench) -> None:
    bench.start()
    reply = SyncReply()
    bench.address.send("later", reply)
    bench.ask("barrier")
    assert not reply.done
    bench.address.tell("answer")
    assert reply.wait(PATIENCE_S) == "at last"


def test_an_ask_through_pykkas_own_ref_works_too(bench: Bench) -> None:
    ref = bench.start()
    assert ref.ask("x", timeout=PATIENCE_S) == ("got", "x")
    future = ref.ask("later", block=False)
    bench.address.tell("answer")
    assert future.get(timeout=PATIENCE_S) == "at last"


def test_an_actor_cannot_ask_itself(bench: Bench) -> None:
    bench.start()
    bench.ask("barrier")
    bench.address.owner = threading.get_ident()
    with pytest.raises(RuntimeError, match="asks itself"):
        bench.ask("x")


def test_an_ask_that_is_not_answered_in_time_says_so(bench: Bench) -> None:
    bench.start()
    with pytest.raises(AskTimeout, match="worker has not answered str within 0 s"):
        bench.address.ask("later", timeout=0)


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(1), KeyboardInterrupt()])
def test_any_exception_ends_this_actor_alone(bench: Bench, error: BaseException) -> None:
    class Bystander(pykka.ThreadingActor):
        use_daemon_thread = True

        def on_receive(self, message: Any) -> Any:
            return message

    bystander = Bystander.start()
    ref = bench.start()
    bench.address.tell(error)
    failed = bench.failed()
    assert failed.name == "worker"
    assert failed.exception is error
    assert not ref.is_alive()
    assert bystander.ask("alive", timeout=PATIENCE_S) == "alive"
    bystander.stop()


def test_the_failing_ask_is_answered_and_never_with_a_base_exception(bench: Bench) -> None:
    bench.start()
    with pytest.raises(ValueError, match="bad"):
        bench.ask(ValueError("bad"))
    bench.failed()
    bench.start(2)
    with pytest.raises(ActorCrashed, match="SystemExit"):
        bench.ask(SystemExit(1))


def test_what_waits_behind_a_failure_is_handled_by_the_successor_in_order(bench: Bench) -> None:
    bench.start()
    gate = threading.Event()
    bench.address.tell(gate)
    bench.address.tell(ValueError("poison"))
    replies = [SyncReply() for _ in range(3)]
    for number, reply in enumerate(replies):
        bench.address.send(number, reply)
    gate.set()
    bench.failed()
    assert not any(reply.done for reply in replies)
    bench.start(2)
    assert [reply.wait(PATIENCE_S) for reply in replies] == [("got", n) for n in range(3)]
    assert bench.address.inbox.dead_letters.counts() == {"ValueError": 1}


def test_effects_of_messages_before_the_failing_one_are_still_sent(bench: Bench) -> None:
    bench.start()
    gate = threading.Event()
    bench.address.tell(gate)
    bench.address.tell(("effect", 1))
    bench.address.tell(("effect", 2))
    bench.address.tell(ValueError("poison"))
    gate.set()
    bench.failed()
    assert bench.log == [(1, 2)]


def test_answers_still_owed_when_it_fails_are_given_as_errors(bench: Bench) -> None:
    bench.start()
    reply = SyncReply()
    bench.address.send("later", reply)
    bench.address.tell(ValueError("poison"))
    with pytest.raises(ActorCrashed, match="worker ended before it answered"):
        reply.wait(PATIENCE_S)


def test_an_error_of_the_engines_own_is_an_answer_and_no_failure(bench: Bench) -> None:
    ref = bench.start()
    with pytest.raises(InvalidPrediction, match="confidence"):
        bench.ask(InvalidPrediction("confidence: too large"))
    bench.address.tell(InvalidPrediction("told, not asked"))
    assert bench.ask("still here") == ("got", "still here")
    assert ref.is_alive()


def test_queued_messages_are_handled_with_one_flush(bench: Bench) -> None:
    bench.start()
    gate = threading.Event()
    bench.address.tell(gate)
    for number in range(100):
        bench.address.tell(("effect", number))
    gate.set()
    bench.ask("barrier")
    bench.ask("another, so that the flush behind the first is done")
    assert [n for batch in bench.log for n in batch] == list(range(100))
    assert len(bench.log) <= 3  # 64 with the gate, the rest


def test_a_deadline_becomes_a_tick(bench: Bench) -> None:
    bench.start()
    bench.ask(("wake me", 0.0))
    # The tick overtakes: it stands in the control lane when a later ask is handled.
    bench.supervisor.wait_for(lambda _: True)
    for _ in range(1000):
        bench.ask("barrier")
        if bench.log:
            break
    assert bench.log == [("tick", True)]


def test_an_earlier_deadline_replaces_a_later_one(bench: Bench) -> None:
    bench.start()
    bench.ask(("wake me", 3600.0))
    bench.ask(("wake me", 0.001))
    for _ in range(10_000):
        bench.ask("barrier")
        if bench.log:
            break
    assert bench.log == [("tick", True)]


def test_start_and_stop_are_confirmed_to_the_supervisor(bench: Bench) -> None:
    ref = bench.start(7)
    bench.ask("barrier")
    bench.address.tell(Stop())
    bench.supervisor.wait_for(lambda told: ChildStopped("worker", 7) in told)
    assert bench.supervisor.messages == [ChildStarted("worker", 7), ChildStopped("worker", 7)]
    assert not ref.is_alive()
    assert bench.log == ["stopped"]
    assert not bench.address.inbox.closed


def test_stopping_for_good_closes_the_inbox_with_the_error_given(bench: Bench) -> None:
    bench.start()
    bench.address.tell(Stop(STOPPED))
    with pytest.raises(EngineStopped, match="over"):
        bench.ask("late")


def test_pykkas_own_stop_ends_a_supervised_actor_but_keeps_its_inbox(bench: Bench) -> None:
    ref = bench.start()
    assert ref.stop(timeout=PATIENCE_S)
    bench.supervisor.wait_for(lambda told: ChildStopped("worker", 1) in told)
    assert not bench.address.inbox.closed


def test_an_unsupervised_actor_closes_its_inbox_when_it_fails(bench: Bench) -> None:
    bench.start(supervised=False)
    bench.address.tell(ValueError("poison"))
    bench.threads[0].join(PATIENCE_S)
    with pytest.raises(ActorCrashed, match="worker ended"):
        bench.ask("anybody there")


def test_a_failure_to_start_is_told_to_the_supervisor(bench: Bench) -> None:
    class Unable(Worker):
        def on_start(self) -> None:
            raise SystemExit("no")

    home = Home(
        engine_id="t",
        role="worker",
        address=bench.address,
        clock=SystemClock(),
        timer=bench.timer,
        supervisor=bench.supervisor,
    )
    Unable.start(home, bench.log)
    assert "SystemExit" in bench.failed().error


def test_a_failing_flush_is_a_failure_of_the_actor(bench: Bench) -> None:
    class Leaky(Worker):
        def after_batch(self) -> None:
            if self.effects:
                raise ValueError("cannot send")

    home = Home(
        engine_id="t",
        role="worker",
        address=bench.address,
        clock=SystemClock(),
        timer=bench.timer,
        supervisor=bench.supervisor,
    )
    Leaky.start(home, bench.log)
    bench.address.tell(("effect", 1))
    assert "cannot send" in bench.failed().error


def test_many_late_answers_do_not_pile_up(bench: Bench) -> None:
    ref = bench.start()
    actor = ref._actor_weakref()
    assert actor is not None
    for _ in range(1000):
        reply = SyncReply()
        bench.address.send("later", reply)
        bench.address.tell("answer")
        reply.wait(PATIENCE_S)
    assert len(actor._owed) <= 64
