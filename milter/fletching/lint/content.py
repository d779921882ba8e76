"""The texts of a mail as a mail program shows them: its HTML and text parts, decoded.

Here is what all rules about the content read. What breaks them is decided in `body.py` and
`unsubscribe.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from fletching.links import find
from fletching.links.page import Page, read_page
from fletching.links.urls import LinkOptions
from fletching.mail import charsets, mime, transfer
from fletching.mail.message import Message
from fletching.mail.mime import Part

_SHOWN = ("text/html", "text/plain")
_ENCRYPTED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
_LINKS = LinkOptions(clicks=True)


@dataclass(frozen=True, slots=True)
class Text:
    """One text part. ``size``: bytes decoded; ``encoded_size``: bytes as they are sent. ``page``:
    what HTML shows, None for plain text. ``urls``: where its links lead."""

    content_type: str
    size: int
    encoded_size: int
    text: str
    page: Page | None
    urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """The texts that are shown, in the order of the mail.

    ``unreadable``: content type and reason of each text part that cannot be decoded.
    ``undeclared``: content types of parts with 8-bit bytes that their header does not announce.
    """

    texts: tuple[Text, ...]
    unreadable: tuple[tuple[str, str], ...]
    undeclared: tuple[str, ...]

    @property
    def html(self) -> tuple[Text, ...]:
        return tuple(text for text in self.texts if text.page is not None)

    @property
    def plain(self) -> tuple[Text, ...]:
        return tuple(text for text in self.texts if text.page is None)

    @property
    def shown(self) -> str:
        """All words, HTML without its tags."""
        return "\n".join(each.page.text if each.page else each.text for each in self.texts)

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(url for each in self.texts for url in each.urls)


def read_content(message: Message) -> Content:
    """The texts of a mail. Nothing raises."""
    texts: list[Text] = []
    unreadable: list[tuple[str, str]] = []
    undeclared: list[str] = []
    for part in mime.parts(message):
        raw = message.body[part.start : part.end]
        if not part.container and part.encoding == "7bit" and not raw.isascii():
            undeclared.append(part.content_type)
        if not _is_shown(part):
            continue
        try:
            texts.append(_text(part, raw))
        except transfer.TransferError as wrong:
            unreadable.append((part.content_type, str(wrong)))
    return Content(tuple(texts), tuple(unreadable), tuple(undeclared))


def _is_shown(part: Part) -> bool:
    return (
        part.content_type in _SHOWN
        and not part.forwarded
        and not part.is_file
        and part.disposition in ("", "inline")
        and part.protected_by not in _ENCRYPTED
    )


def _text(part: Part, raw: bytes) -> Text:
    """Raises `TransferError`."""
    content = transfer.decode(raw, part.encoding)
    is_html = part.content_type == "text/html"
    label = part.parameters.get("charset")
    codec = charsets.codec(label) if label else charsets.guessed(content, html=is_html)
    if codec is None:
        raise transfer.TransferError("unknown charset")
    text = content.decode(codec, "replace")
    page = read_page(text) if is_html else None
    if page is not None:
        urls = tuple(link.url for link in page.links)
    else:
        urls = tuple(note.url for note in find.find_links("text/plain", text, _LINKS).notes)
    return Text(part.content_type, len(content), len(raw), text, page, urls)
