import threading
from collections import Counter

from prefetch_scheduler.actors.desk import ChangeDesk, ChangeWaiting, SubmitDesk, SubmitWaiting
from prefetch_scheduler.policies.cache_events import Invalidate
from prefetch_scheduler.policies.planner_events import Submit
from prefetch_scheduler.policies.prediction import Prediction


def submit(session: str, count: int = 1, context: str | None = None) -> Submit:
    predictions = tuple(Prediction(f"k:{n}", "main_file", 0.9) for n in range(count))
    return Submit(session, predictions, context=context, ticket=object())


def sent(desk: SubmitDesk, given: Submit) -> SubmitWaiting:
    handed = desk.hand_in(given)
    assert handed.message is not None
    return handed.message


def test_below_a_flood_every_submit_is_planned_by_itself() -> None:
    desk = SubmitDesk(flood=10)
    first, second = submit("s", 5), submit("s", 5)
    assert desk.take(sent(desk, first)) is first
    one, two = sent(desk, first), sent(desk, second)
    assert desk.fill() == (10, 200_000)
    assert [desk.take(one), desk.take(two)] == [first, second]
    assert desk.take(one) is None
    assert desk.fill()[0] == 0


def test_in_a_flood_the_latest_takes_the_place_of_the_one_that_waits() -> None:
    desk = SubmitDesk(flood=10)
    first, other, second = submit("s", 8), submit("t", 8), submit("s", 6)
    place = sent(desk, first)
    sent(desk, other)
    handed = desk.hand_in(second)
    assert (handed.message, handed.replaced, handed.shed) == (None, first, False)
    assert desk.take(place) is second
    assert desk.fill()[0] == 8


def test_it_belongs_to_the_context_of_the_one_whose_place_it_took() -> None:
    desk = SubmitDesk(flood=0)
    place = sent(desk, submit("s", context="new"))
    desk.hand_in(submit("s"))
    taken = desk.take(place)
    assert taken is not None
    assert taken.context == "new"


def test_what_was_said_in_between_keeps_its_place() -> None:
    desk = SubmitDesk(flood=0)
    first, second, third = submit("s"), submit("s"), submit("s")
    one = sent(desk, first)
    desk.seal("s")
    two = sent(desk, second)
    assert desk.hand_in(third).replaced is second
    assert [desk.take(one), desk.take(two)] == [first, third]


def test_past_the_bound_the_newest_is_shed_and_one_alone_is_always_taken() -> None:
    desk = SubmitDesk(flood=0, most=10)
    huge = submit("s", 50)
    place = sent(desk, huge)
    assert desk.hand_in(submit("t", 1)).shed
    again = desk.hand_in(submit("s", 40))
    assert again.replaced is huge
    desk.take(place)
    sent(desk, submit("t", 6))
    sent(desk, submit("u", 4))
    assert desk.hand_in(submit("u", 5)).shed
    assert desk.fill()[0] == 10


def test_a_submit_that_waits_can_be_withdrawn() -> None:
    desk = SubmitDesk()
    given = submit("s")
    place = sent(desk, given)
    assert desk.withdraw(object()) is None
    assert desk.withdraw(given.ticket) is given
    assert desk.take(place) is None
    assert desk.fill()[0] == 0
    sent(desk, submit("s"))


def test_each_submit_of_many_threads_is_taken_or_replaced_once() -> None:
    desk = SubmitDesk(flood=3)
    messages: list[SubmitWaiting] = []
    ended: Counter[int] = Counter()
    given = [[submit(f"s{n % 2}", n % 3) for n in range(300)] for _ in range(4)]

    def send(mine: list[Submit]) -> None:
        for each in mine:
            handed = desk.hand_in(each)
            if handed.replaced is not None:
                ended[id(handed.replaced.ticket)] += 1
            if handed.message is not None:
                messages.append(handed.message)

    threads = [threading.Thread(target=send, args=(mine,)) for mine in given]
    for thread in threads:
        thread.start()
    taken = 0
    while any(thread.is_alive() for thread in threads) or messages:
        if messages:
            got = desk.take(messages.pop(0))
            assert got is not None
            ended[id(got.ticket)] += 1
            taken += 1
    assert ended == Counter(id(each.ticket) for mine in given for each in mine)
    assert desk.fill()[0] == 0


def test_changes_of_one_pattern_wait_as_one_with_the_newest_epoch() -> None:
    forgotten: list[tuple[int, str]] = []
    desk = ChangeDesk(lambda epoch, pattern: forgotten.append((epoch, pattern)))
    first = desk.hand_in(Invalidate("k:a", 1))
    assert first == ChangeWaiting(1)
    assert desk.hand_in(Invalidate("k:a", 3)) is None
    assert desk.hand_in(Invalidate("k:a", 2)) is None  # by a thread that was held up
    assert desk.hand_in(Invalidate("k:*", 4)) == ChangeWaiting(2)
    assert forgotten == [(1, "k:a"), (2, "k:a")]
    assert desk.take(first) == Invalidate("k:a", 3)
    assert desk.take(first) is None
    assert desk.hand_in(Invalidate("k:a", 5)) == ChangeWaiting(3)
    assert desk.fill() == 2
