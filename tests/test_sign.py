"""sign.py: which fields are signed, in which form, and what becomes of signatures before."""

from __future__ import annotations

import base64
import hashlib
import re
from itertools import product

import pytest
from fletching.mail.dkim import Signature, SigningKey, ascii_domain, sign
from fletching.mail.message import Header, Message

from tests.cases import for_every
from tests.dkim_judges import (
    BODY,
    BY_ED25519,
    BY_RSA,
    DATE,
    ED25519,
    FROM,
    RSA,
    SUBJECT,
    TIME,
    TO,
    USUAL,
    dkimpy_says,
    mail,
    names_in,
    on_the_wire,
    plainly_verifies,
    short_rsa_key,
)

# The oracle says yes.

LONG_REFERENCES = b"".join(b"\r\n\t<%032d@mail.example.com>" % n for n in range(60))

MAILS = {
    "7-bit": mail(*USUAL),
    "8-bit": mail(*USUAL, body="Grüße\r\n".encode() + bytes(range(128, 256)) + b"\r\n"),
    "empty body": mail(*USUAL, body=b""),
    "only blank lines": mail(*USUAL, body=b"\r\n\r\n \r\n\t\r\n\r\n"),
    "blank lines in front and behind": mail(*USUAL, body=b"\r\n\r\nx\r\n\r\n\r\n"),
    "dot lines": mail(*USUAL, body=b".\r\n..\r\n.x\r\n...\r\n.\r\n"),
    "no final newline": mail(*USUAL, body=b"the end"),
    "no final newline, trailing white space": mail(*USUAL, body=b"the end \t "),
    "white space as last line": mail(*USUAL, body=b"the end\r\n \t "),
    "tabs and trailing spaces": mail(*USUAL, body=b"\ta\t\tb  \r\n c \t d \t\r\n  \r\nx\r\n"),
    "NUL": mail(*USUAL, body=b"a\0b\r\n"),
    "folded headers": mail(
        FROM, (b"To", b" a@example.net,\r\n\tb@example.net,\r\n  c@example.net"), SUBJECT, DATE
    ),
    "fold first": mail(FROM, TO, (b"Subject", b"\r\n This week"), DATE),
    "fold of white space alone": mail(FROM, TO, (b"Subject", b" This\r\n \t\r\n week"), DATE),
    "8-bit headers": mail(FROM, TO, (b"Subject", b" Gr\xfc\xdfe \xe2\x82\xac"), DATE),
    "no space behind the colon": mail((b"From", b"a@example.com"), (b"subject", b"x"), TO, DATE),
    "white space around values": mail(FROM, TO, (b"Subject", b" \t  a \t b\t \t"), DATE),
    "empty values": mail(FROM, (b"To", b""), (b"Subject", b" "), (b"Date", b"\r\n ")),
    "names in any case": mail((b"FROM", FROM[1]), (b"tO", TO[1]), (b"sUBJECT", b" x"), DATE),
    "two subjects": mail(FROM, (b"Subject", b" one"), TO, (b"Subject", b" two"), DATE),
    "two senders": mail(FROM, TO, (b"From", b" other@example.com"), SUBJECT, DATE),
    "From alone": mail(FROM),
    "no From": mail(TO),
    "no header": mail(),
    "everything": mail(
        (b"Received", b" by mx.example.com"),
        *USUAL,
        (b"Sender", b" s@example.com"),
        (b"Reply-To", b" r@example.com"),
        (b"Cc", b" c@example.net"),
        (b"Message-ID", b" <1@example.com>"),
        (b"In-Reply-To", b" <0@example.com>"),
        (b"References", LONG_REFERENCES),
        (b"MIME-Version", b" 1.0"),
        (b"Content-Type", b' text/html;\r\n\tcharset="utf-8"'),
        (b"Content-Transfer-Encoding", b" 8bit"),
        (b"Content-Language", b" en"),
        (b"List-Id", b" <t100.example.com>"),
        (b"List-Unsubscribe", b" <https://click.example.com/unsub?T>,\r\n <mailto:u@example.com>"),
        (b"List-Unsubscribe-Post", b" List-Unsubscribe=One-Click"),
        (b"Feedback-ID", b" a:b:c"),
        (b"X-Mailer", b" x"),
    ),
    "long h=": mail(FROM, *((b"Content-X%d" % n, b" %d" % n) for n in range(300))),
    "more fields than h= holds": mail(FROM, *[(b"To", b" a@example.net")] * 30_000),
    "line of 998": mail(FROM, (b"Subject", b" " + b"x" * 989), TO, DATE),
}


