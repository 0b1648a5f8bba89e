"""A fetcher pool: runs the sources' code, async on its own event loop, blocking on slot threads.

Decisions are `policies.pool.PoolMachine`'s. Nothing that a source does reaches further than its
own load: it may raise anything, return anything, ignore its cancellation or never return. An
async source that blocks delays the other loads of this pool's loop, and no other actor.
"""

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from math import inf
from time import monotonic
from typing import Any, assert_never

from prefetch_scheduler.actors.asides import Asides
from prefetch_scheduler.actors.base import Home
from prefetch_scheduler.actors.cancel import CancelToken
from prefetch_scheduler.actors.loop import LoopActor
from prefetch_scheduler.actors.loop_loads import Active, Group, LoopLoads
from prefetch_scheduler.actors.ports import Address, LoadPort
from prefetch_scheduler.actors.runs import (
    OnPart,
    Outcome,
    checked_follow_ups,
    checked_part,
    describe,
    load_async,
    load_blocking,
    not_started,
)
from prefetch_scheduler.actors.slot_threads import SlotExecutor, SlotThreads
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.pool import CancelRun, PoolEffect, PoolMachine, Run
from prefetch_scheduler.policies.pool_events import (
    CancelLoad,
    Expanded,
    Fetch,
    LoadRequest,
    LoadResult,
    Permit,
    PoolCommand,
    PoolReport,
    ResetPool,
    RunPart,
    Surveyed,
    SurveyNames,
    TakeOver,
    UnderWay,
    Withdraw,
)
from prefetch_scheduler.policies.pool_reports import merged
from prefetch_scheduler.policies.prediction import FollowUp
from prefetch_scheduler.policies.source_info import SourceTable, Survey
from prefetch_scheduler.policies.values import define

logger = logging.getLogger(__name__)

SURVEY_LIMIT_S = 0.04
"""Real seconds for a source's estimates; a little less than a plan waits for them."""
EXPAND_LIMIT_S = 1.0
"""Real seconds for a source's follow-up predictions of one content."""
HELD_S = 0.001
"""Real seconds for which a report may wait for what follows it at once."""
QUICK_S = 0.0001
"""Seconds of a blocking load past which those of its source each have a thread of their own."""
_RETRY_S = 0.05


@define(eq=False)
class _Finished:
    active: Active
    outcomes: list[Outcome]


