"""The HTML or plain text of a part: read in pieces, and filled with tracking URLs.

The mails of a campaign resemble each other: most of their lines are the same, and a few hold a name
or a link of one recipient. So a part is cut into pieces behind line ends, and a `TextPartCache`
remembers what is in each piece. The result is the same, byte for byte, as if the part had been read
in one piece.

Here lives where a part may be cut, what is remembered, and how a changed piece keeps its encoding
and charset. What a link is, is in `links`; which parts may be changed, in `rewrite.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby, pairwise

from fletching import tokens
from fletching.links.find import find_links, find_links_of_beginning
from fletching.links.splices import (
    Addition,
    Link,
    LinkKind,
    Splice,
    TextLinks,
    additions,
    with_addition,
)
from fletching.links.urls import LinkOptions
from fletching.mail import charsets, transfer
from fletching.outgoing.tracking_urls import CampaignUrls, Ends, MessageUrls

_SHORTEST_PIECE, _LONGEST_CUT = 512, 200_000
"""Bytes: of a piece at least, but for the last one of a part; of a part that is cut, at most."""

_LONGEST_REMEMBERED, _MOST_LINKS = 2048, 32
"""Bytes and links of a piece that is remembered, at most. Larger ones take too much memory."""

_FORMS, _PIECES, _WITH_ADDITIONS, _IN_CAMPAIGNS, _CAMPAIGNS = 256, 2048, 256, 4096, 1024
"""How many of each are remembered."""

# Where a part may be cut. Whether the piece is complete there, `links` knows. With some characters
# before it, a CRLF may be part of a soft line break of quoted-printable.
_LINE_END = rb"\r\n(?<![= \t]\r\n)"
_CUTS = {
    "text/html": re.compile(
        _LINE_END + rb"(?=<(?:table|tbody|tr|td|div|p|!--)[ >\r\[])", re.IGNORECASE
    ),
    "text/plain": re.compile(_LINE_END + rb"\r\n"),
}
_ALL_BYTES = bytes(range(256))
_CUTTABLE = transfer.IDENTITY | {"quoted-printable"}
_PGP = "-----BEGIN PGP "
_INLINE_PGP = {
    "text/plain": re.compile(r"^-----BEGIN PGP (?:SIGNED )?MESSAGE-----", re.MULTILINE),
    "text/html": re.compile(r"(?:^|>)-----BEGIN PGP (?:SIGNED )?MESSAGE-----", re.MULTILINE),
}

_TOKEN_KINDS = {
    ("text/html", LinkKind.CLICK): tokens.Kind.CLICK_HTML,
    ("text/plain", LinkKind.CLICK): tokens.Kind.CLICK_TEXT,
    ("text/html", LinkKind.UNSUBSCRIBE): tokens.Kind.UNSUBSCRIBE_HTML,
    ("text/plain", LinkKind.UNSUBSCRIBE): tokens.Kind.UNSUBSCRIBE_TEXT,
    ("text/html", LinkKind.OPEN): tokens.Kind.OPEN,
}

_PIXEL = Splice(
    *(0, 0, '<img src="', Link(LinkKind.OPEN, "")),
    '" width="1" height="1" alt="" border="0" style="border:0;width:1px;height:1px">',
)
# A link without destination that nobody can see, hear or reach with the keyboard.
_HIDDEN_LINK = Splice(
    *(0, 0, '<a href="', Link(LinkKind.CLICK, "")),
    '" aria-hidden="true" tabindex="-1" style="display:none;mso-hide:all"></a>',
)


class NotRewrittenError(Exception):
    """The part stays as it is. The message says why."""


@dataclass(frozen=True, eq=False)
class TextForm:
    """What a text is like, and which of its links are rewritten."""

    content_type: str
    encoding: str
    options: LinkOptions

    @cached_property
    def may_be_cut(self) -> bool:
        # Other charsets have states, or two codes for one character: whether a change is possible
        # shows only in the whole part (`_patches`).
        charset = self.options.charset
        one_to_one = len(_ALL_BYTES.decode(charset, "replace")) == len(_ALL_BYTES)
        return (one_to_one or charset == "utf-8") and self.encoding in _CUTTABLE

    def decode(self, raw: bytes) -> tuple[bytes, str]:
        """The content in bytes and as text. Raises `NotRewrittenError`."""
        charset = self.options.charset
        try:
            content = transfer.decode(raw, self.encoding)
        except transfer.TransferError as error:
            raise NotRewrittenError(str(error)) from None
        try:
            return content, content.decode(charset, charsets.errors(charset))
        except UnicodeError:
            raise NotRewrittenError("invalid bytes for its charset") from None


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """A piece of a part, as sent, and its links. ``small``: it may be remembered."""

    form: TextForm
    raw: bytes
    links: TextLinks
    small: bool


CampaignPiece = tuple[tuple[tokens.Purpose | None, tuple[bytes, ...]], ...]
"""A piece as it is in all mails of a campaign: runs of bytes, and between two of them goes the
message's half of a token of that purpose. None: there is only one run and nothing goes between."""


