"""The default policy in the planner: what it loads, reloads and prefills, in virtual time."""

from attrs import evolve

from prefetch_scheduler.policies.config import Config, Execution, Speculation
from prefetch_scheduler.policies.metrics_events import Learned
from prefetch_scheduler.policies.planner_events import Demand, SessionEnded, SessionStarted, Submit
from prefetch_scheduler.policies.prediction import Terms
from prefetch_scheduler.policies.source_info import SourceInfo
from prefetch_scheduler.policies.story import StoryBook
from prefetch_scheduler.policies.vocabulary import Lane, Reason
from prefetch_scheduler.policies.weighing import WARM_UP
from support.virtual import Load, Outcome, World, p

SLOW = Load(seconds=0.5, tokens=200)


def experienced(world: World, *, read: bool, count: int = WARM_UP + 20) -> None:
    """Let sessions predict keys that they read, or never read."""
    for number in range(count):
        session = f"earlier{number}"
        world.tell(SessionStarted(session, "p"))
        world.submit([p(f"file:{number}", confidence=0.85)], session=session)
        world.run(1)
        if read:
            world.read(f"file:{number}", session)
        world.tell(SessionEnded(session))
        world.run(1)


def test_a_predictor_that_was_right_is_acted_on_and_its_plan_says_why() -> None:
    world = World(default=SLOW)
    experienced(world, read=True)
    handle = world.submit([p("file:next", confidence=0.45)])  # below the specification's threshold
    world.settle()
    assert handle.plan is not None
    (item,) = handle.plan.items
    assert item.lane in (Lane.IMMEDIATE, Lane.BACKGROUND)
    worth = item.candidate.worth
    assert worth is not None
    assert worth.net_s > 0
    assert item.value == worth.net_s
    assert "file:next" in world.loaded


def test_a_predictor_that_was_wrong_is_not_acted_on_and_is_told_why() -> None:
    world = World(default=SLOW)
    experienced(world, read=False)
    handle = world.submit([p("file:next", confidence=0.85, tokens=5_000)])
    world.settle()
    assert handle.plan is not None
    (item,) = handle.plan.items
    assert (item.lane, item.reason) == (Lane.DEFERRED, Reason.NOT_WORTH_IT)
    assert "read with probability 0.0" in item.explanation
    assert item.to_dict()["worth"]["chance"] < 0.1
    assert "file:next" not in world.loaded
    world.read("file:next")
    world.settle()
    book = StoryBook()
    for event in world.events:
        book.handle(event, 0.0, 0.0)
    told = {line.event: line.reason for line in book.explain("file:next")}
    assert told["planned P2 deferred"].startswith("not_worth_it: read with probability 0.0")
    assert told["miss"].startswith("not_worth_it: read with probability 0.0")


def test_what_takes_next_to_no_time_is_not_loaded_ahead_however_certain() -> None:
    world = World(default=Load(seconds=0.0002, tokens=2_000))
    experienced(world, read=True)
    handle = world.submit([p("file:next", confidence=0.9, tokens=2_000)])
    world.settle()
    assert handle.plan is not None
    assert handle.plan.items[0].reason is Reason.NOT_WORTH_IT


def test_what_is_critical_by_its_role_is_loaded_in_any_case() -> None:
    world = World(default=Load(seconds=0.0002, tokens=2_000))
    experienced(world, read=False)
    world.submit([p("file:master", "master_file", 0.9)])
    world.settle()
    assert "file:master" in world.loaded


def test_the_specifications_rules_load_by_confidence_whatever_was_learned() -> None:
    config = Config(execution=Execution(policy="specification"))
    world = World(default=SLOW, config=config)
    experienced(world, read=False)
    world.submit([p("file:next", confidence=0.85)])
    world.settle()
    assert "file:next" in world.loaded


def test_a_session_begins_with_what_most_sessions_of_its_project_read() -> None:
    world = World(default=SLOW)
    for number in range(WARM_UP + 5):
        session = f"earlier{number}"
        world.tell(SessionStarted(session, "p"))
        world.submit([p(f"file:{number}", confidence=0.85)], session=session)
        world.run(1)
        world.read(f"file:{number}", session)
        world.read("file:always", session)
        world.run(1)
        world.tell(SessionEnded(session))
        world.change("file:always")
        world.run(1)
    before = len(world.started)
    world.tell(SessionStarted("new", "p"))
    world.settle()
    assert [key for _, key, _ in world.started[before:]] == ["file:always"]
    assert world.read("file:always", "new").waited == 0


def test_what_is_private_is_prefilled_for_who_read_it_under_its_own_name() -> None:
    mail = SourceInfo(0, "mail", "mail", read_only=True, private=True)
    world = World((mail,), default=SLOW)
    for number in range(WARM_UP + 5):
        session = f"earlier{number}"
        world.tell(SessionStarted(session, "p", "ann"))
        world.submit([p(f"mail:{number}", confidence=0.85)], session=session)
        world.run(1)
        for name in (number, "always"):
            world.read(f"mail:{name}", session)
        world.tell(SessionEnded(session))
        world.run(1)
    for user, expected in (("bob", []), ("ann", ["mail:always"])):
        world.change("mail:always")
        before = len(world.started)
        world.tell(SessionStarted(f"new of {user}", "p", user))
        world.settle()
        assert [key for _, key, _ in world.started[before:]] == expected


