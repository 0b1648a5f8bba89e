"""The command line's frame: usage, exit codes, error lines, logging, and the config command."""

import argparse
import json
import logging
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from enum import IntEnum
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from prefetch_scheduler.engine.cli import config_command
from prefetch_scheduler.engine.cli.main import COMMANDS, exit_code, main, parser
from prefetch_scheduler.engine.cli.output import write_json
from prefetch_scheduler.engine.config_file import load_config
from prefetch_scheduler.engine.config_schema import json_schema
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.errors import (
    ConfigError,
    EngineFailed,
    EngineStopped,
    InvalidPrediction,
    LoadTimeout,
    PrefetchError,
    ResourceUnavailable,
    UnknownKind,
)

REPOSITORY = Path(__file__).parents[2]

Captured = pytest.CaptureFixture[str]
Run = Callable[[argparse.Namespace], int]


@pytest.fixture
def working_as(monkeypatch: pytest.MonkeyPatch) -> Callable[[Run], None]:
    """Makes the config command do something else, to see what the frame makes of it."""

    def replace(run: Run) -> None:
        monkeypatch.setattr(config_command, "run", run)

    return replace


def raising(error: BaseException) -> Run:
    def run(args: argparse.Namespace) -> int:
        raise error

    return run


def test_the_version_is_the_distributions(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"prefetch-scheduler {version('prefetch-scheduler')}\n"


def test_help_lists_the_commands(capsys: Captured) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n    {name} " in out for name in ("replay", "plan", "config"))


@pytest.mark.parametrize("command", ["replay", "plan", "config"])
def test_every_command_takes_the_common_options(command: str) -> None:
    given = ["predictions.yaml"] if command == "plan" else []
    args = parser().parse_args([command, *given, "--config", "x.yaml", "--json", "-vv"])
    assert (args.config, args.json, args.verbose) == ("x.yaml", True, 2)
    assert callable(args.run)
    plain = parser().parse_args([command, *given])
    assert (plain.config, plain.json, plain.verbose) == (None, False, 0)


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        (["top", "--once"], {"top"}),
        (["-vv", "explain", "replay:x"], {"explain"}),
        (["--verbose", "config"], {"config"}),
        (["--version"], set()),
    ],
)
def test_only_the_module_of_the_wanted_command_is_imported(
    argv: list[str], wanted: set[str]
) -> None:
    code = (
        "import sys\n"
        "from prefetch_scheduler.engine.cli.main import main\n"
        f"main({[*argv, *(['--help'] if wanted else [])]!r})\n"
        "print(*(name for name in sys.modules if name.endswith('_command')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    last = done.stderr.splitlines()[-1] if done.stderr.strip() else ""
    assert {name.rpartition(".")[2].removesuffix("_command") for name in last.split()} == wanted


@pytest.mark.parametrize("argv", [["--help"], ["-v", "--help"], ["nonsense"]])
def test_help_and_wrong_usage_know_all_commands(argv: list[str], capsys: Captured) -> None:
    main(argv)
    told = "".join(capsys.readouterr())
    assert [name for name in COMMANDS if name not in told] == []


@pytest.mark.parametrize(
    "argv", [[], ["simulat"], ["config", "--nonsense"], ["config", "--sch"], ["config", "extra"]]
)
def test_wrong_usage_ends_with_2_and_says_so(argv: list[str], capsys: Captured) -> None:
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: " in captured.err


def test_config_prints_yaml_that_loads_back(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("hot_cache_size: 7\npins: ['file:\u00e9']\n", encoding="utf-8")
    assert main(["config", "--config", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    path.write_text(captured.out, encoding="utf-8")
    assert load_config(path) == Config(hot_cache_size=7, pins=("file:\u00e9",))


def test_config_as_json_is_one_document_that_loads_back(capsys: Captured) -> None:
    assert main(["config", "--json"]) == 0
    assert load_config(json.loads(capsys.readouterr().out)) == Config()


@pytest.mark.parametrize("argv", [["config", "--schema"], ["config", "--schema", "--json"]])
def test_config_prints_its_schema(argv: list[str], capsys: Captured) -> None:
    assert main(argv) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_faults_of_a_file_are_lines_on_stderr_that_begin_with_their_place(
    tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("hot_cache_size: 0\nenable_batch_fetching: off\n", encoding="utf-8")
    assert main(["config", "--json", "--config", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"{path}:1:17: hot_cache_size: 0 is not a whole number of at least 1 (items)",
        f"{path}:2:24: enable_batch_fetching: 'off' is not true or false; write false",
    ]


def test_a_missing_file_is_bad_input(tmp_path: Path, capsys: Captured) -> None:
    assert main(["config", "--config", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml: the configuration cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (InvalidPrediction("x"), 2),
        (UnknownKind("db", ["file"]), 2),
        (ResourceUnavailable("x"), 1),
        (LoadTimeout("x"), 1),
        (EngineStopped("x"), 1),
        (EngineFailed("x"), 1),
        (PrefetchError("x"), 1),
        (FileNotFoundError(2, "No such file", "x"), 2),
        (PermissionError(13, "Permission denied", "x"), 2),
        (IsADirectoryError(21, "Is a directory", "x"), 2),
        (OSError(28, "No space left on device"), 1),
    ],
)
def test_an_error_has_its_exit_code_and_no_traceback(
    working_as: Callable[[Run], None], capsys: Captured, error: PrefetchError | OSError, code: int
) -> None:
    working_as(raising(error))
    assert exit_code(error) == code
    assert main(["config"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert captured.err.strip()


def test_an_error_of_the_work_is_named_with_the_program(
    working_as: Callable[[Run], None], capsys: Captured
) -> None:
    working_as(raising(EngineFailed("gave up\nafter 3 restarts")))
    main(["config"])
    assert capsys.readouterr().err.splitlines() == [
        "prefetch-scheduler: gave up",
        "prefetch-scheduler: after 3 restarts",
    ]


def test_a_file_error_is_named_with_its_file(
    working_as: Callable[[Run], None], capsys: Captured
) -> None:
    working_as(raising(FileNotFoundError(2, "No such file or directory", "a\x1b.jsonl")))
    main(["config"])
    assert capsys.readouterr().err == "a\\x1b.jsonl: No such file or directory\n"


def test_an_interrupt_ends_with_130(working_as: Callable[[Run], None], capsys: Captured) -> None:
    working_as(raising(KeyboardInterrupt()))
    assert main(["config"]) == 130
    assert capsys.readouterr().err == "prefetch-scheduler: interrupted\n"


def test_a_bug_ends_with_a_line_and_shows_its_place_only_if_asked(
    working_as: Callable[[Run], None], capsys: Captured
) -> None:
    working_as(raising(ZeroDivisionError("by zero")))
    assert main(["config"]) == 1
    err = capsys.readouterr().err
    assert err.splitlines() == [
        "prefetch-scheduler: internal error: ZeroDivisionError: by zero (-v shows where)"
    ]
    assert main(["-v", "config"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "seen"),
    [([], ["w"]), (["-v"], ["w", "i"]), (["-vv"], ["w", "i", "d"]), (["-vvv"], ["w", "i", "d"])],
)
def test_the_log_goes_to_stderr_as_asked(
    working_as: Callable[[Run], None], capsys: Captured, flags: list[str], seen: list[str]
) -> None:
    log = logging.getLogger("prefetch_scheduler.test")

    def run(args: argparse.Namespace) -> int:
        log.warning("w")
        log.info("i")
        log.debug("d")
        return 0

    working_as(run)
    root = logging.getLogger("prefetch_scheduler")
    before = (root.level, list(root.handlers))
    assert main(["config", *flags]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line[-1] for line in captured.err.splitlines()] == seen
    assert (root.level, list(root.handlers)) == before


def test_the_exit_code_of_a_command_is_the_programs(working_as: Callable[[Run], None]) -> None:
    working_as(lambda args: 1)
    assert main(["config"]) == 1


def test_the_script_that_installs_is_the_frame() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert resolve_name(project["scripts"]["prefetch-scheduler"]) is main


def started(*argv: str, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "prefetch_scheduler.engine", *argv]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **options)


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    with started("config", stdout=write) as process:
        os.close(write)
        _, err = process.communicate(timeout=30)
    assert err == b""
    assert process.returncode == 1


@pytest.mark.parametrize("closed", [(1,), (1, 2), (2,)])
def test_a_closed_output_is_told_of_where_that_can_be_done(closed: tuple[int, ...]) -> None:
    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    with started("config", stdout=subprocess.PIPE, preexec_fn=close) as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == (1 if 1 in closed else 0)
    assert bool(out) == (1 not in closed)
    told = b"prefetch-scheduler: standard output is closed; there is nowhere to print the result\n"
    assert err == (told if closed == (1,) else b"")


def test_a_terminal_without_unicode_gets_escapes_that_load_back(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("pins: ['file:\u00e9\U0001f600']\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    with started(
        "config", "--config", str(path), stdout=subprocess.PIPE, env=environment
    ) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    path.write_bytes(out)
    assert load_config(path).pins == ("file:\u00e9\U0001f600",)


class Colour(IntEnum):
    RED = 1


def test_json_holds_only_what_json_knows(capsys: Captured) -> None:
    write_json({"nan": float("nan"), "inf": [float("inf")], "set": {"b", "a"}, "enum": Colour.RED})
    assert json.loads(capsys.readouterr().out) == {
        "nan": None,
        "inf": [None],
        "set": ["a", "b"],
        "enum": 1,
    }


def test_json_refuses_what_is_not_plain_data() -> None:
    with pytest.raises(TypeError):
        write_json({"x": object()})
