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

Algorithm = Literal["rsa", "ed25519"]

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
    """The private keys that the configuration's `dkim.keys` names, in its order.

    Keys that have replaced them are in `dkim_rotation.py`.
    """
    return tuple(
        read_dkim_key(entry.domain, entry.selector, entry.file, entry.default) for entry in entries
    )


def new_dkim_key(
    path: KeyPath, algorithm: Algorithm, bits: int = 2048, like: KeyPath | None = None
) -> RSAPrivateKey | Ed25519PrivateKey:
    """Creates a private key as a PEM file (PKCS#8). ``bits``: of an RSA key.

    ``like``: a file with the owner and mode of the new one. Raises KeyFileError, also if the file
    exists.
    """
    if algorithm == "rsa" and not LEAST_RSA_BITS <= bits <= MOST_RSA_BITS:
        allowed = f"must have {LEAST_RSA_BITS} to {MOST_RSA_BITS}"
        raise KeyFileError(f"{path}: RSA key of {bits} bits: {allowed}")
    key: RSAPrivateKey | Ed25519PrivateKey
    key = generate_private_key(65537, bits) if algorithm == "rsa" else Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    create(path, pem, like)
    return key


def dkim_record(key: SigningKey) -> str:
    """The value of the TXT record with the public half (RFC 6376 section 3.6.1, RFC 8463)."""
    public = key.key.public_key()
    if isinstance(key.key, RSAPrivateKey):
        encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        encoded = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k={key.kind}; p={base64.b64encode(encoded).decode('ascii')}"


def dkim_zone_line(key: SigningKey) -> str:
    """The record as a line of a zone file; a string in it has at most 255 bytes (RFC 1035)."""
    value = dkim_record(key)
    strings = " ".join(f'"{value[at : at + 255]}"' for at in range(0, len(value), 255))
    return f"{record_name(key)}. IN TXT {strings}"


def record_name(key: SigningKey) -> str:
    """The DNS name of the record, without the final dot."""
    return f"{ascii_domain(key.selector)}._domainkey.{ascii_domain(key.domain)}"


def read_dkim_key(domain: str, selector: str, path: KeyPath, default: bool) -> SigningKey:
    """A private key from its PEM file. Raises KeyFileError."""
    key = _private_key(path)
    try:
        return SigningKey(domain, selector, key, default)
    except ValueError as error:
        raise KeyFileError(f"{path}: {error}") from None


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
