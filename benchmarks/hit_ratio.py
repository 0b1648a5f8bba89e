"""Hit ratios of the layers beside well-known policies, on recorded sessions or any trace.

`python -m benchmarks.hit_ratio [--trace FILE]...`

Without `--trace`: the sessions of each data set in `benchmarks/data`, one after another, as one
trace; a key belongs to its project. A trace file holds one key a line, optionally followed by a
tab and its size in tokens; empty lines and those that begin with `#` are left out.

Nothing is prefetched and nothing expires: each read is a hit or a demand. Sizes are 2, 5, 10, 20
and 40 % of the distinct keys. The layers share a size as by default, 20 : 50 : 100. What only the
layers know is in their rows: `ghosts` is the default, which remembers frequencies; `no ghosts` does
not; the other rows name the policy of all three layers.

The second part limits tokens rather than keys, to the same shares of the tokens of all keys: what
`gdsf` brings there, against the layers' default policies and against plain LRU.
"""

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

from attrs import frozen

from benchmarks.figures import Figure, finish, parser
from benchmarks.reference_caches import POLICIES, lru_tokens
from prefetch_scheduler.policies.cache_events import Publish, Put, Read, Withdraw
from prefetch_scheduler.policies.config import CacheRules, Config
from prefetch_scheduler.policies.content import Content, Entry
from prefetch_scheduler.policies.layers import CacheLayers
from prefetch_scheduler.policies.vocabulary import EvictionPolicy as Policy
from prefetch_scheduler.policies.vocabulary import Priority

DATA = Path(__file__).parent / "data"
SHARES = (0.02, 0.05, 0.1, 0.2, 0.4)
FOREVER = 4_000_000.0
SIMPLE = ("LRU", "LFU", "SIEVE")
"""The best of these is what the default is measured against."""


@frozen
class Trace:
    name: str
    keys: Sequence[str]
    tokens: dict[str, int]
    """By key: what it took when it was first read."""


def recorded(path: Path) -> Trace:
    """A data set's reads."""
    keys, tokens, project = [], {}, ""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            if event["event"] == "session":
                project = event.get("project", "")
            elif event["event"] == "access":
                key = f"{project} {event['key']}"
                keys.append(key)
                tokens.setdefault(key, max(1, event["tokens"]))
    return Trace(path.name.removesuffix(".jsonl.gz"), keys, tokens)


def from_file(path: Path) -> Trace:
    """One key a line, with its tokens behind a tab, if they are known."""
    keys, tokens = [], {}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            key, _, size = line.rstrip("\n").partition("\t")
            if not key or key.startswith("#"):
                continue
            if size and not size.strip().isdecimal():
                raise SystemExit(f"{path}:{number}: {size!r} is no whole number of tokens")
            keys.append(key)
            tokens.setdefault(key, max(1, int(size or 1)))
    if not keys:
        raise SystemExit(f"{path}: no key in it; expected one on each line")
    return Trace(path.name, keys, tokens)


