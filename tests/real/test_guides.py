"""What the guides in docs/ promise about OpenDKIM's keys, Postfix without Fletching, and Nagios."""

from __future__ import annotations

import re
import shutil
import smtplib
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from sandbox.postfix import Postfix
from sandbox.processes import program, wait_until
from sandbox.sinks import Sink
from sandbox.verifiers import verify_opendkim
from tests.host import Host

from .mails import RECIPIENT, SENDER, mail

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parent.parent.parent / "docs"


def test_opendkim_keys_sign_under_their_published_record(tmp_path: Path) -> None:
    """from-opendkim.md: nothing needs to be published."""
    genkey = [program("opendkim-genkey", "opendkim-tools"), "-b", "2048", "-d", "example.com"]
    subprocess.run([*genkey, "-s", "r1", "-D", str(tmp_path)], check=True)
    published = "".join(re.findall(r'"([^"]*)"', (tmp_path / "r1.txt").read_text()))
    host = Host(tmp_path)
    shutil.copy(tmp_path / "r1.private", tmp_path / "dkim.pem")

    signed = host.run("preview", str(host.mail)).stdout_bytes

    (verdict,) = verify_opendkim(signed, {"r1._domainkey.example.com": published})
    assert verdict.passed


def test_header_checks_remove_control_headers_without_fletching(
    postfix: Postfix, sinks: Mapping[str, Sink]
) -> None:
    """uninstall.md: until the applications no longer send them."""
    (line,) = re.findall(r"^ {4}header_checks = (.*)$", (DOCS / "uninstall.md").read_text(), re.M)
    postfix.set(header_checks=line)
    raw = mail(b"X-GreenArrow-MailClass: newsletter", b"x-greenarrow-listid: t100")
    assert postfix.submit(raw, SENDER, [RECIPIENT]).accepted
    (arrived,) = sinks["smtp"].wait()
    assert "subject" in arrived.header_names
    assert not [name for name in arrived.header_names if name.startswith("x-greenarrow")]


def test_host_that_is_taken_away_delivers_its_queue(
    postfix: Postfix, sinks: Mapping[str, Sink]
) -> None:
    """second-host.md: no new mail, and what is in the queue leaves."""
    page = (DOCS / "second-host.md").read_text().partition("\n## Taking a host away\n")[2]
    commands = re.findall(r"^ {7}(\w+) (.*)$", page, re.M)
    assert [name for name, _ in commands] == ["postconf", "postfix"]
    postfix.set(defer_transports="smtp")
    assert postfix.submit(mail(), SENDER, [RECIPIENT]).accepted
    postfix.wait_idle()
    postfix.command("postconf", "-X", "defer_transports")

    for name, arguments in commands:
        postfix.command(name, *arguments.split())

    wait_until("the port is closed", lambda: not greets(postfix.port))
    postfix.command("postqueue", "-f")
    postfix.wait_empty()
    assert len(sinks["smtp"].wait()) == 1


def greets(port: int) -> bool:
    """Whether Postfix takes mail there."""
    try:
        with smtplib.SMTP("127.0.0.1", port):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("found", [0, 1, 2], ids=["healthy", "errors", "invalid configuration"])
def test_nagios_command_runs_as_its_own_user(found: int) -> None:
    """check.md: "critical" is exit status 2, and the user may write nowhere."""
    page = (DOCS / "check.md").read_text()
    (line,) = re.findall(r"^ {4}command\[fletching\]=(.*)$", page, re.M)
    (allowed,) = re.findall(r"NOPASSWD: (.*)$", page, re.M)
    assert line.startswith(f"sudo {allowed} ")
    as_root = f"sudo() {{ echo 'ok: redis: answers'; return {found}; }}; {line}"

    done = subprocess.run(
        ["/bin/sh", "-c", as_root], user="nobody", cwd="/", capture_output=True, check=False
    )

    assert done.returncode == (2 if found else 0)
    assert done.stdout == b"ok: redis: answers\n", "for Nagios to show"


def test_sockets_of_complete_configurations_are_in_reach_of_a_chrooted_postfix() -> None:
    """migration.md: Debian's lmtp(8) is chrooted in the queue directory."""
    sockets = re.findall(r"listen: unix:(/\S+?)[},\s]", (DOCS / "migration.md").read_text())
    assert sockets
    assert [path for path in sockets if not path.startswith("/var/spool/postfix/")] == []
