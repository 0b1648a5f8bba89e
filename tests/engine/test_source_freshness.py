"""A read never gives content older than the last change that the file system shows."""

import os
import shutil

import pytest
from attrs import evolve

from prefetch_scheduler.engine.sources import FileSource
from prefetch_scheduler.engine.sources import folder as folder_module
from prefetch_scheduler.engine.sources.freshness import (
    COARSE_TICK_NS,
    FINE_TICK_NS,
    FileStamp,
    stamp_of,
    unsettled,
)
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.vocabulary import Layer

SECOND = 1_000_000_000


class Clock:
    """Stands in for the `time` module: real stamps, but the reader's clock is told."""

    def __init__(self):
        self.ns = 0

    def time_ns(self):
        return self.ns

    def sleep(self, seconds):
        pass


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(folder_module, "time", clock)
    return clock


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old!")
    return path


@pytest.fixture
def source(tmp_path):
    return FileSource(tmp_path)


def later(clock, path, seconds=10):
    """Let the clock stand so long after the file's last change."""
    found = os.stat(path)
    clock.ns = max(found.st_mtime_ns, found.st_ctime_ns) + int(seconds * SECOND)


def settled_load(source, clock, path):
    later(clock, path)
    content = source.load(path.name)
    assert content.version.settled
    return content


def test_an_unchanged_file_is_fresh_without_being_read_again(source, clock, file, monkeypatch):
    content = settled_load(source, clock, file)
    monkeypatch.setattr(source.folder, "read", None)
    assert source.verify("a.txt", content) is content


def change_equal_size(path):
    path.write_text("new!")


def change_size(path):
    path.write_text("longer")


