"""Which files are never prefetched: secrets, binaries, caches and version control, by pattern.

Patterns are close to those of `.gitignore` and do not tell upper from lower case: `name` matches
a file of that name in any folder, `name/` everything below a folder of that name, `a/b` (with a
slash inside) the whole path or the end of it. `*` and `?` are wildcards; `!pattern` takes files
back in. The last pattern that matches decides.
"""

import fnmatch
import re
from collections.abc import Iterable

from prefetch_scheduler.policies.errors import ConfigError

VERSION_CONTROL = (".git/", ".git", ".hg/", ".svn/", ".bzr/", ".jj/")

CACHES = (
    "__pycache__/", ".cache/", ".*_cache/", ".tox/", ".nox/", ".eggs/", ".gradle/", ".terraform/",
    ".DS_Store", "Thumbs.db",
)  # fmt: skip

SECRETS = (
    ".env", ".env.*", "*.env", ".envrc", "!.env.example", "!.env.sample", "!.env.template",
    "*.pem", "*.key", "*.p12", "*.pfx", "*.p8", "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*.gpg",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "!id_*.pub",
    "credentials", "credentials.json", "credentials.y*ml", "credentials.toml", "credentials.ini",
    "credentials.xml", "credentials.csv", "credentials.txt", "credentials.db", "*credentials*.json",
    "secret", "secrets", "secret.json", "secrets.json", "secret.y*ml", "secrets.y*ml",
    "secret.toml", "secrets.toml", "secrets.ini", "client_secret*.json", "service-account*.json",
    "service_account*.json", ".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass", ".my.cnf",
    ".htpasswd", ".git-credentials", ".dockercfg", ".vault-token", ".vault_pass*", ".boto",
    ".s3cfg", "*.tfvars", "*.tfstate", "*.tfstate.*", ".docker/config.json", ".kube/config",
    ".aws/", ".ssh/", ".gnupg/", ".azure/", ".password-store/",
)  # fmt: skip

_BINARY_SUFFIXES = (
    "png jpg jpeg gif bmp ico icns webp avif tif tiff heic psd ai sketch fig xcf "
    "mp3 mp4 m4a m4v mov avi mkv webm wav flac ogg aac wma wmv "
    "zip tar gz tgz bz2 xz zst lz4 7z rar jar war ear whl egg deb rpm apk dmg iso cab "
    "exe dll so dylib a o obj lib bin class pyc pyo pyd wasm elf ko node "
    "woff woff2 ttf otf eot "
    "pdf doc docx xls xlsx ppt pptx odt ods odp epub mobi "
    "db sqlite sqlite3 mdb dbm pickle pkl npy npz parquet feather arrow orc h5 hdf5 avro "
    "onnx pt pth ckpt safetensors gguf tflite pb "
    "mo swp swo pack idx"
)
BINARIES = tuple(f"*.{suffix}" for suffix in _BINARY_SUFFIXES.split())

DEFAULT_EXCLUDES = (*VERSION_CONTROL, *CACHES, *BINARIES, *SECRETS)
"""What `FileSource` and `SkillSource` do not prefetch unless they are told otherwise."""


class Exclusions:
    """A list of patterns, compiled.

    Args:
        patterns: see the module's docstring.

    Raises:
        ConfigError: one is not a string, or is empty.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        if isinstance(patterns, str):
            raise ConfigError(f"exclude: expected a list of patterns, got the string {patterns!r}")
        self.patterns = tuple(patterns)
        faults = [
            f"exclude[{index}]: {pattern!r} is not a pattern; expected text such as '*.pem'"
            for index, pattern in enumerate(self.patterns)
            if not isinstance(pattern, str) or not pattern.strip("!/")
        ]
        if faults:
            raise ConfigError(faults)
        self._rules = [
            (pattern, not pattern.startswith("!"), re.compile(_expression(pattern), re.IGNORECASE))
            for pattern in self.patterns
        ]
        joined = "|".join(_expression(pattern) for pattern, out, _ in self._rules if out)
        # Most names match nothing: one expression says so, the list is walked for the others.
        self._any = re.compile(joined or r"(?!)", re.IGNORECASE)

    def matching(self, name: str) -> str | None:
        """The pattern that keeps this name from being prefetched; None: none does."""
        if not self._any.fullmatch(name):
            return None
        decided = None
        for pattern, out, expression in self._rules:
            if expression.fullmatch(name):
                decided = pattern if out else None
        return decided


def _expression(pattern: str) -> str:
    bare = pattern.removeprefix("!")
    body = re.sub(r"\\[zZ]$", "", fnmatch.translate(bare.strip("/")))
    if bare.endswith("/"):
        return f"(?s:(?:.*/)?{body}/.*)"
    if "/" not in bare:
        body = body.replace(".*", "[^/]*")  # a wildcard stays within the last part of the path
    return f"(?s:{'' if bare.startswith('/') else '(?:.*/)?'}{body})"
