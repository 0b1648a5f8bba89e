"""The Planner actor: turns messages into the machine's events and carries its effects out.

Effects are gathered and sent once a batch of messages is handled: counts first, so that whoever
is answered finds them in a report; then pools and cache; answers last.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve

from prefetch_scheduler.actors.base import LATER, EngineActor, Home
from prefetch_scheduler.actors.messages import PlannerMessage, PlannerStatus, PlannerStatusQuery
from prefetch_scheduler.actors.ports import Address
from prefetch_scheduler.actors.reply import NO_REPLY, Reply
from prefetch_scheduler.actors.tickets import AskedPlan
from prefetch_scheduler.actors.view import PublishedView
from prefetch_scheduler.policies.cache_events import Resident
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.errors import EngineStopped
from prefetch_scheduler.policies.metrics_events import Events, MetricsEvent
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import (
    Answer,
    Count,
    Demand,
    Done,
    HostEvent,
    ImmediateDone,
    Log,
    PinKey,
    PlanMade,
    PlannerEffect,
    PlannerTick,
    Refuse,
    Retry,
    Submit,
    Tell,
    ToCache,
    ToPool,
)
from prefetch_scheduler.policies.pool_events import ResetPool
from prefetch_scheduler.policies.source_info import SourceTable
from prefetch_scheduler.policies.vocabulary import Pool

logger = logging.getLogger("prefetch_scheduler.planner")

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class _AskedDemand:
    """A reader that asked by message and reads no view: it is answered from the view here."""

    def __init__(self, reply: Reply, demand: Demand) -> None:
        self.reply = reply
        self.demand = demand


class Planner(EngineActor):
    """Shell of `PlannerMachine`.

    Args:
        pools, cache, metrics: addresses of the others.
        view: what readers see; for those who ask by message instead of reading it.
        current: the entry of a cache key, and its content if that is fresh.
        publish: tells the host's subscribers; must not block.
    """

    def __init__(
        self,
        home: Home,
        *,
        config: Config,
        table: SourceTable,
        pools: Mapping[Pool, Address],
        cache: Address,
        metrics: Address,
        view: PublishedView,
        current: Callable[[str], tuple[Entry | None, Content | None]],
        publish: Callable[[HostEvent], None],
    ) -> None:
        super().__init__(home)
        self.machine = PlannerMachine(config, table, home.incarnation)
        self._table = table
        self._pools = pools
        self._cache = cache
        self._metrics = metrics
        self._view = view
        self._current = current
        self._publish = publish
        self._effects: list[PlannerEffect] = []

    def on_start(self) -> None:
        if self.home.incarnation > 1:  # what the one before had under way is void
            for address in self._pools.values():
                address.tell(ResetPool())
            self._cache.tell(Resident())

    def on_receive(self, message: PlannerMessage) -> Any:
        if isinstance(message, PlannerStatusQuery):
            return self._status()
        reply = self.current_reply
        later = False
        if reply is not NO_REPLY:
            message, later = self._with_ticket(message, reply)
        self._handle(message)
        return LATER if later else None

    def _with_ticket(self, message: Any, reply: Reply) -> tuple[Any, bool]:
        """A message that was asked, and names no ticket, is answered through the ask."""
        match message:
            case Submit(ticket=None):
                return evolve(message, ticket=AskedPlan(reply)), True
            case PinKey(ticket=None):
                return evolve(message, ticket=reply), True
            case Demand(ticket=None):
                at = message.at or self.now
                return evolve(message, ticket=_AskedDemand(reply, message), at=at), True
            case _:
                return message, False

    def _handle(self, event: Any) -> None:
        clock = self.home.clock
        self._effects.extend(
            self.machine.handle(event, clock.now(), wall=clock.wall(), today=clock.today())
        )

    def next_deadline(self) -> float | None:
        return self.machine.next_deadline()

    def on_tick(self, now: float) -> None:
        del now  # the machine is told the time as of handling
        self._handle(PlannerTick())

    # ---- carrying effects out ---------------------------------------------------------------

    def after_batch(self) -> None:
        effects, self._effects = self._effects, []
        if not effects:
            return
        counts: list[MetricsEvent] = [e.event for e in effects if isinstance(e, Count)]
        if counts:
            self._metrics.tell(Events(tuple(counts)))
        answers: list[PlannerEffect] = []
        for effect in effects:
            match effect:
                case Count():
                    pass
                case ToPool():
                    self._pools[effect.pool].tell(effect.command)
                case ToCache():
                    self._cache.tell(effect.command)
                case Log():
                    self._log(effect)
                case Tell():
                    self._publish(effect.event)
                case _:
                    answers.append(effect)
        for effect in answers:
            self._answer_host(effect)

    def _log(self, effect: Log) -> None:
        fields = {"prefetch_key": effect.key, "prefetch_session": effect.session}
        logger.log(LEVELS[effect.level], "%s", effect.text, extra=fields)

    def _answer_host(self, effect: PlannerEffect) -> None:
        match effect:
            case Answer() | Retry() | Refuse() if isinstance(effect.ticket, _AskedDemand):
                self._answer_asked(effect.ticket, effect)
            case Answer() | Retry():
                effect.ticket.set(effect)
            case Refuse():
                effect.ticket.fail(effect.error)
            case Done():
                if effect.ticket is not None:
                    effect.ticket.set(None)
            case PlanMade():
                effect.ticket.plan_made(effect.plan)
            case ImmediateDone():
                if effect.ticket is not None:
                    effect.ticket.immediate_done(effect.ok)
            case _:
                raise AssertionError(f"not an answer: {effect!r}")

    def _answer_asked(self, asked: _AskedDemand, effect: Answer | Retry | Refuse) -> None:
        """Serve a reader that has no view of its own, as the facade serves its readers."""
        match effect:
            case Answer():
                if effect.entry is not None:
                    self._view.take_first_read(effect.entry, asked.demand.session, self.now)
                asked.reply.set(effect)
            case Refuse():
                asked.reply.fail(effect.error)
            case Retry():
                session = self.machine.state.session(asked.demand.session)
                stored = self.machine.state.stored(asked.demand.key, session)
                entry, content = self._current(stored)
                if entry is None or content is None:
                    seen = entry.loaded_at if entry is not None else -1.0
                    again = evolve(asked.demand, attempt=asked.demand.attempt + 1, seen=seen)
                    asked.demand = again
                    self.home.address.tell(evolve(again, ticket=asked))
                    return
                if not asked.demand.counted:
                    self._view.note_hit(entry, session.id, self.now)
                asked.reply.set(Answer(None, content, entry.asked_at, entry.epoch, entry.source_id))

    # ---- ends and looks ---------------------------------------------------------------------

    def on_stop(self) -> None:
        """The engine ends: whoever waits for a load is told so."""
        stopped = EngineStopped("the engine has been stopped")
        for flight in self.machine.state.flights.live.values():
            for waiter in flight.waiters:
                ticket = waiter.ticket
                (ticket.reply if isinstance(ticket, _AskedDemand) else ticket).fail(stopped)

    def on_failure(self, *_: Any) -> None:
        """Nobody waits for this incarnation any more: readers ask again, and find the next one."""
        state = self.machine.state
        for flight in list(state.flights.live.values()):
            for waiter in flight.waiters:
                if isinstance(waiter.ticket, _AskedDemand):
                    asked = waiter.ticket
                    again = evolve(asked.demand, counted=True, ticket=asked)
                    self.home.address.tell(again)
                else:
                    waiter.ticket.set(Retry(waiter.ticket, counted=True))
        for pending in state.pending.values():
            if pending.ticket is not None:
                submit = Submit(
                    pending.session, pending.predictions, pending.terms, ticket=pending.ticket
                )
                self.home.address.tell(submit)
        for plan in state.plans.values():
            if plan.ticket is not None and not plan.reported:
                plan.ticket.immediate_done(False)

    def _status(self) -> PlannerStatus:
        state = self.machine.state
        names = {info.id: info.name for info in self._table.infos}
        return PlannerStatus(
            queued=self.machine.queue_lengths(),
            running={pool: len(ids) for pool, ids in state.slots.claims.items()},
            credits=dict(state.slots.credits),
            stuck={names[source]: len(ids) for source, ids in state.flights.stuck.items()},
            sessions=len(state.sessions),
            flights=len(state.flights.live),
            host_busy=state.host_busy,
            next_deadline=self.machine.next_deadline(),
        )
