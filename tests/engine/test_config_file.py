"""Reading a configuration: sources, faults with their places, and writing it back as YAML."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.engine.config_file import load_config
from prefetch_scheduler.engine.config_text import plain, to_yaml
from prefetch_scheduler.policies.config import Config, Execution, Prefill, Priorities
from prefetch_scheduler.policies.errors import ConfigError

FILE = "prefetch.yaml"

Write = Callable[[str | bytes], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the file of that name in the current folder, and gives the name back."""
    monkeypatch.chdir(tmp_path)

    def write_file(text: str | bytes) -> str:
        Path(FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
        return FILE

    return write_file


def faults_of(source: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(source)
    assert str(caught.value) == "\n".join(caught.value.faults)
    return list(caught.value.faults)


def test_no_source_gives_the_defaults() -> None:
    assert load_config(None) == Config()


def test_a_config_is_taken_as_it_is() -> None:
    config = Config(hot_cache_size=3)
    assert load_config(config) is config


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "---\n",
        "{}\n",
        "prefetch_scheduler_config:\n",
        "prefetch_scheduler_config: {}\n",
        "execution:\n  # all commented out\npins:\nprefill: {project_switch: }\n",
    ],
)
def test_a_file_without_values_gives_the_defaults(write: Write, text: str) -> None:
    assert load_config(write(text)) == Config()


@pytest.mark.parametrize("top", [True, False])
def test_a_file_is_read_with_and_without_the_top_key(write: Write, top: bool) -> None:
    keys = "max_prefetch_tokens: 1e3\nexecution:\n  demand_timeout_s: 2.5\n"
    text = "prefetch_scheduler_config:\n  " + keys.replace("\n", "\n  ") if top else keys
    expected = Config(max_prefetch_tokens=1000, execution=Execution(demand_timeout_s=2.5))
    assert load_config(write(text)) == expected
    assert load_config(Path(FILE)) == expected


def test_the_specifications_own_block_gives_the_defaults(write: Write) -> None:
    text = """
prefetch_scheduler_config:
  # Timing
  max_immediate_time_ms: 100
  max_eager_time_ms: 500
  background_start_delay_ms: 50

  # Resources
  max_prefetch_tokens: 10000
  max_concurrent_fetches: 8
  max_background_queue: 20

  # Cache
  hot_cache_size: 20
  warm_cache_size: 50
  cold_cache_size: 100

  # Thresholds
  min_confidence_for_prefetch: 0.5
  min_confidence_for_immediate: 0.8

  # Optimization
  enable_batch_fetching: true
  enable_speculative_prefetch: true
  cancel_on_context_change: true
"""
    assert load_config(write(text)) == Config()


def test_a_mapping_has_the_files_shape() -> None:
    source = {
        "prefetch_scheduler_config": {
            "hot_cache_size": 3.0,
            "pins": ["file:a"],
            "priorities": {"base": {"test_file": "P3"}},
            "prefill": {"project_switch": {"web": ["file:b"]}},
        }
    }
    expected = Config(
        hot_cache_size=3,
        pins=("file:a",),
        priorities=Priorities(base={"test_file": 3}),
        prefill=Prefill(project_switch={"web": ("file:b",)}),
    )
    assert load_config(source) == expected
    assert load_config(source["prefetch_scheduler_config"]) == expected


