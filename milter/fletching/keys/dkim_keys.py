"""Private keys for DKIM: read from PEM files, made, and published as DNS records.

The configuration says which key signs what; `mail/dkim.py` signs.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Literal, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from fletching.keys.secret_file import KeyFileError, KeyPath, create, read
from fletching.mail.dkim import LEAST_RSA_BITS, SigningKey, ascii_domain

MOST_RSA_BITS = 4096
"""Verifiers need not be able to check longer ones (RFC 8301 section 3.2)."""


class DkimKeyEntry(Protocol):
    """One entry of `dkim.keys` in the configuration."""

    @property
    def domain(self) -> str: ...
    @property
    def selector(self) -> str: ...
    @property
    def file(self) -> KeyPath: ...
    @property
    def default(self) -> bool: ...


def read_dkim_keys(entries: Iterable[DkimKeyEntry]) -> tuple[SigningKey, ...]:
    """The private keys of the configuration's `dkim.keys`, in its order."""
    return tuple(_signing_key(entry) for entry in entries)


def new_dkim_key(
    path: KeyPath, algorithm: Literal["rsa", "ed25519"], bits: int = 2048
) -> RSAPrivateKey | Ed25519PrivateKey:
    """Creates a private key as a PEM file (PKCS#8). ``bits``: of an RSA key.

    Raises KeyFileError, also if the file exists.
    """
    if algorithm == "rsa" and not LEAST_RSA_BITS <= bits <= MOST_RSA_BITS:
        allowed = f"must have {LEAST_RSA_BITS} to {MOST_RSA_BITS}"
        raise KeyFileError(f"{path}: RSA key of {bits} bits: {allowed}")
    key: RSAPrivateKey | Ed25519PrivateKey
    key = generate_private_key(65537, bits) if algorithm == "rsa" else Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    create(path, pem)
    return key


def dkim_record(key: SigningKey) -> str:
    """The value of the TXT record with the public half (RFC 6376 section 3.6.1, RFC 8463)."""
    public = key.key.public_key()
    if isinstance(key.key, RSAPrivateKey):
        kind, encoded = "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        kind, encoded = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k={kind}; p={base64.b64encode(encoded).decode('ascii')}"


def dkim_zone_line(key: SigningKey) -> str:
    """The record as a line of a zone file; a string in it has at most 255 bytes (RFC 1035)."""
    value = dkim_record(key)
    strings = " ".join(f'"{value[at : at + 255]}"' for at in range(0, len(value), 255))
    name = f"{ascii_domain(key.selector)}._domainkey.{ascii_domain(key.domain)}."
    return f"{name} IN TXT {strings}"


def _signing_key(entry: DkimKeyEntry) -> SigningKey:
    key = _private_key(entry.file)
    try:
        return SigningKey(entry.domain, entry.selector, key, entry.default)
    except ValueError as error:
        raise KeyFileError(f"{entry.file}: {error}") from None


def _private_key(path: KeyPath) -> RSAPrivateKey | Ed25519PrivateKey:
    data = read(path)
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        wanted = "must be a key without passphrase, in a file with mode 0600 or 0640"
        raise KeyFileError(f"{path}: the key is encrypted; {wanted}") from None
    except (ValueError, UnsupportedAlgorithm):
        wanted = "must be PEM, PKCS#1 or PKCS#8"
        raise KeyFileError(f"{path}: contains no readable private key; {wanted}") from None
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise KeyFileError(f"{path}: unsupported key type; must be RSA or Ed25519")
    return key
