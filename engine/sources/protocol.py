"""What a source is: the code of a host, or of this library, that loads resources of one kind.

Only `kind`, `read_only` and `load` are needed; a member that is missing counts as its default
below. Everything here but `version`, `verify` and `normalise` runs in the engine's pools, so it
may block. Those three run in the reader's own thread, at every read, so they must be quick; a cold
store and a watch of folders ask `version` and `verify` in threads of their own, too.

Members beyond those of `Source`, each of them optional:

`name` (str)
    What logs, reports and `Content.source` call it. Default: its kind.
`load_many(names)`
    Load several names in one call, plain or async like `load`; returns a sequence with one result
    *or exception* for each name, in order. May take a `cancel`, as `load` may.
`load_parts(name)`
    A generator, or an async generator, of `(part_name, Content or str or bytes)`; the last item
    is the whole, under `name` itself. Readers of a part get it as soon as it is yielded. It is
    called instead of `load` for every name that is not itself a part of another.
`whole(name) -> str | None`
    The whole that this name is a part of; None: it is not a part.
`part(content, name) -> Content | None`
    Cut a part out of a whole that is already loaded; None: it cannot be had that way.
`expand(content) -> Iterable[Prediction | FollowUp]`
    What will be needed next, now that this is loaded (decision D23). `content.key` is set.
`normalise(name) -> str`
    The one spelling of a name (`./a` is `a`); the same answer for the same name, always. Raises
    ValueError, saying why, where the name is not allowed.
`excluded(name) -> str | None`
    Why a name must not be prefetched (a secret, binary, too large); None: it may be. Explicit
    reads are not concerned. Where it raises, the name is not prefetched.
`verify(name, content) -> Content | None`
    Is this still what the resource holds? Returns `content`, or a copy under a newer `version`,
    or None where it is stale. Where it raises, the content is stale. Takes the place of comparing
    versions.
`stale_while_revalidate_s` (seconds)
    For so long past its `max_age_s` content is still served, marked `stale`, while it is loaded
    again in the background. Default 0: not at all.
`stale_if_error_s` (seconds)
    For so long past its `max_age_s` content is served, marked `stale`, to a read whose load failed
    or was not there in time. Default 0: not at all.
`watched(name) -> Sequence[str]`
    Absolute paths of the files that a name's content is made from; `cache.watch` watches their
    folders, and looks with `verify` or `version` at what is cached of a file that changed.
`stamped(name, content) -> Content`
    Content that the host handed over, with the version by which its reads will be checked.
`open(changed)`
    The engine has started: connect ahead, watch. `changed(name)`, or a prefix ending in `*`, tells
    it what has changed; it may be called from any thread, as often as need be, and never raises.
    Loads may come before it has returned, and nobody waits for it.
`close()`
    The engine stops: end connections, processes, threads. Its loads have been cancelled, but some
    may still run. It is waited for as long as the stop's time-out allows. A source that several
    engines share is opened and closed once by each, and one that is closed may be opened again.
"""

from collections.abc import Callable, Hashable
from typing import Any, Protocol, runtime_checkable

from prefetch_scheduler.actors.cancel import CancelToken

__all__ = ["CancelToken", "Source"]


@runtime_checkable
class Source(Protocol):
    """Serves the resources of one kind. The module's docstring lists further optional members."""

    @property
    def kind(self) -> str:
        """The part of the key before the colon: `[a-z][a-z0-9_-]*`."""

    @property
    def read_only(self) -> bool:
        """Whether loading changes nothing. What is not read-only is never loaded ahead."""

    @property
    def remote(self) -> bool:
        """Whether loading leaves this machine: prefetched only where the host opted in."""

    @property
    def private(self) -> bool:
        """Whether content belongs to one user: it is then kept apart for each user."""

    @property
    def max_concurrency(self) -> int | None:
        """Loads that may run at once, at least 1; None: the engine's own limits alone."""

    @property
    def load_timeout_s(self) -> float | None:
        """Seconds after which a load is given up; None: the configuration's `load_timeout_s`."""

    @property
    def tokens(self) -> int | Callable[[str], int | None] | None:
        """Size in tokens before loading: a constant, a function of the name, or None: unknown."""

    @property
    def load_s(self) -> float | Callable[[str], float | None] | None:
        """Seconds that a load takes: a constant, a function of the name, or None: unknown."""

    @property
    def version(self) -> Hashable | Callable[[str], Hashable]:
        """What changes whenever the resource does: a constant or a quick function of the name.

        Taken before a load starts and compared at each read; None: reads are not checked. Where
        the function raises, what was loaded is stale.
        """

    @property
    def load(self) -> Callable[..., Any]:
        """`load(name)`, plain or async: returns str, bytes or `Content`, or raises.

        It may take a parameter `cancel`: a `CancelToken` that tells when nobody wants the load
        any more.
        """
