"""Skills below a root folder, in tiers: metadata, body, references."""

import logging
import os
import re
from collections.abc import Iterable, Iterator

from attrs import field, frozen

from prefetch_scheduler.engine.sources.exclusions import DEFAULT_EXCLUDES
from prefetch_scheduler.engine.sources.file_backed import MAX_BYTES, MAX_PREFETCH_BYTES, FileBacked
from prefetch_scheduler.engine.sources.folder import FileRead
from prefetch_scheduler.engine.sources.front_matter import (
    FrontMatter,
    front_matter_of,
    parse_front_matter,
)
from prefetch_scheduler.engine.sources.skill_meta import SkillMeta, skill_meta
from prefetch_scheduler.engine.sources.text import decode
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import ResourceUnavailable
from prefetch_scheduler.policies.prediction import FollowUp, Prediction
from prefetch_scheduler.policies.tokens import suffix_of, tokens_of_size
from prefetch_scheduler.policies.vocabulary import Relation, Role

logger = logging.getLogger(__name__)

SKILL_FILE = "SKILL.md"
META = "meta"
REFERENCES = "references/"

DEPENDENCY_CONFIDENCE = 0.75
"""A skill names its dependencies itself: above the ordinary thresholds, below certainty."""
MENTIONED_CONFIDENCE = 0.6
"""A reference that the body points to: background, where decision D6 does not lower it further."""
UNMENTIONED_CONFIDENCE = 0.3
"""A reference that merely lies there: below the default `min_confidence_for_prefetch`."""
_MAX_REFERENCES = 50
_MAX_DEPENDENCIES = 20
_MAX_WARNED = 1000


@frozen
class SkillContent(Content):
    """A skill's body, with the front matter it was cut from, so that `#meta` needs no load."""

    meta: str = field(default="", kw_only=True)


class SkillSource(FileBacked):
    """Serves `skill:<id>` (the body), `skill:<id>#meta` and `skill:<id>#references/<file>`.

    A skill is a folder below `root` that holds a `SKILL.md`; its id is the folder's path. A body
    is loaded in parts, metadata first. Once it is loaded, its dependencies and references are
    given as further predictions. Front matter that is not valid is read as far as it can be, with
    one warning.

    Args:
        root: an existing folder.
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
        self._warned: set[tuple[str, tuple[str, ...]]] = set()

    # ---- names ------------------------------------------------------------------------------

    def normalise(self, name: str) -> str:
        """The skill's id as a relative POSIX path, with `#meta` or `#references/<file>` kept.

        Raises:
            ValueError: it leaves the root or the references' folder, or names another part.
        """
        skill, mark, part = name.partition("#")
        skill = self.folder.normalise(skill)
        if not mark:
            return skill
        if part == META:
            return f"{skill}#{META}"
        if not part.startswith(REFERENCES):
            raise ValueError(
                f"a skill has no part {part!r}; allowed: '#{META}' and '#{REFERENCES}<file>'"
            )
        try:
            file = self.folder.normalise(part.removeprefix(REFERENCES).lstrip("/"))
        except ValueError as error:
            raise ValueError(f"part {part!r}: below the references' folder, {error}") from None
        return f"{skill}#{REFERENCES}{file}"

    def file_of(self, name: str) -> str:
        """`SKILL.md` of the skill, or the reference's own file."""
        skill, _, part = name.partition("#")
        return f"{skill}/{part if part.startswith(REFERENCES) else SKILL_FILE}"

    def whole(self, name: str) -> str | None:
        """`<id>#meta` is a part of `<id>`; a reference is a resource of its own."""
        skill, _, part = name.partition("#")
        return skill if part == META else None

    # ---- loading ----------------------------------------------------------------------------

    def derive(self, name: str, read: FileRead) -> Content:
        """Body, metadata or reference, from the bytes of its file.

        Raises:
            ResourceUnavailable: a `SKILL.md` is not text.
        """
        decoded = decode(read.raw)
        part = name.partition("#")[2]
        if part.startswith(REFERENCES):
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
        faults = skill_meta(front_matter_of(meta)).faults
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
        return [*self._dependencies(name, dependencies), *self._references(name, content.value)]

    def _dependencies(self, skill: str, written: Iterable[str]) -> Iterator[FollowUp]:
        found = (self._existing(skill, word) for word in written)
        known = dict.fromkeys(word for word in found if word is not None and word != skill)
        for dependency in list(known)[:_MAX_DEPENDENCIES]:
            prediction = Prediction(
                f"{self.kind}:{dependency}",
                Role.SECONDARY_SKILL,
                DEPENDENCY_CONFIDENCE,
                reason=f"a dependency of the skill {skill}",
            )
            yield FollowUp(prediction, Relation.DEPENDENCY)

    def _existing(self, skill: str, written: str) -> str | None:
        """The id of a dependency: below the root, or beside the skill that names it."""
        beside = skill.rpartition("/")[0]
        for candidate in (written, f"{beside}/{written}" if beside else written):
            try:
                name = self.folder.normalise(candidate)
            except ValueError:
                continue
            if self._regular(f"{name}/{SKILL_FILE}") is not None:
                return name
        logger.debug("skill %r names the dependency %r, which is not a skill here", skill, written)
        return None

    def _references(self, skill: str, body: str) -> Iterator[FollowUp]:
        for file in self.folder.listing(f"{skill}/{REFERENCES.rstrip('/')}", _MAX_REFERENCES):
            if file.startswith("."):
                continue
            mentioned = re.search(rf"(?<![\w-]){re.escape(file)}(?![\w-])", body) is not None
            prediction = Prediction(
                f"{self.kind}:{skill}#{REFERENCES}{file}",
                Role.DOCUMENTATION,
                MENTIONED_CONFIDENCE if mentioned else UNMENTIONED_CONFIDENCE,
                reason=f"a reference of the skill {skill}"
                + ("" if mentioned else ", not mentioned in its body"),
            )
            yield FollowUp(prediction, Relation.REFERENCE)


def _tokens(text: str) -> int:
    return tokens_of_size(len(text.encode("utf-8", "surrogatepass")), ".md")


def _meta_content(text: str, read: FileRead) -> Content:
    return Content(text, tokens=_tokens(text), version=read.stamp, media_type="application/yaml")
