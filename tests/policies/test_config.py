"""The configuration as values: defaults, rules, contradictions."""

import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.config import (
    Config,
    Execution,
    MetricRules,
    Prefill,
    Priorities,
    base_priority,
    config_faults,
    contradictions,
    leaves,
    ordered_keys,
)
from prefetch_scheduler.policies.config_rules import Number, Table, number_fault, settled
from prefetch_scheduler.policies.errors import ConfigError
from prefetch_scheduler.policies.vocabulary import Mode, Priority, Role, Urgency


def faults_of(**values: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        Config(**values)
    return caught.value.faults


def test_the_specifications_keys_have_its_defaults() -> None:
    config = Config()
    assert {name: getattr(config, name) for name in SPECIFIED} == SPECIFIED


SPECIFIED = {
    "max_immediate_time_ms": 100,
    "max_eager_time_ms": 500,
    "background_start_delay_ms": 50,
    "max_prefetch_tokens": 10000,
    "max_concurrent_fetches": 8,
    "max_background_queue": 20,
    "hot_cache_size": 20,
    "warm_cache_size": 50,
    "cold_cache_size": 100,
    "min_confidence_for_prefetch": 0.5,
    "min_confidence_for_immediate": 0.8,
    "enable_batch_fetching": True,
    "enable_speculative_prefetch": True,
    "cancel_on_context_change": True,
    "time_budget_ms": 2000,
}


def test_the_decisions_tables_are_complete() -> None:
    priorities = Config().priorities
    assert set(priorities.base) == set(priorities.value_multipliers) == set(Role)
    assert set(priorities.urgency) == set(Urgency)
    assert set(Config().execution.mode_multipliers) == set(Mode)
    assert priorities.urgency == {"critical": -1, "high": 0, "medium": 0, "low": 1}
    assert Config().execution.mode_multipliers == {
        "economy": 0.6,
        "standard": 1.0,
        "premium": 1.5,
        "critical": 2.0,
    }


@pytest.mark.parametrize(
    ("role", "priority", "multiplier"),
    [
        ("master_file", Priority.P0, 1.3),
        ("primary_skill", Priority.P1, 1.5),
        ("main_file", Priority.P1, 1.4),
        ("error_context", Priority.P1, 1.3),
        ("behavior", Priority.P2, 1.0),
        ("historical_case", Priority.P3, 0.7),
        ("large_reference", Priority.P4, 0.5),
    ],
)
def test_a_role_has_its_base_priority_and_multiplier(
    role: str, priority: Priority, multiplier: float
) -> None:
    assert base_priority(Config(), role) is priority
    assert Config().priorities.value_multipliers[role] == multiplier


def test_a_table_keeps_the_defaults_of_the_words_it_does_not_name() -> None:
    config = Config(priorities=Priorities(base={"test_file": 3}))
    assert base_priority(config, "test_file") is Priority.P3
    assert base_priority(config, "main_file") is Priority.P1


def test_one_configurations_tables_are_not_anothers() -> None:
    first, second = Config(), Config()
    assert first == second
    assert first.priorities.base is not second.priorities.base


def test_priorities_may_be_written_as_words() -> None:
    config = Config(priorities=Priorities(base={"test_file": "P3", "main_file": "p0"}))
    assert config.priorities.base["test_file"] == 3
    assert config.priorities.base["main_file"] == 0


def test_a_whole_float_counts_as_a_whole_number() -> None:
    config = Config(max_prefetch_tokens=1e3)
    assert config.max_prefetch_tokens == 1000
    assert isinstance(config.max_prefetch_tokens, int)


def test_a_time_may_have_a_fraction() -> None:
    assert Config(max_immediate_time_ms=99.5).max_immediate_time_ms == 99.5


NUMBERS = [
    pytest.param(path, attribute.metadata["rule"], id=".".join(path))
    for path, attribute, _ in leaves(Config())
    if isinstance(attribute.metadata["rule"], Number)
]
GROUPS: dict[str, Any] = {
    attribute.name: attribute.metadata["group"]
    for attribute in attrs.fields(Config)
    if "group" in attribute.metadata
}


def with_value(path: tuple[str, ...], value: object) -> dict[str, Any]:
    if len(path) == 1:
        return {path[0]: value}
    return {path[0]: GROUPS[path[0]](**{path[1]: value})}


@pytest.mark.parametrize(("path", "rule"), NUMBERS)
def test_no_number_takes_what_is_none_or_out_of_range(path: tuple[str, ...], rule: Number) -> None:
    bad: list[object] = [True, "100", [], math.nan, math.inf, -math.inf]
    if not rule.null:
        bad.append(None)
    bad += [rule.low - 1, -0.5 if rule.low == 0 else 0, rule.largest * 2, 10**400]
    if rule.whole:
        bad.append(rule.low + 0.5)
    for value in bad:
        faults = faults_of(**with_value(path, value))
        assert [f for f in faults if f.startswith(f"{'.'.join(path)}: ")], value


def test_null_stands_for_a_number_where_its_rule_says_which() -> None:
    with_null = [case.values[0] for case in NUMBERS if case.values[1].null]
    assert with_null == [("execution", "max_background_tokens")]


def test_the_background_gets_half_of_the_budget_unless_the_host_says_otherwise() -> None:
    assert Config().background_tokens == 5000
    assert Config(max_prefetch_tokens=40_001).background_tokens == 20_000
    own = Execution(max_background_tokens=7)
    assert Config(max_prefetch_tokens=40_000, execution=own).background_tokens == 7


@pytest.mark.parametrize(("path", "rule"), NUMBERS)
def test_every_number_takes_its_bounds(path: tuple[str, ...], rule: Number) -> None:
    for value in (rule.low, rule.largest):
        assert number_fault(rule, settled(rule, value)) is None


@pytest.mark.parametrize("value", [1, 0, "true", "on", None])
def test_a_switch_takes_only_true_and_false(value: object) -> None:
    (fault,) = faults_of(enable_batch_fetching=value)
    assert f"enable_batch_fetching: {value!r} is not true or false" in fault


def test_every_fault_is_named_at_once() -> None:
    faults = faults_of(
        hot_cache_size=0,
        pins=["file:a", "nokind"],
        execution=Execution(demand_slots=0, mode_multipliers={"turbo": 2}),
        priorities="high",
    )
    assert [fault.split(":")[0] for fault in faults] == [
        "hot_cache_size",
        "priorities",
        "execution.demand_slots",
        "execution.mode_multipliers.turbo",
        "pins.1",
    ]


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"min_confidence_for_prefetch": 0.9}, "min_confidence_for_prefetch"),
        ({"priorities": Priorities(low_confidence=0.95)}, "priorities.low_confidence"),
        ({"execution": Execution(unavailable_min_s=61)}, "execution.unavailable_min_s"),
        ({"metrics": MetricRules(hit_rate_alert=0.8)}, "metrics.hit_rate_alert"),
        ({"metrics": MetricRules(accuracy_alert=0.8)}, "metrics.accuracy_alert"),
    ],
)
def test_values_that_contradict_each_other_are_named(values: dict[str, Any], path: str) -> None:
    (fault,) = faults_of(**values)
    assert fault.startswith(f"{path}: ")


