"""SkillSource on real folders: tiers, estimates, follow-ups, lenience."""

import logging

import pytest

from prefetch_scheduler.engine.sources import SourceRegistry
from prefetch_scheduler.engine.sources import folder as folder_module
from prefetch_scheduler.engine.sources.skill_links import (
    DEPENDENCY_CONFIDENCE,
    MENTIONED_CONFIDENCE,
    UNMENTIONED_CONFIDENCE,
)
from prefetch_scheduler.engine.sources.skills import SkillSource
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import ResourceUnavailable
from prefetch_scheduler.policies.vocabulary import Relation, Role

FRONT = """name: systematic
description: Finds causes, not symptoms
version: 1.10
behaviors: [trace_error]
dependencies: [debugging/verification, security, ghost, ../outside, debugging/systematic]
token_estimate: {min: 2500, typical: 4000, max: 7000}"""
BODY = "# Systematic debugging\n\nSee references/tracing.md first.\n"
SKILL = "debugging/systematic"


def write(root, skill, front, body="Body\n"):
    folder = root / skill
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(f"---\n{front}\n---\n\n{body}")
    return folder


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "skills"
    folder = write(root, SKILL, FRONT, BODY)
    (folder / "references").mkdir()
    (folder / "references" / "tracing.md").write_text("Tracing\n")
    (folder / "references" / "aside.md").write_text("Aside\n")
    (folder / "references" / ".hidden").write_text("no")
    write(root, "debugging/verification", "name: verification\ndescription: d")
    write(root, "debugging/security", "name: security\ndescription: beside it")
    return root


@pytest.fixture
def source(root):
    return SkillSource(root)


# ---- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("./debugging/systematic/", SKILL),
        ("debugging/x/../systematic#meta", f"{SKILL}#meta"),
        (f"{SKILL}#references/./a.md", f"{SKILL}#references/a.md"),
        (f"{SKILL}#references/sub/a#b.md", f"{SKILL}#references/sub/a#b.md"),
        (f"{SKILL}#./scripts//run.sh", f"{SKILL}#scripts/run.sh"),
        (f"{SKILL}#forms.md", f"{SKILL}#forms.md"),
    ],
)
def test_a_skill_has_one_spelling(source, name, spelt):
    assert source.normalise(name) == spelt


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../outside", "leaves the root"),
        ("#meta", "root folder itself"),
        (f"{SKILL}#references/../../../x", "below the skill's folder"),
        (f"{SKILL}#references/", "it names a folder"),
        (f"{SKILL}#other", "allowed: '#meta'"),
        (f"{SKILL}#", "allowed: '#meta'"),
    ],
)
def test_a_name_that_is_not_allowed_is_refused_with_a_reason(source, name, message):
    with pytest.raises(ValueError, match=message):
        source.normalise(name)
    with pytest.raises(ResourceUnavailable, match=message):
        source.load(name)


# ---- tiers ----------------------------------------------------------------------------------


def test_a_body_comes_without_its_front_matter(source):
    content = source.load(SKILL)
    assert content.value == BODY
    assert content.media_type == "text/markdown"
    assert content.tokens == round(len(BODY) / 4.2)


def test_metadata_is_the_front_matter_as_written(source):
    assert source.load(f"{SKILL}#meta").value == FRONT


def test_a_reference_is_its_own_file(source):
    assert source.load(f"{SKILL}#references/tracing.md").value == "Tracing\n"


def test_a_folder_without_a_skill_file_is_unavailable(source):
    with pytest.raises(ResourceUnavailable, match="no such file"):
        source.load("debugging")


def test_a_skill_file_that_is_not_text_is_unavailable(source, root):
    (root / "broken").mkdir()
    (root / "broken" / "SKILL.md").write_bytes(b"---\x00\xff")
    with pytest.raises(ResourceUnavailable, match="not text"):
        source.load("broken")


def test_a_link_out_of_the_root_is_refused(source, root, tmp_path):
    write(tmp_path, "elsewhere", "name: x")
    (root / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ResourceUnavailable, match="symbolic link"):
        source.load("link")


def test_a_body_is_loaded_in_parts_metadata_first(source):
    parts = list(source.load_parts(SKILL))
    assert [(name, content.value) for name, content in parts] == [
        (f"{SKILL}#meta", FRONT),
        (SKILL, BODY),
    ]
    assert source.whole(f"{SKILL}#meta") == SKILL
    assert source.whole(SKILL) is None
    assert source.whole(f"{SKILL}#references/tracing.md") is None


def test_metadata_is_cut_out_of_a_body_that_is_loaded(source):
    whole = source.load(SKILL).placed(key="k", source="s", loaded_at=1.0, layer=None)
    part = source.part(whole, f"{SKILL}#meta")
    assert part.value == FRONT
    assert part.version == whole.version
    assert source.part(Content(BODY), f"{SKILL}#meta") is None


