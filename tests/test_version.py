"""cli/version.py: the version and the git commit, in a checkout and in an installed package."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner
from fletching.cli.main import main
from fletching.cli.version import version

NUMBER = metadata.version("fletching")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The directory of a package in a source tree without git."""
    package = tmp_path / "milter" / "fletching"
    package.mkdir(parents=True)
    return package


def test_version_option() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"fletching, version {version()}\n")
    assert result.stdout.startswith(f"fletching, version {NUMBER}")


def test_installed_package_shows_the_commit_it_was_built_from(package: Path) -> None:
    (package / "commit").write_text("9f73097\n")
    assert version(package) == f"{NUMBER} (commit 9f73097)"


def test_package_without_a_commit_shows_the_version_alone(package: Path) -> None:
    assert version(package) == NUMBER


def test_checkout_shows_its_commit(package: Path) -> None:
    root = package.parent.parent
    git = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    (package / "new.py").write_text("")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert version(package) == f"{NUMBER} (commit {head})"
    (package / "new.py").write_text("changed = True\n")
    assert version(package) == f"{NUMBER} (commit {head}-dirty)"
