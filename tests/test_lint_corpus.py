"""`fletching lint` on mails that no one here wrote, and on the golden mails as they leave."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from click.testing import CliRunner
from fletching.cli.main import main
from fletching.lint.all import judge
from fletching.lint.rule import Finding
from fletching.lint.sent import Sent
from fletching.lint.signatures import signatures
from fletching.mail.message import Message, parse

from tests.corpora import cpython_mails, foundation_emails
from tests.host import Host
from tests.test_cli_lint import SUBMITTED

CASES = Path(__file__).parent / "cases"


def judged(message: Message) -> tuple[Finding, ...]:
    return judge(Sent(message=message, signatures=signatures(message)))


def as_mail(page: Path) -> Message:
    """A template as the only part of a mail."""
    header = b"From: a@example.com\r\nContent-Type: text/html; charset=utf-8\r\n"
    return parse(header + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + page.read_bytes())


def test_templates_are_read() -> None:
    """Of templates of a newsletter, each rule about content is right about most."""
    counted = Counter(
        rule
        for page in foundation_emails()
        for rule in {finding.rule.name for finding in judged(as_mail(page))}
    )
    pages = len(foundation_emails())
    assert counted["text-part-missing"] == pages
    assert counted["part-unreadable"] == 0
    assert counted["link-misleads"] == 0
    assert counted["html-too-large"] == 0


def test_mails_of_cpython_are_read() -> None:
    """Some of them are broken on purpose."""
    for path in cpython_mails():
        findings = judged(parse(path.read_bytes()))
        assert "dkim-missing" in {finding.rule.name for finding in findings}, path.name
        assert all("\n" not in str(finding) for finding in findings)


def test_golden_mails_as_they_leave() -> None:
    """Whatever was submitted: what Fletching itself added breaks no rule."""
    ours = {
        "line-too-long", "unsubscribe-not-signed", "unsubscribe-several-urls", "dkim-sha1",
        "dkim-body-length", "link-misleads", "header-not-text",
    }  # fmt: skip
    for path in sorted(CASES.glob("*/out.eml")):
        broken = {finding.rule.name for finding in judged(parse(path.read_bytes()))}
        assert not broken & ours, path.parent.name


def test_golden_output(tmp_path: Path) -> None:
    """The lines of the command for a mail with a fault of each kind.

    What came out is written beside, as got.txt, if it differs from out.txt.
    """
    folder = Path(__file__).parent / "lint"
    host = Host(tmp_path)
    result = host.run("lint", str(folder / "in.eml"), "--now", "2026-12-01T09:00:00Z")
    expected, beside = folder / "out.txt", folder / "got.txt"
    beside.unlink(missing_ok=True)
    if not expected.exists() or result.stdout != expected.read_text("utf-8"):
        beside.write_text(result.stdout, "utf-8")
    assert result.stdout == expected.read_text("utf-8")
    assert result.exit_code == 1


def test_mail_on_stdin(tmp_path: Path) -> None:
    host = Host(tmp_path)
    words = ["lint", "-", "--config", str(host.config)]
    assert CliRunner().invoke(main, words, input=SUBMITTED.encode()).exit_code == 0
