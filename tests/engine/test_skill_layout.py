"""The public layout of Agent Skills: tiers, rules of names, tools that are shown, and trust."""

import logging
from pathlib import Path

import pytest

from prefetch_scheduler.engine import (
    ConfigError,
    Prediction,
    PrefetchEngine,
    ResourceUnavailable,
    SkillSource,
)
from prefetch_scheduler.engine.sources.front_matter import front_matter_of
from prefetch_scheduler.engine.sources.skill_catalogue import MAX_DEPTH
from prefetch_scheduler.engine.sources.skill_meta import skill_meta
from prefetch_scheduler.engine.sources.skill_rules import broken_rules
from prefetch_scheduler.engine.sources.skills import agent_skill_sources


def write(root: Path, skill: str, front: str, body: str = "Body\n", **files: str) -> Path:
    folder = root / skill
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SKILL.md").write_text(f"---\n{front}\n---\n{body}")
    for word, text in files.items():
        path = folder / word.replace("__", "/").replace("_md", ".md").replace("_sh", ".sh")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


FRONT = "name: pdf\ndescription: Fills in forms."


@pytest.fixture
def root(tmp_path):
    write(
        tmp_path,
        "pdf",
        FRONT,
        "Read [the forms](./FORMS.md), shared/colours.md, run scripts/fill.sh; not missing.md.\n",
        forms_md="# Forms\n",
        shared__colours_md="# Colours\n",
        scripts__fill_sh="#!/bin/sh\nexit 1\n",
        references__deep_md="# Deep\n",
    )
    return tmp_path


# ---- tiers ----------------------------------------------------------------------------------


def test_the_first_tier_is_a_catalogue_of_names_and_descriptions(root):
    write(root, "group/other", "name: other\ndescription: Does others.\nlicense: MIT")
    write(root, "node_modules/hidden", "name: hidden\ndescription: A package's.")
    write(root, "pdf/inner", "name: inner\ndescription: Inside another.")
    write(root, "/".join("abcdefgh"), "name: h\ndescription: Too deep.")
    entries = SkillSource(root).catalogue()
    assert [(e.key, e.meta.description, e.trusted) for e in entries] == [
        ("skill:pdf", "Fills in forms.", True),
        ("skill:group/other", "Does others.", True),
    ]
    assert 0 < entries[0].tokens < 20
    assert len("abcdefgh") > MAX_DEPTH


def test_a_skill_without_a_description_is_left_out_of_it_with_a_warning(root, caplog):
    write(root, "silent", "name: silent")
    with caplog.at_level(logging.WARNING):
        assert [entry.key for entry in SkillSource(root).catalogue()] == ["skill:pdf"]
    assert "front matter of skill 'silent': no description" in caplog.text


def test_a_catalogue_does_not_leave_the_root_nor_go_round_in_circles(root, tmp_path_factory):
    outside = write(tmp_path_factory.mktemp("outside"), "far", "name: far\ndescription: Outside.")
    (root / "link").symlink_to(outside)
    (root / "again").symlink_to(root)
    assert [entry.key for entry in SkillSource(root).catalogue()] == ["skill:pdf"]


def test_any_file_of_a_skill_is_served_on_demand_and_what_the_body_points_to_follows(root):
    source = SkillSource(root)
    with PrefetchEngine(sources=[source]) as engine:
        assert engine.get("skill:pdf#scripts/fill.sh").value == "#!/bin/sh\nexit 1\n"
        assert engine.get("skill:pdf#forms.md").value == "# Forms\n"
        body = engine.get("skill:pdf")
    found = {f.prediction.key: f.prediction.confidence for f in source.expand(body)}
    assert found == {
        "skill:pdf#references/deep.md": 0.3,
        "skill:pdf#forms.md": 0.6,
        "skill:pdf#shared/colours.md": 0.6,
    }
    assert source.excluded("pdf#scripts/fill.sh") is not None
    assert source.excluded("pdf#forms.md") is None


# ---- rules ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "good"),
    [
        *(("a", True), ("a-b", True), ("pdf2-x", True), ("x" * 64, True)),
        *(("-a", False), ("a-", False), ("a--b", False), ("A", False), ("a_b", False)),
        *(("a b", False), ("é", False), ("x" * 65, False)),
    ],
)
def test_names_have_rules(name, good):
    meta = skill_meta(front_matter_of(f"name: {name}\ndescription: d"))
    assert (list(broken_rules(meta, name)) == []) is good


