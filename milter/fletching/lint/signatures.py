"""The DKIM signatures of a mail, as values: who signed, how, and which fields are covered.

Here the field is read (RFC 6376 section 3.5). Whether a signature verifies is passed in by those
who have the key.
"""

from __future__ import annotations

from dataclasses import dataclass

from fletching.mail.dkim import ascii_domain, signature_tags
from fletching.mail.message import Header, Message


@dataclass(frozen=True, slots=True)
class SignatureField:
    """One DKIM-Signature field.

    ``domain``, ``selector``: d= and s=, empty if the field is broken. ``covered``: the names in h=,
    in lower case. ``limited``: it has l=, so that text can be added to the body. ``objection``: why
    it does not verify, empty if it does, None if nobody has tried.
    """

    domain: str
    selector: str
    algorithm: str
    covered: frozenset[str]
    limited: bool
    objection: str | None = None

    @property
    def usable(self) -> bool:
        """Whether it verifies, or may."""
        return bool(self.domain) and not self.objection


def signatures(message: Message) -> tuple[SignatureField, ...]:
    """All DKIM-Signature fields from the top down."""
    return tuple(map(_read, message.all(b"dkim-signature")))


def _read(header: Header) -> SignatureField:
    tags = {
        name.decode("ascii", "replace"): value.decode("utf-8", "replace")
        for name, value in (signature_tags(header) or {}).items()
    }
    domain, selector = _name(tags.get("d", "")), _name(tags.get("s", ""))
    is_whole = bool(domain and selector and tags.get("b") and tags.get("bh"))
    return SignatureField(
        domain=domain if is_whole else "",
        selector=selector,
        algorithm=tags.get("a", "").lower(),
        covered=frozenset(name.strip().lower() for name in tags.get("h", "").split(":")),
        limited="l" in tags,
        objection=None if is_whole else "a tag is missing or broken",
    )


def _name(text: str) -> str:
    try:
        return ascii_domain(text)
    except ValueError:
        return ""