def test_every_fault_of_a_file_is_named_with_its_place_in_order(write: Write) -> None:
    text = """\
prefetch_scheduler_config:
  max_prefetch_token: 1
  enable_batch_fetching: on
  hot_cache_size: -1
  hot_cache_size: 2
  time_budget_ms: .nan
  execution: {demand_timeout_s: 1:30, load_timeout_s: 017, unavailable_min_s: 1_000}
  demand_slots: 3
  priorities:
    base: {main_fil: 1, main_file: P9}
    high_confidence: 0.5
  pins: [file:a, nokind]
"""
    faults = faults_of(write(text))
    starts = [
        f"{FILE}:2:3: max_prefetch_token: unknown key; allowed: max_immediate_time_ms, ",
        f"{FILE}:3:26: enable_batch_fetching: 'on' is not true or false; write true",
        f"{FILE}:4:19: hot_cache_size: -1 is not a whole number of at least 1 (items)",
        f"{FILE}:5:3: duplicate key 'hot_cache_size'; it stands first in line 4",
        f"{FILE}:6:19: time_budget_ms: nan is not a number of at least 0 (milliseconds)",
        f"{FILE}:7:33: execution.demand_timeout_s: '1:30' is not a number",
        f"{FILE}:7:55: execution.load_timeout_s: '017' is not a number",
        f"{FILE}:7:79: execution.unavailable_min_s: '1_000' is not a number",
        f"{FILE}:8:3: demand_slots: unknown key; allowed: ",
        f"{FILE}:10:12: priorities.base.main_fil: unknown key; allowed in priorities.base: ",
        f"{FILE}:10:36: priorities.base.main_file: 'P9' is not a whole number in 0..4 (priority)",
        f"{FILE}:11:22: priorities.high_confidence: priorities.low_confidence: 0.6 must not ",
        f"{FILE}:12:18: pins.1: key 'nokind': expected `kind:name`",
    ]
    assert len(faults) == len(starts)
    for fault, start in zip(faults, starts, strict=True):
        assert fault.startswith(start), fault
    assert faults[0].endswith("; nearest valid key: max_prefetch_tokens")
    assert faults[8].endswith("; nearest valid key: execution.demand_slots")
    assert faults[9].endswith("; nearest valid key: main_file")
    assert faults[10].endswith(" or one of P0..P4")


def test_every_fault_of_a_mapping_is_named_with_its_path() -> None:
    faults = faults_of(
        {"execution": {"demand_slot": 1, "demand_slots": 0}, "pins": "file:a", 7: True}
    )
    assert [fault.split(": ")[0] for fault in faults] == [
        "execution.demand_slot",
        "execution.demand_slots",
        "pins",
        "7",
    ]
    assert faults[0].endswith("; nearest valid key: demand_slots")


def test_keys_beside_the_top_key_are_faults(write: Write) -> None:
    faults = faults_of(write("prefetch_scheduler_config:\n  hot_cache_size: 0\npins: []\n"))
    assert faults == [
        f"{FILE}:2:19: hot_cache_size: 0 is not a whole number of at least 1 (items)",
        f"{FILE}:3:1: pins: move it below prefetch_scheduler_config",
    ]


def test_a_contradiction_stands_at_the_value_that_was_written(write: Write) -> None:
    (default,) = faults_of(write("min_confidence_for_immediate: 0.4\n"))
    assert default.startswith(f"{FILE}:1:31: min_confidence_for_immediate: ")
    (both,) = faults_of(write("execution: {unavailable_max_s: 2, unavailable_min_s: 3}\n"))
    assert both.startswith(f"{FILE}:1:54: execution.unavailable_min_s: 3 must not exceed ")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("- 1\n", "1:1: [1] is not a mapping with any of max_immediate_time_ms, "),
        ("just text\n", "1:1: 'just text' is not a mapping with any of "),
        ("execution: 3\n", "1:12: execution: 3 is not a mapping with any of "),
        ("execution: [a]\n", "1:12: execution: ['a'] is not a mapping with any of "),
        ("hot_cache_size:\n", "1:16: hot_cache_size: None is not a whole number"),
        ("hot_cache_size: [1]\n", "1:17: hot_cache_size: [1] is not a whole number"),
        ("hot_cache_size: 1.5\n", "1:17: hot_cache_size: 1.5 is not a whole number"),
        ("hot_cache_size: '5'\n", "1:17: hot_cache_size: '5' is not a whole number"),
        ("hot_cache_size: true\n", "1:17: hot_cache_size: True is not a whole number"),
        ("enable_batch_fetching: 1\n", "1:24: enable_batch_fetching: 1 is not true or false"),
        ("time_budget_ms: .inf\n", "1:17: time_budget_ms: inf is not a number of at least 0"),
        ("time_budget_ms: 5e9\n", "1:17: time_budget_ms: 5000000000.0 is too large"),
        ("pins: file:a\n", "1:7: pins: 'file:a' is not a list of keys"),
        ("priorities: {base: 3}\n", "1:20: priorities.base: 3 is not a mapping from a word"),
        ("priorities: {base: {test_file: 1.5}}\n", "1:32: priorities.base.test_file: 1.5 is not"),
        ("prefill: {user_login: {ada: x}}\n", "1:29: prefill.user_login.ada: 'x' is not a list"),
        ("a: 1\n---\nb: 2\n", "2:1: a second document begins here"),
        ("pins: [1\n", "2:1: not valid YAML: "),
        (b"hot_cache_size: \xff\n", "1:17: byte 0xff is not UTF-8"),
    ],
)
def test_a_wrong_shape_is_named_with_its_place(write: Write, text: str | bytes, where: str) -> None:
    (fault,) = faults_of(write(text))
    assert fault.startswith(f"{FILE}:{where}")


