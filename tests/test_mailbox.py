"""Seed mailboxes on a real Dovecot: where our mails are found, and that nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fletching.monitor import mailbox
from fletching.monitor.mailbox import Account, Arrival, MailboxError, arrivals
from fletching.tokens import Facts, Kind

from sandbox.dovecot import Dovecot
from sandbox.processes import free_port, private_directory
from tests.setting import CAMPAIGN, KEYRING

pytestmark = pytest.mark.slow

NOW = int(time.time()) - 3600
FACTS = Facts(campaign=CAMPAIGN, number=7, mail_class="news", instance_id="1", sent=NOW)
USERS = ("inbox", "spam", "named", "other", "both", "many", "old", "empty", "umlaut")
PASSWORD = "pässword with spaces"


def ours(facts: Facts = FACTS) -> bytes:
    token = KEYRING.seal(Kind.MAILER_INFO, facts)
    folded = "\n ".join(token[start : start + 60] for start in range(0, len(token), 60))
    return f"From: a@example.com\nX-Mailer-Info: {folded}\nSubject: Offers\n\nHello\n".encode()


def foreign(number: int) -> bytes:
    return f"From: b@example.com\nX-Mailer-Info: {number}\nSubject: x\n\nHello\n".encode()


@dataclass(frozen=True)
class Mailboxes:
    server: Dovecot
    password_file: Path

    def account(self, user: str) -> Account:
        return Account(f"imaps://localhost:{self.server.port}", user, self.password_file)

    def look(self, user: str) -> list[Arrival]:
        return arrivals(self.account(user), NOW, KEYRING)


@pytest.fixture(scope="module")
def mailboxes() -> Iterator[Mailboxes]:
    with private_directory() as place:
        password_file = place / "password"
        password_file.write_text(f"{PASSWORD}\n")
        password_file.chmod(0o600)
        server = Dovecot(place / "dovecot", dict.fromkeys(USERS, PASSWORD), "Unwanted")
        with server, pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(server.certificates.authority))
            yield Mailboxes(server, password_file)


def found(arrival: Arrival) -> tuple[str, str, int]:
    return arrival.where, arrival.folder, arrival.arrived - NOW


@pytest.mark.parametrize(
    ("user", "folder", "where"),
    [
        ("inbox", "INBOX", "inbox"),
        ("spam", "Unwanted", "spam"),
        ("other", "Lists/Offers", "folder"),
        ("named", "Spam", "folder"),
    ],
    ids=["inbox", "marked spam folder", "another folder", "the recipient's own spam folder"],
)
def test_mail_is_found(mailboxes: Mailboxes, user: str, folder: str, where: str) -> None:
    mailboxes.server.put(user, ours(), NOW + 90, folder)
    (arrival,) = mailboxes.look(user)
    assert found(arrival) == (where, folder, 90)
    assert arrival.facts == FACTS


def test_folder_with_another_script_is_named(mailboxes: Mailboxes) -> None:
    mailboxes.server.put("umlaut", ours(), NOW, "Entw&APw-rfe &- mehr")
    (arrival,) = mailboxes.look("umlaut")
    assert arrival.folder == "Entwürfe & mehr"


def test_mail_in_two_folders_is_in_the_inbox(mailboxes: Mailboxes) -> None:
    mailboxes.server.put("both", ours(), NOW + 1, "Archive")
    mailboxes.server.put("both", ours(), NOW + 2)
    assert [found(each) for each in mailboxes.look("both")] == [("inbox", "INBOX", 2)]


def test_mail_is_found_among_hundreds_and_nothing_is_changed(mailboxes: Mailboxes) -> None:
    for number in range(300):
        mailboxes.server.put("many", foreign(number), NOW + number)
    for number in (1, 2):
        mailboxes.server.put("many", ours(replace(FACTS, number=number)), NOW + number)
    for number in range(300):
        mailboxes.server.put("many", foreign(number), NOW + number)
    before = mailboxes.server.files("many")
    arrived = mailboxes.look("many")
    assert sorted(each.facts.number for each in arrived) == [1, 2]
    assert mailboxes.server.files("many") == before


def test_old_mail_is_not_looked_at(mailboxes: Mailboxes) -> None:
    mailboxes.server.put("old", ours(), NOW - 5 * 86400)
    assert mailboxes.look("old") == []


def test_empty_mailbox(mailboxes: Mailboxes) -> None:
    assert mailboxes.look("empty") == []


def test_server_of_this_host_needs_no_tls(mailboxes: Mailboxes) -> None:
    server = f"imap://127.0.0.1:{mailboxes.server.plain_port}"
    account = replace(mailboxes.account("empty"), server=server)
    assert arrivals(account, NOW, KEYRING) == []


def test_server_of_another_host_needs_starttls(
    mailboxes: Mailboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "_is_loopback", lambda _: False)
    server = f"imap://localhost:{mailboxes.server.plain_port}"
    account = replace(mailboxes.account("empty"), server=server)
    assert arrivals(account, NOW, KEYRING) == []
    monkeypatch.delenv("SSL_CERT_FILE")
    assert error(account).startswith("certificate not trusted: ")


def test_mailbox_that_takes_too_long(mailboxes: Mailboxes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "LONGEST", -1.0)
    assert error(mailboxes.account("empty")) == "the mailbox took too long to read"


def error(account: Account) -> str:
    with pytest.raises(MailboxError) as raised:
        arrivals(account, NOW, KEYRING)
    assert PASSWORD not in str(raised.value)
    return str(raised.value)


def test_wrong_password(mailboxes: Mailboxes, tmp_path: Path) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("wrong")
    wrong.chmod(0o600)
    account = replace(mailboxes.account("inbox"), password_file=wrong)
    assert error(account).startswith("login refused: ")


def test_unknown_certificate(mailboxes: Mailboxes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert error(mailboxes.account("inbox")).startswith("certificate not trusted: ")


def test_certificate_of_another_host(mailboxes: Mailboxes, monkeypatch: pytest.MonkeyPatch) -> None:
    server = f"imaps://127.0.0.2:{mailboxes.server.port}"
    account = replace(mailboxes.account("inbox"), server=server)
    assert error(account)


def test_server_that_is_down(mailboxes: Mailboxes) -> None:
    account = replace(mailboxes.account("inbox"), server=f"imaps://localhost:{free_port()}")
    assert error(account) == "Connection refused"


def test_unknown_host(mailboxes: Mailboxes) -> None:
    account = replace(mailboxes.account("inbox"), server="imaps://nowhere.invalid")
    assert error(account).startswith("unknown host: ")


def test_password_file_that_others_can_read(mailboxes: Mailboxes, tmp_path: Path) -> None:
    open_file = tmp_path / "password"
    open_file.write_text(PASSWORD)
    open_file.chmod(0o644)
    account = replace(mailboxes.account("inbox"), password_file=open_file)
    assert "readable by others" in error(account)
