import json

import pytest
import yaml

from prefetch_scheduler.policies.accounting import Accounting
from prefetch_scheduler.policies.calibration import Reliability
from prefetch_scheduler.policies.config import Config, MetricRules
from prefetch_scheduler.policies.learned_figures import LearnedFigures
from prefetch_scheduler.policies.metrics_events import (
    BudgetGranted,
    DemandLoaded,
    Dropped,
    EntryRemoved,
    Hits,
    Learned,
    Miss,
    Predicted,
    PrefetchFailed,
    PrefetchLoaded,
    PrefetchStarted,
    PrefetchUsed,
    PrefetchWasted,
)
from prefetch_scheduler.policies.report import Report, whether_it_pays
from prefetch_scheduler.policies.vocabulary import Cause, RemovalCause

SPECIFIED = [
    "total_prefetches",
    "cache_hits",
    "cache_misses",
    "hit_rate",
    "tokens_prefetched",
    "tokens_used",
    "efficiency",
    "estimated_time_saved_s",
]


def sample() -> Accounting:
    """The specification's sample, told event by event (decision D40).

    38 of 45 prefetches are used; their 7,200 tokens and the 1,300 of the other 7 make 8,500. Each
    load took 61 ms, of which the reader of the first still waited 18 ms: 38 x 61 - 18 = 2,300 ms.
    """
    accounting = Accounting(Config())

    def tell(event: object) -> None:
        accounting.handle(event, 0.0, 0.0, 1)

    tell(BudgetGranted("s", 10_000))
    names = ["skill:debugging/systematic", "file:src/auth/auth.service.ts"]
    names += [f"file:{i}" for i in range(2, 44)] + ["skill:development/security"]
    tell(Predicted("s", tuple(names)))
    for i, name in enumerate(names):
        tell(PrefetchStarted(i, "s", name, Cause.PREDICTION, 100, "predicted"))
        used = [189] * 36 + [198] * 2
        tell(PrefetchLoaded(i, used[i] if i < 38 else (186 if i < 44 else 184), 0.061))
    for i in range(38):
        tell(PrefetchUsed(i, "s", 0.018 if i == 0 else 0.0))
        tell(Hits("s", 1))
    for i in range(38, 45):
        tell(PrefetchWasted(i, "session_ended"))
    tell(Miss("s", "file:src/auth/auth.guard.ts", False))
    for i in range(6):
        tell(Miss("s", f"file:missed{i}", False))
    assert accounting.check() == ()
    return accounting


@pytest.mark.parametrize("session", ["s", None])
def test_the_golden_report(session: str | None):
    body = sample().report(session).body()
    summary = body["session_summary"]
    assert list(summary)[: len(SPECIFIED)] == SPECIFIED
    assert [summary[name] for name in SPECIFIED] == [45, 38, 7, 0.84, 8500, 7200, 0.85, 2.3]
    assert (summary["prefetch_accuracy"], summary["wasted_tokens"]) == (0.84, 1300)
    assert (summary["wasted_fraction"], summary["wasted_fraction_count"]) == (0.15, 0.16)
    assert summary["wasted_of_budget"] == 0.13
    assert body["alerts"] == []
    assert {name: target["met"] for name, target in body["targets"].items()} == {
        "cache_hit_rate": True,
        "prefetch_accuracy": True,
        "wasted_tokens": True,
    }


def test_the_golden_lists():
    top = sample().report("s").body()["top_predictions"]
    item = {"key": "skill:debugging/systematic", "predicted": True, "used": True}
    assert {**item, "reason": "late hit"} in top["accurate"]
    assert {
        "key": "file:src/auth/auth.guard.ts",
        "predicted": False,
        "used": True,
        "reason": "not_predicted",
    } in top["missed"]
    assert {
        "key": "skill:development/security",
        "predicted": True,
        "used": False,
        "reason": "wasted: session_ended",
    } in top["wasted"]
    assert top["totals"] == {"accurate": 38, "missed": 7, "wasted": 7, "failed": 0}


