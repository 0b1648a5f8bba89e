"""Skills below a root folder, in tiers: metadata, body, references."""

import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from attrs import field

from prefetch_scheduler.engine.sources.exclusions import DEFAULT_EXCLUDES
from prefetch_scheduler.engine.sources.file_backed import MAX_BYTES, MAX_PREFETCH_BYTES, FileBacked
from prefetch_scheduler.engine.sources.folder import FileRead
from prefetch_scheduler.engine.sources.front_matter import (
    FrontMatter,
    front_matter_of,
    parse_front_matter,
)
from prefetch_scheduler.engine.sources.skill_catalogue import (
    SKILL_FILE,
    SkillEntry,
    agent_folders,
    find_skills,
)
from prefetch_scheduler.engine.sources.skill_links import ON_DEMAND, REFERENCES, SkillLinks
from prefetch_scheduler.engine.sources.skill_meta import SkillMeta, skill_meta
from prefetch_scheduler.engine.sources.skill_rules import broken_rules
from prefetch_scheduler.engine.sources.text import decode
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import ConfigError, ResourceUnavailable
from prefetch_scheduler.policies.prediction import FollowUp
from prefetch_scheduler.policies.tokens import suffix_of, tokens_of_size
from prefetch_scheduler.policies.values import frozen

logger = logging.getLogger(__name__)

META = "meta"
_FILE = re.compile(r"[/.]")
"""What the name of a file has in it, and that of a part has not."""
_MAX_ENGINES = 64
"""Those started last; of one that has stopped, `changed` does nothing."""
_MAX_WARNED = 1000


@frozen
class SkillContent(Content):
    """A skill's body, with the front matter it was cut from, so that `#meta` needs no load."""

    meta: str = field(default="", kw_only=True)


