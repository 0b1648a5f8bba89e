"""Which keys a session will read for the first time, with the probability of each.

Every sign that a key will be read (read together with what was read, or after it; in its folder;
its test; named in a result; imported; of a skill that fits the task; read by many sessions, or
lately) is an input of a logistic regression that learns online from what sessions went on to read.
It is asked which keys are read *soon*, within `SOON` first reads: that ranks them best for the read
that comes next. What the confidence states is the probability that a key is read at all before the
session ends, taken from how often that came true of keys that were weighed so (`Calibration`).

Step sizes are those of AdaGrad (McMahan and Streeter, "Adaptive Bound Optimization for Online
Convex Optimization", 2010). It is told of reads, and sees nothing but the past.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from enum import IntEnum
from math import exp, log, log1p, sqrt

from attrs import field

from prefetch_scheduler.policies.calibration import Calibration
from prefetch_scheduler.policies.file_names import counterparts
from prefetch_scheduler.policies.keys import kind_of
from prefetch_scheduler.policies.together import KINDS, Together
from prefetch_scheduler.policies.values import define, frozen

PROJECTS_KEPT = 20
SESSIONS_KEPT = 500
"""Open ones; past it the oldest counts as ended."""
READS_KEPT = 5_000
"""First reads of a session that are remembered."""
CANDIDATES_KEPT = 250
"""Of a session; past it the third that is least likely is forgotten."""
RANKED = 20
"""So many of the most likely are learned from: those that a choice is made among."""
SIBLINGS = 25
LATEST = 40
"""Keys that were read last in the project, which are candidates from the beginning."""
SOON = 8
EXAMPLES_KEPT = 6
"""Of a candidate: as it was the first, second, fourth, eighth time it was weighed, and so on."""
STEP = 0.25
MOST = 20.0
FADING = 6.0
"""First reads after which a sign counts for a third."""
LEAST = 0.014
"""Probability of a read soon below which nothing is predicted. It trades recall for precision, and
was chosen on recorded sessions: see `benchmarks/predictor.py`."""
SPREAD = 0.4
"""Probabilities of a read soon are small; to this power they fill the bins of a calibration."""


class Sign(IntEnum):
    """Inputs of the regression, each about 0 to 1."""

    ALWAYS = 0
    TOGETHER = 1
    NEAR = 2
    AFTER = 3
    FAMILIAR = 4
    LATELY = 5
    FOLDER = 6
    TEST = 7
    NAMED = 8
    IMPORTED = 9
    SKILL = 10
    PROGRESS = 11
    AGAIN = 12
    NEW = 13


PRIOR: Mapping[Sign, float] = {
    Sign.ALWAYS: -2.2,
    Sign.TOGETHER: 1.2,
    Sign.NEAR: 0.8,
    Sign.AFTER: 1.2,
    Sign.FAMILIAR: 0.3,
    Sign.LATELY: 0.2,
    Sign.FOLDER: 0.4,
    Sign.TEST: 1.5,
    Sign.NAMED: 2.2,
    Sign.IMPORTED: 2.0,
    Sign.SKILL: 4.0,
    Sign.PROGRESS: -0.1,
    Sign.AGAIN: -0.2,
    Sign.NEW: -0.5,
}
"""What is believed before anything was learned."""
REASONS: Mapping[Sign, str] = {
    Sign.TOGETHER: "sessions that read what this one read also read it",
    Sign.NEAR: "sessions that read what this one read last also read it",
    Sign.AFTER: "often read next",
    Sign.FAMILIAR: "read by many sessions",
    Sign.LATELY: "read lately",
    Sign.FOLDER: "in the same folder",
    Sign.TEST: "its test, or what it tests",
    Sign.NAMED: "named in what was seen",
    Sign.IMPORTED: "imported by what was read",
    Sign.SKILL: "its description fits the task",
}
NEVER = -1000
"""As a number of first reads: so long ago that it counts for nothing."""


@frozen
class NextRead:
    """A key that may be read."""

    key: str
    confidence: float
    """Probability that it is read before the session ends."""
    reason: str


@frozen
class _Example:
    at: int
    """First reads of the session by then."""
    signs: tuple[float, ...]
    chance: float


@define(eq=False)
class _Candidate:
    together: float = 0.0
    near: float = 0.0
    near_at: int = NEVER
    after: float = 0.0
    after_at: int = NEVER
    folder_at: int = NEVER
    test_at: int = NEVER
    named: float = 0.0
    named_at: int = NEVER
    imported: float = 0.0
    imported_at: int = NEVER
    skill: float = 0.0
    weighed: int = 0
    examples: list[_Example] = field(factory=list)


@define(eq=False)
class _Session:
    known: Together
    read: dict[str, None] = field(factory=dict)
    """In the order of first reads."""
    candidates: dict[str, _Candidate] = field(factory=dict)

    def candidate(self, key: str) -> _Candidate:
        found = self.candidates.get(key)
        if found is None:
            found = _Candidate()
            room = len(self.candidates) < 4 * CANDIDATES_KEPT
            if room and key not in self.read and kind_of(key) in KINDS:
                self.candidates[key] = found
        return found


@define(eq=False)
class NextReads:
    """Learns from the sessions of all projects, and predicts for those that are open."""

    weights: list[float] = field(factory=lambda: [PRIOR[sign] for sign in Sign])
    calibration: Calibration = field(factory=Calibration)
    _squares: list[float] = field(init=False, factory=lambda: [1.0] * len(Sign))
    _projects: "OrderedDict[str, Together]" = field(init=False, factory=OrderedDict)
    _sessions: dict[str, _Session] = field(init=False, factory=dict)

    # ---- what happens ----------------------------------------------------------------------

    def start(self, session: str, project: str) -> None:
        """A session begins; one that is open already is left as it is."""
        if session in self._sessions:
            return
        while len(self._sessions) >= SESSIONS_KEPT:
            self.end(next(iter(self._sessions)))
        known = self._projects.setdefault(project, Together())
        self._projects.move_to_end(project)
        if len(self._projects) > PROJECTS_KEPT:
            self._projects.popitem(last=False)
        opened = self._sessions[session] = _Session(known)
        for key in known.latest(LATEST):
            opened.candidate(key)

    def read(self, session: str, key: str) -> None:
        """A session read a key; only its first read of it says anything."""
        s = self._sessions.get(session)
        if s is None or key in s.read or len(s.read) >= READS_KEPT:
            return
        s.read[key] = None
        now = len(s.read)
        expected = s.candidates.pop(key, None)
        if expected is not None:
            self._learn(key, expected, read_at=now)
        for other, share in s.known.partners(key):
            found = s.candidate(other)
            found.together = max(found.together, share)
            found.near = found.near * _fresh(now, found.near_at) + share
            found.near_at = now
        for other, share in s.known.followers(key):
            found = s.candidate(other)
            found.after = max(found.after * _fresh(now, found.after_at), share)
            found.after_at = now
        for other in s.known.siblings(key, SIBLINGS):
            s.candidate(other).folder_at = now
        if kind_of(key) == "file":
            for name in counterparts(key.partition(":")[2]):
                s.candidate(f"file:{name}").test_at = now

    def named(self, session: str, keys: Sequence[str], *, imported: bool = False) -> None:
        """Keys were named in what a session saw last, or are imported by what it read. A text that
        names many says little of each.
        """
        s = self._sessions.get(session)
        if s is None:
            return
        now, telling = len(s.read), 1 / sqrt(max(1, len(keys)))
        for key in keys:
            found = s.candidate(key)
            if imported:
                found.imported = max(found.imported * _fresh(now, found.imported_at), telling)
                found.imported_at = now
            else:
                found.named = max(found.named * _fresh(now, found.named_at), telling)
                found.named_at = now

    def fits(self, session: str, scores: Mapping[str, float]) -> None:
        """Skills fit what a session was asked to do, each so well (0 to 1)."""
        s = self._sessions.get(session)
        if s is not None:
            for key, score in scores.items():
                s.candidate(key).skill = score

    def end(self, session: str) -> None:
        """A session is over: what it did not read teaches, too."""
        s = self._sessions.pop(session, None)
        if s is None:
            return
        for key, candidate in s.candidates.items():
            self._learn(key, candidate, read_at=None)
        s.known.note(list(s.read))

    # ---- predicting ------------------------------------------------------------------------

    def ranked(self, session: str) -> list[NextRead]:
        """At most `RANKED` keys that the session has not read, the likeliest to come soon first.
        It learns from having been asked, so it is asked once after each thing that happens.
        """
        s = self._sessions.get(session)
        if s is None:
            return []
        rows = []
        for key, candidate in s.candidates.items():
            signs = _signs(s, key, candidate)
            rows.append((self._chance(signs), key, signs))
        rows.sort(key=lambda row: (-row[0], row[1]))
        if len(rows) > CANDIDATES_KEPT:
            for _, key, _ in rows[CANDIDATES_KEPT * 2 // 3 :]:
                self._learn(key, s.candidates.pop(key), read_at=None)
        found = []
        for chance, key, signs in rows[:RANKED]:
            candidate = s.candidates[key]
            candidate.weighed += 1
            times = candidate.weighed
            if not times & (times - 1) and len(candidate.examples) < EXAMPLES_KEPT:
                candidate.examples.append(_Example(len(s.read), signs, chance))
            confidence = self.calibration.chance((0, kind_of(key)), chance**SPREAD)
            if chance >= LEAST:
                found.append(NextRead(key, confidence, self._why(signs)))
        return found

    def _chance(self, signs: tuple[float, ...]) -> float:
        x = sum(map(float.__mul__, self.weights, signs))
        return 1 / (1 + exp(-min(MOST, max(-MOST, x))))

    def _learn(self, key: str, candidate: _Candidate, *, read_at: int | None) -> None:
        """A candidate was read as the session's so many first read; None: it was not."""
        group = (0, kind_of(key))
        for example in candidate.examples:
            soon = read_at is not None and read_at - example.at <= SOON
            error = self._chance(example.signs) - soon
            for place, sign in enumerate(example.signs):
                if sign:
                    slope = error * sign
                    self._squares[place] += slope * slope
                    self.weights[place] -= STEP * slope / sqrt(self._squares[place])
            stated = example.chance**SPREAD
            self.calibration.observe(group, stated, read=read_at is not None)

    def _why(self, signs: tuple[float, ...]) -> str:
        return REASONS[max(REASONS, key=lambda sign: self.weights[sign] * signs[sign])]


def _fresh(now: int, at: int) -> float:
    return exp((at - now) / FADING) if now - at < 10 * FADING else 0.0


def _signs(s: _Session, key: str, c: _Candidate) -> tuple[float, ...]:
    now, known = len(s.read), s.known
    sessions, since = known.sessions_with(key), known.sessions_since(key)
    share = min(0.99, (sessions + 0.2) / (known.sessions + 2))
    return (
        1.0,
        sqrt(c.together),
        sqrt(c.near * _fresh(now, c.near_at)),
        sqrt(c.after * _fresh(now, c.after_at)),
        log(share / (1 - share)) + 3.0 if sessions else 0.0,
        0.0 if since is None else 1.0 / (1.0 + since),
        _fresh(now, c.folder_at),
        _fresh(now, c.test_at),
        c.named * _fresh(now, c.named_at),
        c.imported * _fresh(now, c.imported_at),
        c.skill,
        log1p(now) / 2,
        log1p(c.weighed) / 2,
        0.0 if sessions else 1.0,
    )
