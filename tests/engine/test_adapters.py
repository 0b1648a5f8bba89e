"""What the neighbours send is read leniently, and every wrong field is named by its path."""

import math
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.engine import adapters
from prefetch_scheduler.policies.errors import InvalidPrediction
from prefetch_scheduler.policies.planning import merged
from prefetch_scheduler.policies.prediction import (
    Constraints,
    Prediction,
    checked_constraints,
    checked_predictions,
)
from prefetch_scheduler.policies.vocabulary import Role

UPSTREAM = """
prediction_output:
  timestamp: "2026-01-30T10:15:32Z"
  skills:
    primary: {skill_id: "debugging/systematic", confidence: 0.92, reason: "an error"}
    secondary:
      - {skill_id: "development/security", confidence: 0.65, reason: "auth"}
      - {skill_id: "debugging/verification", confidence: 0.55}
  files:
    likely_read:
      - {path: "src/auth/auth.service.ts", confidence: 0.88, reason: "named"}
      - {path: "./src/auth/auth.controller.ts", confidence: 0.72}
    likely_modified: [{path: "src/auth/auth.service.ts", confidence: 0.75, reason: "edited"}]
    likely_tests: [{path: "src/auth/auth.service.spec.ts", confidence: 0.80}]
  behaviors:
    predicted_chain: [{behavior: "trace_error", confidence: 0.90}]
  resources:
    token_estimate: {min: 2500, typical: 4000, max: 7000}
    suggested_mode: "premium"
  prefetch_recommendations:
    immediate: ["Load debugging/systematic skill body"]
    background: ["Read associated test files"]
    defer: ["Full project structure scan"]
  confidence: {overall: 0.82}
"""


@pytest.fixture
def output():
    return yaml.safe_load(UPSTREAM)


def roles(items):
    return {(item.key, item.role, item.confidence) for item in items}


def test_the_predictors_output_becomes_predictions_with_roles(output):
    items = adapters.predictions(output)
    assert roles(items) == {
        ("skill:debugging/systematic", "primary_skill", 0.92),
        ("skill:development/security", "secondary_skill", 0.65),
        ("skill:debugging/verification", "secondary_skill", 0.55),
        ("file:src/auth/auth.service.ts", "main_file", 0.75),
        ("file:src/auth/auth.service.ts", "related_file", 0.88),
        ("file:src/auth/auth.controller.ts", "related_file", 0.72),
        ("file:src/auth/auth.service.spec.ts", "test_file", 0.80),
        ("behavior:trace_error", "behavior", 0.90),
    }
    assert checked_predictions(items) == items


def test_the_file_in_both_lists_is_merged_by_the_planner_to_the_main_file(output):
    found = {m.key: m for m in merged(adapters.predictions(output))}
    main = found["file:src/auth/auth.service.ts"]
    assert (main.role, main.confidence) == (Role.MAIN_FILE, 0.88)
    assert set(main.reasons) == {"named", "edited"}


def test_the_top_key_may_be_left_out(output):
    assert adapters.predictions(output["prediction_output"]) == adapters.predictions(output)


def test_the_most_confident_file_to_be_read_is_the_main_file_where_none_is_modified(output):
    files = output["prediction_output"]["files"]
    files["likely_modified"] = []
    files["likely_read"].append({"path": "z.ts", "confidence": 0.99})
    mains = [i.key for i in adapters.predictions(output) if i.role == "main_file"]
    assert mains == ["file:z.ts"]


def test_the_most_confident_modified_file_is_the_main_file(output):
    output["prediction_output"]["files"]["likely_modified"].append(
        {"path": "b.ts", "confidence": 0.76}
    )
    mains = [i.key for i in adapters.predictions(output) if i.role == "main_file"]
    assert mains == ["file:b.ts"]


def test_recommendations_are_kept_as_reasons_and_add_no_prediction(output):
    items = {item.key: item for item in adapters.predictions(output)}
    assert items["skill:debugging/systematic"].reason == (
        "an error; recommended (immediate): Load debugging/systematic skill body"
    )
    assert "recommended" not in items["skill:debugging/verification"].reason
    assert len(items) == 7
    assert [(r.when, r.text) for r in adapters.recommendations(output)] == [
        ("immediate", "Load debugging/systematic skill body"),
        ("background", "Read associated test files"),
        ("defer", "Full project structure scan"),
    ]


def test_the_suggested_mode_becomes_a_constraint(output):
    assert adapters.suggested_constraints(output).mode == "premium"
    assert adapters.suggested_constraints({}).mode == "standard"
    assert adapters.suggested_constraints([]).mode == "standard"


def test_the_managers_mode_wins_over_the_suggested_one(output):
    suggested = adapters.suggested_constraints(output)
    assert adapters.constraints({"mode": "economy"}, suggested=suggested).mode == "economy"
    assert adapters.constraints({"daily_limit": 5}, suggested=suggested).mode == "premium"
    assert adapters.constraints({"mode": "standard"}, suggested=suggested).mode == "standard"


