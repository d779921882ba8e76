"""The judges of DKIM signatures: dkimpy, and RFC 6376 read plainly. No tests here.

The plain reading is for the octets that dkimpy splits or strips otherwise (CR, LF, VT, FF), and for
white space between the name of a field and its colon.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import dkim
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)
from fletching.mail.dkim import Signature, SigningKey
from fletching.mail.message import Header, Message


def kept_rsa_key() -> RSAPrivateKey:
    """Always the same key of 2048 bits: each test process would search for primes otherwise."""
    file = Path(__file__).parent / "cases" / "keys" / "rsa.pem"
    # Checking it takes as long as a signature, in each process.
    key = load_pem_private_key(file.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, RSAPrivateKey)
    return key


TIME = 1_700_000_000
RSA = SigningKey("example.com", "s1", kept_rsa_key(), True)
ED25519 = SigningKey("example.com", "e1", Ed25519PrivateKey.generate(), False)
BY_RSA = Signature("example.com", "s1", RSA)
BY_ED25519 = Signature("example.com", "e1", ED25519)

FROM = (b"From", b" News <news@example.com>")
TO = (b"To", b" someone@example.net")
SUBJECT = (b"Subject", b" This week")
DATE = (b"Date", b" Fri, 1 Mar 2024 00:00:00 +0000")
USUAL = (FROM, TO, SUBJECT, DATE)
BODY = b"Hello,\r\n\r\nthe news.\r\n"


def mail(*fields: tuple[bytes, bytes], body: bytes = BODY) -> Message:
    return Message(tuple(Header(n, v, place) for place, (n, v) in enumerate(fields)), body)


def on_the_wire(message: Message) -> bytes:
    """The octets that a receiver gets: SMTP ends every mail with a line end."""
    octets = bytes(message)
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


def record(key: SigningKey) -> bytes:
    public = key.key.public_key()
    if isinstance(key.key, RSAPrivateKey):
        data = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return b"v=DKIM1; k=rsa; p=" + base64.b64encode(data)
    data = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(data)


def dns(name: bytes, timeout: int = 5) -> bytes:
    """Every domain has the records of our two keys."""
    return record(ED25519 if name.startswith(b"e1.") else RSA)


def dkimpy_says(octets: bytes, index: int = 0) -> bool:
    try:
        return bool(dkim.DKIM(octets).verify(idx=index, dnsfunc=dns))
    except (dkim.DKIMException, IndexError):
        return False


def names_in(header: Header) -> list[str]:
    found = re.search(rb"; h=([^;]*);", header.value.replace(b"\r\n", b""))
    assert found
    return found[1].replace(b" ", b"").decode().split(":")


def plain_body(body: bytes) -> bytes:
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def plain_field(name: bytes, value: bytes) -> bytes:
    value = re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip(b" ")
    return name.rstrip(b" \t").lower() + b":" + value


def plainly_verifies(message: Message, key: SigningKey) -> bool:
    made, *headers = message.headers
    tags = dict(
        tag.strip().split("=", 1)
        for tag in re.sub(r"\r\n", "", made.value.decode()).rstrip(";").split(";")
    )
    if base64.b64decode(tags["bh"]) != hashlib.sha256(plain_body(message.body)).digest():
        return False
    left = list(headers)
    lines = []
    for name in names_in(made):
        for header in reversed(left):
            if header.name.rstrip(b" \t").lower() == name.encode():
                lines.append(plain_field(header.name, header.value) + b"\r\n")
                left.remove(header)
                break
    lines.append(plain_field(made.name, made.value[: made.value.index(b" b=") + 3]))
    octets, signature = b"".join(lines), base64.b64decode(tags["b"].replace(" ", ""))
    try:
        if isinstance(key.key, RSAPrivateKey):
            key.key.public_key().verify(signature, octets, PKCS1v15(), SHA256())
        else:
            key.key.public_key().verify(signature, hashlib.sha256(octets).digest())
    except InvalidSignature:
        return False
    return True


# Of 768 bits: worth nothing.
_SHORT_RSA = (
    "MIIBygIBAAJhAM5NPG2uEdZOiz/L9AfrGYgzwafE66oP5yXZyG/SnQdZioEkpxLoH+DGP7XrJBWsswr1K9lIJPTZ"
    "6NlIX3JNTg5l/PeSjpvDHwM6rU6xQBvlWY7l44KDX4l7dbae1m16fQIDAQABAmArIQCCGYMHH5KC+tuAkEjdLZzN"
    "uyBdhEeZpSb/IbPMZo7LIuN+02JetnN5T7hSg7DmZCPxCGM/YlSk7cA//MewDQ6OR6ksKeRmxkwV0ow+o5BmP6D6"
    "rSvIba4yNnGZ5E0CMQDxXrUWCbBRqhK9IXXIwP3pg3MvqO0jMs9fqPc84JIsiLEV9MxUVMZOlImHfpqknksCMQDa"
    "zmGW76zmy9XAB1nQK0BzuIE8VVcIu/K5z0e3EfGut1pt/fEAcFxAIAe/AV6prVcCMGZ6cGYP7QVvMQ+N0kVO8z8e"
    "qVwV28DzBKq3wWjebBFuY8lPqyUu7RdV52JYtW2pKwIwE9aedobokExu5uhDtmIVh+h0nznFmF8iFMK8Z9bSqNqq"
    "8koR7c5CLvY4fZLsOEolAjEAwrf5/3K/3C65ElEn0wbhCywdzlUCu2l08rbSfS4MWZqQUEeFXa4C/NO2teVewfHc"
)


def short_rsa_key() -> RSAPrivateKey:
    key = load_der_private_key(base64.b64decode(_SHORT_RSA), None)
    assert isinstance(key, RSAPrivateKey)
    return key
