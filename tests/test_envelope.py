"""envelope.py: what SMTP said, and what follows from it."""

from __future__ import annotations

import re

import pytest
from fletching.mail.envelope import Envelope, Recipient, address_of
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every

PATHS = {
    "usual": ("<user@example.org>", "user@example.org"),
    "null sender": ("<>", ""),
    "no domain": ("<Postmaster>", "Postmaster"),
    "no brackets": ("user@example.org", "user@example.org"),
    "more brackets": ("<<user@example.org>>", "user@example.org"),
    "blanks": ("< user@example.org >", "user@example.org"),
    "a name": ("Name <user@example.org>", "user@example.org"),
    "comments": ("(a)<us(b(c))er@example.org(d)>", "user@example.org"),
    "a route": ("<@a.example,@b.example:user@example.org>", "user@example.org"),
    "two routes": ("<@a:@b:user@example.org>", '"@b:user"@example.org'),
    "a route to an address literal": ("<@a:user@[IPv6:::1]>", "user@[IPv6:::1]"),
    "an address literal": ("<user@[IPv6:::1]>", "user@[IPv6:::1]"),
    "quotes without need": ('<"us.er"@example.org>', "us.er@example.org"),
    "needed quotes": ('<"a b"@example.org>', '"a b"@example.org'),
    "a quoted quote": (r'<"a\"b\\"@example.org>', r'"a\"b\\"@example.org'),
    "a quoted bracket": ('<"<a>"@example.org>', '"<a>"@example.org'),
    "a quoted comment": ('<"(a)"@example.org>', '"(a)"@example.org'),
    "an escape": (r"<us\er@example.org>", "user@example.org"),
    "two signs": ("<a@b@example.org>", '"a@b"@example.org'),
    "two dots": ("<a..b@example.org>", "a..b@example.org"),
    "empty local part": ('<""@example.org>', '""@example.org'),
    "not UTF-8": ("<l\udce4(x)user@example.org>", "l\udce4user@example.org"),
    "unfinished": ('<"a', '"\\"a"'),
    "nothing but a comment": ("<(a", ""),
}


@for_every(PATHS)
def test_address_of_a_path(path: str, address: str) -> None:
    assert address_of(path) == address
    assert address_of(f"<{address}>") == address


@given(st.text(alphabet='ab."\\<>()@:, \udcff', max_size=20))
def test_every_local_part_has_one_form(local: str) -> None:
    quoted = re.sub(r'(["\\])', r"\\\1", local)
    address = address_of(f'<@relay.example:"{quoted}"@example.org>')
    assert address_of(f"<{address}>") == address
    assert address.endswith("@example.org")


@given(st.text())
def test_address_of_anything(path: str) -> None:
    address_of(path)


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
