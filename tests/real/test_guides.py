"""What the guides in docs/ promise about OpenDKIM's keys, and about Postfix without Fletching."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from sandbox.postfix import Postfix
from sandbox.processes import program
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
