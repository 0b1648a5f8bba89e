"""What a predictor is to a host's port: told what happens, asked what will be needed."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from prefetch_scheduler.policies.prediction import Prediction


class SessionPredictor(Protocol):
    """Predicts for one session. Its port calls it from one thread at a time."""

    def task(self, text: str) -> None:
        """The agent was given a task, in the words of whoever gave it."""

    def read(self, key: str, text: str | None) -> None:
        """The agent read a resource; `text`: what it says, where it is text."""

    def seen(self, text: str) -> None:
        """The agent saw something that is no resource: the result of a command, a test run."""

    def predictions(self) -> Mapping[str, Any] | Iterable[Prediction]:
        """What it will read next: the Pattern Predictor's output, or a list of predictions."""

    def end(self) -> None:
        """The session is over."""


class Predictor(Protocol):
    """Predicts for the sessions of a host, and may learn from one for the next."""

    def session(self, id_: str, project: str | None) -> SessionPredictor:
        """A session begins."""
