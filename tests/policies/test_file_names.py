"""What names and texts of files say of other files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefetch_scheduler.policies.file_index import AMBIGUOUS, FileIndex
from prefetch_scheduler.policies.file_names import counterparts, imported, is_test, mentioned
from prefetch_scheduler.policies.skill_match import SkillMatcher


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("see src/auth.py:12 and `lib/b.ts`.", ["src/auth.py", "lib/b.ts"]),
        ('File "pkg/mod.py", line 3', ["pkg/mod.py"]),
        ("./a/b.go, ../up.go", ["a/b.go"]),
        ("README.md twice: README.md", ["README.md"]),
        ("version 1.2.3 of http://x.org/page and e.g. this", []),
        ("tests/test_x.py::test_one FAILED", ["tests/test_x.py"]),
        ("modified:   a.test.tsx", ["a.test.tsx"]),
        ("+++ b/src/a.py\n-src/b.py\n+src/c.py", ["b/src/a.py", "src/b.py", "src/c.py"]),
    ],
)
def test_names_of_files_in_a_text(text: str, names: list[str]):
    assert mentioned(text) == names


@given(st.text())
def test_any_text_may_be_looked_at(text: str):
    for name in mentioned(text):
        assert not name.startswith(("/", ".."))
    for suffix in ("py", "ts", "go", "rs", "c"):
        assert all(imported(f"a/b.{suffix}", text))


@pytest.mark.parametrize(
    "piece",
    [
        "+",
        "a",
        "a.",
        "a/",
        ".",
        "\n",
        "\n ",
        "from .",
        "import ",
        "a,",
        '"',
        "from '",
        "@/",
        "use crate::a",
    ],
)
def test_no_text_takes_long(piece: str):
    """What grew with the square of a text's length would not end here within the time-out."""
    text = piece * (150_000 // len(piece))
    mentioned(text)
    for suffix in ("py", "ts", "go", "rs", "c"):
        imported(f"a/b.{suffix}", text)


@pytest.mark.parametrize(
    ("path", "test"),
    [
        ("src/auth.py", "src/tests/test_auth.py"),
        ("src/auth.py", "tests/test_auth.py"),
        ("pkg/auth.go", "pkg/auth_test.go"),
        ("web/auth.ts", "web/auth.test.ts"),
        ("web/auth.tsx", "web/__tests__/auth.spec.tsx"),
        ("app/src/main/java/A.java", "app/src/test/java/ATest.java"),
        ("lib/auth.rb", "spec/auth_spec.rb"),
    ],
)
def test_a_file_s_tests_are_where_convention_has_them(path: str, test: str):
    assert test in counterparts(path)
    assert is_test(test)
    assert not is_test(path)


@pytest.mark.parametrize(
    ("test", "path"),
    [
        ("src/tests/test_auth.py", "src/auth.py"),
        ("pkg/auth_test.go", "pkg/auth.go"),
        ("web/auth.spec.ts", "web/auth.ts"),
        ("tests/test_auth.py", "src/test_auth.py"),
    ],
)
def test_what_a_test_tests(test: str, path: str):
    found = counterparts(test)
    assert (path in found) is ("src/test_auth" not in path)


@pytest.mark.parametrize(
    ("path", "text", "names"),
    [
        ("pkg/a.py", "from .b import c\n", ["pkg/b.py", "pkg/b/c.py"]),
        ("pkg/sub/a.py", "from .. import util\n", ["pkg/util.py"]),
        ("a.py", "import os.path as p, x.y\n", ["os/path.py", "x/y.py"]),
        ("a.py", "from x.y import (Z)\n", ["x/y.py", "x/y/Z.py"]),
        ("web/a.ts", "import {b} from './b'\n", ["web/b.ts", "web/b/index.ts"]),
        ("web/a.ts", "import b from '../b.js'\n", ["b.js", "b.ts"]),
        ("web/a.ts", "const b = require('./b')\n", ["web/b.js"]),
        ("web/a.ts", "import b from '@/lib/b'\n", ["*/lib/b.ts"]),
        ("a.go", 'import (\n\t"fmt"\n\t"example.org/mod/pkg/store"\n)\n', ["*/pkg/store/"]),
        ("src/a.rs", "mod b;\nuse crate::c::D;\n", ["src/b.rs", "*/c.rs"]),
        ("src/a.c", '#include "b.h"\n', ["src/b.h", "*/b.h"]),
    ],
)
def test_imports(path: str, text: str, names: list[str]):
    assert set(names) <= set(imported(path, text))


def test_packages_from_elsewhere_are_no_files():
    assert imported("a.ts", "import react from 'react'\n") == []
    assert imported("notes.md", "import a.b\n") == []


def test_a_name_means_the_files_that_end_in_it():
    index = FileIndex()
    index.add(["src/app/auth.py", "lib/auth.py", "src/app/core/__init__.py", "go/pkg/store/a.go"])
    assert index.meant("lib/auth.py") == ["lib/auth.py"]
    assert index.meant("app/auth.py") == index.meant("*/app/auth.py") == ["src/app/auth.py"]
    assert index.meant("auth.py") == ["lib/auth.py", "src/app/auth.py"]
    assert index.meant("th.py") == index.meant("other.py") == []
    assert index.meant("*/pkg/store/") == ["go/pkg/store/a.go"]
    index.remove(["lib/auth.py", "never.py"])
    assert index.meant("auth.py") == ["src/app/auth.py"]
    assert "lib/auth.py" not in index
    index.add(f"{n}/same.py" for n in range(AMBIGUOUS + 1))
    assert index.meant("same.py") == []
    assert len(index) == 3 + AMBIGUOUS + 1


def test_skills_are_matched_by_the_words_that_few_have():
    skills = SkillMatcher()
    skills.add("skill:debug", "systematic-debugging", "Use when tests fail or behaviour is odd.")
    skills.add("skill:plan", "writing-plans", "Use when a feature needs a plan before code.")
    skills.add("skill:pdf", "pdf", "Reads and fills forms in documents.")
    scores = skills.scores("Please debug why the login tests are failing")
    assert next(iter(scores)) == "skill:debug"
    assert all(0 < score <= 1 for score in scores.values())
    assert list(skills.scores("fill in this PDF form")) == ["skill:pdf"]
    assert skills.scores("quite another matter") == skills.scores("") == {}
    assert len(skills.scores("tests plan documents", most=2)) == 2
