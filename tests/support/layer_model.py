"""The cache layers as a plain list of dicts: slow, and obviously what the decisions say.

Compared with `CacheLayers` step by step. Also `Cache`, which drives the real machine as the actor
and its readers do.
"""

from collections import Counter
from collections.abc import Iterable
from math import floor, log2
from typing import Any

from prefetch_scheduler.policies.cache_events import (
    CacheCommand,
    FirstRead,
    Pin,
    Publish,
    Put,
    Read,
    Withdraw,
)
from prefetch_scheduler.policies.config import CacheRules, Config
from prefetch_scheduler.policies.content import Content, Entry, unread_token
from prefetch_scheduler.policies.keys import matches
from prefetch_scheduler.policies.layers import CacheEffect, CacheLayers
from prefetch_scheduler.policies.vocabulary import Lane, Priority

Row = dict[str, Any]
BELOW = {"hot": "warm", "warm": "cold"}


def config(hot: int = 2, warm: int = 3, cold: int = 4, **rules: Any) -> Config:
    """Small layers, with TTLs of 10, 20 and 30 s, and 5 s for unread background entries."""
    times = {
        "hot_ttl_s": 10.0,
        "warm_ttl_s": 20.0,
        "cold_ttl_s": 30.0,
        "unread_background_s": 5.0,
        "unread_share": 0.34,
    }
    return Config(
        hot_cache_size=hot,
        warm_cache_size=warm,
        cold_cache_size=cold,
        cache=CacheRules(**{**times, **rules}),
    )


def an_entry(
    key: str,
    *,
    prefetch: int = 0,
    priority: int = 2,
    lane: Lane | None = Lane.IMMEDIATE,
    session: str = "s",
    epoch: int = 0,
    asked_at: float = 0.0,
    value: str = "text",
    tokens: int = 1,
) -> Entry:
    """What the planner puts: with a number it is an unread prefetch, without one a demand."""
    return Entry(
        stored=key,
        content=Content(value, tokens=tokens),
        source_id=0,
        epoch=epoch,
        asked_at=asked_at,
        loaded_at=asked_at,
        load_s=0.1,
        session=session,
        priority=Priority(priority),
        lane=lane if prefetch else None,
        prefetch_id=prefetch,
        first_read=unread_token() if prefetch else (),
    )