def signature_of(message: Message, signature: Signature) -> Header:
    """The DKIM-Signature field that is put over a message."""
    return sign(message, (signature,), TIME).headers[0]


@pytest.mark.parametrize("message", MAILS.values(), ids=MAILS.keys())
def test_dkimpy_verifies(message: Message) -> None:
    signed = sign(message, (BY_RSA, BY_ED25519), TIME)
    octets = on_the_wire(signed)
    assert dkimpy_says(octets, 0)
    assert dkimpy_says(octets, 1)
    assert not dkimpy_says(octets, 2)
    assert signed.headers[2:] == message.headers
    assert signed.body == message.body


@pytest.mark.parametrize("message", MAILS.values(), ids=MAILS.keys())
def test_signature_field_is_not_changed_by_postfix_and_libmilter(message: Message) -> None:
    for signature in (BY_RSA, BY_ED25519):
        header = signature_of(message, signature)
        assert header.name == b"DKIM-Signature"
        assert header.position is None
        first, *rest = (header.name + b":" + header.value).split(b"\r\n")
        assert first.startswith(b"DKIM-Signature: v=1; a=")
        assert all(re.fullmatch(rb" [!-~][ -~]*(?<! )", line) for line in rest)
        assert max(map(len, (first, *rest))) <= 78
        assert len(header.value) < 60_000


@pytest.mark.parametrize("message", MAILS.values(), ids=MAILS.keys())
def test_signature_alone_equals_signature_among_others(message: Message) -> None:
    signed = sign(message, (BY_RSA, BY_ED25519), TIME)
    assert signed.headers[0] == signature_of(message, BY_RSA)
    assert signed.headers[1] == signature_of(message, BY_ED25519)


def test_tags_of_the_signature() -> None:
    value = signature_of(mail(*USUAL), Signature("Other.Example", "x", RSA)).value
    body = base64.b64encode(hashlib.sha256(BODY).digest())
    assert (
        value.replace(b"\r\n", b"")
        .replace(b": ", b":")
        .startswith(
            b" v=1; a=rsa-sha256; c=relaxed/relaxed; d=other.example; s=x; t=1700000000;"
            b" h=from:from:subject:subject:to:to:date:date; bh=" + body + b"; b="
        )
    )
    assert b" a=ed25519-sha256;" in signature_of(mail(*USUAL), BY_ED25519).value


def test_long_domain_has_a_line_of_its_own() -> None:
    domain = ".".join(["a" * 60] * 4)
    header = signature_of(mail(*USUAL), Signature(domain, "s1", RSA))
    assert b"\r\n d=" + domain.encode() + b";\r\n s=s1;" in header.value
    assert dkimpy_says(on_the_wire(sign(mail(*USUAL), (Signature(domain, "s1", RSA),), TIME)))


# Which fields.

BASE = ["from", "from", "subject", "to", "date"]
LONG = b" " + b"x" * 1000


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        pytest.param([], ["from", "subject", "to", "date"], id="absent ones are closed"),
        pytest.param([FROM], BASE, id="From"),
        pytest.param([FROM, FROM], ["from", *BASE], id="every From"),
        pytest.param([FROM, SUBJECT, SUBJECT], [*BASE, "subject", "subject"], id="every Subject"),
        pytest.param([FROM, (b"CC", b" x"), (b"cc", b" y")], [*BASE, "cc", "cc"], id="every Cc"),
        pytest.param([FROM, (b"Cc \t", b" x")], [*BASE, "cc"], id="space before the colon"),
        pytest.param([FROM, (b"Content-Foo", b"")], [*BASE, "content-foo"], id="Content-*"),
        pytest.param([FROM, (b"Content-", b" x")], BASE, id="no Content field"),
        pytest.param([FROM, (b"Content-a;b", b" x")], BASE, id="name that h= cannot hold"),
        pytest.param([FROM, (b"Content-\xe4", b" x")], BASE, id="8-bit name"),
        pytest.param([FROM, (b"X-Mailer", b" x"), (b"Received", b" x")], BASE, id="foreign"),
        pytest.param([FROM, (b"Bcc", b" x"), (b"Return-Path", b" x")], BASE, id="go on the way"),
        pytest.param([FROM, (b"References", LONG)], BASE, id="long References"),
        pytest.param(
            [FROM, (b"References", LONG_REFERENCES)], [*BASE, "references"], id="folded References"
        ),
        pytest.param([FROM, (b"Subject", LONG)], ["from", "from", "to", "date"], id="long Subject"),
        pytest.param([(b"From", LONG)], BASE, id="long From"),
        pytest.param([FROM, (b"Cc", LONG), (b"Cc", b" x")], [*BASE, "cc"], id="long one on top"),
        pytest.param([FROM, (b"Cc", b" x"), (b"Cc", LONG)], BASE, id="long one below"),
        pytest.param(
            [FROM, (b"To", LONG), (b"To", b" x")], [*BASE[:3], "to", "date"], id="long To on top"
        ),
        pytest.param([FROM, (b"Cc", b"x" * 995)], [*BASE, "cc"], id="line of 998"),
        pytest.param([FROM, (b"Cc", b"x" * 996)], BASE, id="line of 999"),
        pytest.param([FROM, (b"Cc", b" x\r\n " + b"x" * 998)], BASE, id="later line of 999"),
    ],
)
def test_covered_fields(fields: list[tuple[bytes, bytes]], names: list[str]) -> None:
    message = mail(*fields)
    header = signature_of(message, BY_ED25519)
    assert sorted(names_in(header)) == sorted(names)
    assert plainly_verifies(Message((header, *message.headers), message.body), ED25519)


