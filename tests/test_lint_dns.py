"""`fletching lint --dns`, against a name server that answers over UDP and a TLS server."""

from __future__ import annotations

import base64
import shlex
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fletching.checks.lookups import Lookups
from fletching.checks.sending import _is_generic
from fletching.checks.spf import evaluate
from fletching.config.load import load
from fletching.keys.dkim_keys import dkim_zone_line, read_dkim_keys

from sandbox.name_server import NameServer
from tests.cases import for_every
from tests.host import Host
from tests.test_cli_lint import SUBMITTED

Records = dict[tuple[str, str], list[str]]
REVERSE_A, REVERSE_B = "10.2.0.192.in-addr.arpa", "11.2.0.192.in-addr.arpa"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that signs itself, and its key beside it."""
    folder = tmp_path_factory.mktemp("tls")
    certify(folder / "cert.pem", 90)
    return folder / "cert.pem"


def certify(path: Path, days: int, name: str = "localhost") -> None:
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    options = ["-keyout", str(path.with_suffix(".key")), "-out", str(path), "-days", str(days)]
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run([*shlex.split(words), *options, *subject], check=True, capture_output=True)


@contextmanager
def tls_server(certificate: Path) -> Iterator[int]:
    """A port of localhost that does TLS with this certificate and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


@pytest.fixture
def host(tmp_path: Path, authority: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host whose tracking host has a valid certificate, and whose VirtualMTAs have addresses."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    host = Host(tmp_path)
    host.mail.write_text(SUBMITTED)
    host.edit("a: {transport: vmta-a}", "a: {transport: vmta-a, address: 192.0.2.10}")
    host.edit("b: {transport: vmta-b,", "b: {transport: vmta-b, address: 192.0.2.11,")
    with tls_server(authority) as port:
        host.edit("url_domain: https://click.example.com", f"url_domain: https://localhost:{port}")
        yield host


def zone(host: Host) -> Records:
    """Records that satisfy every rule."""
    (key,) = read_dkim_keys(load(host.config).dkim.keys)
    return {
        ("r1._domainkey.example.com", "TXT"): [dkim_zone_line(key).partition(" IN TXT ")[2]],
        ("_dmarc.example.com", "TXT"): ['"v=DMARC1; p=none; rua=mailto:d@example.com"'],
        ("example.com", "TXT"): ['"v=spf1 include:spf.example.net -all"', '"other"'],
        ("spf.example.net", "TXT"): ['"v=spf1 ip4:192.0.2.8/29 -all"'],
        ("example.com", "MX"): ["10 mx.example.com."],
        (REVERSE_A, "PTR"): ["a.example.com."],
        (REVERSE_B, "PTR"): ["b.example.com."],
        ("a.example.com", "A"): ["192.0.2.10"],
        ("b.example.com", "A"): ["192.0.2.11"],
        ("localhost", "A"): ["127.0.0.1"],
    }


def judged(
    host: Host,
    records: Mapping[tuple[str, str], Sequence[str]],
    *words: str,
    broken: Sequence[str] = (),
    mail: Path | None = None,
) -> Any:
    """The JSON of the command, with a name server of these records."""
    with NameServer(records, broken) as server:
        at = f"{server.resolver.nameservers[0]}:{server.resolver.port}"
        return host.json("lint", str(mail or host.mail), "--dns", "--name-server", at, *words)


def rules(found: Any) -> list[str]:
    return list(dict.fromkeys(each["rule"] for each in found["findings"]))


def test_good_records_break_no_rule(host: Host) -> None:
    assert judged(host, zone(host))["findings"] == []


DMARC, SPF, KEY = ("_dmarc.example.com", "TXT"), ("example.com", "TXT"), (
    "r1._domainkey.example.com", "TXT")  # fmt: skip
RUA = "rua=mailto:d@example.com"


def rsa_record(bits: int) -> str:
    public = generate_private_key(65537, bits).public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f'"v=DKIM1; p={base64.b64encode(der).decode()}"'


CHANGES: dict[str, tuple[Records, list[str]]] = {
    "no key": ({KEY: []}, ["dkim-key-missing"]),
    "revoked key": ({KEY: ['"v=DKIM1; p="']}, ["dkim-key-missing"]),
    "unreadable key": ({KEY: ['"v=DKIM1; p=AAAA"']},
        ["dkim-invalid", "dkim-not-aligned", "dkim-key-missing"]),
    "another key, and a short one": ({KEY: [rsa_record(1024)]},
        ["dkim-invalid", "dkim-not-aligned", "dkim-key-short"]),
    "no DMARC record": ({DMARC: []}, ["dmarc-missing"]),
    "two DMARC records": ({DMARC: [f'"v=DMARC1; p={p}; {RUA}"' for p in ("none", "reject")]},
        ["dmarc-invalid"]),
    "no policy": ({DMARC: [f'"v=DMARC1; {RUA}"']}, ["dmarc-invalid"]),
    "no reports": ({DMARC: ['"v=DMARC1; p=reject"']}, ["dmarc-no-reports"]),
    "removed tag": ({DMARC: [f'"v=DMARC1; p=none; pct=50; {RUA}"']}, ["dmarc-removed-tag"]),
    "no SPF record": ({SPF: ['"other"']}, ["spf-missing"]),
    "two SPF records": ({SPF: ['"v=spf1 -all"', '"v=spf1 ~all"']}, ["spf-broken"]),
    "SPF with an unknown word": ({SPF: ['"v=spf1 ipv4:192.0.2.10 -all"']}, ["spf-broken"]),
    "SPF without one address": ({SPF: ['"v=spf1 a:a.example.com -all"']}, ["spf-not-passed"]),
    "neutral SPF": ({SPF: ['"v=spf1 ?all"']}, ["spf-not-passed"]),
    "endless SPF": ({SPF: ['"v=spf1 include:example.com -all"']}, ["spf-broken"]),
    "no PTR": ({(REVERSE_A, "PTR"): []}, ["ptr-missing"]),
    "PTR of another host": ({(REVERSE_A, "PTR"): ["b.example.com."]}, ["ptr-not-confirmed"]),
    "PTR of no host": ({(REVERSE_A, "PTR"): ["none.example.com."]}, ["ptr-not-confirmed"]),
    "generic PTR": ({(REVERSE_A, "PTR"): ["192-0-2-10.isp.example."],
        ("192-0-2-10.isp.example", "A"): ["192.0.2.10"]}, ["ptr-generic"]),
    "null MX": ({("example.com", "MX"): ["0 ."]}, ["from-domain-without-mail"]),
    "no MX": ({("example.com", "MX"): []}, ["from-domain-without-mail"]),
    "an address in place of an MX": ({("example.com", "MX"): [],
        ("example.com", "A"): ["192.0.2.1"]}, []),
    "tracking host without an address": ({("localhost", "A"): []}, ["tracking-tls"]),
}  # fmt: skip


def test_changed_records_break_rules(host: Host) -> None:
    records = zone(host)

    @for_every(CHANGES)
    def check(change: Records, wanted: list[str]) -> None:
        assert sorted(rules(judged(host, records | change))) == sorted(wanted)

    check()


def test_strict_alignment_by_the_record(host: Host) -> None:
    host.edit("bounces@example.com", "bounces@bounce.example.com")
    records = zone(host)
    records["bounce.example.com", "TXT"] = records[SPF]
    assert rules(judged(host, records)) == []
    records[DMARC] = [f'"v=DMARC1; p=none; adkim=s; aspf=s; {RUA}"']
    assert rules(judged(host, records)) == ["return-path-not-aligned"]


def test_organization_by_the_tree_walk(host: Host) -> None:
    """With psd=y at example.com, its subdomains are organizations of their own."""
    host.edit("bounces@example.com", "bounces@bounce.example.com")
    host.mail.write_text(SUBMITTED.replace("news@example.com", "news@shop.example.com"))
    records = zone(host)
    records |= {
        ("bounce.example.com", "TXT"): records[SPF],
        ("shop.example.com", "MX"): ["10 mx.example.com."],
    }
    host.edit("dkim: {keys: [{domain: example.com", "dkim: {keys: [{domain: shop.example.com")
    records["r1._domainkey.shop.example.com", "TXT"] = records[KEY]
    assert rules(judged(host, records)) == []
    records[DMARC] = [f'"v=DMARC1; p=none; psd=y; {RUA}"']
    assert rules(judged(host, records)) == ["return-path-not-aligned"]


def test_name_server_without_answer_is_no_missing_record(host: Host) -> None:
    for name in ("_dmarc.example.com", "r1._domainkey.example.com", "example.com", REVERSE_A):
        found = judged(host, zone(host), broken=[name])
        assert rules(found) == ["dns-no-answer"], name
        assert any(each["text"].startswith(f"{name}: ") for each in found["findings"])


def test_helo_name(host: Host) -> None:
    host.edit("address: 192.0.2.10}", "address: 192.0.2.10, helo: mta.example.com}")
    assert rules(judged(host, zone(host))) == ["helo-not-confirmed"]
    records = zone(host) | {("mta.example.com", "A"): ["192.0.2.10"]}
    assert rules(judged(host, records)) == []


def test_private_address_is_not_looked_up(host: Host) -> None:
    host.edit("192.0.2.10", "10.1.2.3")
    assert rules(judged(host, zone(host))) == ["address-not-seen"]


def test_relay_hides_the_address(host: Host) -> None:
    host.edit("address: 192.0.2.10", "relay: '[smtp.example.net]:587'")
    host.edit("address: 192.0.2.11", "relay: '[smtp.example.net]:587'")
    assert rules(judged(host, zone(host))) == ["address-not-seen"]
    # Which address counts is not known, but there must be a record.
    found = judged(host, zone(host) | {SPF: ['"other"']})
    assert rules(found) == ["spf-missing", "address-not-seen"]


def test_only_virtual_mtas_that_may_carry_the_mail_are_judged(host: Host) -> None:
    records = zone(host) | {(REVERSE_B, "PTR"): []}
    assert rules(judged(host, records)) == ["ptr-missing"]
    host.mail.write_text(f"X-GreenArrow-MtaID: a\n{SUBMITTED}")
    assert rules(judged(host, records)) == []


def test_return_path_of_mail_without_addresses_needs_spf(host: Host) -> None:
    host.edit(", address: 192.0.2.10", "")
    host.edit(", address: 192.0.2.11", "")
    assert rules(judged(host, zone(host))) == []
    assert rules(judged(host, zone(host) | {SPF: ['"other"']})) == ["spf-missing"]


def test_received_mail_is_verified_with_the_key_in_the_dns(host: Host, tmp_path: Path) -> None:
    records, sent = zone(host), tmp_path / "sent.eml"
    preview = host.run("preview", str(host.mail))
    sent.write_bytes(b"Return-Path: <bounces@example.com>\r\n" + preview.stdout_bytes)
    host.config.write_text(
        host.config.read_text().partition("dkim: ")[0].replace("link-keys", "other-keys")
    )
    assert host.run("key", "new").exit_code == 0
    found = judged(host, records, "--sent", mail=sent)
    assert (found["judged"], rules(found)) == ("as it is", [])
    sent.write_bytes(sent.read_bytes().replace(b"three coats", b"four coats"))
    found = judged(host, records, "--sent", mail=sent)
    assert rules(found) == ["dkim-invalid", "dkim-not-aligned"]


def test_tracking_host_without_https(host: Host) -> None:
    text = host.config.read_text()
    host.config.write_text(text.replace("https://localhost", "http://localhost"))
    assert rules(judged(host, zone(host))) == ["unsubscribe-not-one-click", "tracking-not-https"]


def test_certificates(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = zone(host)
    old = host.config.read_text().partition("url_domain: ")[2].partition("\n")[0]
    cases = {"short": (3, "localhost", "tracking-tls-expires"), "name": (90, "x", "tracking-tls")}
    for name, (days, subject, rule) in cases.items():
        certificate = tmp_path / f"{name}.pem"
        certify(certificate, days, subject)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with tls_server(certificate) as port:
            host.edit(old, new := f"https://localhost:{port}")
            assert rules(judged(host, records)) == [rule]
        old = new
    # Nobody listens there any more.
    (finding,) = judged(host, records)["findings"]
    assert (finding["rule"], "refused" in finding["text"]) == ("tracking-tls", True)


def test_untrusted_certificate(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    (finding,) = judged(host, zone(host))["findings"]
    assert finding["rule"] == "tracking-tls"
    assert "self-signed certificate" in finding["text"]


def test_wrong_name_server(host: Host) -> None:
    result = host.run("lint", str(host.mail), "--dns", "--name-server", "ns.example.com")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "must be an IP address" in result.stderr


def test_exit_status_counts_errors_of_the_dns(host: Host) -> None:
    with NameServer(zone(host) | {DMARC: []}) as server:
        at = f"{server.resolver.nameservers[0]}:{server.resolver.port}"
        result = host.run("lint", str(host.mail), "--dns", "--name-server", at)
    assert result.exit_code == 1
    assert result.stdout.startswith("error: dmarc-missing: no DMARC record for example.com. ")


# SPF: what pyspf makes of our lookups.

CHAIN: Records = {
    (f"i{n}.example.net", "TXT"): [f'"v=spf1 include:i{n + 1}.example.net"'] for n in range(1, 12)
}

ADDRESSES: dict[str, tuple[Records, str, str]] = {
    "ip4": ({SPF: ['"v=spf1 ip4:192.0.2.0/24 -all"']}, "192.0.2.10", "pass"),
    "ip6": ({SPF: ['"v=spf1 ip6:2001:db8::/32 -all"']}, "2001:db8::7", "pass"),
    "a": ({SPF: ['"v=spf1 a -all"'], ("example.com", "A"): ["192.0.2.10"]}, "192.0.2.10", "pass"),
    "aaaa": ({SPF: ['"v=spf1 a -all"'], ("example.com", "AAAA"): ["2001:db8::7"]},
        "2001:db8::7", "pass"),
    "mx": ({SPF: ['"v=spf1 mx -all"'], ("example.com", "MX"): ["10 mx.example.com."],
        ("mx.example.com", "A"): ["192.0.2.10"]}, "192.0.2.10", "pass"),
    "ptr": ({SPF: ['"v=spf1 ptr -all"'], (REVERSE_A, "PTR"): ["a.example.com."],
        ("a.example.com", "A"): ["192.0.2.10"]}, "192.0.2.10", "pass"),
    "exists with a macro": ({SPF: ['"v=spf1 exists:%{i}.ok.example.com -all"'],
        ("192.0.2.10.ok.example.com", "A"): ["127.0.0.2"]}, "192.0.2.10", "pass"),
    "redirect": ({SPF: ['"v=spf1 redirect=s.example.net"'],
        ("s.example.net", "TXT"): ['"v=spf1 ip4:192.0.2.10 -all"']}, "192.0.2.10", "pass"),
    "in two strings": ({SPF: ['"v=spf1 ip4:192.0" ".2.10 -all"']}, "192.0.2.10", "pass"),
    "softfail": ({SPF: ['"v=spf1 ~all"']}, "192.0.2.10", "softfail"),
    "no record": ({}, "192.0.2.10", "none"),
    "too many lookups": ({SPF: ['"v=spf1 include:i1.example.net -all"']} | CHAIN,
        "192.0.2.10", "permerror"),
    "too many empty lookups": ({SPF: ['"v=spf1 a:x.example.net a:y.example.net a:z.example.net"']},
        "192.0.2.10", "permerror"),
}  # fmt: skip


@for_every(ADDRESSES)
def test_spf(records: Records, address: str, wanted: str) -> None:
    with NameServer(records) as server:
        lookups = Lookups(server.resolver)
        assert evaluate(address, "b@example.com", "a.example.com", lookups).result == wanted


def test_spf_without_answer() -> None:
    with NameServer({}, broken=["example.com"]) as server:
        lookups = Lookups(server.resolver)
        found = evaluate("192.0.2.1", "b@example.com", "a.example.com", lookups)
    assert found.result == "temperror"
    assert list(lookups.failed) == ["example.com"]


@for_every(
    ["x" * 70 + ".example.com", "a..b", "", "\udcff.example", "xn--\u00fc.example", "*" * 300]
)
def test_names_that_are_none_get_no_answer_or_no_records(name: str) -> None:
    with NameServer({}) as server:
        assert not Lookups(server.resolver).records(name, "TXT")


@for_every(
    {
        "ip-192-0-2-10.isp.example": True,
        "10.2.0.192.isp.example": True,
        "host192000002010.isp.example": False,
        "192.000.002.010.isp.example": True,
        "a10.example.com": False,
        "mail-10-2.example.com": False,
        "192.0.2.100.isp.example": False,
    }.items()
)
def test_generic_names(name: str, generic: bool) -> None:
    assert _is_generic(name, "192.0.2.10") is generic
