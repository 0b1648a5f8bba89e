"""Hands the engine's events to host callbacks, so that no other actor runs host code.

Each subscriber has a bounded queue and, while it has events, a thread of its own: one that blocks
or raises harms neither the engine nor the other subscribers. A callback may unsubscribe, and
may stop the engine: nothing ever waits for the thread that it runs in.
"""

import inspect
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from prefetch_scheduler.actors.base import EngineActor, Home
from prefetch_scheduler.actors.slot_threads import SlotThreads
from prefetch_scheduler.policies.values import frozen

logger = logging.getLogger(__name__)

EVENT_BOUND = 1000
"""Events that wait for one subscriber; past it the newest are dropped."""


@frozen
class Publish:
    """Tell every subscriber of this event."""

    event: Any


class _Subscriber:
    """One callback with the events that wait for it."""

    def __init__(self, callback: Callable[[Any], object], slots: SlotThreads, bound: int) -> None:
        self.active = True
        self.dropped = 0
        self._callback = callback
        self._slots = slots
        self._bound = bound
        self._events: deque[Any] = deque()
        self._turn: list[None] = [None]  # held by the thread that delivers: popping is atomic

    def offer(self, event: Any) -> None:
        """Queue an event and see to it that a thread delivers it. Never waits."""
        if len(self._events) >= self._bound:
            self.dropped += 1
            return
        self._events.append(event)
        if self._take_turn():
            try:
                self._slots.run(self._deliver, "callback")
            except RuntimeError:  # stopped, or no thread to be had: tried again at the next event
                self._turn.append(None)

    def _take_turn(self) -> bool:
        try:
            self._turn.pop()
        except IndexError:
            return False
        return True

    def _deliver(self) -> None:
        while True:
            while self._events and self.active:
                self._call(self._events.popleft())
            self._turn.append(None)
            # An event queued just before the turn was given back would find nobody to deliver it.
            if not (self._events and self.active and self._take_turn()):
                return

    def _call(self, event: Any) -> None:
        try:
            result = self._callback(event)
            if inspect.iscoroutine(result):
                result.close()  # there is no loop that could run it
                logger.warning("a subscriber returned a coroutine, which is not run")
        except BaseException:  # host code; its faults are its own
            logger.exception("a subscriber failed on %s", type(event).__name__)


class Subscribers:
    """The host's callbacks. Kept outside the actor, so that they survive its restart.

    All methods may be called from any thread, a callback's own included.
    """

    def __init__(self, slots: SlotThreads, bound: int = EVENT_BOUND) -> None:
        self._slots = slots
        self._bound = bound
        self._subscribers: dict[object, _Subscriber] = {}
        self._dropped_before = 0

    def subscribe(self, callback: Callable[[Any], object]) -> Callable[[], None]:
        """Call `callback(event)` for each event from now on, one at a time, in order.

        Returns:
            A function that ends it; it may be called again. No call begins after it returned,
            except where one was beginning at that moment in another thread.

        Raises:
            TypeError: `callback` cannot be called, or is async.
        """
        called = getattr(callback, "__call__", None)  # noqa: B004 - its code is looked at
        is_async = inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(called)
        if not callable(callback) or is_async:
            hint = "; an async one can be scheduled from it by run_coroutine_threadsafe"
            raise TypeError(
                f"subscribe takes a plain function of one event, got {callback!r}"
                f"{hint if is_async else ''}"
            )
        token = object()
        subscriber = _Subscriber(callback, self._slots, self._bound)
        self._subscribers[token] = subscriber

        def unsubscribe() -> None:
            subscriber.active = False
            if self._subscribers.pop(token, None) is not None:
                self._dropped_before += subscriber.dropped

        return unsubscribe

    def offer(self, event: Any) -> None:
        """Queue an event for every subscriber."""
        for subscriber in list(self._subscribers.values()):
            subscriber.offer(event)

    @property
    def dropped(self) -> int:
        """Events dropped because a subscriber was too slow."""
        return self._dropped_before + sum(s.dropped for s in list(self._subscribers.values()))

    def __len__(self) -> int:
        return len(self._subscribers)


class Notifier(EngineActor):
    """Takes events from the other actors and queues them for the subscribers."""

    def __init__(self, home: Home, subscribers: Subscribers) -> None:
        super().__init__(home)
        self._subscribers = subscribers

    def on_receive(self, message: Publish) -> None:
        self._subscribers.offer(message.event)
