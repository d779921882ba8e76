"""A failure that Postfix's log has reported is not reported again by Postfix's bounce."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from fletching.daemons.lmtp.first_reports import ClaimSettings, FirstReports
from fletching.returning.reading import read
from fletching.returning.returned import (
    BounceType,
    Failure,
    MailKind,
    Reason,
    ReturnedMail,
    ReturnedRecipient,
)
from fletching.store.bounce_claims import BounceClaims, Claim, failure_of

from sandbox.redis_cluster import Stores
from tests.stores import open_store

pytestmark = pytest.mark.slow

CAMPAIGN, QUEUE_ID = "a" * 12, "4jdT9k65NzzCXPg"
MESSAGE = CAMPAIGN, 7
FAILURE = Failure(BounceType.HARD, Reason.USER_UNKNOWN, "5.1.1", 550, "550 5.1.1 no")
ANN, BOB = (ReturnedRecipient(f"{name}@example.org", FAILURE) for name in ("Ann", "bob"))
BOUNCE = ReturnedMail(MailKind.BOUNCE, (ANN,), queue_id=QUEUE_ID)
FOR_EVER = 1e9


class Host:
    """The reports of one LMTP service, and the claims of the log."""

    def __init__(self, store: Stores) -> None:
        self.claims = BounceClaims(open_store(store.url))
        self._opened: list[FirstReports] = []

    def log_claims(self, *recipients: ReturnedRecipient, number: int = 7) -> list[bool]:
        claims = [
            Claim(CAMPAIGN, number, failure_of(QUEUE_ID, each.email.lower())) for each in recipients
        ]
        return self.claims.claim("log", claims, 60)

    def unreported(
        self,
        mail: ReturnedMail,
        *,
        is_read: bool = True,
        is_from_here: bool = True,
        patience: float = 0.3,
    ) -> ReturnedMail | None:
        first = self.reports(is_read=is_read, patience=patience)
        return asyncio.run(first.unreported(mail, MESSAGE, is_from_here=is_from_here))

    def reports(self, *, is_read: bool = True, patience: float = 0.3) -> FirstReports:
        self._opened.append(FirstReports(self.claims, ClaimSettings(is_read, 60), patience))
        return self._opened[-1]

    def close(self) -> None:
        for each in self._opened:
            each.close()


@pytest.fixture
def host(store: Stores) -> Iterator[Host]:
    host = Host(store)
    yield host
    host.close()


def test_failure_that_the_log_has_reported_is_left_out(host: Host) -> None:
    assert host.log_claims(ANN) == [True]
    assert host.unreported(BOUNCE, patience=FOR_EVER) is None


def test_failure_is_reported_by_mail_if_nobody_reads_the_log(host: Host) -> None:
    assert host.unreported(BOUNCE, is_read=False, patience=FOR_EVER) == BOUNCE
    assert host.log_claims(ANN) == [False]


def test_failure_is_reported_by_mail_if_the_log_does_not_come(host: Host) -> None:
    assert host.unreported(BOUNCE) == BOUNCE
    assert host.unreported(BOUNCE) == BOUNCE, "the same mail again, after a crash"
    assert host.log_claims(ANN) == [False]


def test_bounce_waits_for_the_log(host: Host) -> None:
    async def claims_later() -> ReturnedMail | None:
        waiting = asyncio.create_task(
            host.reports(patience=FOR_EVER).unreported(BOUNCE, MESSAGE, is_from_here=True)
        )
        await asyncio.sleep(0.2)
        assert not waiting.done()
        assert host.log_claims(ANN) == [True]
        return await waiting

    assert asyncio.run(claims_later()) is None


def test_bounce_from_another_host_does_not_wait(host: Host) -> None:
    assert host.unreported(BOUNCE, is_from_here=False, patience=FOR_EVER) == BOUNCE


def test_recipients_are_told_apart(host: Host) -> None:
    host.log_claims(ANN)
    both = replace(BOUNCE, recipients=(ANN, BOB))
    assert host.unreported(both) == replace(BOUNCE, recipients=(BOB,))


def test_message_of_another_number_is_another_failure(host: Host) -> None:
    host.log_claims(ANN, number=8)
    assert host.unreported(BOUNCE) == BOUNCE


DELAYED = ReturnedRecipient("late@example.org", FAILURE, is_delayed=True)
OTHERS: Sequence[ReturnedMail] = [
    replace(BOUNCE, queue_id=""),
    replace(BOUNCE, kind=MailKind.DELAYED),
    replace(BOUNCE, recipients=()),
    replace(BOUNCE, recipients=(DELAYED,)),
]


@pytest.mark.parametrize("mail", OTHERS, ids=["no queue id", "delay", "no recipient", "delayed"])
def test_other_mail_claims_nothing(host: Host, mail: ReturnedMail) -> None:
    assert host.unreported(mail, patience=FOR_EVER) == mail


def test_mail_that_is_not_attributed_claims_nothing(host: Host) -> None:
    first = host.reports(patience=FOR_EVER)
    assert asyncio.run(first.unreported(BOUNCE, None, is_from_here=True)) == BOUNCE


def test_queue_id_of_a_bounce_is_read() -> None:
    bounce = (
        b"From: MAILER-DAEMON@mx1.example.com\r\nSubject: Undelivered Mail\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        b"Reporting-MTA: dns; mx1.example.com\r\nX-Postfix-Queue-ID: 4jdT9k65NzzCXPg\r\n\r\n"
        b"Final-Recipient: rfc822; ann@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
        b"--b--\r\n"
    )
    assert read(bounce).queue_id == QUEUE_ID
    assert read(bounce.replace(b"X-Postfix-Queue-ID", b"X-Other")).queue_id == ""
