"""Whether the accounting adds up. For tests, and for a host that wants to be sure."""

from collections.abc import Iterator

from prefetch_scheduler.policies.counts import NUMBERS, Counts
from prefetch_scheduler.policies.ledger import Ledger
from prefetch_scheduler.policies.session_accounts import SessionAccounts

_SLACK = 1e-6
"""Seconds that sums of floats may differ by, for each second summed and one more."""


def audit(sessions: SessionAccounts, ledger: Ledger) -> tuple[str, ...]:
    """One line for each identity that does not hold; empty where all do."""
    total = sessions.total.counts
    faults = list(_own_faults("total", total, ledger.open()))
    faults.extend(_own_faults("forgotten", sessions.forgotten, ledger.open(sessions.forgotten)))
    summed = sessions.forgotten.copy()
    for account in sessions:
        name = f"session {account.session!r}"
        faults.extend(_own_faults(name, account.counts, ledger.open(account.counts)))
        summed.add(account.counts)
    for name in NUMBERS:
        ours, theirs = getattr(total, name), getattr(summed, name)
        if abs(ours - theirs) > (_SLACK * (1 + ours) if isinstance(ours, float) else 0):
            faults.append(f"total: {name} is {ours}, its sessions add up to {theirs}")
    return tuple(faults)


def _own_faults(name: str, c: Counts, open_: tuple[int, int]) -> Iterator[str]:
    count, tokens = open_
    if c.prefetches != c.ended + count:
        yield (
            f"{name}: {c.prefetches} prefetches are not {c.used} used + {c.wasted} wasted"
            f" + {c.cancelled} cancelled + {c.failed} failed + {count} open"
        )
    if c.tokens_prefetched != c.tokens_used + c.tokens_wasted + c.tokens_failed + tokens:
        yield (
            f"{name}: {c.tokens_prefetched} tokens prefetched are not {c.tokens_used} used"
            f" + {c.tokens_wasted} wasted + {c.tokens_failed} failed + {tokens} open"
        )
    if sum(c.causes.values()) != c.prefetches:
        yield f"{name}: causes {c.causes} do not add up to {c.prefetches} prefetches"
    if c.missed_predicted + c.missed_unpredicted != c.joined + c.misses:
        yield f"{name}: {c.joined} joined and {c.misses} misses are not all listed"
    if c.accurate > c.used or c.inaccurate > c.wasted + c.cancelled:
        yield f"{name}: more predictions judged than prefetches ended"
    if sum(c.days.values()) > c.latency_saved_s + _SLACK * (1 + c.latency_saved_s):
        yield f"{name}: the days save more than the {c.latency_saved_s} s in all"
    for number in NUMBERS:
        if getattr(c, number) < 0:
            yield f"{name}: {number} is {getattr(c, number)}"