def test_missing_and_null_sections_are_no_fault():
    assert adapters.predictions({}) == ()
    assert adapters.predictions({"prediction_output": None}) == ()
    empty = {"skills": None, "files": {"likely_read": None}, "behaviors": {}, "else": 1}
    assert adapters.predictions(empty) == ()


def test_every_wrong_field_is_named_by_its_path_in_one_error():
    wrong = {
        "skills": {
            "primary": {"skill_id": "a", "confidence": 1.7},
            "secondary": [{"skill_id": "b"}, "c", {"skill_id": 3, "confidence": "high"}],
        },
        "files": {
            "likely_read": [
                {"path": "../up.ts", "confidence": 0.5},
                {"path": "/etc/passwd", "confidence": math.nan},
            ],
            "likely_tests": {"path": "x"},
        },
        "behaviors": {"predicted_chain": [{"behavior": "", "confidence": True}]},
        "resources": {"suggested_mode": "lavish"},
        "prefetch_recommendations": {"defer": [3]},
    }
    with pytest.raises(InvalidPrediction) as caught:
        adapters.predictions(wrong)
    faults = caught.value.faults
    assert "skills.primary.confidence: 1.7 is not in 0..1" in faults
    starts = {fault.partition(": ")[0] for fault in faults}
    assert starts == {
        "skills.primary.confidence",
        "skills.secondary[0].confidence",
        "skills.secondary[1]",
        "skills.secondary[2].skill_id",
        "skills.secondary[2].confidence",
        "files.likely_read[0].path",
        "files.likely_read[1].path",
        "files.likely_read[1].confidence",
        "files.likely_tests",
        "behaviors.predicted_chain[0].behavior",
        "behaviors.predicted_chain[0].confidence",
        "resources.suggested_mode",
        "prefetch_recommendations.defer[0]",
    }


def test_a_list_of_prediction_mappings_is_taken_as_it_stands():
    given_ = [
        {"key": "file:a.py", "role": "main_file", "confidence": 0.7, "tokens": 839, "more": 1},
        Prediction("url:https://x", "documentation", 0.5),
    ]
    assert adapters.predictions(given_) == (
        Prediction("file:a.py", "main_file", 0.7, tokens=839),
        Prediction("url:https://x", "documentation", 0.5),
    )


def test_faults_of_a_list_name_the_index_and_the_field():
    with pytest.raises(InvalidPrediction) as caught:
        adapters.predictions(
            [
                {"key": "no-colon", "role": "hero", "confidence": -1},
                {"key": "file:a", "confidence": 1, "tokens": 1.5},
                7,
            ]
        )
    starts = [fault.partition(": ")[0] for fault in caught.value.faults]
    assert "predictions[0].role" in starts
    assert "predictions[0].confidence" in starts
    assert any("no-colon" in fault for fault in caught.value.faults)
    assert {"predictions[1].role", "predictions[1].tokens", "predictions[2]"} <= set(starts)


@pytest.mark.parametrize("given_", [None, 3, "text", b"bytes"])
def test_what_is_neither_mapping_nor_list_is_refused(given_):
    with pytest.raises(InvalidPrediction, match="Pattern Predictor"):
        adapters.predictions(given_)


FIELD_NAMES = """
skills primary secondary files likely_read likely_modified path skill_id confidence behaviors
predicted_chain behavior resources reason mode urgency limits daily_limit entities context_hints
suggested_files
""".strip()

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(re.split(r"\s+", FIELD_NAMES)), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(anything)
def test_whatever_is_sent_gives_valid_values_or_an_error_that_lists_faults(sent):
    for adapter in (adapters.predictions, adapters.constraints, adapters.intent):
        try:
            result = adapter(sent)
        except InvalidPrediction as error:
            if not error.faults:
                raise
            continue
        if isinstance(result, Constraints):
            checked_constraints(result)
        elif isinstance(result, tuple):
            checked_predictions(result)
        else:
            checked_predictions(result.predictions)


def test_the_managers_limits_bind_by_what_remains():
    made = adapters.constraints(
        {
            "daily_limit": 100_000,
            "daily_remaining": 4_000,
            "session_limit": None,
            "task_limit": 2_500,
            "mode": "Economy",
            "unknown": {"x": 1},
        }
    )
    assert made.limits == {"daily": 4_000, "task": 2_500}
    assert made.mode == "economy"
    assert made.token_budget is None
    assert min(checked_constraints(made).limits.values()) == 2_500


def test_the_urgency_of_the_intent_is_taken_where_the_manager_names_none():
    assert adapters.constraints({}, urgency="critical").urgency == "critical"
    assert adapters.constraints({"urgency": "low"}, urgency="critical").urgency == "low"


