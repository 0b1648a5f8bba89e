"""The Supervisor with real children: order, restarts, groups, limits, giving up."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pykka
import pytest

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.base import EngineActor, Home
from prefetch_scheduler.actors.signals import ChildStarted
from prefetch_scheduler.actors.supervisor import ChildSpec, Health, Restart, StopAll
from prefetch_scheduler.actors.system import ActorSystem
from prefetch_scheduler.policies.errors import EngineFailed, EngineStopped
from prefetch_scheduler.policies.restarts import RestartRule
from support.actors import PATIENCE_S, Recorder, actor_system


class Child(EngineActor):
    """Notes its life in a log; raises, blocks or answers as its messages say."""

    def __init__(self, home: Home, log: Recorder, on_start: Callable[[int], object]) -> None:
        super().__init__(home)
        self._log = log
        self._hook = on_start

    def on_start(self) -> None:
        self._hook(self.home.incarnation)
        self._log.tell(("start", self.home.role, self.home.incarnation))

    def on_stop(self) -> None:
        self._log.tell(("stop", self.home.role, self.home.incarnation))

    def on_receive(self, message: Any) -> Any:
        match message:
            case BaseException():
                raise message
            case threading.Event() as entered, threading.Event() as gate:
                entered.set()
                gate.wait(PATIENCE_S)
            case _:
                return (self.home.incarnation, message)
        return None


class Bench:
    def __init__(self, system: ActorSystem) -> None:
        self.system = system
        self.log = Recorder()
        self.failures = Recorder()
        self.specs: list[ChildSpec] = []

    def child(
        self,
        name: str,
        *,
        group: str | None = None,
        restart: Restart = Restart.PERMANENT,
        shutdown_s: float = 2.0,
        on_start: Callable[[int], object] = lambda _: None,
    ) -> Address:
        address = self.system.address(name)

        def start(home: Home) -> "pykka.ActorRef[Any]":
            return Child.start(home, self.log, on_start)

        self.specs.append(
            ChildSpec(
                address=address,
                start=start,
                restart=restart,
                shutdown_s=shutdown_s,
                group=group,
            )
        )
        return address

    def start(self, rule: RestartRule | None = None, timeout: float = 5.0) -> None:
        self.system.start(
            self.specs,
            rule=rule,
            on_failed=self.failures.tell,
            timeout=timeout,
        )

    def events(self, kind: str) -> list[tuple[str, int]]:
        return [(role, n) for event, role, n in self.log.messages if event == kind]

    def health(self) -> Health:
        return self.system.health(PATIENCE_S)

    def wait_state(self, name: str, state: str) -> None:
        """Each ask of the health is a barrier behind the signals sent before it."""
        for _ in range(20_000):
            if {c.name: c.state for c in self.health().children}.get(name) == state:
                return
        raise AssertionError(self.health())


@pytest.fixture
def bench() -> Iterator[Bench]:
    with actor_system() as system:
        yield Bench(system)


def ask(address: Address, message: Any = "x") -> Any:
    return address.ask(message, timeout=PATIENCE_S)


def test_children_start_in_order_and_stop_in_reverse(bench: Bench) -> None:
    for name in "abc":
        bench.child(name)
    bench.start()
    assert bench.events("start") == [("a", 1), ("b", 1), ("c", 1)]
    assert bench.health().state == "ok"
    assert bench.system.stop(5.0) == ()
    assert bench.events("stop") == [("c", 1), ("b", 1), ("a", 1)]
    assert bench.health().state == "failed"  # nobody there to answer


def test_stopping_twice_does_no_harm_and_asks_end_with_an_error(bench: Bench) -> None:
    address = bench.child("a")
    bench.start()
    bench.system.stop(5.0)
    bench.system.stop(5.0)
    with pytest.raises(EngineStopped):
        ask(address)


def test_a_failed_child_is_restarted_at_once_under_the_same_address(bench: Bench) -> None:
    first, second = bench.child("a"), bench.child("b")
    bench.start()
    first.tell(ValueError("bad"))
    assert ask(first) == (2, "x")
    assert ask(second) == (1, "x")
    bench.wait_state("a", "running")
    (health, _) = bench.health().children
    assert (health.name, health.restarts, health.error) == ("a", 1, "ValueError('bad')")


def test_messages_behind_many_failures_are_all_handled_in_order(bench: Bench) -> None:
    address = bench.child("a")
    bench.start(RestartRule(intensity=1000, base_s=0.0, most_s=0.0))
    got = Recorder()

    class Note:
        """Answers are told to the recorder, in the order of handling."""

        done = False

        def set(self, value: Any) -> bool:
            return got.tell(value[1])

        def fail(self, error: BaseException) -> bool:
            return got.tell(error)

    for number in range(300):
        if number % 10 == 5:
            address.tell(ValueError(number))
        address.send(number, Note())
    got.wait_for(lambda messages: len(messages) == 300)
    assert got.messages == list(range(300))
    assert bench.system.dead_letters.counts() == {"ValueError": 30}


def test_too_many_failures_stop_everything_and_say_why(bench: Bench) -> None:
    first, second = bench.child("a"), bench.child("b")
    bench.start(RestartRule(intensity=2, base_s=0.0, most_s=0.0))
    for _ in range(3):
        first.tell(ValueError("poison"))
    bench.failures.wait_for(bool)
    assert bench.failures.messages == [
        "a failed more than 2 times in 60 s, last by: ValueError('poison')"
    ]
    for address in (first, second):
        with pytest.raises(EngineFailed, match="poison"):
            ask(address)
    health = bench.health()
    assert health.state == "failed"
    assert "poison" in (health.reason or "")


def test_a_callback_for_failure_that_fails_itself_does_not_stop_the_stopping(
    bench: Bench,
) -> None:
    address = bench.child("a")

    def faulty(reason: str) -> None:
        raise KeyError(reason)

    bench.system.start(bench.specs, rule=RestartRule(intensity=0), on_failed=faulty)
    address.tell(ValueError("poison"))
    with pytest.raises(EngineFailed):
        ask(address, "behind")


def test_the_second_restart_of_a_window_waits_and_the_child_counts_as_down(bench: Bench) -> None:
    address = bench.child("a")
    bench.start(RestartRule(base_s=3600.0, most_s=3600.0))
    address.tell(ValueError("one"))
    ask(address)
    address.tell(ValueError("two"))
    bench.wait_state("a", "restarting")
    assert bench.health().state == "degraded"
    # A stop need not wait for the back-off.
    assert bench.system.stop(5.0) == ()


def test_a_back_off_ends_by_itself(bench: Bench) -> None:
    address = bench.child("a")
    bench.start(RestartRule(base_s=0.02, most_s=0.02))
    for _ in range(3):
        address.tell(ValueError("bad"))
    assert ask(address) == (4, "x")


def test_rest_for_one_restarts_what_was_started_after_it_in_its_group(bench: Bench) -> None:
    before = bench.child("before", group="g")
    failing = bench.child("failing", group="g")
    after = bench.child("after", group="g")
    last = bench.child("last", group="g")
    other = bench.child("other")
    bench.start()
    failing.tell(ValueError("bad"))
    bench.log.wait_for(lambda told: ("start", "last", 2) in told)
    assert ask(last) == (2, "x")
    assert [ask(a)[0] for a in (before, failing, after, other)] == [1, 2, 2, 1]
    starts = bench.events("start")[5:]
    assert starts == [("failing", 2), ("after", 2), ("last", 2)]
    assert sorted(bench.events("stop")) == [("after", 1), ("last", 1)]


def test_a_transient_child_that_ends_in_good_order_is_not_restarted(bench: Bench) -> None:
    address = bench.child("once", restart=Restart.TRANSIENT)
    bench.start()
    (ref,) = pykka.ActorRegistry.get_by_class(Child)
    ref.stop(timeout=PATIENCE_S)
    bench.wait_state("once", "stopped")
    assert bench.health().state == "ok"
    with pytest.raises(EngineStopped, match="once has ended"):
        ask(address)


def test_a_permanent_child_stopped_by_somebody_else_comes_back(bench: Bench) -> None:
    address = bench.child("a")
    bench.start()
    (ref,) = pykka.ActorRegistry.get_by_class(Child)
    ref.stop(timeout=PATIENCE_S)
    assert ask(address) == (2, "x")


def test_a_child_that_cannot_start_fails_the_start_and_the_others_are_stopped(
    bench: Bench,
) -> None:
    def unable(_: int) -> None:
        raise ValueError("no database")

    bench.child("a")
    bench.child("b", on_start=unable)
    bench.child("c")
    with pytest.raises(EngineFailed, match="b did not start: ValueError"):
        bench.start()
    assert bench.events("start") == [("a", 1)]
    assert bench.events("stop") == [("a", 1)]


def test_a_child_that_does_not_confirm_its_start_fails_it(bench: Bench) -> None:
    gate = threading.Event()
    bench.child("slow", on_start=lambda _: gate.wait(PATIENCE_S))
    with pytest.raises(EngineFailed, match="slow did not start: did not confirm"):
        bench.start(timeout=0.05)
    gate.set()


def test_a_restart_that_fails_in_on_start_is_tried_again(bench: Bench) -> None:
    def unable_once(incarnation: int) -> None:
        if incarnation == 2:
            raise ValueError("not yet")

    address = bench.child("a", on_start=unable_once)
    bench.start(RestartRule(base_s=0.0, most_s=0.0))
    address.tell(ValueError("bad"))
    assert ask(address) == (3, "x")


def test_a_child_that_hangs_is_left_behind_after_its_limit_and_named(bench: Bench) -> None:
    gate = threading.Event()
    bench.child("a")
    hanging = bench.child("hanging", shutdown_s=0.05)
    bench.start()
    entered = threading.Event()
    hanging.tell((entered, gate))
    assert entered.wait(PATIENCE_S)
    left = bench.system.supervisor.ask(StopAll(5.0), timeout=PATIENCE_S)
    assert left == ("hanging",)
    assert bench.events("stop") == [("a", 1)]
    with pytest.raises(EngineStopped):
        ask(hanging)
    gate.set()


def test_a_dead_supervisor_does_not_keep_the_system_from_stopping(bench: Bench) -> None:
    for name in "ab":
        bench.child(name)
    bench.start()
    bench.system.supervisor.tell(ChildStarted("no such child", 1))  # ends it by a KeyError
    bench.failures.wait_for(bool)
    assert "the Supervisor failed" in bench.failures.messages[0]
    assert bench.health().state == "failed"
    assert bench.system.stop(5.0) == ()
    assert sorted(bench.events("stop")) == [("a", 1), ("b", 1)]


def test_another_librarys_stop_all_is_reported_not_survived_in_silence(bench: Bench) -> None:
    bench.child("a")
    bench.start()
    pykka.ActorRegistry.stop_all(timeout=PATIENCE_S)
    assert bench.failures.messages == ["the Supervisor was stopped from outside"]


def test_two_systems_do_not_touch_each_other(bench: Bench) -> None:
    address = bench.child("a")
    bench.start()
    with actor_system("other") as other_system:
        other = Bench(other_system)
        other.child("a")
        other.start()
        other_system.stop(5.0)
    assert ask(address) == (1, "x")


def test_a_system_that_was_never_started_leaves_nothing() -> None:
    with actor_system() as system:
        assert system.stop(1.0) == ()
