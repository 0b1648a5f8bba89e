"""The timer thread and the clocks."""

import threading
import time

import pytest

from prefetch_scheduler.actors.clock import ScaledClock, SystemClock, local_day
from prefetch_scheduler.actors.signals import Tick
from prefetch_scheduler.actors.timer import Timer
from support.actors import PATIENCE_S, Recorder


class Through:
    """One of several addresses whose messages meet in one recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def tell(self, message: object, /) -> bool:
        return self.recorder.tell(message)


def test_ticks_come_in_the_order_of_their_deadlines() -> None:
    timer, told = Timer("t"), Recorder()
    timer.arm(Through(told), 3.0, 0.03)
    timer.arm(Through(told), 1.0, 0.0)
    timer.arm(Through(told), 2.0, 0.015)
    timer.start()
    told.wait_for(lambda messages: messages == [Tick(1.0), Tick(2.0), Tick(3.0)])
    timer.stop()


def test_arming_again_replaces_the_deadline_before() -> None:
    timer, told, other = Timer("t"), Recorder(), Recorder()
    timer.arm(told, 1.0, 0.01)
    timer.arm(told, 2.0, 0.0)
    timer.arm(other, 3.0, 0.05)  # later than the one that was replaced
    timer.start()
    other.wait_for(bool)
    assert told.messages == [Tick(2.0)]
    timer.stop()


def test_replaced_deadlines_do_not_pile_up() -> None:
    timer, told = Timer("t"), Recorder()
    timer.start()
    for _ in range(2000):
        timer.arm(told, 9.0, 3600.0)
    timer.arm(told, 1.0, 0.0)
    told.wait_for(lambda messages: messages == [Tick(1.0)])
    timer.stop()


def test_stopping_sends_nothing_more_and_ends_the_thread() -> None:
    timer, told = Timer("t"), Recorder()
    timer.start()
    timer.arm(told, 1.0, 3600.0)
    timer.stop(PATIENCE_S)
    timer.stop(PATIENCE_S)
    assert not timer.thread.is_alive()
    assert told.messages == []


def test_a_timer_never_started_can_be_stopped() -> None:
    Timer("t").stop()


def test_the_timer_may_be_stopped_from_a_tick() -> None:
    timer = Timer("t")
    stopped = threading.Event()

    class Stopper:
        def tell(self, message: object, /) -> bool:
            timer.stop()
            stopped.set()
            return True

    timer.start()
    timer.arm(Stopper(), 1.0, 0.0)
    assert stopped.wait(PATIENCE_S)
    timer.thread.join(PATIENCE_S)
    assert not timer.thread.is_alive()


def test_the_system_clock_starts_near_zero_and_runs_at_real_speed() -> None:
    clock = SystemClock()
    assert 0.0 <= clock.now() < 60.0
    assert clock.real(2.5) == 2.5
    assert abs(clock.wall() - time.time()) < 60.0
    assert clock.today() == local_day(clock.wall())


def test_a_scaled_clock_runs_faster_by_its_speed() -> None:
    clock = ScaledClock(1000.0)
    before = time.monotonic()
    first = clock.now()
    while clock.now() < first + 1.0:
        pass
    assert time.monotonic() - before < 1.0
    assert clock.real(1000.0) == 1.0
    assert clock.wall() - time.time() >= 0.9


def test_a_scaled_clock_moves_the_day_with_its_own_time() -> None:
    clock = ScaledClock(86_400_000.0)
    today = clock.today()
    first = clock.now()
    while clock.now() < first + 2 * 86_400:
        pass
    assert clock.today() >= today + 2


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_is_not_positive_and_finite_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed must be"):
        ScaledClock(speed)