def test_broken_rules_are_warned_of_and_the_skill_is_served_all_the_same(root, caplog):
    long = f"name: PDF Forms\ndescription: {'x' * 1025}\ncompatibility: {'y' * 501}\nmetadata: [1]"
    write(root, "bad", long)
    with caplog.at_level(logging.WARNING), PrefetchEngine(sources=[SkillSource(root)]) as engine:
        assert engine.get("skill:bad").value == "Body\n"
    for part in (
        "name 'PDF Forms': only a-z",
        "is not that of its folder, 'bad'",
        "description of 1025 characters; at most 1024",
        "compatibility of 501 characters; at most 500",
        "metadata is list",
    ):
        assert part in caplog.text, part


@pytest.mark.parametrize(
    ("written", "tools"),
    [
        ("Read Grep", ("Read", "Grep")),
        ("Read, Grep,Read", ("Read", "Grep")),
        ("Bash(git add:*) Bash(npm run *) Read", ("Bash(git add:*)", "Bash(npm run *)", "Read")),
        ("[Read, Grep]", ("Read", "Grep")),
        ("\n  - Read\n  - Bash(ls:*)", ("Read", "Bash(ls:*)")),
        ("", ()),
    ],
)
def test_allowed_tools_are_shown_however_they_are_written(written, tools):
    front = f"name: a\ndescription: d\nallowed-tools: {written}"
    assert skill_meta(front_matter_of(front)).allowed_tools == tools


def test_the_other_fields_are_shown(root):
    front = (
        "name: a\ndescription: d\nlicense: MIT\ncompatibility: needs git\n"
        "metadata:\n  author: someone\n  version: '1.10'\n  nested: {x: y}"
    )
    meta = skill_meta(front_matter_of(front))
    assert (meta.license, meta.compatibility) == ("MIT", "needs git")
    assert meta.extra == {"author": "someone", "version": "1.10"}
    assert meta.faults == ("metadata: the values of nested are no text; left out",)


# ---- trust ----------------------------------------------------------------------------------


def test_of_an_untrusted_folder_only_the_first_tier_is_served_until_somebody_vouches(root):
    source = SkillSource(root, trusted=False)
    keys = ["skill:pdf", "skill:pdf#meta", "skill:pdf#references/deep.md"]
    with PrefetchEngine(sources=[source]) as engine:
        handle = engine.submit([Prediction(key, "primary_skill", 0.95) for key in keys])
        assert handle.wait_immediate(10) is False
        assert [engine.peek(key) for key in keys] == [None] * 3
        for key in (keys[0], keys[2], "skill:pdf#scripts/fill.sh", "skill:pdf#SKILL.md"):
            with pytest.raises(ResourceUnavailable, match="nobody has vouched for the folder"):
                engine.get(key)
        assert engine.get(keys[1]).value == FRONT
        assert [(entry.key, entry.trusted) for entry in source.catalogue()] == [(keys[0], False)]
        source.trust()
        handle = engine.submit([Prediction(keys[0], "primary_skill", 0.95)])
        assert handle.wait_immediate(10)
        assert engine.get(keys[0]).value.startswith("Read [the forms]")
    with pytest.raises(ConfigError, match="trusted: 'yes'"):
        SkillSource(root, trusted="yes")


def test_a_projects_skills_come_before_a_users_and_only_they_need_trust(tmp_path):
    project, home = tmp_path / "project", tmp_path / "home"
    for base, text in ((project, "the project's"), (home, "the user's")):
        write(base / ".agents" / "skills", "shared", "name: shared\ndescription: d", text)
    write(home / ".claude" / "skills", "own", "name: own\ndescription: d", "own")
    sources = agent_skill_sources(project, home=home)
    assert [source.trusted for source in sources] == [False, True, True]
    with PrefetchEngine(sources=sources) as engine:
        assert engine.get("skill:own").value == "own"
        assert engine.get("skill:shared").value == "the user's"  # the project's is not trusted yet
    sources = agent_skill_sources(project, home=home, trusted=True)
    with PrefetchEngine(sources=sources) as engine:
        assert engine.get("skill:shared").value == "the project's"
    assert agent_skill_sources(None, home=None) == []
