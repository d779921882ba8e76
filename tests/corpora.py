"""Mails and newsletters that no one here wrote, as the tests read them.

Here lives where they come from and the proof that they are the same ones each time. A corpus that
cannot be had is an error: a test over no mails would pass.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

Json = dict[str, Any]
KEPT = Path(__file__).resolve().parent.parent / "build" / "corpora"

FOUNDATION = "foundation-emails@2.5.1"
FOUNDATION_SHA512 = (
    "1Yp9MbN8qJZrLUXMyQ5clLm+Ea663J7cSc//Y8EfCM21IkD7N2xYB7vRlSnnQy3fIB3TnI25IpW2VJHqXm9UkA=="
)
FOUNDATION_FILES = 66

MAILGEN = "mailgen@2.0.36"
MAILGEN_SHA512 = (
    "SyGJx3c8muDa8xtPIQnYlM8o+GC7aGs7yz3VzuvjXgz16JxW/ihdvp6N3XNUFlJaefJ7LNquvAsxJNNIpDZG9g=="
)
FLUFL = "flufl_bounce-6.0.0"
FLUFL_SHA256 = "a1df16b9d1877ae4536f7d76c00d8421fcefbe694f80f5285d05c45a2547b1bc"
FLUFL_FILES = 117
# Each theme with each body, as HTML and as text.
RENDER = """
const Mailgen = require('mailgen'), fs = require('fs'), path = require('path');
const { product, bodies } = JSON.parse(fs.readFileSync(0, 'utf8'));
const themes = path.join(path.dirname(require.resolve('mailgen')), 'themes');
const mails = {};
for (const theme of fs.readdirSync(themes)) for (const [name, body] of Object.entries(bodies)) {
  const generator = new Mailgen({ theme, product: { ...product } });
  const mail = () => JSON.parse(JSON.stringify({ body }));
  mails[`${theme} ${name}`] = [generator.generatePlaintext(mail()), generator.generate(mail())];
}
process.stdout.write(JSON.stringify(mails));
"""


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


def mailgen_mails(product: Json, bodies: Json) -> dict[str, tuple[str, str]]:
    """Text and HTML that npm's mailgen makes of bodies, in each of its themes, by name.

    The package with what it needs is installed once into build/corpora.
    """
    folder = KEPT / MAILGEN
    with _alone():
        if not folder.exists():
            _install_mailgen(folder)
    command = [_program("node"), "-e", RENDER]
    given = json.dumps({"product": product, "bodies": bodies})
    done = subprocess.run(
        command, input=given, cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    if done.returncode != 0:
        raise CorpusMissing(f"{MAILGEN} cannot be run:\n{done.stderr}")
    return {name: (text, html) for name, (text, html) in json.loads(done.stdout).items()}


def flufl_bounces() -> list[Path]:
    """The returned mails that flufl.bounce tests itself with, fetched once into build/corpora.

    They are in its source distribution only.
    """
    folder = KEPT / FLUFL
    with _alone():
        if not folder.exists():
            _fetch_flufl(folder)
    found = sorted(folder.glob("*.txt"))
    if len(found) != FLUFL_FILES:
        raise CorpusMissing(f"{folder} holds {len(found)} mails, not {FLUFL_FILES}")
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


def _fetch_flufl(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
        options = ["-q", "--no-deps", "--no-binary", "flufl-bounce", "--dest", scratch]
        command = [sys.executable, "-m", "pip", "download", *options]
        wanted = FLUFL.replace("_", "-").replace("bounce-", "bounce==")
        done = subprocess.run(
            [*command, wanted], capture_output=True, text=True, timeout=300, check=False
        )
        archive = Path(scratch, f"{FLUFL}.tar.gz")
        if not archive.exists():
            raise CorpusMissing(f"pip download {wanted} failed:\n{done.stderr}")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != FLUFL_SHA256:
            raise CorpusMissing(f"{archive.name} is not the archive it was: sha256 {digest}")
        unpacked = Path(scratch, "unpacked")
        unpacked.mkdir()
        with tarfile.open(archive) as members:
            for member in members:
                inside = PurePosixPath(member.name)
                content = members.extractfile(member) if member.isfile() else None
                if content and inside.match("tests/data/*.txt"):
                    (unpacked / inside.name).write_bytes(content.read())
        unpacked.rename(folder)


def _install_mailgen(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix", scratch]
        command = [_program("npm"), "install", *options, MAILGEN]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        installed = Path(scratch, "node_modules", ".package-lock.json")
        if done.returncode != 0 or not installed.exists():
            raise CorpusMissing(f"npm install {MAILGEN} failed:\n{done.stderr}")
        digest = json.loads(installed.read_text())["packages"]["node_modules/mailgen"]["integrity"]
        if digest != f"sha512-{MAILGEN_SHA512}":
            raise CorpusMissing(f"{MAILGEN} is not the package it was: {digest}")
        folder.mkdir()
        Path(scratch, "node_modules").rename(folder / "node_modules")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise CorpusMissing(f"{name} is needed for npm's packages; on Debian: packages npm, nodejs")
    return found


def _packed(package: str, into: Path) -> Path:
    """The package's archive, as npm packs it."""
    command = [_program("npm"), "pack", package, "--pack-destination", str(into)]
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
