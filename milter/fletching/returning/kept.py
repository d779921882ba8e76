"""A returned mail in a file, with its envelope in two fields before the mail's own header. Pure.

The LMTP service keeps what it does not understand in this form, and `fletching bounce feed` hands
it to the service again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fletching.mail.message import Message, parse

_SENDER, _RECIPIENT = b"X-Fletching-Sender", b"X-Fletching-Recipient"
_ENVELOPE = re.compile(
    rb"%b: (?P<sender>[^\r\n]*)\r\n%b: (?P<recipient>[^\r\n]*)\r\n" % (_SENDER, _RECIPIENT)
)
_NO_TEXT = re.compile("[\0-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class KeptMail:
    """A mail and its envelope. ``sender``: empty for the null sender."""

    sender: str
    recipient: str
    content: bytes


def packed(mail: KeptMail) -> bytes:
    """The content of the file."""
    return b"%b: %b\r\n%b: %b\r\n%b" % (
        _SENDER, _line(mail.sender), _RECIPIENT, _line(mail.recipient), mail.content,
    )  # fmt: skip


def unpacked(data: bytes) -> KeptMail:
    """The mail in a file.

    A file of another origin has the recipient that a delivery agent wrote into its header, or none.
    """
    if found := _ENVELOPE.match(data):
        return KeptMail(_text(found["sender"]), _text(found["recipient"]), data[found.end() :])
    message = parse(data)
    recipient = _first(message, b"x-original-to") or _first(message, b"delivered-to")
    return KeptMail(_first(message, b"return-path").strip("<>"), recipient, bytes(message))


def _first(message: Message, name: bytes) -> str:
    header = message.first(name)
    return _text(header.text) if header is not None else ""


def _line(address: str) -> bytes:
    return _NO_TEXT.sub("?", address).encode("utf-8", "surrogateescape")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
