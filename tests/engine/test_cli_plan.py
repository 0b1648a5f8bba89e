"""`prefetch-scheduler plan`: the plan in order with reasons, and clear lines for bad input."""

import io
import json
from pathlib import Path

import pytest

from prefetch_scheduler.engine.cli import main as program
from prefetch_scheduler.engine.cli.documents import MAX_BYTES

SAMPLE = Path(__file__).parents[2] / "engine" / "data" / "sample"
WORKSPACE = SAMPLE / "workspace"

UPSTREAM = """
prediction_output:
  timestamp: "2026-01-30T10:15:32Z"
  skills:
    primary:   {skill_id: "debugging/systematic", confidence: 0.92, reason: "an error"}
    secondary:
      - {skill_id: "development/security", confidence: 0.65, reason: "auth"}
      - {skill_id: "debugging/verification", confidence: 0.55, reason: "later"}
  files:
    likely_read:
      - {path: "src/auth/auth.service.ts", confidence: 0.88, reason: "named"}
      - {path: "src/auth/auth.controller.ts", confidence: 0.72, reason: "caller"}
    likely_modified: [{path: "src/auth/auth.service.ts", confidence: 0.75, reason: "edited"}]
    likely_tests:    [{path: "src/auth/auth.service.spec.ts", confidence: 0.80, reason: "test"}]
  behaviors:
    predicted_chain: [{behavior: "trace_error", confidence: 0.90}]
  resources:
    suggested_mode: "premium"
  prefetch_recommendations:
    defer: ["Full project structure scan"]
"""

ITEM_FIELDS = {
    "key",
    "role",
    "confidence",
    "priority",
    "lane",
    "tokens",
    "value",
    "start_ms",
    "finish_ms",
    "reason",
}


@pytest.fixture
def upstream(tmp_path):
    path = tmp_path / "predictions.yaml"
    path.write_text(UPSTREAM)
    return str(path)


@pytest.fixture
def plan(capsys):
    def run(*arguments, code=0):
        assert program.main(["plan", *map(str, arguments)]) == code
        return capsys.readouterr()

    return run


def json_plan(plan, *arguments):
    out = plan(*arguments, "--json")
    assert out.err == ""
    return json.loads(out.out)


def test_the_example_of_the_neighbours_gives_the_plan_that_the_issue_names(plan, upstream):
    made = json_plan(plan, upstream, "--workspace", WORKSPACE)
    found = {item["key"]: item for item in made["items"]}
    expected = {
        "skill:debugging/systematic": ("P0", "immediate"),
        "file:src/auth/auth.service.ts": ("P1", "immediate"),
        "file:src/auth/auth.controller.ts": ("P2", "immediate"),
        "file:src/auth/auth.service.spec.ts": ("P2", "immediate"),
        "skill:development/security": ("P2", "immediate"),
        "skill:debugging/verification": ("P3", "background"),
        "behavior:trace_error": ("P2", "skipped"),
    }
    assert {k: (i["priority"], i["lane"]) for k, i in found.items()} == expected
    assert found["behavior:trace_error"]["reason"] == "no_source"
    assert found["behavior:trace_error"]["start_ms"] is None
    service = found["file:src/auth/auth.service.ts"]
    assert (service["role"], service["confidence"]) == ("main_file", 0.88)
    assert made["token_budget"] == 15_000  # premium, as the predictor suggests
    assert made["tokens_planned"] == sum(
        i["tokens"] for i in made["items"] if i["lane"] in ("immediate", "background")
    )
    assert all(set(item) >= ITEM_FIELDS for item in made["items"])


