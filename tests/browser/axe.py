"""axe-core, the judge of accessibility, which nobody here wrote.

Here lives how it is fetched, once, into build/axe, by the lock file beside this one, and how it
judges a page.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.browser.chromium import Page

HERE = Path(__file__).parent
KEPT = HERE.parent.parent / "build" / "axe"
LOCK = json.loads((HERE / "package-lock.json").read_text("utf-8"))
VERSION = str(LOCK["packages"]["node_modules/axe-core"]["version"])

_RUN = "axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations)"


class AxeMissingError(Exception):
    """axe-core is not here and cannot be fetched."""


def axe() -> str:
    """Its script."""
    folder = KEPT / VERSION
    with _alone():
        if not folder.exists():
            _install(folder)
    return (folder / "axe-core" / "axe.min.js").read_text("utf-8")


def violations(page: Page, script: str) -> list[str]:
    """What breaks a rule on a page: the rule, and the elements."""
    page.value(f"{script}; undefined")
    found = page.ask("Runtime.evaluate", expression=_RUN, awaitPromise=True, returnByValue=True)
    assert "exceptionDetails" not in found, found
    return [_line(each) for each in found["result"]["value"]]


def _line(violation: Any) -> str:
    nodes = violation["nodes"]
    return f"{violation['id']}: {violation['help']}: {[each['html'][:200] for each in nodes[:3]]}"


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time: several test processes may need it at once."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise AxeMissingError("npm is needed to fetch axe-core; on Debian: package npm")
    with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, scratch)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", scratch]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise AxeMissingError(f"npm ci failed:\n{done.stderr}")
        Path(scratch, "node_modules").rename(folder)
