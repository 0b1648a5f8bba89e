"""Reading Markdown documents: their Python blocks, tables and links."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def documents() -> list[Path]:
    """Every document that users read."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def python_blocks(path: Path) -> list[tuple[int, str]]:
    """`(line, code)` of each Python block."""
    text = path.read_text("utf-8")
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in _BLOCK.finditer(text)]


def run(path: Path, line: int, code: str, namespace: dict[str, Any]) -> None:
    """Run a block as if it stood at its place in the document, so that a failure names it."""
    exec(  # noqa: S102 - our own document, which promises that this runs
        compile("\n" * (line - 1) + code, str(path.relative_to(ROOT)), "exec"), namespace
    )


def relative_links(path: Path) -> list[str]:
    """Where its links lead, without those to the web and to headings of the document itself."""
    without_code = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.M | re.S)
    found = (link.partition("#")[0] for link in _LINK.findall(without_code))
    return [link for link in found if link and "://" not in link and not link.startswith("mailto:")]