def test_lines_that_postfix_breaks_do_not_break_the_signature() -> None:
    message = mail(*USUAL, (b"References", b" <1@example.com>" * 100), (b"Cc", LONG))
    octets = on_the_wire(sign(message, (BY_RSA,), TIME))
    sent = re.sub(rb"([^\r\n]{998})(?=[^\r\n])", rb"\1\r\n ", octets)
    assert sent != octets
    assert dkimpy_says(sent)


# Signatures that were there before.


@pytest.mark.parametrize(
    ("value", "dropped"),
    [
        pytest.param(b" v=1; d=example.com; b=x", True, id="ours"),
        pytest.param(b"v=1;d=EXAMPLE.Com;b=x;", True, id="case, no space, last semicolon"),
        pytest.param(b" v=1;\r\n\td\r\n =\r\n example.com\r\n ; b=x", True, id="folded"),
        pytest.param(b" d=example.com", True, id="alone"),
        pytest.param(b" v=1; d=other.example; b=x", False, id="foreign"),
        pytest.param(b" v=1; d=news.example.com; b=x", False, id="below ours"),
        pytest.param(b" v=1; d=com; b=x", False, id="above ours"),
        pytest.param(b" v=1; i=@example.com; d=other.example; b=d=example.com", False, id="in b="),
        pytest.param(b" v=1; z=From:x|d=example.com; d=other.example", False, id="in z="),
        pytest.param(b" v=1; D=example.com", False, id="D is not d"),
        pytest.param(b" v=1; d=example.com; d=example.com", False, id="d= twice"),
        pytest.param(b" v=1; d=exam\r\n ple.com; b=x", False, id="fold inside"),
        pytest.param(b" v=1; d=example.com; b", False, id="no list of tags"),
        pytest.param(b" v=1; ; d=example.com", False, id="empty tag"),
        pytest.param(b" v=1; d=; b=x", False, id="no domain"),
        pytest.param(b" d=\xff\xfe; b=x", False, id="no UTF-8"),
        pytest.param(b"", False, id="empty"),
    ],
)
def test_earlier_signatures_of_our_domains_are_removed(value: bytes, dropped: bool) -> None:
    message = mail((b"DKIM-signature", value), *USUAL)
    signed = sign(message, (BY_RSA,), TIME)
    assert signed.headers[1:] == (message.headers[1:] if dropped else message.headers)
    assert dkimpy_says(on_the_wire(signed))


def test_new_signatures_come_first_and_other_fields_stay() -> None:
    other = Signature("other.example", "e1", ED25519)
    foreign = (b"DKIM-Signature", b" v=1; d=third.example; b=x")
    twice = (b"DKIM-Signature", b" v=1; d=other.example; b=x")
    message = mail(foreign, twice, FROM, (b"DKIM-Signature", b" d=example.com"), SUBJECT)
    signed = sign(message, (other, BY_RSA, BY_ED25519), TIME)
    assert [b" d=other.example;" in h.value for h in signed.headers[:3]] == [True, False, False]
    assert [h.position for h in signed.headers] == [None, None, None, 0, 2, 4]
    assert all(dkimpy_says(on_the_wire(signed), index) for index in range(3))


