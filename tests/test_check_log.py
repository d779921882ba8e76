"""`fletching check` on Postfix's log."""

from __future__ import annotations

from pathlib import Path

import pytest
from fletching.checks.finding import Finding
from fletching.checks.postfix_log import check_log
from fletching.config.load import parse
from fletching.config.model import Config
from fletching.postfix.postconf import Installed

from tests.log_lines import Mail

MAIL = Mail("4jdT9k6120zCXPc")


def configured(log: str) -> Config:
    text = f"link_keys: /k\npostfix: {{log: {log}}}\n"
    return parse(text.encode(), Path("fletching.yaml"))


def checked(log: object, maillog_file: str | None = None) -> str:
    postfix = (
        None if maillog_file is None else Installed((3, 7), {"maillog_file": maillog_file}, ())
    )
    (finding,) = check_log(configured(str(log)), postfix)
    assert isinstance(finding, Finding)
    return str(finding)


def test_log_that_postfix_writes(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_text("x" * 3 * 2**20 + "\n" + MAIL.active() + "\n")
    assert checked(log) == f"ok: postfix.log: {log}: Postfix logs deliveries there"
    assert checked(log, "") == checked(log)
    assert checked(log, str(log)) == checked(log)


def test_log_of_something_else(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_text(MAIL.line("smtpd", "connect from unknown[192.0.2.1]") + "\n")
    assert "its end has no line of Postfix's qmgr(8)" in checked(log)


def test_missing_log(tmp_path: Path) -> None:
    assert checked(tmp_path / "mail.log").startswith("warning: postfix.log: ")
    assert "does not exist yet" in checked(tmp_path / "mail.log")


def test_log_that_cannot_be_read(tmp_path: Path) -> None:
    assert checked(tmp_path) == f"error: postfix.log: {tmp_path}: cannot be read: Is a directory"


def test_log_of_postlogd_is_elsewhere(tmp_path: Path) -> None:
    told = "Postfix logs to /var/log/maillog (maillog_file): set postfix.log to it"
    assert checked(tmp_path / "mail.log", "/var/log/maillog") == f"error: postfix.log: {told}"
    assert "does not log to the journal: set postfix.log to /m" in checked("journal", "/m")


def test_host_without_journal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no journalctl(1): set postfix.log to a file" in checked("journal")


def test_journal_is_asked() -> None:
    """tests/real/test_install.py has a journal of a running system."""
    said = checked("journal")
    assert said.startswith(("ok: ", "warning: ", "error: "))
    assert "journal" in said


def test_no_log_is_no_finding() -> None:
    assert list(check_log(parse(b"postfix: {}", Path("fletching.yaml")))) == []
