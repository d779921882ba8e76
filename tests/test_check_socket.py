"""`fletching check --postfix` at the milter socket, with Postfix's own user and with others."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fletching.checks.finding import Finding, Level
from fletching.checks.socket import check_listen, check_socket
from fletching.config.load import parse
from fletching.config.model import Config
from fletching.postfix.postconf import Installed, Service

from sandbox.processes import free_port

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


def config(listen: str) -> Config:
    return parse(f"listen: {listen}\n".encode(), Path("/etc/fletching/fletching.yaml"))


@pytest.fixture
def queue() -> Iterator[Path]:
    """A queue directory that others can search: pytest's own folders are root's alone."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    (folder / "fletching").mkdir()
    shutil.chown(folder / "fletching", "root", "postfix")
    (folder / "fletching").chmod(0o2750)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def listening(queue: Path) -> Iterator[Path]:
    """The socket of a milter, as the service makes it."""
    path = queue / "fletching" / "milter.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        shutil.chown(path, "root", "postfix")
        path.chmod(0o770)
        server.listen()
        yield path


def found(queue: Path, listen: str, chroot: bool = True, owner: str = "postfix") -> list[Finding]:
    smtpd = Service("smtp", "inet", chroot, "smtpd", {})
    installed = Installed((3, 7), {"mail_owner": owner, "queue_directory": str(queue)}, (smtpd,))
    return list(check_socket(config(listen), installed))


def one(findings: list[Finding]) -> tuple[Level, str]:
    (finding,) = findings
    assert finding.place == "listen"
    return finding.level, finding.text


@needs_root
@pytest.mark.parametrize("chroot", [True, False])
def test_milter_that_postfix_can_reach(queue: Path, listening: Path, chroot: bool) -> None:
    level, text = one(found(queue, f"unix:{listening}", chroot))
    assert (level, "Postfix's user postfix can connect" in text) == (Level.OK, True)


@needs_root
def test_milter_below_a_symbolic_link_to_the_queue(queue: Path, listening: Path) -> None:
    link = queue.with_name(f"{queue.name}-link")
    link.symlink_to(queue)
    try:
        assert one(found(link, f"unix:{link}/fletching/milter.sock"))[0] is Level.OK
    finally:
        link.unlink()


@needs_root
@pytest.mark.parametrize("chroot", [True, False])
@pytest.mark.parametrize(
    ("barrier", "owner", "mode", "says"),
    [
        ("fletching", "root:root", 0o750, "cannot enter the directory {queue}/fletching"),
        ("fletching", "root:postfix", 0o640, "cannot enter the directory {queue}/fletching"),
        ("fletching/milter.sock", "root:root", 0o770, "cannot connect to {socket}"),
        ("fletching/milter.sock", "root:postfix", 0o740, "cannot connect to {socket}"),
        ("fletching/milter.sock", "postfix:postfix", 0o070, "cannot connect to {socket}"),
    ],
    ids=["folder of root", "no search", "socket of root", "no write", "owner without rights"],
)
def test_milter_that_postfix_cannot_reach(
    queue: Path, listening: Path, barrier: str, owner: str, mode: int, says: str, chroot: bool
) -> None:
    shutil.chown(queue / barrier, *owner.split(":"))
    (queue / barrier).chmod(mode)
    level, text = one(found(queue, f"unix:{listening}", chroot))
    assert level is Level.ERROR
    assert says.format(queue=queue, socket=listening) in text
    assert "2750" in text, "the cure"


@needs_root
@pytest.mark.parametrize(
    ("owner", "level", "says"),
    [
        ("nobody", Level.ERROR, "Postfix's user nobody cannot enter the directory"),
        ("no-such-user", Level.WARNING, "no user no-such-user"),
    ],
)
def test_mail_owner_is_the_user_that_is_tested(
    queue: Path, listening: Path, owner: str, level: Level, says: str
) -> None:
    finding = found(queue, f"unix:{listening}", owner=owner)[0]
    assert (finding.level, says in finding.text) == (level, True)


@pytest.mark.parametrize("left", ["nothing", "a file", "a socket without a server"])
@needs_root
def test_milter_that_does_not_run(queue: Path, left: str) -> None:
    path = queue / "fletching" / "milter.sock"
    if left == "a file":
        path.touch()
        shutil.chown(path, "postfix")
    if left == "a socket without a server":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
        shutil.chown(path, "postfix")
    level, text = one(found(queue, f"unix:{path}"))
    assert (level, "systemctl start fletching" in text) == (Level.ERROR, True)


@needs_root
def test_port_without_and_with_a_milter(queue: Path) -> None:
    port = free_port()
    level, text = one(found(queue, f"inet:{port}@127.0.0.1"))
    assert (level, "nothing accepts connections" in text) == (Level.ERROR, True)
    with socket.create_server(("127.0.0.1", port)):
        assert one(found(queue, f"inet:{port}@127.0.0.1"))[0] is Level.OK
        assert one(found(queue, f"inet:{port}@0.0.0.0"))[0] is Level.OK


# Who else


@needs_root
def test_socket_that_everyone_can_open(queue: Path, listening: Path) -> None:
    (queue / "fletching").chmod(0o755)
    listening.chmod(0o777)
    _, finding = found(queue, f"unix:{listening}")
    assert (finding.level, finding.place) == (Level.WARNING, "listen")
    assert "mode 0777" in finding.text
    assert "UMask=0007" in finding.text


@needs_root
@pytest.mark.parametrize(("folder", "mode"), [(0o750, 0o777), (0o755, 0o770), (0o754, 0o777)])
def test_socket_protected_by_directory_or_mode(
    queue: Path, listening: Path, folder: int, mode: int
) -> None:
    (queue / "fletching").chmod(folder)
    listening.chmod(mode)
    assert one(found(queue, f"unix:{listening}"))[0] is Level.OK


@needs_root
def test_group_with_other_members(queue: Path, listening: Path) -> None:
    """The user `mail` is of the group `mail`, as a proxy's user may be of ours."""
    shutil.chown(queue / "fletching", "postfix", "mail")
    shutil.chown(listening, "postfix", "mail")
    _, finding = found(queue, f"unix:{listening}")
    assert (finding.level, "other than Postfix's: mail;" in finding.text) == (Level.WARNING, True)


@pytest.mark.parametrize(
    ("listen", "wide"),
    [
        ("unix:/run/fletching/milter.sock", False),
        ("inet:8899@127.0.0.1", False),
        ("inet:8899@127.9.9.9", False),
        ("inet:8899@localhost", False),
        ("inet6:8899@[::1]", False),
        ("inet:8899@0.0.0.0", True),
        ("inet:8899@192.0.2.1", True),
        ("inet:8899@milter.example.com", True),
        ("inet6:8899@[::]", True),
        ("inet6:8899@[2001:db8::1]", True),
    ],
)
def test_port_that_other_hosts_can_reach_is_a_warning(listen: str, wide: bool) -> None:
    findings = list(check_listen(config(listen)))
    assert [(each.level, each.place) for each in findings] == [(Level.WARNING, "listen")] * wide
