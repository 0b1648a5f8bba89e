"""Git repositories for tests, made by the real program."""

import os
import subprocess
from pathlib import Path

from prefetch_scheduler.engine.sources.git_process import environment


class Repository:
    """A repository in a folder of its own.

    Args:
        folder: made where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str) -> str:
        """What a git command prints, without the line's end."""
        known = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=0")
        done = subprocess.run(
            ("git", *known, *words),
            cwd=self.folder,
            env={**environment(), "GIT_ALLOW_PROTOCOL": "file", "GIT_CONFIG_GLOBAL": os.devnull},
            check=True,
            capture_output=True,
        )
        return done.stdout.decode().rstrip("\n")

    def commit(self, files: dict[str, str | bytes | None]) -> str:
        """Commit these files by their paths; None: gone. The commit's id."""
        for path, text in files.items():
            target = self.folder / path
            if text is None:
                target.unlink()
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode() if isinstance(text, str) else text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a change")
        return self.git("rev-parse", "HEAD")
