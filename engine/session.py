"""One session of a host: everything a host does with the engine, within one context and budget."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prefetch_scheduler.actors import messages as to
from prefetch_scheduler.actors.messages import ReportQuery
from prefetch_scheduler.engine import events
from prefetch_scheduler.engine.handle import PlanHandle
from prefetch_scheduler.engine.reading import Identity, ReaderSession
from prefetch_scheduler.engine.reads import Reads
from prefetch_scheduler.engine.submissions import accepted
from prefetch_scheduler.policies.cache_events import Invalidate
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.keys import exactly
from prefetch_scheduler.policies.prediction import Constraints, Prediction
from prefetch_scheduler.policies.report import Report

if TYPE_CHECKING:
    from prefetch_scheduler.engine.runtime import Runtime


class Session(Reads):
    """The engine's API for one session. Made by `PrefetchEngine.session`; safe in any thread."""

    def __init__(
        self,
        runtime: "Runtime",
        id_: str,
        user: str | None,
        forget: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(runtime, ReaderSession(id_, runtime.view.tally(id_), Identity(user)))
        self._forget = forget

    @property
    def id(self) -> str:
        """The session's own name, as it was asked for."""
        return self._reading.id

    def __repr__(self) -> str:
        return f"<Session {self.id!r}>"

    # ---- predictions -----------------------------------------------------------------------

    def submit(
        self,
        predictions: Iterable[Prediction] | Mapping[str, Any],
        constraints: Constraints | None = None,
        *,
        context: str | None = None,
    ) -> PlanHandle:
        """Hand predictions over; returns at once.

        Args:
            predictions: `Prediction` values, or the Pattern Predictor's output as a mapping.
            constraints: budgets, urgency, mode; None: the configuration's, and the mode that
                the predictor's output suggests.
            context: what the predictions belong to; a new one is a change of context.

        Raises:
            InvalidPrediction: names every fault; nothing of the call is accepted.
            EngineStopped, EngineFailed: the engine does not run.

        While the engine is degraded nothing is loaded ahead: the handle's `plan` raises
        `EngineDegraded`, and its `wait_immediate` returns False at once.
        """
        self._runtime.check_running()
        checked, terms = accepted(self._runtime.registry, predictions, constraints)
        if context is not None and (not isinstance(context, str) or not context):
            raise InvalidPrediction(
                f"context: expected a string that is not empty, got {context!r}"
            )
        handle = self._runtime.new_handle()
        if self._runtime.degraded():
            handle.given_up(self._runtime.system.error())
        else:
            self._runtime.submit(to.Submit(self.id, checked, terms, context, handle.ticket))
        return handle

    def cancel(self, key: str) -> None:
        """Take one key's prediction back: its load ends, queued or running, unless another session
        or a reader wants it. A submit that is not planned yet is not looked into.

        Raises:
            UnknownKind, InvalidPrediction: as for `get`.
        """
        self._runtime.check_running()
        name = self._name(key)
        if not self._runtime.degraded():  # else nothing is under way
            self._runtime.tell_planner(to.CancelKey(self.id, name.key))

    # ---- content and pins ------------------------------------------------------------------

    def put(self, key: str, content: Content | str | bytes) -> None:
        """Hand content over: readers get it from now on, without a load.

        A source that can check freshness is asked to confirm it at the first read: of a file that
        holds something else the file counts, and one that is not there yet is served as it was
        handed over until it is.

        Raises:
            UnknownKind, InvalidPrediction: as for `get`.
            TypeError: the content is neither `Content`, `str` nor `bytes`.
        """
        self._runtime.check_running()
        name = self._name(key)
        given = content if isinstance(content, Content) else Content(content)
        source_id, stamped = self._runtime.registry.adopt(name.key, given)
        pattern = exactly(name.key)
        epoch = self._runtime.view.board.note(pattern)
        command = Invalidate(
            pattern,
            epoch,
            content=stamped,
            stored=name.stored,
            source_id=source_id,
            user=self._reading.identity.user,
            session=self.id,
        )
        self._runtime.tell_cache(command)
        self._runtime.settle_cache()

    def invalidate(self, pattern: str) -> None:
        """Something changed: a key, or every key with a prefix ending in `*`.

        Once it has returned no reader gets what was loaded before.

        Raises:
            UnknownKind, InvalidPrediction: the pattern is malformed or of an unknown kind.
        """
        self._runtime.check_running()
        if isinstance(pattern, str) and pattern.endswith("*"):
            normal = self._runtime.registry.normalise_prefix(pattern)
        else:
            normal = exactly(self._name(pattern).key)
        self._invalidate(normal)

    def _changed(self, key: str) -> None:
        """One resource changed, whatever its name ends in."""
        self._invalidate(exactly(self._name(key).key))

    def _invalidate(self, pattern: str) -> None:
        self._runtime.changed(pattern, self.id)

    def pin(self, key: str) -> None:
        """Load a key if need be and keep it until it is unpinned or the session ends.

        Raises:
            PrefetchError: the session has as many pins as it may have.
        """
        self._runtime.check_running()
        name = self._name(key)
        self._runtime.settle_planner(to.PinKey(self.id, name.key))

    def unpin(self, key: str) -> None:
        """Release a pin; unknown ones are no error."""
        self._runtime.check_running()
        name = self._name(key)
        self._runtime.tell_planner(to.UnpinKey(self.id, name.key))

    # ---- events ----------------------------------------------------------------------------

    def trigger(self, event: events.TriggerEvent) -> None:
        """Tell the engine what happened. Returns at once; a changed file is never served stale.

        Raises:
            TypeError: not one of the events of `prefetch_scheduler.engine`.
        """
        self._runtime.check_running()
        tell = self._runtime.tell_planner
        match event:
            case events.SessionStarted(project, user):
                self._use_user(user)
                tell(to.SessionStarted(self.id, project, user))
            case events.SessionEnded():
                tell(to.SessionEnded(self.id))
                self._forget(self.id)
            case events.ProjectSwitched(project):
                tell(to.ProjectSwitched(self.id, project))
            case events.UserLoggedIn(user):
                self._use_user(user)
                tell(to.UserLoggedIn(self.id, user))
            case events.ContextChanged(context):
                tell(to.ContextChanged(self.id, context))
            case events.FileChanged(path, content):
                key = f"file:{path}"
                self._changed(key) if content is None else self.put(key, content)
            case events.SkillUpdated(skill):
                self._changed(f"skill:{skill}")
                self.invalidate(f"skill:{skill}#*")
            case events.HostBusy():
                tell(to.HostBusy())
            case events.HostIdle():
                tell(to.HostIdle())
            case _:
                raise TypeError(
                    f"trigger() takes an event of prefetch_scheduler.engine, got {event!r}"
                )

    def _use_user(self, user: str | None) -> None:
        if user is not None and user != self._reading.identity.user:
            self._reading.identity = Identity(user)

    # ---- figures ---------------------------------------------------------------------------

    def report(self) -> Report:
        """What this session's prefetching has brought so far, in the specification's shape."""
        report: Report = self._runtime.ask_metrics(ReportQuery(self.id))
        return report
