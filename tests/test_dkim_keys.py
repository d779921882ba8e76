"""keys/dkim_keys.py: PEM files of every kind, and the DNS records."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

import dkim
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from fletching.config.sections import DkimKey
from fletching.keys.dkim_keys import dkim_record, dkim_zone_line, new_dkim_key, read_dkim_keys
from fletching.keys.secret_file import KeyFileError
from fletching.mail.dkim import Signature, SigningKey, sign
from fletching.mail.message import Header, Message

from tests.cases import for_every
from tests.dkim_judges import kept_rsa_key, short_rsa_key

NOW = 1_709_251_200


def secret_file(path: Path, content: bytes, mode: int = 0o640) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def entry(domain: str, selector: str, file: Path, default: bool = False) -> DkimKey:
    """As in the configuration."""
    options = {"domain": domain, "selector": selector, "file": str(file), "default": default}
    return DkimKey.model_validate(options)


RSA = kept_rsa_key()
ED25519 = Ed25519PrivateKey.generate()
PKCS1, PKCS8 = PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8
PASSPHRASE = BestAvailableEncryption(b"passphrase")


def pem(
    key: RSAPrivateKey | Ed25519PrivateKey,
    form: PrivateFormat = PKCS8,
    encryption: KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


@pytest.mark.parametrize(
    ("content", "algorithm"),
    [
        pytest.param(lambda: pem(RSA, PKCS1), "rsa-sha256", id="PKCS#1"),
        pytest.param(lambda: pem(RSA), "rsa-sha256", id="PKCS#8"),
        pytest.param(lambda: pem(ED25519), "ed25519-sha256", id="Ed25519"),
        pytest.param(lambda: pem(RSA).replace(b"\n", b"\r\n"), "rsa-sha256", id="CRLF"),
        pytest.param(lambda: pem(generate_private_key(65537, 1024)), "rsa-sha256", id="1024 bits"),
    ],
)
def test_read_dkim_keys(tmp_path: Path, content: Callable[[], bytes], algorithm: str) -> None:
    file = secret_file(tmp_path / "s1.pem", content(), 0o600)
    (key,) = read_dkim_keys([entry("example.com", "s1", file, True)])
    assert (key.domain, key.selector, key.default) == ("example.com", "s1", True)
    assert key.algorithm == algorithm
    assert len(key.sign(b"x")) in (64, 128, 256)


def test_read_dkim_keys_in_order(tmp_path: Path) -> None:
    one = secret_file(tmp_path / "1.pem", pem(RSA))
    two = secret_file(tmp_path / "2.pem", pem(ED25519))
    entries = [entry("b.example", "x", two, False), entry("a.example", "y", one, True)]
    assert [(k.domain, k.selector, k.default, k.algorithm) for k in read_dkim_keys(entries)] == [
        ("b.example", "x", False, "ed25519-sha256"),
        ("a.example", "y", True, "rsa-sha256"),
    ]
    assert read_dkim_keys([]) == ()


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        pytest.param(lambda: b"", "contains no readable private key; must be PEM", id="empty"),
        pytest.param(lambda: b"secret words\n", "contains no readable private key", id="text"),
        pytest.param(lambda: pem(RSA)[:200], "contains no readable private key", id="cut"),
        pytest.param(
            lambda: pem(RSA).replace(b"A", b"B"), "contains no readable private key", id="changed"
        ),
        pytest.param(
            lambda: RSA.private_bytes(Encoding.DER, PKCS8, NoEncryption()),
            "contains no readable private key",
            id="DER",
        ),
        pytest.param(
            lambda: RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "contains no readable private key",
            id="public",
        ),
        pytest.param(
            lambda: pem(RSA, PKCS8, PASSPHRASE), "the key is encrypted", id="encrypted PKCS#8"
        ),
        pytest.param(
            lambda: pem(RSA, PKCS1, PASSPHRASE), "the key is encrypted", id="encrypted PKCS#1"
        ),
        pytest.param(
            lambda: pem(ED25519, PKCS8, PASSPHRASE), "the key is encrypted", id="encrypted Ed"
        ),
        pytest.param(
            lambda: pem(short_rsa_key()),
            "RSA key of 768 bits: needs at least 1024 bits",
            id="short",
        ),
        pytest.param(
            lambda: ec.generate_private_key(ec.SECP256R1()).private_bytes(
                Encoding.PEM, PKCS8, NoEncryption()
            ),
            "unsupported key type; must be RSA or Ed25519",
            id="EC",
        ),
        pytest.param(
            lambda: x25519.X25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PKCS8, NoEncryption()
            ),
            "unsupported key type",
            id="X25519",
        ),
        pytest.param(
            lambda: ed448.Ed448PrivateKey.generate().private_bytes(
                Encoding.PEM, PKCS8, NoEncryption()
            ),
            "unsupported key type",
            id="Ed448",
        ),
        pytest.param(
            lambda: dsa.generate_private_key(1024).private_bytes(
                Encoding.PEM, PKCS8, NoEncryption()
            ),
            "unsupported key type",
            id="DSA",
        ),
    ],
)
def test_dkim_keys_refused(tmp_path: Path, made: Callable[[], bytes], fault: str) -> None:
    content = made()
    file = secret_file(tmp_path / "s1.pem", content)
    with pytest.raises(KeyFileError) as caught:
        read_dkim_keys([entry("example.com", "s1", file, True)])
    said = str(caught.value)
    assert said.startswith(f"{file}: {fault}")
    assert not any(
        line.decode() in said for line in content.split(b"\n") if line and line.isascii()
    )
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("algorithm", "bits", "size"), [("rsa", 2048, 256), ("rsa", 1024, 128), ("ed25519", 2048, 64)]
)
def test_new_dkim_key(
    tmp_path: Path, algorithm: Literal["rsa", "ed25519"], bits: int, size: int
) -> None:
    file = tmp_path / "new.pem"
    before = os.umask(0)
    try:
        made = new_dkim_key(file, algorithm, bits)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    (key,) = read_dkim_keys([entry("example.com", "s1", file, False)])
    assert len(key.sign(b"x")) == size
    assert dkim_record(key) == dkim_record(SigningKey("example.com", "s1", made, False))
    with pytest.raises(KeyFileError, match=r"new\.pem: already exists, and is not overwritten"):
        new_dkim_key(file, "ed25519")
    assert read_dkim_keys([entry("example.com", "s1", file, False)])[0].sign(b"x") == key.sign(b"x")


def test_new_dkim_key_follows_no_symbolic_link(tmp_path: Path) -> None:
    link = tmp_path / "link.pem"
    link.symlink_to(tmp_path / "nothing")
    with pytest.raises(KeyFileError, match=r"link\.pem: already exists"):
        new_dkim_key(link, "ed25519")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("bits", [512, 1023, 4097, 65536])
def test_new_dkim_key_sizes(tmp_path: Path, bits: int) -> None:
    with pytest.raises(KeyFileError, match=f"RSA key of {bits} bits: must have 1024 to 4096"):
        new_dkim_key(tmp_path / "new.pem", "rsa", bits)
    assert os.listdir(tmp_path) == []


def test_new_dkim_key_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(KeyFileError, match=r"new\.pem: directory .*/none does not exist"):
        new_dkim_key(tmp_path / "none" / "new.pem", "ed25519")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileError, match=r"new\.pem: No space left on device"):
        new_dkim_key(tmp_path / "new.pem", "ed25519")
    assert os.listdir(tmp_path) == []


@cache
def keys() -> dict[str, SigningKey]:
    return {
        "rsa": SigningKey("example.com", "s1", RSA, True),
        "4k": SigningKey("example.com", "s1", generate_private_key(65537, 4096), True),
        "ed25519": SigningKey("bücher.example", "e1.Mail", ED25519, True),
    }


@for_every(keys)
def test_records_verify_what_was_signed(key: SigningKey) -> None:
    headers = (Header(b"From", b" a@example.com"), Header(b"Subject", b" x"))
    signature = Signature(key.domain, key.selector, key)
    signed = sign(Message(headers, b"Hello\r\n"), (signature,), NOW)
    record = dkim_record(key).encode()
    assert dkim.verify(bytes(signed), dnsfunc=lambda name, timeout=5: record)
    assert not dkim.verify(bytes(signed) + b"x", dnsfunc=lambda name, timeout=5: record)


@for_every(keys)
def test_zone_lines_are_read_by_a_dns_library(key: SigningKey) -> None:
    line = dkim_zone_line(key)
    assert "\n" not in line
    soa = "@ 3600 IN SOA ns.example. root.example. 1 1 1 1 1\n@ IN NS ns.example.\n$TTL 3600\n"
    zone = dns.zone.from_text(soa + line + "\n", origin=".", relativize=False)
    asked = {"example.com": "s1._domainkey.example.com."}.get(
        key.domain, "e1.mail._domainkey.xn--bcher-kva.example."
    )
    (text,) = zone.find_rdataset(asked, "TXT")
    assert b"".join(text.strings).decode() == dkim_record(key)
    assert max(map(len, text.strings)) <= 255


def test_format_of_a_record() -> None:
    public = ED25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    value = f"v=DKIM1; k=ed25519; p={base64.b64encode(public).decode()}"
    key = SigningKey("example.com", "e1", ED25519, True)
    assert dkim_record(key) == value
    assert dkim_zone_line(key) == f'e1._domainkey.example.com. IN TXT "{value}"'
    key = SigningKey("bücher.example", "Ä", ED25519, True)
    name = "xn--4ca._domainkey.xn--bcher-kva.example."
    assert dkim_zone_line(key) == f'{name} IN TXT "{value}"'
