"""Which keys sign a mail (docs/dkim.md, "Which keys sign").

Here is the choice of keys; how a signature is made is in `mail/dkim.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from fletching.config.model import MailClass
from fletching.mail.dkim import Signature, SigningKey, ascii_domain
from fletching.mail.message import Message, address_domain
from fletching.policy import offers
from fletching.policy.decisions import Decisions, Submission
from fletching.policy.offers import DkimRequest, InvalidValue, RankedOffers

_DEFAULT = (DkimRequest(from_domain=True),)
_LONGEST_REMEMBERED = 300
"""Bytes of a From whose domain is remembered."""


def decide(
    mail: Submission, ranked: RankedOffers, decisions: Decisions, mail_class: MailClass | None
) -> tuple[Signature, ...]:
    """The signatures to make."""
    dkim, local = mail.config.dkim, mail.envelope.local
    offer = ranked.best(offers.DKIM)
    if local:
        _ignore(ranked, "ignored in mail from sendmail", decisions)
        offer = None
    elif not dkim.enabled:
        _ignore(ranked, "ignored: dkim.enabled is false", decisions)
    if not dkim.enabled:
        decisions.record(offers.DKIM.name, False, "dkim.enabled")
        return ()
    if mail_class is None and not dkim.sign_unclassified:
        return ()
    requests, source = (None, "default key") if offer is None else offer
    signatures, warnings = choose(mail.message, requests, mail.setup.dkim_keys)
    for warning in warnings:
        decisions.warn(warning)
    for each in signatures:
        decisions.record(offers.DKIM.name, f"{each.selector}._domainkey.{each.domain}", source)
    return signatures


def _ignore(ranked: RankedOffers, rule: str, decisions: Decisions) -> None:
    """The offers are ignored, and that is no reason to refuse the mail."""
    decisions.never_refuse_for(offers.DKIM)
    for kind, offer in ranked.ranked(offers.DKIM):
        decisions.ignore(InvalidValue(kind, offer.source, offers.DKIM, rule, strict=False))


def choose(
    message: Message, requests: Sequence[DkimRequest] | None, keys: Sequence[SigningKey]
) -> tuple[tuple[Signature, ...], list[str]]:
    """The signatures to make, and a warning for each that cannot be made.

    Without requests: the default key of the Sender's domain, else of the From's.
    """
    if requests is None:
        requests = _DEFAULT
    made: list[Signature] = []
    warnings: list[str] = []
    for request in requests:
        signature = _signature(message, request, keys)
        if isinstance(signature, str):
            warnings.append(f"no DKIM signature: {signature}")
        elif request.allow_duplicate or signature not in made:
            made.append(signature)
    return tuple(made), warnings


def _signature(
    message: Message, request: DkimRequest, keys: Sequence[SigningKey]
) -> Signature | str:
    """The signature that is asked for, or why it cannot be made."""
    by_author = request.from_domain or request.domain is None
    domain = _author_domain(message) if by_author else request.domain
    if domain is None:
        return "neither Sender nor From has a usable domain"
    key_domain, _, key_selector = (request.use_key_from or domain).partition("/")
    if not key_selector and request.use_key_from is None:
        key_selector = request.selector or ""
    borrowed = request.use_key_from is not None
    # Keys stand in the order in which they take over. Whoever borrows a key publishes its record
    # under a name of their own, where the old key is until they change it.
    key = _key(keys[::-1] if borrowed else keys, key_domain, key_selector)
    if key is None:
        return f"no {f'key {key_selector}' if key_selector else 'default key'} for {key_domain}"
    selector = request.selector if borrowed and request.selector else key.selector
    return Signature(domain=domain, selector=selector, key=key)


def _author_domain(message: Message) -> str | None:
    """The domain of the Sender, else of the From, in ASCII."""
    header = message.first(b"sender") or message.first(b"from")
    if header is None:
        return None
    short = len(header.value) < _LONGEST_REMEMBERED
    return _remembered_domain(header.value) if short else _domain(header.value)


def _domain(field: bytes) -> str | None:
    domain = address_domain(field)
    try:
        return ascii_domain(domain) if domain else None
    except ValueError:
        return None


# Many mails have the same sender. `_domain` is a pure function of a short text.
_remembered_domain = lru_cache(maxsize=256)(_domain)


def _key(keys: Sequence[SigningKey], domain: str, selector: str) -> SigningKey | None:
    """The first key of that name, without a selector the default one of the domain.

    A key also has the names of those that it replaced.
    """
    for key in keys:
        named = selector in (key.selector, *key.stands_for) if selector else key.default
        if named and key.domain == domain:
            return key
    return None
