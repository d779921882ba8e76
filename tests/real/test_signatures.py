"""DKIM signatures still hold where the mail arrives, whatever Postfix did to it after signing.

Each mail goes to a sink that takes 8-bit mail and to one that does not; both of the product's
signatures (RSA and Ed25519) are judged by dkimpy and by OpenDKIM.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.postfix import Postfix
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail
from sandbox.verifiers import Verdict, verify_dkimpy, verify_opendkim

from .fletching import Fletching
from .mails import COMMON, MIME, NEWSLETTER, RECIPIENT, SENDER, body_of, mail

pytestmark = pytest.mark.slow

TO_EIGHT, TO_SEVEN = b"X-GreenArrow-MtaID: a", b"X-GreenArrow-MtaID: b"
ED_AND_RSA = b'X-GreenArrow-DKIM: [{"selector": "ed"}, {"selector": "s1"}]'
RSA = Verdict("example.com", "s1", "rsa-sha256", True)
ED25519 = Verdict("example.com", "ed", "ed25519-sha256", True)


@dataclass(frozen=True)
class Site:
    """Postfix with the milter, a sink that takes 8-bit mail (eight) and one that does not."""

    postfix: Postfix
    fletching: Fletching
    eight: Sink
    seven: Sink
    records: Mapping[str, str]

    def deliver(self, raw: bytes, to: Sink | None = None) -> SunkMail:
        """Submit a mail to one of the sinks, and what arrives there."""
        way = TO_SEVEN if to is self.seven else TO_EIGHT
        reply = self.postfix.submit(way + b"\r\n" + raw, SENDER, [RECIPIENT])
        assert reply.accepted, reply
        return self.arrived(to or self.eight)

    def arrived(self, at: Sink) -> SunkMail:
        (found,) = at.wait()
        at.clear()
        return found

    def verdicts(self, raw: bytes) -> list[Verdict]:
        """What both verifiers say, which has to be the same."""
        by_dkimpy = verify_dkimpy(raw, self.records)
        assert verify_opendkim(raw, self.records) == by_dkimpy
        return by_dkimpy


@pytest.fixture(scope="module")
def site(place: Path, running_redis: RedisServer) -> Iterator[Site]:
    with (
        Sink("eight") as eight,
        Sink("seven", eightbit=False, smtputf8=False) as seven,
        Fletching(place / "signing", running_redis.unix_url) as fletching,
    ):
        ports = dict.fromkeys(("smtp", "relay", "vmta-a", "vmta-transactional"), eight.port)
        with Postfix(place / "signed", {**ports, "vmta-b": seven.port}) as postfix:
            fletching.join(postfix)
            yield Site(postfix, fletching, eight, seven, fletching.records)


def part(kind: bytes, encoding: bytes, body: bytes) -> bytes:
    """A mail of one part."""
    head = b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding
    return mail(MIME + head, body=body)


HTML = b'<p>A <a href="https://shop.example/?a=1&amp;b=2">link</a></p>\r\n'
LONG = b"word " * 500 + b"\r\n" + b"x" * 3000 + b"\r\n"
UMLAUTS = "Grüße, €\r\n".encode()
MIXED = (
    b"preamble \xe9\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n" + HTML + UMLAUTS + b"\r\n--b\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n"
    b'Content-Disposition: attachment; filename="a.bin"\r\n\r\n'
    + bytes(range(14, 256)) * 8
    + b"\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inside\r\n\r\n"
    + LONG
    + b"\r\n"
    b"--b--\r\nepilogue\r\n"
)
CASES = {
    "7-bit": mail(body=b"Hello\r\nworld\r\n"),
    "7-bit HTML": part(b"text/html", b"7bit", HTML),
    "8-bit": part(b"text/plain; charset=utf-8", b"8bit", UMLAUTS),
    "8-bit HTML": part(b"text/html; charset=utf-8", b"8bit", UMLAUTS + HTML),
    "8-bit without a label": mail(body=UMLAUTS + b"\xe9\xff\r\n"),
    "8-bit labelled 7bit": part(b"text/plain", b"7bit", b"\xe4\r\n"),
    "long lines": mail(body=LONG),
    "long lines of HTML": part(b"text/html", b"7bit", HTML.rstrip() * 40 + b"\r\n"),
    "line of 998": mail(body=b"x" * 998 + b"\r\n"),
    "line of 999": mail(body=b"x" * 999 + b"\r\n"),
    "long line of 8-bit": part(b"text/html; charset=latin1", b"8bit", b"\xe4 " * 2000 + b"\r\n"),
    "long header": mail(b"References: " + b" <a@example.com>" * 200),
    "long header without blanks": mail(b"X-Long: " + b"x" * 3000, b"References: <" + b"y" * 2500),
    "folded and tabs": mail(b"Cc: a@example.com,\r\n\tb@example.com ,\r\n   c@example.com\t"),
    "8-bit header": COMMON.replace(b"Offers", "Grüße \r\n\tan alle".encode()) + b"\r\nx\r\n",
    "empty body": mail(body=b""),
    "only empty lines": mail(body=b"\r\n\r\n\r\n"),
    "empty lines at the end": mail(body=b"Hello\r\n\r\n\r\n\r\n"),
    "dots": mail(body=b".\r\n..\r\n.dot\r\nend.\r\n.\r\n"),
    "trailing blanks": mail(body=b"a \r\nb\t\r\n \t \r\nc  d\t\te   \r\n   \r\n\t\r\n"),
    "tabs": mail(b"Reply-To:\tx@example.com", body=b"\ta\tb\t\r\n\t\r\n"),
    "quoted-printable": part(
        b"text/html; charset=utf-8",
        b"quoted-printable",
        b"=C3=BC =\r\n" + HTML.replace(b"=", b"=3D"),
    ),
    "base64": part(b"text/html", b"base64", b"PGEgaHJlZj0iaHR0cDovL2EuZXhhbXBsZS8iPmE8L2E+\r\n"),
    "multipart": mail(MIME + b"Content-Type: multipart/mixed; boundary=b", body=MIXED),
    "multipart labelled 8bit": mail(
        MIME + b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit",
        body=MIXED,
    ),
    "two of a field": mail(b"Cc: a@example.com", b"Cc: b@example.com", b"To: c@gmail.example"),
    "no MIME, no To": b"From: shop@example.com\r\n\r\nx\r\n",
    "NUL": mail(body=b"a\x00b\r\n"),
    "bare CR": mail(body=b"a\rb\r\r\nc\r\n"),
    "bare LF": mail(body=b"a\nb\n\nc\r\n"),
    "half a megabyte": mail(body=b"line of text\r\n" * 40_000),
}


@pytest.mark.parametrize("name", CASES)
def test_holds_at_a_server(site: Site, name: str) -> None:
    raw = NEWSLETTER + b"\r\n" + ED_AND_RSA + b"\r\n" + CASES[name]
    for sink in (site.eight, site.seven):
        arrived = site.deliver(raw, sink)
        assert site.verdicts(arrived.raw) == [ED25519, RSA], f"at {sink.name}: {arrived.raw!r}"
        longest = max(map(len, arrived.raw.split(b"\r\n")))
        assert longest <= 998, f"at {sink.name}: a line of {longest}"


@pytest.mark.parametrize(
    "end", [b"no end of line", b"line\r\nblank ", b"\r\n\r\n.", b"CR\r", "ü".encode()]
)
def test_a_body_without_final_line_end_by_bdat(site: Site, end: bytes) -> None:
    """BDAT (RFC 3030) takes a mail to the octet; DATA could not end so."""
    for way, sink in ((TO_EIGHT, site.eight), (TO_SEVEN, site.seven)):
        raw = mail(NEWSLETTER, way, ED_AND_RSA, body=b"Hello\r\n" + end)
        with site.postfix.client() as smtp:
            smtp.mail(SENDER)
            smtp.rcpt(RECIPIENT)
            smtp.send(b"BDAT %d LAST\r\n" % len(raw) + raw)
            assert smtp.getreply()[0] == 250
        assert site.verdicts(site.arrived(sink).raw) == [ED25519, RSA], f"at {sink.name}"


def test_a_body_without_final_line_end_by_sendmail(site: Site) -> None:
    raw = mail(NEWSLETTER, body=b"Hello\r\nno end of line").replace(b"\r\n", b"\n")
    site.postfix.sendmail(raw, "-i", "-f", SENDER, RECIPIENT)
    assert site.verdicts(site.arrived(site.eight).raw) == [RSA]


def signed_fields(raw: bytes) -> list[set[str]]:
    """The names in h= of each signature."""
    names = re.findall(rb"(?s)[ \t;]h=([^;]*)", raw.partition(b"\r\n\r\n")[0])
    return [set(re.sub(r"\s", "", each.decode()).lower().split(":")) for each in names]


def test_one_click_unsubscribe_is_covered(site: Site) -> None:
    """RFC 8058 section 3: both fields must be signed, or receivers do not offer it."""
    raw = site.deliver(NEWSLETTER + b"\r\n" + ED_AND_RSA + b"\r\n" + mail()).raw
    fields = signed_fields(raw)
    assert len(fields) == 2
    for names in fields:
        assert {"list-unsubscribe", "list-unsubscribe-post", "from", "to", "subject"} <= names
    for field in (b"List-Unsubscribe: <", b"List-Unsubscribe-Post: "):
        changed = raw.replace(field, field + b"x")
        assert changed != raw
        assert [verdict.passed for verdict in site.verdicts(changed)] == [False, False], field


@pytest.mark.parametrize("field", [b"From: e@evil.example", b"Subject: x", b"To: x@x.example"])
def test_a_field_added_on_the_way_breaks_the_signature(site: Site, field: bytes) -> None:
    raw = site.deliver(NEWSLETTER + b"\r\n" + mail()).raw
    assert site.verdicts(raw) == [RSA]
    for changed in (field + b"\r\n" + raw, raw.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n\r\n")):
        assert [each.passed for each in verify_dkimpy(changed, site.records)] == [False]


def other_signature(domain: str) -> tuple[bytes, dict[str, str]]:
    """A DKIM-Signature over `mail()`, by somebody else, and its DNS record."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    record = "v=DKIM1; k=rsa; p=" + "".join(public.decode().splitlines()[1:-1])
    field: bytes = dkim.sign(
        mail(),
        b"app",
        domain.encode(),
        pem,
        canonicalize=(b"relaxed", b"relaxed"),
        include_headers=[b"from", b"subject", b"to"],
    )
    return field.removesuffix(b"\r\n"), {f"app._domainkey.{domain}": record}


