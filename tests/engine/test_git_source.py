"""GitSource on real repositories and the real program."""

import os
import signal
import threading

import pytest

from prefetch_scheduler.actors.cancel import CancelToken
from prefetch_scheduler.engine import ConfigError, Prediction, PrefetchEngine, ResourceUnavailable
from prefetch_scheduler.engine.sources.git import GitSource
from prefetch_scheduler.engine.sources.git_names import parse_git_name
from support.repositories import Repository


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path / "repository")
    made.commit({"src/a.py": "one\n", "docs/guide.md": "# Guide\n", "logo.bin": b"\x00\x01\xff"})
    return made


@pytest.fixture
def source(repository):
    made = GitSource(repository.folder)
    yield made
    made.close()
    assert made.processes == ()


# ---- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("HEAD:src/a.py", "HEAD:src/a.py"),
        ("HEAD:./src//b/../a.py", "HEAD:src/a.py"),
        ("HEAD:", "HEAD:"),
        ("HEAD~1^2", "HEAD~1^2"),
        ("main..HEAD", "main..HEAD"),
        ("main..HEAD:", "main..HEAD"),
        ("main..HEAD:./src/", "main..HEAD:src"),
        ("HEAD:odd name: with colon.txt", "HEAD:odd name: with colon.txt"),
        ("HEAD@{1}:a", "HEAD@{1}:a"),
    ],
)
def test_a_name_has_one_spelling(name, spelt):
    assert str(parse_git_name(name)) == spelt
    assert str(parse_git_name(spelt)) == spelt


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("--output=/x", "begins with '-'"),
        ("HEAD..-p", "begins with '-'"),
        (":src/a.py", "names no revision"),
        ("..HEAD", "names no revision"),
        ("HEAD..", "names no revision"),
        ("a...b", "is not served"),
        ("HEAD:a\nHEAD:b", "line feed"),
        ("HEAD:a\0", "NUL"),
        ("HEAD^{/fix}", "holds"),
        ("HEAD a:b", "holds ' '"),
        ("HEAD:../x", "leaves the root"),
        ("HEAD:/etc/passwd", "begins with '/'"),
        ("HEAD:" + "x" * 4000, "bytes long"),
        ("HEAD:\ud800", "no name in git"),
    ],
)
def test_a_name_that_is_none_is_refused(source, name, why):
    with pytest.raises(ValueError, match=why):
        source.normalise(name)
    with pytest.raises(ResourceUnavailable, match=why):
        source.load(name)


# ---- objects --------------------------------------------------------------------------------


def test_files_folders_commits_and_ids_are_served(repository, source):
    blob = repository.git("rev-parse", "HEAD:src/a.py")
    assert source.load("HEAD:src/a.py").value == "one\n"
    assert source.load("HEAD:src/a.py").version == blob
    assert source.load(blob).value == "one\n"
    assert source.load("HEAD:").value == "docs/\nlogo.bin\nsrc/\n"
    assert source.load("main:docs").value == "guide.md\n"
    assert source.load("HEAD:logo.bin").value == b"\x00\x01\xff"
    assert "a change" in source.load("HEAD").value
    assert source.tokens("HEAD:src/a.py") == 1
    assert len(source.processes) == 2


def test_what_is_not_there_is_a_clear_error_and_the_next_request_works(source):
    for name in ("HEAD:src/b.py", "nowhere:src/a.py", "0" * 40):
        with pytest.raises(ResourceUnavailable, match=f"git knows no '{name}'"):
            source.load(name)
        assert source.version(name) is None or name == "0" * 40
        assert source.tokens(name) is None
    assert source.load("HEAD:src/a.py").value == "one\n"


@pytest.mark.parametrize("size", [0, 1, 4095, 1 << 18, 3_000_001])
def test_objects_of_every_size_come_whole(repository, source, size):
    repository.commit({"big.txt": b"x" * size, "after.txt": "after"})
    assert len(source.load("HEAD:big.txt").value) == size
    assert source.load("HEAD:after.txt").value == "after"


