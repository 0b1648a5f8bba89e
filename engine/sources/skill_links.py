"""What follows from a skill's body: the skills that it depends on, the files that it points to."""

import logging
import re
import stat
from collections.abc import Iterable, Iterator

from prefetch_scheduler.engine.sources.folder import RootFolder
from prefetch_scheduler.engine.sources.skill_catalogue import SKILL_FILE
from prefetch_scheduler.policies.prediction import FollowUp, Prediction
from prefetch_scheduler.policies.vocabulary import Relation, Role

logger = logging.getLogger(__name__)

REFERENCES = "references/"
ON_DEMAND = ("scripts/", "assets/")
"""What an agent runs or copies, and seldom reads."""

DEPENDENCY_CONFIDENCE = 0.75
"""A skill names its dependencies itself: above the ordinary thresholds, below certainty."""
MENTIONED_CONFIDENCE = 0.6
"""A file that the body points to: background, where decision D6 does not lower it further."""
UNMENTIONED_CONFIDENCE = 0.3
"""A reference that merely lies there: below the default `min_confidence_for_prefetch`."""
_MAX_REFERENCES = 50
_MAX_DEPENDENCIES = 20
_PATH = re.compile(r"(?<![\w./-])(?:\./)?(\w[\w-]*(?:[/.]\w[\w-]*)*\.\w{1,8})(?![\w/-])")


class SkillLinks:
    """Finds them below a folder of skills.

    Args:
        folder: the root.
        kind: the kind of key that skills have.
    """

    def __init__(self, folder: RootFolder, kind: str) -> None:
        self._folder = folder
        self._kind = kind

    def dependencies(self, skill: str, written: Iterable[str]) -> Iterator[FollowUp]:
        """Of the ids that a skill names, those that exist."""
        found = (self._existing(skill, word) for word in written)
        known = dict.fromkeys(word for word in found if word is not None and word != skill)
        for dependency in list(known)[:_MAX_DEPENDENCIES]:
            prediction = Prediction(
                f"{self._kind}:{dependency}",
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
                name = self._folder.normalise(candidate)
            except ValueError:
                continue
            if self._is_file(f"{name}/{SKILL_FILE}"):
                return name
        logger.debug("skill %r names the dependency %r, which is not a skill here", skill, written)
        return None

    def references(self, skill: str, body: str) -> Iterator[FollowUp]:
        """The files in `references/`, and whatever other file of the skill its body points to."""
        listed = self._folder.listing(f"{skill}/{REFERENCES.rstrip('/')}", _MAX_REFERENCES)
        files = {
            f"{REFERENCES}{file}": _names(body, file) for file in listed if not file.startswith(".")
        }
        for file in self._mentioned(skill, body):
            if len(files) < _MAX_REFERENCES:
                files.setdefault(file, True)
        for file, mentioned in files.items():
            prediction = Prediction(
                f"{self._kind}:{skill}#{file}",
                Role.DOCUMENTATION,
                MENTIONED_CONFIDENCE if mentioned else UNMENTIONED_CONFIDENCE,
                reason=f"a reference of the skill {skill}"
                + ("" if mentioned else ", not mentioned in its body"),
            )
            yield FollowUp(prediction, Relation.REFERENCE)

    def _mentioned(self, skill: str, body: str) -> Iterator[str]:
        for file in dict.fromkeys(_PATH.findall(body)):
            if file != SKILL_FILE and not file.startswith(ON_DEMAND):
                # Published skills write names of files in any case; the file system decides.
                for spelt in dict.fromkeys((file, file.lower())):
                    if self._is_file(f"{skill}/{spelt}"):
                        yield spelt
                        break

    def _is_file(self, name: str) -> bool:
        try:
            return stat.S_ISREG(self._folder.stat(name).st_mode)
        except (OSError, ValueError):
            return False


def _names(body: str, file: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(file)}(?![\w-])", body) is not None
