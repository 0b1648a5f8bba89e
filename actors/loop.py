"""An actor whose thread is an asyncio event loop: messages, tasks and deadlines in one thread."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from prefetch_scheduler.actors.base import BATCH, EngineActor, Home
from prefetch_scheduler.actors.inbox import BACKSTOP_S

logger = logging.getLogger(__name__)

GRACE_S = 0.25
"""Real seconds that cancelled tasks are given to end when the actor stops."""

_LONGEST_DELAY_S = 86_400.0


class LoopActor(EngineActor):
    """Base of actors that run coroutines. Subclasses implement `on_posted` besides the rest.

    The inbox wakes the loop; the same guard, lanes and bounds hold as for every other actor.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._posted: deque[Any] = deque()
        self._post_armed = False
        self._deadline_handle: asyncio.TimerHandle | None = None
        self._loop_made = False
        self._closing_loop = False
        """Whether the loop goes on only until what was cancelled has ended."""

    def post(self, event: Any) -> None:
        """Hand an event of the actor's own work to `on_posted`, from any thread.

        It ends with this incarnation, unlike a message, which a successor might get.
        """
        self._posted.append(event)
        if not self._post_armed:
            self._post_armed = True
            self._wake()

    def here(self, action: Callable[..., None], *args: Any) -> None:
        """Call `action` in the loop's own thread, at once, after what has been posted by now;
        guarded, with a flush in the loop's next turn.
        """
        if not self._post_armed:
            self._post_armed = True
            self.loop.call_soon(self._drain)
        while self._posted and not self.actor_stopped.is_set():
            self._protect(self.on_posted, self._posted.popleft())
        if not self.actor_stopped.is_set():
            self._protect(action, *args)

    def soon(self, action: Callable[[], None]) -> None:
        """Call `action` in the loop's next turn, guarded, then handle what was posted by then."""
        self._post_armed = True
        self.loop.call_soon(self._then_drain, action)

    def on_posted(self, event: Any) -> None:
        """Handle an event that was posted; guarded and batched as messages are."""

    def task_name(self, task: asyncio.Task[Any]) -> str:
        """What a task that is left behind is called."""
        return task.get_name()

    def after_loop_made(self) -> None:
        """The loop exists now, and does not run yet."""

    def later(self, delay_s: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        """Call `action` in so many real seconds, guarded, with a flush after it."""
        delay = min(max(delay_s, 0.0), _LONGEST_DELAY_S)
        return self.loop.call_later(delay, self._guard, action)

    # ---- the loop --------------------------------------------------------------------------

    def _actor_loop_running(self) -> None:
        if self.actor_stopped.is_set():
            return
        self.loop = self.home.address.loop = asyncio.new_event_loop()
        self._loop_made = True
        try:
            self.after_loop_made()
            self.inbox.attach(self._wake)
            self._flush()
            self._backstop()
            while not self.actor_stopped.is_set():
                self._run_loop()
        except BaseException as error:  # noqa: BLE001 - the guard
            self._fail(error, "the event loop")
        finally:
            self.inbox.detach(self._wake)

    def _actor_loop_teardown(self) -> None:
        """Where it failed its Supervisor hears of it first: a successor, which has a loop of its
        own, need not wait until what still runs in this one has been cancelled.
        """
        failed = self._error is not None
        if failed:
            super()._actor_loop_teardown()
        if self._loop_made:
            self._close_loop()
        if not failed:
            super()._actor_loop_teardown()

    def _run_loop(self) -> None:
        try:
            self.loop.run_forever()
        except BaseException:
            # asyncio lets SystemExit and KeyboardInterrupt of any task through run_forever.
            # Such a task is a source's own; the loop is sound and goes on.
            logger.exception("%s: a task raised out of the event loop", self.home.role)

    def _wake(self) -> None:
        with suppress(RuntimeError):  # closed: this incarnation has ended
            self.loop.call_soon_threadsafe(self._drain)

    def _backstop(self) -> None:
        self._drain()
        self.loop.call_later(BACKSTOP_S, self._backstop)

    def _drain(self) -> None:
        self._post_armed = False
        if self._closing_loop:
            return
        budget = BATCH
        while budget and not self.actor_stopped.is_set():
            budget -= 1
            if self._posted:
                self._protect(self.on_posted, self._posted.popleft())
                continue
            envelope = self.inbox.get_nowait() or self.inbox.closing()
            if envelope is None:
                break
            self._receive(envelope)
        self._flush()
        if self.actor_stopped.is_set():
            self.loop.stop()
        elif self._posted or not self.inbox.sleep():
            self.loop.call_soon(self._drain)

    def _then_drain(self, action: Callable[[], None]) -> None:
        if not self.actor_stopped.is_set():
            self._protect(action)
        self._drain()

    def _guard(self, action: Callable[[], None]) -> None:
        if self.actor_stopped.is_set():
            return
        self._protect(action)
        self._flush()
        if self.actor_stopped.is_set():
            self.loop.stop()

    def _protect(self, action: Callable[..., None], *args: Any) -> None:
        try:
            action(*args)
        except BaseException as error:  # noqa: BLE001 - the guard
            self._fail(error, "its own work")

    def _arm(self, deadline: float) -> None:
        if self._deadline_handle is not None:
            self._deadline_handle.cancel()
        delay = self.home.clock.real(deadline - self.now)
        self._deadline_handle = self.later(delay, self._deadline_passed)

    def _deadline_passed(self) -> None:
        self._armed = None
        self._tick()

    def _close_loop(self) -> None:
        self._closing_loop = True
        try:
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self.loop.run_until_complete(asyncio.wait(tasks, timeout=GRACE_S))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self._leave(asyncio.all_tasks(self.loop))
        except BaseException:  # a source's own tasks; the actor ends all the same
            logger.exception("%s: its tasks did not end cleanly", self.home.role)
        finally:
            self.loop.close()

    def _leave(self, tasks: set[asyncio.Task[Any]]) -> None:
        """Tasks that ignored their cancellation: they never run again."""
        if not tasks:
            return
        self.loop.set_exception_handler(_left_before)
        names = sorted(map(self.task_name, tasks))
        if self._ended_well:
            for name in names:
                self.home.left_behind(name)
        else:
            text = "%s: tasks ignored their cancellation and are left behind: %s"
            logger.warning(text, self.home.role, ", ".join(names))


def _left_before(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """That a task was destroyed without having ended has been said already, in clearer words."""
    task = context.get("task")
    if not (isinstance(task, asyncio.Task) and not task.done()):
        loop.default_exception_handler(context)
