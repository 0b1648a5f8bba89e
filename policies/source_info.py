"""What the decisions need to know of a source. Its code runs elsewhere, behind a port."""

from collections.abc import Hashable, Iterable, Mapping

from attrs import field

from prefetch_scheduler.policies.values import frozen


@frozen
class SourceInfo:
    """The fixed properties of one registered source."""

    id: int
    """Its place in the order of registration; of several for a kind the later are alternatives."""
    name: str
    kind: str
    read_only: bool
    """Only what is declared read-only is ever loaded ahead."""
    remote: bool = False
    private: bool = False
    """Content is kept apart for each user."""
    max_concurrency: int | None = None
    """Loads that the source allows at once; None: the configuration's limit for prefetching."""
    load_timeout_s: float | None = None
    stale_while_revalidate_s: float = 0.0
    """Seconds past its `max_age_s` for which content is served while it is loaded again."""
    stale_if_error_s: float = 0.0
    """Seconds past its `max_age_s` for which content is served where loading it fails."""
    batches: bool = False
    """Has `load_many`."""
    expands: bool = False
    """Has `expand`: its content may bring up further predictions."""
    surveys: bool = False
    """Has functions (not constants) that estimate tokens, time or version of a name."""
    tokens: int | None = None
    """Constant estimate of a load's tokens."""
    load_s: float | None = None
    """Constant estimate of a load's seconds."""
    implicit: bool = False
    """Every engine has it: who lists what the host's sources serve leaves it out."""


@frozen
class SourceTable:
    """All registered sources, by id and by kind."""

    infos: tuple[SourceInfo, ...] = ()
    by_kind: Mapping[str, tuple[SourceInfo, ...]] = field(init=False)

    @by_kind.default
    def _group(self) -> Mapping[str, tuple[SourceInfo, ...]]:
        grouped: dict[str, list[SourceInfo]] = {}
        for info in self.infos:
            grouped.setdefault(info.kind, []).append(info)
        return {kind: tuple(infos) for kind, infos in grouped.items()}

    @property
    def kinds(self) -> Iterable[str]:
        """Those that the host's sources serve."""
        return [kind for kind, infos in self.by_kind.items() if not infos[0].implicit]

    def is_private(self, kind: str) -> bool:
        """Whether content of that kind is partitioned by user: one private source is enough."""
        return any(info.private for info in self.by_kind.get(kind, ()))


@frozen
class Survey:
    """What a source says of one name before it is loaded. None: it does not know."""

    tokens: int | None = None
    load_s: float | None = None
    version: Hashable = None
    excluded: str | None = None
    """Why the name must not be prefetched (a secret, binary, too large); None: it may be."""
