"""Which cache keys which sessions keep, resident or not (decision D13)."""

from prefetch_scheduler.policies.config import MAX_PINS


class Pins:
    """Pins by key and by session; at most `MAX_PINS` for each session."""

    def __init__(self) -> None:
        self._sessions: dict[str, set[str]] = {}  # cache key -> the sessions that keep it
        self._keys: dict[str, dict[str, None]] = {}  # session -> its cache keys, in order

    def add(self, stored: str, session: str) -> bool:
        """Pin a key. False: the session has as many as it may."""
        keys = self._keys.get(session)
        if keys is None:
            keys = self._keys[session] = {}
        if stored not in keys and len(keys) >= MAX_PINS:
            return False
        keys[stored] = None
        self._sessions.setdefault(stored, set()).add(session)
        return True

    def remove(self, stored: str, session: str) -> bool:
        """Release a pin. False: there was none."""
        keys = self._keys.get(session)
        if keys is None or stored not in keys:
            return False
        del keys[stored]
        if not keys:
            del self._keys[session]
        sessions = self._sessions[stored]
        sessions.discard(session)
        if not sessions:
            del self._sessions[stored]
        return True

    def of(self, session: str) -> tuple[str, ...]:
        """The cache keys that a session keeps, in the order in which it pinned them."""
        return tuple(self._keys.get(session, ()))

    def __contains__(self, stored: str) -> bool:
        return stored in self._sessions

    def __len__(self) -> int:
        return len(self._sessions)

    def faults(self) -> list[str]:
        """Where the two sides differ; for tests."""
        left = {(key, session) for key, held in self._sessions.items() for session in held}
        right = {(key, session) for session, held in self._keys.items() for key in held}
        return [f"pins: {pair} is known from one side only" for pair in sorted(left ^ right)]
