"""What leaves for the neighbours: Skill Analytics, and feedback to the Pattern Predictor.

Both are plain mappings, ready for JSON, and for YAML by `to_yaml`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from prefetch_scheduler.policies.outcomes import Outcome, Verdict
from prefetch_scheduler.policies.report import Report, seconds
from prefetch_scheduler.policies.skill_use import SkillUse
from prefetch_scheduler.policies.snapshot import Snapshot
from prefetch_scheduler.policies.yaml_text import yaml_text


def skill_analytics(snapshots: Iterable[Snapshot]) -> dict[str, Any]:
    """For each session: each skill's counts, tokens and load times, and the session's report."""
    return {"skill_analytics": {"sessions": [_skills_of(snapshot) for snapshot in snapshots]}}


def predictor_feedback(snapshots: Iterable[Snapshot]) -> dict[str, Any]:
    """For each session: predicted and used, predicted and not used, needed and not predicted.

    A key stands in one list, by the latest that is known of it, with the reason where there is one.
    `prefetched` says whether it was loaded ahead; `totals` count every occurrence. While a session
    is live, a predicted key that nobody has read yet is `pending` and in none of the three.
    """
    return {"predictor_feedback": {"sessions": [_feedback_of(snapshot) for snapshot in snapshots]}}


def to_yaml(export: Mapping[str, Any]) -> str:
    """An export as a YAML document."""
    return yaml_text(export)


def _heading(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "session": snapshot.session,
        "project": snapshot.project,
        "user": snapshot.user,
        "ended": snapshot.ended,
    }


def _skills_of(snapshot: Snapshot) -> dict[str, Any]:
    return {
        **_heading(snapshot),
        "skills": [_skill(use) for use in snapshot.skills],
        **Report(snapshot).to_dict(),
    }


def _skill(use: SkillUse) -> dict[str, Any]:
    mean = use.load_s_total / use.loads if use.loads else None
    return {
        "skill_id": use.skill,
        "prefetched": use.prefetched,
        "used": use.used,
        "wasted": use.wasted,
        "failed": use.failed,
        "late_hits": use.late_hits,
        "misses": use.misses,
        "tokens_prefetched": use.tokens_prefetched,
        "tokens_used": use.tokens_used,
        "tokens_wasted": use.tokens_wasted,
        "tokens_demand_loaded": use.tokens_demand_loaded,
        "loads": use.loads,
        "load_s_total": seconds(use.load_s_total),
        "load_s_mean": None if mean is None else seconds(mean),
        "load_s_max": seconds(use.load_s_max) if use.loads else None,
    }


def _feedback_of(snapshot: Snapshot) -> dict[str, Any]:
    outcomes = {outcome.key: (verdict, outcome) for verdict, outcome in _all(snapshot)}
    right: list[dict[str, Any]] = []
    wrong: list[dict[str, Any]] = []
    pending: list[str] = []
    for prediction in snapshot.predictions:
        verdict, outcome = outcomes.get(prediction.key, (None, None))
        reason = outcome.reason if outcome is not None else ""
        prefetched = verdict in (Verdict.ACCURATE, Verdict.WASTED)
        item = {"key": prediction.key, "prefetched": prefetched, "reason": reason}
        if prediction.used:
            right.append(item)
        elif verdict is Verdict.WASTED or snapshot.ended:
            wrong.append({**item, "reason": reason or "never read"})
        else:
            pending.append(prediction.key)
    counts = snapshot.counts
    return {
        **_heading(snapshot),
        "predicted_and_used": right,
        "predicted_and_not_used": wrong,
        "needed_and_not_predicted": [
            {"key": outcome.key, "reason": outcome.reason}
            for outcome in snapshot.outcomes.get(Verdict.MISSED, ())
            if not outcome.predicted
        ],
        "pending": pending,
        "totals": {
            "keys_predicted": counts.predicted,
            "prefetched_and_used": counts.accurate,
            "prefetched_and_not_used": counts.inaccurate,
            "predicted_and_missed": counts.missed_predicted,
            "needed_and_not_predicted": counts.missed_unpredicted,
        },
    }


def _all(snapshot: Snapshot) -> Iterable[tuple[Verdict, Outcome]]:
    for verdict, outcomes in snapshot.outcomes.items():
        for outcome in outcomes:
            yield verdict, outcome