def test_shrinking_the_token_budget_drops_the_lowest_first(plan, upstream):
    whole = json_plan(plan, upstream, "--workspace", WORKSPACE)
    loaded = [i for i in whole["items"] if i["lane"] in ("immediate", "background")]
    budget = sum(i["tokens"] for i in loaded)
    for kept in range(len(loaded) - 1, -1, -1):
        budget -= loaded[kept]["tokens"]
        made = json_plan(plan, upstream, "--workspace", WORKSPACE, "--token-budget", budget)
        still = {i["key"] for i in made["items"] if i["lane"] in ("immediate", "background")}
        assert still >= {i["key"] for i in loaded[:kept]}
        dropped = {i["key"]: i["reason"] for i in made["items"] if i["key"] == loaded[kept]["key"]}
        assert dropped == {loaded[kept]["key"]: "token_budget_exceeded"}
        assert made["tokens_planned"] <= budget


def test_the_plan_does_not_depend_on_where_or_when_it_is_made(plan, upstream):
    one = json_plan(plan, upstream, "--workspace", WORKSPACE)
    assert json_plan(plan, upstream, "--workspace", WORKSPACE) == one


def test_the_table_gives_reasons_and_says_that_advice_is_not_executed(plan, upstream):
    text = plan(upstream, "--workspace", WORKSPACE).out
    assert "base P1 (primary_skill); confidence 0.92 > 0.9: -1; an error" in text
    assert "no source serves the kind 'behavior'" in text
    assert "tokens planned" in text
    assert "defer: Full project structure scan" in text


def test_a_list_of_predictions_is_read_from_standard_input(plan, monkeypatch):
    items = [{"key": "file:docs/architecture.md", "role": "documentation", "confidence": 0.8}]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(items).encode())))
    made = json_plan(plan, "-", "--workspace", WORKSPACE)
    assert [(i["key"], i["lane"]) for i in made["items"]] == [
        ("file:docs/architecture.md", "background")
    ]


def test_options_win_over_the_managers_file_and_that_over_the_suggested_mode(
    plan, upstream, tmp_path
):
    manager = tmp_path / "economy.yaml"
    manager.write_text("daily_limit: 100000\ndaily_remaining: 9000\nmode: economy\n")
    run = (upstream, "--workspace", WORKSPACE, "--constraints", manager, "--json")
    out = plan(*run)
    assert json.loads(out.out)["token_budget"] == 6_000
    assert out.err == "daily token limit warning: 91% used, 9000 of 100000 tokens remain\n"
    assert json.loads(plan(*run, "--mode", "critical").out)["token_budget"] == 9_000
    urgent = json.loads(plan(*run, "--urgency", "critical").out)
    assert urgent["items"][1]["priority"] == "P0"


def test_skills_are_looked_for_in_three_folders_the_first_that_has_it_wins(plan, tmp_path):
    text = "---\nname: {0}\ndescription: d\n---\n" + "body " * 100
    for folder, skills in {
        "skills": ["a"],
        ".agents/skills": ["a", "b"],
        ".claude/skills": ["b", "c"],
    }.items():
        for skill in skills:
            path = tmp_path / folder / skill / "SKILL.md"
            path.parent.mkdir(parents=True)
            path.write_text(text.format(skill) * (1 if folder == "skills" else 3))
    predictions = tmp_path / "p.json"
    predictions.write_text(
        json.dumps(
            [
                {"key": f"skill:{skill}", "role": "secondary_skill", "confidence": 0.8}
                for skill in ("a", "b", "c", "none")
            ]
        )
    )
    made = json_plan(plan, predictions, "--workspace", tmp_path)
    found = {item["key"]: item for item in made["items"]}
    assert found["skill:a"]["tokens"] * 2 < found["skill:b"]["tokens"]
    assert {found[f"skill:{s}"]["lane"] for s in "abc"} == {"immediate"}


def test_a_secret_is_planned_as_skipped(plan, tmp_path):
    path = tmp_path / "p.json"
    path.write_text('[{"key": "file:.env", "role": "active_file", "confidence": 1}]')
    (item,) = json_plan(plan, path, "--workspace", WORKSPACE)["items"]
    assert (item["lane"], item["reason"]) == ("skipped", "excluded")


