"""What the service's user cannot open and root can, tried as a user that every host has."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fletching.checks.access import AccessError, as_user, check_service_user
from fletching.checks.finding import Level
from fletching.config.load import parse

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")

USER = "nobody"
OPTIONS = """
state_dir: state
link_keys: keys/link-keys
dkim: {keys: [{domain: example.com, selector: s1, file: keys/s1.pem, default: true}]}
web: {admin_password_file: keys/password}
events:
  destinations:
    - {name: a, webhook: "https://x.example/", secret_file: keys/secret,
       auth_file: keys/auth}
    - {name: b, file: log/events.jsonl}
"""
FILES = (
    "fletching.yaml", "keys/link-keys", "keys/s1.pem", "keys/password", "keys/secret", "keys/auth",
)  # fmt: skip
FOLDERS = ("state", "log")
PLACES = {
    "fletching.yaml": "configuration",
    "keys/link-keys": "link_keys",
    "keys/s1.pem": "dkim.keys s1 of example.com",
    "keys/password": "web.admin_password_file",
    "keys/secret": "events.destinations[0].secret_file",
    "keys/auth": "events.destinations[0].auth_file",
    "state": "state_dir",
    "log": "events.destinations[1].file",
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Everything as the service's user needs it."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    group = pwd.getpwnam(USER).pw_gid
    for name in ("keys", *FOLDERS):
        (folder / name).mkdir(mode=0o750)
        os.chown(folder / name, 0, group)
    for name in FILES:
        (folder / name).write_text(OPTIONS)
        os.chown(folder / name, 0, group)
        (folder / name).chmod(0o640)
    for name in FOLDERS:
        shutil.chown(folder / name, USER)
    yield folder
    shutil.rmtree(folder)


def found(folder: Path) -> dict[str, str]:
    """What each finding says, by its place."""
    path = folder / "fletching.yaml"
    findings = list(check_service_user(parse(OPTIONS.encode(), path), path, USER))
    assert {each.level for each in findings} <= {Level.ERROR}
    return {each.place: each.text for each in findings}


@needs_root
def test_user_that_can_open_everything(folder: Path) -> None:
    assert found(folder) == {}


@needs_root
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("group", "mode"), [("root", 0o640), ("nogroup", 0o600)])
def test_file_that_only_root_can_read(folder: Path, name: str, group: str, mode: int) -> None:
    shutil.chown(folder / name, "root", group)
    (folder / name).chmod(mode)
    said = found(folder)
    assert set(said) == {PLACES[name]}
    assert f"chmod 640 {folder / name}" in said[PLACES[name]]


@needs_root
def test_folder_of_keys_that_only_root_can_search(folder: Path) -> None:
    (folder / "keys").chmod(0o700)
    said = found(folder)
    assert set(said) == {PLACES[name] for name in FILES[1:]}
    assert all(f"chmod g+rx {folder / 'keys'}" in text for text in said.values())


@needs_root
@pytest.mark.parametrize("name", FOLDERS)
def test_folder_that_only_root_can_write_to(folder: Path, name: str) -> None:
    shutil.chown(folder / name, "root")
    said = found(folder)
    assert set(said) == {PLACES[name]}
    assert f"chown {USER} {folder / name}" in said[PLACES[name]]


@needs_root
def test_missing_file_is_not_a_permission_error(folder: Path) -> None:
    (folder / "keys/s1.pem").unlink()
    assert found(folder) == {}


@needs_root
def test_only_root_can_test_as_another_user(folder: Path) -> None:
    def inner() -> str | None:
        try:
            return as_user("postfix", lambda: None)
        except AccessError as trouble:
            return str(trouble)

    assert "run `fletching check` as root" in (as_user(USER, inner) or "")


@needs_root
def test_access_through_a_group_counts() -> None:
    groups = as_user("postfix", lambda: str(sorted(os.getgroups())))
    entry = pwd.getpwnam("postfix")
    assert groups == str(sorted(os.getgrouplist("postfix", entry.pw_gid)))


def test_user_that_does_not_exist() -> None:
    with pytest.raises(AccessError, match="no user no-such-user"):
        as_user("no-such-user", lambda: None)
