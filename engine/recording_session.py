"""A session whose reads, predictions, contexts and changes are recorded.

A class of its own, so that sessions of an engine that does not record pay nothing for it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from prefetch_scheduler.engine import adapters, events
from prefetch_scheduler.engine.handle import PlanHandle
from prefetch_scheduler.engine.recorder import Recorder
from prefetch_scheduler.engine.session import Session
from prefetch_scheduler.engine.tape import Tape
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import UnknownKind
from prefetch_scheduler.policies.keys import exactly
from prefetch_scheduler.policies.prediction import Constraints, Prediction

if TYPE_CHECKING:
    from prefetch_scheduler.engine.runtime import Runtime


class RecordingSession(Session):
    """See `Session`."""

    def __init__(
        self,
        runtime: "Runtime",
        id_: str,
        user: str | None,
        recorder: Recorder,
        project: str | None = None,
        forget: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(runtime, id_, user, forget)
        self._recorder = recorder
        self._project = project

    @property
    def _tape(self) -> Tape:
        """An ended session that is used again is another one."""
        return self._recorder.tape(self.id, self._project)

    # ---- predictions ---------------------------------------------------------------------------

    def submit(
        self,
        predictions: Iterable[Prediction] | Mapping[str, Any],
        constraints: Constraints | None = None,
        *,
        context: str | None = None,
    ) -> PlanHandle:
        given: Any = predictions
        if isinstance(given, Iterator):
            given = tuple(given)
        handle = super().submit(given, constraints, context=context)
        if isinstance(given, Mapping):
            if constraints is None:
                constraints = adapters.suggested_constraints(given)
            given = adapters.predictions(given)
        if context is not None:
            self._tape.turned(context)
        self._tape.predicted(tuple(map(self._spelt, given)), constraints)
        return handle

    def _spelt(self, item: Prediction) -> Prediction:
        try:
            return evolve(item, key=self._name(item.key).key)
        except UnknownKind:
            return item

    # ---- reads ---------------------------------------------------------------------------------

    def get(self, key: str, *, timeout: float | None = None) -> Content:
        tape = self._tape
        asked = tape.asked()
        try:
            content = super().get(key, timeout=timeout)
        except BaseException:
            tape.answered(asked)
            raise
        tape.answered(asked, self._read(key, content))
        return content

    async def aget(self, key: str, *, timeout: float | None = None) -> Content:
        tape = self._tape
        asked = tape.asked()
        try:
            content = await super().aget(key, timeout=timeout)
        except BaseException:
            tape.answered(asked)
            raise
        tape.answered(asked, self._read(key, content))
        return content

    def get_many(self, keys: Iterable[str], *, timeout: float | None = None) -> list[Content]:
        given: Any = tuple(keys) if isinstance(keys, Iterator) else keys
        tape = self._tape
        asked = tape.asked()
        try:
            contents = super().get_many(given, timeout=timeout)
        except BaseException:
            tape.answered(asked)
            raise
        tape.answered(asked, *map(self._read, given, contents))
        return contents

    # `aget_many` reads each key by `aget`.

    def _read(self, key: str, content: Content) -> tuple[str, str, int]:
        name = self._name(key)
        return name.key, name.stored, content.tokens or 0

    # ---- changes and events --------------------------------------------------------------------

    def put(self, key: str, content: Content | str | bytes) -> None:
        super().put(key, content)
        self._recorder.changed(self.id, exactly(self._name(key).key))

    def _invalidate(self, pattern: str) -> None:
        super()._invalidate(pattern)
        self._recorder.changed(self.id, pattern)

    def trigger(self, event: events.TriggerEvent) -> None:
        super().trigger(event)
        match event:
            case events.SessionStarted(project=project) | events.ProjectSwitched(project=project):
                self._project = project if project is not None else self._project
                self._recorder.tape(self.id, self._project)  # the agent's clock starts now
            case events.ContextChanged(context):
                self._tape.turned(context)
            case events.SessionEnded():
                self._recorder.ended(self.id)
            case _:
                pass
