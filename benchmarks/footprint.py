"""What the library takes before it does anything: `python -m benchmarks.footprint`.

Import time: fresh interpreters import the engine, and in turn the core dependencies alone; an
empty interpreter's own start is subtracted from both. It is processor time, which the machine's
other work disturbs less than the clock's. Memory: the resident set of a fresh process before and
after, garbage collected. Bias: bytecode and files are in the page cache after a first, discarded
run; a cold disk costs more. Needs a Unix; the resident set needs Linux, and is left out elsewhere.
"""

import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Figure, figure, finish, parser

ENGINE = "import prefetch_scheduler.engine"
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


def python(code: str) -> str:
    """Run code in a fresh interpreter; what it prints."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout


def processor_time(code: str) -> float:
    """Milliseconds of processor time of a fresh interpreter that runs `code`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    python(code)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000


def imports(repeat: int) -> list[Figure]:
    rows: list[tuple[float, ...]] = []
    for number in range(repeat + 1):
        row = tuple(map(processor_time, ("pass", DEPENDENCIES, ENGINE)))
        if number:  # the first reads the files from the disk
            rows.append(row)
    engine = [whole - bare for bare, _, whole in rows]
    dependencies = [theirs - bare for bare, theirs, _ in rows]
    ratios = [ours / theirs for ours, theirs in zip(engine, dependencies, strict=True)]
    return [
        figure("import of the engine", engine, "ms"),
        figure("import of its core dependencies alone", dependencies, "ms"),
        figure("import: the engine by its dependencies", ratios, "x"),
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