class SkillSource(FileBacked):
    """Serves `skill:<id>` (the body), `skill:<id>#meta`, and any other file of a skill:
    `#references/<file>`, `#scripts/<file>`, `#forms.md`.

    A skill is a folder below `root` that holds a `SKILL.md`; its id is the folder's path. A body
    is loaded in parts, metadata first. Once it is loaded, its dependencies and references are
    given as further predictions; scripts and assets are read on demand only. Nothing of a skill is
    ever run. Front matter that is not valid is read as far as it can be, with one warning.

    Args:
        root: an existing folder.
        trusted: whether somebody vouches for what lies there. Of an untrusted folder there is the
            catalogue and `#meta`, on demand; nothing else is read. See `trust`.
        kind: the kind of key that it serves.
        name: what logs and reports call it; None: its kind.
        exclude: patterns of what is never prefetched, as for `FileSource`.
        max_prefetch_bytes: larger files are loaded on demand only.
        max_bytes: larger files are refused.
        private: content is kept apart for each user.
        max_concurrency: loads at once; None: the engine's limits.
        load_timeout_s: seconds after which a load is given up; None: the configuration's.

    Raises:
        ConfigError: an argument is wrong; says which, and what is allowed.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        trusted: bool = True,
        kind: str = "skill",
        name: str | None = None,
        exclude: Iterable[str] = DEFAULT_EXCLUDES,
        max_prefetch_bytes: int = MAX_PREFETCH_BYTES,
        max_bytes: int = MAX_BYTES,
        private: bool = False,
        max_concurrency: int | None = None,
        load_timeout_s: float | None = None,
    ) -> None:
        super().__init__(
            root,
            kind=kind,
            name=name,
            exclude=exclude,
            max_prefetch_bytes=max_prefetch_bytes,
            max_bytes=max_bytes,
            private=private,
            max_concurrency=max_concurrency,
            load_timeout_s=load_timeout_s,
        )
        if not isinstance(trusted, bool):
            raise ConfigError(f"trusted: {trusted!r} is not True or False")
        self.trusted = trusted
        self._engines: deque[Callable[[str], None]] = deque(maxlen=_MAX_ENGINES)
        self._links = SkillLinks(self.folder, kind)
        self._warned: set[tuple[str, tuple[str, ...]]] = set()

    # ---- names ------------------------------------------------------------------------------

    def normalise(self, name: str) -> str:
        """The skill's id as a relative POSIX path, with `#meta` or `#references/<file>` kept.

        Raises:
            ValueError: it leaves the root or the skill's folder, or names no part and no file.
        """
        skill, mark, part = name.partition("#")
        skill = self.folder.normalise(skill)
        if not mark:
            return skill
        if part == META:
            return f"{skill}#{META}"
        if not _FILE.search(part):
            raise ValueError(
                f"a skill has no part {part!r}; allowed: '#{META}', and '#<file>' for a file of it,"
                f" such as '#{REFERENCES}<file>'"
            )
        try:
            if part.endswith("/"):
                raise ValueError("it names a folder; name a file in it")
            return f"{skill}#{self.folder.normalise(part.lstrip('/'))}"
        except ValueError as error:
            raise ValueError(f"part {part!r}: below the skill's folder, {error}") from None

    def file_of(self, name: str) -> str:
        """`SKILL.md` of the skill, or the file of its own that a part is."""
        skill, _, part = name.partition("#")
        return f"{skill}/{SKILL_FILE if part in ('', META) else part}"

    def whole(self, name: str) -> str | None:
        """`<id>#meta` is a part of `<id>`; a reference is a resource of its own."""
        skill, _, part = name.partition("#")
        return skill if part == META else None

    # ---- trust and the catalogue ------------------------------------------------------------

    def trust(self) -> None:
        """Somebody vouches for the folder: from now on bodies and files are served, too."""
        self.trusted = True
        for changed in tuple(self._engines):
            changed("*")  # what was refused before may be asked for again at once

    def open(self, changed: Callable[[str], None]) -> None:
        """An engine has started; it is told when the folder becomes trusted."""
        self._engines.append(changed)

    def catalogue(self) -> tuple[SkillEntry, ...]:
        """The skills that there are, with what they say of themselves; reads each `SKILL.md`.

        One without a description cannot be chosen by anybody, and is left out with a warning.
        """
        entries: list[SkillEntry] = []
        for skill in find_skills(self.folder):
            document = self._document(skill)
            if document is None:
                continue
            self._warn(skill, document.text)
            meta = skill_meta(document)
            if meta.description:
                shown = f"{meta.name or skill}: {meta.description}"
                key = f"{self.kind}:{skill}"
                entries.append(SkillEntry(key, meta, _tokens(shown), self.trusted))
        return tuple(entries)

    def excluded(self, name: str) -> str | None:
        """Why this name is not prefetched; None: it may be."""
        if not self.trusted:
            return f"nobody has vouched for the folder {self.root!r}"
        part = self.normalise(name).partition("#")[2]
        if part.startswith(ON_DEMAND):
            return "a skill's scripts and assets are read on demand only"
        return super().excluded(name)

    # ---- loading ----------------------------------------------------------------------------

    def load(self, name: str) -> Content:
        """Read a body, its metadata or one of its files.

        Raises:
            ResourceUnavailable: it cannot be read, or nobody vouches for its folder.
        """
        if not self.trusted and self.whole(self._checked(name)) is None:
            raise ResourceUnavailable(
                f"nobody has vouched for the folder {self.root!r}, so of its skills only '#{META}' "
                "is served; once its user trusts it, call trust() of the source"
            )
        return super().load(name)

    def derive(self, name: str, read: FileRead) -> Content:
        """Body, metadata or reference, from the bytes of its file.

        Raises:
            ResourceUnavailable: a `SKILL.md` is not text.
        """
        decoded = decode(read.raw)
        part = name.partition("#")[2]
        if part not in ("", META):
            return Content(
                decoded.value,
                tokens=tokens_of_size(len(read.raw), suffix_of(part)),
                version=read.stamp,
                media_type=decoded.media_type,
            )
        if isinstance(decoded.value, bytes):
            raise ResourceUnavailable(f"{self.file_of(name)!r} is not text")
        document = parse_front_matter(decoded.value)
        if part == META:
            return _meta_content(document.text, read)
        return SkillContent(
            document.body,
            tokens=_tokens(document.body),
            version=read.stamp,
            media_type="text/markdown",
            meta=document.text,
        )

    def load_parts(self, name: str) -> Iterator[tuple[str, Content]]:
        """A skill's metadata, then its body; anything else comes whole.

        Raises:
            ResourceUnavailable: as `load` does.
        """
        name = self._checked(name)
        content = self.load(name)
        if isinstance(content, SkillContent):
            self._warn(name, content.meta)
            meta = self.part(content, f"{name}#{META}")
            if meta is not None:
                yield f"{name}#{META}", meta
        yield name, content

    def part(self, content: Content, name: str) -> Content | None:
        """The metadata of a loaded body."""
        if not isinstance(content, SkillContent) or self.whole(name) is None:
            return None
        return Content(
            content.meta,
            tokens=_tokens(content.meta),
            version=content.version,
            media_type="application/yaml",
        )

    def same(self, held: Content, found: Content, raw: bytes) -> bool:
        """A body is stale also when only its front matter changed."""
        if isinstance(held, SkillContent) and isinstance(found, SkillContent):
            return held.meta == found.meta and held.value == found.value
        return super().same(held, found, raw)

    def tokens(self, name: str) -> int | None:
        """A body's own estimate, else one from its size; parts from their size."""
        name = self.normalise(name)
        if "#" in name and self.whole(name) is None:
            return super().tokens(name)
        document = self._document(name.partition("#")[0])
        if document is None:
            return None
        if self.whole(name) is not None:
            return _tokens(document.text)
        estimate = skill_meta(document).token_estimate
        return _tokens(document.body) if estimate is None else estimate

    def metadata(self, skill: str) -> SkillMeta | None:
        """What a skill says of itself; None where it cannot be read."""
        document = self._document(self.normalise(skill))
        return None if document is None else skill_meta(document)

    def _document(self, skill: str) -> FrontMatter | None:
        try:
            read = self.folder.read(f"{skill}/{SKILL_FILE}", limit=self.max_prefetch_bytes)
        except ResourceUnavailable:
            return None
        text = decode(read.raw).value
        return parse_front_matter(text) if isinstance(text, str) else None

    def _warn(self, skill: str, meta: str) -> None:
        known = skill_meta(front_matter_of(meta))
        faults = (*known.faults, *broken_rules(known, skill.rpartition("/")[2]))
        if not faults or (skill, faults) in self._warned or len(self._warned) >= _MAX_WARNED:
            return
        self._warned.add((skill, faults))
        logger.warning("front matter of skill %r: %s", skill, "; ".join(faults))

    # ---- what comes next --------------------------------------------------------------------

    def expand(self, content: Content) -> Iterable[FollowUp]:
        """The dependencies and references of a body that has just been loaded."""
        name = (content.key or "").partition(":")[2]
        if not name or "#" in name or isinstance(content.value, bytes):
            return ()
        if isinstance(content, SkillContent):
            meta: SkillMeta | None = skill_meta(front_matter_of(content.meta))
        else:
            meta = self.metadata(name)
        dependencies = meta.dependencies if meta is not None else ()
        return [
            *self._links.dependencies(name, dependencies),
            *self._links.references(name, content.value),
        ]


def agent_skill_sources(
    project: str | os.PathLike[str] | None = ".",
    *,
    home: str | os.PathLike[str] | None = "~",
    trusted: bool = False,
) -> list[SkillSource]:
    """A source for each of the usual folders of skills that exists: `.agents/skills` and
    `.claude/skills` of a project, then those of a user, which are always trusted.

    Args:
        project: the project's folder; None: none.
        home: the user's home; None: none.
        trusted: whether the project's folders are; else `trust` them once the user has said so.
    """
    user = None if home is None else os.path.expanduser(home)
    return [
        SkillSource(folder, trusted=trusted or not own, name=f"skills:{folder.parent.name}")
        for folder, own in agent_folders(project, user)
    ]


def _tokens(text: str) -> int:
    return tokens_of_size(len(text.encode("utf-8", "surrogatepass")), ".md")


def _meta_content(text: str, read: FileRead) -> Content:
    return Content(text, tokens=_tokens(text), version=read.stamp, media_type="application/yaml")
