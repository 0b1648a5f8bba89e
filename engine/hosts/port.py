"""The port between an agent framework and the engine: five events in, content out.

::

    session_started -> task_received -> (context_needed | tool_called)* -> ... -> session_ended

An adapter turns what its framework tells into these events. None of them raises because of the
engine, waits for a load ahead, or changes what the agent sees: with an engine that is stopped,
overloaded or full of failing sources an agent does what it would do without one.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from attrs import evolve, field

from prefetch_scheduler.engine import adapters
from prefetch_scheduler.engine.events import ContextChanged, SessionEnded
from prefetch_scheduler.engine.facade import PrefetchEngine
from prefetch_scheduler.engine.predictor.protocol import Predictor, SessionPredictor
from prefetch_scheduler.engine.prefetchable import MAX_AGE_S, Prefetchable
from prefetch_scheduler.engine.session import Session
from prefetch_scheduler.engine.sources.calls import CALL
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import ConfigError, PrefetchError
from prefetch_scheduler.policies.prediction import Constraints, Prediction
from prefetch_scheduler.policies.values import frozen

logger = logging.getLogger(__name__)


@frozen
class ReadTool:
    """A tool of the agent that only reads, and so may be called ahead and served from the cache.

    What it answers may depend on nothing but its arguments and what is said here; see
    `PrefetchEngine.prefetchable`.
    """

    function: Any
    """A plain or async function; for LangChain one of its tools."""
    path: str | None = field(default=None, kw_only=True)
    """The argument that names a file: what predicts the file `a.py` predicts this call."""
    name: str | None = field(default=None, kw_only=True)
    """What the agent calls it; None: the function's own name."""
    max_age_s: float | None = field(default=MAX_AGE_S, kw_only=True)
    """Seconds for which an answer stands for a new call; None: until something is written, or the
    next task."""
    version: Callable[..., Any] | None = field(default=None, kw_only=True)
    """A quick plain function of the same arguments that tells when an answer is out of date."""
    remote: bool = field(default=False, kw_only=True)
    """Whether calling it leaves this machine."""

    @property
    def called(self) -> str:
        """What the agent calls it."""
        return self.name or getattr(self.function, "name", None) or self.function.__name__


