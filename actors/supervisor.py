"""The Supervisor: starts the actors in order, restarts those that fail, stops them in reverse.

The meanings are Erlang/OTP's: permanent and transient children, restart intensity within a true
time window, one_for_one, or rest_for_one within a named group, a time limit for each stop. It
never waits for a child: starts and stops are confirmed by messages, limits come as ticks. A child
that no longer answers its pings is left behind and replaced. What it cannot mend it escalates: it
stops everything and tells whoever started it (`ActorSystem`), which decides what comes next.

All its times are real seconds, whatever the speed of the engine's clock.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum, auto
from math import inf
from typing import Any, assert_never

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.base import EngineActor, Home
from prefetch_scheduler.actors.children import (
    ENDED,
    Child,
    ChildHealth,
    ChildSpec,
    ChildState,
    Health,
    HealthQuery,
    Restart,
    StartAll,
    StopAll,
    Watch,
)
from prefetch_scheduler.actors.log_fields import log_fields
from prefetch_scheduler.actors.reply import LATER, NO_REPLY, Reply
from prefetch_scheduler.actors.signals import ChildFailed, ChildStarted, ChildStopped, Stop
from prefetch_scheduler.policies.errors import EngineFailed, EngineStopped, PrefetchError
from prefetch_scheduler.policies.restarts import RestartHistory, RestartRule

logger = logging.getLogger(__name__)


class Phase(StrEnum):
    IDLE = auto()
    STARTING = auto()
    RUNNING = auto()
    STOPPING = auto()
    STOPPED = auto()


Message = StartAll | StopAll | HealthQuery | ChildStarted | ChildStopped | ChildFailed


class Supervisor(EngineActor):
    """Watches over the engine's actors.

    Args:
        home: its own place; `home.clock` must run at real speed.
        specs: the children, in starting order.
        child_home: makes the `Home` of a child's incarnation.
        rule: restart intensity and back-off, for each child.
        on_failed: told why, once, when it gives up; called in its thread, must return at once.
            What it returns is the error that waiting and later askers get.
        watch: when a child counts as hung.
        before: how many incarnations of each child an earlier Supervisor has started.
    """

    def __init__(
        self,
        home: Home,
        specs: Sequence[ChildSpec],
        child_home: Callable[[Address, int], Home],
        rule: RestartRule,
        on_failed: Callable[[str], object],
        watch: Watch | None = None,
        before: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(home)
        counts = before or {}
        self._children = [
            Child(
                spec,
                RestartHistory(spec.address.name, rule),
                incarnation=counts.get(spec.address.name, 0),
            )
            for spec in specs
        ]
        self._watch = watch or Watch()
        self._look_at: float | None = None
        self._by_name = {child.name: child for child in self._children}
        self._child_home = child_home
        self._on_failed = on_failed
        self._phase = Phase.IDLE
        self._start_limit = 5.0
        self._starter: Reply = NO_REPLY
        self._stoppers: list[Reply] = []
        self._stop_by = 0.0
        self._caller: int | None = None
        self._reason: str | None = None
        self._given_up: PrefetchError | None = None

    # ---- messages --------------------------------------------------------------------------

    def on_receive(self, message: Message) -> object:
        match message:
            case StartAll(timeout_s):
                return self._start_all(timeout_s)
            case StopAll():
                return self._stop_all(message)
            case HealthQuery():
                return self._health()
            case ChildStarted(name, incarnation):
                self._started(self._by_name[name], incarnation)
            case ChildStopped(name, incarnation):
                self._ended(self._by_name[name], incarnation, None)
            case ChildFailed(name, incarnation, error):
                self._ended(self._by_name[name], incarnation, error)
            case _:
                assert_never(message)
        return None

    def next_deadline(self) -> float | None:
        due = [c.due for c in self._children if c.due is not None]
        if self._look_at is not None:
            due.append(self._look_at)
        return min(due, default=None)

    def on_tick(self, now: float) -> None:
        for child in self._children:
            if child.due is None or child.due > now:
                continue
            match child.state:
                case ChildState.STARTING:
                    self._abandon(child)
                    self._failed(child, f"did not confirm its start within {self._start_limit:g} s")
                case ChildState.STOPPING:
                    self._abandon(child)
                    self._stopped(child)
                case _:
                    child.due = None
        self._look(now)
        self._proceed()

    def _look(self, now: float) -> None:
        """The watchdog: ping everyone, and replace who has missed too many looks."""
        if self._look_at is None or self._look_at > now:
            return
        self._look_at = now + self._watch.ping_s
        for child in self._children:
            if child.state is ChildState.RUNNING and self._watch.look(
                child.pulse, child.spec.address
            ):
                self._abandon(child)
                self._failed(child, f"took no message for {self._watch.hung_s:g} s")

    def on_stop(self) -> None:
        if self._phase not in (Phase.STOPPED, Phase.IDLE):
            self._report_failed("the Supervisor was stopped from outside")

    def on_failure(self, *exc_info: Any) -> None:
        self._report_failed(f"the Supervisor failed: {exc_info[1]!r}")

    # ---- starting --------------------------------------------------------------------------

    def _start_all(self, timeout_s: float) -> object:
        if self._phase is not Phase.IDLE:
            raise EngineStopped(f"cannot start: the actors are {self._phase}")
        self._phase = Phase.STARTING
        self._start_limit = timeout_s
        self._starter = self.current_reply
        self._start_next()
        return LATER

    def _start_next(self) -> None:
        for child in self._children:
            if child.state is ChildState.WAITING:
                self._launch(child)
                return
        self._phase = Phase.RUNNING
        self._look_at = self.now + self._watch.ping_s
        self._starter.set(None)

    def _launch(self, child: Child) -> None:
        child.incarnation += 1
        child.state = ChildState.STARTING
        child.due = self.now + self._start_limit
        try:
            home = self._child_home(child.spec.address, child.incarnation)
            child.pulse = home.pulse
            child.spec.start(home)
        except Exception as error:  # noqa: BLE001 - a child that cannot be made has failed
            self._failed(child, repr(error))

    def _started(self, child: Child, incarnation: int) -> None:
        if child.state is not ChildState.STARTING or child.incarnation != incarnation:
            return
        child.state = ChildState.RUNNING
        child.due = None
        if self._phase is Phase.STARTING:
            self._start_next()
        else:
            self._proceed()

    # ---- failing and restarting ------------------------------------------------------------

    def _ended(self, child: Child, incarnation: int, error: str | None) -> None:
        if child.incarnation != incarnation or child.state in ENDED:
            return
        if child.state is ChildState.STOPPING:
            self._stopped(child)
        elif error is None and child.spec.restart is Restart.TRANSIENT:
            child.state = ChildState.STOPPED
            child.due = None
            child.spec.address.close(EngineStopped(f"{child.name} has ended"))
        else:
            self._failed(child, error or "ended unasked")
        self._proceed()

    def _failed(self, child: Child, error: str) -> None:
        child.error = error
        if self._phase is Phase.STARTING:
            child.state, child.due = ChildState.STOPPED, None
            self._give_up(f"{child.name} did not start: {error}")
            return
        if self._phase is not Phase.RUNNING:
            self._stopped(child)
            return
        now = self.now
        delay = child.history.failed(now)
        self._tell_down(child, delay)
        if delay is None:
            child.state, child.due = ChildState.STOPPED, None
            rule = child.history.rule
            self._give_up(
                f"{child.name} failed more than {rule.intensity} times in {rule.period_s:g} s,"
                f" last by: {error}"
            )
            return
        fields = log_fields(actor=child.name, error=str(error))
        logger.warning("%s failed (%s), restart in %.3f s", child.name, error, delay, extra=fields)
        child.state = ChildState.RESTARTING
        child.due = now + delay
        self._stop_rest(child)
        self._proceed()

    def _tell_down(self, child: Child, delay: float | None) -> None:
        try:
            child.spec.on_down(inf if delay is None else delay)
        except Exception:  # not ours; restarting goes on
            logger.exception("what is told of %s being down failed itself", child.name)

    def _stop_rest(self, child: Child) -> None:
        """rest_for_one: those of its group that were started after it restart with it."""
        if child.spec.group is None:
            return
        later = self._children[self._children.index(child) + 1 :]
        for other in reversed(later):
            if other.spec.group != child.spec.group:
                continue
            if other.state in (ChildState.RUNNING, ChildState.STARTING):
                other.come_back = True
                self._tell_stop(other, None, self.now + other.spec.shutdown_s)

    def _proceed(self) -> None:
        """Take the next step: restart what is due, or stop the next child."""
        if self._phase is Phase.STOPPING:
            self._stop_next()
            return
        if self._phase is not Phase.RUNNING:
            return
        now = self.now
        held: set[str] = {
            c.spec.group for c in self._children if c.spec.group and c.state is ChildState.STOPPING
        }
        for child in self._children:
            group = child.spec.group
            if child.state is ChildState.RESTARTING and (child.due is None or child.due <= now):
                if group in held:
                    child.due = None  # its turn comes with a message of the one it waits for
                else:
                    child.restarts += 1
                    self._launch(child)
            # Within a group each waits for those before it, as at the start.
            if group and child.state in (ChildState.RESTARTING, ChildState.STARTING):
                held.add(group)

    def _give_up(self, reason: str) -> None:
        self._report_failed(reason)
        if self._phase is Phase.STOPPING:
            return
        self._phase = Phase.STOPPING
        self._stop_by = self.now + sum(child.spec.shutdown_s for child in self._children)
        self._proceed()

    def _report_failed(self, reason: str) -> None:
        if self._reason is not None:
            return
        self._reason = reason
        logger.error("the engine failed: %s", reason, extra=log_fields(error=reason))
        try:
            error = self._on_failed(reason)
            self._given_up = error if isinstance(error, PrefetchError) else None
        except Exception:  # the callback is not ours; stopping goes on
            logger.exception("the callback for a failed engine failed itself")

    # ---- stopping --------------------------------------------------------------------------

    def _stop_all(self, message: StopAll) -> object:
        if self._phase in (Phase.STOPPED, Phase.IDLE):
            self._phase = Phase.STOPPED
            self._close(self._children)
            return self._left_behind()
        self._stoppers.append(self.current_reply)
        self._stop_by = self.now + message.timeout_s
        self._caller = message.caller
        if self._phase is Phase.STARTING:
            self._starter.fail(EngineStopped("stopped while it was starting"))
        self._phase = Phase.STOPPING
        for child in self._children:
            child.come_back = False
            if child.state is ChildState.STOPPING and child.due is not None:
                child.due = min(child.due, self._stop_by)
        self._proceed()
        return LATER

    def _stop_next(self) -> None:
        error = self._stop_error()
        for child in reversed(self._children):
            if child.state is ChildState.STOPPING:
                return
            if child.state in (ChildState.RUNNING, ChildState.STARTING):
                if child.spec.address.owner != self._caller or self._caller is None:
                    limit = min(self.now + child.spec.shutdown_s, self._stop_by)
                    self._tell_stop(child, error, limit)
                    return
                # It runs the code that stops the engine: it ends when that code returns.
                child.spec.address.tell(Stop(error))
            if child.state is not ChildState.ABANDONED:
                child.state, child.due = ChildState.STOPPED, None
            child.spec.address.close(error)
        self._finish()

    def _finish(self) -> None:
        self._phase = Phase.STOPPED
        self._look_at = None
        if self._reason is not None:
            self._starter.fail(EngineFailed(self._reason))
        for reply in self._stoppers:
            reply.set(self._left_behind())
        self._stoppers.clear()

    def _tell_stop(self, child: Child, error: PrefetchError | None, limit: float) -> None:
        child.state = ChildState.STOPPING
        child.due = limit
        child.spec.address.tell(Stop(error))

    def _stopped(self, child: Child) -> None:
        child.due = None
        if child.come_back and self._phase is Phase.RUNNING:
            child.come_back = False
            child.state = ChildState.RESTARTING
            return
        if child.state is not ChildState.ABANDONED:
            child.state = ChildState.STOPPED
        child.spec.address.close(self._stop_error())

    def _abandon(self, child: Child) -> None:
        """Leave a child that hangs: should it ever return, it finds itself stopped."""
        logger.error("%s hangs and is left behind", child.name)
        child.spec.address.abandon()
        child.state = ChildState.ABANDONED

    def _stop_error(self) -> PrefetchError:
        if self._given_up is not None:
            return self._given_up
        if self._reason is not None:
            return EngineFailed(self._reason)
        return EngineStopped("the engine has been stopped")

    def _close(self, children: Iterable[Child]) -> None:
        for child in children:
            child.spec.address.close(self._stop_error())

    def _left_behind(self) -> tuple[str, ...]:
        return tuple(c.name for c in self._children if c.state is ChildState.ABANDONED)

    # ---- health ----------------------------------------------------------------------------

    def _health(self) -> Health:
        children = tuple(
            ChildHealth(c.name, str(c.state), c.restarts, *c.spec.address.fill(), c.error)
            for c in self._children
        )
        if self._reason is not None:
            return Health("failed", children, self._reason)
        fine = self._phase is Phase.RUNNING and all(
            c.state is ChildState.RUNNING
            or (c.state is ChildState.STOPPED and c.spec.restart is Restart.TRANSIENT)
            for c in self._children
        )
        down = [
            f"{c.name} is {c.state}" + (f": {c.error}" if c.error else "")
            for c in self._children
            if c.state is not ChildState.RUNNING
        ]
        return Health("ok", children) if fine else Health("degraded", children, "; ".join(down))


__all__ = [
    "ChildHealth",
    "ChildSpec",
    "Health",
    "HealthQuery",
    "Restart",
    "StartAll",
    "StopAll",
    "Supervisor",
    "Watch",
]
