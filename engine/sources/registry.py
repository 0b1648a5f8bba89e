"""All sources of an engine: validated once, then called by its pools and its readers."""

import logging
import os
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import islice
from typing import Any

from attrs import evolve

from prefetch_scheduler.actors.ports import CancelToken
from prefetch_scheduler.actors.runs import describe
from prefetch_scheduler.engine.sources.asked import Check, pass_interrupt
from prefetch_scheduler.engine.sources.bound import BoundSource, OnPart
from prefetch_scheduler.engine.sources.freshness import with_version
from prefetch_scheduler.engine.sources.validation import is_async, source_faults
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import ConfigError, InvalidPrediction, UnknownKind
from prefetch_scheduler.policies.figures import shown
from prefetch_scheduler.policies.keys import plain_key, split_key
from prefetch_scheduler.policies.prediction import (
    FollowUp,
    Prediction,
    prediction_faults,
    with_plain_key,
)
from prefetch_scheduler.policies.source_info import SourceTable, Survey
from prefetch_scheduler.policies.vocabulary import Relation

logger = logging.getLogger(__name__)

Expand = Callable[[Content], Iterable[Prediction | FollowUp]]

_MAX_FOLLOW_UPS = 1000
_PROBE = "x"
"""Completes a prefix to a name, so that a source can spell it."""

_REMEMBERED = 50_000
"""Keys whose one spelling is remembered; past it they are forgotten and found anew."""