def test_an_object_above_the_limit_is_refused_and_above_another_not_prefetched(repository):
    repository.commit({"big.txt": "x" * 1000})
    source = GitSource(repository.folder, max_bytes=999, max_prefetch_bytes=500)
    with pytest.raises(ResourceUnavailable, match=r"1000 bytes; at most 999 are read"):
        source.load("HEAD:big.txt")
    assert "1000 bytes: more than max_prefetch_bytes" in source.excluded("HEAD:big.txt")
    assert source.excluded("HEAD:src/a.py") is None
    source.close()


def test_secrets_are_not_prefetched_nor_diffs_that_show_one(repository, source):
    repository.commit({".env": "TOKEN=1"})
    assert "'.env' matches" in source.excluded("HEAD:.env")
    assert "'.env' matches" in source.excluded("HEAD~1..HEAD")
    assert source.excluded("HEAD~1..HEAD:src") is None
    assert source.load("HEAD:.env").value == "TOKEN=1"


def test_many_in_one_call_each_have_a_result_or_an_error(source):
    first, second, third = source.load_many(["HEAD:src/a.py", "HEAD:none", "HEAD:docs/guide.md"])
    assert (first.value, third.value) == ("one\n", "# Guide\n")
    assert isinstance(second, ResourceUnavailable)


