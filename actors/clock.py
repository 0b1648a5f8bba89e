"""The engine's time: seconds since its start, from the monotonic clock."""

import math
import time
from datetime import date


def local_day(wall: float) -> int:
    """Ordinal of the local calendar day of a wall-clock time."""
    day = time.localtime(wall)
    return date(day.tm_year, day.tm_mon, day.tm_mday).toordinal()


class _Day:
    """The local day, worked out once a second: it is asked for with every message."""

    def __init__(self) -> None:
        self._known: tuple[int | None, int] = None, 0  # replaced as a whole: any thread may ask

    def of(self, wall: float) -> int:
        second, day = self._known
        if second != int(wall):
            day = local_day(wall)
            self._known = int(wall), day
        return day


class SystemClock:
    """Real time. Setting the machine's clock moves `wall` and `today`, never `now`."""

    def __init__(self) -> None:
        self._origin = time.monotonic()
        self._day = _Day()

    def now(self) -> float:
        """Engine seconds since the clock was made; never runs backwards."""
        return time.monotonic() - self._origin

    def wall(self) -> float:
        """Wall-clock seconds since the epoch."""
        return time.time()

    def today(self) -> int:
        """Ordinal of the local calendar day."""
        return self._day.of(self.wall())

    def real(self, seconds: float) -> float:
        """How many real seconds so many engine seconds take."""
        return seconds


class ScaledClock:
    """Time that runs `speed` times as fast as real time: what a replay at a higher speed needs.

    Its wall clock starts at the real one and runs at the same speed as `now`, so that the days
    of a report go with the session's own time.

    Raises:
        ValueError: `speed` is not a positive finite number.
    """

    def __init__(self, speed: float) -> None:
        if not (math.isfinite(speed) and speed > 0):
            raise ValueError(f"speed must be a positive finite number, got {speed!r}")
        self.speed = speed
        self._origin = time.monotonic()
        self._wall = time.time()
        self._day = _Day()

    def now(self) -> float:
        """Engine seconds since the clock was made; never runs backwards."""
        return (time.monotonic() - self._origin) * self.speed

    def wall(self) -> float:
        """Wall-clock seconds since the epoch, at the clock's own speed."""
        return self._wall + self.now()

    def today(self) -> int:
        """Ordinal of the local calendar day."""
        return self._day.of(self.wall())

    def real(self, seconds: float) -> float:
        """How many real seconds so many engine seconds take."""
        return seconds / self.speed
