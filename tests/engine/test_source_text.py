"""Which encoding a file has, and whether it is text."""

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefetch_scheduler.engine.sources.exclusions import DEFAULT_EXCLUDES, Exclusions
from prefetch_scheduler.engine.sources.text import decode, looks_binary

TEXT = "Grüße, мир: 你好\r\n\tend\n"


@pytest.mark.parametrize(
    ("raw", "value", "encoding"),
    [
        (b"", "", "utf-8"),
        (TEXT.encode(), TEXT, "utf-8"),
        (codecs.BOM_UTF8 + TEXT.encode(), TEXT, "utf-8-sig"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), TEXT, "utf-16"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), TEXT, "utf-16"),
        (codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), TEXT, "utf-32"),
        (codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"), TEXT, "utf-32"),
        ("plain text\n".encode("utf-16-le"), "plain text\n", "utf-16-le"),
        ("plain text\n".encode("utf-16-be"), "plain text\n", "utf-16-be"),
        ("café".encode("latin-1"), "café", "cp1252"),
        (b"\x93quoted\x94", "\u201cquoted\u201d", "cp1252"),
        (b"caf\xe9 \x81", "café \x81", "latin-1"),
        ("# coding: koi8-r\nпривет".encode("koi8-r"), "# coding: koi8-r\nпривет", "koi8-r"),
        (b'<?xml encoding="iso-8859-15"?>\xa4', '<?xml encoding="iso-8859-15"?>€', "iso-8859-15"),
        (b"# coding: rot13\ncaf\xe9", "# coding: rot13\ncafé", "cp1252"),
        (b"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m", "utf-8"),
    ],
)
def test_text_is_decoded(raw, value, encoding):
    decoded = decode(raw)
    assert (decoded.value, decoded.encoding) == (value, encoding)
    assert not looks_binary(raw[:64])


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00",
        b"text with a \x00 in it",
        b"\x7fELF\x02\x01\x01\x00\x00\x00\x00",
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
        b"\x1f\x8b\x08\x08\x03\xff\xfe",
        bytes(range(256)),
        b"\x00\x00\x00\x00\x00\x00",
        b"a\x00b\x00\x00\x00",
    ],
)
def test_what_is_not_text_stays_bytes(raw):
    assert decode(raw).value == raw
    assert decode(raw).media_type == "application/octet-stream"
    assert looks_binary(raw)


def test_a_sample_that_ends_within_a_character_is_no_binary():
    raw = ("\x01" + "ü" * 10).encode()
    assert isinstance(decode(raw).value, str)
    assert not looks_binary(raw[:-1])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100) | st.text(max_size=40).map(lambda text: text.encode("utf-16")))
def test_no_bytes_make_it_fail_and_bytes_stay_what_they_were(raw):
    decoded = decode(raw)
    assert decoded.value == raw or isinstance(decoded.value, str)
    looks_binary(raw)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_characters="\x00\ufeff", exclude_categories=["Cs"])))
def test_any_utf_8_text_comes_back_as_it_was(text):
    assert decode(text.encode()).value == text


EXCLUDED = [
    ".git/config",
    "sub/.git/HEAD",
    ".git",
    "x/__pycache__/a.py",
    ".mypy_cache/x.json",
    ".env",
    ".env.production",
    "prod.env",
    "cfg/.ENV",
    "key.pem",
    "deep/server.key",
    "id_rsa",
    "id_ed25519",
    "credentials",
    "credentials.json",
    ".aws/config",
    ".ssh/known",
    "a.PNG",
    "x.tar.gz",
    "lib.so",
    "m.pyc",
    "data.sqlite3",
    ".netrc",
    ".npmrc",
    "home/.docker/config.json",
    "terraform.tfstate",
    "gcp-credentials-prod.json",
    "service-account-x.json",
]
ALLOWED = [
    "src/auth.py",
    "README.md",
    ".env.example",
    ".env.template",
    "id_rsa.pub",
    "environment.py",
    "keys.py",
    "monkey.ts",
    "docs/credentials.md",
    "secrets.py",
    ".gitignore",
    ".github/workflows/ci.yml",
    "caches/a.py",
    "pem/a.txt",
    "config.json",
    "docker/config.json",
    "env/x.txt",
]


@pytest.mark.parametrize("name", EXCLUDED)
def test_secrets_binaries_and_caches_are_excluded(name):
    assert Exclusions(DEFAULT_EXCLUDES).matching(name) is not None


@pytest.mark.parametrize("name", ALLOWED)
def test_ordinary_files_are_not_excluded(name):
    assert Exclusions(DEFAULT_EXCLUDES).matching(name) is None


def test_the_last_pattern_that_matches_decides():
    rules = Exclusions(["*.md", "!README.md", "old/", "/top.txt", "docs/*.rst"])
    assert rules.matching("a/x.md") == "*.md"
    assert rules.matching("a/README.md") is None
    assert rules.matching("old/README.md") == "old/"
    assert rules.matching("top.txt") == "/top.txt"
    assert rules.matching("a/top.txt") is None
    assert rules.matching("x/docs/a.rst") == "docs/*.rst"
