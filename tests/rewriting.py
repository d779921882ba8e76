"""What the tests of rewriting have in common: mails of parts, and tracking URLs with their kind."""

from __future__ import annotations

import base64
import email
import quopri

from fletching.mail.message import Message, parse
from fletching.outgoing.rewrite import Rewritten, rewrite
from fletching.outgoing.text_parts import TextPartCache
from fletching.outgoing.tracking_urls import MessageUrls
from fletching.policy.plan import Tracking
from fletching.tokens import Kind

ALL = Tracking(
    body=True, clicks=True, opens=True, text=True, preserve_visible_urls=False, largest=2**20
)
TRACKER = "https://t.example"
PIXEL = (
    f'<img src="{TRACKER}/{Kind.OPEN.value}?0" width="1" height="1" alt="" border="0"'
    ' style="border:0;width:1px;height:1px">'
)
HIDDEN_LINK = (
    f'<a href="{TRACKER}/{Kind.CLICK_HTML.value}?0" aria-hidden="true" tabindex="-1"'
    ' style="display:none;mso-hide:all"></a>'
)


def ends(kind: Kind, destination: str) -> tuple[str, str]:
    return TRACKER, f"{kind.value}?{len(destination)}"


URLS = MessageUrls(ends, lambda purpose: "/")
"""Tracking URLs that say what they are for, and how long their destination is."""


def done(raw: bytes | str, tracking: Tracking = ALL) -> Rewritten:
    message = parse(raw.encode() if isinstance(raw, str) else raw)
    return rewrite(message, tracking, URLS, TextPartCache())


def encoded(content: bytes, encoding: str | None) -> bytes:
    if encoding == "quoted-printable":
        return quopri.encodestring(content.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    if encoding == "base64":
        return base64.encodebytes(content).replace(b"\n", b"\r\n")
    return content


def entity(kind: str, content: bytes, encoding: str | None, charset: str | None = "utf-8") -> bytes:
    charset = "" if charset is None else f"; charset={charset}"
    header = f"Content-Type: {kind}{charset}\r\nX-Other: 1\r\n"
    if encoding is not None:
        header += f"Content-Transfer-Encoding: {encoding}\r\n"
    return header.encode() + b"\r\n" + encoded(content, encoding)


def read(message: Message) -> list[tuple[str, bytes]]:
    """Type and content of all leaves, as Python's email package reads them."""
    found = []
    for part in email.message_from_bytes(bytes(message)).walk():
        if not part.is_multipart():
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            found.append((part.get_content_type(), content))
    return found


def many(*entities: bytes, kind: str = "multipart/mixed", boundary: str = "=_b") -> bytes:
    delimiter = b"--" + boundary.encode()
    body = b"".join(delimiter + b"\r\n" + each + b"\r\n" for each in entities)
    return (
        f'Content-Type: {kind}; boundary="{boundary}"\r\n\r\n'.encode()
        + body
        + delimiter
        + b"--\r\n"
    )


def not_rewritten(raw: bytes, reason: str) -> None:
    """Checks that the mail stays as it is, and that a note has that reason."""
    found = done(raw)
    assert found.message == parse(raw)
    assert reason in [note.not_rewritten for note in found.notes]


def longest_line(content: bytes) -> int:
    """The length of the longest line in bytes, without its CRLF."""
    return max(map(len, content.split(b"\r\n")))
