"""Draws the pictures in `docs/`: `python -m benchmarks.screens`.

`top.svg`: what `prefetch-scheduler top` shows of a real engine with four busy agents.
`simulation-report.png`: the simulator's report in a browser; needs Chromium on the path, and is
left as it is where there is none.
"""

import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from io import StringIO
from pathlib import Path

from attrs import evolve
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from prefetch_scheduler.engine import CallableSource, Prediction, PrefetchEngine, PrefetchError
from prefetch_scheduler.engine.cli.main import main as program
from prefetch_scheduler.engine.cli.top_rich import screen_of
from prefetch_scheduler.engine.cli.top_view import view_of
from prefetch_scheduler.engine.monitor.client import MonitorClient

DOCS = Path(__file__).parents[1] / "docs"
SESSIONS = Path(__file__).parent / "data" / "skills.jsonl.gz"
COLUMNS, LINES = 132, 44
NAMES = ("auth/login", "auth/tokens", "billing/invoices", "search/index", "api/routes")
ROLES = ("main_file", "related_file", "test_file", "documentation", "primary_skill")


def load(name: str) -> str:
    time.sleep(random.uniform(0.02, 0.4))
    if name.endswith("7"):
        raise LookupError("no such page")
    return f"# {name}\n" + "a line of its text\n" * random.randint(20, 200)


def work(engine: PrefetchEngine, number: int, end: float) -> None:
    """One agent: predictions, a pause for thought, reads."""
    session, chance, turn = engine.session(f"agent-{number}", "shop"), random.Random(number), 0
    while time.monotonic() < end:
        turn += 1
        kinds = ("wiki", "wiki", "db")
        keys = [f"{chance.choice(kinds)}:{chance.choice(NAMES)}-{turn % 9 + 1}" for _ in range(9)]
        items = [Prediction(k, chance.choice(ROLES), chance.uniform(0.55, 0.97)) for k in keys]
        session.submit(items, context=f"turn-{turn}")
        time.sleep(chance.uniform(0.3, 0.8))
        for key in (*keys[:6], f"wiki:other/{chance.randint(1, 400)}"):
            with suppress(PrefetchError):
                session.get(key)
            time.sleep(chance.uniform(0.02, 0.1))


def top(target: Path) -> None:
    """Draw `top` after some seconds of work."""
    sources = [CallableSource(kind, load, read_only=True) for kind in ("wiki", "db")]
    with tempfile.TemporaryDirectory() as folder:
        config = {"monitor": {"socket": f"{folder}/e.sock"}, "max_prefetch_tokens": 60_000}
        with PrefetchEngine(config, sources=sources) as engine:
            end = time.monotonic() + 7
            agents = [
                threading.Thread(target=work, args=(engine, number, end)) for number in range(4)
            ]
            for agent in agents:
                agent.start()
            time.sleep(5)
            with MonitorClient(f"{folder}/e.sock") as client:
                before = client.ask("status", decisions=100)
                time.sleep(1)
                view = view_of(client.ask("status", decisions=100), before)
            for agent in agents:
                agent.join()
    console = Console(
        record=True,
        width=COLUMNS,
        height=LINES,
        force_terminal=True,
        color_system="truecolor",
        file=StringIO(),
    )
    console.print(screen_of(evolve(view, title="engine1, up 0:00:06"), COLUMNS, LINES))
    # A picture in a repository loads no fonts from elsewhere.
    before_fonts, _, rest = CONSOLE_SVG_FORMAT.partition("@font-face")
    plain = before_fonts + rest[rest.index(".{unique_id}-matrix") :]
    console.save_svg(
        str(target), title="prefetch-scheduler top", code_format=plain, unique_id="top"
    )


def report(target: Path) -> None:
    """Draw the simulator's report as a browser shows it."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        print("no Chromium on the path: simulation-report.png stays as it is", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report" / "index.html"
        if program(["simulate", str(SESSIONS), "--report", str(page.parent)]):
            raise SystemExit("the simulation failed")
        run = [browser, "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu"]
        shot = [f"--screenshot={target}", "--window-size=1000,2390", page.as_uri()]
        subprocess.run([*run, f"--user-data-dir={folder}/profile", *shot], check=True)


def main() -> int:
    top(DOCS / "top.svg")
    report(DOCS / "simulation-report.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
