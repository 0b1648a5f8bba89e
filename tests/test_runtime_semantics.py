"""Each guarantee of the runtime names a test that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "runtime-semantics.md"
NAMED = re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE.read_text())


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_named_test_exists(file: str, name: str) -> None:
    (path,) = (ROOT / "tests").rglob(file)
    assert re.search(rf"^(async )?def {name}\(", path.read_text(), re.MULTILINE)


def test_every_guarantee_names_one() -> None:
    table = PAGE.read_text().split("## What is lost")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    guarantees = [row for row in rows if not row.startswith("| **")]
    assert len(guarantees) == len(NAMED) > 30
