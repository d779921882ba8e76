"""The repository as it lies here, committed or not, as a repository of its own elsewhere."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def copy_to(folder: Path) -> None:
    """Makes ``folder`` a git repository with one commit."""
    git = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(git, check=True, capture_output=True).stdout.split(b"\0")[:-1]:
        if (ROOT / name.decode()).is_file():
            (folder / name.decode()).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name.decode(), folder / name.decode())
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(folder)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "as it lies here"]):
        subprocess.run([*git, *words], check=True)
