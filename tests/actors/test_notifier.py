"""Host callbacks: in order, apart from each other and from the engine."""

import threading
from collections.abc import Iterator

import pytest

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.notifier import Notifier, Publish, Subscribers
from prefetch_scheduler.actors.supervisor import ChildSpec
from prefetch_scheduler.actors.system import ActorSystem
from support.actors import PATIENCE_S, Recorder, actor_system


class Bench:
    def __init__(self, system: ActorSystem, bound: int = 1000) -> None:
        self.system = system
        self.subscribers = Subscribers(system.slots("callback"), bound)
        self.address: Address = system.address("notifier", bound=1000)
        spec = ChildSpec(
            address=self.address, start=lambda home: Notifier.start(home, self.subscribers)
        )
        system.start([spec])

    def publish(self, *events: object) -> None:
        for event in events:
            assert self.address.tell(Publish(event))


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with actor_system() as made:
        yield made


def test_each_subscriber_gets_every_event_in_order(system: ActorSystem) -> None:
    bench, first, second = Bench(system), Recorder(), Recorder()
    bench.subscribers.subscribe(first.tell)
    bench.subscribers.subscribe(second.tell)
    bench.publish(*range(200))
    for recorder in (first, second):
        recorder.wait_for(lambda got: got == list(range(200)))


def test_a_callback_that_raises_or_blocks_harms_no_other(system: ActorSystem) -> None:
    bench, good, gate = Bench(system), Recorder(), threading.Event()

    def bad(event: object) -> None:
        raise SystemExit(1)

    bench.subscribers.subscribe(bad)
    bench.subscribers.subscribe(lambda _: gate.wait(PATIENCE_S))
    bench.subscribers.subscribe(good.tell)
    bench.publish(1, 2, 3)
    good.wait_for(lambda got: got == [1, 2, 3])
    assert system.health().state == "ok"
    gate.set()


def test_a_slow_subscriber_loses_the_newest_events_and_they_are_counted(
    system: ActorSystem,
) -> None:
    bench, gate, entered = Bench(system, bound=5), threading.Event(), threading.Event()
    got = Recorder()

    def slow(event: object) -> None:
        entered.set()
        gate.wait(PATIENCE_S)
        got.tell(event)

    bench.subscribers.subscribe(slow)
    bench.publish(0)
    assert entered.wait(PATIENCE_S)
    bench.publish(*range(1, 11))
    bench.address.ask(Publish(11), timeout=PATIENCE_S)  # handled: so are those before it
    gate.set()
    got.wait_for(lambda messages: len(messages) == 6)
    assert got.messages == [0, 1, 2, 3, 4, 5]
    assert bench.subscribers.dropped == 6


def test_unsubscribing_from_the_callback_itself_works_and_may_be_repeated(
    system: ActorSystem,
) -> None:
    bench, got, after = Bench(system), Recorder(), Recorder()

    def once(event: object) -> None:
        got.tell(event)
        unsubscribe()
        unsubscribe()

    unsubscribe = bench.subscribers.subscribe(once)
    bench.publish(1, 2, 3)
    got.wait_for(bool)
    bench.subscribers.subscribe(after.tell)
    bench.publish(4)
    after.wait_for(bool)
    assert got.messages == [1]
    assert len(bench.subscribers) == 1


def test_the_engine_can_be_stopped_from_a_callback(system: ActorSystem) -> None:
    bench, result = Bench(system), Recorder()
    bench.subscribers.subscribe(lambda _: result.tell(system.stop(5.0)))
    bench.publish("stop")
    result.wait_for(bool)
    (left,) = result.messages
    assert all("callback" in name for name in left)  # at most the thread that stops it


def test_what_cannot_be_called_is_refused(system: ActorSystem) -> None:
    subscribers = Subscribers(system.slots("callback"))
    with pytest.raises(TypeError, match="function of one event"):
        subscribers.subscribe("not a function")  # type: ignore[arg-type]  # wrong on purpose
