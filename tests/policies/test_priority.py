"""Priority of an item: base by role, modifiers, decision D5, override (D5 to D7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.config import Config, Priorities
from prefetch_scheduler.policies.prediction import Terms
from prefetch_scheduler.policies.priority import priority_of
from prefetch_scheduler.policies.vocabulary import Priority, Role, Urgency

P0, P1, P2, P3, P4 = Priority
DEFAULTS = Config()
PLAIN = 0.85
"""A confidence that changes nothing."""


def rated(
    role: Role,
    confidence: float = PLAIN,
    terms: Terms | None = None,
    config: Config = DEFAULTS,
    *,
    recent: bool = False,
    frequent: bool = False,
) -> tuple[Priority, tuple[str, ...]]:
    return priority_of(
        role,
        confidence,
        terms or Terms(),
        config,
        key="file:a.py",
        recent=recent,
        frequent=frequent,
    )


@pytest.mark.parametrize(
    ("roles", "priority"),
    [
        ((Role.MASTER_FILE, Role.SESSION_STATE, Role.ACTIVE_FILE), P0),
        ((Role.PRIMARY_SKILL, Role.MAIN_FILE, Role.ERROR_CONTEXT), P1),
        ((Role.SECONDARY_SKILL, Role.RELATED_FILE, Role.TEST_FILE, Role.BEHAVIOR), P2),
        ((Role.DOCUMENTATION, Role.HISTORICAL_CASE, Role.EXTENDED_CONTEXT), P3),
        ((Role.DEPENDENCY_GRAPH, Role.LARGE_REFERENCE, Role.HISTORICAL_ANALYTICS), P4),
    ],
)
def test_each_role_has_the_base_that_the_decisions_give_it(
    roles: tuple[Role, ...], priority: Priority
) -> None:
    assert [rated(role)[0] for role in roles] == [priority] * len(roles)


@pytest.mark.parametrize(
    ("role", "confidence", "priority"),
    [
        (Role.PRIMARY_SKILL, 0.92, P0),
        (Role.MAIN_FILE, 0.88, P1),
        (Role.RELATED_FILE, 0.72, P2),
        (Role.TEST_FILE, 0.80, P2),
        (Role.SECONDARY_SKILL, 0.65, P2),
        (Role.SECONDARY_SKILL, 0.55, P3),
    ],
)
def test_the_example_of_the_neighbours_formats_gets_its_priorities(
    role: Role, confidence: float, priority: Priority
) -> None:
    assert rated(role, confidence)[0] is priority


def test_the_confidence_thresholds_are_strict() -> None:
    assert rated(Role.TEST_FILE, 0.9)[0] is P2
    assert rated(Role.TEST_FILE, 0.901)[0] is P1
    assert rated(Role.TEST_FILE, 0.6)[0] is P2
    assert rated(Role.TEST_FILE, 0.599)[0] is P3


@pytest.mark.parametrize(
    ("urgency", "priority"),
    [(Urgency.CRITICAL, P1), (Urgency.HIGH, P2), (Urgency.MEDIUM, P2), (Urgency.LOW, P3)],
)
def test_urgency_moves_the_priority_a_step(urgency: Urgency, priority: Priority) -> None:
    assert rated(Role.TEST_FILE, terms=Terms(urgency=urgency))[0] is priority


def test_recent_and_frequent_use_are_a_step_each() -> None:
    assert rated(Role.DOCUMENTATION, recent=True)[0] is P2
    assert rated(Role.DOCUMENTATION, frequent=True)[0] is P2
    assert rated(Role.DOCUMENTATION, recent=True, frequent=True)[0] is P1


def test_modifiers_are_summed_before_they_are_clamped() -> None:
    terms = Terms(urgency=Urgency.LOW)
    # 0 - 1 - 1 + 1 is -1, clamped to P0; clamping after each step would have given P1.
    assert rated(Role.ACTIVE_FILE, 0.95, terms, recent=True)[0] is P0
    assert rated(Role.LARGE_REFERENCE, 0.5, terms, recent=True)[0] is P4


def test_an_uncertain_item_is_not_loaded_at_once() -> None:
    assert rated(Role.MAIN_FILE, 0.79)[0] is P2
    assert rated(Role.MAIN_FILE, 0.80)[0] is P1
    assert rated(Role.TEST_FILE, 0.7, recent=True, frequent=True)[0] is P2


def test_what_is_p0_by_role_is_loaded_at_once_however_uncertain() -> None:
    assert rated(Role.ACTIVE_FILE, 0.7)[0] is P0
    assert rated(Role.ACTIVE_FILE, 0.55)[0] is P1


def test_one_override_replaces_every_result() -> None:
    terms = Terms(urgency=Urgency.CRITICAL, override_all=P3)
    assert {rated(role, 0.95, terms)[0] for role in Role} == {P3}


def test_an_override_may_lift_what_is_uncertain() -> None:
    assert rated(Role.MAIN_FILE, 0.6, Terms(override={"file:a.py": P0}))[0] is P0


def test_an_override_by_key_leaves_other_keys_alone() -> None:
    assert rated(Role.MAIN_FILE, terms=Terms(override={"file:b.py": P4}))[0] is P1


def test_the_steps_tell_people_how_the_priority_came_about() -> None:
    assert rated(Role.PRIMARY_SKILL, 0.92)[1] == (
        "base P1 (primary_skill)",
        "confidence 0.92 > 0.9: -1",
    )
    terms = Terms(urgency=Urgency.LOW, override_all=P0)
    assert rated(Role.MAIN_FILE, 0.55, terms, recent=True, frequent=True)[1] == (
        "base P1 (main_file)",
        "urgency low: +1",
        "confidence 0.55 < 0.6: +1",
        "read in the last 300 s: -1",
        "used more than 5 times today: -1",
        "confidence 0.55 < 0.8: not immediate, P2",
        "priority_override: P0",
    )


def test_bases_and_shifts_are_configurable() -> None:
    config = Config(priorities=Priorities(base={"documentation": 1}, urgency={"high": -2}))
    assert rated(Role.DOCUMENTATION, config=config)[0] is P1
    assert rated(Role.BEHAVIOR, 0.85, Terms(urgency=Urgency.HIGH), config)[0] is P0


@given(
    role=st.sampled_from(Role),
    confidence=st.floats(0, 1),
    higher=st.floats(0, 1),
    urgency=st.sampled_from(Urgency),
    recent=st.booleans(),
    frequent=st.booleans(),
)
def test_more_confidence_never_makes_an_item_less_urgent(
    role: Role, confidence: float, higher: float, urgency: Urgency, recent: bool, frequent: bool
) -> None:
    low, high = sorted((confidence, higher))
    terms = Terms(urgency=urgency)
    less, _ = rated(role, low, terms, recent=recent, frequent=frequent)
    more, _ = rated(role, high, terms, recent=recent, frequent=frequent)
    assert more <= less
