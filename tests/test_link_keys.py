"""keys/link_keys.py and keys/secret_file.py: real files, real processes.

No error may reveal a secret.
"""

from __future__ import annotations

import base64
import multiprocessing
import os
import stat
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from fletching.config.sections import DkimKey
from fletching.keys.dkim_keys import read_dkim_keys
from fletching.keys.link_keys import (
    LinkKeyRow,
    list_link_keys,
    new_link_key,
    read_link_keys,
    retire_link_key,
)
from fletching.keys.secret_file import KeyFileError
from fletching.tokens import LinkKey

NOW = 1_709_251_200  # 2024-03-01T00:00:00Z
SECRET = base64.urlsafe_b64encode(bytes(range(200, 232))).decode().rstrip("=")
OTHER = base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")
ONE = f"1 2024-03-01T00:00:00Z {SECRET}\n"
TWO = f"2 2024-03-02T00:00:00Z {OTHER}\n"
GONE = "1 2024-03-01T00:00:00Z retired\n"


def secret_file(path: Path, content: str | bytes, mode: int = 0o640) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "link-keys"


# Link keys.


def test_read_link_keys(path: Path) -> None:
    secret_file(path, "# ours\n\n" + ONE + "  # next: ü\r\n" + TWO.replace("\n", "\r\n") + " \t\n")
    assert read_link_keys(path).keys == (
        LinkKey(1, NOW, bytes(range(200, 232))),
        LinkKey(2, NOW + 86400, bytes(range(32))),
    )


@pytest.mark.parametrize(
    "content", [ONE.rstrip("\n"), ONE + "# end", "1\t2024-03-01T00:00:00Z  " + SECRET]
)
def test_read_a_single_key(path: Path, content: str) -> None:
    assert [key.id for key in read_link_keys(secret_file(path, content)).keys] == [1]


def test_retired_keys_are_not_usable(path: Path) -> None:
    keyring = read_link_keys(secret_file(path, GONE + TWO))
    assert [key.id for key in keyring.keys] == [2]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        pytest.param(
            "", ": contains no usable key; create one with `fletching key new`", id="empty"
        ),
        pytest.param(
            GONE, ": contains no usable key; create one with `fletching key new`", id="retired"
        ),
        pytest.param(f"{SECRET}\n", ":1: must be ID CREATED SECRET", id="secret alone"),
        pytest.param(f"1 {SECRET}\n", ":1: must be ID CREATED SECRET", id="two words"),
        pytest.param(ONE + f"2 x y {SECRET}\n", ":2: must be ID CREATED SECRET", id="four words"),
        pytest.param(ONE.replace("\n", " # new\n"), ":1: must be ID", id="comment behind"),
        pytest.param("0" + ONE[1:], ":1: the id must be a number from 1 to 1023", id="id 0"),
        pytest.param("1024" + ONE[1:], ":1: the id must be a number", id="id 1024"),
        pytest.param("01" + ONE[1:], ":1: the id must be a number", id="id 01"),
        pytest.param("٣" + ONE[1:], ":1: the id must be a number", id="id in other digits"),
        pytest.param(SECRET + ONE[1:], ":1: the id must be a number", id="secret as id"),
        pytest.param(
            TWO + ONE, ":2: the id must be higher than the ids on earlier lines", id="order"
        ),
        pytest.param(
            ONE + ONE, ":2: the id must be higher than the ids on earlier lines", id="id twice"
        ),
        pytest.param(GONE + ONE, ":2: the id must be higher", id="id of a retired key"),
        pytest.param(f"1 {SECRET} {SECRET}", ":1: the time must have the form", id="no time"),
        pytest.param(ONE.replace("Z", "+00:00"), ":1: the time must", id="offset"),
        pytest.param(ONE.replace("-03-", "-13-"), ":1: the time must", id="month 13"),
        pytest.param(ONE.replace(":00Z", ":00.5Z"), ":1: the time must", id="fraction"),
        pytest.param(ONE.replace("T00", "T24"), ":1: the time must", id="hour 24"),
        pytest.param(ONE.replace(SECRET, SECRET[:-1]), ":1: the secret must be 32", id="short"),
        pytest.param(ONE.replace(SECRET, SECRET + "A"), ":1: the secret must be 32", id="long"),
        pytest.param(ONE.replace(SECRET, "+" + SECRET[1:]), ":1: the secret must", id="base64"),
        pytest.param(ONE.replace(SECRET, "Retired"), ":1: the secret must", id="Retired"),
        pytest.param(b"\xff\0" + ONE.encode(), ":1: the id must be a number", id="octets"),
        pytest.param(ONE.encode("utf-16"), ":1: the id must be a number", id="UTF-16"),
    ],
)
def test_broken_files(path: Path, content: str | bytes, fault: str) -> None:
    secret_file(path, content)
    with pytest.raises(KeyFileError) as caught:
        read_link_keys(path)
    said = str(caught.value)
    assert said.startswith(f"{path}{fault}")
    assert SECRET[:8] not in said
    assert OTHER[:8] not in said
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_first_key_creates_the_file(path: Path) -> None:
    before = os.umask(0)
    try:
        made = new_link_key(path, NOW)
    finally:
        os.umask(before)
    assert (made.id, made.created, len(made.secret)) == (1, NOW, 32)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert read_link_keys(path).keys == (made,)
    assert os.listdir(path.parent) == [path.name]