class TextPartCache:
    """Reads text parts, and remembers their pieces for the next mail that has them.

    Each worker makes one and passes it to `flow.carry` with each mail; several threads may use it.
    A piece takes a few kB, so all of it is seldom more than twenty MB; if all pieces were full of
    links, it would be some eighty MB. What leaves is the same with any cache.

    ``shortest_piece``: bytes of a piece, at least. ``longest_cut``: bytes of a part that is cut
    into pieces, at most.
    """

    def __init__(
        self, *, shortest_piece: int = _SHORTEST_PIECE, longest_cut: int = _LONGEST_CUT
    ) -> None:
        self._shortest_piece = shortest_piece
        self._longest_cut = longest_cut
        self._small_piece = lru_cache(maxsize=_PIECES)(_small_piece)
        self._with_addition = lru_cache(maxsize=_WITH_ADDITIONS)(_with_addition)
        self._in_campaign = lru_cache(maxsize=_IN_CAMPAIGNS)(_in_campaign)
        # The keys above are compared by identity: equal values have to be the same object.
        self.options = lru_cache(maxsize=_FORMS)(LinkOptions)
        self.form = lru_cache(maxsize=_FORMS)(TextForm)
        self.campaign_urls = lru_cache(maxsize=_CAMPAIGNS)(CampaignUrls)

    def read(self, form: TextForm, raw: bytes) -> list[Piece]:
        """The pieces of a part, from its beginning to its end. Raises `NotRewrittenError`."""
        pieces: list[Piece] = []
        at = 0
        while at < len(raw) or not pieces:
            end = self._cut(form, raw, at + self._shortest_piece)
            while (piece := self._piece(form, raw[at:end], end == len(raw))) is None:
                # Twice as much each time, so that all attempts together are linear.
                end = self._cut(form, raw, 2 * end - at)
            pieces.append(piece)
            at = end
        return pieces

    def with_pixel(self, page: Sequence[Piece], pixel: bool, hidden_link: bool) -> list[Piece]:
        """The page with the open pixel, and at its end a link that no person sees."""
        changed = list(page)
        last = (_HIDDEN_LINK,) if hidden_link else ()
        added = additions([piece.links for piece in page], _PIXEL if pixel else None, last)
        for at, addition in added.items():
            add = self._with_addition if page[at].small else _with_addition
            changed[at] = add(page[at], addition)
        return changed

    def fill(self, pieces: Sequence[Piece], urls: MessageUrls) -> bytes:
        """The part with its tracking URLs. Raises `NotRewrittenError`."""
        content: list[bytes] = []
        halves: dict[tokens.Purpose, bytes] = {}
        for piece in pieces:
            in_campaign = self._in_campaign if piece.small else _in_campaign
            for purpose, run in in_campaign(piece, urls.ends):
                if purpose is None:
                    content += run
                    continue
                half = halves.get(purpose)
                if half is None:
                    half = halves[purpose] = _between(urls.half(purpose), piece.form.encoding)
                content.append(half.join(run))
        return b"".join(content)

    def _cut(self, form: TextForm, raw: bytes, least: int) -> int:
        """Where a piece may end: the first cut from ``least`` on."""
        if not form.may_be_cut or len(raw) > self._longest_cut:
            return len(raw)
        cut = _CUTS[form.content_type].search(raw, least)
        return cut.end() if cut else len(raw)

    def _piece(self, form: TextForm, raw: bytes, is_last: bool) -> Piece | None:
        """As `_read_piece`."""
        if len(raw) > _LONGEST_REMEMBERED:
            return _read_piece(form, raw, is_last)
        try:
            return self._small_piece(form, raw, is_last)
        except _TooManyLinksError as error:
            return error.piece


