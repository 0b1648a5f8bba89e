"""Eviction policies by name: whom each gives up, ghosts, limits in tokens and bytes, sweeps."""

from collections import Counter

import pytest

from prefetch_scheduler.policies.cache_events import Invalidate, Invalidated, Put, Removed, Withdraw
from prefetch_scheduler.policies.config import CacheRules, Config
from prefetch_scheduler.policies.errors import ConfigError
from prefetch_scheduler.policies.ghosts import Ghosts
from prefetch_scheduler.policies.layers import MAX_LOOKS, MAX_MOVES
from prefetch_scheduler.policies.orders import MAX_PASSED, ORDERS
from prefetch_scheduler.policies.vocabulary import EvictionPolicy as Policy
from prefetch_scheduler.policies.vocabulary import RemovalCause
from support.layer_model import Cache, an_entry, config


def hot_only(policy: Policy, size: int = 3, **rules: object) -> Cache:
    """A cache whose hot layer takes all, and gives up into layers of one place each."""
    return Cache(config(size, 1, 1, hot_policy=policy, ghost_entries=0, **rules))


def in_hot(cache: Cache) -> set[str]:
    return {key for key, layer in cache.layers().items() if layer == "hot"}


def test_every_policy_has_an_order() -> None:
    assert set(ORDERS) == set(Policy)


@pytest.mark.parametrize(
    ("policy", "given_up"),
    [
        (Policy.LRU, "k:b"),
        (Policy.TTL, "k:b"),
        (Policy.FIFO, "k:a"),
        (Policy.LFU, "k:c"),
        (Policy.SIEVE, "k:c"),
        (Policy.GDSF, "k:b"),
    ],
)
def test_each_policy_gives_up_another_entry(policy: Policy, given_up: str) -> None:
    c = hot_only(policy)
    c.put("k:a", tokens=10)
    c.put("k:b", tokens=1000)
    c.put("k:c", tokens=10)
    for key in ("k:b", "k:a", "k:c", "k:a") if policy is Policy.TTL else ("k:b", "k:b", "k:a"):
        c.now += 1
        c.read(key)
    if policy is Policy.LRU:
        c.read("k:c")
    c.put("k:d", tokens=10)
    assert {"k:a", "k:b", "k:c", "k:d"} - in_hot(c) == {given_up}


def test_an_unknown_policy_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="'mru' is not one of lru, lfu, fifo, ttl, sieve, gdsf"):
        Config(cache=CacheRules(hot_policy="mru"))


def test_a_sieve_spares_what_was_read_once_and_goes_on_from_where_it_stood() -> None:
    c = hot_only(Policy.SIEVE)
    for key in ("k:a", "k:b", "k:c"):
        c.put(key)
    c.read("k:a")
    c.put("k:d")  # passes a, gives up b
    assert in_hot(c) == {"k:a", "k:c", "k:d"}
    c.put("k:e")  # the hand is past a: c goes
    assert in_hot(c) == {"k:a", "k:d", "k:e"}
    c.put("k:f")
    c.put("k:g")
    assert in_hot(c) == {"k:a", "k:f", "k:g"}
    c.read("k:f")
    c.read("k:g")
    c.put("k:h")  # spares both and begins anew: a was spared once, and not read since
    assert in_hot(c) == {"k:f", "k:g", "k:h"}


def test_a_sieve_passes_no_more_than_so_many() -> None:
    count = 3 * MAX_PASSED
    c = hot_only(Policy.SIEVE, count)
    for number in range(count):
        c.machine.handle(Put(an_entry(f"k:{number}")), 0.0)
    order = c.machine._residents.hot.order
    for node in c.machine._residents.nodes.values():
        order.touch(node)
    victim = order.victim(None)
    assert victim is not None
    assert victim.entry.stored == f"k:{MAX_PASSED}"


def test_what_was_popular_once_is_overtaken_under_gdsf() -> None:
    c = hot_only(Policy.GDSF, 2)
    c.put("k:popular", tokens=8)
    for _ in range(7):
        c.read("k:popular")
    for number in range(60):
        c.put(f"k:{number}", tokens=8)
        if "k:popular" not in in_hot(c):
            break
    assert 0 < number < 59, "each one that goes raises the rank of those that come"


def test_under_gdsf_the_large_make_way_for_the_small() -> None:
    c = hot_only(Policy.GDSF, 4)
    for key, tokens in (("k:large", 5000), ("k:a", 10), ("k:b", 20), ("k:c", 40), ("k:d", 80)):
        c.put(key, tokens=tokens)
    assert in_hot(c) == {"k:a", "k:b", "k:c", "k:d"}


# ---- ghosts ------------------------------------------------------------------------------------


def test_an_entry_that_comes_back_goes_on_with_its_frequency() -> None:
    c = Cache(config(1, 1, 1, ghost_entries=10))
    c.put("k:a")
    for _ in range(4):
        c.read("k:a")
    for key in ("k:b", "k:c", "k:d"):
        c.put(key)
    assert "k:a" not in c.view
    c.put("k:a")
    assert c.machine._residents.nodes["k:a"].freq == 6  # read 5 times, and now