def test_a_new_file_gets_the_group_of_its_directory(path: Path) -> None:
    """Root makes the keys that the daemon has to read."""
    if os.getuid() != 0:
        pytest.skip("only root can give a folder to a group")
    os.chown(path.parent, -1, 12345)
    new_link_key(path, NOW)
    assert path.stat().st_gid == 12345


def test_the_next_key_signs_and_other_lines_stay(path: Path) -> None:
    content = "# ours\r\n" + GONE + "\n" + TWO + "# ü"
    secret_file(path, content)
    made = new_link_key(path, NOW + 1)
    assert made.id == 3
    assert path.read_bytes().startswith(content.encode() + b"\n3 2024-03-01T00:00:01Z ")
    assert [key.id for key in read_link_keys(path).keys] == [2, 3]
    assert read_link_keys(path).keys[-1] == made


def test_new_secrets_differ(path: Path) -> None:
    assert len({new_link_key(path, NOW).secret for _ in range(20)}) == 20


def test_ids_are_never_used_again(path: Path) -> None:
    new_link_key(path, NOW)
    new_link_key(path, NOW)
    retire_link_key(path, 2)
    assert new_link_key(path, NOW).id == 3


def test_no_key_is_added_after_the_highest_id(path: Path) -> None:
    secret_file(path, "1023" + ONE[1:])
    with pytest.raises(KeyFileError, match="link-keys: id 1023 is in use"):
        new_link_key(path, NOW)
    assert path.read_text() == "1023" + ONE[1:]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o440])
def test_a_new_key_keeps_the_mode_of_the_file(path: Path, mode: int) -> None:
    secret_file(path, ONE, mode)
    new_link_key(path, NOW)
    retire_link_key(path, 1)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_new_key_keeps_the_owner_of_the_file(path: Path) -> None:
    secret_file(path, ONE)
    os.chown(path, 12345, 23456)
    new_link_key(path, NOW)
    retire_link_key(path, 1)
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, 23456, 0o640)