def test_an_empty_document_predicts_nothing(plan, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("")
    assert json_plan(plan, path, "--workspace", WORKSPACE)["items"] == []
    assert "nothing is predicted" in plan(path, "--workspace", WORKSPACE).out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"skills: {primary: {skill_id: a, confidence: 1.7}}", "skills.primary.confidence: 1.7 is"),
        (b'[{"key": "file:../x", "role": "main_file", "confidence": 1}]', "../x"),
        (b'[{"key": "file:x", "role": "hero", "confidence": .nan}]', "role: 'hero' is not one of"),
        (b"files:\n  - [\n", ":3:1: not valid YAML"),
        (b"a: 1\na: 2\n", ":2:1: duplicate key 'a'"),
        (b"!!python/object/apply:os.system ['true']", "tag"),
        (b"\xff\xfe", "not UTF-8"),
        (b"just text", "expected the Pattern Predictor's output"),
        (b"[" * 5000, "nested deeper"),
    ],
)
def test_bad_input_ends_with_code_2_and_lines_that_name_the_fault(plan, tmp_path, text, says):
    path = tmp_path / "bad.yaml"
    path.write_bytes(text)
    out = plan(path, "--workspace", WORKSPACE, "--json", code=2)
    assert out.out == ""
    assert says in out.err
    assert "Traceback" not in out.err


@pytest.mark.parametrize("name", ["p.json", "p.yaml"])
def test_a_key_that_stands_twice_in_json_is_refused_as_in_yaml(plan, tmp_path, name):
    path = tmp_path / name
    path.write_text('[{"key": "file:a", "role": "main_file",\n  "key": "file:b"}]')
    out = plan(path, "--workspace", WORKSPACE, code=2)
    assert f"{path}:2:3: duplicate key 'key'" in out.err


def test_a_budget_past_all_bounds_is_bad_input(plan, upstream):
    out = plan(upstream, "--token-budget", "1" + "0" * 400, code=2)
    assert "constraints.token_budget: 10**400 or so is not a whole number" in out.err


def test_bad_json_is_named_by_line_and_column(plan, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text('[{"key": "file:a",\n oops}]')
    out = plan(path, "--workspace", WORKSPACE, code=2)
    assert f"{path}:2:2: not valid JSON" in out.err


def test_every_fault_of_a_file_is_named_with_the_file(plan, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text('[{"key": "file:a", "role": "main_file", "confidence": 2}, 3]')
    lines = plan(path, "--workspace", WORKSPACE, code=2).err.splitlines()
    assert lines[0] == f"{path}: predictions[0].confidence: 2 is not in 0..1"
    assert lines[1].startswith(f"{path}: predictions[1]: expected a mapping")


@pytest.mark.parametrize(
    "arguments",
    [
        ("none.yaml",),
        ("{up}", "--workspace", "nowhere"),
        ("{up}", "--token-budget", "-1"),
        ("{up}", "--token-budget", "1.5"),
        ("{up}", "--time-budget-ms", "nan"),
        ("{up}", "--mode", "lavish"),
        ("{up}", "--constraints", "none.yaml"),
        ("{up}", "--config", "none.yaml"),
        (),
    ],
)
def test_wrong_usage_ends_with_code_2(plan, upstream, arguments):
    out = plan(*(a.format(up=upstream) for a in arguments), code=2)
    assert out.out == ""
    assert out.err
    assert "Traceback" not in out.err


def test_a_document_that_is_too_large_is_refused(plan, tmp_path):
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert "larger than" in plan(path, code=2).err


def test_many_predictions_are_planned_as_few_are(plan, tmp_path):
    many = [{"key": f"file:f{n}.py", "role": "main_file", "confidence": 0.9} for n in range(300)]
    path = tmp_path / "many.json"
    path.write_text(json.dumps(many))
    made = json.loads(plan(path, "--workspace", WORKSPACE, "--json").out)
    assert len(made["items"]) == 300
