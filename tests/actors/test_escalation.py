"""Above the Supervisor: watchdog, degraded, rebuilt once, failed; and what inboxes do for it."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pykka._envelope import Envelope

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.base import EngineActor, Home
from prefetch_scheduler.actors.children import ChildSpec, Watch
from prefetch_scheduler.actors.inbox import Inbox
from prefetch_scheduler.actors.loop import LoopActor
from prefetch_scheduler.actors.messages import (
    PLANNER_CONTROL,
    ContextChanged,
    HostBusy,
    Submit,
)
from prefetch_scheduler.actors.reply import AskTimeout, SyncReply
from prefetch_scheduler.actors.signals import Ping, Stop
from prefetch_scheduler.actors.system import ActorSystem, Rebuild, State
from prefetch_scheduler.actors.timer import Timer
from prefetch_scheduler.policies.errors import (
    EngineDegraded,
    EngineFailed,
    EngineStopped,
    PrefetchError,
)
from prefetch_scheduler.policies.restarts import RestartRule
from support.actors import PATIENCE_S, Recorder

FRAGILE = RestartRule(intensity=0)
IMPATIENT = Watch(ping_s=0.02, hung_s=0.1)


class Child(EngineActor):
    """Answers with its incarnation; raises or blocks as its messages say."""

    def __init__(self, home: Home, log: Recorder) -> None:
        super().__init__(home)
        self.log = log

    def on_start(self) -> None:
        self.log.tell(("start", self.home.role, self.home.incarnation))

    def on_abandoned(self) -> None:
        self.log.tell(("abandoned", self.home.role, self.home.incarnation))

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        if isinstance(message, threading.Event):
            message.wait(PATIENCE_S)
            self.log.tell(("returned", self.home.role, self.abandoned))
        return self.home.incarnation


class Loop(LoopActor):
    """The same with an event loop."""

    def __init__(self, home: Home, log: Recorder) -> None:
        super().__init__(home)
        self.log = log

    on_start = Child.on_start
    on_abandoned = Child.on_abandoned
    on_receive = Child.on_receive


class Bench:
    def __init__(self) -> None:
        self.system = ActorSystem("t", watch=IMPATIENT)
        self.log = Recorder()
        self.changes = Recorder()
        self.down = Recorder()
        self.undelivered = Recorder()
        self.specs: list[ChildSpec] = []

    def child(self, name: str, kind: type[Any] = Child) -> Address:
        address = self.system.address(
            name, undelivered=lambda message, error: self.undelivered.tell((message, error))
        )

        def start(home: Home) -> Any:
            return kind.start(home, self.log)

        self.specs.append(ChildSpec(address=address, start=start, on_down=self.down.tell))
        return address

    def start(self, rule: RestartRule | None = None, rebuild: Rebuild | None = None) -> None:
        self.system.start(
            self.specs,
            rule=rule,
            rebuild=rebuild,
            on_change=lambda state, reason: self.changes.tell((state, reason)),
        )

    def wait_state(self, state: State) -> None:
        self.changes.wait_for(lambda told: told and told[-1][0] is state)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.system.stop(3.0)


def ask(address: Address, message: Any = "x") -> Any:
    return address.ask(message, timeout=PATIENCE_S)


# ---- the watchdog ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Child, Loop])
def test_a_child_that_hangs_is_replaced_on_the_same_inbox(bench: Bench, kind: type[Any]) -> None:
    address, other = bench.child("a", kind), bench.child("b")
    bench.start()
    gate = threading.Event()
    address.tell(gate)
    assert ask(address) == 2  # it waited behind the message that hangs
    assert ask(other) == 1
    assert bench.down.messages == [0.0]
    gate.set()
    bench.log.wait_for(lambda told: ("abandoned", "a", 1) in told)
    assert ("returned", "a", True) in bench.log.messages
    assert ask(address) == 2  # the one that returned reads the inbox no more
    assert address.ready


def test_a_successor_of_an_event_loop_is_still_woken_after_the_old_one_ended(bench: Bench) -> None:
    address = bench.child("a", Loop)
    bench.start()
    gate = threading.Event()
    address.tell(gate)
    assert ask(address) == 2
    gate.set()
    bench.log.wait_for(lambda told: ("abandoned", "a", 1) in told)
    for _ in range(20):
        assert address.ask("x", timeout=0.9) == 2  # sooner than the backstop would wake it


def test_children_that_only_have_much_to_do_are_left_alone(bench: Bench) -> None:
    address = bench.child("a")
    bench.start()
    for _ in range(20_000):
        address.tell("work")
    assert ask(address) == 1
    health = bench.system.health(PATIENCE_S)
    assert [child.restarts for child in health.children] == [0]


@pytest.mark.parametrize("wrong", [{"ping_s": 0}, {"hung_s": -1.0}])
def test_a_watch_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        Watch(**wrong)


# ---- degraded, rebuilt, failed ---------------------------------------------------------------


def test_a_tree_that_is_given_up_is_built_once_more_under_the_same_addresses(bench: Bench) -> None:
    first, second = bench.child("a"), bench.child("b", Loop)
    bench.start(FRAGILE, Rebuild(cool_down_s=0.02))
    first.tell(ValueError("bad"))
    bench.wait_state(State.RUNNING)
    assert (ask(first), ask(second)) == (2, 2)  # incarnations count on
    (state, reason), _ = bench.changes.messages
    assert state is State.DEGRADED
    assert "ValueError('bad')" in reason
    assert bench.system.health().state == "ok"


def test_askers_are_told_while_it_is_degraded(bench: Bench) -> None:
    address = bench.child("a")
    bench.start(FRAGILE, Rebuild(cool_down_s=3600.0))
    address.tell(ValueError("bad"))
    reply = SyncReply()
    address.send("behind", reply)
    with pytest.raises(EngineDegraded, match="bad"):
        reply.wait(PATIENCE_S)
    with pytest.raises(EngineDegraded):
        ask(address)
    health = bench.system.health()
    assert health.state == "degraded"
    assert "bad" in (health.reason or "")
    assert bench.system.stop(3.0) == ()
    with pytest.raises(EngineStopped):
        raise bench.system.error()


def test_failing_again_within_the_window_is_final(bench: Bench) -> None:
    address = bench.child("a")
    bench.start(FRAGILE, Rebuild(cool_down_s=0.0))
    address.tell(ValueError("one"))
    bench.wait_state(State.RUNNING)
    address.tell(ValueError("two"))
    bench.wait_state(State.FAILED)
    with pytest.raises(EngineFailed, match="two"):
        ask(address)
    assert bench.system.health().state == "failed"


def test_a_tree_that_cannot_be_built_again_has_failed(bench: Bench) -> None:
    address = bench.child("a")
    start = bench.specs[0].start

    def once(home: Home) -> Any:
        if home.incarnation > 1:
            raise OSError("no threads left")
        return start(home)

    bench.specs[0] = ChildSpec(address=address, start=once)
    bench.start(FRAGILE, Rebuild(cool_down_s=0.0))
    address.tell(ValueError("one"))
    bench.wait_state(State.FAILED)
    assert "no threads left" in (bench.system.reason or "")
    with pytest.raises(EngineFailed):
        ask(address)


def test_a_child_that_hangs_through_the_rebuilding_is_left_behind(bench: Bench) -> None:
    hanging, failing = bench.child("hanging"), bench.child("failing")
    bench.start(FRAGILE, Rebuild(cool_down_s=0.0, end_s=0.1))
    gate = threading.Event()
    hanging.tell(gate)
    failing.tell(ValueError("bad"))
    until_answered(hanging, 2)  # until it has failed the engine runs, and then it is degraded
    gate.set()
    bench.log.wait_for(lambda told: ("returned", "hanging", True) in told)
    assert ask(hanging) == 2


def test_a_callback_for_states_that_fails_changes_nothing(bench: Bench) -> None:
    address = bench.child("a")

    def faulty(*_: object) -> None:
        raise KeyError("host")

    bench.system.start(
        bench.specs, rule=FRAGILE, rebuild=Rebuild(cool_down_s=0.0), on_change=faulty
    )
    address.tell(ValueError("bad"))
    with pytest.raises(PrefetchError):
        ask(address, "behind")
    until_answered(address, 2)


def until_answered(address: Address, incarnation: int) -> None:
    for _ in range(2_000):
        try:
            assert address.ask("x", timeout=PATIENCE_S) == incarnation
        except AskTimeout:
            raise
        except PrefetchError:
            threading.Event().wait(0.001)  # degraded still
        else:
            return
    raise AssertionError("never answered")


# ---- inboxes ---------------------------------------------------------------------------------


def messages(inbox: Inbox) -> list[Any]:
    found = []
    while (envelope := inbox.get_nowait()) is not None:
        found.append(envelope.message)
    return found


def filled(*texts: str) -> Inbox:
    inbox = Inbox()
    for text in texts:
        inbox.put(Envelope(text))
    return inbox


def test_what_is_put_back_comes_first_and_in_its_order() -> None:
    inbox = filled("c", "d")
    inbox.put_back([Envelope("a"), Envelope("b")])
    assert messages(inbox) == ["a", "b", "c", "d"]


def test_what_is_taken_out_leaves_the_others_in_their_order() -> None:
    inbox = filled("a", "x1", "b", "x2", "c")
    assert inbox.take_out(lambda message: message.startswith("x")) == ["x1", "x2"]
    assert messages(inbox) == ["a", "b", "c"]


def test_a_closed_inbox_tells_its_consumer_to_stop_and_may_be_opened_again() -> None:
    inbox = filled("a")
    error = EngineStopped("over")
    assert inbox.closing() is None
    inbox.close(error)
    closing = inbox.closing()
    assert closing is not None
    assert closing.message == Stop(error)
    assert inbox.put(Envelope("refused")) is False
    inbox.reopen()
    assert inbox.put(Envelope("b"))
    assert messages(inbox) == ["b"]


def test_whoever_must_know_is_told_what_was_not_delivered_and_why() -> None:
    told: list[tuple[Any, str]] = []
    inbox = Inbox(bound=1, undelivered=lambda message, error: told.append((message, str(error))))
    inbox.put(Envelope("waiting"))
    inbox.put(Envelope("too many"))
    inbox.put(Envelope(Ping()))  # the runtime's own are nobody's loss
    inbox.close(EngineStopped("over"))
    inbox.put(Envelope("too late"))
    assert [message for message, _ in told] == ["too many", "waiting", "too late"]
    assert told[1][1] == "over"


def test_a_change_of_context_keeps_its_place_behind_the_submits_before_it() -> None:
    address = Address("planner", Inbox(), PLANNER_CONTROL)
    submit, change, busy = Submit("s", ()), ContextChanged("s", "new"), HostBusy()
    for message in (submit, change, busy):
        address.tell(message)
    assert messages(address.inbox) == [busy, submit, change]


# ---- the timer -------------------------------------------------------------------------------


def test_the_timer_calls_its_watch_again_and_again() -> None:
    looks = Recorder()
    timer = Timer("t", watch=lambda: looks.tell("look"), watch_s=0.005)
    timer.start()
    looks.wait_for(lambda told: len(told) >= 3)
    timer.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_timer_whose_thread_died_is_revived_with_its_deadlines() -> None:
    class Deadly:
        def tell(self, _message: object, /) -> bool:
            raise SystemExit("killed from outside")

    timer, told = Timer("t"), Recorder()
    timer.arm(told, 2.0, 0.05)
    deadly: Any = Deadly()
    timer.arm(deadly, 1.0, 0.0)
    timer.start()
    thread = timer.thread
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    timer.revive()
    told.wait_for(bool)
    timer.stop()
    timer.revive()
    assert not timer.thread.is_alive()


def test_what_is_told_of_a_child_being_down_is_the_delay_until_it_is_back(bench: Bench) -> None:
    address = bench.child("a")
    bench.start(RestartRule(intensity=2, base_s=0.01, most_s=0.01, jitter=0.0))
    send: Callable[[], bool] = lambda: address.tell(ValueError("bad"))  # noqa: E731
    send()
    assert ask(address) == 2
    send()
    assert ask(address) == 3
    send()
    bench.wait_state(State.FAILED)
    assert bench.down.messages == [0.0, 0.01, float("inf")]
