"""The body of a mail, part by part: which parts are rewritten, and how a part keeps its form.

Here lives what may be touched (docs/tracking.md) and how a changed part goes back among the others,
so that everything else stays as it is to the octet. How a part is read is in `stretches.py`; no
HTML is looked at here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from fletching.links import flowed
from fletching.links.splices import LinkNote, pixel_fits
from fletching.links.urls import LinkOptions
from fletching.mail import charsets, mime, transfer
from fletching.mail.changed_parts import ChangedPart, with_changed_parts
from fletching.mail.message import Message
from fletching.mail.mime import Part
from fletching.outgoing.text_parts import LeftAloneError, Reader
from fletching.outgoing.tracking_urls import Urls
from fletching.policy.plan import Tracking

# Parts of other types that readers follow links in, and that nobody may touch.
_WITH_LINKS = {"text/x-amp-html": "AMP", "text/calendar": "calendar"}
_ENDS_OPEN = "no open pixel: the HTML ends inside a tag, a comment or an element such as style"


@dataclass(frozen=True, slots=True)
class PartNote:
    """What became of one part: the links in it, or why it was left alone."""

    content_type: str
    left_alone: str
    links: tuple[LinkNote, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The mail with its links rewritten, and a note for each part that could have been.

    ``labels``: the encodings that its parts had or have; None where nobody had to look.
    """

    message: Message
    notes: tuple[PartNote, ...] = ()
    labels: frozenset[str] | None = None


def rewrite(message: Message, tracking: Tracking, urls: Urls) -> Rewritten:
    """Rewrites the links of all text parts; pixel and trap go into the first HTML part."""
    if not tracking.body:
        return Rewritten(message)
    if len(message.body) > tracking.largest:
        return Rewritten(message, (PartNote("message", "larger than max_rewrite_size"),))
    changes: list[ChangedPart] = []
    notes: list[PartNote] = []
    pixel, trap = tracking.opens, tracking.trap and tracking.clicks
    no_pixel = "no HTML part that an open pixel may go into"
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
            change, findings, ends_open = _part(message.body, part, tracking, urls, pixel, trap)
        except LeftAloneError as reason:
            notes.append(PartNote(part.content_type, str(reason)))
            continue
        notes.append(PartNote(part.content_type, "", findings))
        if part.content_type == "text/html":
            pixel, trap = pixel and ends_open, trap and ends_open
            no_pixel = _ENDS_OPEN if ends_open else no_pixel
        if change is not None:
            changes.append(change)
    if pixel:
        notes.append(PartNote("message", no_pixel))
    labels = {part.encoding for part in parts} | {change.encoding for change in changes}
    return Rewritten(with_changed_parts(message, parts, changes), tuple(notes), frozenset(labels))


def _part(
    body: bytes, part: Part, tracking: Tracking, urls: Urls, pixel: bool, trap: bool
) -> tuple[ChangedPart | None, tuple[LinkNote, ...], bool]:
    """The part rewritten, None if nothing changes; its links; whether it lacks a place for a pixel.

    Raises `LeftAloneError`.
    """
    if reason := _untouchable(part):
        raise LeftAloneError(reason)
    raw = body[part.start : part.end]
    wanted = _wanted(
        tracking.clicks and (tracking.text or part.content_type == "text/html"),
        tracking.own_hosts,
        tracking.untracked_hosts,
        tracking.preserve_visible_urls,
        _charset(part, raw),
        part.content_type == "text/plain" and flowed.delsp(part.parameters),
    )
    if part.encoding not in transfer.ENCODINGS:
        raise LeftAloneError("unknown Content-Transfer-Encoding")
    reader = _reader(part.content_type, part.encoding, wanted)
    stretches = reader.read(raw)
    ends_open = not pixel_fits([stretch.found for stretch in stretches])
    if part.content_type == "text/html":
        stretches = reader.with_pixel(stretches, pixel, trap)
    findings = tuple(finding for stretch in stretches for finding in stretch.found.notes)
    if not any(stretch.found.splices for stretch in stretches):
        return None, findings, ends_open
    content = reader.filled(stretches, urls)
    octets, encoding = transfer.encoded(content, part.encoding, raw.endswith(b"\r\n"))
    return ChangedPart(part, octets, encoding), findings, ends_open


# The mails of a campaign are read by the same readers, which know what they have read.
_wanted = lru_cache(maxsize=256)(LinkOptions)
_reader = lru_cache(maxsize=256)(Reader)


def _untouchable(part: Part) -> str:
    """Why nothing in the part may be changed, whatever it holds; else empty."""
    return (
        (part.protected_by and f"in {part.protected_by}")
        or (part.forwarded and "in message/rfc822")
        # RFC 2183 section 2.8: an unknown disposition is one, too.
        or ((part.is_file or part.disposition not in ("", "inline")) and "attachment")
        or part.fault
        or (part.start == part.end and "empty")
        or ""
    )


def _charset(part: Part, raw: bytes) -> str:
    """The codec of a part's charset. Raises `LeftAloneError`."""
    label = part.parameters.get("charset")
    if label is None:
        return _undeclared(part, raw)
    codec = charsets.codec(label)
    if codec is None:
        raise LeftAloneError("unknown charset")
    return codec


def _undeclared(part: Part, raw: bytes) -> str:
    """The same where the header names none: as the HTML does, else UTF-8 if it is that."""
    try:
        content = transfer.decode(raw, part.encoding)
    except transfer.TransferError as error:
        raise LeftAloneError(str(error)) from None
    return charsets.guessed(content, html=part.content_type == "text/html")