def test_no_more_ghosts_are_kept_than_allowed_and_the_first_is_forgotten_first() -> None:
    ghosts = Ghosts(2)
    for number, key in enumerate("abcb", 1):
        ghosts.remember(key, number)
    assert (ghosts.recall("a"), ghosts.recall("c"), ghosts.recall("b")) == (0, 3, 4)
    assert len(ghosts) == 0
    none = Ghosts(0)
    none.remember("a", 1)
    assert len(none) == 0


# ---- tokens and bytes ----------------------------------------------------------------------------


def roomy(**limits: int) -> Cache:
    return Cache(config(100, 100, 100, ghost_entries=0, unread_share=1.0, **limits))


@pytest.mark.parametrize("limit", ["max_tokens", "max_bytes"])
def test_the_layers_together_hold_no_more_than_their_limit(limit: str) -> None:
    c = roomy(**{limit: 100})
    for number in range(20):
        c.put(f"k:{number}", tokens=30, value="x" * 30)
    assert set(c.view) == {"k:17", "k:18", "k:19"}
    figures = c.machine.snapshot()
    assert figures.tokens == figures.size == 90
    assert Counter(r.cause for r in c.all(Removed)) == {RemovalCause.EVICTED: 17}


def test_cold_is_given_up_before_warm_and_warm_before_hot() -> None:
    c = roomy(max_tokens=90)
    c.put("k:cold", prefetch=1, tokens=30)
    c.wait(20)
    c.put("k:warm", prefetch=2, tokens=30)
    c.put("k:hot", tokens=30)
    assert c.layers() == {"k:cold": "cold", "k:warm": "warm", "k:hot": "hot"}
    c.put("k:b", tokens=30)
    assert set(c.view) == {"k:warm", "k:hot", "k:b"}
    c.put("k:c", tokens=30)
    assert set(c.view) == {"k:hot", "k:b", "k:c"}


def test_what_is_larger_than_the_cache_is_not_kept_and_pushes_nothing_out() -> None:
    c = roomy(max_tokens=100)
    c.put("k:a", tokens=60)
    c.put("k:huge", tokens=101)
    assert set(c.view) == {"k:a"}
    assert [(r.stored, str(r.cause)) for r in c.all(Removed)] == [("k:huge", "evicted")]


def test_unread_entries_beyond_their_share_go_first() -> None:
    c = Cache(config(100, 100, 100, max_tokens=100, unread_share=0.01, ghost_entries=0))
    c.put("k:read", tokens=20)
    for number in range(1, 5):
        c.put(f"k:{number}", prefetch=number, tokens=20)
    c.put("k:new", tokens=20)
    assert set(c.view) == {"k:read", "k:2", "k:3", "k:4", "k:new"}


def test_pinned_entries_stand_outside_the_limit() -> None:
    c = roomy(max_tokens=50)
    c.put("k:pinned", "s", tokens=500)
    c.put("k:a", tokens=50)
    assert set(c.view) == {"k:pinned", "k:a"}


# ---- prefixes ------------------------------------------------------------------------------------


def test_an_invalidation_of_everything_is_carried_out_in_bounded_steps() -> None:
    count = MAX_LOOKS + 3 * MAX_MOVES
    c = Cache(config(count, count, count))
    for number in range(count):
        c.machine.handle(Put(an_entry(f"{'k' if number % 3 else 'other'}:{number}")), 0.0)
    steps = [c.machine.handle(Invalidate("k:*", 1), 0.0)]
    c.machine.handle(Put(an_entry("k:new", epoch=1)), 0.0)  # between two steps
    assert c.machine.snapshot().sweeping == 1
    while c.machine.snapshot().sweeping:
        assert c.machine.next_deadline() == 0.0
        steps.append(c.machine.tick(0.0))
    dropped = [sum(isinstance(effect, Withdraw) for effect in step) for step in steps]
    assert max(dropped) <= MAX_MOVES
    assert sum(dropped) == count - len(range(0, count, 3))
    told = [effect for step in steps for effect in step if isinstance(effect, Invalidated)]
    assert told == [Invalidated("k:*", 1)]
    assert steps[-1][-1] is told[0], "the planner is told when it is through, and not before"
    c.machine.check()
    assert set(c.machine._residents.nodes) == {"k:new"} | {f"other:{n}" for n in range(0, count, 3)}


def test_several_prefixes_are_carried_out_one_after_another() -> None:
    c = Cache(config(900, 1, 1))
    for number in range(900):
        c.machine.handle(Put(an_entry(f"k{number % 3}:{number}")), 0.0)
    for epoch, pattern in enumerate(("k0:*", "k1:*", "k1:*"), 1):
        c.machine.handle(Invalidate(pattern, epoch), 0.0)
    told: list[int] = []
    while c.machine.snapshot().sweeping:
        effects = c.machine.tick(0.0)
        told += [effect.epoch for effect in effects if isinstance(effect, Invalidated)]
    assert told == [1, 2, 3]
    assert {key[:2] for key in c.machine._residents.nodes} == {"k2"}
