"""Which keys sign a mail (docs/dkim.md, "Which keys sign").

Here lives the choice of keys; how a signature is made is in `sign.py`. The body is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from fletching.mail.dkim import Signature, SigningKey, ascii_domain
from fletching.mail.message import Message, address_domain
from fletching.policy.control import DkimWish

_LONGEST_KNOWN = 300
"""Octets of a From whose domain is remembered."""


def choose(
    message: Message, wishes: Sequence[DkimWish] | None, keys: Sequence[SigningKey]
) -> tuple[tuple[Signature, ...], list[str]]:
    """The signatures to make, and a warning for each that cannot be made.

    Without wishes: the default key of the Sender's domain, else of the From's.
    """
    if wishes is None:
        wishes = (DkimWish(from_domain=True),)
    made: list[Signature] = []
    warnings: list[str] = []
    for wish in wishes:
        signature = _signature(message, wish, keys)
        if isinstance(signature, str):
            warnings.append(f"no DKIM signature: {signature}")
        elif wish.allow_duplicate or signature not in made:
            made.append(signature)
    return tuple(made), warnings


def _signature(message: Message, wish: DkimWish, keys: Sequence[SigningKey]) -> Signature | str:
    """The signature that is wished for, or why it cannot be."""
    domain = _writer(message) if wish.from_domain or wish.domain is None else wish.domain
    if domain is None:
        return "Sender and From have no usable domain"
    key_domain, _, key_selector = (wish.use_key_from or domain).partition("/")
    if not key_selector and wish.use_key_from is None:
        key_selector = wish.selector or ""
    key = _key(keys, key_domain, key_selector)
    if key is None:
        named = f"key {key_selector} of" if key_selector else "default key of"
        return f"there is no {named} {key_domain}"
    return Signature(domain=domain, selector=wish.selector or key.selector, key=key)


def _writer(message: Message) -> str | None:
    """The domain of the Sender, else of the From, in ASCII."""
    header = message.first(b"sender") or message.first(b"from")
    if header is None:
        return None
    known = len(header.value) < _LONGEST_KNOWN
    return _known_domain(header.value) if known else _domain(header.value)


def _domain(field: bytes) -> str | None:
    domain = address_domain(field)
    try:
        return ascii_domain(domain) if domain else None
    except ValueError:
        return None


# Many mails have one sender.
_known_domain = lru_cache(maxsize=256)(_domain)


def _key(keys: Sequence[SigningKey], domain: str, selector: str) -> SigningKey | None:
    """The key of that name, without one the default of the domain."""
    return next(
        (
            key
            for key in keys
            if key.domain == domain and (key.selector == selector if selector else key.default)
        ),
        None,
    )