def layered(
    size: int, *, max_tokens: int = 0, policy: str | None = None, ghosts: int = 0
) -> Config:
    """The layers with so many places in all, shared as by default."""
    hot, warm = max(1, size * 20 // 170), max(1, size * 50 // 170)
    named = (
        {}
        if policy is None
        else dict.fromkeys(("hot_policy", "warm_policy", "cold_policy"), policy)
    )
    rules = CacheRules(
        hot_ttl_s=FOREVER,
        warm_ttl_s=FOREVER,
        cold_ttl_s=FOREVER,
        max_tokens=max_tokens,
        ghost_entries=ghosts,
        **named,
    )
    return Config(
        hot_cache_size=hot,
        warm_cache_size=warm,
        cold_cache_size=max(1, size - hot - warm),
        cache=rules,
    )


def hits_of(trace: Trace, config: Config) -> int:
    """Reads that the layers serve."""
    machine, held, hits = CacheLayers(config), set[str](), 0
    for at, key in enumerate(trace.keys):
        if key in held:
            hits += 1
            effects = machine.take_reads([Read(key, "s", 0.0)], (), 0.0)
        else:
            content = Content("", tokens=trace.tokens[key])
            entry = Entry(key, content, 0, 0, float(at), 0.0, 0.0, "s", Priority.P2)
            effects = machine.handle(Put(entry), 0.0)
        for effect in effects:
            if isinstance(effect, Publish):
                held.add(effect.stored)
            elif isinstance(effect, Withdraw):
                held.discard(effect.stored)
    return hits


def by_keys(trace: Trace) -> dict[str, list[float]]:
    """Hit ratio of each policy at each size."""
    distinct = len(set(trace.keys))
    sides: dict[str, Callable[[int], int]] = {
        "default": lambda size: hits_of(trace, layered(size, ghosts=1000)),
        "no ghosts": lambda size: hits_of(trace, layered(size)),
    }
    for policy in (
        Policy.LRU,
        Policy.LFU,
        Policy.FIFO,
        Policy.SIEVE,
    ):
        sides[f"layers, {policy}"] = lambda size, p=policy: hits_of(  # type: ignore[misc]  # no type for a lambda's default
            trace, layered(size, policy=p, ghosts=1000)
        )
    for name, hits in POLICIES.items():
        sides[name] = lambda size, h=hits: h(trace.keys, size)  # type: ignore[misc]  # as above
    sizes = [max(6, round(share * distinct)) for share in SHARES]
    return {name: [hits(size) / len(trace.keys) for size in sizes] for name, hits in sides.items()}


def by_tokens(trace: Trace) -> dict[str, list[float]]:
    """The same, where tokens are limited and places are not."""
    distinct, total = len(set(trace.keys)), sum(trace.tokens.values())
    places = 3 * distinct + 3
    sides: dict[str, Callable[[int], int]] = {
        "LRU in tokens": lambda size: lru_tokens(trace.keys, trace.tokens, size),
        "layers in tokens": lambda size: hits_of(
            trace, layered(distinct, max_tokens=size, ghosts=1000)
        ),
        "layers in tokens, gdsf": lambda size: hits_of(
            trace, layered(places, max_tokens=size, policy=Policy.GDSF, ghosts=1000)
        ),
    }
    sizes = [max(1, round(share * total)) for share in SHARES]
    return {name: [hits(size) / len(trace.keys) for size in sizes] for name, hits in sides.items()}


def means(found: Sequence[dict[str, list[float]]], name: str) -> list[float]:
    """A policy's mean over the sizes, in each trace."""
    return [mean(ratios[name]) for ratios in found]


def figures_of(found: Sequence[dict[str, list[float]]]) -> list[Figure]:
    """Each policy's mean over traces and sizes, and how far the default is from the best."""
    rows = []
    for name in found[0]:
        values = [ratio for ratios in found for ratio in ratios[name]]
        rows.append(Figure(f"hit ratio, {name}", mean(values), "", (min(values), max(values))))
    return rows


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--trace", type=Path, action="append", default=[], help="a trace file")
    options = made.parse_args()
    paths = sorted(DATA.glob("*.jsonl.gz"))
    traces = [from_file(path) for path in options.trace] or [recorded(path) for path in paths]
    if options.quick:
        traces = [Trace(t.name, t.keys[:2000], t.tokens) for t in traces]
    keyed = [by_keys(trace) for trace in traces]
    figures = figures_of(keyed)
    best = max(mean(means(keyed, name)) for name in SIMPLE)
    behind = 100 * (best - mean(means(keyed, "default")))
    figures.append(
        Figure("default behind the best of LRU, LFU, SIEVE", behind, "pts", (behind, behind), 1)
    )
    if any(size > 1 for trace in traces for size in trace.tokens.values()):
        weighed = [by_tokens(trace) for trace in traces]
        figures += figures_of(weighed)
        gains = [
            100 * (b - a)
            for ratios in weighed
            for a, b in zip(
                ratios["layers in tokens"], ratios["layers in tokens, gdsf"], strict=True
            )
        ]
        figures.append(
            Figure(
                "gdsf above the default, in tokens", mean(gains), "pts", (min(gains), max(gains))
            )
        )
    else:
        weighed = []
    details = {
        "shares": list(SHARES),
        "spread": "the lowest and the highest of all traces and sizes",
        "traces": {
            trace.name: {
                "reads": len(trace.keys),
                "keys": len(set(trace.keys)),
                "by_keys": keyed[number],
                "by_tokens": weighed[number] if weighed else {},
            }
            for number, trace in enumerate(traces)
        },
    }
    return finish("hit_ratio", figures, options, details=details)


if __name__ == "__main__":
    raise SystemExit(main())
