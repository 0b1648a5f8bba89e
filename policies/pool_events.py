"""What a fetcher pool is told, and what it reports."""

from attrs import field

from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.prediction import FollowUp
from prefetch_scheduler.policies.source_info import Survey
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import Pool

# ---- to a pool ----------------------------------------------------------------------------


@frozen
class LoadRequest:
    """One resource to load. A request uses one credit of its pool until it is reported ended."""

    id: int
    """The flight's number, unique in the engine."""
    source_id: int
    key: str
    name: str
    """The key without its kind: what the source is asked for."""
    claim_s: float
    """Seconds for which it may hold its slot; past them `Released(timed_out)`, and it runs on."""
    load_timeout_s: float
    """Seconds after which it is given up."""
    expand: bool = False
    """Whether to ask for follow-up predictions once it is loaded."""
    ask_first: bool = False
    """Loaded ahead without a survey: ask the source first whether the name may be prefetched."""


@frozen
class Fetch:
    """Load these. `start`: at once; otherwise they wait in the pool for a `Permit`."""

    requests: tuple[LoadRequest, ...]
    start: bool = True
    by: "Sender | None" = field(default=None, eq=False)
    standby: int = 0
    """Of those that start at once, so many at the end wait all the same: each begins in the slot of
    a load of its source that ends well. Given back (`Released(started=False)`) where none runs, and
    where one took longer than `slots.STANDBY_S`: the order in which they were sent is old then."""


@frozen
class Permit:
    """So many more of the waiting requests may start. A permit that finds none is given back."""

    count: int
    by: "Sender | None" = field(default=None, eq=False)


@frozen
class Sender:
    """Which planner sends, and to which incarnation of the pool; None in its place: to any.

    A pool drops what was meant for its predecessor, and what comes from a planner's: neither the
    credits used for it nor anybody's interest in it hold any more.
    """

    planner: int
    pool: int = 0
    """0: the planner has heard of none yet."""


@frozen
class CancelLoad:
    """Drop this request, waiting or running. Unknown numbers are ignored: it has ended already."""

    id: int


@frozen
class Withdraw:
    """Give this request back if it still waits for a permit (`Released(started=False)`).

    Nothing happens where it has been started: unlike `CancelLoad` this never costs work.
    """

    id: int


@frozen
class SurveyNames:
    """Ask the sources what they know of these names; answered by `Surveyed`, in that order."""

    plan_id: int
    names: tuple[tuple[int, str], ...]
    """(source id, name) pairs."""


@frozen
class ResetPool:
    """A new planner: cancel everything, report only `Ended` of it, and grant credits anew."""


@frozen
class TakeOver:
    """A new planner: drop what has not begun, go on with what has; answered by `UnderWay`."""

    planner: int
    """Its incarnation."""


# ---- from the code that runs loads, to the pool's machine ----------------------------------


@frozen
class LoadResult:
    """What one load brought."""

    content: Content
    load_s: float
    """Seconds from start to end of the source's own work."""


@frozen
class LoadFailure:
    """How one load failed."""

    error: str
    exception: BaseException | None = field(default=None, eq=False)
    cancelled: bool = False
    excluded: bool = False
    """Not tried: its source says that the name must not be loaded ahead."""


@frozen
class RunEnded:
    """The source's code for this request has returned or raised."""

    id: int
    outcome: LoadResult | LoadFailure
    run: int = 0
    """The `Run.serial` it belongs to, so that a number used again is not taken for the old one;
    0: the one under way."""


@frozen
class RunPart:
    """The source yielded a part of this request's content."""

    id: int
    key: str
    content: Content
    run: int = 0
    """As in `RunEnded`."""


PoolCommand = Fetch | Permit | CancelLoad | Withdraw | SurveyNames | ResetPool | TakeOver
PoolInput = Fetch | Permit | CancelLoad | Withdraw | ResetPool | TakeOver | RunEnded | RunPart

# ---- from a pool, to the planner -----------------------------------------------------------


@frozen
class Started:
    """The source's code was called for this request. Not reported of what has ended by then: its
    end tells of its start, too."""

    id: int


@frozen
class Released:
    """The request gave its slot back before it ended: its claim ran out, or it was cancelled."""

    id: int
    timed_out: bool
    """True: the load runs on and may still be `Loaded`. False: cancelled, its result is dropped."""
    started: bool
    """False: it was cancelled while it waited; nothing more is reported of it."""


@frozen
class PartLoaded:
    id: int
    key: str
    """Key of the part, e.g. `skill:x#meta`."""
    content: Content


@frozen
class Loaded:
    id: int
    result: LoadResult
    began: bool = False
    """Its start was not reported before."""


@frozen
class Failed:
    id: int
    error: str
    exception: BaseException | None = field(default=None, eq=False)
    excluded: bool = False
    began: bool = False
    """As `Loaded.began`."""


@frozen
class Abandoned:
    """Given up after `load_timeout_s`. `Ended` follows when the source's code returns, if ever."""

    id: int


@frozen
class Ended:
    """The source's code of a cancelled or abandoned request has returned; its result is dropped."""

    id: int


LoadReport = Started | Released | PartLoaded | Loaded | Failed | Abandoned | Ended


@frozen
class PoolReport:
    """What happened in a pool, in order, and the credits it grants with it."""

    pool: Pool
    reports: tuple[LoadReport, ...] = ()
    credits: int = 0
    """Further requests that the pool will take."""
    permits_returned: int = 0
    reset: bool = False
    """The pool starts afresh: what it was told before is void, `credits` is all that it grants."""
    planner: int = field(default=0, eq=False)
    """The planner that it takes to be alive; 0: it has been told of none."""
    incarnation: int = field(default=0, eq=False)
    """Which of the pool's incarnations reports."""


@frozen
class UnderWay:
    """Answer to `TakeOver`: the loads, by number, that an earlier planner had begun."""

    pool: Pool
    planner: int
    """The planner that asked."""
    credits: int
    """All further requests that the pool will take."""
    running: tuple[int, ...] = ()
    """Each holds a slot."""
    late: tuple[int, ...] = ()
    """Past their claim, without a slot; their results still count."""
    dropped: tuple[int, ...] = ()
    """Cancelled or given up: only the source's code has not ended."""
    incarnation: int = 0


@frozen
class Surveyed:
    """Answer to `SurveyNames`; an entry is None where the source failed to say."""

    plan_id: int
    surveys: tuple[Survey | None, ...]


@frozen
class Expanded:
    """What a loaded request's content brought up; follows `Loaded` where `expand` was asked for."""

    id: int
    follow_ups: tuple[FollowUp, ...]
