"""Well-known cache policies, small and plain, to compare hit ratios with.

Each is a function of a trace and a size, and gives the number of hits. A size counts keys, but for
`lru_tokens`. None of them knows time.
"""

import heapq
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from math import inf

Trace = Sequence[str]


def lru(trace: Trace, size: int) -> int:
    """Least recently used."""
    held: OrderedDict[str, None] = OrderedDict()
    hits = 0
    for key in trace:
        if key in held:
            hits += 1
            held.move_to_end(key)
            continue
        if len(held) >= size:
            held.popitem(last=False)
        held[key] = None
    return hits


def lru_tokens(trace: Trace, tokens: Mapping[str, int], size: int) -> int:
    """Least recently used, within so many tokens; what is larger is not kept."""
    held: OrderedDict[str, int] = OrderedDict()
    hits = used = 0
    for key in trace:
        if key in held:
            hits += 1
            held.move_to_end(key)
            continue
        if tokens[key] > size:
            continue
        while used + tokens[key] > size:
            used -= held.popitem(last=False)[1]
        held[key] = tokens[key]
        used += tokens[key]
    return hits


def lfu(trace: Trace, size: int) -> int:
    """Least frequently used since it came; of these the one used longest ago."""
    held: dict[str, int] = {}
    buckets: dict[int, OrderedDict[str, None]] = {}
    hits = 0
    for key in trace:
        count = held.get(key, 0)
        if count:
            hits += 1
            del buckets[count][key]
            if not buckets[count]:
                del buckets[count]
        elif len(held) >= size:
            least = min(buckets)
            victim, _ = buckets[least].popitem(last=False)
            if not buckets[least]:
                del buckets[least]
            del held[victim]
        held[key] = count + 1
        buckets.setdefault(count + 1, OrderedDict())[key] = None
    return hits


def sieve(trace: Trace, size: int) -> int:
    """Zhang et al., "SIEVE is simpler than LRU" (NSDI 2024)."""
    queue: list[str] = []  # oldest first
    visited: dict[str, bool] = {}
    hand = hits = 0
    for key in trace:
        if key in visited:
            hits += 1
            visited[key] = True
            continue
        if len(queue) >= size:
            hand = hand if hand < len(queue) else 0
            while visited[queue[hand]]:
                visited[queue[hand]] = False
                hand = hand + 1 if hand + 1 < len(queue) else 0
            del visited[queue.pop(hand)]
        queue.append(key)
        visited[key] = False
    return hits


def s3_fifo(trace: Trace, size: int) -> int:
    """Yang et al., "FIFO queues are all you need for cache eviction" (SOSP 2023)."""
    small_size = max(1, size // 10)
    main_size = max(1, size - small_size)
    small: deque[str] = deque()
    main: deque[str] = deque()
    ghosts: OrderedDict[str, None] = OrderedDict()
    counts: dict[str, int] = {}
    hits = 0

    def make_room_in_main() -> None:
        while len(main) >= main_size:
            oldest = main.popleft()
            if counts[oldest]:
                counts[oldest] -= 1
                main.append(oldest)
            else:
                del counts[oldest]

    for key in trace:
        if key in counts:
            hits += 1
            counts[key] = min(3, counts[key] + 1)
            continue
        if key in ghosts:
            del ghosts[key]
            make_room_in_main()
            main.append(key)
            counts[key] = 0
            continue
        while len(small) >= small_size:
            oldest = small.popleft()
            if counts[oldest] > 1:
                make_room_in_main()
                counts[oldest] = 0
                main.append(oldest)
            else:
                del counts[oldest]
                ghosts[oldest] = None
                if len(ghosts) > main_size:
                    ghosts.popitem(last=False)
        small.append(key)
        counts[key] = 0
    return hits


def w_tinylfu(trace: Trace, size: int) -> int:
    """Einziger, Friedman, Manes, "TinyLFU" (2017): a window of 1 %, the rest in two segments, of
    which the protected one takes 80 %. Frequencies are counted exactly, up to 15, and halved after
    ten times as many reads as there are places.
    """
    window_size = max(1, size // 100)
    main_size = max(1, size - window_size)
    protected_size = int(main_size * 0.8)
    window: OrderedDict[str, None] = OrderedDict()
    probation: OrderedDict[str, None] = OrderedDict()
    protected: OrderedDict[str, None] = OrderedDict()
    counts: Counter[str] = Counter()
    seen = hits = 0
    for key in trace:
        counts[key] = min(15, counts[key] + 1)
        seen += 1
        if seen >= 10 * size:
            counts = Counter({k: n // 2 for k, n in counts.items() if n > 1})
            seen //= 2
        if key in window:
            hits += 1
            window.move_to_end(key)
        elif key in protected:
            hits += 1
            protected.move_to_end(key)
        elif key in probation:
            hits += 1
            del probation[key]
            protected[key] = None
            if len(protected) > protected_size:
                probation[protected.popitem(last=False)[0]] = None
        else:
            window[key] = None
            if len(window) > window_size:
                candidate = window.popitem(last=False)[0]
                if len(probation) + len(protected) < main_size:
                    probation[candidate] = None
                    continue
                segment = probation or protected
                victim = next(iter(segment))
                if counts[candidate] > counts[victim]:
                    del segment[victim]
                    probation[candidate] = None
    return hits


def clairvoyant(trace: Trace, size: int) -> int:
    """Belady (1966): gives up what is read again the latest, the newcomer itself included."""
    following: list[float] = [inf] * len(trace)
    last: dict[str, int] = {}
    for at in range(len(trace) - 1, -1, -1):
        following[at] = last.get(trace[at], inf)
        last[trace[at]] = at
    held: dict[str, float] = {}
    latest: list[tuple[float, str]] = []
    hits = 0
    for at, key in enumerate(trace):
        hits += key in held
        held[key] = following[at]
        heapq.heappush(latest, (-following[at], key))
        while len(held) > size:
            until, victim = heapq.heappop(latest)
            if held.get(victim) == -until:
                del held[victim]
    return hits


POLICIES: dict[str, Callable[[Trace, int], int]] = {
    "LRU": lru,
    "LFU": lfu,
    "SIEVE": sieve,
    "S3-FIFO": s3_fifo,
    "W-TinyLFU": w_tinylfu,
    "optimum": clairvoyant,
}