def test_faults_of_the_text_and_of_the_values_come_together(write: Write) -> None:
    faults = faults_of(write("hot_cache_size: 0\npins: &p []\n<<: *p\npins: []\n"))
    assert [fault.split(":")[1] for fault in faults] == ["1", "3", "4"]


def test_a_fault_stays_on_one_line_and_short(write: Write) -> None:
    key = "x\\n\\x1b" * 1000
    (fault,) = faults_of({key.encode().decode("unicode_escape"): 1})
    assert "\n" not in fault
    assert "\x1b" not in fault
    assert len(fault) < 1500


def test_anchors_may_share_values(write: Write) -> None:
    text = "pins: &keys [file:a]\nprefill: {session_start: *keys}\n"
    config = load_config(write(text))
    assert config.pins == config.prefill.session_start == ("file:a",)


def test_a_file_that_cannot_be_read_is_a_configuration_error(write: Write, tmp_path: Path) -> None:
    write("")
    (missing,) = faults_of("nowhere.yaml")
    assert missing.startswith("nowhere.yaml: the configuration cannot be read: No such file")
    (folder,) = faults_of(os.fspath(tmp_path))
    assert "cannot be read" in folder
    (nul,) = faults_of("a\0b")
    assert "cannot be read" in nul


@pytest.mark.parametrize("source", [3, [("hot_cache_size", 1)], b"prefetch.yaml", object()])
def test_another_type_is_a_configuration_error(source: object) -> None:
    (fault,) = faults_of(source)
    assert "is neither a Config nor a mapping, a path or None" in fault


keys = st.text(min_size=1, max_size=8).filter(lambda name: "\0" not in name).map("file:{}".format)
names = st.text(st.characters(categories=["L", "N", "P"]), max_size=8)
configs = st.builds(
    Config,
    max_prefetch_tokens=st.integers(0, 10**15),
    time_budget_ms=st.floats(0, 4e9),
    min_confidence_for_prefetch=st.floats(0, 0.8),
    enable_batch_fetching=st.booleans(),
    priorities=st.builds(
        Priorities,
        base=st.dictionaries(st.sampled_from(["test_file", "behavior"]), st.integers(0, 4)),
        value_multipliers=st.dictionaries(st.just("main_file"), st.floats(0, 1000)),
    ),
    execution=st.builds(Execution, load_timeout_s=st.floats(0, 4e6)),
    pins=st.lists(keys, max_size=10),
    prefill=st.builds(
        Prefill,
        session_start=st.lists(keys, max_size=3),
        user_login=st.dictionaries(names, st.lists(keys, max_size=2), max_size=2),
    ),
)


def written(config: Config, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.getbasetemp() / "round-trip.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    return os.fspath(path)


@given(configs)
def test_the_yaml_of_any_configuration_loads_back_as_an_equal_one(
    tmp_path_factory: pytest.TempPathFactory, config: Config
) -> None:
    assert load_config(written(config, tmp_path_factory)) == config


@given(configs)
def test_the_plain_data_of_any_configuration_loads_back_as_an_equal_one(config: Config) -> None:
    assert load_config(plain(config)) == config


def test_the_yaml_names_every_key_with_its_help_above_it() -> None:
    lines = to_yaml(Config()).splitlines()
    index = lines.index("  max_concurrent_fetches: 8")
    assert lines[index - 1].startswith("  # slots of prefetching")
    assert lines[index - 1].endswith("(loads, whole, at least 1)")
    for attribute in attrs.fields(Config):
        assert [line for line in lines if line.startswith(f"  {attribute.name}:")]
