"""The specification's `prefetch_report`: as a mapping, as YAML, and as text for a terminal.

The specification's names stand first, in its order; further figures follow. Rates are rounded to
two decimals and None where there was nothing to count (decisions D39, D40); seconds to three.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from prefetch_scheduler.policies.learned_figures import LearnedFigures
from prefetch_scheduler.policies.outcomes import Outcome, Verdict
from prefetch_scheduler.policies.report_text import report_text
from prefetch_scheduler.policies.snapshot import EngineFigures, Snapshot
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import Cause, RemovalCause
from prefetch_scheduler.policies.yaml_text import yaml_text


def rate(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def seconds(value: float) -> float:
    return round(value, 3)


@frozen
class Report:
    """What prefetching did for one session, or in the whole engine."""

    snapshot: Snapshot

    def to_dict(self) -> dict[str, Any]:
        """`{"prefetch_report": ...}`; plain data that JSON can hold."""
        return {"prefetch_report": self.body()}

    def to_yaml(self) -> str:
        """The same as a YAML document."""
        return yaml_text(self.to_dict())

    def body(self) -> dict[str, Any]:
        """What stands under `prefetch_report`."""
        s = self.snapshot
        body: dict[str, Any] = {
            "session_summary": self.summary(),
            "top_predictions": self.top_predictions(),
            "alerts": [
                {"name": str(a.name), "value": round(a.value, 4), "threshold": a.threshold}
                for a in s.alerts
            ],
            "targets": {
                str(t.name): {"value": rate(t.value), "target": t.aim, "met": t.met}
                for t in s.targets
            },
            "time_saved_today_s": seconds(s.saved_today_s),
            "session": s.session,
        }
        if s.engine is not None:
            body["engine"] = _engine(s.engine)
            learned = {} if s.learned is None else _learned(s.learned)
            body["speculation"] = {"verdict": whether_it_pays(s), **learned}
        return body

    def summary(self) -> dict[str, Any]:
        """`session_summary`: counts, tokens, rates, and seconds."""
        c = self.snapshot.counts
        return {
            "total_prefetches": c.prefetches,
            "cache_hits": c.hits,
            "cache_misses": c.misses,
            "hit_rate": rate(c.hit_rate),
            "tokens_prefetched": c.tokens_prefetched,
            "tokens_used": c.tokens_used,
            "efficiency": rate(c.efficiency),
            "estimated_time_saved_s": seconds(c.latency_saved_s),
            "reads": c.reads,
            "late_hits": c.late_hits,
            "joined": c.joined,
            "prefetch_accuracy": rate(c.accuracy),
            "prefetch_accuracy_ended": rate(c.accuracy_ended),
            "used": c.used,
            "wasted": c.wasted,
            "cancelled": c.cancelled,
            "failed": c.failed,
            "open": self.snapshot.open,
            "prefetches_by_cause": {
                str(cause): c.causes.get(cause, 0) for cause in Cause if cause is not Cause.DEMAND
            },
            "wasted_tokens": c.tokens_wasted,
            "failed_tokens": c.tokens_failed,
            "open_tokens": self.snapshot.open_tokens,
            "wasted_fraction": rate(c.wasted_fraction),
            "wasted_fraction_count": rate(c.wasted_fraction_count),
            "token_budget_granted": c.budget_granted,
            "wasted_of_budget": rate(c.wasted_of_budget),
            "stale_served": c.stale_served,
            "demand_loads": c.demand_loads,
            "tokens_demand_loaded": c.tokens_demand_loaded,
            "demand_load_s": seconds(c.demand_load_s),
            "p0_not_resident": c.p0_not_resident,
            "keys_predicted": c.predicted,
            "removals": {str(cause): c.removals.get(cause, 0) for cause in RemovalCause},
        }

    def top_predictions(self) -> dict[str, Any]:
        """The keys by their latest outcome, newest first, and how often each outcome occurred."""
        c = self.snapshot.counts
        lists = {str(v): _listed(self.snapshot.outcomes.get(v, ())) for v in Verdict}
        totals = {
            "accurate": c.accurate,
            "missed": c.missed_predicted + c.missed_unpredicted,
            "wasted": c.inaccurate,
            "failed": c.unloadable,
        }
        return {**lists, "totals": totals}

    def to_text(self) -> str:
        """Aligned plain text without colour; what cannot be printed is escaped."""
        return report_text(self.body())


NOTICED = 0.05
"""A share of the loading below which hiding it does not pay: the times of loads of one kind vary by
more than this from one to the next, so that nobody can tell a host that prefetches from one that
does not, while its tokens and its requests are spent for certain.
"""
QUICK_S = 0.02
"""Seconds that a read takes on average, waits and what was hidden together, below which nobody
notices whether it was loaded ahead."""
TELLING = 50
"""Reads before which a small share says that the engine has just begun."""


def whether_it_pays(s: Snapshot) -> str:
    """In one sentence, whether prefetching pays here."""
    saved, waited = s.counts.latency_saved_s, s.counts.demand_load_s
    if saved + waited <= 0:
        return "nothing was read that had to be loaded: there is nothing to say yet"
    share, reads = saved / (saved + waited), s.counts.reads
    figures = (
        f"{seconds(saved):,} s of {seconds(saved + waited):,} s of loading were hidden"
        f" ({share:.1%}), {s.counts.tokens_wasted:,} prefetched tokens were wasted"
    )
    per_read = (saved + waited) / max(1, reads)
    if per_read < QUICK_S:
        return f"prefetching does not pay here: a read takes {per_read * 1000:.1f} ms; {figures}"
    if share >= NOTICED:
        return f"prefetching pays here: {figures}"
    if reads < TELLING:
        return f"prefetching has hidden little so far, after {reads} reads: {figures}"
    return f"prefetching does not pay here: less than {NOTICED:.0%} is hidden; {figures}"


def _learned(figures: LearnedFigures) -> dict[str, Any]:
    names = dict(enumerate(figures.sources))
    return {
        "price_s_per_1000_tokens": round(figures.price * 1000, 6),
        "waste_promised": figures.promised,
        "waste_lately": rate(figures.wasted),
        "promise_kept": figures.kept,
        "least_chance": rate(figures.least_chance),
        "spend_promised": figures.spend_promised,
        "spend_lately": rate(figures.spend_lately),
        "lead_s": seconds(figures.lead_s),
        "held_back": [
            {
                "source": _named(names, held.source),
                "role": held.role and str(held.role),
                "why": held.words(),
            }
            for held in figures.held_back
        ],
        "reliability": [
            {
                "source": _named(names, row.source),
                "role": str(row.role),
                "stated": rate(row.stated),
                "true": rate(row.true),
                "count": row.count,
            }
            for row in figures.reliability
        ],
    }


def _named(names: Mapping[int, str], source: int) -> str:
    return names.get(source, f"source {source}")


def _listed(outcomes: Iterable[Outcome]) -> list[dict[str, object]]:
    return [outcome.to_dict() for outcome in outcomes]


def _engine(figures: EngineFigures) -> dict[str, Any]:
    return {
        "sessions_live": figures.sessions_live,
        "sessions_kept": figures.sessions_kept,
        "sessions_forgotten": figures.sessions_forgotten,
        "sessions_alerting": figures.sessions_alerting,
        "dropped": dict(sorted(figures.dropped.items())),
        "anomalies": dict(sorted(figures.anomalies.items())),
    }
