"""Finds the benchmarks of a folder and runs each in a process of its own."""

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

FOLDER = Path(__file__).parent
TOOLS = frozenset({"__init__", "__main__"})


@frozen
class Benchmark:
    """A module that measures. `long`: it takes hours, and is run only where it is named."""

    name: str
    about: str
    long: bool


def found(folder: Path = FOLDER) -> list[Benchmark]:
    """The modules of a folder that have a `main` and report by `finish`, by name.

    They are read, not imported: one whose peers are not installed is found all the same.
    """
    benchmarks = []
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        if path.stem not in TOOLS and _has_main(tree) and _reports(tree):
            about = (ast.get_docstring(tree) or "").partition("\n")[0]
            benchmarks.append(Benchmark(path.stem, about, _says_long(tree)))
    return benchmarks


def _has_main(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


def _reports(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.ImportFrom) and any(alias.name == "finish" for alias in node.names)
        for node in tree.body
    )


def _says_long(tree: ast.Module) -> bool:
    """Whether the module says `LONG = True` at its top."""
    return any(
        isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == "LONG"
        and ast.literal_eval(node.value) is True
        for node in tree.body
    )


def run(name: str, output: Path, *, quick: bool = False, folder: Path = FOLDER) -> str | None:
    """Run one benchmark in a fresh process; what it prints goes where this process prints.

    Args:
        name: as in `found`.
        output: the file of its result.

    Returns:
        What went wrong; None: it measured, whether or not it met its goals.
    """
    before = _stamp(output)
    command = [sys.executable, "-m", f"{folder.name}.{name}", "--output", str(output)]
    done = subprocess.run(
        [*command, *(["--quick"] if quick else [])], cwd=folder.parent, check=False
    )
    if _stamp(output) == before:
        return f"{name}: wrote no result, exit code {done.returncode}"
    if done.returncode not in (0, 1):
        return f"{name}: exit code {done.returncode}"
    return None


def _stamp(path: Path) -> tuple[int, int] | None:
    """Changes whenever the file is written."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino


def chosen(benchmarks: Sequence[Benchmark], only: Sequence[str]) -> list[str]:
    """The names to run: those asked for, or all that are not long.

    Raises:
        ValueError: names that are not there, and those that are.
    """
    names = [benchmark.name for benchmark in benchmarks]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise ValueError(f"no benchmark {', '.join(unknown)}; there are {', '.join(names)}")
    return [b.name for b in benchmarks if b.name in only or (not only and not b.long)]
