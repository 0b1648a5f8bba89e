"""A source made from functions."""

from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence

from prefetch_scheduler.engine.sources.validation import require_source
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.prediction import FollowUp, Prediction

Loaded = str | bytes | Content
Load = Callable[..., Loaded | Awaitable[Loaded]]
LoadMany = Callable[
    ..., Sequence[Loaded | BaseException] | Awaitable[Sequence[Loaded | BaseException]]
]


class CallableSource:
    """Serves one kind of key by calling `load(name)`.

    ::

        def search(query: str) -> str: ...

        CallableSource("search", search, read_only=True, load_s=0.4)

    Args:
        kind: the kind of key that it serves.
        load: a plain or async function of the name that returns str, bytes or `Content`. It may
            take a parameter `cancel`, a `CancelToken`.
        read_only: whether calling it changes nothing. There is no default: what is not
            read-only is never prefetched, only loaded on demand.
        remote: whether calling it leaves this machine; prefetched only where the host opted in.
        private: whether content belongs to one user; it is then kept apart for each.
        tokens: size in tokens before loading: a constant, a function of the name, None: unknown.
        load_s: seconds that a load takes: a constant, a function of the name, None: unknown.
        version: what changes with the resource: a constant, or a quick plain function of the
            name that is called at every read; None: reads are not checked.
        max_concurrency: loads at once; None: the engine's limits.
        load_timeout_s: seconds after which a load is given up; None: the configuration's.
        stale_while_revalidate_s: seconds past its `max_age_s` for which content is still served,
            marked `stale`, while it is loaded again in the background.
        stale_if_error_s: seconds past its `max_age_s` for which content is served, marked `stale`,
            to a read whose load failed or was not there in time.
        load_many: loads several names in one call: plain or async as `load` is; returns one
            result or exception for each, in order.
        expand: a plain function of loaded content that gives further predictions.
        name: what logs and reports call it; None: its kind.

    Raises:
        ConfigError: an argument is wrong; one line for each fault.
    """

    def __init__(
        self,
        kind: str,
        load: Load,
        *,
        read_only: bool,
        remote: bool = False,
        private: bool = False,
        tokens: int | Callable[[str], int | None] | None = None,
        load_s: float | Callable[[str], float | None] | None = None,
        version: Hashable | Callable[[str], Hashable] = None,
        max_concurrency: int | None = None,
        load_timeout_s: float | None = None,
        stale_while_revalidate_s: float = 0.0,
        stale_if_error_s: float = 0.0,
        load_many: LoadMany | None = None,
        expand: Callable[[Content], Iterable[Prediction | FollowUp]] | None = None,
        name: str | None = None,
    ) -> None:
        self.kind = kind
        self.load = load
        self.read_only = read_only
        self.remote = remote
        self.private = private
        self.tokens = tokens
        self.load_s = load_s
        self.version = version
        self.max_concurrency = max_concurrency
        self.load_timeout_s = load_timeout_s
        self.stale_while_revalidate_s = stale_while_revalidate_s
        self.stale_if_error_s = stale_if_error_s
        self.load_many = load_many
        self.expand = expand
        self.name = kind if name is None else name
        require_source(self, f"CallableSource({kind!r})")

    def __repr__(self) -> str:
        return f"CallableSource({self.kind!r}, {self.load!r}, read_only={self.read_only})"
