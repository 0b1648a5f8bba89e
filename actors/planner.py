"""The Planner actor: turns messages into the machine's events and carries its effects out.

Effects are gathered and sent once a batch of messages is handled: counts first, so that whoever
is answered finds them in a report; then pools and cache; answers last.

A new incarnation asks the pools what is under way before it decides anything: until those that had
anything to do have answered, or a tenth of a second has gone by, it keeps other messages aside, in
their order.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve
from pykka._envelope import Envelope

from prefetch_scheduler.actors.base import LATER, EngineActor, Home
from prefetch_scheduler.actors.desk import SubmitDesk, SubmitWaiting
from prefetch_scheduler.actors.kept import AskedDemand, PlannerKept, refuse
from prefetch_scheduler.actors.log_fields import log_fields
from prefetch_scheduler.actors.messages import (
    LearnedQuery,
    PlannerMessage,
    PlannerStatus,
    PlannerStatusQuery,
)
from prefetch_scheduler.actors.ports import Address
from prefetch_scheduler.actors.reply import NO_REPLY, ActorCrashed, Reply
from prefetch_scheduler.actors.tickets import AskedPlan
from prefetch_scheduler.actors.view import PublishedView
from prefetch_scheduler.policies.adopting import Adoption, carry_over, unfinished
from prefetch_scheduler.policies.cache_events import CacheReport, Invalidated, Put, Puts, Resident
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.errors import EngineStopped, InvalidPrediction
from prefetch_scheduler.policies.keys import key_fault
from prefetch_scheduler.policies.metrics_events import EVENT_TYPES, Events, Miss
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import (
    Answer,
    CancelKey,
    CancelPlan,
    Demand,
    Done,
    Forsake,
    HostBusy,
    HostEvent,
    HostIdle,
    ImmediateDone,
    Log,
    PinKey,
    PlanMade,
    PlannerEffect,
    PlannerTick,
    Refuse,
    Retry,
    SessionEnded,
    Shed,
    Submit,
    Tell,
    ToCache,
    ToPool,
)
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.pool_events import (
    Expanded,
    Fetch,
    Permit,
    PoolReport,
    Sender,
    Surveyed,
    TakeOver,
    UnderWay,
)
from prefetch_scheduler.policies.prediction import checked_predictions
from prefetch_scheduler.policies.remembering import recall, remembered
from prefetch_scheduler.policies.source_info import SourceTable
from prefetch_scheduler.policies.vocabulary import Pool

logger = logging.getLogger("prefetch_scheduler.planner")

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def _check_key(key: str) -> None:
    fault = key_fault(key)
    if fault is not None:
        raise InvalidPrediction(fault)


def _enveloped(message: Any, reply: Reply) -> Envelope[Any]:
    envelope = Envelope(message)
    envelope.reply_to = reply  # type: ignore[assignment]  # any `Reply`, as in `Address`
    return envelope


ADOPT_S = 0.1
"""Real seconds that a new incarnation waits for the pools to say what is under way."""

_ALWAYS = (PlannerTick, PoolReport, CacheReport, UnderWay)
"""What is handled while others are kept aside: it tells what has happened, and asks for nothing."""

_OVERTAKE = (
    *(PoolReport, CacheReport, UnderWay, Surveyed, Expanded, PlannerTick),
    *(Demand, Forsake, CancelPlan, CancelKey, HostBusy, HostIdle),
)
"""What need not wait behind submits that were sent before it."""

_ANSWERS = (Answer, Refuse, Retry, Done, PlanMade, ImmediateDone, Shed)


class Planner(EngineActor):
    """Shell of `PlannerMachine`.

    Args:
        pools, cache, metrics: addresses of the others.
        view: what readers see; for those who ask by message instead of reading it.
        current: the entry of a cache key, and its content if that is fresh.
        publish: tells the host's subscribers; must not block.
        heard: whether there are any.
        kept: what outlives an incarnation.
        desk: where submits wait that `SubmitWaiting` speaks of.
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
        heard: Callable[[], bool] = lambda: True,
        kept: PlannerKept | None = None,
        desk: SubmitDesk | None = None,
    ) -> None:
        super().__init__(home)
        self.machine = PlannerMachine(config, table, home.incarnation)
        self._kept = kept if kept is not None else PlannerKept()
        self._desk = desk if desk is not None else SubmitDesk()
        self._adoption: Adoption | None = None
        self._adopt_by: float | None = None
        """Until when the pools are waited for; None: they are not."""
        self._aside: list[Envelope[Any]] = []
        self._taken: Any = None
        """The message in hand, with the ticket that it is answered by."""
        self._going_on = False
        """Whether a tick is on its way that goes on with a large plan, or with what is deferred."""
        self._deferred: deque[Envelope[Any]] = deque()
        self._catching_up = False
        self._senders = {pool: Sender(home.incarnation) for pool in Pool}
        self._table = table
        self._pools = pools
        self._cache = cache
        self._metrics = metrics
        self._view = view
        self._current = current
        self._publish = publish
        self._heard = heard
        self._effects: list[PlannerEffect] = []

    def on_start(self) -> None:
        kept, new = self._kept, self.machine.state
        kept.incarnation = self.home.incarnation
        if self.home.incarnation == 1 and kept.learned is not None:
            recall(kept.learned, new.learning, new.estimator)
        elif self.home.incarnation > 1:
            old = kept.state or PlannerState(new.config, new.table)
            carry_over(old, new)
            self._adoption = Adoption(old, new, self.home.incarnation, kept.adoption)
            kept.adoption = self._adoption
            self._adopt_by = self.now + ADOPT_S / self.home.clock.real(1.0)
            for address in self._pools.values():
                address.tell(TakeOver(self.home.incarnation))
            self._cache.tell(Resident())
        kept.state = new
        self._adopted_more()

    def on_receive(self, message: PlannerMessage) -> Any:
        reply = self.current_reply
        if self._adopt_by is not None and not isinstance(message, _ALWAYS):
            self._aside.append(_enveloped(message, reply))
            return LATER
        if not self._catching_up and self._is_deferred(message):
            self._deferred.append(_enveloped(message, reply))
            return LATER
        if isinstance(message, PlannerTick):
            self._going_on = False
            self._catch_up()
            if self.actor_stopped.is_set():
                return None  # it failed on that
        if isinstance(message, PlannerStatusQuery):
            # Who asks wants all that came before it to have taken effect: a report rests on it.
            self.after_batch()
            return self._status()
        if isinstance(message, LearnedQuery):
            return remembered(self.machine.state.learning, self.machine.state.estimator)
        if isinstance(message, SubmitWaiting):
            submit = self._desk.take(message)
            if submit is None:
                return None  # withdrawn
            message = submit
        later = False
        if reply is not NO_REPLY:
            message, later = self._with_ticket(message, reply)
        self._taken = message
        self._take(message)
        self._taken = None
        return LATER if later else None

    def _is_deferred(self, message: Any) -> bool:
        """In a flood submits wait until nothing more urgent does, and with them, in order, all that
        must not overtake them: readers and loads go on meanwhile.
        """
        if isinstance(message, Demand):
            return bool(self._deferred) and not message.stored  # which is its session's to say
        if isinstance(message, SubmitWaiting) and len(self._desk) > 1:
            return True
        return bool(self._deferred) and not isinstance(message, _OVERTAKE)

    def _catch_up(self) -> None:
        """Handle one of the deferred messages."""
        if self._deferred:
            self._catching_up = True
            self._receive(self._deferred.popleft())
            self._catching_up = False

    def _take(self, message: Any) -> None:
        kept = self._kept
        match message:
            case Demand():
                if not message.counted and not message.claim():
                    message = evolve(message, counted=True)
                kept.ask(message)
            case Submit():
                kept.ask(message)
                kept.submits[message.session] = message
            case SessionEnded(session):
                kept.submits.pop(session, None)
            case Forsake(ticket):
                kept.answered(ticket)
            case UnderWay():
                self._under_way(message)
                return
            case CacheReport(notices) if self._adoption is not None:
                for notice in notices:
                    if isinstance(notice, Invalidated):
                        self._adoption.invalidated(notice)
            case PoolReport():
                message = self._of_now(message)
                if message is None:
                    return
            case _:
                pass
        self._handle(message)
        self._adopted_more()

    # ---- taking over ------------------------------------------------------------------------

    def _of_now(self, report: PoolReport) -> PoolReport | None:
        """A pool's report, or what of one made for an earlier planner still counts."""
        if report.reset:
            self._senders[report.pool] = Sender(self.home.incarnation, report.incarnation)
        if self._adoption is None:
            return report
        if report.planner >= self.home.incarnation:
            if report.reset:
                self._adoption.restarted(report.pool)
            return report
        now_ours = self._adoption.report(report)
        self._count_adopted()
        return now_ours

    def _under_way(self, message: UnderWay) -> None:
        if self._adoption is None or message.planner != self.home.incarnation:
            return
        self._senders[message.pool] = Sender(self.home.incarnation, message.incarnation)
        self._effects.extend(self._adoption.under_way(message))
        if self._adopt_by is None:  # it came late
            self._handle(PlannerTick())
        self._adopted_more()

    def _adopted_more(self) -> None:
        if self._adoption is None:
            return
        if self._adoption.settled and self._adopt_by is not None:
            self._resume()
        if self._adoption.complete:
            self._effects.extend(self._adoption.lost())
            self._adoption = self._kept.adoption = None

    def _count_adopted(self) -> None:
        if self._adoption is not None:
            self._effects.extend(self._adoption.counted())

    def _resume(self) -> None:
        """Plan again what had not begun, then go on with what was kept aside."""
        self._adopt_by = None
        adoption = self._adoption
        if adoption is not None:
            submits = list(self._kept.submits.values())
            going_on = [flight.stored for flight in self.machine.state.flights.live.values()]
            again = unfinished(adoption.planned, submits, going_on)
            adoption.resumed = True
            for submit in again:
                self._kept.ask(submit)
                self._handle(submit)
            told = {id(submit.ticket) for submit in again}
            for plan in adoption.planned.plans.values():
                if plan.ticket is not None and not plan.reported and id(plan.ticket) not in told:
                    self._effects.append(ImmediateDone(plan.ticket, ok=False))
        self._handle(PlannerTick())
        aside, self._aside = self._aside, []
        self.inbox.put_back(aside)

    def _with_ticket(self, message: Any, reply: Reply) -> tuple[Any, bool]:
        """A message that was asked, and names no ticket, is answered through the ask.

        The facade has checked what it sends; whoever asks by message is answered with the faults.
        """
        match message:
            case Submit(ticket=None):
                checked_predictions(message.predictions)
                return evolve(message, ticket=AskedPlan(reply)), True
            case PinKey(ticket=None):
                _check_key(message.key)
                return evolve(message, ticket=reply), True
            case Demand(ticket=None):
                _check_key(message.key)
                message = evolve(message, at=message.at or self.now)
                return evolve(message, ticket=AskedDemand(reply, message)), True
            case _:
                return message, False

    def _handle(self, event: Any) -> None:
        clock = self.home.clock
        self.machine.state.heard = self._heard()
        effects = self.machine.handle(event, clock.now(), wall=clock.wall(), today=clock.today())
        for place, effect in enumerate(effects):
            if type(effect) is ToPool:
                effects[place] = self._signed(effect)
        self._effects.extend(effects)

    def _signed(self, effect: ToPool) -> ToPool:
        """Fetches and permits name their sender as of now: credits hold for one incarnation."""
        match effect.command:
            case Fetch(requests, start, standby=standby):
                by = self._senders[effect.pool]
                return ToPool(effect.pool, Fetch(requests, start, by, standby))
            case Permit(count):
                return ToPool(effect.pool, Permit(count, self._senders[effect.pool]))
            case _:
                return effect

    def next_deadline(self) -> float | None:
        due = None if self._going_on else self.machine.next_deadline()
        if self._adopt_by is None:
            return due
        return self._adopt_by if due is None else min(due, self._adopt_by)

    def on_tick(self, now: float) -> None:
        if self._adopt_by is not None and self._adopt_by <= now:
            self._resume()  # a pool does not answer: it is hung, or being restarted
        self._handle(PlannerTick())

    # ---- carrying effects out ---------------------------------------------------------------

    def after_batch(self) -> None:
        self._send()
        if (self.machine.drafting or self._deferred) and not self._going_on:
            # A tick for each step, behind what waits by now: nobody waits for more than a step.
            self._going_on = self.home.address.inbox.put(Envelope(PlannerTick()))

    def _send(self) -> None:
        effects, self._effects = self._effects, []
        if not effects:
            return
        counts: list[Any] = []
        others: list[PlannerEffect] = []
        for effect in effects:
            (counts if type(effect) in EVENT_TYPES else others).append(effect)
        if counts:
            self._metrics.tell(Events(tuple(counts)))
        puts: list[Put] = []
        last: list[PlannerEffect] = []
        for effect in others:
            if self.abandoned:
                return
            match effect:
                case Put():
                    puts.append(effect)
                case ToCache(command):
                    puts = self._put(puts)
                    self._cache.tell(command)
                case ToPool():
                    self._pools[effect.pool].tell(effect.command)
                case Log():
                    self._log(effect)
                case _:
                    last.append(effect)
        self._put(puts)
        for effect in last:
            if self.abandoned:
                return
            if isinstance(effect, Tell):
                self._publish(effect.event)
            else:
                self._answer_host(effect)

    def _put(self, puts: list[Put]) -> list[Put]:
        """Send to the cache what has been gathered for it; nothing is left of that."""
        if puts:
            self._cache.tell(Puts(tuple(puts)))
        return []

    def _log(self, effect: Log) -> None:
        fields = log_fields(key=effect.key, session=effect.session, source=effect.source)
        logger.log(LEVELS[effect.level], "%s", effect.text, extra=fields)

    def _answer_host(self, effect: PlannerEffect) -> None:
        match effect:
            case Answer() | Retry() | Refuse() | PlanMade() if effect.ticket is None:
                pass  # it was told, not asked: nobody waits
            case Answer() | Retry() | Refuse() if isinstance(effect.ticket, AskedDemand):
                self._kept.answered(effect.ticket)
                self._answer_asked(effect.ticket, effect)
            case Answer():
                self._kept.answered(effect.ticket)
                effect.ticket.set(evolve(effect, ticket=None))  # no ring: see `_answer_asked`
            case Retry(counted=counted, session=session, key=key):
                self._kept.answered(effect.ticket)
                late = effect.ticket.set(evolve(effect, ticket=None)) is False
                if late and key and not counted and getattr(effect.ticket, "gone", False):
                    # Its reader was to count it, and has given up.
                    gone = Miss(session, key, predicted=False, reason="given up")
                    self._metrics.tell(Events((gone,)))
            case Refuse():
                self._kept.answered(effect.ticket)
                effect.ticket.fail(effect.error)
            case Shed():
                told = getattr(effect.ticket, "item_shed", None)  # a host's own need not have it
                if told is not None:
                    told(effect.key, effect.reason)
            case Done():
                if effect.ticket is not None:
                    effect.ticket.set(None)
            case PlanMade():
                self._kept.answered(effect.ticket)
                effect.ticket.plan_made(effect.plan)
            case ImmediateDone():
                if effect.ticket is not None:
                    effect.ticket.immediate_done(effect.ok)
            case _:
                raise AssertionError(f"not an answer: {effect!r}")

    def _answer_asked(self, asked: AskedDemand, effect: Answer | Retry | Refuse) -> None:
        """Serve a reader that has no view of its own, as the facade serves its readers.

        An answer does not hold its ticket, which holds it: the content that it brings would stay
        in memory until the garbage collector finds such a ring.
        """
        match effect:
            case Answer():
                if effect.entry is not None:
                    self._view.take_first_read(effect.entry, asked.demand.session, self.now)
                asked.reply.set(evolve(effect, ticket=None))
            case Refuse():
                asked.reply.fail(effect.error)
            case Retry():
                session = self.machine.state.session(asked.demand.session)
                stored = self.machine.state.stored(asked.demand.key, session)
                entry, content = self._current(stored)  # the source's own check: it may hang
                if self.abandoned:
                    return
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
        """The engine ends, or is rebuilt: whoever waits is told so."""
        self.inbox.put_back([*self._aside, *self._deferred])
        if self._closing is None and self.home.supervisor is not None:
            self._kept.release(self.home.address)  # stopped by somebody else: it will be replaced
            return
        self._kept.fail_all(self._closing or EngineStopped("the engine has been stopped"))

    def on_failure(self, *exc_info: Any) -> None:
        """Nobody waits for this incarnation any more: readers ask again, and find the next one.

        What its machine had decided before the error still counts, but for loads: the next one
        learns of those from the pools.
        """
        killer = self._taken if self._taken is not None else self.in_hand
        out = self.machine.state.out
        if isinstance(killer, Demand | Submit):
            if isinstance(killer, Demand) and not killer.counted and killer.turn == []:
                killer.turn.append(None)  # its count is lost with the rest
            self._kept.answered(killer.ticket)
            refuse(killer, ActorCrashed(f"the planner failed on this call: {exc_info[1]!r}"))
            out = [effect for effect in out if isinstance(effect, _ANSWERS)]
        self._effects.extend(effect for effect in out if not isinstance(effect, ToPool))
        self._guarded(self._send)
        self.inbox.put_back([*self._aside, *self._deferred])
        self._kept.release(self.home.address)
        self._owed.clear()  # all of them are put back, or answered above

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
            pending=len(state.pending),
            held_off={names[s]: left for s, left in state.breakers.open(self.now).items()},
            held_back={
                f"{names[h.source]}, {h.role}" if h.role else names[h.source]: h.words()
                for h in state.learning.wasteful.open()
            },
        )