@pytest.mark.parametrize("session", ["s", None, "never seen"])
def test_yaml_and_json_hold_the_report_as_it_is(session: str | None):
    report = sample().report(session)
    assert list(report.to_dict()) == ["prefetch_report"]
    assert report.to_dict()["prefetch_report"] == report.body()
    assert yaml.safe_load(report.to_yaml()) == report.to_dict()
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False)) == report.to_dict()
    assert report.to_yaml() == sample().report(session).to_yaml()


def test_yaml_has_neither_aliases_nor_tags():
    assert not any(
        isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken)
        for token in yaml.scan(sample().report().to_yaml())
    )


def test_without_requests_rates_are_null_and_nothing_is_alerted():
    report = Accounting(Config()).report()
    summary = report.body()["session_summary"]
    rates = [name for name, value in summary.items() if value is None]
    assert rates == [
        "hit_rate",
        "efficiency",
        "prefetch_accuracy",
        "prefetch_accuracy_ended",
        "wasted_fraction",
        "wasted_fraction_count",
        "wasted_of_budget",
    ]
    assert "hit_rate: null\n" in report.to_yaml()
    assert report.body()["alerts"] == []
    assert all(target["met"] is None for target in report.body()["targets"].values())
    lines = report.to_text().splitlines()
    assert next(line.split() for line in lines if "hit_rate " in line) == ["hit_rate", "–"]


@pytest.mark.parametrize(
    ("hits", "misses", "shown"),
    [(1, 2, 0.33), (2, 1, 0.67), (999, 1, 1.0), (1, 999, 0.0), (0, 1, 0.0)],
)
def test_rates_have_two_decimals(hits: int, misses: int, shown: float):
    accounting = Accounting(Config())
    accounting.handle(Hits("s", hits))
    for _ in range(misses):
        accounting.handle(Miss("s", "file:a", False))
    assert accounting.report("s").summary()["hit_rate"] == shown


def test_seconds_have_three_decimals():
    accounting = Accounting(Config())
    accounting.handle(PrefetchStarted(1, "s", "file:a", Cause.PREDICTION, 1))
    accounting.handle(PrefetchLoaded(1, 1, 0.1234567))
    accounting.handle(PrefetchUsed(1, "s"))
    body = accounting.report("s").body()
    assert body["session_summary"]["estimated_time_saved_s"] == 0.123
    assert body["time_saved_today_s"] == 0.123


def test_lists_keep_the_newest_and_totals_count_all():
    accounting = Accounting(Config(metrics=MetricRules(list_limit=2)))
    for i in range(5):
        accounting.handle(PrefetchStarted(i, "s", f"file:{i}", Cause.PREDICTION, 1))
        accounting.handle(PrefetchFailed(i, "gone"))
    top = accounting.report("s").body()["top_predictions"]
    assert [item["key"] for item in top["failed"]] == ["file:4", "file:3"]
    assert top["totals"]["failed"] == 5


def test_alerts_stand_in_the_report_with_value_and_threshold():
    accounting = Accounting(Config())
    accounting.handle(Miss("s", "file:a", False))
    assert accounting.report("s").body()["alerts"] == [
        {"name": "cache_hit_rate", "value": 0.0, "threshold": 0.5}
    ]
    assert "  cache_hit_rate            0 is past 0.5" in accounting.report("s").to_text()


def test_only_the_whole_report_tells_of_the_engine():
    accounting = sample()
    accounting.handle(Dropped("late_result", 2))
    accounting.handle(EntryRemoved("file:a", RemovalCause.EXPIRED))
    assert "engine" not in accounting.report("s").body()
    body = accounting.report().body()
    assert body["engine"]["dropped"] == {"late_result": 2}
    assert body["session_summary"]["removals"]["expired"] == 1


