"""Two foreign DKIM verifiers agree on what is signed well and what is not.

The signatures are made by dkimpy, so that nothing of the product takes part.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from sandbox.verifiers import Records, Verdict, verify_dkimpy, verify_opendkim
from tests.dkim_judges import kept_rsa_key

Verify = Callable[[bytes, Records], list[Verdict]]
BOTH = pytest.mark.parametrize("verify", [verify_dkimpy, verify_opendkim])

FIELDS = (
    b"From: Shop <news@example.com>\r\nTo: ada@gmail.example\r\nSubject: Offers\r\n"
    b"Date: Sat, 21 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n"
)
MAIL = FIELDS + b"\r\nHello\r\n.dot\r\n  trailing \t \r\n\r\n\r\n"

_RSA = kept_rsa_key()
_ED25519 = ed25519.Ed25519PrivateKey.generate()
_PEM = _RSA.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.TraditionalOpenSSL,
    serialization.NoEncryption(),
)


def _record(kind: str, public: bytes) -> str:
    return f"v=DKIM1; k={kind}; p={base64.b64encode(public).decode()}"


RECORDS = {
    "r1._domainkey.example.com": _record(
        "rsa",
        _RSA.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    ),
    "e1._domainkey.example.com": _record("ed25519", _ED25519.public_key().public_bytes_raw()),
}
RSA = Verdict("example.com", "r1", "rsa-sha256", True)
ED25519 = Verdict("example.com", "e1", "ed25519-sha256", True)


def _signed(mail: bytes) -> bytes:
    relaxed = (b"relaxed", b"relaxed")
    by_rsa = dkim.sign(mail, b"r1", b"example.com", _PEM, canonicalize=relaxed)
    by_ed25519 = dkim.sign(
        mail,
        b"e1",
        b"example.com",
        base64.b64encode(_ED25519.private_bytes_raw()),
        canonicalize=relaxed,
        signature_algorithm=b"ed25519-sha256",
    )
    return bytes(by_ed25519 + by_rsa + mail)


@BOTH
@pytest.mark.parametrize(
    "mail",
    [
        MAIL,
        FIELDS + b"\r\n",
        FIELDS + b"\r\n\r\n\r\n  \r\nspace\r\n",
        FIELDS + b"\r\n" + b"x" * 998 + b"\r\n",
        FIELDS + b"\r\n" + b"x" * 5000 + b"\r\n" + b"y" * 5000 + b"\r\n",
        FIELDS + b"\r\n" + b"line of text\r\n" * 40_000,
        FIELDS + b"\r\nGr\xc3\xbc\xc3\x9fe \xe9 \x7f \x01\r\n",
        FIELDS.replace(b"Offers", b"Gr\xc3\xbc\xc3\x9fe \xe9") + b"\r\nx\r\n",
        FIELDS.replace(b"Offers", b"a\r\n\tfolded\r\n  subject") + b"\r\nx\r\n",
        FIELDS + b"X-Long: " + b"word " * 1000 + b"\r\n\r\nx\r\n",
    ],
    ids=[
        "plain",
        "no body",
        "empty lines",
        "998 octets",
        "long lines",
        "half a megabyte",
        "8-bit body",
        "8-bit header",
        "folded",
        "long header",
    ],
)
def test_good_signatures_pass(verify: Verify, mail: bytes) -> None:
    assert verify(_signed(mail), RECORDS) == [ED25519, RSA]


@BOTH
@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"Hello", b"Hullo"),
        (b"Subject: Offers", b"Subject: Offer"),
        (b".dot\r\n", b"..dot\r\n"),
    ],
)
def test_a_changed_mail_fails(verify: Verify, was: bytes, becomes: bytes) -> None:
    signed = _signed(MAIL)
    changed = signed.replace(was, becomes)
    assert changed != signed
    assert [verdict.passed for verdict in verify(changed, RECORDS)] == [False, False]


@BOTH
def test_white_space_may_change(verify: Verify) -> None:
    changed = _signed(MAIL).replace(b"Subject: Offers", b"SUBJECT:   Offers  ")
    assert verify(changed, RECORDS) == [ED25519, RSA]


@BOTH
def test_each_signature_is_judged_alone(verify: Verify) -> None:
    without_rsa = {name: text for name, text in RECORDS.items() if name.startswith("e1")}
    verdicts = verify(_signed(MAIL), without_rsa)
    assert [verdict.passed for verdict in verdicts] == [True, False]
    assert [verdict.selector for verdict in verdicts] == ["e1", "r1"]


@BOTH
def test_the_key_of_another_fails(verify: Verify) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    public = other.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    records = {**RECORDS, "r1._domainkey.example.com": _record("rsa", public)}
    assert [verdict.passed for verdict in verify(_signed(MAIL), records)] == [True, False]


@BOTH
def test_an_unsigned_mail_has_no_verdicts(verify: Verify) -> None:
    assert verify(MAIL, RECORDS) == []


def test_opendkim_may_not_stay_silent() -> None:
    unfinished = _signed(FIELDS + b"\r\nno end of line")
    assert verify_dkimpy(unfinished, RECORDS) == [ED25519, RSA]
    with pytest.raises(AssertionError, match="has not judged all"):
        verify_opendkim(unfinished, RECORDS)