def test_no_signatures_change_nothing() -> None:
    message = mail((b"DKIM-Signature", b" d=example.com"), FROM)
    assert sign(message, (), TIME) is message


# The oracle says no.


def test_any_changed_byte_breaks_the_signature() -> None:
    message = mail(
        (b"Cc", b" c@example.net"), *USUAL, (b"Content-Type", b" text/plain;\r\n\tformat=flowed")
    )
    octets = on_the_wire(sign(message, (BY_ED25519,), TIME))
    assert dkimpy_says(octets)
    own = range(octets.index(b" b=") + 3, octets.index(b"Cc:"))
    for at in set(range(len(octets))) - set(own):
        other = b"Y" if octets[at : at + 1] == b"X" else b"X"
        changed = octets[:at] + other + octets[at + 1 :]
        assert not dkimpy_says(changed), (at, octets[at - 10 : at + 10])


SIGNATURES = {"rsa": BY_RSA, "ed25519": BY_ED25519}
SIGNED_FIELDS = {"once": USUAL, "not": (FROM,), "twice": (*USUAL, *USUAL)}
PLACES = {"top": 0, "below the signature": 1, "bottom": 99}


@for_every([*product(SIGNATURES, SIGNED_FIELDS, (b"From", b"Subject", b"To", b"Date"), PLACES)])
def test_second_oversigned_field_breaks_the_signature(
    signature: str, fields: str, name: bytes, place: str
) -> None:
    signed = sign(mail(*SIGNED_FIELDS[fields]), (SIGNATURES[signature],), TIME)
    headers = list(signed.headers)
    headers.insert(PLACES[place], Header(name, b" evil@example.org"))
    assert dkimpy_says(on_the_wire(signed))
    assert not dkimpy_says(on_the_wire(Message(tuple(headers), signed.body)))


def test_swapped_fields_of_one_name_break_the_signature() -> None:
    signed = sign(mail(FROM, (b"Cc", b" one"), (b"Cc", b" two")), (BY_RSA,), TIME)
    made, sender, one, two = signed.headers
    assert dkimpy_says(on_the_wire(signed))
    assert not dkimpy_says(on_the_wire(Message((made, sender, two, one), signed.body)))


# Values.


@pytest.mark.parametrize(
    ("domain", "written"),
    [
        ("Example.COM", "example.com"),
        ("localhost", "localhost"),
        ("_a-b.x_y.example", "_a-b.x_y.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("straße.de", "xn--strae-oqa.de"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("пример.испытание", "xn--e1afmkfd.xn--80akhbyknj4f"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_domain_becomes_ascii_in_lower_case(domain: str, written: str) -> None:
    assert ascii_domain(domain) == written
    signature = Signature(domain, "s1", RSA)
    signed = sign(mail((b"DKIM-Signature", b" d=" + domain.encode()), *USUAL), (signature,), TIME)
    assert f" d={written};".encode() in signed.headers[0].value
    assert len(signed.headers) == 5
    assert dkimpy_says(on_the_wire(signed))


@pytest.mark.parametrize(
    "domain",
    [
        "",
        ".",
        "a..b",
        "a.",
        "a b.example",
        "a;b",
        "a\r\n b",
        "a\n",
        "-a.example",
        "a-.example",
        "i❤.example",
        "a\udcff.example",
        "ü;.example",
        "a" * 64 + ".example",
        "ü" * 60 + ".example",
        ".".join(["a" * 50] * 6),
        ".".join(["ü" + "a" * 48] * 5),
    ],
)
def test_invalid_domains_are_refused(domain: str) -> None:
    with pytest.raises(ValueError, match="not a domain name"):
        ascii_domain(domain)
    with pytest.raises(ValueError, match="not a domain name"):
        SigningKey(domain, "s1", RSA.key, False)
    with pytest.raises(ValueError, match="not a domain name"):
        Signature("example.com", domain, RSA)


def test_short_rsa_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="RSA key of 768 bits: needs at least 1024 bits"):
        SigningKey("example.com", "s1", short_rsa_key(), False)


def test_values_are_frozen() -> None:
    with pytest.raises(AttributeError):
        RSA.domain = "other.example"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        BY_RSA.key = ED25519  # type: ignore[misc]
