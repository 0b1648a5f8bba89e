"""FileSource on real files: names, text, refusals, exclusions, estimates."""

import errno
import os
import socket
import threading

import pytest

from prefetch_scheduler.engine.sources import DEFAULT_EXCLUDES, FileSource, Source
from prefetch_scheduler.engine.sources import folder as folder_module
from prefetch_scheduler.policies.errors import ConfigError, ResourceUnavailable


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root" / "src").mkdir(parents=True)
    (tmp_path / "root" / "src" / "a.py").write_text("print('a')\n")
    (tmp_path / "outside.txt").write_text("outside")
    return tmp_path / "root"


@pytest.fixture(params=["walking", "comparing"])
def source(request, root, monkeypatch):
    """Both ways of opening a file: relative to its folder, and where a system cannot do that."""
    monkeypatch.setattr(folder_module, "_CAN_WALK", request.param == "walking")
    return FileSource(root)


# ---- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("src/a.py", "src/a.py"),
        ("./a", "a"),
        ("b/../a", "a"),
        ("src//a.py", "src/a.py"),
        ("src/", "src"),
        ("a/./b/.././c", "a/c"),
        ("..a/...b", "..a/...b"),
        ("sp ace\n", "sp ace\n"),
        ("a#b?c:d", "a#b?c:d"),
    ],
)
def test_a_name_has_one_spelling(root, name, spelt):
    assert FileSource(root).normalise(name) == spelt


@pytest.mark.parametrize("name", ["../outside.txt", "a/../../b", "/etc/passwd", "..", "src/../.."])
def test_a_name_that_leaves_the_root_is_refused(source, name):
    with pytest.raises(ValueError, match="leaves the root"):
        source.normalise(name)
    with pytest.raises(ResourceUnavailable, match="leaves the root"):
        source.load(name)


@pytest.mark.parametrize("name", [".", "./", "src/..", "a\x00b", "\ud800"])
def test_a_name_that_can_be_no_file_is_refused(root, name):
    with pytest.raises(ValueError, match=r"root folder itself|NUL|character"):
        FileSource(root).normalise(name)


def test_an_absolute_name_below_the_root_becomes_relative(tmp_path, root):
    link = tmp_path / "link"
    link.symlink_to(root)
    source = FileSource(link)
    assert source.normalise(f"{root}/src/a.py") == "src/a.py"
    assert source.normalise(f"{link}/src/../src/a.py") == "src/a.py"
    assert source.normalise(f"//{str(root).lstrip('/')}/src/a.py") == "src/a.py"
    with pytest.raises(ValueError, match="leaves the root"):
        source.normalise(f"{root}-twin/a")


def test_the_root_may_be_the_root_of_the_file_system(root):
    source = FileSource("/")
    name = source.normalise(f"{root}/src/a.py")
    assert name == str(root / "src" / "a.py")[1:]
    assert source.load(name).value == "print('a')\n"


def test_a_name_that_is_not_utf_8_is_read(source, root):
    raw = os.path.join(os.fsencode(root), b"caf\xe9.txt")
    with open(raw, "wb") as file:
        file.write(b"x")
    name = os.fsdecode(b"caf\xe9.txt")
    assert source.load(source.normalise(name)).value == "x"


# ---- what is read ---------------------------------------------------------------------------


def test_text_comes_with_tokens_media_type_and_a_version(source):
    content = source.load("src/a.py")
    assert content.value == "print('a')\n"
    assert content.tokens == 3
    assert content.media_type == "text/plain; charset=utf-8"
    assert content.version == source.version("src/a.py")


def test_a_binary_file_comes_as_bytes(source, root):
    (root / "x.bin").write_bytes(b"\x7fELF\x00\x01\xff")
    assert source.load("x.bin").value == b"\x7fELF\x00\x01\xff"


def test_an_empty_file_is_empty_text(source, root):
    (root / "empty").touch()
    assert source.load("empty").value == ""
    assert source.load("empty").tokens == 0


def test_an_encoding_that_is_given_is_tried_first(root):
    (root / "k").write_bytes("привет".encode("koi8-r"))
    assert FileSource(root, encoding="koi8-r").load("k").value == "привет"
    assert FileSource(root, encoding="ascii").load("src/a.py").value == "print('a')\n"


def test_a_file_that_is_larger_than_its_stat_says_is_read_whole(root):
    content = FileSource("/proc/self").load("status") if os.path.exists("/proc/self") else None
    if content is None:
        pytest.skip("no /proc here")
    assert "Pid:" in content.value


def test_several_chunks_are_put_together(source, root):
    raw = b"0123456789abcdef" * (200_000)
    (root / "big.txt").write_bytes(raw)
    assert source.load("big.txt").value.encode() == raw


# ---- what is refused ------------------------------------------------------------------------


def test_a_missing_file_is_unavailable(source):
    for name in ("missing", "src/a.py/below", "no/such/folder"):
        with pytest.raises(ResourceUnavailable, match="no such file"):
            source.load(name)
    assert source.tokens("missing") is None


