"""Checks the DNS: DKIM records, tracking hosts, and the MX of bounce and unsubscribe mailboxes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import dns.exception
import dns.name
import dns.resolver

from fletching.admin.dkim_verify import objection
from fletching.checks.finding import Finding, Level, error, ok, warning
from fletching.config.model import Config
from fletching.keys.dkim_keys import dkim_record
from fletching.mail.dkim import Signature, SigningKey, ascii_domain, sign
from fletching.mail.message import parse

_NO_SUCH = (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer)


def check_dns(
    config: Config, keys: Sequence[SigningKey], resolver: dns.resolver.Resolver
) -> Iterator[Finding]:
    """All findings."""
    for key in keys if config.dkim.enabled else ():
        yield _dkim(key, resolver)
    for host in sorted(_tracking_hosts(config)):
        yield _tracking_host(host, resolver)
    for domain in sorted(_mailbox_domains(config)):
        yield _mail_exchanger(domain, resolver)


def _answers(name: str, kind: str, resolver: dns.resolver.Resolver) -> list[object]:
    """The records of a name, perhaps none. Raises DNSException if the lookup fails."""
    try:
        return list(resolver.resolve(dns.name.from_text(name), kind))
    except _NO_SUCH:
        return []


# The public halves of the DKIM keys


def _dkim(key: SigningKey, resolver: dns.resolver.Resolver) -> Finding:
    name = f"{ascii_domain(key.selector)}._domainkey.{ascii_domain(key.domain)}"
    try:
        found = _answers(name, "TXT", resolver)
    except dns.exception.DNSException as trouble:
        return error(name, f"no answer: {trouble}")
    texts = [b"".join(record.strings).decode("utf-8", "replace") for record in found]  # type: ignore[attr-defined]
    records = [text for text in texts if "p" in _tags(text)]
    if not records:
        return error(name, "no DKIM record; print it with `fletching dkim record`")
    if len(records) > 1:
        return error(name, "has several DKIM records: verifiers may use any of them")
    compared = _compared(name, _tags(records[0]), _tags(dkim_record(key)))
    if compared.level is Level.OK and (why := objection(_probe(key), 0, records[0].encode())):
        return error(name, f"dkimpy cannot verify a test signature with this key: {why}")
    return compared


def _probe(key: SigningKey) -> bytes:
    """A message signed with the key."""
    mail = parse(f"From: probe@{ascii_domain(key.domain)}\r\n\r\nProbe.\r\n".encode())
    return bytes(sign(mail, [Signature(key.domain, key.selector, key)], 0))


def _compared(name: str, there: dict[str, str], ours: dict[str, str]) -> Finding:
    if not there["p"]:
        return error(name, "the key is revoked (empty p=)")
    if (there.get("k", "rsa"), there["p"]) != (ours["k"], ours["p"]):
        return error(name, "does not match our private key")
    if "v" in there and there["v"] != "DKIM1":
        return error(name, "must begin with v=DKIM1")
    if "h" in there and "sha256" not in there["h"].split(":"):
        return error(name, "does not allow sha256 (h=)")
    if "s" in there and not {"*", "email"} & set(there["s"].split(":")):
        return error(name, "not valid for email (s=)")
    if "y" in there.get("t", "").split(":"):
        return warning(name, "in test mode (t=y): verifiers may ignore the signature")
    return ok(name, "matches our private key; a test signature verifies")


def _tags(record: str) -> dict[str, str]:
    """Names and values of a tag list (RFC 6376 section 3.2), without white space in values."""
    pairs = (part.partition("=") for part in record.split(";"))
    return {name.strip(): re.sub(r"\s+", "", value) for name, mark, value in pairs if mark}


# Hosts and mailboxes


def _tracking_hosts(config: Config) -> set[str]:
    """Host names without ports. IP addresses are left out: they need no DNS."""
    hosts = {urlsplit(f"//{each}").hostname or "" for each in config.own_hosts}
    return {host for host in hosts if not re.fullmatch(r"[0-9.]+|.*:.*|", host)}


def _tracking_host(host: str, resolver: dns.resolver.Resolver) -> Finding:
    try:
        found = [*_answers(host, "A", resolver), *_answers(host, "AAAA", resolver)]
    except dns.exception.DNSException as trouble:
        return error(host, f"no answer: {trouble}")
    if not found:
        return error(host, "has no A or AAAA record: tracking links do not work")
    return ok(host, f"tracking host resolves to {', '.join(sorted(map(str, found)))}")


def _mailbox_domains(config: Config) -> set[str]:
    mailboxes = [config.bounce_mailbox, config.unsubscribe_mailbox]
    for mail_class in config.mail_classes.values():
        mailboxes += [mail_class.bounce_mailbox, mail_class.unsubscribe_mailbox]
    return {each.rpartition("@")[2].lower() for each in mailboxes if each is not None}


def _mail_exchanger(domain: str, resolver: dns.resolver.Resolver) -> Finding:
    try:
        exchangers = _answers(domain, "MX", resolver)
        kinds = () if exchangers else ("A", "AAAA")
        addresses = [each for kind in kinds for each in _answers(domain, kind, resolver)]
    except dns.exception.DNSException as trouble:
        return error(domain, f"no answer: {trouble}")
    names = [str(record.exchange).rstrip(".") for record in exchangers]  # type: ignore[attr-defined]
    if "" in names:
        return error(domain, "accepts no mail (null MX): bounces cannot be delivered")
    if names:
        return ok(domain, f"MX for bounces and unsubscribes: {', '.join(sorted(names))}")
    if addresses:
        return warning(
            domain, "has no MX record, only an address record: some senders require an MX"
        )
    return error(domain, "has neither an MX nor an address record: bounces cannot be delivered")
