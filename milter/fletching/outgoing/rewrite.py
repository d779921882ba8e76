"""The body of a mail, part by part: which parts are rewritten, and which stay as they are.

Here lives what may be changed (docs/tracking.md), and the charset that a part is read in. How a
text is read and filled is in `text_parts.py`; no HTML is parsed here.
"""

from __future__ import annotations

from dataclasses import dataclass

from fletching.links import flowed
from fletching.links.splices import LinkNote, pixel_fits
from fletching.mail import charsets, mime, transfer
from fletching.mail.changed_parts import ChangedPart, with_changed_parts
from fletching.mail.message import Message
from fletching.mail.mime import Part
from fletching.outgoing.text_parts import NotRewrittenError, Piece, TextForm, TextPartCache
from fletching.outgoing.tracking_urls import MessageUrls
from fletching.policy.plan import Tracking

# Other types of parts with links that recipients follow. They must not be changed.
_WITH_LINKS = {"text/x-amp-html": "AMP", "text/calendar": "calendar"}
_ENDS_OPEN = "no open pixel: the HTML ends inside a tag, a comment or an element such as style"


@dataclass(frozen=True, slots=True)
class PartNote:
    """One part of the body: the links in it, or why it is not rewritten (else empty)."""

    content_type: str
    not_rewritten: str
    links: tuple[LinkNote, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The mail with its links rewritten, and a note about each part that may have links.

    ``encodings``: the Content-Transfer-Encodings of its parts, before and after; None if its parts
    were not looked at.
    """

    message: Message
    notes: tuple[PartNote, ...] = ()
    encodings: frozenset[str] | None = None


def rewrite(
    message: Message, tracking: Tracking, urls: MessageUrls, text_parts: TextPartCache
) -> Rewritten:
    """Rewrite the links of all text parts; the first HTML part gets the open pixel."""
    if not tracking.body:
        return Rewritten(message)
    if len(message.body) > tracking.largest:
        return Rewritten(message, (PartNote("message", "larger than max_rewrite_size"),))
    changes: list[ChangedPart] = []
    notes: list[PartNote] = []
    pixel, hidden_link = tracking.opens, tracking.trap and tracking.clicks
    no_pixel = "no open pixel: no HTML part may be changed"
    parts = mime.parts(message)
    for part in parts:
        if part.content_type not in ("text/html", "text/plain"):
            if part.protected_by and not part.container:
                notes.append(PartNote(part.content_type, f"in {part.protected_by}"))
            elif part.content_type in _WITH_LINKS and part.disposition in ("", "inline"):
                reason = _untouchable(part) or _WITH_LINKS[part.content_type]
                notes.append(PartNote(part.content_type, reason))
            continue
        try:
            form = _form(message.body, part, tracking, text_parts)
            raw = message.body[part.start : part.end]
            pieces = text_parts.read(form, raw)
            pixel_has_place = pixel_fits([piece.links for piece in pieces])
            if part.content_type == "text/html":
                pieces = text_parts.with_pixel(pieces, pixel, hidden_link)
            change = _changed(part, raw, pieces, urls, text_parts)
        except NotRewrittenError as reason:
            notes.append(PartNote(part.content_type, str(reason)))
            continue
        links = tuple(link for piece in pieces for link in piece.links.notes)
        notes.append(PartNote(part.content_type, "", links))
        if part.content_type == "text/html":
            pixel, hidden_link = pixel and not pixel_has_place, hidden_link and not pixel_has_place
            no_pixel = no_pixel if pixel_has_place else _ENDS_OPEN
        if change is not None:
            changes.append(change)
    if pixel:
        notes.append(PartNote("message", no_pixel))
    encodings = {part.encoding for part in parts} | {change.encoding for change in changes}
    message = with_changed_parts(message, parts, changes)
    return Rewritten(message, tuple(notes), frozenset(encodings))


def _form(body: bytes, part: Part, tracking: Tracking, text_parts: TextPartCache) -> TextForm:
    """How the part is read. Raises `NotRewrittenError`."""
    if reason := _untouchable(part):
        raise NotRewrittenError(reason)
    options = text_parts.options(
        tracking.clicks and (tracking.text or part.content_type == "text/html"),
        tracking.own_hosts,
        tracking.untracked_hosts,
        tracking.preserve_visible_urls,
        _charset(part, body[part.start : part.end]),
        part.content_type == "text/plain" and flowed.delsp(part.parameters),
    )
    if part.encoding not in transfer.ENCODINGS:
        raise NotRewrittenError("unknown Content-Transfer-Encoding")
    return text_parts.form(part.content_type, part.encoding, options)


def _changed(
    part: Part, raw: bytes, pieces: list[Piece], urls: MessageUrls, text_parts: TextPartCache
) -> ChangedPart | None:
    """The part with its tracking URLs, None if nothing changes. Raises `NotRewrittenError`."""
    if not any(piece.links.splices for piece in pieces):
        return None
    content = text_parts.fill(pieces, urls)
    return ChangedPart(
        part, *transfer.encoded(content, part.encoding, ends_line=raw.endswith(b"\r\n"))
    )


def _untouchable(part: Part) -> str:
    """Why nothing in the part may be changed, whatever its content is; else empty."""
    return (
        (part.protected_by and f"in {part.protected_by}")
        or (part.forwarded and "in message/rfc822")
        # RFC 2183 section 2.8: an unknown disposition counts as attachment.
        or ((part.is_file or part.disposition not in ("", "inline")) and "attachment")
        or part.fault
        or (part.start == part.end and "empty")
        or ""
    )


def _charset(part: Part, raw: bytes) -> str:
    """Python's name for the charset of a part. Raises `NotRewrittenError`."""
    label = part.parameters.get("charset")
    if label is None:
        return _undeclared(part, raw)
    codec = charsets.codec(label)
    if codec is None:
        raise NotRewrittenError("unknown charset")
    return codec


def _undeclared(part: Part, raw: bytes) -> str:
    """The same if the header names no charset: as the HTML says, else UTF-8 or ASCII."""
    try:
        content = transfer.decode(raw, part.encoding)
    except transfer.TransferError as error:
        raise NotRewrittenError(str(error)) from None
    return charsets.guessed(content, html=part.content_type == "text/html")
