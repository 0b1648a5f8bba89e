"""How often the keys were read that are not in the cache any more. Bounded; no content is kept."""

from collections import OrderedDict


class Ghosts:
    """The keys that left last, with their frequencies.

    An entry that comes back goes on with the frequency that it had: so an order by frequency does
    not take what is read again and again, at long intervals, for something new each time.

    Args:
        limit: most keys; the one that left first is forgotten first. 0: none are remembered.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left: OrderedDict[str, int] = OrderedDict()

    def remember(self, stored: str, freq: int) -> None:
        """An entry that was read `freq` times leaves."""
        if freq and self._limit:
            self._left[stored] = freq
            self._left.move_to_end(stored)
            if len(self._left) > self._limit:
                self._left.popitem(last=False)

    def recall(self, stored: str) -> int:
        """The frequency of a key that comes back; it is not remembered any more."""
        return self._left.pop(stored, 0)

    def take_over(self, earlier: "Ghosts") -> None:
        """Go on with what another one remembers."""
        for stored, freq in earlier._left.items():
            self.remember(stored, freq)

    def __len__(self) -> int:
        return len(self._left)
