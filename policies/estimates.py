"""Estimated tokens and load time of what is not loaded yet, corrected by what was loaded.

Everything learned is a mean of logarithms that follows drift: sizes and times spread over
decades, so the median is the figure that is wrong by the smallest factor, and one outlier moves
it by a bounded step. Every table forgets what was used longest ago.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from math import exp, log
from typing import TypeVar

from attrs import field

from prefetch_scheduler.policies.figures import MAX_LOAD_S, MAX_TOKENS
from prefetch_scheduler.policies.quantiles import Quantiles
from prefetch_scheduler.policies.source_info import SourceInfo, Survey
from prefetch_scheduler.policies.tokens import suffix_of
from prefetch_scheduler.policies.values import define

DEFAULT_TOKENS = 1000
DEFAULT_LOAD_S = 0.05
TOKENS_FLOOR = 1.0
SECONDS_FLOOR = 1e-4
NAMES_KEPT = 10_000
GROUPS_KEPT = 1_000

MEMORY = 10
"""About as many of the latest samples count: the first ones equally, later ones fading."""
OUTLIER = log(8)
"""A sample that is off by more than this factor counts as if it were off by this factor."""
PRIOR = 1
"""A source's own estimates count as one sample that says they are right."""


@define
class Estimate:
    """(Not frozen: that would take longer, and one is made for each candidate.)"""

    tokens: int
    load_s: float
    """Seconds."""
    tokens_basis: str
    load_s_basis: str

    @property
    def basis(self) -> str:
        """Where the two figures come from, for people."""
        return f"tokens: {self.tokens_basis}; time: {self.load_s_basis}"


@define
class LogMean:
    """Mean of logarithms over about the last `MEMORY` samples."""

    mean: float = 0.0
    count: int = 0

    def add(self, sample: float) -> None:
        step = sample - self.mean
        count = self.count
        if count > 1 and not -OUTLIER <= step <= OUTLIER:
            step = OUTLIER if step > 0 else -OUTLIER
        if count < MEMORY:
            self.count = count = count + 1
        self.mean += step / count


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Bounded(OrderedDict[K, V]):
    """A mapping that forgets what was set longest ago."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._capacity = capacity

    def put(self, key: K, value: V) -> None:
        if key in self:
            self.move_to_end(key)
        self[key] = value
        if len(self) > self._capacity:
            self.popitem(last=False)


_Name = tuple[int | None, str]
"""Source and name."""
_Known = tuple[float | None, float, float | None, float]
"""What was seen of one name: its source's own estimate of its tokens then and what they really
were, less than 0 where that is not known; then both of its seconds.
"""

Group = tuple[int, str] | int | None
"""(source, suffix), a source, or everything."""


_NEVER: _Known = (None, -1.0, None, -1.0)


@define
class Quantity:
    """What was learned of one figure of loads: their tokens, or their seconds."""

    default: float
    floor: float
    """Added before taking logarithms: the least amount that makes a difference."""
    _seen: _Bounded[Group, LogMean] = field(init=False)
    _ratios: _Bounded[Group, LogMean] = field(init=False)
    _latest: tuple[Sequence[Group], list[LogMean]] = field(init=False, default=((), []))
    """The groups of the latest load, which are the newest of `_seen`, and what was seen of each."""

    def __attrs_post_init__(self) -> None:
        self._seen = _Bounded(GROUPS_KEPT)
        self._ratios = _Bounded(GROUPS_KEPT)

    def estimate(
        self,
        source: int | None,
        suffix: str,
        stated: float | None,
        before: float | None,
        actual: float,
    ) -> tuple[float, str]:
        """The figure and its basis.

        Args:
            source: that would load it.
            suffix: of its name.
            stated: the source's own estimate.
            before: what that was when the name was loaded last.
            actual: what it came to then; less than 0: it was not loaded.
        """
        if actual >= 0 and (stated is None or stated == before):
            return actual, "loaded before"
        if stated is not None:
            if before is not None:
                shift = self._log(actual) - self._log(before)
                return self._shifted(stated, shift), "source, corrected by its last load"
            ratio = self._ratios.get((source, suffix) if source is not None else None)
            if ratio is None:
                return stated, "source"
            return self._shifted(stated, ratio.mean), "source, corrected by its loads"
        return self._typical(source, suffix)

    def _typical(self, source: int | None, suffix: str) -> tuple[float, str]:
        seen = self._seen
        if source is not None:
            like = seen.get((source, suffix))
            if like is not None:
                return self._figure(like), "seen of its source and suffix"
            own = seen.get(source)
            if own is not None:
                return self._figure(own), "seen of its source"
        every = seen.get(None)
        if every is not None:
            return self._figure(every), "seen of everything"
        return self.default, "default"

    def _figure(self, mean: LogMean) -> float:
        return max(0.0, exp(mean.mean) - self.floor)

    def observe(self, groups: Sequence[Group], stated: float | None, actual: float) -> float:
        """A load of a name that is of these groups came to `actual`; the source had stated
        `stated` before. Returns the logarithm of what it came to.
        """
        sample = log(actual + self.floor)
        latest, means = self._latest
        if latest != groups:
            means = [_touched(self._seen, group) for group in groups]
            self._latest = groups, means
        for mean in means:
            mean.add(sample)
        if stated is not None:
            ratio = _touched(self._ratios, groups[0], prior=PRIOR)
            ratio.add(sample - self._log(stated))
        return sample

    @property
    def remembered(self) -> int:
        """How many groups are held."""
        return len(self._seen) + len(self._ratios)

    def _log(self, figure: float) -> float:
        return log(figure + self.floor)

    def _shifted(self, stated: float, shift: float) -> float:
        return max(0.0, exp(self._log(stated) + shift) - self.floor)


def _touched(table: _Bounded[Group, LogMean], group: Group, *, prior: int = 0) -> LogMean:
    """What was seen of a group, which is the table's newest from now on."""
    mean = table.get(group)
    if mean is None:
        mean = LogMean(count=prior)
        table.put(group, mean)
    else:
        table.move_to_end(group)
    return mean


