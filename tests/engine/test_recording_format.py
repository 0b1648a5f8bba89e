"""Recordings are read line by line, and a line that does not fit is named by its number."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.engine import recording_format
from prefetch_scheduler.engine.recorded_loads import RecordedLoads
from prefetch_scheduler.engine.recording_format import (
    AccessEvent,
    ChangeEvent,
    ContextEvent,
    EndEvent,
    PredictEvent,
    RecordedSession,
    RecordingError,
    SessionEvent,
    event_line,
    parse_event,
    read_events,
    read_sessions,
)
from prefetch_scheduler.policies.errors import PrefetchError
from prefetch_scheduler.policies.prediction import Constraints, Prediction
from prefetch_scheduler.policies.vocabulary import Role

ROOT = Path(__file__).parents[2]
DATA = ROOT / "benchmarks" / "data"
SAMPLE = ROOT / "engine" / "data" / "sample"

CONTRACT = """\
{"event":"session","t":0.0,"id":"one","project":"p","agent":"x"}
{"event":"context","t":0.5,"id":"turn-1"}
{"event":"predict","t":0.5,"items":[{"key":"file:a.py","role":"main_file","confidence":0.7,"tokens":839}],"constraints":{"token_budget":10000}}
{"event":"access","t":4.4,"key":"file:a.py","load_s":0.007,"tokens":839}
{"event":"change","t":9.1,"key":"file:a.py"}
{"event":"end","t":30.0}
"""

CONTRACT_SESSION = RecordedSession(
    "one",
    "p",
    (
        SessionEvent(0.0, "one", "p"),
        ContextEvent(0.5, "turn-1"),
        PredictEvent(
            0.5,
            (Prediction("file:a.py", "main_file", 0.7, tokens=839),),
            Constraints(token_budget=10000),
        ),
        AccessEvent(4.4, "file:a.py", 0.007, 839),
        ChangeEvent(9.1, "file:a.py"),
        EndEvent(30.0),
    ),
)


def written(tmp_path, text, name="s.jsonl"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_contracts_example_is_read_whole(tmp_path):
    assert list(read_sessions(written(tmp_path, CONTRACT))) == [CONTRACT_SESSION]


def test_gzip_many_sessions_blank_lines_and_a_byte_order_mark_are_read(tmp_path):
    text = "\ufeff" + CONTRACT + "\n" + CONTRACT.replace('"one"', '"two"')
    path = written(tmp_path, gzip.compress(text.encode()), "s.jsonl.gz")
    assert [s.id for s in read_sessions(path)] == ["one", "two"]


def test_sessions_are_read_one_at_a_time(tmp_path):
    path = written(tmp_path, CONTRACT + "not json\n")
    sessions = read_sessions(path)
    assert next(sessions).id == "one"
    with pytest.raises(RecordingError):
        next(sessions)


@pytest.mark.parametrize(
    ("name", "sessions", "accesses"),
    [
        ("vorflux", 328, 14_936),
        ("entire-cli", 137, 6_178),
        ("context-evaluator", 69, 1_262),
        ("skills", 10, 552),
    ],
)
def test_every_line_of_the_shared_recordings_is_read(name, sessions, accesses):
    path = DATA / f"{name}.jsonl.gz"
    with gzip.open(path) as file:
        lines = [json.loads(line) for line in file]
    read = list(read_sessions(path))
    assert len(read) == sessions
    assert sum(len(session.accesses()) for session in read) == accesses
    events = [event for session in read for event in session.events]
    assert len(events) == len(lines)
    for line, event in zip(lines, events, strict=True):
        assert event.t == line["t"]
        if isinstance(event, AccessEvent):
            assert (event.key, event.load_s, event.tokens) == (
                line["key"],
                line["load_s"],
                line["tokens"],
            )
        elif isinstance(event, PredictEvent):
            assert [i.key for i in event.items] == [i["key"] for i in line["items"]]


def test_the_bundled_sample_is_a_part_of_the_shared_recordings():
    known = {
        s.id: s
        for name in ("vorflux", "entire-cli", "context-evaluator", "skills")
        for s in read_sessions(DATA / f"{name}.jsonl.gz")
    }
    sample = list(read_sessions(SAMPLE / "recorded.jsonl"))
    assert len(sample) == 6
    for session in sample:
        assert session == known[session.id]
    size = sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file())
    assert size < 300_000


GOOD = CONTRACT.splitlines()


@pytest.mark.parametrize(
    ("at", "line", "says"),
    [
        (3, "{", "not JSON"),
        (3, "[1]", "expected a JSON object, got a list"),
        (3, '{"event":"jump","t":1}', "event: 'jump' is not one of session, context"),
        (3, '{"event":["x"],"t":1}', "is not one of session"),
        (2, '{"event":"context","id":"a"}', "t: missing"),
        (2, '{"event":"context","t":-1,"id":"a"}', "t: -1 is not a number of at least 0"),
        (2, '{"event":"context","t":"1","id":"a"}', "t: '1' is not a number"),
        (2, '{"event":"context","t":true,"id":"a"}', "t: True is not a number"),
        (2, '{"event":"context","t":NaN,"id":"a"}', "NaN is not a finite number"),
        (2, '{"event":"context","t":1e999,"id":"a"}', "t: inf is not a number"),
        (2, '{"event":"context","t":1}', "id: missing"),
        (2, '{"event":"context","t":1,"id":7}', "id: 7 is not a string"),
        (4, '{"event":"access","t":4,"key":"a.py","load_s":0,"tokens":1}', "colon is missing"),
        (4, '{"event":"access","t":4,"key":"file:a","tokens":1}', "load_s: missing"),
        (4, '{"event":"access","t":4,"key":"file:a","load_s":0,"tokens":1.5}', "tokens: 1.5"),
        (4, '{"event":"access","t":4,"key":"file:a","load_s":-0.1,"tokens":1}', "load_s: -0.1"),
        (4, '{"event":"access","t":0.4,"key":"file:a","load_s":0,"tokens":1}', "runs backwards"),
        (3, '{"event":"predict","t":1}', "items: expected a list of predictions, got null"),
        (3, '{"event":"predict","t":1,"items":{}}', "items: expected a list"),
        (
            3,
            '{"event":"predict","t":1,"items":[{"key":"file:a","role":"hero","confidence":2}]}',
            "items[0].confidence: 2 is not in 0..1",
        ),
        (
            3,
            '{"event":"predict","t":1,"items":[],"constraints":{"token_budget":-5}}',
            "constraints.token_budget: -5 is not a whole number of at least 0",
        ),
        (4, '{"event":"session","t":0,"id":"b"}', "begins before session 'one' has ended"),
        (4, "[" * 100_000, "nested too deeply"),
        (3, '{"event":"end","t":1,"event":"end"}', "event: given more than once in one object"),
        (
            3,
            '{"event":"predict","t":1,"items":[{"key":"a:b","key":"a:c"}]}',
            "key: given more than once in one object",
        ),
    ],
)
def test_a_line_that_does_not_fit_is_an_error_with_its_number(tmp_path, at, line, says):
    lines = [*GOOD]
    lines[at - 1] = line
    path = written(tmp_path, "\n".join(lines) + "\n")
    with pytest.raises(RecordingError) as caught:
        list(read_sessions(path))
    assert caught.value.line == at
    assert str(caught.value).startswith(f"{path}:{at}: ")
    assert says in str(caught.value)
    assert isinstance(caught.value, PrefetchError)
    assert isinstance(caught.value, ValueError)


def test_all_faults_of_one_line_are_named(tmp_path):
    path = written(tmp_path, '{"event":"access","t":-1,"key":"x","load_s":"a","tokens":null}\n')
    with pytest.raises(RecordingError) as caught:
        list(read_events(path))
    assert len(str(caught.value).splitlines()) == 4
    assert all(line.startswith(f"{path}:1: ") for line in str(caught.value).splitlines())


@pytest.mark.parametrize("kind", ["context", "access", "change", "predict", "end"])
def test_an_event_outside_a_session_is_an_error(tmp_path, kind):
    line = next(line for line in GOOD if f'"{kind}"' in line)
    with pytest.raises(RecordingError, match=f"'{kind}' outside a session"):
        list(read_sessions(written(tmp_path, CONTRACT + line)))


def test_a_session_without_an_end_is_an_error_at_the_last_line(tmp_path):
    path = written(tmp_path, "\n".join(GOOD[:-1]) + "\n\n")
    with pytest.raises(RecordingError, match="ends within session 'one'") as caught:
        list(read_sessions(path))
    assert caught.value.line == 5


def test_a_gzip_file_that_is_cut_short_or_damaged_is_an_error(tmp_path):
    whole = gzip.compress((CONTRACT * 500).encode())
    with pytest.raises(RecordingError, match="cut short") as caught:
        list(read_sessions(written(tmp_path, whole[: len(whole) // 2], "cut.jsonl.gz")))
    assert caught.value.line is not None
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    with pytest.raises(RecordingError):
        list(read_sessions(written(tmp_path, bytes(damaged), "bad.jsonl.gz")))


def test_bytes_that_are_not_utf8_are_named_by_line_and_column(tmp_path):
    path = written(tmp_path, CONTRACT.encode() + b'{"event":"\xff"}\n')
    with pytest.raises(RecordingError, match=r":7: not UTF-8: byte 0xff at column 11"):
        list(read_sessions(path))


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(recording_format, "MAX_LINE_BYTES", 1000)
    path = written(tmp_path, gzip.compress(b"x" * 5_000_000), "long.jsonl.gz")
    with pytest.raises(RecordingError, match="1: longer than 1000 bytes"):
        list(read_sessions(path))


def test_a_file_that_is_not_there_and_a_folder_are_clear_errors(tmp_path):
    with pytest.raises(RecordingError, match="cannot be read: No such file"):
        list(read_sessions(tmp_path / "none.jsonl"))
    with pytest.raises(RecordingError, match="cannot be read"):
        list(read_sessions(tmp_path))


def test_an_empty_file_holds_no_session(tmp_path):
    assert list(read_sessions(written(tmp_path, ""))) == []


seconds = st.floats(0, 1e6)
keys = st.builds(lambda name: f"file:{name}", st.text(min_size=1).filter(lambda s: "\0" not in s))
names = st.text(min_size=1).filter(str.strip)
items = st.builds(
    Prediction,
    keys,
    st.sampled_from([str(role) for role in Role]),
    st.floats(0, 1),
    tokens=st.none() | st.integers(0, 10**9),
    load_s=st.none() | seconds,
    value=st.none() | seconds,
    reason=st.text(),
)
constraints = st.builds(
    Constraints,
    token_budget=st.none() | st.integers(0, 10**9),
    time_budget_ms=st.none() | seconds,
    urgency=st.sampled_from(["low", "critical"]),
    mode=st.sampled_from(["economy", "premium"]),
    priority_override=st.none() | st.just("P1"),
    limits=st.none() | st.just({"daily": 5.0}),
)
events = st.one_of(
    st.builds(SessionEvent, seconds, names, st.none() | names),
    st.builds(ContextEvent, seconds, names),
    st.builds(
        PredictEvent, seconds, st.lists(items, max_size=3).map(tuple), st.none() | constraints
    ),
    st.builds(AccessEvent, seconds, keys, seconds, st.integers(0, 10**9)),
    st.builds(ChangeEvent, seconds, keys),
    st.builds(EndEvent, seconds),
)


@given(events)
def test_an_event_that_is_written_is_read_back_as_it_was(event):
    line = event_line(event)
    assert "\n" not in line
    assert parse_event(line) == event


def test_the_first_access_decides_what_a_load_takes():
    session = RecordedSession(
        "s",
        None,
        (
            SessionEvent(0, "s"),
            AccessEvent(1, "file:a", 0.5, 10),
            AccessEvent(2, "file:a", 9.0, 99),
            AccessEvent(3, "file:b", 0.1, 20),
            EndEvent(4),
        ),
    )
    loads = RecordedLoads.of(session)
    first = loads.cost("file:a")
    assert (first.load_s, first.tokens) == (0.5, 10)
    assert loads.longest_s == 9.0


def test_a_key_that_is_never_read_takes_the_cost_of_a_recorded_access_chosen_by_a_hash():
    accesses = [AccessEvent(i, f"file:{i}", i / 10, i) for i in range(50)]
    loads, again, other = (
        RecordedLoads("s", accesses),
        RecordedLoads("s", accesses),
        RecordedLoads("t", accesses),
    )
    unread = [f"file:x{i}" for i in range(300)]
    costs = [loads.cost(key) for key in unread]
    assert costs == [again.cost(key) for key in unread]
    assert costs != [other.cost(key) for key in unread]
    assert {cost.tokens for cost in costs} <= set(range(50))
    assert len({cost.tokens for cost in costs}) > 40  # spread, not one for all
    assert all(cost.load_s == cost.tokens / 10 for cost in costs)  # both of the same access


def test_a_session_without_accesses_costs_nothing():
    cost = RecordedLoads("s", ()).cost("file:a")
    assert (cost.load_s, cost.tokens) == (0.0, 0)