def test_observing_plans_and_records_and_loads_nothing() -> None:
    world = World(default=SLOW, config=Config(speculation=Speculation(mode="observe")))
    handle = world.submit([p("file:a", confidence=0.85)])
    world.settle()
    assert handle.plan is not None
    assert handle.plan.items[0].reason is Reason.OBSERVED
    assert world.loaded == []
    assert world.read("file:a").result is None
    world.settle()
    assert world.resident == {"file:a"}


def test_off_is_as_without_speculation() -> None:
    config = evolve(Config(), speculation=Speculation(mode="off"))
    world = World(default=SLOW, config=config)
    handle = world.submit([p("file:a", confidence=0.85)])
    world.settle()
    assert handle.plan is not None
    assert handle.plan.items[0].reason is Reason.SPECULATION_OFF
    assert world.loaded == []


def test_metrics_are_told_what_was_learned_when_a_session_ends() -> None:
    world = World(default=SLOW)
    experienced(world, read=True, count=3)
    told = [event for event in world.events if isinstance(event, Learned)]
    assert len(told) == 3
    assert told[-1].figures.reliability[0].count == 3


def test_a_read_that_comes_after_its_session_ended_does_not_bring_it_back() -> None:
    world = World(default=SLOW)
    for number in range(20):
        session = f"s{number}"
        world.tell(SessionStarted(session, "p"))
        world.tell(SessionEnded(session))
        world.tell(Demand(session, "file:late", Outcome(world.now), at=world.now))
        world.settle()
    assert world.planner.state.learning.sessions == 0
    assert not world.planner.state.sessions


def test_a_role_whose_loads_nobody_reads_is_not_loaded_any_more_within_its_first_session() -> None:
    config = Config(cold_cache_size=10, warm_cache_size=10, hot_cache_size=10)
    world = World(default=SLOW, config=config)
    for number in range(120):
        world.submit([p(f"file:{number}", confidence=0.85), p(f"file:good{number}", "test_file")])
        world.run(2)
        world.read(f"file:good{number}")
    early = [key for key in world.loaded if key.startswith("file:") and key[5:].isdigit()]
    before = len(early)
    handle = world.submit([p("file:next", confidence=0.85), p("file:good", "test_file")])
    world.settle()
    assert handle.plan is not None
    fates = {item.key: item.reason for item in handle.plan.items}
    assert fates == {"file:next": Reason.WASTEFUL, "file:good": Reason.PLANNED}
    assert before < 100
    warnings = [log.text for log in world.logs if "nothing is loaded ahead" in log.text]
    assert len(warnings) == 1
    assert "role related_file" in warnings[0]


def test_a_reader_loads_afresh_what_has_been_under_way_for_far_too_long() -> None:
    loads = {f"file:{n}": Load(seconds=0.01, tokens=10) for n in range(30)}
    loads["file:hung"] = Load(seconds=20.0, tokens=10)
    world = World(loads=loads)
    for number in range(30):
        world.read(f"file:{number}")
        world.settle()
    world.submit([p("file:hung")])
    world.run(5)
    world.loads["file:hung"] = Load(seconds=0.01, tokens=10)
    outcome = world.read("file:hung")
    world.run(0.1)
    assert outcome.result is not None
    assert outcome.waited < 0.1
    assert [key for _, key, _ in world.started].count("file:hung") == 2
    world.settle()
    world.check()
    summary = world.summary()
    assert (summary["cancelled"], summary["late_hits"]) == (1, 0)


def test_a_reader_joins_what_is_about_to_be_loaded() -> None:
    loads = {f"file:{n}": Load(seconds=0.5 + n / 50, tokens=10) for n in range(30)}
    loads["file:next"] = Load(seconds=1.0, tokens=10)
    world = World(loads=loads)
    for number in range(30):
        world.read(f"file:{number}")
        world.settle()
    world.submit([p("file:next")])
    world.run(0.9)
    world.read("file:next")
    world.settle()
    assert [key for _, key, _ in world.started].count("file:next") == 1
    assert world.summary()["late_hits"] == 1


def test_a_session_that_outruns_its_budget_is_thriftier() -> None:
    world = World(default=Load(seconds=0.5, tokens=2_000))
    experienced(world, read=True)
    prices = []
    for left in (100_000, 6_000):
        terms = Terms(limits={"session": left})
        for number in range(3):
            key = f"file:{left}-{number}"
            handle = world.submit([p(key, confidence=0.8, tokens=2_000)], terms)
            world.settle()
        assert handle.plan is not None
        worth = handle.plan.items[0].candidate.worth
        assert worth is not None
        prices.append(worth.price)
    assert prices[1] > 2 * prices[0]


def test_a_session_that_goes_on_after_its_end_leaves_nothing_unsettled() -> None:
    world = World(default=SLOW)
    world.submit([p(f"file:{n}", confidence=0.85) for n in range(5)], session="s")
    planner = world.planner
    planner.handle(SessionEnded("s"), world.now)
    planner.handle(Submit("s", (), Terms()), world.now)  # before the cache has told of its end
    assert planner.state.leaving == {}
    assert planner.state.learning._sessions.get("s") is None or not (
        planner.state.learning._sessions["s"].open
    )