@define
class Estimator:
    """Estimates tokens and load times, and learns from every load."""

    _tokens: Quantity = field(init=False, factory=lambda: Quantity(DEFAULT_TOKENS, TOKENS_FLOOR))
    _seconds: Quantity = field(init=False, factory=lambda: Quantity(DEFAULT_LOAD_S, SECONDS_FLOOR))
    _usual: dict[tuple[int, str], Estimate] = field(init=False, factory=dict)
    """Source and suffix -> what names are estimated at of which nothing is known, as of now."""
    _names: _Bounded[_Name, _Known] = field(init=False, factory=lambda: _Bounded(NAMES_KEPT))
    sizes: dict[int, Quantiles] = field(init=False, factory=dict)
    """Tokens of each source's loads, and so of its kind's."""
    times: dict[int, Quantiles] = field(init=False, factory=dict)
    """Seconds of each source's loads."""

    def estimate(
        self,
        info: SourceInfo | None,
        name: str,
        survey: Survey | None,
        tokens: int | None,
        load_s: float | None,
    ) -> Estimate:
        """Tokens and seconds that loading `name` will take.

        A prediction's own figures win. Then, for each: what this name came to when it was loaded
        before; what its source states of it, times what its statements for such names were off
        by; what was seen of the source and the name's suffix, of the source, of everything; a
        default. A figure that is negative, NaN or too large (`figures`) counts as not stated.

        Args:
            info: the source that would load it; None: there is none.
            name: the resource's name, without its kind.
            survey: what the source says of this name now.
            tokens: the prediction's own figure.
            load_s: the prediction's own figure, in seconds.
        """
        source = info.id if info else None
        suffix = suffix_of(name)
        known = self._names.get((source, name))
        unknown = known is None and survey is None and tokens is None and load_s is None
        if unknown and info is not None and info.tokens is None and info.load_s is None:
            return self._usually(info.id, suffix)  # as most often
        tokens_before, tokens_then, s_before, s_then = known or _NEVER
        size, size_basis = _sound(tokens, MAX_TOKENS), "prediction"
        if size is None:
            surveyed = survey.tokens if survey else None
            stated = _stated(surveyed, info.tokens if info else None, MAX_TOKENS)
            size, size_basis = self._tokens.estimate(
                source, suffix, stated, tokens_before, tokens_then
            )
        time, time_basis = _sound(load_s, MAX_LOAD_S), "prediction"
        if time is None:
            surveyed_s = survey.load_s if survey else None
            stated = _stated(surveyed_s, info.load_s if info else None, MAX_LOAD_S)
            time, time_basis = self._seconds.estimate(source, suffix, stated, s_before, s_then)
        return Estimate(round(size), time, size_basis, time_basis)

    def _usually(self, source: int, suffix: str) -> Estimate:
        found = self._usual.get((source, suffix))
        if found is None:
            size, size_basis = self._tokens.estimate(source, suffix, None, None, -1.0)
            time, time_basis = self._seconds.estimate(source, suffix, None, None, -1.0)
            if len(self._usual) >= GROUPS_KEPT:
                self._usual.clear()
            found = Estimate(round(size), time, size_basis, time_basis)
            self._usual[source, suffix] = found
        return found

    def observe(
        self,
        info: SourceInfo | None,
        name: str,
        *,
        estimated_tokens: int | None,
        tokens: int,
        load_s: float,
        estimated_load_s: float | None = None,
        typical: bool = True,
    ) -> None:
        """A load has ended.

        Args:
            info: the source that loaded it.
            name: the resource's name, without its kind.
            estimated_tokens: what the source's survey had said; None: its constant, if any.
            tokens: what it came to.
            load_s: seconds that it took.
            estimated_load_s: as `estimated_tokens`, in seconds.
            typical: whether it also tells of other names: of many loads that end together the
                last ones do, since means and quantiles follow the latest.
        """
        source = info.id if info else None
        sound_tokens, sound_s = 0 <= tokens <= MAX_TOKENS, 0 <= load_s <= MAX_LOAD_S
        if not (sound_tokens or sound_s):
            return
        stated = _stated(estimated_tokens, info.tokens if info else None, MAX_TOKENS)
        stated_s = _stated(estimated_load_s, info.load_s if info else None, MAX_LOAD_S)
        if sound_tokens and sound_s:
            self._names.put((source, name), (stated, tokens, stated_s, load_s))
        else:
            known = self._names.get((source, name), _NEVER)
            own = (stated, tokens) if sound_tokens else known[:2]
            own_s = (stated_s, load_s) if sound_s else known[2:]
            self._names.put((source, name), (*own, *own_s))
        if not typical:
            return
        self._usual.clear()
        groups: tuple[Group, ...] = (None,)
        if source is not None:
            groups = (source, suffix_of(name)), source, None
        if sound_tokens:
            sample = self._tokens.observe(groups, stated, tokens)
            if source is not None:
                _of(self.sizes, source, TOKENS_FLOOR).add_log(tokens, sample)
        if sound_s:
            sample = self._seconds.observe(groups, stated_s, load_s)
            if source is not None:
                _of(self.times, source, SECONDS_FLOOR).add_log(load_s, sample)

    def given_up(self, source: int, elapsed_s: float) -> None:
        """A load of the source was cancelled or abandoned: it would have taken longer than this."""
        times = self.times.get(source)
        if times is not None and _sound(elapsed_s, MAX_LOAD_S) is not None:
            times.at_least(elapsed_s)

    def overdue(self, source: int, elapsed_s: float) -> bool:
        """Whether a reader had better load afresh than wait for a load that began so long ago."""
        times = self.times.get(source)
        return times is not None and times.overdue(elapsed_s)

    def loads_within(self, source: int, seconds: float) -> int:
        """How many of the source's loads, one after the other, nearly always end within that time;
        0 where too little is known of it.
        """
        times = self.times.get(source)
        if times is None or not times.trusted or times.longest > seconds:
            return 0
        return int(seconds / max(times.pessimistic or 0.0, SECONDS_FLOOR))

    def remembered(self) -> dict[str, int]:
        """How much is held, for health reports: `names` and `groups`, each of them bounded."""
        groups = self._tokens.remembered + self._seconds.remembered
        return {"names": len(self._names), "groups": groups}


def _of(table: dict[int, Quantiles], source: int, floor: float) -> Quantiles:
    found = table.get(source)
    if found is None:
        found = table[source] = Quantiles(floor)
    return found


def _sound(figure: float | None, most: float) -> float | None:
    """The figure, unless it is none that a size or time can have."""
    return figure if figure is not None and 0 <= figure <= most else None


def _stated(surveyed: float | None, constant: float | None, most: float) -> float | None:
    if surveyed is None and constant is None:  # as most often
        return None
    own = _sound(surveyed, most)
    return own if own is not None else _sound(constant, most)
