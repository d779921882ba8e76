"""The version that `fletching --version` shows: that of the package, and the git commit.

An installed package has its commit in the file `commit`, which `setup.py` writes when it is built.
In a checkout, the commit comes from git. Without either, only the version is shown.
"""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
_TIMEOUT = 10


def version(package: Path = _PACKAGE) -> str:
    """Such as `0.1.0 (commit 9f73097)`; `-dirty` after the commit means uncommitted changes.

    ``package``: the directory of the package.
    """
    commit = _commit(package)
    return metadata.version("fletching") + (f" (commit {commit})" if commit else "")


def _commit(package: Path) -> str:
    try:
        return (package / "commit").read_text("ascii").strip()
    except OSError:
        pass
    root = package.parent.parent
    if not (root / ".git").exists():
        return ""
    describe = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(
            describe, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