class _TooManyLinksError(Exception):
    """The piece is not small. What raises is not remembered by `lru_cache`."""

    def __init__(self, piece: Piece) -> None:
        self.piece = piece


def _small_piece(form: TextForm, raw: bytes, is_last: bool) -> Piece | None:
    """As `_read_piece`. Raises `_TooManyLinksError` for a piece that is not small."""
    piece = _read_piece(form, raw, is_last)
    if piece is not None and not piece.small:
        raise _TooManyLinksError(piece)
    return piece


def _read_piece(form: TextForm, raw: bytes, is_last: bool) -> Piece | None:
    """A piece; None if the text is not complete at its end. Raises `NotRewrittenError`."""
    _, text = form.decode(raw)
    if _PGP in text and _INLINE_PGP[form.content_type].search(text):
        raise NotRewrittenError("inline PGP")
    find = find_links if is_last else find_links_of_beginning
    links = find(form.content_type, text, form.options)
    if links is None:
        return None
    few_links = max(len(links.splices), len(links.notes)) <= _MOST_LINKS
    return Piece(form, raw, links, few_links and len(raw) <= _LONGEST_REMEMBERED)


def _with_addition(piece: Piece, addition: Addition) -> Piece:
    return Piece(piece.form, piece.raw, with_addition(piece.links, addition), piece.small)


def _in_campaign(piece: Piece, ends: Ends) -> CampaignPiece:
    """The piece with all of its tracking URLs that is the same in a campaign.

    Raises `NotRewrittenError`.
    """
    form, splices = piece.form, piece.links.splices
    patches = _patches(form, *form.decode(piece.raw), splices) if splices else []
    before, *others = transfer.patched(piece.raw, form.encoding, patches)
    runs = [before]
    purposes: list[tokens.Purpose] = []
    links = ((text, link, behind) for _, _, text, link, behind in splices if link is not None)
    for (text, link, behind), after in zip(links, others, strict=True):
        kind = _TOKEN_KINDS[form.content_type, link.kind]
        begin, end = ends(kind, link.url)
        runs[-1] += transfer.filling((text + begin).encode("ascii"), form.encoding)
        runs.append(transfer.filling((end + behind).encode("ascii"), form.encoding) + after)
        purposes.append(tokens.PURPOSES[kind])
    return tuple(_joined(purposes, runs)) if purposes else ((None, (before,)),)


def _joined(
    purposes: Sequence[tokens.Purpose], runs: Sequence[bytes]
) -> Iterator[tuple[tokens.Purpose, tuple[bytes, ...]]]:
    """The runs with the purposes between them, joined where a purpose follows itself."""
    before, at = runs[0], 1
    for purpose, same in groupby(purposes):
        end = at + len(list(same))
        yield purpose, (before, *runs[at:end])
        before, at = b"", end


def _between(half: str, encoding: str) -> bytes:
    """The message's half of a token between two runs; in quoted-printable on lines of its own."""
    soft_break = b"=\r\n" if encoding == "quoted-printable" else b""
    return soft_break + transfer.filling(half.encode("ascii"), encoding) + soft_break


def _patches(
    form: TextForm, content: bytes, text: str, splices: Sequence[Splice]
) -> list[transfer.Patch]:
    """The splices of the text as patches of its bytes. Raises `NotRewrittenError`.

    The text between the splices is encoded again. If that does not give the same bytes (a charset
    with states, two codes for one character), the part has to stay as it is.
    """
    charset = form.options.charset
    # If the charset lacks a character, HTML can still name it.
    errors = "xmlcharrefreplace" if form.content_type == "text/html" else "strict"
    cuts = [0, *(offset for splice in splices for offset in splice[:2]), len(text)]
    try:
        same = charsets.errors(charset)
        encoded = [text[start:end].encode(charset, same) for start, end in pairwise(cuts)]
        new = [
            splice.text.encode(charset, errors) if splice.link is None else None
            for splice in splices
        ]
    except UnicodeError:
        raise NotRewrittenError("invalid bytes for its charset") from None
    if b"".join(encoded) != content:
        raise NotRewrittenError("charset cannot be encoded again without changes")
    patches: list[transfer.Patch] = []
    end = 0
    for kept, removed, added in zip(encoded[::2], encoded[1::2], new, strict=False):
        start = end + len(kept)
        end = start + len(removed)
        patches.append(transfer.Patch(start, end, added))
    return patches