# ---- freshness ------------------------------------------------------------------------------


@pytest.fixture
def settled(monkeypatch):
    """The reader's clock stands far behind every change of the files."""

    class Later:
        time_ns = staticmethod(lambda: 4_000_000_000_000_000_000)
        sleep = staticmethod(lambda seconds: None)

    monkeypatch.setattr(folder_module, "time", Later)


@pytest.mark.parametrize("name", [SKILL, f"{SKILL}#meta", f"{SKILL}#references/tracing.md"])
def test_an_unchanged_skill_is_fresh_and_a_deleted_one_stale(source, root, name, settled):
    content = source.load(name)
    assert source.verify(name, content) is content
    (root / source.file_of(name)).unlink()
    assert source.verify(name, content) is None


def test_a_change_of_the_front_matter_alone_makes_the_body_stale(source, root, settled):
    content = source.load(SKILL)
    path = root / SKILL / "SKILL.md"
    path.write_text(path.read_text().replace("1.10", "1.11"))
    assert source.verify(SKILL, content) is None


def test_a_body_handed_over_is_compared_with_the_file(source, settled):
    assert source.verify(SKILL, source.stamped(SKILL, Content(BODY))).value == BODY
    assert source.verify(SKILL, source.stamped(SKILL, Content("other"))) is None


# ---- estimates ------------------------------------------------------------------------------


def test_tokens_come_from_the_front_matter_else_from_the_size(source):
    assert source.tokens(SKILL) == 4000
    assert source.tokens("debugging/verification") == 1
    assert source.tokens(f"{SKILL}#meta") == round(len(FRONT) / 4.2)
    assert source.tokens(f"{SKILL}#references/tracing.md") == 2
    assert source.tokens("missing") is None


def test_secrets_among_references_are_not_prefetched(source, root):
    (root / SKILL / "references" / "server.key").write_text("k")
    assert "*.key" in source.excluded(f"{SKILL}#references/server.key")
    assert source.excluded(SKILL) is None


def test_metadata_is_given_parsed_too(source):
    meta = source.metadata(SKILL)
    assert (meta.name, meta.version, meta.behaviors) == ("systematic", "1.10", ("trace_error",))
    assert source.metadata("missing") is None


# ---- follow-ups -----------------------------------------------------------------------------


def expanded(source, name):
    return SourceRegistry([source]).expand(0, f"skill:{name}", source.load(name))


def test_dependencies_that_exist_and_references_follow(source):
    follow_ups = expanded(source, SKILL)
    found = [(f.prediction.key, f.relation, f.prediction.confidence) for f in follow_ups]
    assert found == [
        ("skill:debugging/verification", Relation.DEPENDENCY, DEPENDENCY_CONFIDENCE),
        ("skill:debugging/security", Relation.DEPENDENCY, DEPENDENCY_CONFIDENCE),
        (f"skill:{SKILL}#references/aside.md", Relation.REFERENCE, UNMENTIONED_CONFIDENCE),
        (f"skill:{SKILL}#references/tracing.md", Relation.REFERENCE, MENTIONED_CONFIDENCE),
    ]
    roles = {f.relation: f.prediction.role for f in follow_ups}
    assert roles == {
        Relation.DEPENDENCY: Role.SECONDARY_SKILL,
        Relation.REFERENCE: Role.DOCUMENTATION,
    }


def test_nothing_follows_from_a_part_or_a_reference(source):
    assert expanded(source, f"{SKILL}#meta") == ()
    assert expanded(source, f"{SKILL}#references/tracing.md") == ()


def test_a_body_that_the_host_handed_over_has_the_dependencies_of_its_file(source):
    follow_ups = SourceRegistry([source]).expand(0, f"skill:{SKILL}", Content("handed over"))
    assert "skill:debugging/verification" in [f.prediction.key for f in follow_ups]


# ---- lenience -------------------------------------------------------------------------------


def test_malformed_front_matter_is_warned_of_once_and_read_as_far_as_possible(source, root, caplog):
    write(root, "pua", f"name: pua\ndescription: Triggers on: a, b\ndependencies:\n  - {SKILL}")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert list(source.load_parts("pua"))[-1][1].value == "Body\n"
    assert [r.getMessage() for r in caplog.records if "'pua'" in r.getMessage()] == [
        "front matter of skill 'pua': not valid YAML (mapping values are not allowed here, "
        "line 3, column 25); read field by field"
    ]
    assert [f.prediction.key for f in expanded(source, "pua")] == [f"skill:{SKILL}"]


def test_a_skill_without_front_matter_is_all_body(source, root, caplog):
    (root / "bare").mkdir()
    (root / "bare" / "SKILL.md").write_text("# Just text\n")
    parts = dict(source.load_parts("bare"))
    assert parts["bare"].value == "# Just text\n"
    assert parts["bare#meta"].value == ""
    assert "empty or missing" in caplog.text
    assert source.tokens("bare") == 3