def set_mtime_back(path):
    before = os.stat(path)
    path.write_text("new!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_atomically(path):
    other = path.with_suffix(".tmp")
    other.write_text("new!")
    shutil.copystat(path, other)
    os.replace(other, path)


def delete(path):
    path.unlink()


def recreate(path):
    path.unlink()
    path.write_text("new!")


def become_a_folder(path):
    path.unlink()
    path.mkdir()


def become_a_link_to_other_content(path):
    path.unlink()
    path.with_name("b.txt").write_text("new!")
    path.symlink_to("b.txt")


CHANGES = [
    change_equal_size,
    change_size,
    set_mtime_back,
    replace_atomically,
    delete,
    recreate,
    become_a_folder,
    become_a_link_to_other_content,
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("settled", [True, False])
def test_a_change_makes_content_stale(source, clock, file, change, settled):
    later(clock, file, 10 if settled else 0)
    content = source.load("a.txt")
    assert content.version.settled is settled
    change(file)
    assert source.verify("a.txt", content) is None


def test_a_link_that_is_turned_elsewhere_makes_content_stale(source, clock, tmp_path):
    (tmp_path / "one").write_text("1111")
    (tmp_path / "two").write_text("2222")
    link = tmp_path / "link"
    link.symlink_to("one")
    content = settled_load(source, clock, link)
    assert content.value == "1111"
    link.unlink()
    link.symlink_to("two")
    assert source.verify("link", content) is None


def test_a_link_that_is_turned_outside_makes_equal_content_stale(tmp_path, clock):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").write_text("same")
    (root / "a").write_text("same")
    source = FileSource(root)
    content = settled_load(source, clock, root / "a")
    (root / "a").unlink()
    (root / "a").symlink_to(tmp_path / "outside")
    assert source.verify("a", content) is None


def test_an_equal_size_edit_hidden_in_the_tick_is_found_by_content(source, clock, file):
    """What a coarse clock does: the second edit leaves every field of `stat` as it was."""
    later(clock, file, 0)
    content = source.load("a.txt")
    file.write_text("new!")
    hidden = evolve(content, version=unsettled(os.stat(file)))
    assert source.verify("a.txt", hidden) is None


def test_young_content_is_compared_until_the_tick_has_passed_then_stamped_anew(
    source, clock, file, monkeypatch
):
    later(clock, file, 0)
    young = source.load("a.txt")
    assert source.verify("a.txt", young) is young  # compared, and still too young to settle
    later(clock, file)
    settled = source.verify("a.txt", young)
    assert settled.value == "old!"
    assert settled.version.settled
    monkeypatch.setattr(source.folder, "read", None)
    assert source.verify("a.txt", settled) is settled


def test_stamping_anew_keeps_what_the_engine_set(source, clock, file):
    later(clock, file, 0)
    placed = source.load("a.txt").placed(
        key="file:a.txt", source="file", loaded_at=3.0, layer=Layer.HOT
    )
    later(clock, file)
    again = source.verify("a.txt", placed)
    assert (again.key, again.source, again.loaded_at, again.layer, again.tokens) == (
        "file:a.txt",
        "file",
        3.0,
        Layer.HOT,
        1,
    )


def test_a_touch_without_a_change_is_stamped_anew_not_loaded_again(source, clock, file):
    content = settled_load(source, clock, file)
    os.utime(file, ns=(1, 2 * SECOND + 5))
    again = source.verify("a.txt", content)
    assert again is not content
    assert again.value == "old!"
    assert again.version.mtime_ns == 2 * SECOND + 5


def test_a_young_file_too_large_to_compare_is_loaded_again(source, clock, tmp_path):
    path = tmp_path / "big.txt"
    path.write_bytes(b"x" * ((1 << 20) + 1))
    later(clock, path, 0)
    assert source.verify("big.txt", source.load("big.txt")) is None
    content = settled_load(source, clock, path)
    assert source.verify("big.txt", content) is content


def stat_result(mtime_ns, ctime_ns):
    class Stat:
        st_mtime_ns = mtime_ns
        st_ctime_ns = ctime_ns
        st_size = 4
        st_ino = 1
        st_dev = 1

    return Stat()


@pytest.mark.parametrize(
    ("mtime_ns", "ctime_ns", "tick"),
    [
        (5 * SECOND + 1, 5 * SECOND + 1, FINE_TICK_NS),
        (5 * SECOND, 5 * SECOND, COARSE_TICK_NS),
        (5 * SECOND, 5 * SECOND + 7, COARSE_TICK_NS),
        (1, 5 * SECOND + 1, FINE_TICK_NS),
    ],
)
def test_a_stamp_settles_one_tick_after_the_last_change(mtime_ns, ctime_ns, tick):
    stat = stat_result(mtime_ns, ctime_ns)
    last = max(mtime_ns, ctime_ns)
    assert not stamp_of(stat, last).settled
    assert not stamp_of(stat, last + tick).settled
    assert stamp_of(stat, last + tick + 1).settled


def test_a_stamp_in_the_future_does_not_settle(source, clock, file):
    future = 4_000_000_000 * SECOND
    os.utime(file, ns=(future, future + 1))
    clock.ns = os.stat(file).st_ctime_ns + 60 * SECOND
    content = source.load("a.txt")
    assert not content.version.settled
    assert source.verify("a.txt", content) is content
    before = os.stat(file)
    file.write_text("new!")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert source.verify("a.txt", content) is None


# ---- content that the host hands over ---------------------------------------------------------


def test_content_handed_over_is_compared_at_its_first_read(source, clock, file):
    later(clock, file)
    right = source.stamped("a.txt", Content("old!"))
    wrong = source.stamped("a.txt", Content("new!"))
    assert not right.version.settled
    assert source.verify("a.txt", wrong) is None
    served = source.verify("a.txt", right)
    assert served.value == "old!"
    assert served.version.settled


def test_content_may_be_handed_over_as_bytes_of_a_text_file(source, clock, file):
    later(clock, file)
    assert source.verify("a.txt", source.stamped("a.txt", Content(b"old!"))).value == b"old!"
    assert source.verify("a.txt", source.stamped("a.txt", Content(b"else"))) is None


def test_content_of_a_file_that_does_not_exist_is_served_until_it_does(source, tmp_path):
    content = source.stamped("draft", Content("mine"))
    assert source.verify("draft", content) is content
    (tmp_path / "draft").write_text("theirs")
    assert source.verify("draft", content) is None


def test_content_without_a_stamp_is_stale(source, file):
    assert source.verify("a.txt", Content("old!")) is None
    assert source.verify("a.txt", Content("old!", version="v1")) is None


def test_stamps_are_equal_whether_settled_or_not():
    assert FileStamp(1, 2, 3, 4, 5, settled=True) == FileStamp(1, 2, 3, 4, 5)
    assert FileStamp(1, 2, 3, 4, 5) != FileStamp(1, 2, 3, 4, 6)
