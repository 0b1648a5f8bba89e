"""What a session will read next: learned from earlier ones, stated with true probabilities."""

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.next_reads import (
    CANDIDATES_KEPT,
    PRIOR,
    PROJECTS_KEPT,
    RANKED,
    READS_KEPT,
    SESSIONS_KEPT,
    NextReads,
    Sign,
)
from prefetch_scheduler.policies.together import KEYS_KEPT, PARTNERS_KEPT, Together, folder_of


def play(reads: NextReads, name: str, keys: Sequence[str], project: str = "p") -> list[list[str]]:
    """A whole session; what was foreseen before each read."""
    reads.start(name, project)
    foreseen = []
    for key in keys:
        foreseen.append([each.key for each in reads.ranked(name)])
        reads.read(name, key)
    reads.end(name)
    return foreseen


def keys(*names: str) -> list[str]:
    return [f"file:{name}" for name in names]


def test_what_followed_before_is_foreseen():
    reads = NextReads()
    chain = keys("api/route.py", "core/model.py", "db/table.py")
    for number in range(8):
        play(reads, f"s{number}", chain)
        play(reads, f"t{number}", keys("ui/page.ts", "ui/style.css"))
    foreseen = play(reads, "last", chain)
    assert foreseen[1][0] == chain[1]
    assert foreseen[2][0] == chain[2]
    assert not {"file:ui/page.ts", "file:ui/style.css"} & set(foreseen[2][:1])


def test_projects_do_not_learn_each_other_s_files():
    reads = NextReads()
    for number in range(5):
        play(reads, f"s{number}", keys("a.py", "b.py"), "one")
    assert play(reads, "x", keys("a.py", "b.py"), "other")[0] == []


def test_what_is_named_imported_or_a_test_is_foreseen_unseen():
    reads = NextReads()
    reads.start("s", "p")
    reads.named("s", keys("src/named.py"))
    reads.read("s", "file:src/auth.py")
    reads.named("s", keys("src/imported.py"), imported=True)
    found = {each.key: each for each in reads.ranked("s")}
    assert found["file:src/named.py"].reason == "named in what was seen"
    assert found["file:src/imported.py"].reason == "imported by what was read"
    assert found["file:src/tests/test_auth.py"].reason == "its test, or what it tests"
    assert "file:src/auth.py" not in found
    # The specification's threshold: without it a first session would load nothing ahead.
    assert found["file:src/imported.py"].confidence >= 0.5


def test_a_sign_that_is_not_heeded_loses_its_weight():
    reads = NextReads()
    for number in range(40):
        reads.start(f"s{number}", "p")
        reads.named(f"s{number}", keys(f"n{number}.py"))
        reads.ranked(f"s{number}")
        reads.read(f"s{number}", f"file:r{number}.py")
        reads.ranked(f"s{number}")
        reads.end(f"s{number}")
    assert reads.weights[Sign.NAMED] < PRIOR[Sign.NAMED]
    reads.start("new", "p")
    reads.named("new", keys("n.py"))
    stated = [each.confidence for each in reads.ranked("new") if each.key == "file:n.py"]
    fresh = NextReads()
    fresh.start("new", "p")
    fresh.named("new", keys("n.py"))
    assert sum(stated) < fresh.ranked("new")[0].confidence / 3


def test_skills_that_fit_come_with_their_score():
    reads = NextReads()
    reads.start("s", "p")
    reads.fits("s", {"skill:debugging": 0.9, "skill:cooking": 0.1})
    ranked = reads.ranked("s")
    assert [each.key for each in ranked] == ["skill:debugging", "skill:cooking"]
    assert ranked[0].confidence > ranked[1].confidence


def test_confidences_state_how_often_it_comes_true():
    """Half of the sessions go on as foreseen: what is stated comes near to that."""
    rng, reads = random.Random(7), NextReads()
    stated: list[tuple[float, bool]] = []
    for number in range(400):
        name, goes_on = f"s{number}", rng.random() < 0.5
        reads.start(name, "p")
        reads.read(name, "file:a/first.py")
        told = {each.key: each.confidence for each in reads.ranked(name)}
        if number > 200 and "file:b/second.py" in told:
            stated.append((told["file:b/second.py"], goes_on))
        if goes_on:
            reads.read(name, "file:b/second.py")
        reads.end(name)
    assert len(stated) > 150
    mean = sum(confidence for confidence, _ in stated) / len(stated)
    true = sum(read for _, read in stated) / len(stated)
    assert abs(mean - true) < 0.08