class HostPort:
    """One session of an agent, as its host sees it. Safe in any thread and event loop.

    Args:
        engine: whose cache serves it; the host starts and stops it.
        session: names the session in reports.
        tools: the agent's tools that only read. A call of any other tool is taken for one that
            writes: what these tools have read before is stale then.
        predictor: says what will be needed; None: the host calls `submit` itself.
        project: groups sessions that read alike.
        user: whose private content is read.
        constraints: budgets of each submit; None: the configuration's.

    Raises:
        ConfigError: a tool is wrong, or two have one name.
    """

    def __init__(
        self,
        engine: PrefetchEngine,
        session: str,
        *,
        tools: Iterable[ReadTool] = (),
        predictor: Predictor | None = None,
        project: str | None = None,
        user: str | None = None,
        constraints: Constraints | None = None,
    ) -> None:
        self._engine = engine
        self._id = session
        self._project, self._user = project, user
        self._constraints = constraints
        self._maker = predictor
        self._predictor: SessionPredictor | None = None
        self._session: Session | None = None
        self._lock = threading.Lock()
        self._tasks = 0
        self.tools: Mapping[str, ReadTool] = _by_name(tools)
        """The tools that only read, by what the agent calls them."""
        self.functions: Mapping[str, Prefetchable[..., Any]] = {
            name: self._served(name, tool) for name, tool in self.tools.items()
        }
        """The same, each as a function of the same signature that is served by the engine."""

    # ---- the five events -------------------------------------------------------------------

    def session_started(self) -> None:
        """The session begins, unless it has begun."""
        with self._guarded("session_started"), self._lock:
            if self._session is not None:
                return
            self._session = self._engine.session(self._id, self._project, self._user)
            for function in self.functions.values():
                function.served.count_for(self._session)
            if self._maker is not None:
                self._predictor = self._maker.session(self._id, self._project)

    def task_received(self, text: str) -> None:
        """The agent turns to a task: a change of context. Begins the session where need be.

        Whoever gave it may have changed something before: what the tools answered is stale.
        """
        self.session_started()
        with self._guarded("task_received"):
            if self._tasks:
                self._forget_answers()
            self._tasks += 1
            if self._session is not None:
                self._session.trigger(ContextChanged(f"task-{self._tasks}"))
            self._tell(lambda predictor: predictor.task(text))

    def context_needed(
        self, keys: Iterable[str], *, timeout: float | None = None
    ) -> dict[str, Content]:
        """Resources that the agent needs now, by key; those that cannot be had are left out.

        Args:
            keys: what to read.
            timeout: seconds for what has to be loaded, all of it; None: the configuration's.
        """
        listed, reads = list(keys), self._session or self._engine
        found: dict[str, Content] = {}
        try:
            found = dict(zip(listed, reads.get_many(listed, timeout=timeout), strict=True))
        except PrefetchError:  # one of them; the others are there by now
            for key in listed:
                with self._guarded("context_needed"):
                    found[key] = reads.get(key, timeout=timeout)
        self._read(found)
        return found

    async def acontext_needed(
        self, keys: Iterable[str], *, timeout: float | None = None
    ) -> dict[str, Content]:
        """As `context_needed`, for coroutines."""
        listed, reads = list(keys), self._session or self._engine
        found: dict[str, Content] = {}

        async def read(key: str) -> None:
            with self._guarded("context_needed"):
                found[key] = await reads.aget(key, timeout=timeout)

        await asyncio.gather(*(read(key) for key in listed))
        found = {key: found[key] for key in listed if key in found}
        self._read(found)
        return found

    def tool_called(self, name: str, arguments: Mapping[str, Any], result: object) -> None:
        """A tool has been called; `result`: what the agent sees of it, None where it failed."""
        text = result if isinstance(result, str) or result is None else str(result)
        with self._guarded("tool_called"):
            tool = self.tools.get(name)
            if tool is None:
                self.written()
                self._tell(lambda predictor: predictor.seen(text or ""))
                return
            path = None if tool.path is None else arguments.get(tool.path)
            if isinstance(path, str) and path:
                key = f"file:{_plain_path(path)}"
            else:
                key = self.functions[name].key(**arguments)
            self._tell(lambda predictor: predictor.read(key, text))

    def written(self) -> None:
        """Something that the tools read may have changed: what they answered before is stale.

        `tool_called` says so by itself of each tool that is not known to only read.
        """
        with self._guarded("written"):
            self._forget_answers()

    def session_ended(self) -> None:
        """The session is over. It may be started again."""
        with self._guarded("session_ended"), self._lock:
            session, self._session = self._session, None
            predictor, self._predictor = self._predictor, None
            if predictor is not None:
                predictor.end()
            if session is not None:
                self._forget_answers()
                session.trigger(SessionEnded())

    # ---- predictions -----------------------------------------------------------------------

    def submit(self, predictions: Mapping[str, Any] | Iterable[Prediction]) -> None:
        """Hand predictions over: one of a file is one of the calls that read it, too.

        Args:
            predictions: the Pattern Predictor's output, or a list of predictions.

        Raises:
            InvalidPrediction: names every fault.
        """
        items = adapters.predictions(predictions)
        context = f"task-{self._tasks}" if self._tasks else None
        with self._guarded("submit"):
            if self._session is not None:
                self._session.submit(
                    [each for item in items for each in self._calls(item)],
                    self._constraints,
                    context=context,
                )

    def _calls(self, item: Prediction) -> Iterable[Prediction]:
        """Where a tool reads files, the call; else the file itself."""
        kind, _, path = item.key.partition(":")
        readers = [(name, tool.path) for name, tool in self.tools.items() if tool.path is not None]
        if kind != "file" or not readers:
            return [item]
        calls = []
        for name, word in readers:
            with suppress(TypeError):  # it takes more than a path
                calls.append(evolve(item, key=self.functions[name].key(**{word: path})))
        return calls

    def _read(self, found: Mapping[str, Content]) -> None:
        with self._guarded("context_needed"):
            for key, content in found.items():
                value = content.value
                text = value if isinstance(value, str) else None
                self._tell(lambda p, key=key, text=text: p.read(key, text), ask=False)  # type: ignore[misc]  # bound early
            self._tell(lambda _: None)

    def _tell(self, event: Callable[[SessionPredictor], None], *, ask: bool = True) -> None:
        with self._lock:
            predictor = self._predictor
            if predictor is None:
                return
            event(predictor)
            predicted = predictor.predictions() if ask else None
        if predicted is not None:
            self.submit(predicted)

    # ---- the engine ------------------------------------------------------------------------

    def _served(self, name: str, tool: ReadTool) -> Prefetchable[..., Any]:
        decorate = self._engine.prefetchable(
            read_only=True,
            name=f"{self._id}/{name}",
            max_age_s=tool.max_age_s,
            version=tool.version,
            remote=tool.remote,
        )
        return decorate(tool.function)

    def _forget_answers(self) -> None:
        self._engine.invalidate(f"{CALL}:{self._id}/*")

    @contextmanager
    def _guarded(self, event: str) -> Iterator[None]:
        """What goes wrong in the engine or a predictor is the agent's affair in nothing."""
        try:
            yield
        except PrefetchError as error:
            logger.info("session %s: %s: %s", self._id, event, error)
        except Exception:
            logger.exception("session %s: %s failed", self._id, event)


def _plain_path(path: str) -> str:
    return path.removeprefix("./")


def _by_name(tools: Iterable[ReadTool]) -> Mapping[str, ReadTool]:
    found: dict[str, ReadTool] = {}
    for tool in tools:
        if not isinstance(tool, ReadTool):
            raise ConfigError(f"tools: expected a list of ReadTool, got {type(tool).__name__}")
        if tool.called in found:
            raise ConfigError(f"tools: two are called {tool.called!r}; name one of them")
        found[tool.called] = tool
    return found
