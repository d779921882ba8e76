"""Certificates for a Redis that speaks TLS: an authority, a server, a client, one day long."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    @property
    def options(self) -> tuple[str, ...]:
        """Lines of redis.conf and sentinel.conf: TLS and nothing else, also between servers."""
        return (
            f"tls-cert-file {self.server}",
            f"tls-key-file {self.server_key}",
            f"tls-ca-cert-file {self.authority}",
            "tls-replication yes",
        )

    @property
    def query(self) -> str:
        """What a URL needs for all of it."""
        return (
            f"ssl_ca_certs={self.authority}&ssl_certfile={self.client}"
            f"&ssl_keyfile={self.client_key}"
        )


def certificates(
    folder: Path, names: Sequence[str] = ("localhost",), address: str = "127.0.0.1"
) -> Certificates:
    """New ones in a folder, for these names and this address; "" for none."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("test authority")
    root = (
        _unsigned(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(root.public_bytes(Encoding.PEM))
    for each in ("server", "client"):
        own = ec.generate_private_key(ec.SECP256R1())
        addresses = [x509.IPAddress(IPv4Address(address))] if address else []
        both = [*map(x509.DNSName, names), *addresses]
        signed = (
            _unsigned(_name(each), name, own)
            .add_extension(x509.SubjectAlternativeName(both), critical=False)
            .sign(key, hashes.SHA256())
        )
        (folder / f"{each}.pem").write_bytes(signed.public_bytes(Encoding.PEM))
        private = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{each}.key").write_bytes(private)
        (folder / f"{each}.key").chmod(0o600)
    files = ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")
    return Certificates(*(folder / file for file in files))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )
