"""A pattern stands for the files of a workspace that it names, and for no others."""

import pytest

from prefetch_scheduler.engine.globs import MAX_MATCHES, is_glob, matching_files

FILES = ("a.py", "b.ts", "src/a.py", "src/deep/er/a.py", "src/deep/b.tsx", ".git/a.py", "x[1].py")


@pytest.fixture
def tree(tmp_path):
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.py", ("a.py", "x[1].py")),
        ("**/*.py", ("a.py", "src/a.py", "src/deep/er/a.py", "x[1].py")),
        ("src/**", ("src/a.py", "src/deep/b.tsx", "src/deep/er/a.py")),
        ("src/*/b.tsx", ("src/deep/b.tsx",)),
        ("src/**/a.py", ("src/a.py", "src/deep/er/a.py")),
        ("**/b.{ts,tsx}", ("b.ts", "src/deep/b.tsx")),
        ("[ab].py", ("a.py",)),
        ("?.ts", ("b.ts",)),
        ("x[[]1].py", ("x[1].py",)),
        ("src/a+py", ()),
    ],
)
def test_a_pattern_finds_its_files(tree, pattern, found):
    assert matching_files(tree, pattern) == found


def test_a_pattern_finds_a_bounded_number_of_files(tmp_path):
    for number in range(MAX_MATCHES + 5):
        (tmp_path / f"{number:03}.txt").write_text("")
    assert len(matching_files(tmp_path, "*.txt")) == MAX_MATCHES


def test_a_link_to_a_folder_is_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.py").write_text("")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside", target_is_directory=True)
    assert matching_files(tmp_path / "root", "**/*.py") == ()


def test_a_plain_path_is_no_glob():
    assert not is_glob("src/a.py")
    assert is_glob("src/*.py")