class FetcherPool(LoopActor):
    """One pool.

    Args:
        home: its place.
        machine: its decisions, fresh for each incarnation.
        port: the sources' code.
        planner: told what happens.
        slots: threads for blocking code, kept over restarts.
        table: the sources, for their names.
        survey_limit_s: real seconds for a source's estimates.
        expand_limit_s: real seconds for the follow-up predictions of one content.
        blockers: async sources whose code has blocked an event loop; shared by all pools and
            kept over restarts. Each of their loads gets a thread and an event loop of its own.
    """

    def __init__(
        self,
        home: Home,
        machine: PoolMachine,
        port: LoadPort,
        planner: Address,
        slots: SlotThreads,
        table: SourceTable,
        *,
        survey_limit_s: float = SURVEY_LIMIT_S,
        expand_limit_s: float = EXPAND_LIMIT_S,
        blockers: set[int] | None = None,
    ) -> None:
        super().__init__(home)
        self._machine = machine
        self._port = port
        self._planner = planner
        self._slots = slots
        self._names = {info.id: info.name for info in table.infos}
        self._survey_limit_s = survey_limit_s
        self._expand_limit_s = expand_limit_s
        self._active: dict[int, Active] = {}
        self._in_loop = LoopLoads(self._load, self._ended_in_loop, self._follow)
        self._just_begun = False
        """Whether loads are in the loop that have not had their first step."""
        self._begun_at = 0.0
        """Real seconds since when one load follows another in the same turn of the loop."""
        self._held_since: float | None = None
        """Real seconds since when a report waits for what follows."""
        self._unsent: list[PoolReport | UnderWay] = []
        self._expanded: list[Expanded] = []
        self._retrying = False
        self._hurrying = False
        self._lately: dict[int, float] = {}
        """Source -> seconds that its latest blocking load took."""
        self._permits = 0
        self._blockers = blockers if blockers is not None else set()
        self._asides = Asides(self, slots, self._name)

    # ---- the actor's seams -----------------------------------------------------------------

    def on_start(self) -> None:
        self._apply(self._machine.start(self.now))

    def after_loop_made(self) -> None:
        self.loop.set_default_executor(SlotExecutor(self._slots))

    def on_receive(self, message: PoolCommand) -> None:
        match message:
            case SurveyNames():
                self._survey(message)
            case Permit(count, by):
                # Permits overtake fetches, and may come one by one: those of a batch are used
                # together, after its fetches, so that related requests share a run.
                if not self._machine.outdated(by):
                    self._permits += count
            case CancelLoad(id_) | Withdraw(id_):
                if not self.inbox.empty():
                    self._machine.cancel_ahead(id_)
                self._apply(self._machine.gather(message, self.now))
            case Fetch():
                self._apply(self._machine.gather(message, self.now))
            case ResetPool() | TakeOver():
                self._permits = 0  # of the planner that is gone
                self._apply(self._machine.gather(message, self.now))
            case _:
                assert_never(message)

    def on_posted(self, event: object) -> None:
        match event:
            case _Finished(active, outcomes):  # first, as the most frequent
                self._finished(active, outcomes)
            case RunPart():
                self._apply(self._machine.gather(event, self.now))
            case _:
                self._asides.returned(event)

    def next_deadline(self) -> float | None:
        return self._machine.next_deadline()

    def on_tick(self, now: float) -> None:
        self._apply(self._machine.tick(now))

    def after_batch(self) -> None:
        """Use permits, begin loads, send reports. A refused report is kept: its credits must not be
        lost.
        """
        if self._permits:
            permit, self._permits = Permit(self._permits), 0
            self._apply(self._machine.gather(permit, self.now))
        self._apply(self._machine.following(self.now))
        begun = self._in_loop.begin(self.loop)
        if begun is not None:
            self._just_begun = True
            self._begun_at = monotonic()
            self.soon(partial(self._first_steps_made, begun))
        if self.inbox.empty():
            self._machine.nothing_ahead()
        if not ((self._just_begun and self._only_begun()) or self._goes_on()):
            self._send()

    def _send(self) -> None:
        reports = merged([*self._unsent, *self._machine.reports()])
        self._unsent = []
        for index, told in enumerate(reports):
            if self.abandoned:
                return
            if not self._planner.tell(told):
                self._unsent = reports[index:]
                break
        if not self._unsent:
            expanded, self._expanded = self._expanded, []
            for found in expanded:
                self._planner.tell(found)
        elif not self._retrying and not self.actor_stopped.is_set():
            self._retrying = True
            self.later(_RETRY_S, self._retry)

    def _only_begun(self) -> bool:
        """Whether there is nothing to tell but that loads have begun. That can wait for their first
        step: what an async source has at hand ends with it, and then one report tells both.
        """
        if self._unsent or self.actor_stopped.is_set():
            return False
        return self._machine.only_begun

    def _goes_on(self) -> bool:
        """Whether to wait a moment with what there is to tell: loads that take no time follow, each
        in the slot of the one before, and one report may tell of all.
        """
        machine = self._machine
        waits = machine.follows_on and machine.untold and not self._unsent
        if not waits or self.actor_stopped.is_set():
            self._held_since = None
            return False
        now = monotonic()
        if self._held_since is None:
            self._held_since = now
            self.later(HELD_S, lambda: None)  # a flush follows it
        if now - self._held_since < HELD_S:
            return True
        self._held_since = None
        return False

    def _follow(self) -> None:
        """Begin what stood by for the loads that have just ended, in the same turn of the loop:
        another turn costs more than many a load.
        """
        if self.actor_stopped.is_set():
            return
        if self.inbox.empty() and monotonic() - self._begun_at < HELD_S:
            self._protect(self._begin_what_follows)

    def _begin_what_follows(self) -> None:
        self._apply(self._machine.following(self.now))

    def _first_steps_made(self, begun: Group) -> None:
        self._just_begun = False
        self._in_loop.each_its_own(self.loop, begun)

    def on_stop(self) -> None:
        self._cancel_all()
        self._send()  # what waited for what would follow

    def on_failure(self, *_: object) -> None:
        self._cancel_all()
        self._send()

    def on_abandoned(self) -> None:
        self._cancel_all()

    @staticmethod
    def culprit(loop: asyncio.AbstractEventLoop | None) -> int | None:
        """The source whose coroutine a loop that hangs is in, if it is in one. Any thread."""
        return LoopLoads.culprit(loop)

    def task_name(self, task: asyncio.Task[Any]) -> str:
        source = LoopLoads.source_of(task)
        return task.get_name() if source is None else self._name(source)

    # ---- effects ---------------------------------------------------------------------------

    def _apply(self, effects: list[PoolEffect]) -> None:
        for effect in effects:
            match effect:
                case Run():
                    self._begin(effect)
                case CancelRun(_, serial):
                    active = self._active.get(serial)
                    if active is not None:
                        self._cancel(active)
                case PoolReport() | UnderWay():
                    self._unsent.append(effect)
                case _:
                    assert_never(effect)

    def _begin(self, run: Run) -> None:
        active = self._active[run.serial] = Active(run, CancelToken())
        source = run.requests[0].source_id
        try:
            if self._port.is_async(source) and source not in self._blockers:
                self._in_loop.add(active)
            else:
                quick = self._machine.follows_on and self._lately.get(source, inf) <= QUICK_S
                self._slots.run(lambda: self._work(active), self._name(source), quick=quick)
                if quick and not self._hurrying:
                    self._hurrying = True
                    self.later(HELD_S, self._hurry)
        except Exception as error:  # noqa: BLE001 - the source's code, or no thread to be had
            self.post(_Finished(active, not_started(run, error)))

    def _hurry(self) -> None:
        self._hurrying = False
        self._slots.hurry()

    def _load(self, active: Active) -> Coroutine[Any, Any, list[Outcome]]:
        run = active.run
        return load_async(self._port, run, active.token, self._on_part(run), self.home.clock)

    def _on_part(self, run: Run) -> OnPart:
        def post(key: str, content: Content) -> None:
            checked_part(key, content)
            self.post(RunPart(run.id, key, content, run.serial))

        return post

    def _work(self, active: Active) -> None:
        """In a slot thread."""
        run = active.run
        outcomes = load_blocking(self._port, run, active.token, self._on_part(run), self.home.clock)
        self.post(_Finished(active, outcomes))

    def _ended_in_loop(self, active: Active, outcomes: list[Outcome]) -> None:
        self.here(self._finished, active, outcomes)

    def _cancel(self, active: Active) -> None:
        if active.in_loop:
            active.token.cancel()
            self.loop.call_soon(self._in_loop.cancel, self.loop, active)
            return
        # A callback of blocking code may block as well: it must not hold the loop up.
        source = self._name(active.run.requests[0].source_id)
        try:
            active.token.cancel(lambda callbacks: self._slots.run(callbacks, source))
        except RuntimeError as error:
            logger.warning("%s: on_cancel callbacks not run: %s", source, error)

    def _cancel_all(self) -> None:
        self._slots.hurry()  # the timer that would ends with the loop
        for active in self._active.values():
            self._cancel(active)

    def _retry(self) -> None:
        self._retrying = False  # the flush that follows sends

    # ---- results ---------------------------------------------------------------------------

    def _finished(self, active: Active, outcomes: list[Outcome]) -> None:
        run = active.run
        self._active.pop(run.serial, None)
        for request, outcome in zip(run.requests, outcomes, strict=True):
            # Reported with all else of this batch, see `after_batch`.
            self._machine.ended(request.id, outcome, run.serial)
            if not isinstance(outcome, LoadResult):
                continue
            if not active.in_loop:
                self._lately[request.source_id] = outcome.load_s
            if request.expand and not active.token.cancelled:
                self._expand(request, outcome)

    def _expand(self, request: LoadRequest, result: LoadResult) -> None:
        """Ask for follow-up predictions; late or faulty ones are left out, nobody waits for them.

        Answered even with none: the planner remembers for whom it asked.
        """
        source, key, port = request.source_id, request.key, self._port
        content = result.content.in_layer(None)  # a copy: the planner places the other meanwhile

        def then(found: list[FollowUp] | None) -> None:
            # Its result may wait for the end of this very batch, and has to come first.
            self._expanded.append(Expanded(request.id, tuple(found or ())))

        self._asides.run(
            source,
            lambda: checked_follow_ups(port.expand(source, key, content)),
            then,
            self._expand_limit_s,
        )

    def _survey(self, message: SurveyNames) -> None:
        surveys: list[Survey | None] = [None] * len(message.names)
        by_source: dict[int, list[tuple[int, str]]] = {}
        for place, (source, name) in enumerate(message.names):
            by_source.setdefault(source, []).append((place, name))
        open_sources = set(by_source)

        def answer_if_complete() -> None:
            if not open_sources:
                self._planner.tell(Surveyed(message.plan_id, tuple(surveys)))

        def ask(source: int, names: list[tuple[int, str]]) -> None:
            found: list[tuple[int, Survey]] = []  # filled by the slot thread, read when time is up

            def then(_: object) -> None:
                for place, survey in list(found):
                    surveys[place] = survey
                open_sources.discard(source)
                answer_if_complete()

            self._asides.run(
                source,
                lambda: self._survey_names(source, names, found),
                then,
                self._survey_limit_s,
            )

        if not by_source:
            answer_if_complete()
        for source, names in by_source.items():
            ask(source, names)

    def _survey_names(
        self, source: int, names: list[tuple[int, str]], found: list[tuple[int, Survey]]
    ) -> None:
        """In a slot thread: one bad name costs its own estimate only."""
        for place, name in names:
            try:
                survey = self._port.survey(source, name)
            except BaseException as error:  # noqa: BLE001 - a source may raise anything
                logger.info("%s: no estimate of %r: %s", self._name(source), name, describe(error))
                continue
            if isinstance(survey, Survey):
                found.append((place, survey))

    def _name(self, source: int) -> str:
        return self._names.get(source, f"source-{source}")