def test_plain_constraints_are_read_too():
    made = adapters.constraints(
        {"token_budget": 10, "time_budget_ms": 5.5, "priority_override": {"file:a": "P1"}}
    )
    assert made == Constraints(10, 5.5, priority_override={"file:a": "P1"})


def test_wrong_constraints_are_named():
    with pytest.raises(InvalidPrediction) as caught:
        adapters.constraints(
            {
                "daily_limit": -1,
                "session_remaining": "all",
                "mode": "lavish",
                "token_budget": math.inf,
                "limits": [],
                "priority_override": "P9",
            }
        )
    starts = {fault.partition(": ")[0] for fault in caught.value.faults}
    assert starts == {
        "daily_limit",
        "session_remaining",
        "mode",
        "token_budget",
        "limits",
        "priority_override",
    }


@pytest.mark.parametrize(
    ("remaining", "level"),
    [
        (1000, None),
        (201, None),
        (200, "warning"),
        (51, "warning"),
        (50, "critical"),
        (0, "critical"),
    ],
)
def test_a_budget_alert_is_raised_at_eight_tenths_and_at_95_hundredths(remaining, level):
    alerts = adapters.budget_alerts({"daily_limit": 1000, "daily_remaining": remaining})
    assert [a.level for a in alerts] == ([level] if level else [])


def test_a_budget_alert_says_what_remains():
    (alert,) = adapters.budget_alerts(
        {"token_economy": {"session_limit": 1000, "session_remaining": 40, "daily_limit": 7}}
    )
    assert str(alert) == "session token limit critical: 96% used, 40 of 1000 tokens remain"


# ---- Intent Parser ---------------------------------------------------------------------------


def test_an_intent_gives_urgency_context_and_predictions(tmp_path):
    for name in ("src/a.ts", "src/deep/b.ts", "src/c.js", "node_modules/x.ts"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    intent = adapters.intent(
        {
            "urgency": "critical",
            "primary_intent": "DEBUG",
            "task_id": "T-7",
            "entities": {"files": ["src/a.ts", "src/c.js"]},
            "context_hints": {
                "suggested_files": ["**/*.ts", "docs/x.md", "none/*.py"],
                "suggested_skills": ["debugging/systematic", "development/security"],
            },
        },
        workspace=tmp_path,
    )
    assert (intent.urgency, intent.primary_intent, intent.context) == ("critical", "DEBUG", "T-7")
    assert [(p.key, p.role) for p in intent.predictions] == [
        ("file:src/a.ts", "main_file"),
        ("file:src/c.js", "related_file"),
        ("skill:debugging/systematic", "primary_skill"),
        ("skill:development/security", "secondary_skill"),
        ("file:src/deep/b.ts", "related_file"),
        ("file:docs/x.md", "related_file"),
    ]
    assert intent.unmatched == ("none/*.py",)
    assert checked_predictions(intent.predictions)


def test_an_intent_for_another_task_is_a_context_change():
    debug = {"primary_intent": "DEBUG", "entities": {"files": ["a.ts", "b.ts"]}}
    same = {"primary_intent": "debug", "entities": {"files": ["b.ts", "a.ts"]}, "urgency": "low"}
    other = {"primary_intent": "DEBUG", "entities": {"files": ["c.ts"]}}
    first = adapters.intent(debug)
    assert adapters.intent(same).context == first.context
    assert adapters.intent(other).is_new_task(first.context)
    assert not adapters.intent(same).is_new_task(first.context)


def test_patterns_without_a_workspace_are_left_unmatched_and_a_function_may_serve():
    sent = {"context_hints": {"suggested_files": ["src/*.py"]}}
    assert adapters.intent(sent).unmatched == ("src/*.py",)
    served = adapters.intent(sent, workspace=lambda pattern: ["src/one.py"])
    assert [p.key for p in served.predictions] == ["file:src/one.py"]


def test_wrong_fields_of_an_intent_are_named():
    with pytest.raises(InvalidPrediction) as caught:
        adapters.intent(
            {
                "urgency": "now",
                "primary_intent": "DANCE",
                "entities": {"files": ["../x", 3]},
                "context_hints": {"suggested_skills": "one"},
            }
        )
    starts = {fault.partition(": ")[0] for fault in caught.value.faults}
    assert starts == {
        "urgency",
        "primary_intent",
        "entities.files[0]",
        "entities.files[1]",
        "context_hints.suggested_skills",
    }


def test_a_mapping_that_is_no_predictors_output_is_refused():
    with pytest.raises(InvalidPrediction, match="a list of predictions with no key above it"):
        adapters.predictions({"predictions": [{"key": "file:a", "role": "main_file"}]})
    assert adapters.predictions({}) == ()


def test_one_prediction_that_is_in_no_list_is_refused_and_says_what_to_do():
    with pytest.raises(InvalidPrediction, match="put it into a list"):
        adapters.predictions({"key": "file:a", "role": "main_file", "confidence": 0.9})
