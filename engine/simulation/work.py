"""One simulation by several processes, each with some of the policies.

Policies do not know of one another, so neither the division nor the number of processes changes
a figure. The processes are told what to do, and tell what came of it, in JSON:
`python -m prefetch_scheduler.engine.simulation.work` is one of them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import field

from prefetch_scheduler.engine.config_file import load_config
from prefetch_scheduler.engine.config_text import plain
from prefetch_scheduler.engine.recording_events import (
    AccessEvent,
    ChangeEvent,
    PredictEvent,
    RecordedEvent,
    RecordedSession,
)
from prefetch_scheduler.engine.recording_format import read_sessions
from prefetch_scheduler.engine.simulation.figures import with_hidden
from prefetch_scheduler.engine.simulation.loads import load_law
from prefetch_scheduler.engine.simulation.predictions import predictor
from prefetch_scheduler.engine.simulation.simulation import BASE, Setting, simulate
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.keys import kind_of
from prefetch_scheduler.policies.values import frozen

WORTH_A_PROCESS = 40
"""Sessions from which on another process pays for its start."""
_WEIGHTS = {"specification": 4, "default": 4, "reachable": 2, "oracle": 2}
"""About how long a policy takes, against the others."""


@frozen
class Task:
    """What to simulate: recordings, and a setting in words, as on the command line.

    Raises:
        ValueError: `load` or `predictions` is not one of the words allowed.
    """

    paths: tuple[str, ...]
    policies: tuple[str, ...]
    load: str = "recorded"
    predictions: str = "recorded"
    seed: int = 0
    config: Config = field(factory=Config)

    def setting(self) -> Setting:
        law, anew = load_law(self.load, self.seed), predictor(self.predictions, self.seed)
        return Setting(self.config, law, anew)

    def sessions(self) -> Iterator[RecordedSession]:
        """The sessions of all files, in argument order."""
        for path in self.paths:
            yield from read_sessions(path)


@frozen
class Contents:
    """What the recordings hold."""

    sessions: int
    kinds: tuple[str, ...]


def scan(task: Task) -> Contents:
    """Read the recordings once, so that a fault in the last line is found before the first run.

    Raises:
        RecordingError: a line does not fit, or a file cannot be read.
    """
    sessions, kinds = 0, set[str]()
    for session in task.sessions():
        sessions += 1
        for event in session.events:
            kinds.update(_kinds(event))
    return Contents(sessions, tuple(sorted(kinds)))


def _kinds(event: RecordedEvent) -> Iterator[str]:
    match event:
        case AccessEvent(key=key) | ChangeEvent(key=key):
            yield kind_of(key)
        case PredictEvent(items=items):
            for item in items:
                yield kind_of(item.key)
        case _:
            pass


def run(
    task: Task,
    contents: Contents,
    seen: Callable[[int], None] = lambda _: None,
    processes: int | None = None,
) -> dict[str, dict[str, Any]]:
    """What came of each policy, by name, and of `none` in any case.

    Args:
        task: what to simulate.
        contents: the scan of its recordings.
        seen: told now and then how many sessions this process has been through.
        processes: how many to use at most; None: one for each processor, where that pays.

    Raises:
        RecordingError: a recording has changed since the scan.
        RuntimeError: one of the other processes failed.
    """
    names = tuple(dict.fromkeys((BASE, *task.policies)))
    if processes is None:
        pays = contents.sessions >= WORTH_A_PROCESS
        processes = (os.cpu_count() or 1) if pays else 1
    own, *others = divided(names, processes)
    with _working([_order(task, group, contents) for group in others]) as workers:
        results = simulate(task.sessions(), own, task.setting(), contents.kinds, seen)
        for worker in workers:
            results.update(_answer(worker))
    return {name: results[name] for name in names}


def divided(names: Sequence[str], groups: int) -> list[tuple[str, ...]]:
    """The policies in at most so many groups that take about equally long."""
    parts: list[list[str]] = [[] for _ in range(max(1, min(groups, len(names))))]
    loads = [0] * len(parts)
    for name in sorted(names, key=lambda n: -_WEIGHTS.get(n, 1)):
        lightest = loads.index(min(loads))
        parts[lightest].append(name)
        loads[lightest] += _WEIGHTS.get(name, 1)
    return [tuple(part) for part in parts]


def document(results: Mapping[str, Mapping[str, Any]], sessions: int) -> dict[str, Any]:
    """The document of `simulate --json`, of the policies in `results`, `none` among them."""
    base_s = results[BASE]["figures"]["wait_s"]
    return {
        "sessions": sessions,
        "accesses": results[BASE]["accesses"],
        "policies": {name: with_hidden(of["figures"], base_s) for name, of in results.items()},
    }


# ---- processes -----------------------------------------------------------------------------------


def _order(task: Task, names: Sequence[str], contents: Contents) -> str:
    return json.dumps(
        {
            "paths": task.paths,
            "policies": names,
            "load": task.load,
            "predictions": task.predictions,
            "seed": task.seed,
            "config": plain(task.config),
            "kinds": contents.kinds,
        }
    )


@contextmanager
def _working(orders: Sequence[str]) -> Iterator[list["subprocess.Popen[str]"]]:
    """A process for each order. None outlives the block."""
    workers: list[subprocess.Popen[str]] = []
    try:
        for order in orders:
            worker = subprocess.Popen(
                # -P: modules are not looked for in the folder in which it happens to be run
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
            workers.append(worker)
            assert worker.stdin is not None
            worker.stdin.write(order)
            worker.stdin.close()
            worker.stdin = None
        yield workers
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
            worker.communicate()


def _answer(worker: "subprocess.Popen[str]") -> dict[str, dict[str, Any]]:
    answer, errors = worker.communicate()
    if worker.returncode:
        last = errors.strip().rpartition("\n")[2]
        raise RuntimeError(f"a process of the simulation failed: {last or worker.returncode}")
    results: dict[str, dict[str, Any]] = json.loads(answer)
    return results


def main() -> None:
    """Carry out the order on standard input; the results go to standard output."""
    order = json.load(sys.stdin)
    task = Task(
        tuple(order["paths"]),
        tuple(order["policies"]),
        order["load"],
        order["predictions"],
        order["seed"],
        load_config(order["config"]),
    )
    results = simulate(task.sessions(), task.policies, task.setting(), order["kinds"])
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
