"""What each of the three floors may import, read from the code itself."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "prefetch_scheduler"

PURE = frozenset(
    {
        "bisect",
        "collections",
        "collections.abc",
        "enum",
        "functools",
        "heapq",
        "itertools",
        "math",
        "posixpath",
        "re",
        "reprlib",
        "typing",
        "zlib",
    }
)
"""The standard library's parts that see no clock, thread, file, network or chance."""

OUTSIDE = frozenset(
    {
        "argparse",
        "ctypes",
        "fnmatch",
        "glob",
        "http",
        "io",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "select",
        "shutil",
        "signal",
        "socket",
        "ssl",
        "stat",
        "subprocess",
        "tempfile",
        "urllib",
    }
)
"""What the actors leave to the floor above them: files, processes, network, chance, terminals."""

EVERYWHERE_FORBIDDEN = frozenset({"pickle", "marshal", "shelve", "imp"})

FLOORS = ("policies", "actors", "engine")
"""From the bottom up: a floor imports itself and those before it."""

THIRD_PARTY = {
    "policies": {"attrs", "sortedcontainers"},
    "actors": {"attrs", "sortedcontainers", "pykka"},
    "engine": {"attrs", "sortedcontainers", "pykka", "yaml", "cattrs"},
}

EXTRAS = {
    "engine/hosts/langchain_library.py": {"langchain", "langchain_core"},
    "engine/hosts/openai_agents_library.py": {"agents"},
    "engine/hosts/pydantic_ai_library.py": {"pydantic_ai"},
    "engine/cli/top_command.py": {"rich"},
    "engine/cli/top_rich.py": {"rich"},
    "engine/sources/http_library.py": {"httpx2"},
    "engine/sources/mcp_library.py": {"anyio", "mcp", "mcp_types"},
    "engine/observability/prometheus.py": {"prometheus_client"},
    "engine/observability/otel.py": {"opentelemetry"},
    "engine/watching.py": {"watchdog"},
}
"""Packages of extras, and the modules, imported only where they are used, that may import them."""


def modules(floor: str) -> list[Path]:
    return sorted((ROOT / floor).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """`(line, module)` of every import, wherever it stands; a relative one begins with a dot."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield node.lineno, alias.name
            case ast.ImportFrom(module=module, level=level):
                yield node.lineno, "." * level + (module or "")


def faults(floor: str, path: Path) -> Iterator[str]:
    below = FLOORS[: FLOORS.index(floor) + 1]
    for line, name in imports(path):
        where = f"{path.relative_to(ROOT)}:{line}: {floor} may not import {name}"
        top, *rest = name.split(".")
        if not top:
            yield f"{where}: imports are absolute"
        elif top == PACKAGE:
            if not rest or rest[0] not in below:
                yield where
        elif top in sys.stdlib_module_names:
            if (
                (floor == "policies" and name not in PURE)
                or (floor == "actors" and top in OUTSIDE)
                or top in EVERYWHERE_FORBIDDEN
            ):
                yield where
        elif top not in THIRD_PARTY[floor] | EXTRAS.get(path.relative_to(ROOT).as_posix(), set()):
            yield where


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_imports_only_what_it_may(floor: str):
    assert len(modules(floor)) > 10  # else the walk looked in the wrong place
    assert [fault for path in modules(floor) for fault in faults(floor, path)] == []


@pytest.mark.parametrize(
    ("floor", "line"),
    [
        ("policies", "import time"),
        ("policies", "from threading import Lock"),
        ("policies", "import logging"),
        ("policies", "import os.path"),
        ("policies", "from random import random"),
        ("policies", "import asyncio"),
        ("policies", "import pykka"),
        ("policies", "from prefetch_scheduler.actors.address import Address"),
        ("policies", "from . import keys"),
        ("policies", "from .keys import kind_of"),
        ("policies", "import prefetch_scheduler"),
        ("actors", "from prefetch_scheduler.engine import Config"),
        ("actors", "import yaml"),
        ("actors", "from pathlib import Path"),
        ("actors", "import socket"),
        ("engine", "import pickle"),
        ("engine", "import requests"),
        ("engine", "from tests.support import virtual"),
        ("engine", "from .facade import PrefetchEngine"),
    ],
)
def test_the_walk_finds_what_is_forbidden(floor: str, line: str, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "module.py"
    path.write_text(f"def inside():\n    {line}\n")
    assert len(list(faults(floor, path))) == 1


def test_policies_use_no_clock_or_file_by_a_builtin():
    """`open`, `print`, `input` and dynamic imports need no import to do what a policy must not."""
    forbidden = {"open", "print", "input", "__import__", "eval", "exec", "breakpoint"}
    calls = [
        f"{path.name}:{node.lineno}: {node.func.id}"
        for path in modules("policies")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in forbidden
    ]
    assert calls == []


def test_classes_are_made_by_the_decorators_that_make_them_cheaply():
    """Those of `policies.values`: attrs' own take longer while the package is imported."""
    own = ROOT / "policies" / "values.py"
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for floor in FLOORS
        for path in modules(floor)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        and node.module == "attrs"
        and {"define", "frozen", "mutable"} & {alias.name for alias in node.names}
        and path != own
    ]
    assert found == []


@pytest.mark.parametrize("floor", FLOORS)
def test_every_floor_is_typed_for_those_who_import_it(floor: str):
    assert (ROOT / floor / "py.typed").is_file()
    assert (ROOT / floor / "__init__.py").is_file()


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("sources.http", "httpx2", "http"),
        ("sources.mcp", "mcp", "mcp"),
        ("observability.prometheus", "prometheus_client", "prometheus"),
        ("observability.otel", "opentelemetry", "otel"),
        ("hosts.langchain", "langchain", "langchain"),
        ("hosts.openai_agents", "agents", "openai-agents"),
        ("hosts.pydantic_ai", "pydantic_ai", "pydantic-ai"),
    ],
)
def test_a_missing_package_is_an_error_that_names_its_extra(module: str, package: str, extra: str):
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        f"try: import {PACKAGE}.engine.{module}\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=True)
    assert f"pip install 'prefetch-scheduler[{extra}]'" in done.stdout


def imported_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has imported once it has run `code`."""
    run = (sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)")
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_engine_imports_no_extra():
    packages = {name for names in EXTRAS.values() for name in names}
    every_name = f"from {PACKAGE}.engine import *\nwith PrefetchEngine(): pass"
    assert imported_by(every_name) & packages == set()


def test_importing_the_package_imports_nothing_that_is_not_asked_for():
    before, after = imported_by("import logging"), imported_by(f"import logging, {PACKAGE}.engine")
    ours = {name for name in after - before if name.startswith(f"{PACKAGE}.")}
    assert ours == {f"{PACKAGE}.engine", f"{PACKAGE}.engine.lazy"}
    assert after & (THIRD_PARTY["engine"] | {"asyncio", "sqlite3"}) == set()


def test_an_engine_that_neither_records_nor_keeps_its_cache_imports_no_code_for_it():
    modules = imported_by(f"from {PACKAGE}.engine import PrefetchEngine\nPrefetchEngine()")
    parts = ("recorder", "cold_store", "watching", "cli", "simulation", "sources.skills")
    assert modules & {"sqlite3", "gzip", *(f"{PACKAGE}.engine.{part}" for part in parts)} == set()


@pytest.mark.parametrize("adapter", ["langchain", "openai_agents", "pydantic_ai"])
def test_an_adapter_of_a_framework_is_thin(adapter: str):
    assert len((ROOT / "engine" / "hosts" / f"{adapter}.py").read_text("utf-8").splitlines()) < 150
