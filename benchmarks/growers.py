"""What can grow in the library: each grower does one more of something, as often as it is asked."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from attrs import frozen

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.inbox import Inbox
from prefetch_scheduler.engine import CallableSource, Prediction, PrefetchEngine
from prefetch_scheduler.engine import SessionEnded as EndedByHost
from prefetch_scheduler.policies import metrics_events as ev
from prefetch_scheduler.policies.accounting import Accounting
from prefetch_scheduler.policies.availability import Availability
from prefetch_scheduler.policies.cache_events import Invalidate, Pin, Put
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.content import Content, Entry, unread_token
from prefetch_scheduler.policies.estimates import Estimator
from prefetch_scheduler.policies.keys import cache_key
from prefetch_scheduler.policies.layers import CacheLayers
from prefetch_scheduler.policies.planner import PlannerMachine
from prefetch_scheduler.policies.planner_events import (
    ContextChanged,
    Demand,
    Forsake,
    PlannerEvent,
    SessionEnded,
    SessionStarted,
    Submit,
)
from prefetch_scheduler.policies.source_info import SourceInfo, SourceTable
from prefetch_scheduler.policies.story import StoryBook
from prefetch_scheduler.policies.usage import Habits, UsageHistory
from prefetch_scheduler.policies.vocabulary import Cause, Lane, Priority

Step = Callable[[int], object]
"""Does it for the n-th time, n from 0."""

SOURCE = SourceInfo(0, "k", "k", read_only=True)
EACH = 10
"""Predictions of a submit, and keys of a project."""


@frozen
class Grower:
    """Something that grows.

    Attributes:
        name: what is done once for each n.
        start: a context in which `Step` may be called.
        held: the host still holds all n, so memory may grow with n; else what is over must leave
            nothing behind.
        most: the largest n that is worth its time.
    """

    name: str
    start: Callable[[], AbstractContextManager[Step]]
    held: bool = False
    most: int = 10**6


def _plain(make: Callable[[], Step]) -> Callable[[], AbstractContextManager[Step]]:
    """A grower that has nothing to close."""

    @contextmanager
    def start() -> Iterator[Step]:
        yield make()

    return start


# ---- what is learned and counted -----------------------------------------------------------------


def _estimator() -> Step:
    estimator = Estimator()

    def step(n: int) -> None:
        name = f"src/file{n}.py"
        estimate = estimator.estimate(SOURCE, name, None, None, None)
        tokens = estimate.tokens + n % 7
        estimator.observe(SOURCE, name, estimated_tokens=None, tokens=tokens, load_s=0.01)

    return step


def _usage() -> Step:
    usage = UsageHistory()

    def step(n: int) -> None:
        usage.note(f"k:{n}", float(n), n // 10_000)
        usage.recent(f"k:{n // 2}", float(n), 300.0)

    return step


def _habits() -> Step:
    habits = Habits()

    def step(n: int) -> None:
        group = f"project:{n // (EACH * EACH)}"
        habits.note(group, f"k:{n}")
        if n % 1000 == 0:
            habits.top(group, EACH)

    return step


def _stories() -> Step:
    book = StoryBook()
    return lambda n: book.handle(ev.Note(f"k:{n}", "planned", "planned", "s"), float(n), float(n))


def _failures() -> Step:
    availability = Availability(1.0, 60.0)

    def step(n: int) -> None:
        availability.failed(f"k:{n}", float(n), "it is gone")
        availability.blocked(f"k:{n // 2}", float(n))

    return step


def _prefetches_counted() -> Step:
    accounting = Accounting(Config())

    def step(n: int) -> None:
        accounting.handle(ev.PrefetchStarted(n + 1, "s", f"k:{n}", Cause.PREDICTION, 100))
        accounting.handle(ev.PrefetchLoaded(n + 1, 100, 0.01))
        ended = ev.PrefetchUsed(n + 1, "s") if n % 2 else ev.PrefetchWasted(n + 1, "unread")
        accounting.handle(ended)
        accounting.handle(ev.Miss("s", f"k:{n}", predicted=False))

    return step


def _sessions_counted() -> Step:
    accounting = Accounting(Config())

    def step(n: int) -> None:
        accounting.handle(ev.SessionOpened(f"s{n}"))
        accounting.handle(ev.Hits(f"s{n}", 3))
        accounting.handle(ev.SessionClosed(f"s{n}"))
        accounting.handle(ev.Hits(f"s{n // 2}", 1))  # arrives after its session's end

    return step


# ---- the planner ---------------------------------------------------------------------------------


def _planner(events: Callable[[int], tuple[PlannerEvent, ...]]) -> Step:
    """A planner whose pools grant nothing: what it is given stays with it."""
    machine = PlannerMachine(Config(), SourceTable((SOURCE,)))

    def step(n: int) -> None:
        for event in events(n):
            machine.handle(event, n * 1e-6)
            machine.next_deadline()

    return step


def _predictions(n: int) -> tuple[Prediction, ...]:
    return tuple(Prediction(f"k:{n * EACH + m}", "related_file", 0.8) for m in range(EACH))


PLANNER: dict[str, tuple[Callable[[int], tuple[PlannerEvent, ...]], bool, int]] = {
    f"submits of {EACH} new keys in one session": (
        lambda n: (Submit("s", _predictions(n)),),
        False,
        10**4,
    ),
    "changes of context in one session": (
        lambda n: (ContextChanged("s", f"turn-{n}"),),
        False,
        10**6,
    ),
    "changes of context, each in a session of its own": (
        lambda n: (ContextChanged(f"s{n}", "a"), ContextChanged(f"s{n}", "b")),
        True,
        10**6,
    ),
    "sessions that began": (
        lambda n: (SessionStarted(f"s{n}", f"p{n}", f"u{n}"),),
        True,
        10**6,
    ),
    "sessions that submitted": (
        lambda n: (Submit(f"s{n}", _predictions(n)[:1]),),
        True,
        10**5,
    ),
    "sessions that submitted, ended, and read late": (
        lambda n: (
            SessionStarted(f"s{n}", f"p{n}", f"u{n}"),
            Submit(f"s{n}", _predictions(n)),
            SessionEnded(f"s{n}"),
            Demand(f"s{n // 2}", "k:late", ticket=n),
            Forsake(n, "k:late"),
        ),
        False,
        10**4,
    ),
    "reads that wait for a slot": (
        lambda n: (Demand("s", f"k:{n}", ticket=n),),
        True,
        10**5,
    ),
}
"""What the planner is told for each n, whether the host still holds it, and the largest n."""


# ---- the cache -----------------------------------------------------------------------------------


def _entry(stored: str, n: int, session: str = "s") -> Entry:
    """A prefetched entry that nobody has read."""
    return Entry(
        stored=stored,
        content=Content("text", tokens=1),
        source_id=0,
        epoch=n,
        asked_at=float(n),
        loaded_at=float(n),
        load_s=0.01,
        session=session,
        priority=Priority.P2,
        lane=Lane.IMMEDIATE,
        prefetch_id=n + 1,
        first_read=unread_token(),
    )


def _stored() -> Step:
    layers = CacheLayers(Config())
    return lambda n: layers.handle(Put(_entry(f"k:{n}", n)), n * 1e-6)


def _large_cache() -> Step:
    layers = CacheLayers(Config(cold_cache_size=2 * 10**6))
    return lambda n: layers.handle(Put(_entry(f"k:{n}", n)), n * 1e-6)


def _changes() -> Step:
    """Changes that the planner never acknowledges."""
    layers = CacheLayers(Config())

    def step(n: int) -> None:
        layers.handle(Invalidate(f"k:{n}", n + 1), n * 1e-6)
        layers.handle(Put(_entry(f"k:{n // 2}", n)), n * 1e-6)

    return step


def _users() -> Step:
    layers = CacheLayers(Config())
    key = "mail:inbox"
    return lambda n: layers.handle(
        Put(_entry(cache_key(key, f"u{n}", private=True), n, f"s{n}")), n * 1e-6
    )


def _pins() -> Step:
    layers = CacheLayers(Config())
    return lambda n: layers.handle(Pin(f"k:{n}", f"s{n}"), n * 1e-6)


# ---- mailboxes, and the whole engine -------------------------------------------------------------


def _mailbox(bound: int) -> Step:
    """Messages to an actor that does not come round to them; beyond the bound they are refused."""
    return Address("held", Inbox("held", bound=bound)).tell


@contextmanager
def _engine() -> Iterator[PrefetchEngine]:
    source = CallableSource("k", lambda name: name * 10, read_only=True)
    with PrefetchEngine(sources=[source]) as engine:
        yield engine


@contextmanager
def _keys_read() -> Iterator[Step]:
    with _engine() as engine:
        yield lambda n: engine.get(f"k:{n}")


@contextmanager
def _whole_sessions() -> Iterator[Step]:
    """Sessions that submit, read, end, and are asked once more when they are over."""
    with _engine() as engine:

        def step(n: int) -> None:
            session = engine.session(f"s{n}", f"p{n}", f"u{n}")
            session.submit([Prediction(f"k:{n}", "main_file", 0.9)])
            session.get(f"k:{n}")
            session.trigger(EndedByHost())
            session.get(f"k:{n}:late")

        yield step


@contextmanager
def _subscriptions() -> Iterator[Step]:
    with _engine() as engine:
        yield lambda _: engine.subscribe(str)()


GROWERS = (
    Grower("estimator: names loaded", _plain(_estimator)),
    Grower("usage: keys read", _plain(_usage)),
    Grower("habits: keys read", _plain(_habits)),
    Grower("stories: keys told of", _plain(_stories)),
    Grower("availability: keys that failed", _plain(_failures)),
    Grower("accounting: prefetches ended", _plain(_prefetches_counted)),
    Grower("accounting: sessions ended", _plain(_sessions_counted)),
    *(
        Grower(f"planner: {what}", _plain(lambda events=events: _planner(events)), held, most)  # type: ignore[misc]  # a default binds the loop's value
        for what, (events, held, most) in PLANNER.items()
    ),
    Grower("cache: keys stored, default sizes", _plain(_stored)),
    Grower("cache: keys stored, all resident", _plain(_large_cache), held=True),
    Grower("cache: changes not acknowledged", _plain(_changes)),
    Grower("cache: users of one private key", _plain(_users)),
    Grower("cache: pins of live sessions", _plain(_pins), held=True),
    Grower("mailbox: messages that wait", _plain(lambda: _mailbox(10**7)), held=True),
    Grower("mailbox: messages refused", _plain(lambda: _mailbox(1))),
    Grower("engine: keys read", _keys_read, most=10**6),
    Grower("engine: sessions that ended", _whole_sessions, most=10**5),
    Grower("engine: subscriptions that ended", _subscriptions, most=10**5),
)