def test_a_folder_is_refused(source):
    with pytest.raises(ResourceUnavailable, match="a folder"):
        source.load("src")


def test_a_fifo_is_refused_without_waiting_for_its_writer(source, root):
    os.mkfifo(root / "pipe")
    refused = []

    def read():
        try:
            source.load("pipe")
        except ResourceUnavailable as error:
            refused.append(str(error))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(5)
    assert refused == ["'pipe' is a FIFO; only regular files are read"]
    assert source.tokens("pipe") is None


def test_a_socket_and_a_device_are_refused(root, monkeypatch):
    source = FileSource(root)
    monkeypatch.chdir(root)  # the path of a socket has to be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("sock")
        with pytest.raises(ResourceUnavailable, match="a socket"):
            source.load("sock")
    with pytest.raises(ResourceUnavailable, match="a character device"):
        FileSource("/dev").load("null")


def test_a_link_that_stays_inside_is_followed(source, root):
    (root / "link.py").symlink_to("src/a.py")
    (root / "folder").symlink_to(root / "src")
    assert source.load("link.py").value == "print('a')\n"
    assert source.load("folder/a.py").value == "print('a')\n"


def test_a_link_that_leads_outside_is_refused(source, root, tmp_path):
    (root / "file").symlink_to(tmp_path / "outside.txt")
    (root / "folder").symlink_to(tmp_path)
    (root / "hop").symlink_to("folder")
    for name in ("file", "folder/outside.txt", "hop/outside.txt"):
        with pytest.raises(ResourceUnavailable, match="symbolic link"):
            source.load(name)
        assert "symbolic link" in source.excluded(name)


def test_a_link_to_itself_is_refused(source, root):
    (root / "loop").symlink_to("loop")
    with pytest.raises(ResourceUnavailable):
        source.load("loop")


def test_a_folder_that_turns_into_a_link_between_check_and_opening_leaks_nothing(
    root, tmp_path, monkeypatch
):
    """An attacker who swaps `src` whenever the path has just been checked."""
    (tmp_path / "a.py").write_text("outside")
    source = FileSource(root)
    folder = source.folder
    check = folder.resolved
    away = tmp_path / "away"

    def check_then_swap(name):
        if away.exists():
            os.unlink(root / "src")
            away.rename(root / "src")
        found = check(name)
        (root / "src").rename(away)
        (root / "src").symlink_to(tmp_path)
        return found

    monkeypatch.setattr(folder, "resolved", check_then_swap)
    (root / "src").rename(away)
    (root / "src").symlink_to(tmp_path)
    with pytest.raises(ResourceUnavailable):
        source.load("src/a.py")


@pytest.mark.parametrize("look", ["resolved", "readlink"])
def test_a_link_and_a_file_that_replace_each_other_are_one_or_the_other(
    source, root, monkeypatch, look
):
    """The name exists at every moment: a link when it is opened, a file a little later."""
    (root / "name").symlink_to("src/a.py")
    at, swaps = (source.folder, 3) if look == "resolved" else (os, 2)
    check = getattr(at, look)

    def swap_then_check(path, **arguments):
        nonlocal swaps
        if swaps:
            (root / "new").write_text("a file")
            os.replace(root / "new", root / "name")
        try:
            return check(path, **arguments)
        finally:
            if swaps:
                swaps -= 1
                (root / "new").symlink_to("src/a.py")
                os.replace(root / "new", root / "name")

    monkeypatch.setattr(at, look, swap_then_check)
    assert source.load("name").value == "print('a')\n"
    assert swaps < 2  # it was replaced meanwhile


def test_a_link_whose_folder_is_gone_is_followed_to_where_it_leads_by_then(
    source, root, monkeypatch
):
    (root / "old").mkdir()
    (root / "old" / "a.py").write_text("old")
    (root / "now").symlink_to("old")
    check = source.folder.resolved

    def check_then_swap(name):
        found = check(name)
        if (root / "old").exists():
            (root / "link").symlink_to("src")
            os.replace(root / "link", root / "now")
            (root / "old" / "a.py").unlink()
            (root / "old").rmdir()
        return found

    monkeypatch.setattr(source.folder, "resolved", check_then_swap)
    assert source.load("now/a.py").value == "print('a')\n"


def test_what_a_name_stands_for_is_judged_though_its_link_is_replaced_meanwhile(
    source, root, monkeypatch
):
    (root / "name").symlink_to(".env")
    read = os.readlink

    def replace_then_read(path, **arguments):
        (root / "new").write_text("a file")
        os.replace(root / "new", root / "name")
        return read(path, **arguments)

    monkeypatch.setattr(os, "readlink", replace_then_read)
    assert source.excluded("name") is None
    assert source.watched("name") == (str(root.resolve() / "name"),)


