"""The subject line that names a campaign for people (docs/campaigns.md).

Here lives what of a message's Subject may be stored. The store keeps that of a campaign's first
message only.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from fletching.config.model import MailClass
from fletching.mail.encoded_words import decoded
from fletching.policy.decisions import Submission

LONGEST = 150
"""Characters of a subject that are stored."""

HIDDEN = "\N{HORIZONTAL ELLIPSIS}"
"""Stands for a recipient's address, and for what is cut off."""

_MOST_BYTES = 2000
"""Bytes of the field that are read: enough for `LONGEST` characters in encoded words."""

# Control characters, surrogates, line and paragraph separators, and characters without a meaning.
_UNPRINTABLE = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}


def stored(mail: Submission, mail_class: MailClass) -> str:
    """The subject as one line of text, without recipients' addresses; empty if the class keeps
    nothing of its recipients: a subject may name one."""
    field = mail.message.first(b"subject")
    if field is None or mail_class.privacy == "aggregate":
        return ""
    text = _line(field.value[:_MOST_BYTES])
    if "@" in text:
        addresses = sorted({each.address for each in mail.everyone if each.address}, key=len)
        for address in reversed(addresses):
            text = re.sub(re.escape(address), HIDDEN, text, flags=re.IGNORECASE)
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + HIDDEN


# The messages of a campaign often have the same subject; this is done for each of them.
@lru_cache(64)
def _line(value: bytes) -> str:
    text = decoded(value)
    if not text.isprintable():
        text = "".join(
            " " if unicodedata.category(character) in _UNPRINTABLE else character
            for character in text
        )
    return " ".join(text.split())
