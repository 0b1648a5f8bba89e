"""Calls a source's load and turns whatever comes of it into outcomes."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from prefetch_scheduler.actors.ports import CancelToken, Clock, LoadPort
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.pool import Run
from prefetch_scheduler.policies.pool_events import LoadFailure, LoadResult
from prefetch_scheduler.policies.prediction import FollowUp
from prefetch_scheduler.policies.yaml_text import printable

Outcome = LoadResult | LoadFailure
OnPart = Callable[[str, Content], None]


def load_blocking(
    port: LoadPort, run: Run, cancel: CancelToken, on_part: OnPart, clock: Clock
) -> list[Outcome]:
    """One outcome for each request of the run, in order. Never raises."""
    begun = clock.now()
    refused: dict[int, LoadFailure] = {}
    first = run.requests[0]
    source = first.source_id
    try:
        if len(run.requests) == 1 and not first.ask_first:
            result = port.load(source, first.name, cancel, on_part)
            return [_outcome(first.key, result, clock.now() - begun)]
        refused = _refused(port, run)
        names = [r.name for r in run.requests if r.id not in refused]
        results: Sequence[object] = ()
        if len(names) == 1:
            results = [port.load(source, names[0], cancel, on_part)]
        elif names:
            results = port.load_many(source, names, cancel)
        return _outcomes(run, refused, results, clock.now() - begun)
    except BaseException as error:  # noqa: BLE001 - a source may raise anything
        return _all_failed(run, refused, error, cancel)


async def load_async(
    port: LoadPort, run: Run, cancel: CancelToken, on_part: OnPart, clock: Clock
) -> list[Outcome]:
    """The same for an async source. A cancellation is an outcome, too."""
    begun = clock.now()
    refused: dict[int, LoadFailure] = {}
    first = run.requests[0]
    source = first.source_id
    try:
        if len(run.requests) == 1 and not first.ask_first:
            result = await port.aload(source, first.name, cancel, on_part)
            return [_outcome(first.key, result, clock.now() - begun)]
        refused = _refused(port, run)
        names = [r.name for r in run.requests if r.id not in refused]
        results: Sequence[object] = ()
        if len(names) == 1:
            results = [await port.aload(source, names[0], cancel, on_part)]
        elif names:
            results = await port.aload_many(source, names, cancel)
        return _outcomes(run, refused, results, clock.now() - begun)
    except BaseException as error:  # noqa: BLE001 - a source may raise anything
        return _all_failed(run, refused, error, cancel)


def _refused(port: LoadPort, run: Run) -> dict[int, LoadFailure]:
    """Requests that their source will not have loaded ahead, where no survey has said so before.

    A survey that came too late must not let a secret through.
    """
    refused: dict[int, LoadFailure] = {}
    for request in run.requests:
        if request.ask_first:
            why = port.survey(request.source_id, request.name).excluded
            if why is not None:
                refused[request.id] = LoadFailure(f"not loaded ahead: {why}", excluded=True)
    return refused


def not_started(run: Run, error: BaseException) -> list[Outcome]:
    """The outcomes of a run whose code could not even be called."""
    failure = LoadFailure(f"the load could not be started: {describe(error)}", error)
    return [failure for _ in run.requests]


def cancelled(run: Run) -> list[Outcome]:
    """The outcomes of a run that was cancelled before its first step."""
    return [LoadFailure("cancelled before it began", cancelled=True) for _ in run.requests]


def checked_part(key: object, content: object) -> None:
    """Raise, into the source that yields it, where a part is not what it should be.

    Raises:
        TypeError: the key is not a string, or the content not `Content`.
    """
    if not isinstance(key, str) or not isinstance(content, Content):
        raise TypeError(
            "a part needs a key (str) and its Content,"
            f" got {type(key).__name__} and {type(content).__name__}"
        )


def checked_follow_ups(found: object) -> list[FollowUp]:
    """What `expand` returned.

    Raises:
        TypeError: it is not a list or tuple of `FollowUp`; says what it is.
    """
    if not isinstance(found, list | tuple):
        raise TypeError(f"expand returned {type(found).__name__}, expected a sequence of FollowUp")
    for item in found:
        if not isinstance(item, FollowUp):
            raise TypeError(f"expand returned a {type(item).__name__}, expected FollowUp")
    return list(found)


def describe(error: BaseException) -> str:
    """The error's type and text, on one line that is safe on a terminal."""
    try:
        text = printable(" ".join(str(error).split()))
    except Exception:  # noqa: BLE001 - the error is a source's own, its text included
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _outcomes(
    run: Run, refused: Mapping[int, LoadFailure], results: object, load_s: float
) -> list[Outcome]:
    asked = [r for r in run.requests if r.id not in refused]
    if isinstance(results, str | bytes) or not isinstance(results, Sequence):
        text = f"load_many returned {type(results).__name__}, expected a sequence of Content"
        return [refused.get(r.id, LoadFailure(text)) for r in run.requests]
    if len(results) != len(asked):
        text = f"load_many returned {len(results)} results for {len(asked)} names"
        return [refused.get(r.id, LoadFailure(text)) for r in run.requests]
    loaded = {
        request.id: _outcome(request.key, result, load_s)
        for request, result in zip(asked, results, strict=True)
    }
    return [loaded[r.id] if r.id in loaded else refused[r.id] for r in run.requests]


def _outcome(key: str, result: object, load_s: float) -> Outcome:
    if isinstance(result, Content):
        return LoadResult(result, load_s)
    if isinstance(result, BaseException):
        return LoadFailure(describe(result), result)
    return LoadFailure(
        f"the load of {printable(key)} returned {type(result).__name__},"
        " expected Content, str or bytes"
    )


def _all_failed(
    run: Run, refused: Mapping[int, LoadFailure], error: BaseException, cancel: CancelToken
) -> list[Outcome]:
    was_cancelled = cancel.cancelled and isinstance(error, asyncio.CancelledError)
    failure = LoadFailure(describe(error), error, was_cancelled)
    return [refused.get(r.id, failure) for r in run.requests]
