"""Judges a check mail that arrived: its header, its return path, its signatures, its transport."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from ipaddress import IPv6Address

from fletching.admin.dkim_verify import NOT_TRIED, objection
from fletching.checks.finding import Finding, error, ok, warning
from fletching.checks.live.delivery import Delivered
from fletching.checks.lookups import Lookups
from fletching.config.model import Config
from fletching.mail.dkim import Signature
from fletching.mail.message import parse
from fletching.policy.setup import Setup
from fletching.postfix.postconf import Installed
from fletching.returning.attribution import message_of
from fletching.tokens import Facts, Keyring, Kind, TokenError

_PRIVATE = re.compile(rb"(?im)^(x-greenarrow-[^:\s]*|x-fletching-[^:\s]*)[ \t]*:")
_URL = re.compile(r"https?://[^\s\"'<>]+")
_TAG = re.compile(r"(?:^|;)\s*([a-z]+)\s*=([^;]*)")
_PUBLISH = "publish what `fletching dkim record` prints"
_AFTER = (
    "remove what changes mail after Fletching: milters after it, smtp_header_checks,"
    " smtp_generic_maps, smtp_body_checks of the transport"
)


@dataclass(frozen=True, slots=True)
class Links:
    """The links in a check mail. ``click`` and ``unsubscribe`` are None if it has none, as it was
    decided. ``facts``: what its X-Mailer-Info says."""

    destination: str
    facts: Facts
    click: str | None
    unsubscribe: str | None


def judged(
    found: Delivered, config: Config, setup: Setup, postfix: Installed, lookups: Lookups
) -> Iterator[Finding]:
    """All findings about one mail."""
    problems = [
        *_header(found),
        *_mailer_info(found, setup.link_keys),
        *_recipients(found),
        *_return_path(found, setup.link_keys),
        *_transport(found, postfix),
        *_list_unsubscribe(found),
        *_click(found, config),
        *_signatures(found, lookups),
    ]
    yield from problems or [ok(found.trial.name, _summary(found))]


def _summary(found: Delivered) -> str:
    plan = found.trial.expected.plan
    signed = " and ".join(f"{each.domain} ({each.selector})" for each in plan.signatures)
    return (
        f"left without control headers by {found.trial.transport},"
        f" from {found.arrived.client} as {found.arrived.helo}"
        f"{f', signed by {signed}, which the DNS verifies' if signed else ', not signed'}"
    )


def links(found: Delivered, config: Config, setup: Setup) -> Links | None:
    """The links of a mail; None if it is not tracked at all."""
    facts = _facts(found, setup.link_keys)
    if facts is None:
        return None
    urls = _URL.findall(_text(found))
    click = next((url for url in urls if _host(url) in config.own_hosts and "/click" in url), None)
    field = parse(found.arrived.raw).first(b"list-unsubscribe")
    value = "" if field is None else "".join(field.text.decode("ascii", "replace").split())
    unsubscribe = next(iter(re.findall(r"<(https?:[^>]+)>", value)), None)
    if unsubscribe is not None and _host(unsubscribe) not in config.own_hosts:
        unsubscribe = None
    return Links(found.trial.destination, facts, click, unsubscribe)


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].lower()


def _text(found: Delivered) -> str:
    """The HTML part, decoded, with entities of URLs."""
    message = message_from_bytes(found.arrived.raw, policy=policy.SMTP)
    for part in message.walk():
        if part.get_content_type() == "text/html":
            payload = part.get_payload(decode=True)
            return bytes(payload).decode("utf-8", "replace").replace("&amp;", "&")
    return ""


# What the milter did


def _header(found: Delivered) -> Iterator[Finding]:
    names = {name.decode("ascii").lower() for name in _PRIVATE.findall(found.arrived.header)}
    if names:
        yield error(
            found.trial.name,
            f"left with control headers: {', '.join(sorted(names))}",
            "remove what adds them after Fletching (PREPEND, header_checks, other milters)",
        )


def _facts(found: Delivered, keys: Keyring) -> Facts | None:
    for header in parse(found.arrived.raw).all(b"x-mailer-info"):
        try:
            token = keys.open("".join(header.text.decode("ascii", "replace").split()))
        except TokenError:
            continue
        if token.kind is Kind.MAILER_INFO:
            return token.facts
    return None


def _mailer_info(found: Delivered, keys: Keyring) -> Iterator[Finding]:
    trial, plan = found.trial, found.trial.expected.plan
    if plan.mail_class is None:
        if not plan.trusted:
            yield warning(
                trial.name,
                f"left without tracking and route: {found.arrived.client} and 127.0.0.1 are not in"
                " trusted.networks, so control headers of local programs are ignored",
                "add 127.0.0.0/8 to trusted.networks if programs of this host submit mail",
            )
        return
    facts = _facts(found, keys)
    if facts is None:
        yield error(
            trial.name,
            "left without a valid X-Mailer-Info: the running milter ignored its control headers,"
            " has other link keys, or something removed the field",
            "restart all daemons after a change of the configuration or the link keys (systemctl"
            " restart fletching), and remove header_checks rules for this field",
        )
        return
    member = plan.member.name if plan.member is not None else ""
    if facts.mtaid.lower() != member.lower():
        yield error(
            trial.name,
            f"the running milter chose {facts.mtaid or 'no VirtualMTA'}, not {member or 'none'}",
            "reload the milter (systemctl reload fletching), and look at `fletching mta list` and"
            " the milter's log line of the mail",
        )


def _recipients(found: Delivered) -> Iterator[Finding]:
    more = [each for each in found.arrived.recipients if each != found.trial.recipient]
    if more:
        yield warning(
            "always_bcc",
            f"the {found.trial.name} also went to {', '.join(more)}: copies have the same tokens,"
            " so their clicks count for the recipient",
            "remove always_bcc and the like from main.cf, or use `archive` of Fletching",
        )


def _return_path(found: Delivered, keys: Keyring) -> Iterator[Finding]:
    wanted = found.trial.expected.sender
    if wanted is None:
        return
    plan, sender = found.trial.expected.plan, found.arrived.sender
    mailbox, _, domain = (plan.bounce_mailbox or "").rpartition("@")
    right_place = sender.startswith(mailbox) and sender.lower().endswith(f"@{domain.lower()}")
    if not right_place or (plan.verp and message_of(sender, keys) is None):
        yield error(
            "return path",
            f"the {found.trial.name} left with <{sender}>, so its bounces are not attributed",
            "keep sender_canonical_maps, canonical_maps, masquerade_domains and smtp_generic_maps"
            " away from the bounce mailbox",
        )


def _list_unsubscribe(found: Delivered) -> Iterator[Finding]:
    final, message = found.trial.expected.final, parse(found.arrived.raw)
    for name in (b"List-Unsubscribe", b"List-Unsubscribe-Post"):
        if final.has(name.lower()) and not message.has(name.lower()):
            yield error(
                found.trial.name,
                f"left without {name.decode()}, which mailbox providers require",
                "remove the rule for this field from header_checks, smtp_header_checks and other"
                " milters",
            )


def _click(found: Delivered, config: Config) -> Iterator[Finding]:
    plan = found.trial.expected.plan
    if not plan.tracking.clicks or plan.mail_class is None:
        return
    text = _text(found)
    if not any(_host(url) in config.own_hosts for url in _URL.findall(text)):
        yield error(
            found.trial.name,
            "left without tracked links",
            "restart all daemons after a change of the configuration (systemctl restart fletching)",
        )


# What the transport did


def _transport(found: Delivered, postfix: Installed) -> Iterator[Finding]:
    mta, plan = found.trial.virtual_mta, found.trial.expected.plan
    if mta is None or plan.member is None or plan.member.name != mta.name:
        if mta is not None and plan.member is not None:
            yield warning(
                f"virtual_mtas.{mta.name}",
                f"its mail is carried by {plan.member.name} now",
                "see `fletching mta list`: it may be paused",
            )
        return
    place = f"master.cf {found.trial.transport}"
    if mta.address is not None and found.arrived.client != str(mta.address):
        six = "6" if isinstance(mta.address, IPv6Address) else ""
        yield error(
            place,
            f"sends from {found.arrived.client}, not from {mta.address}, the address of {mta.name}",
            f"set -o smtp_bind_address{six}={mta.address} (`fletching postfix --install`)",
        )
    if mta.helo is not None and found.arrived.helo.lower() != mta.helo.lower():
        yield error(
            place,
            f"greets as {found.arrived.helo}, not as {mta.helo}, the helo of {mta.name}",
            f"set -o smtp_helo_name={mta.helo} (`fletching postfix --install`)",
        )


# Signatures


def _signatures(found: Delivered, lookups: Lookups) -> Iterator[Finding]:
    raw, wanted = found.arrived.raw, found.trial.expected.plan.signatures
    there = [_tags(each.text) for each in parse(raw).all(b"dkim-signature")]
    for signature in wanted:
        name = f"{signature.selector}._domainkey.{signature.domain}"
        at = next((i for i, tags in enumerate(there) if _is_of(tags, signature)), None)
        if at is None:
            yield error(
                found.trial.name,
                f"left without the signature of {signature.domain} ({signature.selector})",
                "restart the milter (systemctl restart fletching); remove what deletes the field",
            )
            continue
        yield from _verified(found, at, name, lookups)
    ours = {(each.domain.lower(), each.selector.lower()) for each in wanted}
    domains = {domain for domain, _ in ours}
    for tags in there:
        other = (tags.get("d", "").lower(), tags.get("s", "").lower())
        if other not in ours and other[0] in domains:
            yield warning(
                found.trial.name,
                f"has another signature of {other[0]} ({other[1]}): another program signs, too",
                "let one program sign: remove the other milter from smtpd_milters, or set"
                " dkim: {enabled: false}",
            )


def _verified(found: Delivered, at: int, name: str, lookups: Lookups) -> Iterator[Finding]:
    texts = lookups.texts(name)
    records = [text for text in texts or () if re.search(r"(?:^|;)\s*p\s*=", text)]
    if texts is None:
        yield error(
            name,
            f"the DNS does not answer: {lookups.failed.get(name, '')}",
            "repair the name servers of the domain, or /etc/resolv.conf",
        )
    elif not records:
        yield error(name, "has no DKIM record", _PUBLISH)
    elif why := objection(found.arrived.raw, at, records[0].encode()):
        if why == NOT_TRIED:
            return
        changed = "body hash" in why
        yield error(
            name,
            f"the signature of the {found.trial.name} does not verify: {why}",
            _AFTER if changed else f"{_PUBLISH}; if it is, {_AFTER}",
        )


def _is_of(tags: dict[str, str], signature: Signature) -> bool:
    return (tags.get("d", "").lower(), tags.get("s", "").lower()) == (
        signature.domain.lower(),
        signature.selector.lower(),
    )


def _tags(text: bytes) -> dict[str, str]:
    unfolded = "".join(text.decode("ascii", "replace").split())
    return dict(_TAG.findall(unfolded))
