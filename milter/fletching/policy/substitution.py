"""Substitution: a template with placeholders becomes a text, with values of one mail.

Rules use it for `set`, and whatever adds header fields for their values. A client chooses most of
these values, so each one is cleaned, and bounded in length, before it is put in. What a template
may contain is in `config/templates.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from fletching.config.templates import HEADER, pieces, placeholders
from fletching.mail.encoded_words import decoded
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message

__all__ = ["clean", "placeholders", "substitute"]

LONGEST = 1000
"""Characters of one value that are put in: more than any control may have, so that a value that is
too long is found to be invalid, and not used in part."""


class Submitted(Protocol):
    """A mail as it was submitted (`decisions.Submission` is one)."""

    @property
    def message(self) -> Message: ...

    @property
    def envelope(self) -> Envelope: ...


def substitute(
    template: str, mail: Submitted, extra: Mapping[str, str] = MappingProxyType({})
) -> str:
    """The template with the values of a mail. Raises nothing for a template that `check` accepts.

    ``extra``: further placeholders, or other values for those that every mail has. A placeholder
    without a value becomes nothing.
    """
    return "".join(
        clean(_value(text, mail, extra)) if is_name else text for text, is_name in pieces(template)
    )


def clean(value: str) -> str:
    """A value without what could end a header field or confuse who reads it: control characters
    and surrogates are left out, and every blank is a space.
    """
    # Cut twice: a client's field may be very long.
    value = value[: 2 * LONGEST]
    if not value.isprintable():
        blanks = "".join(" " if character.isspace() else character for character in value)
        value = "".join(filter(str.isprintable, blanks))
    return value.strip(" ")[:LONGEST]


def _value(name: str, mail: Submitted, extra: Mapping[str, str]) -> str:
    if name in extra:
        return extra[name]
    if name.startswith(HEADER):
        return _field(name[len(HEADER) :], mail.message)
    envelope = mail.envelope
    match name:
        case "sender":
            return envelope.sender
        case "sender_domain":
            return envelope.sender.rpartition("@")[2].lower() if "@" in envelope.sender else ""
        case "recipient":
            # Of several recipients, none may see another one's address.
            return _only({each.mailbox: each.address for each in envelope.recipients})
        case "recipient_domain":
            return _only({each.domain: each.domain for each in envelope.recipients})
        case "login":
            return envelope.login or ""
    return ""


def _only(values: Mapping[str, str]) -> str:
    """The value if there is one alone."""
    return next(iter(values.values())) if len(values) == 1 else ""


def _field(name: str, message: Message) -> str:
    """The value of the topmost field of that name, encoded words decoded."""
    found = message.first(name.lower().encode("ascii"))
    return decoded(found.value[: 16 * LONGEST]) if found is not None else ""