class Cache:
    """The machine, the dict that readers see, and what has been told of it."""

    def __init__(self, configured: Config | None = None) -> None:
        self.config = configured or config()
        self.machine = CacheLayers(self.config)
        self.view: dict[str, Entry] = {}
        self.now = 0.0
        self.reads: list[Read] = []
        self.firsts: list[FirstRead] = []
        self.told: list[CacheEffect] = []
        """Every effect but those on the view, oldest first."""

    def do(self, command: CacheCommand) -> list[CacheEffect]:
        return self._apply(self.machine.handle(command, self.now))

    def put(self, key: str, *pin_for: str, **more: Any) -> list[CacheEffect]:
        more.setdefault("asked_at", self.now)
        return self.do(Put(an_entry(key, **more), 7, pin_for))

    def read(self, key: str, session: str = "s", *, drain: bool = True, lose: bool = False) -> bool:
        """Read from the view as a host's thread does. `lose`: the note of recency is lost."""
        entry = self.view.get(key)
        if entry is None:
            return False
        if not lose:
            self.reads.append(Read(key, session, self.now))
        if entry.first_read:
            entry.first_read.pop()
            self.firsts.append(FirstRead(entry.prefetch_id, key, session, self.now))
        if drain:
            self.drain()
        return True

    def drain(self) -> list[CacheEffect]:
        reads, self.reads = self.reads, []
        firsts, self.firsts = self.firsts, []
        return self._apply(self.machine.take_reads(reads, firsts, self.now))

    def restart(self, pins: Iterable[tuple[str, str]]) -> None:
        """Go on with a new machine, as the next incarnation of the actor does."""
        earlier, self.machine = self.machine, CacheLayers(self.config)
        for session, stored in pins:
            self.machine.handle(Pin(stored, session), self.now)
        self._apply(self.machine.take_over(list(self.view.values()), earlier, self.now))

    def wait(self, seconds: float) -> list[CacheEffect]:
        """Let time pass and tick at each deadline, as the actor's timer does."""
        end, effects = self.now + seconds, []
        while (due := self.machine.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            effects += self._apply(self.machine.tick(self.now))
        self.now = end
        return effects

    def tick(self) -> list[CacheEffect]:
        return self._apply(self.machine.tick(self.now))

    def layers(self) -> dict[str, str]:
        """Key -> the layer it is served from."""
        return {stored: str(entry.content.layer) for stored, entry in self.view.items()}

    def all(self, kind: type) -> list[Any]:
        return [effect for effect in self.told if isinstance(effect, kind)]

    def _apply(self, effects: list[CacheEffect]) -> list[CacheEffect]:
        for effect in effects:
            if isinstance(effect, Publish):
                self.view[effect.stored] = effect.entry
            elif isinstance(effect, Withdraw):
                self.view.pop(effect.stored, None)
            else:
                self.told.append(effect)
        self.machine.check()
        return effects


class Model:
    """Every rule written down once more, over one list, with no thought of speed."""

    def __init__(self, configured: Config) -> None:
        self.limits = {
            "hot": configured.hot_cache_size,
            "warm": configured.warm_cache_size,
            "cold": configured.cold_cache_size,
        }
        self.rules = configured.cache
        self.policies = {
            "hot": self.rules.hot_policy,
            "warm": self.rules.warm_policy,
            "cold": self.rules.cold_policy,
            "pinned": "lru",
        }
        self.hands: dict[str, Row | None] = {}
        self.passed = dict.fromkeys(self.policies, 0.0)
        self.ghosts: list[tuple[str, int]] = []  # (stored, reads), the last one to leave last
        self.newcomer: Row | None = None
        self.share = int(self.rules.unread_share * sum(self.limits.values()))
        self.rows: list[Row] = []
        self.pins: list[tuple[str, str]] = []  # (session, stored)
        self.marks: list[tuple[int, str]] = []
        self.acknowledged: list[tuple[int, str]] = []
        self.wasted: set[int] = set()
        self.reads: list[tuple[str, str]] = []
        self.firsts: list[tuple[int, str, str]] = []
        self.now = 0.0
        self.turn = 0
        self.told: Counter[tuple[Any, ...]] = Counter()

    # ---- what hosts and the planner do -------------------------------------------------------

    def put(self, entry: Entry, pin_for: tuple[str, ...] = ()) -> None:
        if any(e > entry.epoch and matches(p, entry.stored) for e, p in self.marks):
            self.told["refused", entry.stored] += 1
            return
        old = self.find(entry.stored)
        self.told["stored", entry.stored] += 1
        one = (entry.asked_at, entry.epoch, entry.prefetch_id)
        same = old is not None and (old["asked_at"], old["epoch"], old["id"]) == one
        if old is not None and same and old["value"] is entry.content.value:
            for session in pin_for:  # the same load once more
                self.pin(entry.stored, session)
            return
        if old is not None and old["asked_at"] > entry.asked_at:
            if entry.prefetch_id:
                self.waste_id(entry.prefetch_id, "replaced")
            for session in pin_for:
                self.pin(entry.stored, session)
            return
        freq = old["freq"] if old is not None else 0
        if old is not None:
            self.drop(old, "replaced")
        for session in pin_for:
            self.pin(entry.stored, session)
        read = entry.prefetch_id == 0
        self.add(entry, read=read, freq=freq + read)

    def read(self, stored: str, session: str, *, lose: bool) -> None:
        row = self.find(stored)
        if row is None:
            return
        if not lose:
            self.reads.append((stored, session))
        if row["token"]:
            row["token"] = False
            self.firsts.append((row["id"], stored, session))

    def drain(self) -> None:
        firsts, self.firsts = self.firsts, []
        reads, self.reads = self.reads, []
        for number, stored, session in firsts:
            row = self.find(stored)
            if row is None or row["id"] != number:
                if number not in self.wasted:
                    self.told["used", number] += 1
                continue
            if row["open"]:
                row["open"] = False
                self.told["used", number] += 1
            if not row["read"]:
                self.hit(row, session)
        for stored, session in reads:
            row = self.find(stored)
            if row is not None and not row["token"]:
                row["next_freq"] = min(row["freq"] + 1, 15)
                self.hit(row, session)

    def invalidate(self, epoch: int, pattern: str, handed: Entry | None) -> None:
        self.marks.append((epoch, pattern))
        self.told["invalidated", epoch] += 1
        later = [p for e, p in self.marks if e > epoch]
        # Of acknowledged prefixes only the newest is remembered, and taken to cover every key.
        later += ["*" if p.endswith("*") else p for e, p in self.acknowledged if e > epoch]
        stale = [r for r in self.rows if matches(pattern, r["stored"]) and r["epoch"] < epoch]
        if handed is not None:
            there = self.find(handed.stored)
            if any(matches(p, handed.stored) for p in later) or (there and there not in stale):
                handed = None
        for row in stale:
            if handed is None or row["stored"] != handed.stored:
                self.drop(row, "invalidated")
        if handed is not None:
            there = self.find(handed.stored)
            self.told["stored", handed.stored] += 1
            freq, read = 0, False
            if there is not None:
                handed.priority = there["priority"]
                freq = there["freq"]
                read = self.drop(there, "replaced")
            self.add(handed, read=read, freq=freq)

    def acknowledge(self, epoch: int) -> None:
        self.acknowledged += [mark for mark in self.marks if mark[0] == epoch]
        self.marks = [mark for mark in self.marks if mark[0] != epoch]

    def pin(self, stored: str, session: str) -> None:
        mine = [key for who, key in self.pins if who == session]
        if stored in mine or len(mine) >= 10:
            return
        self.pins.append((session, stored))
        row = self.find(stored)
        if row is not None and row["layer"] != "pinned":
            self.place(row, "pinned")

    def unpin(self, stored: str, session: str) -> None:
        if (session, stored) in self.pins:
            self.pins.remove((session, stored))
            self.release(stored)

    def end_session(self, session: str) -> None:
        mine = [r for r in self.rows if r["session"] == session and r["owned"]]
        mine.sort(key=lambda row: row["touched"])
        for row in mine:
            row["owned"] = False
            self.waste(row, "session_ended")
        for stored in [key for who, key in self.pins if who == session]:
            self.pins.remove((session, stored))
            self.release(stored)
        for row in mine:
            if row in self.rows and row["layer"] == "hot":
                self.demote(row, "evicted")

    def restart(self, order: list[str]) -> None:
        """The order is that of the last reads; `order` decides between those of one moment."""
        self.hands.clear()
        self.passed = dict.fromkeys(self.policies, 0.0)
        for row in sorted(self.rows, key=lambda r: (r["since"], order.index(r["stored"]))):
            row["turn"] = row["touched"] = row["entered"] = self.next_turn()
            row["spared"], row["rank"] = False, self.rank(row)

    def tick(self) -> None:
        while True:
            due = [(self.deadline(row), row) for row in self.rows if row["layer"] != "pinned"]
            due = [(when, row) for when, row in due if when[0] <= self.now]
            if not due:
                return
            self.demote(min(due, key=lambda pair: pair[0])[1], "expired")

    # ---- rules ---------------------------------------------------------------------------------

    def find(self, stored: str) -> Row | None:
        return next((row for row in self.rows if row["stored"] == stored), None)

    def add(self, entry: Entry, *, read: bool, freq: int) -> None:
        row: Row = {
            "stored": entry.stored,
            "id": entry.prefetch_id,
            "token": entry.prefetch_id != 0,
            "open": entry.prefetch_id != 0,
            "priority": entry.priority,
            "background": entry.lane is Lane.BACKGROUND,
            "session": entry.session,
            "owned": True,
            "touched": self.next_turn(),
            "epoch": entry.epoch,
            "asked_at": entry.asked_at,
            "value": entry.content.value,
            "tokens": entry.tokens,
            "size": entry.content.size,
            "read": read,
            "freq": min(freq + self.recalled(entry.stored), 15),
        }
        self.rows.append(row)
        self.newcomer = row
        pinned = any(stored == entry.stored for _, stored in self.pins)
        self.place(row, "pinned" if pinned else "hot" if read else "warm")

    def hit(self, row: Row, session: str) -> None:
        stays = row["layer"] == "pinned" or (row["layer"] == "hot" and row["read"])
        row["read"] = True
        row["freq"] = row.pop("next_freq", row["freq"])
        row["session"], row["owned"], row["touched"] = session, True, self.next_turn()
        if not stays:
            self.place(row, "hot")
            return
        row["since"], row["turn"] = self.now, self.next_turn()
        row["spared"] = True
        if self.policies[row["layer"]] in ("lfu", "gdsf"):
            row["entered"], row["rank"] = self.next_turn(), self.rank(row)

    def place(self, row: Row, layer: str) -> None:
        self.leave(row)
        row["layer"], row["since"] = layer, self.now
        row["turn"] = row["entered"] = self.next_turn()
        row["spared"], row["rank"] = False, self.rank(row)
        held = [each for each in self.rows if each["layer"] == layer]
        if layer != "pinned" and len(held) > self.limits[layer]:
            self.demote(self.victim(held, row), "evicted")

    def leave(self, row: Row) -> None:
        """The hand of a sieve goes on to the next newer one."""
        layer = row.get("layer", "")
        if self.hands.get(layer) is row:
            walked = self.walked(layer)
            self.hands[layer] = (walked[walked.index(row) + 1 :] or [None])[0]

    def walked(self, layer: str) -> list[Row]:
        mine = [row for row in self.rows if row["layer"] == layer and self.priority(row) == 1]
        return sorted(mine, key=lambda row: row["entered"])

    def value_class(self, row: Row) -> int:
        return floor(2 * log2(max(row["freq"], 1) / max(row["tokens"], 1)))

    def rank(self, row: Row) -> float:
        return self.passed[row["layer"]] + float(2.0 ** (self.value_class(row) / 2))

    def victim(self, held: list[Row], newcomer: Row) -> Row:
        here = [row for row in held if self.unread(row)]
        if self.unread_too_many() and here:
            return min(here, key=lambda row: row["turn"])
        return self.first_of(held, newcomer)

    def first_of(self, held: list[Row], newcomer: Row | None) -> Row:
        """Whom the layer's policy gives up."""
        layer = held[0]["layer"]
        policy = self.policies[layer]
        others = [row for row in held if row is not newcomer]
        lowest = max(self.priority(row) for row in others)
        others = [row for row in others if self.priority(row) == lowest]
        if policy == "lfu":
            return min(others, key=lambda row: (row["freq"] if row["read"] else 0, row["entered"]))
        if policy == "gdsf" and lowest == 1:
            key = lambda row: (row["rank"], self.value_class(row), row["entered"])  # noqa: E731
            found = min(others, key=key)
            self.passed[layer] = max(self.passed[layer], found["rank"])
            return found
        if policy == "sieve" and lowest == 1:
            walked = self.walked(layer)
            oldest = walked[0] if walked[0] is not newcomer else walked[1]
            at = self.hands.get(layer) or oldest
            while at is newcomer or at["spared"]:
                at["spared"] = False
                at = (walked[walked.index(at) + 1 :] or [oldest])[0]
            self.hands[layer] = at
            return at
        return min(others, key=lambda row: row["turn" if policy in ("lru", "ttl") else "entered"])

    def unread_too_many(self) -> bool:
        rows = [row for row in self.rows if self.unread(row) and row["layer"] != "pinned"]
        return len(rows) > self.share

    def shed(self) -> None:
        """After each command: no more tokens and bytes than the layers may hold together."""
        newcomer, self.newcomer = self.newcomer, None
        if newcomer not in self.rows or newcomer["layer"] == "pinned":
            newcomer = None
        if newcomer is not None and self.too_much([newcomer]):
            self.drop(newcomer, "evicted")
            newcomer = None
        while self.too_much(counted := [r for r in self.rows if r["layer"] != "pinned"]):
            layers = [
                [r for r in counted if r["layer"] == name] for name in ("cold", "warm", "hot")
            ]
            layers = [held for held in layers if any(row is not newcomer for row in held)]
            if not layers:
                return
            if self.unread_too_many():
                for held in layers:
                    unread = [row for row in held if self.unread(row)]
                    first = min(unread, key=lambda row: row["turn"], default=newcomer)
                    if first is not newcomer:
                        self.drop(first, "evicted")
                        break
                else:
                    self.drop(self.first_of(layers[0], newcomer), "evicted")
                continue
            self.drop(self.first_of(layers[0], newcomer), "evicted")

    def too_much(self, rows: list[Row]) -> bool:
        tokens, size = sum(row["tokens"] for row in rows), sum(row["size"] for row in rows)
        most_tokens, most_size = self.rules.max_tokens, self.rules.max_bytes
        return bool((most_tokens and tokens > most_tokens) or (most_size and size > most_size))

    def recalled(self, stored: str) -> int:
        found = sum(freq for key, freq in self.ghosts if key == stored)
        self.ghosts = [pair for pair in self.ghosts if pair[0] != stored]
        return found

    def remember(self, row: Row) -> None:
        if row["freq"]:
            self.recalled(row["stored"])
            self.ghosts.append((row["stored"], row["freq"]))
            most = self.rules.ghost_entries
            self.ghosts = self.ghosts[-most:] if most else []

    def priority(self, row: Row) -> int:
        return 1 if row["read"] else int(row["priority"])

    def unread(self, row: Row) -> bool:
        return row["id"] != 0 and not row["read"]

    def demote(self, row: Row, cause: str) -> None:
        if row["layer"] == "cold":
            self.drop(row, cause)
        else:
            self.place(row, BELOW[row["layer"]])

    def deadline(self, row: Row) -> tuple[float, int, int]:
        since, turn = row["since"], row["turn"]
        if row["layer"] == "hot":
            return since + self.rules.hot_ttl_s, 0, turn
        if row["layer"] == "cold":
            return since + self.rules.cold_ttl_s, 3, turn
        if row["background"] and self.unread(row):
            return since + min(self.rules.unread_background_s, self.rules.warm_ttl_s), 2, turn
        return since + self.rules.warm_ttl_s, 1, turn

    def release(self, stored: str) -> None:
        row = self.find(stored)
        if row is not None and all(key != stored for _, key in self.pins):
            self.place(row, "hot" if row["read"] and row["owned"] else "warm")

    def drop(self, row: Row, cause: str) -> bool:
        self.leave(row)
        self.rows.remove(row)
        if cause != "replaced":
            self.remember(row)
        self.waste(row, cause)
        was_read = bool(row["read"] or row["open"])
        self.told["removed", row["stored"], cause, was_read, row["session"]] += 1
        return was_read

    def waste(self, row: Row, reason: str) -> None:
        if row["open"] and row["token"]:
            row["open"] = row["token"] = False
            self.waste_id(row["id"], reason)

    def waste_id(self, number: int, reason: str) -> None:
        self.wasted.add(number)
        self.told["wasted", number, reason] += 1

    def next_turn(self) -> int:
        self.turn += 1
        return self.turn

    def state(self) -> dict[str, tuple[Any, ...]]:
        """Key -> served as, prefetch, when it entered or was read, read, reads, session."""
        return {
            r["stored"]: (
                "hot" if r["layer"] == "pinned" else r["layer"],
                r["id"],
                r["since"],
                r["read"],
                r["freq"],
                r["session"],
            )
            for r in self.rows
        }
