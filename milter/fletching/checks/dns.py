"""Checks the DNS: DKIM records, tracking hosts, and the MX of bounce and unsubscribe mailboxes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import dns.exception
import dns.resolver

from fletching.admin.dkim_dns import answers, judge_record
from fletching.checks.finding import Finding, Level, error, ok, warning
from fletching.config.model import Config
from fletching.keys.dkim_keys import record_name
from fletching.keys.dkim_rotation import State
from fletching.mail.dkim import SigningKey


def check_dns(
    config: Config, keys: Sequence[tuple[SigningKey, State]], resolver: dns.resolver.Resolver
) -> Iterator[Finding]:
    """All findings. ``keys``: the DKIM keys that exist."""
    for key, state in keys if config.dkim.enabled else ():
        yield _dkim(key, state, resolver)
    for host in sorted(_tracking_hosts(config)):
        yield _tracking_host(host, resolver)
    for domain in sorted(_mailbox_domains(config)):
        yield _mail_exchanger(domain, resolver)


_CURES = {
    "error": "publish exactly the one record that `fletching dkim record` prints",
    "warning": "remove t=y from the record once mail is signed as it should be",
}

# The public halves of the DKIM keys


def _dkim(key: SigningKey, state: State, resolver: dns.resolver.Resolver) -> Finding:
    level, text = judge_record(key, resolver)
    name = record_name(key)
    if level == "error" and state == "waiting":
        return warning(name, f"{text}; the new key does not sign before `fletching dkim rotate`")
    if level == "error" and state == "kept":
        return warning(name, f"{text}; mail signed with this key may still be on its way")
    return Finding(Level(level), name, text, _CURES.get(level, ""))


# Hosts and mailboxes


def _tracking_hosts(config: Config) -> set[str]:
    """Host names without ports. IP addresses are left out: they need no DNS."""
    hosts = {urlsplit(f"//{each}").hostname or "" for each in config.own_hosts}
    return {host for host in hosts if not re.fullmatch(r"[0-9.]+|.*:.*|", host)}


def _tracking_host(host: str, resolver: dns.resolver.Resolver) -> Finding:
    try:
        found = [*answers(host, "A", resolver), *answers(host, "AAAA", resolver)]
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
        exchangers = answers(domain, "MX", resolver)
        kinds = () if exchangers else ("A", "AAAA")
        addresses = [each for kind in kinds for each in answers(domain, kind, resolver)]
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