def test_an_older_signature_of_the_same_domain_goes_and_a_foreign_one_stays(site: Site) -> None:
    own, _ = other_signature("example.com")
    foreign, record = other_signature("mall.example")
    raw = mail(NEWSLETTER, own, foreign, own)
    arrived = site.deliver(raw).raw
    assert foreign in arrived, "the foreign signature is not as it was"
    verdicts = verify_dkimpy(arrived, {**site.records, **record})
    assert verdicts == [RSA, Verdict("mall.example", "app", "rsa-sha256", True)]


@pytest.mark.parametrize(
    ("wishes", "made"),
    [
        ([{"domain": "example.com", "selector": "s1"}, {"selector": "ed"}], [RSA, ED25519]),
        ([{"selector": "ed"}], [ED25519]),
        ([{}, {"selector": "s1"}], [RSA]),
        ([{"domain": "nobody.example"}, {"from_domain": 1}], [RSA]),
    ],
    ids=["two", "one", "the same twice", "one without a key"],
)
def test_signatures_are_made_as_wished(
    site: Site, wishes: list[dict[str, object]], made: list[Verdict]
) -> None:
    wish = b"X-GreenArrow-DKIM: " + json.dumps(wishes).encode()
    folded = wish.replace(b", ", b",\r\n ")
    for field in (wish, folded):
        assert site.verdicts(site.deliver(mail(NEWSLETTER, field)).raw) == made


def test_the_signature_stands_below_received_and_the_body_is_as_sent(site: Site) -> None:
    arrived = site.deliver(mail(NEWSLETTER, body=b"Hello\r\n"))
    assert arrived.header_names[:2] == ("received", "dkim-signature")
    assert body_of(arrived.raw) == b"Hello\r\n"