def test_many_threads_share_the_process(repository, source):
    files = {f"f{n}.txt": f"{n}\n" * n for n in range(40)}
    repository.commit(files)
    loaded: dict[str, str] = {}

    def load(path: str) -> None:
        loaded[path] = source.load(f"HEAD:{path}").value

    threads = [threading.Thread(target=load, args=(path,)) for path in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == files


# ---- diffs ----------------------------------------------------------------------------------


def test_a_diff_is_what_git_says_it_is(repository, source):
    repository.commit({"src/a.py": "two\n", "docs/new.md": "new\n"})
    whole = source.load("HEAD~1..HEAD")
    assert "-one\n+two\n" in whole.value
    assert "+new\n" in whole.value
    assert whole.media_type == "text/x-diff"
    part = source.load("HEAD~1..HEAD:src/a.py")
    assert part.value == repository.git("diff", "HEAD~1", "HEAD", "--", "src/a.py") + "\n"
    with pytest.raises(ResourceUnavailable, match="neither revision has the path"):
        source.load("HEAD~1..HEAD:nothing")
    assert source.load("HEAD..HEAD").value == ""


def test_a_path_is_taken_by_the_letter_and_programs_of_the_repository_are_not_run(
    repository, source, tmp_path
):
    trap = tmp_path / "trap"
    repository.git("config", "diff.external", f"touch {trap}; false")
    repository.git("config", "diff.text.textconv", f"touch {trap}; cat")
    repository.commit({".gitattributes": "*.py diff=text\n", "src/*.py": "x\n", "src/a.py": "2\n"})
    assert "src/a.py" not in source.load("HEAD~1..HEAD:src/*.py").value
    assert "+2" in source.load("HEAD~1..HEAD:src/a.py").value
    assert not trap.exists()


def test_a_diff_above_the_limit_is_refused(repository):
    repository.commit({"src/a.py": "line\n" * 1000})
    source = GitSource(repository.folder, max_bytes=100)
    with pytest.raises(ResourceUnavailable, match="more than 100 bytes"):
        source.load("HEAD~1..HEAD")
    source.close()


# ---- freshness ------------------------------------------------------------------------------


def test_a_commit_makes_stale_what_it_changes_and_nothing_else(repository, source):
    names = ("HEAD:src/a.py", "HEAD:docs/guide.md", "main..HEAD:docs", "HEAD:", "HEAD")
    names += (repository.git("rev-parse", "HEAD") + ":src/a.py",)
    loaded = {name: source.load(name) for name in names[:2] + names[3:]}
    base = repository.git("rev-parse", "HEAD")
    diff = f"{base}..HEAD:docs"
    loaded[diff] = source.load(diff)
    repository.commit({"src/a.py": "two\n"})
    fresh = {name for name, content in loaded.items() if source.verify(name, content) is content}
    assert fresh == {"HEAD:docs/guide.md", names[-1], diff}
    assert source.load("HEAD:src/a.py").value == "two\n"


def test_the_next_read_after_a_commit_is_new_and_the_processes_end_with_the_engine(repository):
    source = GitSource(repository.folder)
    with PrefetchEngine(sources=[source]) as engine:
        handle = engine.submit([Prediction("git:HEAD:./src/a.py", "main_file", 0.9)])
        assert handle.wait_immediate(timeout=10)
        content = engine.get("git:HEAD:src/a.py")
        assert (content.value, content.layer) == ("one\n", "warm")
        repository.commit({"src/a.py": "two\n"})
        assert engine.get("git:HEAD:src/a.py").value == "two\n"
        repository.git("gc", "--quiet")
        assert engine.get("git:HEAD:docs/guide.md").value == "# Guide\n"
        pids = source.processes
        assert len(pids) == 2
    assert source.processes == ()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


# ---- processes ------------------------------------------------------------------------------


def test_a_process_that_dies_is_started_again_without_anybody_noticing(source):
    assert source.load("HEAD:src/a.py").value == "one\n"
    for pid in source.processes:
        os.kill(pid, signal.SIGKILL)
    assert source.load("HEAD:src/a.py").value == "one\n"
    assert source.version("HEAD:src/a.py")


def test_a_process_that_does_not_answer_is_an_error_in_time_and_then_replaced(repository):
    source = GitSource(repository.folder)
    content = source.load("HEAD:src/a.py")
    for pid in source.processes:
        os.kill(pid, signal.SIGSTOP)
    source._check.timeout_s = source._objects.timeout_s = 0.2  # before, it was patient with a start
    assert source.verify("HEAD:src/a.py", content) is None  # what cannot be told counts as stale
    with pytest.raises(ResourceUnavailable, match=r"did not answer within 0\.2 s"):
        source.load("HEAD:src/a.py")
    source._check.timeout_s = source._objects.timeout_s = 10
    assert source.load("HEAD:src/a.py").value == "one\n"
    source.close()


def test_a_cancellation_ends_the_request_at_once(source):
    source.load("HEAD:src/a.py")
    for pid in source.processes[:1]:
        os.kill(pid, signal.SIGSTOP)  # the one that answers with objects
    token = CancelToken()
    failed: list[BaseException] = []

    def load() -> None:
        try:
            source.load("HEAD:docs/guide.md", token)
        except ResourceUnavailable as error:
            failed.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    token.cancel()
    thread.join(8)  # well below the limit of 10 s that git has to answer
    assert [str(error) for error in failed] == ["the request to git was cancelled"]
    assert source.load("HEAD:docs/guide.md").value == "# Guide\n"


def test_a_git_that_always_dies_is_a_clear_error(repository, tmp_path):
    fake = tmp_path / "git"
    fake.write_text('#!/bin/sh\ncase "$*" in *rev-parse*) exec git "$@";; esac\nexit 3\n')
    fake.chmod(0o755)
    source = GitSource(repository.folder, git=str(fake))
    with pytest.raises(ResourceUnavailable, match=r"ended without an answer \(status 3\)"):
        source.load("HEAD:src/a.py")
    source.close()


# ---- arguments ------------------------------------------------------------------------------


def test_wrong_arguments_are_named(repository, tmp_path):
    (tmp_path / "plain").mkdir()
    for arguments, why in (
        ({"repository": tmp_path / "none"}, "not a folder"),
        ({"repository": tmp_path / "plain"}, "git says: fatal: not a git repository"),
        ({"git": "no-such-git"}, "cannot be run"),
        ({"timeout_s": 0}, "timeout_s: 0 is not"),
        ({"max_bytes": -1}, "max_bytes: -1"),
        ({"kind": "Git"}, "does not match"),
    ):
        with pytest.raises(ConfigError, match=why):
            GitSource(**{"repository": repository.folder, **arguments})


def test_bare_repositories_and_folders_below_the_root_will_do(repository, tmp_path):
    repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    for place in (tmp_path / "bare.git", repository.folder / "src"):
        source = GitSource(place)
        assert source.load("HEAD:src/a.py").value == "one\n"
        source.close()


def test_what_a_git_around_the_host_has_set_does_not_lead_elsewhere(repository, monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    source = GitSource(repository.folder)
    assert source.load("HEAD:src/a.py").value == "one\n"
    source.close()