class SourceRegistry:
    """The engine's sources. Implements `actors.ports.LoadPort`; safe to use from any thread.

    Args:
        sources: in order; of several that serve a kind, the later ones are alternatives.
        expand: the host's own follow-up predictions, for content of any source.

    Raises:
        ConfigError: something in `sources` is no source, or a member is wrong, or `expand` is no
            plain function; one line for each.
    """

    def __init__(self, sources: Iterable[object] = (), *, expand: Expand | None = None) -> None:
        if isinstance(sources, str | bytes) or not isinstance(sources, Iterable):
            raise ConfigError(
                f"sources: expected a list of sources, got {type(sources).__name__}; "
                "write sources=[FileSource('.')]"
            )
        listed = list(sources)
        faults = [
            f"sources[{index}]{fault}"
            for index, source in enumerate(listed)
            for fault in source_faults(source)
        ]
        if expand is not None and (not callable(expand) or is_async(expand)):
            faults.append(f"expand: {expand!r} is not a plain function of content")
        if faults:
            raise ConfigError(faults)
        self._expand = expand
        names = _names(listed)
        self.bound = tuple(
            BoundSource(source, index, names[index], host_expands=expand is not None)
            for index, source in enumerate(listed)
        )
        """As the engine calls them, by source id."""
        self.table = SourceTable(tuple(bound.info for bound in self.bound))
        """What the decisions need to know of them."""
        self.checks: tuple[Check | None, ...] = tuple(bound.asked.check for bound in self.bound)
        """By source id: `check(name, content)` as in `fresh`; None: reads need no check."""
        self.confirm = {bound.info.id: bound.asked.confirm for bound in self.bound}
        """By source id: `(key, content)` -> `content` where it is fresh as it is, else None."""
        self.unchecked = frozenset(i for i, check in enumerate(self.checks) if check is None) | {-1}
        """Sources whose content is served without asking them; -1 stands for no source at all."""
        self._by_kind = {
            kind: tuple(self.bound[info.id] for info in infos)
            for kind, infos in self.table.by_kind.items()
        }
        self._spellings: dict[str, str] = {}

    # ---- LoadPort ---------------------------------------------------------------------------

    def is_async(self, source_id: int) -> bool:
        """Whether its loads are coroutines, to be run on the pool's loop."""
        return self.bound[source_id].is_async

    def load(self, source_id: int, name: str, cancel: CancelToken, on_part: OnPart) -> Content:
        """Load one name, blocking; tokens and version are filled in.

        Raises:
            TypeError: the source returned something else than str, bytes or `Content`.
            Exception: whatever the source raises.
        """
        return self.bound[source_id].load(name, cancel, on_part)

    def aload(
        self, source_id: int, name: str, cancel: CancelToken, on_part: OnPart
    ) -> Coroutine[Any, Any, Content]:
        """As `load`, for an async source; to be awaited."""
        return self.bound[source_id].aload(name, cancel, on_part)

    def load_many(
        self, source_id: int, names: Sequence[str], cancel: CancelToken
    ) -> Sequence[Content | BaseException]:
        """Load several names in one call, blocking; one result or error for each, in order.

        Raises:
            TypeError: the source returned no sequence, or one of another length.
            Exception: whatever the source raises.
        """
        return self.bound[source_id].load_many(names, cancel)

    async def aload_many(
        self, source_id: int, names: Sequence[str], cancel: CancelToken
    ) -> Sequence[Content | BaseException]:
        """As `load_many`, for an async source."""
        return await self.bound[source_id].aload_many(names, cancel)

    def survey(self, source_id: int, name: str) -> Survey:
        """What the source knows of a name without loading it; blocking, cheap, never raises."""
        return self.bound[source_id].asked.survey(name)

    def expand(self, source_id: int, key: str, content: Content) -> Sequence[FollowUp]:
        """Follow-up predictions of loaded content, the source's and then the host's; blocking.

        Faulty ones are left out, as is all of an `expand` that raises; both are logged.
        """
        bound = self.bound[source_id]
        if content.key != key:
            content = content.placed(
                key=key, source=bound.info.name, loaded_at=content.loaded_at, layer=content.layer
            )
        found: list[FollowUp] = []
        for function in (bound.expand, self._expand):
            if function is None:
                continue
            # Made into a list under the guard: it may be a generator, which raises only then.
            for index, item in enumerate(
                _guarded(bound, "expand", _listed, function, content) or ()
            ):
                follow_up = self._follow_up(bound, key, index, item)
                if follow_up is not None:
                    found.append(follow_up)
        return tuple(found)

    def _follow_up(self, bound: BoundSource, key: str, index: int, item: Any) -> FollowUp | None:
        where = f"expand({key!r})[{index}]"
        follow_up = FollowUp(item) if isinstance(item, Prediction) else item
        if not isinstance(follow_up, FollowUp) or not isinstance(follow_up.prediction, Prediction):
            faults = [f"{where}: expected a Prediction or FollowUp, got {type(item).__name__}"]
        else:
            faults = list(prediction_faults(where, follow_up.prediction))
            if follow_up.relation not in list(Relation):
                allowed = ", ".join(Relation)
                faults.append(f"{where}.relation: {shown(follow_up.relation)} is none of {allowed}")
        if not faults:
            try:
                spelt = self.normalise(follow_up.prediction.key)
            except UnknownKind:
                # The plan lists it as skipped, `no_source`.
                return evolve(follow_up, prediction=with_plain_key(follow_up.prediction))
            except InvalidPrediction as error:
                faults = [f"{where}: {error}"]
            else:
                return evolve(follow_up, prediction=evolve(follow_up.prediction, key=spelt))
        logger.warning("source %r: %s; left out", bound.info.name, "; ".join(faults))
        return None

    def watched(self, source_id: int, name: str) -> tuple[str, ...]:
        """Paths of the files that a name's content is made from; blocking, never raises."""
        bound = self.bound[source_id]
        if bound.watched is None:
            return ()
        paths = _guarded(bound, "watched", bound.watched, name)
        return tuple(p for p in paths or () if isinstance(p, str) and os.path.isabs(p))

    # ---- for what outlives the engine -------------------------------------------------------

    def origin(self, source_id: int) -> str:
        """What tells the source of one run from another source in its place in the next."""
        return self.bound[source_id].origin

    def by_origin(self, kind: str, origin: str) -> int | None:
        """The id of the kind's source with that origin; None: it is not there."""
        found = (b.info.id for b in self._by_kind.get(kind, ()) if b.origin == origin)
        return next(found, None)

    def judges(self, source_id: int, content: Content) -> bool:
        """Whether the source itself can tell at each read that this content is out of date."""
        return self.bound[source_id].asked.judges(content)

    def excluded(self, source_id: int, name: str) -> str | None:
        """Why the name must not be prefetched, nor kept; blocking, cheap, never raises."""
        return self.bound[source_id].asked.why_excluded(name)

    # ---- for readers ------------------------------------------------------------------------

    def normalise(self, key: str) -> str:
        """The one spelling of a key.

        Raises:
            UnknownKind: no source serves its kind.
            InvalidPrediction: it is malformed, or every source that checks names refuses it.
        """
        if type(key) is not str:
            key = plain_key(key)
        spelt = self._spellings.get(key)
        if spelt is not None:
            return spelt
        kind, name = split_key(key)
        served = self._by_kind.get(kind)
        if served is None:
            raise UnknownKind(kind, self.table.kinds)
        spelt = f"{kind}:{_spelt(key, name, served)}"
        if len(self._spellings) >= _REMEMBERED:
            self._spellings.clear()
        self._spellings[key] = spelt
        return spelt

    def normalise_prefix(self, pattern: str) -> str:
        """A prefix ending in `*`, spelt as its kind's keys are.

        A prefix that its source would spell in a way that cannot be told from one name stands
        for its whole kind: then more is loaded again than need be, and nothing is stale.

        Raises:
            UnknownKind: no source serves its kind.
            InvalidPrediction: what stands before the `*` leaves its source's root.
        """
        prefix = pattern[:-1]
        kind, colon, name = prefix.partition(":")
        if not colon:
            return pattern  # of kinds, not of names
        if kind not in self._by_kind:
            raise UnknownKind(kind, self.table.kinds)
        if not name:
            return pattern
        try:
            spelt = self.normalise(prefix + _PROBE)
        except InvalidPrediction:
            whole, mark, part = prefix.rpartition("#")
            if not mark:
                raise
            return f"{self.normalise(whole)}#{part}*"  # parts that have names of their own
        return f"{spelt[: -len(_PROBE)]}*" if spelt.endswith(_PROBE) else f"{kind}:*"

    def fresh(self, source_id: int, name: str, content: Content) -> Content | None:
        """Whether content may still be served.

        Returns `content`; a copy under a newer version where its source found it unchanged; None
        where it is stale, or where the source's own check raised. Negative ids: no source.
        """
        check = self.checks[source_id] if source_id >= 0 else None
        return content if check is None else check(name, content)

    def whole_key(self, key: str) -> str | None:
        """The key of the whole that a normalised key is a part of; None: it is not a part."""
        kind, name = split_key(key)
        for bound in self._by_kind.get(kind, ()):
            if bound.whole is not None:
                whole = _guarded(bound, "whole", bound.whole, name)
                if isinstance(whole, str) and whole != name:
                    return f"{kind}:{whole}"
        return None

    def extract(self, key: str, whole_content: Content) -> Content | None:
        """A part cut out of the whole's content; None: it cannot be had that way."""
        kind, name = split_key(key)
        for bound in self._by_kind.get(kind, ()):
            if bound.part is None:
                continue
            part = _guarded(bound, "part", bound.part, whole_content, name)
            if isinstance(part, Content):
                if part.version is None and whole_content.version is not None:
                    part = with_version(part, whole_content.version)
                return bound.results.counted(name, part).placed(
                    key=key,
                    source=whole_content.source,
                    loaded_at=whole_content.loaded_at,
                    layer=whole_content.layer,
                )
        return None

    def stamped(self, key: str, content: Content) -> Content:
        """Content that the host handed over: its tokens counted, under a version to check it by."""
        return self.adopt(key, content)[1]

    def adopt(self, key: str, content: Content) -> tuple[int, Content]:
        """As `stamped`, with the id of the source whose `fresh` will judge it; -1: none does.

        Of several sources of the kind it is the first that knows the resource now, else the first.
        """
        kind, name = split_key(key)
        served = self._by_kind.get(kind)
        if not served:
            return -1, content
        bound = served[0]
        if len(served) > 1:
            bound = next((candidate for candidate in served if candidate.asked.knows(name)), bound)
        source_id, content = bound.info.id, bound.results.counted(name, content)
        if bound.stamped is not None:
            stamped = _guarded(bound, "stamped", bound.stamped, name, content)
            if isinstance(stamped, Content):
                return source_id, stamped
        version = bound.asked.version_now(name) if content.version is None else None
        return source_id, content if version is None else with_version(content, version)