def test_equal_values_do_not_contradict() -> None:
    assert Config(min_confidence_for_prefetch=0.8).min_confidence_for_prefetch == 0.8


def test_fewer_slots_than_are_reserved_leave_one_for_the_others() -> None:
    assert Config(max_concurrent_fetches=2).reserved_slots == 1
    assert Config(max_concurrent_fetches=1).reserved_slots == 0
    assert Config().reserved_slots == 2


def test_a_wrong_type_hides_no_contradiction_of_other_values() -> None:
    faults = faults_of(hot_cache_size="big", min_confidence_for_prefetch=0.9)
    assert [fault.split(":")[0] for fault in faults] == [
        "hot_cache_size",
        "min_confidence_for_prefetch",
    ]


def test_a_faulty_value_contradicts_nothing() -> None:
    assert len(faults_of(min_confidence_for_prefetch="much")) == 1


def test_values_that_are_missing_are_not_compared() -> None:
    assert list(contradictions({("max_concurrent_fetches",): 1})) == []


def test_each_contradiction_has_a_sentence_for_the_manual() -> None:
    sentences = list(ordered_keys())
    assert "`metrics.hit_rate_alert` must not exceed `metrics.hit_rate_target`." in sentences
    assert len(sentences) == 5


def test_at_most_ten_pins() -> None:
    assert len(Config(pins=[f"file:{n}" for n in range(10)]).pins) == 10
    (fault,) = faults_of(pins=[f"file:{n}" for n in range(11)])
    assert fault == "pins: 11 keys are too many; allowed: at most 10"


def test_prefill_lists_hold_keys_under_printable_names() -> None:
    faults = faults_of(
        prefill=Prefill(session_start="file:a", project_switch={"p": ["x"], "a\nb": []})
    )
    assert [fault.split(" ")[0] for fault in faults] == [
        "prefill.session_start:",
        "prefill.project_switch.p.0:",
        "prefill.project_switch.a\nb:",
    ]
    assert Prefill(user_login={"ada": ["file:a"]}).user_login == {"ada": ("file:a",)}


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("1:30", "write the number out"),
        ("1_000", "write 1000"),
        ("017", "without the leading zero"),
        ("100", "without the quotes"),
        ("20 items", "write the number alone, it counts items"),
        ("5 minutes", "write the number alone, it counts items"),
        ("many", "(items)"),
    ],
)
def test_text_in_place_of_a_number_comes_with_advice(text: str, advice: str) -> None:
    (fault,) = faults_of(hot_cache_size=text)
    assert fault.endswith(advice) or advice in fault


def test_a_long_value_is_cut_in_the_message() -> None:
    (fault,) = faults_of(hot_cache_size="x" * 100_000)
    assert len(fault) < 300


def test_every_key_has_help_and_a_rule() -> None:
    for path, attribute, value in leaves(Config()):
        assert attribute.metadata["help"], path
        assert attribute.metadata["rule"], path
        rule = attribute.metadata["rule"]
        if isinstance(rule, Table):
            assert set(rule.default) == set(rule.keys)
        assert settled(rule, value) == value


def test_the_defaults_have_no_faults() -> None:
    assert list(config_faults(Config())) == []


@given(st.floats() | st.integers() | st.text() | st.booleans() | st.none())
def test_a_number_is_taken_exactly_if_it_is_one_in_range(value: object) -> None:
    rule = Number(unit="items", low=1, high=50, whole=True)
    fits = not isinstance(value, bool | str) and value is not None and value in range(1, 51)
    assert (number_fault(rule, settled(rule, value)) is None) is fits


def test_a_configuration_can_be_evolved() -> None:
    assert attrs.evolve(Config(), hot_cache_size=3).hot_cache_size == 3
    with pytest.raises(ConfigError):
        attrs.evolve(Config(), hot_cache_size=0)