def test_a_file_above_max_bytes_is_refused_and_says_the_limit(root):
    (root / "big").write_bytes(b"x" * 101)
    with pytest.raises(ResourceUnavailable, match="101 bytes; at most 100"):
        FileSource(root, max_bytes=100).load("big")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ENAMETOOLONG])
def test_what_the_file_system_refuses_is_unavailable_and_says_why(source, monkeypatch, code):
    def refuse(name):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(source.folder, "_open", refuse)
    with pytest.raises(ResourceUnavailable, match=os.strerror(code)):
        source.load("src/a.py")


def test_a_name_too_long_for_the_file_system_is_unavailable(source):
    with pytest.raises(ResourceUnavailable, match="too long"):
        source.load("x" * 5000)
    assert source.excluded("x" * 5000) is None


# ---- torn reads -----------------------------------------------------------------------------


def during_reads(monkeypatch, actions):
    """Carry out one action after the bytes of each reading, before its second `fstat`."""
    read_all = folder_module._read_all
    left = list(actions)

    def reading(descriptor, size, limit):
        raw = read_all(descriptor, size, limit)
        if left:
            left.pop(0)()
        return raw

    monkeypatch.setattr(folder_module, "_read_all", reading)
    monkeypatch.setattr(folder_module.time, "sleep", lambda seconds: None)


def test_a_read_during_a_write_is_repeated(source, root, monkeypatch):
    path = root / "src" / "a.py"
    during_reads(monkeypatch, [lambda: path.write_text("changed, and longer")])
    assert source.load("src/a.py").value == "changed, and longer"


def test_a_file_that_changes_all_the_time_is_unavailable(source, root, monkeypatch):
    path = root / "src" / "a.py"
    during_reads(monkeypatch, [lambda n=n: path.write_text(f"{n}" * n) for n in range(1, 10)])
    with pytest.raises(ResourceUnavailable, match="kept changing"):
        source.load("src/a.py")


def test_a_log_that_only_grows_is_given_as_it_was_when_reading_began(source, root, monkeypatch):
    path = root / "grows.log"
    path.write_text("one\n")

    def append():
        with path.open("a") as file:
            file.write("more\n")

    during_reads(monkeypatch, [append] * 9)
    content = source.load("grows.log")
    assert content.value == "one\n"
    assert source.verify("grows.log", content) is None


# ---- exclusions and estimates ---------------------------------------------------------------


def test_a_secret_is_never_prefetched_but_read_when_asked_for(source, root):
    (root / ".env").write_text("KEY=1")
    (root / "harmless.txt").symlink_to(".env")
    assert "'.env'" in source.excluded(".env")
    assert "'.env'" in source.excluded("harmless.txt")
    assert source.load(".env").value == "KEY=1"


def test_ordinary_text_may_be_prefetched(source):
    assert source.excluded("src/a.py") is None
    assert source.excluded("missing") is None


def test_a_large_file_is_not_prefetched(root):
    (root / "big.md").write_bytes(b"x" * 101)
    source = FileSource(root, max_prefetch_bytes=100)
    assert "max_prefetch_bytes" in source.excluded("big.md")
    assert source.load("big.md").tokens == 24


def test_a_binary_file_without_a_telling_suffix_is_not_prefetched(source, root):
    (root / "tool").write_bytes(b"\x7fELF\x00\x00")
    (root / "notes").write_bytes("grün".encode())
    assert "binary" in source.excluded("tool")
    assert source.excluded("notes") is None


def test_exclusions_are_replaced_or_added_to(root):
    assert FileSource(root, exclude=()).excluded("src/a.py") is None
    source = FileSource(root, exclude=(*DEFAULT_EXCLUDES, "src/*.py"))
    assert "src/*.py" in source.excluded("src/a.py")


def test_tokens_are_estimated_from_size_and_suffix(source, root):
    (root / "a.json").write_bytes(b"x" * 300)
    (root / "a.md").write_bytes(b"x" * 420)
    assert source.tokens("a.json") == 100
    assert source.tokens("a.md") == 100


# ---- arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "File"}, "kind"),
        ({"max_prefetch_bytes": -1}, "max_prefetch_bytes"),
        ({"max_bytes": True}, "max_bytes"),
        ({"exclude": "*.pem"}, "exclude"),
        ({"exclude": [""]}, r"exclude\[0\]"),
        ({"encoding": "rot13"}, "encoding"),
        ({"encoding": "nonsense"}, "encoding"),
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"load_timeout_s": float("nan")}, "load_timeout_s"),
        ({"name": ""}, "name"),
    ],
)
def test_a_wrong_argument_is_named(root, arguments, message):
    with pytest.raises(ConfigError, match=message):
        FileSource(root, **arguments)


def test_a_root_that_is_no_folder_is_named(root):
    for wrong in (root / "missing", root / "src" / "a.py", b"bytes", 3):
        with pytest.raises(ConfigError, match="root"):
            FileSource(wrong)


def test_it_is_a_source(source):
    assert isinstance(source, Source)
    assert source.read_only
    assert not source.remote
