"""What the library takes before it does anything: `python -m benchmarks.footprint`.

Import time: fresh interpreters import the package, and in turn its core dependencies alone, and
all its public names; an empty interpreter's own start is subtracted from each. It is processor
time, which the machine's other work disturbs less than the clock's. Everything is compiled before,
as an installer does it, whatever the environment says of bytecode. Memory: the resident set of a
fresh process before and after, garbage collected. Bias: bytecode and files are in the page cache
after a first, discarded run; a cold disk costs more. Needs a Unix; the resident set needs Linux,
and is left out elsewhere.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Figure, figure, finish, parser

PACKAGE = "import prefetch_scheduler.engine"
PREDICTION = "from prefetch_scheduler.engine import Prediction"
EVERY_NAME = "from prefetch_scheduler.engine import *"
DEPENDENCIES = "import attrs, cattrs, pykka, sortedcontainers, yaml"
SESSIONS = 1000

RESIDENT = """
import gc, os, threading
def resident():
    gc.collect()
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
"""
MEMORY = f"""{RESIDENT}
from prefetch_scheduler.engine import CallableSource, Prediction, PrefetchEngine
imported = resident()
source = CallableSource("k", lambda name: name * 10, read_only=True)
with PrefetchEngine(sources=[source]) as engine:
    engine.get("k:one")
    idle, threads = resident(), threading.active_count()
    sessions = [engine.session(f"s{{n}}", f"p{{n}}", f"u{{n}}") for n in range({SESSIONS})]
    for n, session in enumerate(sessions):
        session.submit([Prediction(f"k:{{n}}", "main_file", 0.9)], context="turn")
        session.get(f"k:{{n}}")
    engine.total_report()
    print(idle - imported, threads, (resident() - idle) / {SESSIONS})
"""


def python(code: str, bytecode: str | None = None) -> str:
    """Run code in a fresh interpreter; what it prints.

    Args:
        bytecode: the folder where it keeps the bytecode of all modules; None: where it is used to.
    """
    environment = dict(os.environ)
    if bytecode is not None:
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = bytecode
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, check=True, capture_output=True, text=True, env=environment)
    return done.stdout


def processor_time(code: str, bytecode: str) -> float:
    """Milliseconds of processor time of a fresh interpreter that runs `code`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    python(code, bytecode)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000


def imports(repeat: int) -> list[Figure]:
    codes = ("pass", DEPENDENCIES, PACKAGE, PREDICTION, EVERY_NAME)
    rows: list[list[float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repeat + 1):
            bare, *rest = (processor_time(code, folder) for code in codes)
            if number:  # the first reads the files from the disk, and writes their bytecode
                rows.append([whole - bare for whole in rest])
    dependencies, package, prediction, names = (list(column) for column in zip(*rows, strict=True))

    def ratios(times: list[float]) -> list[float]:
        return [ours / theirs for ours, theirs in zip(times, dependencies, strict=True)]

    return [
        figure("import of the core dependencies alone", dependencies, "ms"),
        figure("import of the package", package, "ms"),
        figure("import of every public name", names, "ms"),
        figure("import: the package by its dependencies", ratios(package), "x", 1.3),
        figure("import: `Prediction` by the dependencies", ratios(prediction), "x", 1.3),
        figure("import: every public name by them", ratios(names), "x"),
    ]


def memory(repeat: int) -> list[Figure]:
    if not Path("/proc/self/statm").exists():
        return []
    rows = [[float(part) for part in python(MEMORY).split()] for _ in range(repeat)]
    idle, threads, session = (list(column) for column in zip(*rows, strict=True))
    return [
        figure("memory of an idle engine", _mib(idle), "MiB", 8.0),
        figure("threads of an idle engine", threads, "", 16.0),
        figure(f"memory of a session, of {SESSIONS:,}", [s / 1024 for s in session], "KiB", 16.0),
    ]


def _mib(sizes: Sequence[float]) -> list[float]:
    return [size / 2**20 for size in sizes]


def main() -> int:
    """Measure everything; the exit code is 1 where a goal is missed."""
    options = parser(__doc__).parse_args()
    figures = imports(3 if options.quick else 9) + memory(1 if options.quick else 5)
    return finish("footprint", figures, options)


if __name__ == "__main__":
    sys.exit(main())
