"""The planner's queues, and what waits in the background (decisions D1, D18)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.flights import Flight, FlightTable, State, Waiter, Want
from prefetch_scheduler.policies.source_info import SourceInfo
from prefetch_scheduler.policies.unstarted import Unstarted
from prefetch_scheduler.policies.vocabulary import Cause, Lane, Pool, Priority
from prefetch_scheduler.policies.waiting import WaitingRoom

SOURCES = tuple(SourceInfo(number, f"s{number}", "k", read_only=True) for number in range(3))


def flight(
    number: int,
    pool: Pool = Pool.P1,
    source: int = 0,
    density: float = 1.0,
    created_at: float = 0.0,
) -> Flight:
    key = f"k:{number}"
    return Flight(
        id=number,
        stored=key,
        key=key,
        name=str(number),
        sources=SOURCES,
        source_at=source,
        cause=Cause.PREDICTION,
        priority=Priority.P2,
        density=density,
        pool=pool,
        lane=Lane.BACKGROUND if pool is Pool.P3 else Lane.IMMEDIATE,
        session="s",
        created_at=created_at,
        ready_at=created_at,
    )


class Model:
    """The same queues as plain lists, searched and sorted anew each time."""

    def __init__(self) -> None:
        self.lists: dict[Pool, list[Flight]] = {pool: [] for pool in Pool}

    def add(self, each: Flight, *, first: bool) -> None:
        queue = self.lists[each.pool]
        queue.insert(0 if first else len(queue), each)

    def in_order(self, pool: Pool) -> list[Flight]:
        queue = self.lists[pool]
        return queue if pool is Pool.DEMAND else sorted(queue, key=lambda f: f.order)

    def heads(self, pool: Pool) -> list[Flight]:
        firsts: dict[int, Flight] = {}
        for each in self.in_order(pool):
            firsts.setdefault(each.source.id, each)
        return list(firsts.values())


steps = st.lists(
    st.tuples(
        st.sampled_from([Pool.DEMAND, Pool.P1, Pool.P3]),
        st.integers(0, 2),
        st.sampled_from([0.5, 1.0, 2.0]),
        st.sampled_from(["add", "add", "first", "head", "any"]),
        st.integers(0, 50),
    ),
    max_size=60,
)


@given(steps=steps)
def test_the_queues_agree_with_plain_lists(
    steps: list[tuple[Pool, int, float, str, int]],
) -> None:
    room, model = WaitingRoom(), Model()
    for number, (pool, source, density, what, place) in enumerate(steps, 1):
        queue = model.in_order(pool)
        if what in ("add", "first"):
            each = flight(number, pool, source, density)
            first = what == "first" and pool is Pool.DEMAND
            room.add(each, first=first)
            model.add(each, first=first)
        elif queue:
            gone = model.heads(pool)[0] if what == "head" else queue[place % len(queue)]
            assert room.remove(gone)
            model.lists[pool].remove(gone)
            assert gone not in room
            assert not room.remove(gone)
        for each_pool in Pool:
            expected = model.in_order(each_pool)
            assert list(room.queued(each_pool)) == expected
            assert room.heads(each_pool) == model.heads(each_pool)
            assert room.length(each_pool) == len(expected)
            if expected and each_pool is not Pool.DEMAND:
                assert room.least(each_pool) is expected[-1]
        assert len(room) == sum(map(len, model.lists.values()))


def test_a_flight_is_not_queued_twice() -> None:
    room = WaitingRoom()
    room.add(flight(1))
    with pytest.raises(ValueError, match="queued already"):
        room.add(flight(1))


# ---- what a session wants ------------------------------------------------------------------


def test_what_a_session_wants_is_known_until_it_ends() -> None:
    table = FlightTable(last_id=10_000)
    both, one = flight(1), flight(2)
    both.wants = {"a": Want("a", Cause.PREDICTION)}
    table.add(both)
    table.add(one)
    table.want(both, Want("b", Cause.PREDICTION))
    table.want(one, Want("b", Cause.PREDICTION))
    assert (table.wanted_by("a"), table.wanted_by("b")) == ([both], [both, one])
    table.drop_want(both, "b")
    table.drop_want(both, "nobody")
    assert table.wanted_by("b") == [one]
    table.renumber(one)
    assert table.wanted_by("b") == [one]
    table.detach(one)
    table.detach(both)
    assert (table.wanted_by("a"), table.wanted_by("b")) == ([], [])


# ---- not started ---------------------------------------------------------------------------


def waiting(*flights: Flight) -> tuple[FlightTable, Unstarted]:
    table = FlightTable(last_id=10_000)
    unstarted = Unstarted(table)
    for each in flights:
        table.add(each)
        unstarted.add(each)
    return table, unstarted


def test_the_one_that_has_waited_longest_comes_first() -> None:
    late, early = (
        flight(1, Pool.P3, created_at=2.0),
        flight(2, Pool.P3, created_at=1.0),
    )
    _, unstarted = waiting(late, early)
    assert unstarted.first() is early
    assert unstarted.take_overdue(30.9, 30.0) == []
    assert unstarted.take_overdue(31.0, 30.0) == [early]
    assert unstarted.first() is late


@pytest.mark.parametrize("change", ["started", "moved", "cancelled", "wanted", "numbered anew"])
def test_what_no_longer_waits_as_it_did_is_stepped_over(change: str) -> None:
    gone, stays = flight(1, Pool.P3), flight(2, Pool.P3, created_at=5.0)
    table, unstarted = waiting(gone, stays)
    match change:
        case "started":
            gone.state = State.RUNNING
        case "moved":
            gone.pool = Pool.P1
        case "cancelled":
            table.detach(gone)
        case "wanted":
            gone.waiters = (Waiter(None, "s", 0.0),)
        case _:
            table.renumber(gone)
    assert unstarted.first() is stays


def test_one_that_waits_in_its_pool_counts_too() -> None:
    handed = flight(1, Pool.P3)
    _, unstarted = waiting(handed)
    handed.state = State.HANDED
    assert unstarted.first() is handed


def test_entries_of_what_has_been_started_do_not_pile_up() -> None:
    table, unstarted = waiting()
    for number in range(1, 2000):
        each = flight(number, Pool.P3, created_at=float(number))
        table.add(each)
        unstarted.add(each)
        if number > 5:
            table.detach(each)
    assert len(unstarted) < 100
    assert unstarted.first() is table.by_id[1]