def test_a_new_key_keeps_a_symbolic_link(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    path.symlink_to(real / "keys")
    new_link_key(path, NOW)
    new_link_key(path, NOW)
    assert path.is_symlink()
    assert os.listdir(real) == ["keys"]
    assert [row.id for row in list_link_keys(path)] == [1, 2]


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
def test_a_failed_write_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    secret_file(path, ONE)
    monkeypatch.setattr(os, step, full)
    with pytest.raises(KeyFileError, match="link-keys: No space left on device"):
        new_link_key(path, NOW)
    monkeypatch.undo()
    assert path.read_text() == ONE
    assert os.listdir(path.parent) == [path.name]


def test_retire(path: Path) -> None:
    secret_file(path, "# first\n" + ONE + "# second\n" + TWO + "# end")
    retire_link_key(path, 1)
    assert path.read_text() == "# first\n" + GONE + "# second\n" + TWO + "# end"


def test_retire_the_signing_key(path: Path) -> None:
    secret_file(path, ONE + TWO)
    retire_link_key(path, 2)
    assert read_link_keys(path).keys == (LinkKey(1, NOW, bytes(range(200, 232))),)
    assert OTHER not in path.read_text()


def test_retire_keeps_any_time(path: Path) -> None:
    secret_file(path, ONE.replace("2024", "0024") + TWO)
    retire_link_key(path, 1)
    assert path.read_text() == GONE.replace("2024", "0024") + TWO


def test_retire_with_odd_white_space(path: Path) -> None:
    secret_file(path, f" 1\t2024-03-01T00:00:00Z\u00a0{SECRET} \r\n{TWO}")
    retire_link_key(path, 1)
    assert path.read_text() == GONE + TWO


@pytest.mark.parametrize(
    ("content", "key_id", "fault"),
    [
        (ONE, 1, "key 1 is the last usable key: create a new one first"),
        (GONE + TWO, 2, "key 2 is the last usable key"),
        (GONE + TWO, 1, "key 1 is already retired"),
        (ONE + TWO, 3, "has no key 3"),
        (ONE + TWO, 0, "has no key 0"),
    ],
)
def test_key_that_cannot_be_retired(path: Path, content: str, key_id: int, fault: str) -> None:
    secret_file(path, content)
    with pytest.raises(KeyFileError, match=f"link-keys: {fault}"):
        retire_link_key(path, key_id)
    assert path.read_text() == content


def test_list_link_keys(path: Path) -> None:
    four = TWO.replace("2 ", "4 ", 1)
    secret_file(path, GONE + TWO + "3 2024-03-03T00:00:00Z retired\n" + four + "# end\n")
    assert list_link_keys(path) == (
        LinkKeyRow(1, NOW, "retired"),
        LinkKeyRow(2, NOW + 86400, "opening"),
        LinkKeyRow(3, NOW + 2 * 86400, "retired"),
        LinkKeyRow(4, NOW + 86400, "signing"),
    )
    assert list_link_keys(secret_file(path, "")) == ()
    secret_file(path, ONE + TWO)
    retire_link_key(path, 2)
    assert [row.state for row in list_link_keys(path)] == ["signing", "retired"]


def test_no_repr_shows_a_secret(path: Path) -> None:
    secret_file(path, ONE)
    shown = repr(read_link_keys(path)) + repr(list_link_keys(path)) + repr(new_link_key(path, NOW))
    assert "xc8" not in shown
    assert "secret" not in shown


def make_keys(path: Path, start: Barrier) -> None:
    start.wait(60)
    for _ in range(25):
        new_link_key(path, NOW)


def test_two_processes_at_once(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    makers = [context.Process(target=make_keys, args=(path, start)) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(120)
    assert [maker.exitcode for maker in makers] == [0, 0]
    keys = read_link_keys(path).keys
    assert [key.id for key in keys] == list(range(1, 51))
    assert len({key.secret for key in keys}) == 50
    assert os.listdir(path.parent) == [path.name]


# Access rights, for every secret file.

READERS: dict[str, Callable[[Path], object]] = {
    "read_link_keys": read_link_keys,
    "list_link_keys": list_link_keys,
    "new_link_key": lambda path: new_link_key(path, NOW),
    "retire_link_key": lambda path: retire_link_key(path, 1),
    "read_dkim_keys": lambda path: read_dkim_keys(
        [DkimKey.model_validate({"domain": "example.com", "selector": "s1", "file": str(path)})]
    ),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("mode", "fault"),
    [
        (0o644, "mode 0644: readable by others"),
        (0o604, "mode 0604: readable by others"),
        (0o642, "mode 0642: writable by others"),
        (0o601, "mode 0601: executable by others"),
        (0o660, "mode 0660: writable by the group"),
        (0o650, "mode 0650: executable by the group"),
        (0o777, "mode 0777: readable by others"),
    ],
)
def test_unsafe_modes_are_refused(path: Path, reader: str, mode: int, fault: str) -> None:
    secret_file(path, ONE + TWO, mode)
    with pytest.raises(KeyFileError) as caught:
        READERS[reader](path)
    assert str(caught.value) == f"{path}: {fault}; must be 0600 or 0640"
    assert path.read_text() == ONE + TWO


@pytest.mark.parametrize("reader", READERS)
def test_only_regular_files_are_read(tmp_path: Path, reader: str) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(KeyFileError, match="fifo: not a regular file"):
        READERS[reader](tmp_path / "fifo")
    with pytest.raises(KeyFileError, match="null: not a regular file"):
        READERS[reader](Path("/dev/null"))
    (tmp_path / "folder").mkdir(0o700)
    with pytest.raises(KeyFileError, match="folder: Is a directory"):
        READERS[reader](tmp_path / "folder")
    said = r"none/keys: (No such file or directory|directory .*/none does not exist)"
    with pytest.raises(KeyFileError, match=said):
        READERS[reader](tmp_path / "none" / "keys")


@pytest.mark.parametrize("reader", [name for name in READERS if name != "new_link_key"])
def test_missing_files(path: Path, reader: str) -> None:
    with pytest.raises(KeyFileError, match="link-keys: No such file or directory"):
        READERS[reader](path)
    assert not path.exists()
