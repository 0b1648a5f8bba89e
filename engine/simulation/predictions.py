"""Predictions of another quality in place of the recorded ones.

They are made anew at each predict event, with as many items as it has. All but `recorded` know
which keys will be read; the policies see only the items.
"""

import math
from collections.abc import Iterator, Sequence
from enum import StrEnum, auto
from hashlib import blake2b

from attrs import evolve, field

from prefetch_scheduler.engine.recorded_loads import RecordedLoads
from prefetch_scheduler.engine.recording_events import (
    AccessEvent,
    PredictEvent,
    RecordedEvent,
    RecordedSession,
)
from prefetch_scheduler.policies.keys import kind_of
from prefetch_scheduler.policies.prediction import Prediction
from prefetch_scheduler.policies.values import frozen


class Quality(StrEnum):
    RECORDED = auto()
    CALIBRATED = auto()  # true with a stated probability, and says so
    ORACLE = auto()  # always the next keys that are read
    ADVERSARIAL = auto()  # never a key that is read


@frozen
class Predictor:
    """How the predictions of a session are made.

    Args:
        quality: what they are worth.
        probability: with `calibrated`: how often an item is right, and its confidence.
        seed: another seed chooses other items to be right.

    Raises:
        ValueError: the probability is not in 0..1.
    """

    quality: Quality = Quality.RECORDED
    probability: float = field(default=1.0)
    seed: int = 0

    @probability.validator
    def _check(self, _: object, value: float) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"the probability must be in 0..1, got {value:g}")

    def applied(self, session: RecordedSession) -> RecordedSession:
        """The session with these predictions in place of its own."""
        if self.quality is Quality.RECORDED:
            return session
        return evolve(session, events=tuple(_Anew(self, session).events()))

    def __str__(self) -> str:
        if self.quality is Quality.CALIBRATED:
            return f"{self.quality}:{self.probability!r}"
        return str(self.quality)


def predictor(text: str, seed: int) -> Predictor:
    """What `--predictions` names: recorded, calibrated:P, oracle or adversarial.

    Raises:
        ValueError: it is none of these, or P is not a number in 0..1.
    """
    name, colon, number = text.partition(":")
    if name == Quality.CALIBRATED and colon:
        try:
            probability = float(number)
        except ValueError:
            probability = math.nan
        return Predictor(Quality.CALIBRATED, probability, seed)
    if not colon and name in list(Quality) and name != Quality.CALIBRATED:
        return Predictor(Quality(name), seed=seed)
    raise ValueError(f"{text!r} is none of recorded, calibrated:P, oracle, adversarial")


class _Anew:
    """Makes the predictions of one session."""

    def __init__(self, predictor: Predictor, session: RecordedSession) -> None:
        self._predictor = predictor
        self._session = session
        self._loads = RecordedLoads.of(session)
        self._salt = blake2b(
            f"{predictor.seed}\0{session.id}".encode("utf-8", "surrogatepass"), digest_size=6
        ).hexdigest()
        self._accesses = session.accesses()
        self._read = 0
        self._fresh = 0

    def events(self) -> Iterator[RecordedEvent]:
        """The events with their predictions made anew."""
        for place, event in enumerate(self._session.events):
            if isinstance(event, AccessEvent):
                self._read += 1
            if isinstance(event, PredictEvent):
                yield evolve(event, items=tuple(self._items(event.items, place)))
            else:
                yield event

    def _items(self, items: Sequence[Prediction], place: int) -> Iterator[Prediction]:
        match self._predictor.quality:
            case Quality.ORACLE:
                for item, key in zip(items, self._next(), strict=False):
                    tokens = self._loads.cost(key).tokens
                    yield Prediction(key, item.role, 1.0, tokens=tokens)
            case Quality.CALIBRATED:
                yield from self._calibrated(items, place)
            case Quality.ADVERSARIAL:
                for item in items:
                    yield evolve(item, key=self._never_read(item.key))
            case Quality.RECORDED:
                yield from items

    def _calibrated(self, items: Sequence[Prediction], place: int) -> Iterator[Prediction]:
        """No item states a size: that of a key which is read would give it away."""
        following, sure = self._next(), self._predictor.probability
        for index, item in enumerate(items):
            right = self._chance(f"{place}\0{index}") < sure
            key = next(following, None) if right else None
            if key is None:
                key = self._never_read(item.key)
            yield Prediction(key, item.role, sure)

    def _next(self) -> Iterator[str]:
        """The distinct keys that are read from here on, in order."""
        seen: set[str] = set()
        for place in range(self._read, len(self._accesses)):
            key = self._accesses[place].key
            if key not in seen:
                seen.add(key)
                yield key

    def _chance(self, what: str) -> float:
        digest = blake2b(f"{self._salt}\0{what}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    def _never_read(self, like: str) -> str:
        """A key of the same kind and suffix that no session reads or has been told of before."""
        self._fresh += 1
        _, dot, suffix = like.rpartition("/")[2].rpartition(".")
        ending = f".{suffix}" if dot else ""
        return f"{kind_of(like)}:never-read/{self._salt}/{self._fresh}{ending}"