def _names(sources: Sequence[object]) -> list[str]:
    """A name for each source: its own or its kind, numbered where it is not the only one."""
    names: list[str] = []
    for source in sources:
        own: str | None = getattr(source, "name", None)
        wanted: str = own or getattr(source, "kind")  # noqa: B009 - `source` is any object here
        name, number = wanted, 1
        while name in names:
            number += 1
            name = f"{wanted}#{number}"
        names.append(name)
    return names


def _spelt(key: str, name: str, served: Iterable[BoundSource]) -> str:
    """By the first source that accepts the name; unchanged where none of them checks names."""
    reasons: list[str] = []
    for bound in served:
        if bound.normalise is None:
            continue
        try:
            spelt = bound.normalise(name)
        except BaseException as error:  # noqa: BLE001 - the source's code
            pass_interrupt(error)
            why = str(error) if isinstance(error, ValueError) else describe(error)
            reasons.append(f"key {key!r}: {why}")
            continue
        if isinstance(spelt, str) and spelt:
            return spelt
        reasons.append(f"key {key!r}: source {bound.info.name!r} gave {spelt!r} as its spelling")
    if reasons:
        raise InvalidPrediction(dict.fromkeys(reasons))
    return name


def _listed(function: Callable[[Content], Any], content: Content) -> list[Any]:
    given = function(content)
    return [] if given is None else list(islice(given, _MAX_FOLLOW_UPS))


def _guarded(bound: BoundSource, word: str, function: Callable[..., Any], *given: Any) -> Any:
    try:
        return function(*given)
    except BaseException as error:  # noqa: BLE001 - the source's code
        pass_interrupt(error)
        bound.asked.warn(word, "raised; done without")
        return None
