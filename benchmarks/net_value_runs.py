"""Simulations for `net_value`: recorded sessions read once, and policies run over them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from prefetch_scheduler.engine.recording_events import PredictEvent, RecordedEvent, RecordedSession
from prefetch_scheduler.engine.recording_format import read_sessions
from prefetch_scheduler.engine.simulation.figures import with_hidden
from prefetch_scheduler.engine.simulation.loads import load_law
from prefetch_scheduler.engine.simulation.predictions import predictor
from prefetch_scheduler.engine.simulation.simulation import PolicyRun, Setting, simulate
from prefetch_scheduler.policies.config import Config, Execution, Speculation
from prefetch_scheduler.policies.counts import Counts
from prefetch_scheduler.policies.keys import kind_of

DATA = Path(__file__).parent / "data"
LOGNORMAL = "lognormal:0.4,0.9"
ROOM = 100_000
"""Tokens of a plan, and of its background, in the settings of the frontier: so that the price
decides, and not the budget of one plan, of which `everything` has none."""


@cache
def sessions_of(path: Path) -> tuple[RecordedSession, ...]:
    """The sessions of a file, read once."""
    return tuple(read_sessions(path))


def sessions(paths: Sequence[Path]) -> tuple[RecordedSession, ...]:
    """The sessions of all files, in order."""
    return tuple(session for path in paths for session in sessions_of(path))


def roomy(dial: float) -> Config:
    """A point of the frontier from thrifty to eager, without a promise about waste."""
    return Config(
        speculation=Speculation(dial=dial, waste_budget=1.0),
        max_prefetch_tokens=ROOM,
        execution=Execution(max_background_tokens=ROOM),
    )


def within(budget: float) -> Config:
    """At most so many tokens for each one that the specification's thresholds would load, and apart
    from that as eager as can be.
    """
    rules = Speculation(dial=1.0, waste_budget=1.0, spend_budget=budget)
    return evolve(roomy(1.0), speculation=rules)


@frozen
class Case:
    """What is simulated: files, load times, predictions, a seed."""

    paths: tuple[Path, ...]
    load: str = LOGNORMAL
    predictions: str = "recorded"
    seed: int = 0
    most: int | None = None
    """So many sessions of them; None: all."""
    bend: Callable[[float], float] | None = None
    """What becomes of stated confidences; None: they stay as they are."""

    def sessions(self) -> tuple[RecordedSession, ...]:
        found = sessions(self.paths)[: self.most]
        bend = self.bend
        if bend is None:
            return found
        return tuple(
            evolve(one, events=tuple(_bent(event, bend) for event in one.events)) for one in found
        )

    def setting(self, config: Config) -> Setting:
        law = load_law(self.load, self.seed)
        return Setting(config, law, predictor(self.predictions, self.seed))

    def kinds(self) -> list[str]:
        found = set[str]()
        for session in self.sessions():
            for event in session.events:
                if isinstance(event, PredictEvent):
                    found.update(kind_of(item.key) for item in event.items)
                elif hasattr(event, "key"):
                    found.add(kind_of(event.key))
        return sorted(found)


def _bent(event: RecordedEvent, bend: Callable[[float], float]) -> RecordedEvent:
    if not isinstance(event, PredictEvent):
        return event
    items = [evolve(item, confidence=bend(item.confidence)) for item in event.items]
    return evolve(event, items=tuple(items))


_bases: dict[Case, float] = {}


def base_s(case: Case) -> float:
    """What readers wait without prefetching."""
    if case not in _bases:
        found = simulate(case.sessions(), ["none"], case.setting(Config()), case.kinds())
        _bases[case] = found["none"]["figures"]["wait_s"]
    return _bases[case]


def figures(case: Case, policy: str = "default", config: Config | None = None) -> dict[str, Any]:
    """The figures of `simulate --json` of one policy."""
    setting = case.setting(config if config is not None else Config())
    found = simulate(case.sessions(), [policy], setting, case.kinds())
    return with_hidden(found[policy]["figures"], base_s(case))


def verdict(case: Case) -> str:
    """What the engine that ships says in its report: whether prefetching pays."""
    found = simulate(case.sessions(), ["default"], case.setting(Config()), case.kinds())
    return str(found["default"]["speculation"]["verdict"])


@frozen
class Step:
    """A policy after one more session: sums since the first."""

    items: int
    """Predicted."""
    counts: Counts = field(repr=False)


def step_by_step(case: Case, config: Config) -> Iterator[Step]:
    """The default policy, session by session."""
    setting, items = case.setting(config), 0
    run = PolicyRun.of("default", setting, case.kinds())
    for session in case.sessions():
        told = setting.predictor.applied(session)
        items += sum(len(e.items) for e in told.events if isinstance(e, PredictEvent))
        run.run(told)
        yield Step(items, run.host.counts())


def wasted_by_window(case: Case, config: Config, window: int) -> list[float]:
    """The wasted share of the tokens prefetched in each window of so many sessions after the first;
    a rest of fewer sessions counts with the last window.
    """
    sums = [(0, 0)]
    steps = list(step_by_step(case, config))
    for step in steps[window - 1 :: window]:
        sums.append((step.counts.tokens_wasted, step.counts.tokens_prefetched))
    last = steps[-1].counts
    sums[-1] = (last.tokens_wasted, last.tokens_prefetched)
    pairs = pairwise(sums[1:])
    return [(wasted - was) / max(1, ahead - before) for (was, before), (wasted, ahead) in pairs]


def ratio(ours: Mapping[str, Any], theirs: Mapping[str, Any], name: str) -> float:
    """One figure against another policy's."""
    return float(ours[name] or 0.0) / max(1e-9, float(theirs[name] or 0.0))
