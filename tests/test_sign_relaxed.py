"""sign.py: the relaxed forms for any octets, and the RFCs' own examples."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key
from fletching.mail.dkim import SigningKey, relaxed_body, relaxed_field, sign
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dkim_judges import (
    BY_ED25519,
    BY_RSA,
    ED25519,
    TIME,
    dkimpy_says,
    mail,
    on_the_wire,
    plain_body,
    plainly_verifies,
)

# Any mail.

WHITE = [b" ", b"\t", b"  ", b"\r\n ", b"\r\n\t", b"\r\n  \r\n "]
NAMES = [b"From", b"subject", b"TO", b"Date", b"Cc", b"Content-Type", b"Content-Foo", b"X-Foo"]
VALUES = st.lists(st.sampled_from([*WHITE, b"a", b"b:;=,", b"\xff", b"\0"]), max_size=12).map(
    b"".join
)
LINES = st.sampled_from([b"\r\n", b" ", b"\t", b" \t  ", b"a", b".", b"=", b"\xff", b"\0"])
FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=12)


@given(fields=FIELDS, body=st.lists(LINES, max_size=30).map(b"".join))
def test_dkimpy_verifies_any_mail(fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    octets = on_the_wire(sign(mail(*fields, body=body), (BY_ED25519, BY_RSA), TIME))
    assert dkimpy_says(octets, 0)
    assert dkimpy_says(octets, 1)


ANY_NAMES = st.one_of(st.sampled_from(NAMES), st.binary(max_size=20).map(b"Content-".__add__))


@given(
    fields=st.lists(st.tuples(ANY_NAMES, st.one_of(st.binary(), VALUES)), max_size=12),
    body=st.one_of(
        st.binary(), st.lists(st.sampled_from([b"\r", b"\n", b" ", b"a"])).map(b"".join)
    ),
)
@settings(max_examples=300)
def test_any_bytes_verify(fields: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
    message = mail(*fields, body=body)
    assert b"".join(relaxed_body(body)) == plain_body(body)
    assert plainly_verifies(sign(message, (BY_ED25519,), TIME), ED25519)


MANY = 1_000_000


@pytest.mark.parametrize(
    ("body", "canonical"),
    [
        pytest.param(b"a" + b" " * 20_000 + b"b", b"a b\r\n", id="20,000 spaces"),
        pytest.param(b"a" + b" " * 20_000 + b"\r\n", b"a\r\n", id="20,000 spaces at the end"),
        pytest.param(b" " * MANY, b"", id="spaces alone"),
        pytest.param(b" " * MANY + b"x", b" x\r\n", id="spaces and a letter"),
        pytest.param(b"\t" * MANY + b"\r\nx\t", b"\r\nx\r\n", id="tabs"),
        pytest.param(b"a\t " * MANY, b"a " * (MANY - 1) + b"a\r\n", id="many runs"),
        pytest.param(b"x" + b"\r\n" * MANY, b"x\r\n", id="empty lines at the end"),
        pytest.param(b"\r\n" * MANY, b"", id="empty lines alone"),
        pytest.param(b"\r\n" * MANY + b"x", b"\r\n" * MANY + b"x\r\n", id="empty lines in front"),
        pytest.param(b"x" + b" \t\r\n" * MANY, b"x\r\n", id="blank lines at the end"),
        pytest.param(b"x" + b"\r" * MANY, b"x" + b"\r" * MANY + b"\r\n", id="CRs"),
        pytest.param(b"\n" * MANY, b"\n" * MANY + b"\r\n", id="LFs"),
        pytest.param(b"\r\r\n" * MANY, b"\r\r\n" * MANY, id="CR CR LF"),
    ],
)
def test_bodies_of_a_million_line_ends_or_spaces(body: bytes, canonical: bytes) -> None:
    assert b"".join(relaxed_body(body)) == canonical


@pytest.mark.parametrize(
    "value",
    [
        b" " * MANY,
        b"\r\n " * MANY,
        b" ;" * MANY,
        b"d=a;" * MANY,
        b" \t" * MANY + b"d=x",
        b"=" * MANY,
    ],
    ids=["spaces", "folds", "semicolons", "tags", "spaces and a tag", "equals signs"],
)
def test_headers_of_a_million_spaces_or_tags_verify(value: bytes) -> None:
    message = mail((b"DKIM-Signature", value), (b"Subject", value), (b"From", value))
    signed = sign(message, (BY_ED25519,), TIME)
    assert signed.headers[1:] == message.headers
    assert plainly_verifies(signed, ED25519)


# The RFCs' own examples.


def test_rfc_6376_section_3_4_5() -> None:
    assert relaxed_field(b"A", b" X") == b"a:X"
    assert relaxed_field(b"B ", b" Y\t\r\n\tZ  ") == b"b:Y Z"
    assert b"".join(relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n")) == b" C\r\nD E\r\n"


RFC_8463 = mail(
    (b"From", b" Joe SixPack <joe@football.example.com>"),
    (b"To", b" Suzie Q <suzie@shopping.example.net>"),
    (b"Subject", b" Is dinner ready?"),
    (b"Date", b" Fri, 11 Jul 2003 21:00:37 -0700 (PDT)"),
    (b"Message-ID", b" <20030712040037.46341.5F8J@football.example.com>"),
    body=b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n",
)
RFC_8463_ED25519 = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
RFC_8463_RSA = (
    "MIICXQIBAAKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91"
    "y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTI"
    "KT+l/K4w3QIDAQABAoGAH0cxOhFZDgzXWhDhnAJDw5s4roOXN4OhjiXa8W7Y3rhX3FJqmJSPuC8N9vQm6SVbaLAE"
    "4SG5mLMueHlh4KXffEpuLEiNp9Ss3O4YfLiQpbRqE7Tm5SxKjvvQoZZezHorimOaChRL2it47iuWxzxSiRMv4c+j"
    "70GiWdxXnxe4UoECQQDzJB/0U58W7RZy6enGVj2kWF732CoWFZWzi1FicudrBFoy63QwcowpoCazKtvZGMNlPWnC"
    "7x/6o8GcuSe0ga2xAkEA8C7PipPm1/1fTRQvj1o/dDmZp243044ZNyxjg+/OPN0oWCbXIGxyWvmZbXriOWoSALJT"
    "jExEgraHEgnXssuk7QJBALl5ICsYMu6hMxO73gnfNayNgPxdWFV6Z7ULnKyV7HSVYF0hgYOHjeYe9gaMtiJYoo0z"
    "GN+L3AAtNP9huqkWlzECQE1alicIeVlo1e+qJ6Mgqr0Q7Aa7falZ448ccbSFYEPD6oFxiOl9Y9se9iYHZKKfIcst"
    "o7DUw1/hz2Ck4N5JrgUCQQCyKveNvjzkkd8HjYs0SwM0fPjK16//5qDZ2UiDGnOeuEzxBDAr518Z8VFbR41in3W4"
    "Y3yCDgQlLlcETrS+zYcL"
)
RFC_8463_MADE = {
    "ed25519": (
        b" v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com;"
        b" i=@football.example.com;\r\n q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
        b" subject : date : message-id : from : subject : date;\r\n"
        b" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=",
        "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==",
    ),
    "rsa": (
        b" v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n d=football.example.com;"
        b" i=@football.example.com;\r\n q=dns/txt; s=test; t=1528637909; h=from : to : subject :"
        b"\r\n date : message-id : from : subject : date;\r\n"
        b" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=",
        "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tF"
        "OeS9mPYQTnGdaSGsgeefOsk2JzdA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=",
    ),
}


def rfc_8463_key(algorithm: str) -> RSAPrivateKey | Ed25519PrivateKey:
    if algorithm == "ed25519":
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(RFC_8463_ED25519))
    key = load_der_private_key(base64.b64decode(RFC_8463_RSA), None)
    assert isinstance(key, RSAPrivateKey)
    return key


@pytest.mark.parametrize("algorithm", ["ed25519", "rsa"])
def test_rfc_8463_appendix_a(algorithm: str) -> None:
    unsigned, signature = RFC_8463_MADE[algorithm]
    digest = hashlib.sha256(b"".join(relaxed_body(RFC_8463.body))).digest()
    assert b" bh=" + base64.b64encode(digest) + b";" in unsigned
    # h= names the five fields as they stand, and then three that are not there.
    fields = b"".join(relaxed_field(h.name, h.value) + b"\r\n" for h in RFC_8463.headers)
    key = SigningKey("football.example.com", "test", rfc_8463_key(algorithm), True)
    made = key.sign(fields + relaxed_field(b"DKIM-Signature", unsigned))
    assert base64.b64encode(made).decode() == signature
