"""What `fletching lint` judges, and the object that it prints.

From the outcome for a mail to what leaves, with its signatures verified by the keys of this
configuration. The rules are in `lint/`; the DNS is asked in `checks/sending.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from fletching import tokens
from fletching.admin.dkim_verify import NOT_TRIED, objection
from fletching.keys.dkim_keys import dkim_record
from fletching.links.urls import Target, target
from fletching.lint.all import judge
from fletching.lint.rule import Finding, Severity
from fletching.lint.sent import Sent
from fletching.lint.signatures import SignatureField, signatures
from fletching.mail.dkim import SigningKey, ascii_domain
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message, addresses
from fletching.outgoing.flow import Outcome
from fletching.policy.setup import Setup
from fletching.tokens import Kind

_CLICKS = (Kind.CLICK_HTML, Kind.CLICK_TEXT, Kind.UNSUBSCRIBE_HTML, Kind.UNSUBSCRIBE_TEXT)


def is_sent(outcome: Outcome) -> bool:
    """Whether a mail is one that Fletching has sent: it carries our X-Mailer-Info, and no control
    header."""
    return any(decision.setting == "second pass" for decision in outcome.plan.decisions)


def as_it_leaves(outcome: Outcome, sender: str, setup: Setup) -> Sent:
    """The mail that an accepted one becomes. ``sender``: its envelope sender as submitted."""
    mail_class = outcome.plan.mail_class
    keys = {(each.domain, each.selector): each.key for each in outcome.plan.signatures}
    return Sent(
        message=outcome.final,
        return_path=sender if outcome.sender is None else outcome.sender,
        signatures=_verified(outcome.final, keys),
        signed_later=not setup.config.dkim.enabled,
        subscription=mail_class is None or mail_class.list_unsubscribe,
        warnings=outcome.warnings,
        destination=_Destinations(setup),
    )


def as_it_is(message: Message, sender: str | None, setup: Setup) -> Sent:
    """A mail that was sent already. ``sender``: its envelope sender; default: Return-Path."""
    header = message.first(b"return-path")
    if sender is None and header is not None:
        sender = next(iter(addresses(header.text)), "")
    keys = {(key.domain, key.selector): key for key in setup.dkim_keys}
    return Sent(
        message=message,
        return_path=sender,
        signatures=_verified(message, keys),
        destination=_Destinations(setup),
    )


class Linted(NamedTuple):
    """What was judged, how (for docs/commands.md), and the findings without the DNS."""

    sent: Sent
    how: str
    findings: tuple[Finding, ...]


def linted(
    outcome: Outcome,
    message: Message,
    envelope: Envelope,
    setup: Setup,
    *,
    as_sent: bool = False,
    sender: str | None = None,
) -> Linted:
    """Judges a mail as it would leave; with ``as_sent``, or if Fletching has sent it, as it is.

    ``sender``: the envelope sender, if the operator gave one.
    """
    if as_sent or is_sent(outcome):
        sent, how = as_it_is(message, sender, setup), "as it is"
    else:
        sent, how = as_it_leaves(outcome, envelope.sender, setup), "as it would leave"
    return Linted(sent, how, judge(sent))


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    """How many findings there are of each severity."""
    counted = Counter(finding.rule.severity for finding in findings)
    return {f"{name}s": counted[Severity(name)] for name in ("error", "warning")} | {
        "infos": counted[Severity.INFO]
    }


def as_json(findings: Sequence[Finding], judged: str) -> dict[str, Any]:
    """The object of `fletching lint --json` (docs/commands.md)."""
    return {"judged": judged, **counts(findings), "findings": [_row(each) for each in findings]}


def _row(finding: Finding) -> dict[str, Any]:
    rule = finding.rule
    return {
        "rule": rule.name,
        "severity": rule.severity.value,
        "text": finding.text,
        "cure": rule.cure,
        "sources": [
            {"by": source.by, "url": source.url, "read": source.read or None}
            for source in rule.sources
        ],
    }


def _verified(
    message: Message, keys: Mapping[tuple[str, str], SigningKey]
) -> tuple[SignatureField, ...]:
    """The signatures of a mail, verified where the key is one of ours.

    ``keys``: by domain and selector.
    """
    records = {
        (ascii_domain(domain), ascii_domain(selector)): dkim_record(key).encode()
        for (domain, selector), key in keys.items()
    }
    return verified(message, records)


def verified(
    message: Message, records: Mapping[tuple[str, str], bytes]
) -> tuple[SignatureField, ...]:
    """The signatures of a mail, verified with these TXT records, by domain and selector."""
    content = bytes(message)
    return tuple(
        _judged(each, content, index, records.get((each.domain, each.selector)))
        for index, each in enumerate(signatures(message))
    )


def _judged(
    signature: SignatureField, content: bytes, index: int, record: bytes | None
) -> SignatureField:
    if record is None or signature.objection is not None:
        return signature
    why = objection(content, index, record)
    return replace(signature, objection=None if why == NOT_TRIED else why)


class _Destinations:
    """Where our tracking URLs lead: callable with a URL."""

    def __init__(self, setup: Setup) -> None:
        self._keys = setup.link_keys
        self._hosts = setup.config.own_hosts

    def __call__(self, url: str) -> str | None:
        found = target(url)
        if not isinstance(found, Target) or self._hosts.isdisjoint(found.names):
            return None
        try:
            token = self._keys.open(tokens.found_in(url))
        except tokens.TokenError:
            return None
        return token.destination if token.kind in _CLICKS else None
