"""The configuration as values: every key with its default, unit and allowed range.

The specification's keys stand at the top level under their own names; the rest stand in groups.
Reading YAML, with positions in the error messages, is `prefetch_scheduler.engine.config_file`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from attrs import field

from prefetch_scheduler.policies.config_fields import (
    choice,
    count_or,
    group,
    key_list,
    key_lists,
    number,
    switch,
    table,
    text,
)
from prefetch_scheduler.policies.config_rules import Fault, Path, value_faults
from prefetch_scheduler.policies.errors import ConfigError
from prefetch_scheduler.policies.figures import shown
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.vocabulary import (
    EvictionPolicy,
    Mode,
    PolicyName,
    Priority,
    Role,
    SpeculationMode,
    Urgency,
)

MAX_PINS = 10
"""How many keys one session may pin (decision D13)."""

_P0 = (Role.MASTER_FILE, Role.SESSION_STATE, Role.ACTIVE_FILE)
_P1 = (Role.PRIMARY_SKILL, Role.MAIN_FILE, Role.ERROR_CONTEXT)
_P2 = (Role.SECONDARY_SKILL, Role.RELATED_FILE, Role.TEST_FILE, Role.BEHAVIOR)
_P3 = (Role.DOCUMENTATION, Role.HISTORICAL_CASE, Role.EXTENDED_CONTEXT)
_P4 = (Role.DEPENDENCY_GRAPH, Role.LARGE_REFERENCE, Role.HISTORICAL_ANALYTICS)

BASE_PRIORITY: dict[str, float] = {
    str(role): number for number, roles in enumerate((_P0, _P1, _P2, _P3, _P4)) for role in roles
}
VALUE_MULTIPLIERS: dict[str, float] = {
    **{str(role): 1.3 for role in (*_P0, Role.ERROR_CONTEXT)},
    str(Role.PRIMARY_SKILL): 1.5,
    str(Role.MAIN_FILE): 1.4,
    **{str(role): 1.0 for role in _P2},
    **{str(role): 0.7 for role in _P3},
    **{str(role): 0.5 for role in _P4},
}
URGENCY_SHIFT: dict[str, float] = {"critical": -1, "high": 0, "medium": 0, "low": 1}
MODE_MULTIPLIERS: dict[str, float] = {
    "economy": 0.6,
    "standard": 1.0,
    "premium": 1.5,
    "critical": 2.0,
}


@frozen(kw_only=True)
class Priorities:
    """How priority and value are worked out (decisions D6 to D8)."""

    base: Mapping[str, float] = table(
        BASE_PRIORITY,
        "priority of each role before modifiers",
        keys=tuple(Role),
        unit="priority",
        low=0,
        high=4,
        whole=True,
        priorities=True,
    )
    value_multipliers: Mapping[str, float] = table(
        VALUE_MULTIPLIERS,
        "the value of an item is its confidence times this",
        keys=tuple(Role),
        unit="factor",
        low=0,
        high=1000,
    )
    urgency: Mapping[str, float] = table(
        URGENCY_SHIFT,
        "steps added to the priority for each urgency",
        keys=tuple(Urgency),
        unit="steps",
        low=-4,
        high=4,
        whole=True,
    )
    high_confidence: float = number(
        0.9, "a confidence above it: one step more urgent", unit="probability", high=1
    )
    low_confidence: float = number(
        0.6, "a confidence below it: one step less urgent", unit="probability", high=1
    )
    recent_access_s: float = number(
        300.0, "read within this time: one step more urgent", unit="seconds"
    )
    frequent_uses: int = number(
        5, "used more often than this today: one step more urgent", unit="uses"
    )


@frozen(kw_only=True)
class Execution:
    """How loads are run (decisions D14 to D25)."""

    policy: str = choice(
        PolicyName.DEFAULT, "the rules by which loads are chosen", words=tuple(PolicyName)
    )
    max_background_time_ms: float = number(
        2000.0, "a background load's claim to its slot", unit="milliseconds"
    )
    immediate_reserved: int = number(
        2, "prefetch slots kept for P0 and P1; one at least is left for others", unit="slots"
    )
    eager_max_concurrent: int = number(5, "P2 loads that hold a slot at once", unit="loads", low=1)
    background_max_concurrent: int = number(
        3, "background loads that hold a slot", unit="loads", low=1
    )
    background_max_pending: int = number(
        10, "background items handed to their pool", unit="items", low=1
    )
    max_background_tokens: int | None = count_or(
        "half of max_prefetch_tokens",
        "background tokens of one plan, within its budget",
        unit="tokens",
    )
    start_expiry_s: float = number(
        30.0, "a background item not started by then is dropped", unit="seconds"
    )
    demand_slots: int = number(
        4, "slots of demand's own, beyond the prefetch slots", unit="slots", low=1
    )
    demand_timeout_s: float = number(
        30.0, "how long get() waits where it names no timeout", unit="seconds"
    )
    demand_stuck_ms: float = number(
        500.0, "after it a demand load gives its slot back", unit="milliseconds"
    )
    load_timeout_s: float = number(
        30.0, "a load is abandoned after this, unless its source says otherwise", unit="seconds"
    )
    max_source_concurrency: int = number(
        8, "loads at once from one source that names no limit", unit="loads", low=1
    )
    max_stuck_per_source: int = number(
        16, "stuck loads past which demand of that source fails at once", unit="loads", low=1
    )
    context_grace_s: float = number(
        1.0, "wait for a submit before a context change cancels", unit="seconds"
    )
    survey_timeout_ms: float = number(
        50.0, "wait for the sources' own estimates before planning", unit="milliseconds"
    )
    unavailable_min_s: float = number(1.0, "first back-off of a key that failed", unit="seconds")
    unavailable_max_s: float = number(60.0, "longest back-off of a key that failed", unit="seconds")
    follow_up_depth: int = number(2, "steps of predictions that loads bring up", unit="steps")
    prefetch_remote: bool = switch(
        False, "whether sources that are remote may be prefetched at all"
    )
    mode_multipliers: Mapping[str, float] = table(
        MODE_MULTIPLIERS,
        "max_prefetch_tokens is multiplied by it",
        keys=tuple(Mode),
        unit="factor",
        low=0,
        high=1000,
    )


@frozen(kw_only=True)
class Speculation:
    """How the default policy weighs what to load ahead."""

    mode: str = choice(
        SpeculationMode.ACTIVE,
        "observe decides and records, and loads nothing ahead; off does not even decide",
        words=tuple(SpeculationMode),
    )
    dial: float = number(
        0.5, "how dear wasted tokens are, from thrifty (0) to eager (1)", unit="fraction", high=1
    )
    waste_budget: float = number(
        0.5, "share of prefetched tokens that may be wasted", unit="fraction", high=1
    )
    spend_budget: float = number(
        0.0,
        "tokens that may be loaded ahead for each one that the specification's thresholds would"
        " load; 0: not limited",
        unit="tokens",
        high=100,
    )


@frozen(kw_only=True)
class CacheRules:
    """How long the layers hold entries, how many and where (decisions D28, D30, D18)."""

    hot_ttl_s: float = number(
        300.0, "unread for this long: demoted from hot to warm", unit="seconds"
    )
    warm_ttl_s: float = number(
        900.0, "unread for this long: demoted from warm to cold", unit="seconds"
    )
    cold_ttl_s: float = number(3600.0, "unread for this long: dropped from cold", unit="seconds")
    unread_share: float = number(
        0.2, "share of all layers that unread prefetches may hold", unit="fraction", high=1
    )
    unread_background_s: float = number(
        30.0, "an unread background item leaves warm for cold", unit="seconds"
    )
    hot_policy: str = choice(
        EvictionPolicy.LRU, "what hot gives up first where it is full", words=tuple(EvictionPolicy)
    )
    warm_policy: str = choice(
        EvictionPolicy.LFU, "what warm gives up first where it is full", words=tuple(EvictionPolicy)
    )
    cold_policy: str = choice(
        EvictionPolicy.TTL, "what cold gives up first where it is full", words=tuple(EvictionPolicy)
    )
    max_tokens: int = number(
        0, "tokens that the layers hold together at most; 0: not limited", unit="tokens"
    )
    max_bytes: int = number(
        0, "bytes that the layers hold together at most; 0: not limited", unit="bytes"
    )
    ghost_entries: int = number(
        1000,
        "keys that left the cache of which it is remembered how often they were read",
        unit="keys",
    )
    cold_store: str = choice(
        "memory", "where the cache is kept over a restart, if at all", words=("memory", "sqlite")
    )
    cold_path: str = text(
        "prefetch-cache.sqlite",
        "the file of cold_store sqlite; relative to the folder of the configuration file",
    )
    cold_max_bytes: int = number(
        256 << 20, "content that the file of cold_store sqlite holds at most", unit="bytes"
    )
    watch: bool = switch(
        False, "watch the folders of cached files, to reload what changes before it is read"
    )


@frozen(kw_only=True)
class MetricRules:
    """Targets and alert thresholds of the specification."""

    hit_rate_target: float = number(0.7, "the hit rate to stay above", unit="fraction", high=1)
    hit_rate_alert: float = number(
        0.5, "a hit rate below it raises an alert", unit="fraction", high=1
    )
    accuracy_target: float = number(
        0.6, "the prefetch accuracy to stay above", unit="fraction", high=1
    )
    accuracy_alert: float = number(
        0.4, "an accuracy below it raises an alert", unit="fraction", high=1
    )
    wasted_alert: float = number(
        0.2, "alert where wasted tokens exceed this share of the budget", unit="fraction", high=1
    )
    list_limit: int = number(100, "entries kept in each list of the report", unit="entries")


@frozen(kw_only=True)
class Prefill:
    """What is loaded at a trigger, before any prediction (decision D33)."""

    session_start: tuple[str, ...] = key_list("keys loaded when a session starts")
    project_switch: Mapping[str, tuple[str, ...]] = key_lists(
        "project -> keys loaded on a switch to it"
    )
    user_login: Mapping[str, tuple[str, ...]] = key_lists("user -> keys loaded when they log in")
    learned: int = number(
        5, "keys most used in earlier sessions of the project or user, loaded too", unit="keys"
    )


@frozen(kw_only=True)
class Recording:
    """How sessions are recorded, where the host asks for it."""

    hash_keys: bool = switch(
        False, "write hashes in place of the names of keys, sessions, projects and contexts"
    )
    max_file_mb: float = number(
        64.0, "a recording that would grow beyond it is set aside", unit="megabytes", low=0.001
    )
    files_kept: int = number(
        4, "files of a recording, those set aside among them", unit="files", low=1, high=1000
    )


SOCKET_WORDS = ("off", "auto")
"""Values of `monitor.socket` that are no path."""


@frozen(kw_only=True)
class MonitorRules:
    """Whether other programs of the same user may look at the engine."""

    socket: str = text(
        "off",
        "where `prefetch-scheduler top` finds the engine: off (nowhere), auto (in the user's folder"
        " of such sockets), or the path of a socket, relative to the configuration's folder",
    )


@frozen(kw_only=True)
class Config:
    """The effective configuration of one engine.

    Raises:
        ConfigError: a value is of the wrong type, out of range, or contradicts another; names all.
    """

    max_immediate_time_ms: float = number(
        100, "P0 and P1: the caller's wait and the claim to a slot", unit="milliseconds"
    )
    max_eager_time_ms: float = number(500, "P2: a load's claim to its slot", unit="milliseconds")
    background_start_delay_ms: float = number(
        50, "background loads start this long after the plan", unit="milliseconds"
    )
    time_budget_ms: float = number(
        2000, "time budget of a plan that names none", unit="milliseconds"
    )
    max_prefetch_tokens: int = number(
        10000, "token budget of a plan that names none", unit="tokens"
    )
    max_concurrent_fetches: int = number(
        8,
        "slots of prefetching; a load past its lane's time runs on without one",
        unit="loads",
        low=1,
    )
    max_background_queue: int = number(20, "background items waiting in the planner", unit="items")
    hot_cache_size: int = number(20, "entries in hot", unit="items", low=1)
    warm_cache_size: int = number(50, "entries in warm", unit="items", low=1)
    cold_cache_size: int = number(100, "entries in cold", unit="items", low=1)
    min_confidence_for_prefetch: float = number(
        0.5, "a prediction below it is deferred", unit="probability", high=1
    )
    min_confidence_for_immediate: float = number(
        0.8, "below it P0 and P1 become P2, unless P0 by role", unit="probability", high=1
    )
    enable_batch_fetching: bool = switch(True, "use a source's load_many")
    enable_speculative_prefetch: bool = switch(True, "load by prediction at all")
    cancel_on_context_change: bool = switch(
        True, "a context change cancels what it no longer predicts"
    )

    priorities: Priorities = field(
        factory=Priorities, metadata=group(Priorities, "how priority and value are worked out")
    )
    execution: Execution = field(factory=Execution, metadata=group(Execution, "how loads are run"))
    speculation: Speculation = field(
        factory=Speculation,
        metadata=group(Speculation, "how the default policy weighs what to load ahead"),
    )
    cache: CacheRules = field(
        factory=CacheRules, metadata=group(CacheRules, "how long the cache's layers hold entries")
    )
    metrics: MetricRules = field(
        factory=MetricRules,
        metadata=group(MetricRules, "targets, alert thresholds and lengths of the report"),
    )
    pins: tuple[str, ...] = key_list(
        "keys loaded at session start and never evicted", most=MAX_PINS
    )
    prefill: Prefill = field(
        factory=Prefill,
        metadata=group(Prefill, "what is loaded at a trigger, before any prediction"),
    )
    recording: Recording = field(
        factory=Recording, metadata=group(Recording, "how sessions are recorded, if they are")
    )
    monitor: MonitorRules = field(
        factory=MonitorRules,
        metadata=group(MonitorRules, "whether other programs of the same user may look on"),
    )

    @property
    def reserved_slots(self) -> int:
        """Prefetch slots that only P0 and P1 may take: one at least is left for the others."""
        return min(self.execution.immediate_reserved, self.max_concurrent_fetches - 1)

    @property
    def background_tokens(self) -> int:
        """Background tokens of one plan, within its budget."""
        limit = self.execution.max_background_tokens
        return self.max_prefetch_tokens // 2 if limit is None else limit

    def __attrs_post_init__(self) -> None:
        faults = [f"{'.'.join(path)}: {fault}" for path, fault in config_faults(self)]
        if faults:
            raise ConfigError(faults)


_ORDERED: tuple[tuple[Path, Path], ...] = (
    (("min_confidence_for_prefetch",), ("min_confidence_for_immediate",)),
    (("priorities", "low_confidence"), ("priorities", "high_confidence")),
    (("execution", "unavailable_min_s"), ("execution", "unavailable_max_s")),
    (("metrics", "hit_rate_alert"), ("metrics", "hit_rate_target")),
    (("metrics", "accuracy_alert"), ("metrics", "accuracy_target")),
)
"""Pairs of which the first must not exceed the second."""


def config_faults(config: Config) -> Iterator[Fault]:
    """What is wrong with a configuration: each value by its rule, then values that contradict."""
    faulty: set[Path] = set()
    values: dict[Path, object] = {}
    for path, attribute, value in leaves(config):
        if "group" in attribute.metadata:
            expected = attribute.metadata["group"].__name__
            faults = [(path, f"{shown(value)} is not the group {expected}")]
        else:
            faults = list(value_faults(attribute.metadata["rule"], value, path))
        yield from faults
        if faults:
            faulty.add(path)
        values[path] = value
    for path, _, fault in contradictions({p: v for p, v in values.items() if p not in faulty}):
        yield path, fault


def leaves(config: Config) -> Iterator[tuple[Path, "attrs.Attribute[Any]", Any]]:
    """`(path, field, value)` of every key, those within groups too, in the order of declaration.

    A group whose value is not of its class is given as it is: there is nothing within it to give.
    """
    for attribute in attrs.fields(Config):
        value = getattr(config, attribute.name)
        inner = attribute.metadata.get("group")
        if inner is None or not isinstance(value, inner):
            yield (attribute.name,), attribute, value
            continue
        for part in attrs.fields(inner):
            yield (attribute.name, part.name), part, getattr(value, part.name)


def contradictions(values: Mapping[Path, Any]) -> Iterator[tuple[Path, Path, str]]:
    """`(path to mend, path it contradicts, fault)` of values that are allowed, but not together.

    Args:
        values: the value at each path; pairs of which one is missing are not compared.
    """
    for low, high in _ORDERED:
        if low not in values or high not in values:
            continue
        lower, upper = values[low], values[high]
        if lower > upper:
            yield low, high, f"{lower:g} must not exceed {'.'.join(high)} ({upper:g})"


def ordered_keys() -> Iterator[str]:
    """The rule of each pair of keys that must agree, as a sentence."""
    for low, high in _ORDERED:
        yield f"`{'.'.join(low)}` must not exceed `{'.'.join(high)}`."


def base_priority(config: Config, role: str) -> Priority:
    """The role's priority before modifiers (decision D7)."""
    return Priority(int(config.priorities.base[role]))
