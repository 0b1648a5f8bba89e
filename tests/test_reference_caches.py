"""The policies that the benchmark of hit ratios compares with, and what it reads."""

import random
from collections.abc import Callable

import cachetools
import pytest

from benchmarks import hit_ratio
from benchmarks.reference_caches import POLICIES, clairvoyant, lfu, lru, lru_tokens
from prefetch_scheduler.policies.vocabulary import EvictionPolicy as Policy


def traces() -> list[list[str]]:
    """Skewed, looping and shifting ones."""
    chance = random.Random(4)
    skewed = [f"k{int(chance.paretovariate(0.6))}" for _ in range(3000)]
    looping = [f"k{n % 60}" for n in range(1500)]
    shifting = [f"k{n // 50 + chance.randrange(20)}" for n in range(3000)]
    return [skewed, looping, shifting]


def hits_of_library(cache: cachetools.Cache, trace: list[str]) -> int:
    hits = 0
    for key in trace:
        if cache.get(key):
            hits += 1
        else:
            cache[key] = True
    return hits


@pytest.mark.parametrize("size", [1, 7, 40])
@pytest.mark.parametrize(
    ("ours", "library"), [(lru, cachetools.LRUCache), (lfu, cachetools.LFUCache)]
)
def test_lru_and_lfu_hit_as_often_as_those_of_cachetools(
    ours: Callable[[list[str], int], int], library: type, size: int
) -> None:
    for trace in traces():
        assert ours(trace, size) == hits_of_library(library(size), trace)


@pytest.mark.parametrize("name", list(POLICIES))
def test_nothing_is_above_the_optimum_and_everything_fits_once_there_is_room(name: str) -> None:
    for trace in traces():
        for size in (5, 30):
            assert POLICIES[name](trace, size) <= clairvoyant(trace, size)
        if name not in ("S3-FIFO", "W-TinyLFU"):  # these keep a part of their room for newcomers
            assert POLICIES[name](trace, 10_000) == len(trace) - len(set(trace))


def test_the_layers_serve_what_a_plain_lru_serves_where_hot_is_all_there_is() -> None:
    trace = hit_ratio.Trace("t", traces()[2], {})
    trace = hit_ratio.Trace("t", trace.keys, dict.fromkeys(trace.keys, 1))
    config = hit_ratio.layered(10_000, max_tokens=30, policy=Policy.LRU)
    expected = lru_tokens(trace.keys, trace.tokens, 30)
    assert hit_ratio.hits_of(trace, config) == expected == lru(trace.keys, 30)


def test_a_trace_file_holds_one_key_a_line(tmp_path) -> None:
    file = tmp_path / "trace"
    file.write_text("# comment\na\t30\nb\n\na\n")
    trace = hit_ratio.from_file(file)
    assert (list(trace.keys), trace.tokens) == (["a", "b", "a"], {"a": 30, "b": 1})
    file.write_text("a\tmany\n")
    with pytest.raises(SystemExit, match="trace:1: 'many' is no whole number"):
        hit_ratio.from_file(file)
