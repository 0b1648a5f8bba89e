"""Fault schedules: what a host does and what breaks meanwhile, as plain data made from a seed.

A schedule is printable, the same for the same seed, and can be played with any of its steps and
faults left out; `shortest` uses that to find few that are enough to fail.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve, field, frozen

from prefetch_scheduler.policies.config import CacheRules, Config, Execution, Prefill
from prefetch_scheduler.policies.planner_events import (
    ContextChanged,
    HostBusy,
    HostIdle,
    PinKey,
    ProjectSwitched,
    SessionEnded,
    SessionStarted,
    UnpinKey,
)
from prefetch_scheduler.policies.prediction import Constraints, Prediction, Terms
from prefetch_scheduler.policies.vocabulary import Mode, Pool, Priority, Urgency
from support.restless import KEYS, ROLES
from support.shells import Kill, points
from support.virtual import p

SESSIONS = ("s", "t")
STEPS = 45

SHORT = Execution(
    load_timeout_s=3.0,
    start_expiry_s=5.0,
    demand_slots=1,
    demand_stuck_ms=250.0,
    max_source_concurrency=2,
    max_stuck_per_source=2,
    background_max_pending=2,
    background_max_concurrent=1,
    eager_max_concurrent=2,
    max_background_tokens=600,
    prefetch_remote=True,
)
CONFIGS = (
    Config(),
    Config(pins=("file:a", "mail:a"), prefill=Prefill(session_start=("file:b", "tool:a"))),
    Config(
        execution=SHORT,
        max_concurrent_fetches=3,
        max_background_queue=2,
        hot_cache_size=2,
        warm_cache_size=2,
        cold_cache_size=2,
        pins=("skill:a",),
        prefill=Prefill(
            session_start=("file:c", "doc:a"),
            project_switch={"x": ("db:a",)},
            user_login={"ann": ("mail:b",)},
        ),
        cache=CacheRules(hot_ttl_s=1.0, warm_ttl_s=2.0, cold_ttl_s=5.0, unread_background_s=0.5),
    ),
    Config(cancel_on_context_change=False, execution=Execution(load_timeout_s=0.2)),
    Config(enable_speculative_prefetch=False, pins=("file:a",), max_concurrent_fetches=1),
    Config(enable_batch_fetching=False, hot_cache_size=1, warm_cache_size=1, cold_cache_size=1),
)
QUICK_CONFIGS = (
    Config(max_concurrent_fetches=1),
    Config(max_concurrent_fetches=3, execution=Execution(immediate_reserved=0, demand_slots=1)),
)
"""Few slots, so that loads stand by."""


# ---- steps -----------------------------------------------------------------------------------


@frozen
class SubmitStep:
    items: tuple[Prediction, ...]
    terms: Terms | Constraints | None
    session: str
    context: str | None


@frozen
class ReadStep:
    key: str
    session: str
    patience: float


@frozen
class EditStep:
    """A resource changes. `told`: the engine is; else its source can see it, or is told after all.

    `hand_over`: with the new content.
    """

    key: str
    session: str
    hand_over: bool = False
    told: bool = True


@frozen
class EditAllStep:
    prefix: str
    session: str


@frozen
class TellStep:
    event: Any


@frozen
class LogInStep:
    session: str
    user: str


@frozen
class TakeBackStep:
    which: float
    """0..1: which of the submits so far."""


@frozen
class WaitStep:
    seconds: float


@frozen
class FreezeStep:
    """Nothing of the process runs: something holds the interpreter lock, or the machine slept."""

    seconds: float


@frozen
class StallStep:
    """One actor or pool handles nothing: a source blocks its event loop, or it is not scheduled."""

    role: str
    seconds: float


@frozen
class FloodStep:
    """Very many small messages at once: file events, and submits that replace each other."""

    key: str
    session: str
    count: int


@frozen
class CrashStep:
    """An actor fails between two messages, having handled none for `backlog` seconds."""

    role: str
    backlog: float = 0.0


Step = (
    SubmitStep
    | ReadStep
    | EditStep
    | EditAllStep
    | TellStep
    | LogInStep
    | TakeBackStep
    | WaitStep
    | FreezeStep
    | StallStep
    | FloodStep
    | CrashStep
)


@frozen
class Habits:
    """How the sources of a schedule behave."""

    error_rate: float = 0.0
    hang_rate: float = 0.0
    deaf_rate: float = 0.4
    """Share of loads that ignore that they are cancelled."""
    quick: bool = False
    """Whether loads take next to no time, unless they hang, and are known to from the start."""
    checked_kinds: tuple[str, ...] = ()
    """Kinds whose source sees by itself that content is stale."""


@frozen
class Schedule:
    """What is played: the same thing each time."""

    seed: int
    config: int
    """Which of `CONFIGS` and, after them, `QUICK_CONFIGS`."""
    habits: Habits
    steps: tuple[Step, ...]
    kills: tuple[Kill, ...] = field(default=())

    @property
    def violent(self) -> bool:
        """Whether actors fail in it."""
        return bool(self.kills) or any(isinstance(step, CrashStep) for step in self.steps)

    def __len__(self) -> int:
        return len(self.steps) + len(self.kills)

    def only(self, places: Sequence[int]) -> "Schedule":
        """With these steps and kills alone; kills are counted on after the steps."""
        count = len(self.steps)
        return evolve(
            self,
            steps=tuple(self.steps[at] for at in places if at < count),
            kills=tuple(self.kills[at - count] for at in places if at >= count),
        )

    def lines(self) -> list[str]:
        """Readable, a step or a kill a line."""
        return [
            f"seed {self.seed}, config {self.config}, {self.habits}",
            *(f"{number:3} {step!r}" for number, step in enumerate(self.steps)),
            *(f"  * {kill!r}" for kill in self.kills),
        ]


# ---- making one --------------------------------------------------------------------------------


class Chance(random.Random):
    """Of one schedule. Most schedules are about few keys, so that what happens to them meets."""

    keys: tuple[str, ...] = KEYS


def predictions(rng: Chance) -> tuple[Prediction, ...]:
    return tuple(
        p(
            rng.choice((*rng.keys, "none:x")),
            rng.choice(ROLES),
            rng.choice((0.3, 0.55, 0.7, 0.85, 0.95)),
            tokens=rng.choice((None, None, 0, 10, 400, 5000)),
            load_s=rng.choice((None, None, 0.0, 3.0)),
            value=rng.choice((None, None, 0.0, 5.0)),
        )
        for _ in range(rng.choice((0, 1, 3, 6, 15, 25)))
    )


def terms(rng: Chance) -> Terms:
    return Terms(
        urgency=rng.choice(list(Urgency)),
        mode=rng.choice(list(Mode)),
        token_budget=rng.choice((None, None, 0, 50, 1000, 100_000)),
        time_budget_ms=rng.choice((None, None, 0, 100, 10_000)),
        override_all=rng.choice((None, None, None, None, *Priority)),
        override={rng.choice(rng.keys): rng.choice(list(Priority))} if rng.random() < 0.2 else {},
    )


def terms_of_host(rng: random.Random) -> Constraints | None:
    """As a host of a whole engine gives them."""
    return rng.choice(
        (
            None,
            None,
            Constraints(token_budget=200),
            Constraints(urgency="high"),
            Constraints(mode="critical"),
            Constraints(time_budget_ms=50),
        )
    )


def _submit(rng: Chance) -> Step:
    items, constraints = predictions(rng), terms(rng)
    return SubmitStep(
        items, constraints, rng.choice(SESSIONS), rng.choice((None, None, "one", "two"))
    )


def _read(rng: Chance) -> Step:
    key, session = rng.choice(rng.keys), rng.choice(SESSIONS)
    return ReadStep(key, session, rng.choice((0.0, 0.05, 30.0, 1e6, 1e6, 1e6)))


def _whole(rng: Chance) -> str:
    return rng.choice([key.partition("#")[0] for key in rng.keys])


def _edit(rng: Chance) -> Step:
    return EditStep(_whole(rng), rng.choice(SESSIONS), hand_over=rng.random() < 0.3)


def _edit_unseen(rng: Chance) -> Step:
    return EditStep(_whole(rng), "s", told=False)


def _edit_all(rng: Chance) -> Step:
    return EditAllStep(rng.choice(("file:", "file:a", "skill:", "mail:")), rng.choice(SESSIONS))


def _tell(rng: Chance) -> Step:
    session, key = rng.choice(SESSIONS), rng.choice(KEYS)
    return TellStep(
        rng.choice(
            (
                ContextChanged(session, rng.choice(("one", "two", "three"))),
                SessionStarted(session, rng.choice((None, "x")), None),
                SessionEnded(session),
                ProjectSwitched(session, "x"),
                HostBusy(),
                HostIdle(),
                HostIdle(),
                PinKey(session, key),
                UnpinKey(session, key),
            )
        )
    )


def _log_in(rng: Chance) -> Step:
    return LogInStep(rng.choice(SESSIONS), rng.choice(("ann", "bob")))


def _take_back(rng: Chance) -> Step:
    return TakeBackStep(rng.random())


def _wait(rng: Chance) -> Step:
    return WaitStep(rng.choice((0.0, 0.001, 0.03, 0.06, 0.3, 1.0, 6.0, 40.0)))


ACTORS = ("planner", "cache", "metrics")
POOLS = tuple(f"pool-{pool}" for pool in Pool)


def _freeze(rng: Chance) -> Step:
    return FreezeStep(rng.choice((0.02, 0.5, 4.0, 100.0)))


def _stall(rng: Chance) -> Step:
    return StallStep(rng.choice((*ACTORS, *POOLS)), rng.choice((0.05, 0.5, 4.0)))


def _flood(rng: Chance) -> Step:
    return FloodStep(_whole(rng), rng.choice(SESSIONS), rng.choice((20, 60)))


def _crash(rng: Chance) -> Step:
    return CrashStep(rng.choice((*ACTORS, "planner", *POOLS)), rng.choice((0.0, 0.3, 1.0)))


CALM: tuple[Callable[[Chance], Step], ...] = (
    *[_submit] * 6,
    *[_read] * 8,
    *[_edit] * 2,
    _edit_unseen,
    _edit_all,
    *[_tell] * 3,
    _log_in,
    _take_back,
    *[_wait] * 9,
)
VIOLENT = (*CALM, _freeze, _stall, _stall, _flood, _crash)


MESSAGES = {
    "planner": ("PoolReport", "PoolReport", "CacheReport", "Demand", "Submit", "UnderWay"),
    "cache": ("Puts", "Puts", "Invalidate", "Acknowledged", "Drain", "Pin"),
}
"""What is most telling to fail on."""


def _kill(rng: Chance) -> Kill:
    role = rng.choice((*ACTORS, *ACTORS, *POOLS))
    return Kill(
        role,
        at=rng.choice((1, 2, 3, 5, 8, 13, 21, 34)),
        point=rng.choice(points(role)),
        error=rng.choice((KeyError, RuntimeError, SystemExit, KeyboardInterrupt, GeneratorExit)),
        of=rng.choice(MESSAGES[role]) if role in MESSAGES and rng.random() < 0.6 else "",
    )


def schedule(seed: int) -> Schedule:
    """The schedule of a seed. In three of ten no actor fails, so that limits hold strictly."""
    rng = Chance(seed)
    quick = seed % 4 == 0
    few = rng.choice((2, 5, len(KEYS)))
    rng.keys = tuple(rng.sample(KEYS, few))
    if quick:  # loads stand by for those of the same source
        kind = rng.choice(("doc:", "mail:", "skill:"))
        rng.keys = (*[f"{kind}{name}" for name in "abcdefg"], *rng.keys[:2])
    calm = rng.random() < 0.3
    choices = CALM if calm else VIOLENT
    steps = tuple(rng.choice(choices)(rng) for _ in range(rng.choice((5, 15, STEPS))))
    kills = () if calm else tuple(_kill(rng) for _ in range(rng.choice((0, 1, 2, 4))))
    habits = Habits(
        error_rate=rng.choice((0.0, 0.15, 0.5)),
        hang_rate=rng.choice((0.0, 0.0, 0.03)),
        checked_kinds=rng.choice(((), ("file", "skill"))),
        quick=quick,
    )
    config = rng.randrange(len(CONFIGS))
    if quick:
        config = len(CONFIGS) + config % len(QUICK_CONFIGS)
    return Schedule(seed, config, habits, steps, kills)


def shortest(found: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """As few of its steps and kills as are enough to fail: as many as can be are left out."""
    places, size = list(range(len(found))), len(found)
    while size := size // 2:
        start = 0
        while start < len(places):
            fewer = places[:start] + places[start + size :]
            if fails(found.only(fewer)):
                places = fewer
            else:
                start += size
    return found.only(places)
