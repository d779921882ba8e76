"""`fletching lint --dns`: what the DNS says of the domains and addresses that a mail leaves by.

Here is what is asked, and which rules of `lint/dns_rules.py` the answers break. The rules about the
mail itself are judged again, with verified signatures and the organizations that the DNS knows.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from dns.resolver import Resolver

from fletching.admin.lint import Linted, verified
from fletching.checks.certificate import check_certificate
from fletching.checks.lookups import Lookups
from fletching.checks.spf import evaluate
from fletching.config.model import Config
from fletching.config.virtual_mtas import VirtualMta
from fletching.lint.all import by_severity, judge
from fletching.lint.organization import Alignment, Policy, discover, tags
from fletching.lint.rule import Finding
from fletching.lint.rules import found
from fletching.lint.sent import Sent, short
from fletching.lint.signatures import SignatureField
from fletching.mail.dkim import LEAST_RSA_BITS
from fletching.outgoing.flow import Outcome

_MOST_SIGNATURES = 20
"""Whose keys are looked up: more than any provider verifies."""

_ENOUGH_BITS = 2048
_POLICIES = ("none", "quarantine", "reject")
_REMOVED = ("pct", "rf", "ri")
# Receivers see another address than these.
_PRIVATE = tuple(
    map(
        ip_network,
        (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8"),
            *("fc00::/7", "fe80::/10", "::1/128"),
        ),
    )
)


def with_dns(
    linted: Linted, outcome: Outcome, config: Config, resolver: Resolver
) -> tuple[Finding, ...]:
    """All findings about a mail, with those that need the DNS."""
    lookups = Lookups(resolver)
    sent, findings = linted.sent, list[Finding]()
    records = _keys(sent, lookups)
    for name, record in records.items():
        findings += _key(*name, record)
    sent = replace(sent, signatures=_verified(sent, records))
    author = sent.author
    if author is not None:
        policy = _policy(author, lookups)
        sent = replace(sent, alignment=_alignment(policy, lookups))
        findings += _dmarc(author, policy, lookups)
        findings += _receives(author, lookups)
    findings += _senders(sent, _virtual_mtas(linted, outcome, config), lookups)
    for domain in _url_domains(outcome, config):
        findings += _tracking(domain, lookups)
    unanswered = (found("dns-no-answer", f"{short(name)}: {short(why)}")
                  for name, why in lookups.failed.items())  # fmt: skip
    return by_severity((*judge(sent), *dict.fromkeys(findings), *unanswered))


# DKIM keys

Keys = dict[tuple[str, str], str | None]
"""The record of each key by domain and selector; None if there is none. Keys about which there was
no answer are left out."""


def _keys(sent: Sent, lookups: Lookups) -> Keys:
    keys: Keys = {}
    for each in sent.signatures[:_MOST_SIGNATURES]:
        if not each.domain:
            continue
        texts = lookups.texts(f"{each.selector}._domainkey.{each.domain}")
        if texts is not None:
            with_key = (text for text in texts if tags(text).get("p"))
            keys[each.domain, each.selector] = next(with_key, None)
    return keys


def _key(domain: str, selector: str, record: str | None) -> Iterator[Finding]:
    name = f"{short(selector)}._domainkey.{short(domain)}"
    if record is None:
        yield found("dkim-key-missing", f"{name} has no key, or a revoked one")
        return
    try:
        der = base64.b64decode(re.sub(r"\s+", "", tags(record)["p"]), validate=True)
        key = load_der_public_key(der) if tags(record).get("k", "rsa") == "rsa" else None
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        yield found("dkim-key-missing", f"the key in {name} cannot be read")
        return
    if isinstance(key, RSAPublicKey) and key.key_size < _ENOUGH_BITS:
        rule = "dkim-key-too-short" if key.key_size < LEAST_RSA_BITS else "dkim-key-short"
        yield found(rule, f"the key in {name} has {key.key_size} bits")


def _verified(sent: Sent, keys: Keys) -> tuple[SignatureField, ...]:
    records = {name: record.encode() for name, record in keys.items() if record is not None}
    judged = verified(sent.message, records)
    return tuple(
        after if (after.domain, after.selector) in records else before
        for before, after in zip(sent.signatures, judged, strict=True)
    )


# DMARC


def _policy(domain: str, lookups: Lookups) -> Policy:
    return discover(domain, lambda name: lookups.texts(name) or ())


def _alignment(policy: Policy, lookups: Lookups) -> Alignment:
    return Alignment(
        organization=cache(lambda domain: _policy(domain, lookups).organization),
        strict_dkim=policy.tags.get("adkim", "").lower() == "s",
        strict_spf=policy.tags.get("aspf", "").lower() == "s",
    )


def _dmarc(author: str, policy: Policy, lookups: Lookups) -> Iterator[Finding]:
    if not policy.at:
        if not any(name.startswith("_dmarc.") for name in lookups.failed):
            yield found("dmarc-missing", f"no DMARC record for {short(author)}")
        return
    name = f"_dmarc.{short(policy.at)}"
    if len(policy.records) > 1:
        yield found("dmarc-invalid", f"{name} has {len(policy.records)} DMARC records")
        return
    if policy.tags.get("p", "").lower() not in _POLICIES:
        yield found("dmarc-invalid", f"{name} has no p= of {', '.join(_POLICIES)}")
    if not policy.tags.get("rua"):
        yield found("dmarc-no-reports", f"{name} has no rua=")
    for tag in _REMOVED:
        if tag in policy.tags:
            yield found("dmarc-removed-tag", f"{name} has {tag}=")


def _receives(author: str, lookups: Lookups) -> Iterator[Finding]:
    exchangers = lookups.records(author, "MX")
    if exchangers is None:
        return
    if any(record.exchange.to_text() == "." for record in exchangers):
        yield found("from-domain-without-mail", f"{short(author)} has a null MX record")
    elif not exchangers and lookups.addresses(author) == frozenset():
        text = f"{short(author)} has neither an MX nor an address record"
        yield found("from-domain-without-mail", text)


# The addresses that send


def _virtual_mtas(linted: Linted, outcome: Outcome, config: Config) -> Sequence[VirtualMta]:
    """Those that may carry the mail; of a mail that was sent already, and of one that Postfix
    routes, all."""
    candidates = () if linted.how == "as it is" else outcome.plan.candidates
    names = [member.name for member in candidates] or list(config.virtual_mtas)
    found_mtas = (config.virtual_mta(name) for name in names)
    return [mta for mta in found_mtas if mta is not None and (mta.address or mta.relay)]


def _senders(sent: Sent, mtas: Sequence[VirtualMta], lookups: Lookups) -> Iterator[Finding]:
    domain = sent.return_path_domain
    if domain and not any(mta.relay is None for mta in mtas):
        texts = lookups.texts(domain)
        if texts is not None and not any(text.lower().startswith("v=spf1") for text in texts):
            yield found("spf-missing", f"no SPF record for {short(domain)}")
    for mta in mtas:
        address = str(mta.address)
        if mta.relay is not None:
            yield found("address-not-seen", f"VirtualMTA {mta.name} sends through {mta.relay}")
            continue
        if any(ip_address(address) in network for network in _PRIVATE):
            yield found("address-not-seen", f"VirtualMTA {mta.name} sends from {address}")
            continue
        if domain:
            yield from _spf(sent, domain, mta, lookups)
        yield from _names(address, lookups)
        if mta.helo is not None:
            has = lookups.addresses(mta.helo)
            if has is not None and address not in has:
                text = f"VirtualMTA {mta.name}: {mta.helo} does not have the address {address}"
                yield found("helo-not-confirmed", text)


def _spf(sent: Sent, domain: str, mta: VirtualMta, lookups: Lookups) -> Iterator[Finding]:
    # The local part counts only in macros; one that is no text would not.
    local = (sent.return_path or "").rpartition("@")[0]
    sender = f"{local if local.isascii() else 'bounces'}@{domain}"
    result, why = evaluate(str(mta.address), sender, mta.helo or domain, lookups)
    if result == "none":
        yield found("spf-missing", f"no SPF record for {short(domain)}")
    elif result == "permerror":
        yield found("spf-broken", f"the SPF record of {short(domain)}: {short(why)}")
    elif result not in ("pass", "temperror"):
        text = f"{mta.address} of VirtualMTA {mta.name} gets {result} from {short(domain)}"
        yield found("spf-not-passed", text)


def _names(address: str, lookups: Lookups) -> Iterator[Finding]:
    names = lookups.names_of(address)
    if names is None:
        return
    if not names:
        yield found("ptr-missing", f"{address} has no PTR record")
        return
    addresses = [lookups.addresses(name) for name in names]
    if None not in addresses and not any(address in (has or ()) for has in addresses):
        text = f"{address} is {short(names[0])}, which does not have that address"
        yield found("ptr-not-confirmed", text)
    for name in names:
        if _is_generic(name, address):
            yield found("ptr-generic", f"{address} is {short(name)}, a name made of the address")


def _is_generic(name: str, address: str) -> bool:
    """Whether a name contains the numbers of an IPv4 address, in order or in reverse."""
    octets = address.split(".")
    numbers = "." + ".".join(str(int(digits)) for digits in re.findall(r"[0-9]{1,20}", name)) + "."
    return len(octets) == 4 and any(
        f".{'.'.join(part)}." in numbers for part in (octets, octets[::-1])
    )


# The tracking host


def _url_domains(outcome: Outcome, config: Config) -> Sequence[str]:
    """That of the mail; without one, all of the configuration."""
    if outcome.plan.tracking.domain is not None:
        return [outcome.plan.tracking.domain]
    classes = (mail_class.url_domain for mail_class in config.mail_classes.values())
    return [*dict.fromkeys(each for each in (config.url_domain, *classes) if each is not None)]


def _tracking(domain: str, lookups: Lookups) -> Iterator[Finding]:
    parts = urlsplit(domain)
    if parts.scheme != "https":
        yield found("tracking-not-https", f"url_domain is {domain}")
    elif parts.hostname is not None:
        yield from check_certificate(parts.hostname, parts.port or 443, lookups)