def test_the_text_is_aligned_and_plain():
    text = sample().report().to_text()
    figures = text.split("\n\n")[1].splitlines()
    assert {line[28] != " " and line[27] == " " for line in figures} == {True}
    assert "  hit_rate                  0.84" in figures
    assert "  tokens_prefetched         8,500" in figures
    assert "accurate (38 in all)" in text
    assert "  … and 28 more keys" in text
    assert "  file:src/auth/auth.guard.ts (not predicted, was needed)\n" in text
    assert "  skill:development/security (predicted, not used): wasted: session_ended\n" in text
    assert "\x1b" not in text


def test_names_that_would_disturb_a_terminal_or_a_parser_are_harmless():
    accounting = Accounting(Config())
    key = 'file:\x1b[2J"\n- on: yes \udcff 😀'
    accounting.handle(Miss("s\r", key, False, "\x07"))
    accounting.handle(Dropped("on"))
    report: Report = accounting.report("s\r")
    assert yaml.safe_load(report.to_yaml()) == report.to_dict()
    whole = accounting.report()
    assert yaml.safe_load(whole.to_yaml())["prefetch_report"]["engine"]["dropped"] == {"on": 1}
    assert all(line.isprintable() for line in report.to_text().splitlines())
    report.to_yaml().encode()


def test_what_was_learned_is_in_the_report_of_the_whole_engine_with_a_verdict() -> None:
    accounting = sample()
    row = Reliability(0, "related_file", stated=0.75, true=0.4, count=10)
    figures = LearnedFigures(1e-4, 0.5, 0.62, False, 0.3, 4.0, (row,), sources=("docs",))
    accounting.handle(Learned(figures), 0.0, 0.0, 1)
    report = accounting.report()
    told = report.body()["speculation"]
    assert told["verdict"].startswith("prefetching pays here: 2.3 s of 2.3 s")
    assert (told["waste_promised"], told["waste_lately"]) == (0.5, 0.62)
    assert told["promise_kept"] is False
    (line,) = told["reliability"]
    assert (line["source"], line["role"]) == ("docs", "related_file")
    assert (line["stated"], line["true"]) == (0.75, 0.4)
    assert told["verdict"] in report.to_text()
    assert "speculation" not in accounting.report("s").body()


def test_the_verdict_says_plainly_where_prefetching_does_not_pay() -> None:
    accounting = Accounting(Config())
    assert whether_it_pays(accounting.snapshot()).startswith("nothing was read")
    for number in range(100):
        accounting.handle(Miss("s", f"file:{number}", False), 0.0, 0.0, 1)
        accounting.handle(DemandLoaded("s", f"file:{number}", 100, 0.002), 0.0, 0.0, 1)
    assert whether_it_pays(accounting.snapshot()).startswith("prefetching does not pay here")
    accounting.handle(DemandLoaded("s", "file:slow", 100, 9.0), 0.0, 0.0, 1)
    said = whether_it_pays(accounting.snapshot())
    assert said.startswith("prefetching does not pay here: less than 5% is hidden; 0.0 s of 9.2 s")


@pytest.mark.parametrize(
    ("reads", "hidden_s", "says"),
    [
        (100, 0.48, "prefetching does not pay here: less than 5% is hidden"),
        (100, 0.52, "prefetching pays here"),
        (20, 0.09, "prefetching has hidden little so far, after 20 reads"),
        (20, 5.0, "prefetching pays here"),
    ],
)
def test_below_a_stated_share_of_the_loading_prefetching_does_not_pay(
    reads: int, hidden_s: float, says: str
) -> None:
    accounting = Accounting(Config())
    accounting.handle(PrefetchStarted(1, "s", "file:ahead", Cause.PREDICTION, 100))
    accounting.handle(PrefetchLoaded(1, 100, hidden_s))
    accounting.handle(PrefetchUsed(1, "s"))
    accounting.handle(Hits("s", 1))
    for number in range(reads - 1):
        accounting.handle(Miss("s", f"file:{number}", False))
        accounting.handle(DemandLoaded("s", f"file:{number}", 100, (10 - hidden_s) / (reads - 1)))
    assert whether_it_pays(accounting.snapshot()).startswith(says)