def test_it_sees_only_the_past():
    """Two histories that are alike up to a read are foreseen alike up to there."""
    rng = random.Random(3)
    names = keys(*(f"{folder}/{n}.py" for folder in "abc" for n in range(6)))
    sessions = [rng.sample(names, 6) for _ in range(30)]
    others = [*sessions[:20], [*sessions[20][:3], *rng.sample(names, 5)]]
    first, second = NextReads(), NextReads()
    for number in range(20):
        play(first, f"s{number}", sessions[number])
        play(second, f"s{number}", others[number])
    assert play(first, "x", sessions[20])[:4] == play(second, "x", others[20])[:4]


def test_sessions_that_are_not_open_are_nobody_s():
    reads = NextReads()
    reads.read("none", "file:a.py")
    reads.named("none", keys("a.py"))
    reads.fits("none", {"skill:x": 1.0})
    reads.end("none")
    assert reads.ranked("none") == []
    reads.start("s", "p")
    reads.named("s", keys("a.py"))
    reads.start("s", "p")  # still the same
    assert [each.key for each in reads.ranked("s")] == keys("a.py")


def test_all_of_it_is_bounded():
    reads = NextReads()
    for number in range(PROJECTS_KEPT + 20):
        reads.start(f"s{number}", f"project {number}")
        reads.end(f"s{number}")
    assert len(reads._projects) == PROJECTS_KEPT
    assert reads._sessions == {}
    reads.start("s", "p")
    reads.named("s", keys(*(f"{n}.py" for n in range(3 * CANDIDATES_KEPT))))
    assert len(reads.ranked("s")) <= RANKED
    assert len(reads._sessions["s"].candidates) <= CANDIDATES_KEPT
    reads.named("s", keys(*(f"x{n}.py" for n in range(9 * CANDIDATES_KEPT))))
    assert len(reads._sessions["s"].candidates) <= 4 * CANDIDATES_KEPT
    for number in range(READS_KEPT + 5):
        reads.read("s", f"search:{number}")
    assert len(reads._sessions["s"].read) == READS_KEPT
    for number in range(SESSIONS_KEPT + 5):
        reads.start(f"t{number}", "p")
    assert len(reads._sessions) == SESSIONS_KEPT
    assert reads.ranked("s") == []

    known = Together()
    for number in range(KEYS_KEPT // 50 + 5):
        known.note([f"file:{number}/{n}.py" for n in range(50)])
    assert len(known._keys) == KEYS_KEPT
    assert sum(map(len, known._folders.values())) == KEYS_KEPT
    for number in range(200):
        known.note(["file:hub.py", f"file:x/{number}.py", "file:other.py"])
    hub = known._keys["file:hub.py"]
    assert len(hub.partners) <= PARTNERS_KEPT * 3 // 2
    assert "file:other.py" in hub.partners


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6), max_size=12))
def test_counts_of_what_is_read_together_are_those_of_the_sessions(sessions: list[list[str]]):
    known = Together()
    for session in sessions:
        known.note([f"file:{name}" for name in session])
    for one in "abcdefgh":
        with_it = [session for session in sessions if one in session]
        assert known.sessions_with(f"file:{one}") == len(with_it)
        partners = dict(known.partners(f"file:{one}"))
        for other in "abcdefgh":
            both = sum(other in session for session in with_it)
            if other != one and both:
                assert partners[f"file:{other}"] == both / (len(with_it) + 1)
            else:
                assert f"file:{other}" not in partners
    last = [f"file:{name}" for session in sessions[-1:] for name in session]
    assert known.latest(len(last)) == last[::-1]
    assert folder_of("file:a/b.py") == "file:a"
    assert folder_of("skill:x") == "skill:"
