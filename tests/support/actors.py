"""Helpers for tests that run real actors: recording addresses, scripted sources, a whole system."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from prefetch_scheduler.actors.ports import CancelToken
from prefetch_scheduler.actors.system import ActorSystem
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.prediction import FollowUp
from prefetch_scheduler.policies.source_info import Survey

PATIENCE_S = 10.0
"""Real seconds after which a test stops waiting for what should have happened at once."""

T = TypeVar("T")


class Recorder:
    """An address that keeps what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.refuse = False
        self.refused = 0
        self._changed = threading.Condition()

    def tell(self, message: Any, /) -> bool:
        with self._changed:
            if self.refuse:
                self.refused += 1
                self._changed.notify_all()
                return False
            self.messages.append(message)
            self._changed.notify_all()
        return True

    def wait_for(self, condition: Callable[[list[Any]], T]) -> T:
        """What `condition(messages)` returns, once it is true."""
        with self._changed:
            result = self._changed.wait_for(lambda: condition(self.messages), PATIENCE_S)
            assert result, f"not seen within {PATIENCE_S:g} s; messages: {self.messages}"
            return result

    def wait_refused(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.refused >= count, PATIENCE_S)


@contextmanager
def actor_system(engine_id: str = "t") -> Iterator[ActorSystem]:
    """An actor system that is stopped at the end, however the test ends."""
    system = ActorSystem(engine_id)
    try:
        yield system
    finally:
        system.stop(3.0)


class ScriptedPort:
    """Source code made of functions, by name; `async_ids` says which sources are async.

    A script is called with (name, cancel, on_part) and returns what the load returns. For an
    async source it may be a coroutine function.
    """

    def __init__(self, *, async_ids: Sequence[int] = ()) -> None:
        self.scripts: dict[str, Callable[..., Any]] = {}
        self.async_ids = set(async_ids)
        self.batches: list[list[str]] = []
        self.survey_script: Callable[[int, str], Any] = lambda _, name: Survey(tokens=len(name))
        self.expand_script: Callable[[str, Content], Any] = lambda _key, _content: ()
        self.many_script: Callable[[Sequence[str]], Any] = lambda names: [
            Content(name) for name in names
        ]

    def is_async(self, source_id: int) -> bool:
        return source_id in self.async_ids

    def load(self, source_id: int, name: str, cancel: CancelToken, on_part: Any) -> Any:
        script = self.scripts.get(name)
        return Content(f"{source_id}:{name}") if script is None else script(name, cancel, on_part)

    async def aload(self, source_id: int, name: str, cancel: CancelToken, on_part: Any) -> Any:
        script = self.scripts.get(name)
        if script is None:
            return Content(f"{source_id}:{name}")
        return await script(name, cancel, on_part)

    def load_many(self, source_id: int, names: Sequence[str], cancel: CancelToken) -> Any:
        self.batches.append(list(names))
        return self.many_script(names)

    async def aload_many(self, source_id: int, names: Sequence[str], cancel: CancelToken) -> Any:
        self.batches.append(list(names))
        return self.many_script(names)

    def survey(self, source_id: int, name: str) -> Survey:
        survey: Survey = self.survey_script(source_id, name)
        return survey

    def expand(self, source_id: int, key: str, content: Content) -> Sequence[FollowUp]:
        found: Sequence[FollowUp] = self.expand_script(key, content)
        return found
