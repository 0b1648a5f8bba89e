"""What a source loads and a host reads, and the record the cache keeps of it."""

from collections.abc import Hashable
from math import inf

from attrs import evolve, field

from prefetch_scheduler.policies.figures import MAX_TOKENS, is_number, shown, within
from prefetch_scheduler.policies.values import define, frozen
from prefetch_scheduler.policies.vocabulary import Lane, Layer, Priority


def _seconds(_: object, attribute: object, value: float | None) -> None:
    if value is not None and not (is_number(value) and within(value, inf)):
        name = getattr(attribute, "name", "value")
        allowed = "a number of at least 0 or None"
        raise ValueError(f"Content.{name} must be {allowed}, got {shown(value)}")


def _tokens(_: object, __: object, value: int | None) -> None:
    if value is not None and not (is_number(value, whole=True) and within(value, MAX_TOKENS)):
        allowed = f"a whole number in 0..{MAX_TOKENS:g} or None"
        raise ValueError(f"Content.tokens must be {allowed}, got {shown(value)}")


def byte_size(value: str | bytes) -> int:
    """Length in bytes (UTF-8 for text)."""
    if isinstance(value, bytes):
        return len(value)
    return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))


_set = object.__setattr__


@frozen
class Content:
    """One resource's content, as a source gives it and a reader gets it."""

    value: str | bytes
    tokens: int | None = field(default=None, kw_only=True, validator=_tokens)
    """Size in tokens; where a source gives none, the engine estimates it from the bytes."""
    version: Hashable = field(default=None, kw_only=True)
    """Compared with the source's `version(name)` at each read; None: not compared."""
    media_type: str | None = field(default=None, kw_only=True)
    max_age_s: float | None = field(default=None, kw_only=True, validator=_seconds)
    """Seconds after loading for which it may be served; None: until changed or evicted."""

    key: str | None = field(default=None, init=False)
    """Set by the engine: the resource's key."""
    source: str | None = field(default=None, init=False)
    """Set by the engine: the name of the source that loaded it."""
    loaded_at: float | None = field(default=None, init=False)
    """Set by the engine: wall-clock time of loading, in seconds since the epoch."""
    layer: Layer | None = field(default=None, init=False)
    """Set by the engine: the layer it was served from; None straight from a load."""
    stale: bool = field(default=False, init=False)
    """Set by the engine: it is past its `max_age_s` and was served because its source allows that
    (`stale_while_revalidate_s`, `stale_if_error_s`)."""

    _size: int | None = field(default=None, init=False, eq=False, repr=False)
    """Found once: to encode a long text takes a while."""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.value, str | bytes):
            raise TypeError(f"Content.value must be str or bytes, got {type(self.value).__name__}")

    @classmethod
    def counted(
        cls, value: str | bytes, tokens: int, size: int, version: Hashable = None
    ) -> "Content":
        """Content whose tokens and bytes have just been counted: there is nothing to check.

        It is the engine's alone until it is placed, and its key empty: placing it need not copy it.
        """
        made = object.__new__(cls)
        _set(made, "value", value)
        _set(made, "tokens", tokens)
        _set(made, "_size", size)
        _set(made, "version", version)
        _set(made, "media_type", None)
        _set(made, "max_age_s", None)
        _set(made, "key", "")
        _set(made, "source", None)
        _set(made, "loaded_at", None)
        _set(made, "layer", None)
        _set(made, "stale", False)
        return made

    @property
    def size(self) -> int:
        """Length of the value in bytes (UTF-8 for text)."""
        if self._size is None:
            _set(self, "_size", byte_size(self.value))
        return self._size or 0

    def placed(
        self,
        *,
        key: str,
        source: str | None,
        loaded_at: float | None,
        layer: Layer | None,
        tokens: int | None = None,
    ) -> "Content":
        """A copy that carries what the engine knows of it; `tokens` fills a missing count. Where
        nobody else has it (see `counted`) the content itself.
        """
        if tokens is None or self.tokens is not None:
            tokens = self.tokens
        if self.key == "" and type(self) is Content and key:
            copy = self
        elif type(self) is Content:  # each load is copied several times, and was checked once
            copy = object.__new__(Content)
            _set(copy, "value", self.value)
            _set(copy, "tokens", tokens)
            _set(copy, "version", self.version)
            _set(copy, "media_type", self.media_type)
            _set(copy, "max_age_s", self.max_age_s)
            _set(copy, "stale", False)
        else:
            copy = evolve(self, tokens=tokens)
        _set(copy, "key", key)
        _set(copy, "source", source)
        _set(copy, "loaded_at", loaded_at)
        _set(copy, "layer", layer)
        _set(copy, "_size", self._size)
        return copy

    def as_stale(self) -> "Content":
        """A copy that says of itself that it is past its age."""
        copy = self.in_layer(self.layer)
        _set(copy, "stale", True)
        return copy

    def in_layer(self, layer: Layer | None) -> "Content":
        """A copy served from another layer."""
        return self.placed(
            key=self.key or "", source=self.source, loaded_at=self.loaded_at, layer=layer
        )


def unread_token() -> bytearray:
    """A place with one token: `pop` takes it, and of many threads only one gets it. (Not a list:
    the garbage collector would have to look into that of every entry.)
    """
    return bytearray(1)


@define(eq=False, weakref_slot=False)
class Entry:
    """A resident content with what its readers must check. Published whole.

    Two things about it change, each at once: `content` is replaced by a copy that names another
    layer, and `first_read` holds one token until the first reader of a prefetched entry takes it,
    so that of many readers exactly one counts the first read.
    """

    stored: str
    """Cache key: the key, with the user for a private source."""
    content: Content
    source_id: int
    """Which source loaded it; -1 where the host handed it over and no source serves it."""
    epoch: int
    """The last invalidation that had been taken note of when the load was dispatched."""
    asked_at: float
    """Engine time at which the load was dispatched: content is at least as new as this."""
    loaded_at: float
    """Engine time at which the load ended."""
    load_s: float
    """How long the load took, in seconds."""
    session: str
    """The session it was loaded for."""
    priority: Priority
    lane: Lane | None = None
    """The lane it was prefetched in; None for demand."""
    prefetch_id: int = 0
    """The prefetch that brought it; 0: a reader's own demand did."""
    first_read: bytearray | tuple[()] = ()
    """See `unread_token`; empty where it was not prefetched, or its first read was counted."""

    @property
    def tokens(self) -> int:
        return self.content.tokens or 0

    def claim(self) -> bool:
        """Take the token of a prefetched entry: with it nobody can read it for the first time.

        False: it has none, or a reader was first. Safe in any thread.
        """
        token = self.first_read
        if isinstance(token, tuple):
            return False
        try:
            token.pop()
        except IndexError:
            return False
        return True

    def settle(self) -> None:
        """Its first read has been counted, or never will be."""
        self.claim()
        self.first_read = ()

    def is_same_load(self, other: "Entry") -> bool:
        """Whether both are of one load, or were handed over at once; their content may name other
        layers and versions.
        """
        return (
            self.content.value is other.content.value
            and self.asked_at == other.asked_at
            and self.loaded_at == other.loaded_at
            and self.epoch == other.epoch
            and self.prefetch_id == other.prefetch_id
        )

    def move(self, layer: Layer) -> None:
        """Serve it as from another layer. What readers have been given stays as it is."""
        self.content = self.content.in_layer(layer)
