"""The accounting's state at one moment: what reports and exports are made of."""

from collections.abc import Mapping

from prefetch_scheduler.policies.alerts import Breach, Target
from prefetch_scheduler.policies.counts import Counts
from prefetch_scheduler.policies.learned_figures import LearnedFigures
from prefetch_scheduler.policies.outcomes import Outcome, PredictedKey, Verdict
from prefetch_scheduler.policies.skill_use import SkillUse
from prefetch_scheduler.policies.values import frozen


@frozen
class EngineFigures:
    """What belongs to no session."""

    sessions_live: int
    sessions_kept: int
    """Ended or never opened, with figures of their own."""
    sessions_forgotten: int
    """Ended, and only in the totals."""
    sessions_alerting: int
    """Sessions, of those with figures of their own, with an alert standing."""
    dropped: Mapping[str, int]
    """Late results, notifications and messages dropped, by name."""
    anomalies: Mapping[str, int]
    """Reports that contradicted one another or came out of order."""


@frozen
class Snapshot:
    """Figures of one session, or of the whole engine. Nothing that happens later changes it."""

    session: str | None
    """None: the whole engine."""
    counts: Counts
    open: int
    """Prefetches running, or resident and not yet read."""
    open_tokens: int
    outcomes: Mapping[Verdict, tuple[Outcome, ...]]
    """Newest first, a key in one list only."""
    predictions: tuple[PredictedKey, ...]
    skills: tuple[SkillUse, ...]
    alerts: tuple[Breach, ...]
    """The thresholds crossed at this moment."""
    targets: tuple[Target, ...]
    saved_today_s: float
    """Latency saved on the local calendar day of the snapshot, in seconds."""
    ended: bool = False
    project: str | None = None
    user: str | None = None
    engine: EngineFigures | None = None
    """Only where the snapshot is of the whole engine."""
    learned: LearnedFigures | None = None
    """Likewise; None too where nothing has been learned yet."""
