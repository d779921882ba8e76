"""How the words of mail servers are grouped."""

from __future__ import annotations

from fletching.server_words import LONGEST, group
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every

EMAIL = "john.doe@example.com"


@for_every(
    {
        "Postfix' words around it, and a reply of several lines": (
            "host mx1.example.net[192.0.2.1] said: 550-5.1.1 The account does not exist. Check"
            " 550-5.1.1 the address or 550-5.1.1 see 550 5.1.1"
            "  https://help.example.net/mail/?p=NoSuchUser d2e1a72fcca58-71e5a4b1c2.123 - gsmtp"
            " (in reply to RCPT TO command)",
            "550 5.1.1 The account does not exist. Check the address or see"
            " https://help.example.net/mail/ <id> - gsmtp",
        ),
        "a greeting of several lines": (
            "host mx1.example.net[192.0.2.1] refused to talk to me: 554-mx1.example.net"
            " 554-No service 554 Visit https://pm.example.net/case?c=hi&i=ip&v=192.0.2.1",
            "554 mxN.example.net No service Visit https://pm.example.net/case",
        ),
        "an address": (
            "550 5.1.1 <john.doe@example.com>: Recipient address rejected",
            "550 5.1.1 <address>: Recipient address rejected",
        ),
        "an address without brackets": ("550 no mailbox j@x.example.", "550 no mailbox <address>"),
        "the recipient's local part": (
            "550 No such user John.Doe here",
            "550 No such user <address> here",
        ),
        "a local part in brackets": ("550 <john>: unknown", "550 <address>: unknown"),
        "the recipient's domain": (
            "Name service error for name=example.com type=MX: Host not found",
            "Name service error for name=<domain> type=MX: Host not found",
        ),
        "an IPv4 address": (
            "connect to mx2.example.net[192.0.2.44]:25: Connection refused",
            "connect to mxN.example.net[<ip>]:N: Connection refused",
        ),
        "an IPv6 address": (
            "connect to mx2.example.net[2001:db8::1]:25: Connection refused",
            "connect to mxN.example.net[<ip>]:N: Connection refused",
        ),
        "a queue id": (
            "451 queued as 4Y2xYz3k0Bz9s1, 20 in front",
            "451 queued as <id>, N in front",
        ),
        "error codes in brackets stay": (
            "550 5.7.1 blocked (S3140) [TSS04] by mxgmx117",
            "550 5.7.1 blocked (S3140) [TSS04] by mxgmxN",
        ),
        "codes inside stay": (
            "421 later, like 450 4.2.1 and 4.7.0",
            "421 later, like 450 4.2.1 and 4.7.0",
        ),
        "control characters": ("550 a\r\n\x1b[31m\tb\0", "550 a [Nm b"),
        "nothing": ("", ""),
        "only a code": ("550 5.1.1", "550 5.1.1"),
    }
)
def test_words_are_grouped(text: str, words: str) -> None:
    assert group(text, EMAIL) == words


def test_same_failure_of_two_recipients_is_one_group() -> None:
    text = "host mx.example[192.0.2.{n}] said: 550 5.1.1 <{u}@example.com>: {u} unknown {n}{n}{n}"
    texts = [
        group(text.format(u=user, n=number), f"{user}@example.com")
        for user, number in (("alice", 1), ("bob", 234))
    ]
    assert texts[0] == texts[1]


def test_local_part_of_two_letters_may_be_a_word() -> None:
    assert group("550 no such user", "no@example.com") == "550 no such user"


@given(st.text(max_size=300), st.text(max_size=20))
def test_any_text_gives_short_printable_words(text: str, email: str) -> None:
    words = group(text, email)
    assert len(words) <= LONGEST
    assert "\n" not in words
    assert group(text, email) == words


@for_every({"spaces": " ", "codes": "550-5.1.1 ", "brackets": "<", "addresses": "a@", "ids": "a1b"})
def test_only_the_beginning_of_a_long_text_is_read(piece: str) -> None:
    text = f"550 5.1.1 {piece * 100_000}"
    assert group(text, EMAIL) == group(text[:2000], EMAIL)
