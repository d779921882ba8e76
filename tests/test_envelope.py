"""envelope.py: what SMTP said, and what follows from it."""

from __future__ import annotations

import pytest
from fletching.mail.envelope import Envelope, Recipient


@pytest.mark.parametrize(
    ("address", "domain", "mailbox"),
    [
        ("reader@example.org", "example.org", "reader@example.org"),
        ("Reader@EXAMPLE.org", "example.org", "Reader@example.org"),
        ('"a@b"@Example.org', "example.org", '"a@b"@example.org'),
        ("Postmaster", "", "Postmaster"),
        ("", "", ""),
        ("a@", "", "a@"),
        ("l\udce4user@example.org", "example.org", "l\udce4user@example.org"),
    ],
)
def test_domain_and_mailbox_of_an_address(address: str, domain: str, mailbox: str) -> None:
    assert Recipient(address).domain == domain
    assert Recipient(address).mailbox == mailbox


@pytest.mark.parametrize(
    ("mailers", "told"),
    [((), False), ((None,), False), ((None, None), False), (("smtp",), True),
     ((None, "smtp"), True), (("",), True)],
)  # fmt: skip
def test_mailers_of_the_recipients(mailers: tuple[str | None, ...], told: bool) -> None:
    to = tuple(Recipient("a@example.org", mailer) for mailer in mailers)
    around = Envelope("s@example.org", to, "127.0.0.1")
    assert around.mailers_told == told
    assert not around.local
    assert around.login is None
