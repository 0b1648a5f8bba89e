"""The names that hosts import: complete, sorted, documented, and those of the contract."""

import ast
import importlib
import inspect
import types
from typing import Any

import pytest

from prefetch_scheduler import engine
from prefetch_scheduler.actors import messages
from prefetch_scheduler.engine import PrefetchEngine, Session, hosts, predictor, sources

CONTRACT = {
    # the API
    "PrefetchEngine",
    "Config",
    "Prediction",
    "Constraints",
    "Content",
    "Source",
    "FileSource",
    "SkillSource",
    "CallableSource",
    "CancelToken",
    "PlanHandle",
    "Report",
    # events
    "SessionStarted",
    "SessionEnded",
    "ProjectSwitched",
    "UserLoggedIn",
    "ContextChanged",
    "FileChanged",
    "SkillUpdated",
    "HostBusy",
    "HostIdle",
    # errors
    "PrefetchError",
    "ConfigError",
    "InvalidPrediction",
    "UnknownKind",
    "ResourceUnavailable",
    "LoadTimeout",
    "EngineStopped",
    "EngineFailed",
}

BOTH = {
    "submit",
    "get",
    "aget",
    "peek",
    "get_many",
    "aget_many",
    "put",
    "invalidate",
    "pin",
    "unpin",
    "trigger",
    "report",
}
"""What an engine, for its default session, and every other session can do."""

ENGINE_ONLY = {
    "start",
    "stop",
    "astart",
    "astop",
    "session",
    "subscribe",
    "explain",
    "health",
    "actors",
    "prefetchable",
}


def public(module: types.ModuleType) -> set[str]:
    """The names that a module defines or imports for others: no underscore, and no module."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }


def test_the_engines_names_are_sorted_and_complete():
    assert list(engine.__all__) == sorted(engine.__all__)
    assert len(set(engine.__all__)) == len(engine.__all__)
    assert dir(engine) == engine.__all__


@pytest.mark.parametrize("package", [engine, sources])
def test_a_packages_names_are_those_that_type_checkers_see(package: types.ModuleType):
    tree = ast.parse(inspect.getsource(package))
    [branch] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(seen) == set(package.__all__)
    for name, module in seen.items():
        assert getattr(package, name) is getattr(importlib.import_module(module), name)


def test_an_unknown_name_is_an_attribute_error_that_names_the_package():
    with pytest.raises(AttributeError, match=r"engine' has no attribute 'X'"):
        _ = engine.X
    with pytest.raises(ImportError):
        from prefetch_scheduler.engine import X  # noqa: F401 - it is not there


@pytest.mark.parametrize("module", [hosts, predictor])
def test_the_names_of_a_package_for_hosts_are_sorted_and_documented(module: types.ModuleType):
    assert list(module.__all__) == sorted(module.__all__)
    assert set(module.__all__) == public(module)
    for name in module.__all__:
        assert vars(getattr(module, name))["__doc__"]
        methods = [v for n, v in vars(getattr(module, name)).items() if not n.startswith("_")]
        assert [m for m in methods if inspect.isfunction(m) and not inspect.getdoc(m)] == []


def test_the_contracts_names_are_there():
    assert set(engine.__all__) >= CONTRACT


def test_every_error_of_the_contract_is_a_prefetch_error():
    errors = {name for name in CONTRACT if inspect.isclass(getattr(engine, name))} & {
        name for name in engine.__all__ if _is_error(getattr(engine, name))
    }
    assert len(errors) == 8
    assert all(issubclass(getattr(engine, name), engine.PrefetchError) for name in errors)


def _is_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, BaseException)


def test_the_messages_names_are_sorted_and_complete():
    # Constants stand before classes, as ruff's RUF022 sorts them.
    constants = [name for name in messages.__all__ if name.isupper()]
    others = [name for name in messages.__all__ if not name.isupper()]
    assert list(messages.__all__) == [*sorted(constants), *sorted(others)]
    assert set(messages.__all__) == public(messages) - {"field", "frozen", "Pool"}


MESSAGES = [value for name in messages.__all__ if inspect.isclass(value := getattr(messages, name))]


@pytest.mark.parametrize("cls", MESSAGES)
def test_every_message_has_a_docstring(cls: type):
    assert vars(cls).get("__doc__")


def test_every_message_is_immutable():
    assert len(MESSAGES) > 30
    for cls in MESSAGES:
        assert "__attrs_attrs__" in vars(cls), cls
        instance = object.__new__(cls)
        with pytest.raises(AttributeError):
            instance.anything = 1


@pytest.mark.parametrize("name", sorted(engine.__all__))
def test_every_public_name_has_a_docstring(name: str):
    value = getattr(engine, name)
    if isinstance(value, types.UnionType):
        return
    doc = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert doc, f"{name} has no docstring"
    assert not doc.startswith(f"{name}("), f"{name} has only the docstring that a tool made"
    assert not doc.startswith("Method generated by attrs")


@pytest.mark.parametrize("cls", [PrefetchEngine, Session, engine.PlanHandle, engine.Report])
def test_every_public_method_has_a_docstring(cls: type):
    without = [
        name
        for name, value in vars(cls).items()
        if not name.startswith("_")
        and (callable(value) or isinstance(value, property))
        and not inspect.getdoc(value)
    ]
    assert without == []


def test_an_engine_and_a_session_have_the_contracts_methods():
    assert {name for name in BOTH if not hasattr(PrefetchEngine, name)} == set()
    assert {name for name in BOTH if not hasattr(Session, name)} == set()
    assert {name for name in ENGINE_ONLY if not hasattr(PrefetchEngine, name)} == set()


@pytest.mark.parametrize("name", sorted(BOTH))
def test_an_engines_method_takes_what_a_sessions_takes(name: str):
    ours = inspect.signature(getattr(PrefetchEngine, name))
    theirs = inspect.signature(getattr(Session, name))
    assert str(ours) == str(theirs)


SIGNATURES = {
    "PrefetchEngine": {"config": None, "sources": (), "record": None},
    "Constraints": {
        "token_budget": None,
        "time_budget_ms": None,
        "urgency": "medium",
        "priority_override": None,
        "mode": "standard",
        "limits": None,
    },
    "Prediction": {"tokens": None, "load_s": None, "value": None, "reason": ""},
    "Content": {"tokens": None, "version": None, "media_type": None, "max_age_s": None},
    "CallableSource": {
        "remote": False,
        "private": False,
        "tokens": None,
        "load_s": None,
        "version": None,
        "max_concurrency": None,
        "load_timeout_s": None,
    },
}
REQUIRED = {
    "PrefetchEngine": [],
    "Constraints": [],
    "Prediction": ["key", "role", "confidence"],
    "Content": ["value"],
    "CallableSource": ["kind", "load", "read_only"],
}


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_the_contracts_arguments_have_its_defaults(name: str):
    parameters = inspect.signature(getattr(engine, name)).parameters
    required = [p.name for p in parameters.values() if p.default is p.empty]
    assert required == REQUIRED[name]
    for argument, default in SIGNATURES[name].items():
        assert parameters[argument].default == default, argument
