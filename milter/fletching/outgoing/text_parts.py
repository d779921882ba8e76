"""A text part in stretches, each of which is read once for all mails that have it.

The mails of a campaign resemble each other: most of their lines are the same, here stands a name,
there a link of the reader's own. So a part is cut behind line ends, and what was found in a stretch
is remembered with it; only the tracking URLs are made for each mail. What comes out is what reading
the part in one piece gives, to the octet.

Here lives where a part may be cut, how much is remembered, and how a stretch keeps its form. What a
link is, `links.py` knows; what may be touched at all, `rewrite.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import groupby, pairwise

from fletching import tokens
from fletching.links import find
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
from fletching.outgoing.tracking_urls import Ends, Urls

_SHORTEST, _LONGEST_KNOWN, _LONGEST_CUT = 512, 2048, 200_000
"""Octets: of a stretch that is not a part's last, of one that is remembered, of a part that is cut.
What is longer would push out the stretches of everybody else."""
_MOST_LINKS = 32
"""And splices, of a stretch that is remembered."""
_KNOWN, _SEEN = 2048, 50_000
"""Stretches that are remembered, and those of which is known that they came once."""

# Where a stretch is likely to be complete; whether it is, the readers know. Some octets in front of
# a CRLF may make a soft line break of quoted-printable of it.
_LINE_END = rb"\r\n(?<![= \t]\r\n)"
_CUTS = {
    "text/html": re.compile(
        _LINE_END + rb"(?=<(?:table|tbody|tr|td|div|p|!--)[ >\r\[])", re.IGNORECASE
    ),
    "text/plain": re.compile(_LINE_END + rb"\r\n"),
}
_OCTETS = bytes(range(256))
_CUTTABLE = transfer.IDENTITY | {"quoted-printable"}
_PGP = "-----BEGIN PGP "
_INLINE_PGP = {
    "text/plain": re.compile(r"^-----BEGIN PGP (?:SIGNED )?MESSAGE-----", re.MULTILINE),
    "text/html": re.compile(r"(?:^|>)-----BEGIN PGP (?:SIGNED )?MESSAGE-----", re.MULTILINE),
}

_TOKENS = {
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
# A link that leads nowhere and that nobody sees, hears or reaches by keyboard.
_TRAP = Splice(
    *(0, 0, '<a href="', Link(LinkKind.CLICK, "")),
    '" aria-hidden="true" tabindex="-1" style="display:none;mso-hide:all"></a>',
)


class LeftAloneError(Exception):
    """The part stays as it is. Says why."""


@dataclass(frozen=True, eq=False)
class Made:
    """A stretch as it leaves: ``octets`` with a link in each gap.

    Each link has what stands on both sides of its tracking URL.
    """

    octets: Sequence[bytes]
    links: Sequence[tuple[str, Link, str]]


@dataclass(frozen=True, eq=False)
class Stretch:
    """A stretch of a part as it was read; ``made`` where it is remembered."""

    raw: bytes
    found: TextLinks
    made: Made | None = None


OfCampaign = tuple[tuple[tokens.Purpose, tuple[bytes, ...]], ...]
"""A stretch as all mails of a campaign have it, in runs: octets, and between each two of them the
message's half of that purpose."""


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads parts of one form: what one reader has read it knows, but no other one."""

    content_type: str
    encoding: str
    wanted: LinkOptions

    def read(self, raw: bytes) -> list[Stretch]:
        """A part from its beginning to its end. Raises `LeftAloneError`."""
        stretches: list[Stretch] = []
        at = 0
        while at < len(raw) or not stretches:
            end = self._cut(raw, at + _SHORTEST)
            while (stretch := _memory.read(self, raw[at:end], end < len(raw))) is None:
                # Twice as much each time, so that all attempts together stay linear.
                end = self._cut(raw, 2 * end - at)
            stretches.append(stretch)
            at = end
        return stretches

    def with_pixel(self, page: Sequence[Stretch], pixel: bool, trap: bool) -> list[Stretch]:
        """A page with the open pixel in its place, and at its end a link that no person sees."""
        found = [stretch.found for stretch in page]
        changed = list(page)
        wanted = additions(found, _PIXEL if pixel else None, (_TRAP,) if trap else ())
        for at, addition in wanted.items():
            add = _with if page[at].made is None else _memory.with_addition
            changed[at] = add(self, page[at], addition)
        return changed

    def filled(self, stretches: Sequence[Stretch], urls: Urls) -> bytes:
        """The part with its tracking URLs. Raises `LeftAloneError`."""
        pieces: list[bytes] = []
        halves: dict[tokens.Purpose, bytes] = {}
        for stretch in stretches:
            made = stretch.made or self.make(stretch)
            if not made.links:
                pieces.append(made.octets[0])
                continue
            of_campaign = Reader.of_campaign if stretch.made is None else _memory.of_campaign
            for purpose, octets in of_campaign(self, made, urls.ends):
                own = halves.get(purpose)
                if own is None:
                    own = halves[purpose] = self._between_ends(urls.half(purpose))
                pieces.append(own.join(octets))
        return b"".join(pieces)

    def of_campaign(self, made: Made, ends: Ends) -> OfCampaign:
        """The stretch with all of its tracking URLs that is the same for a campaign."""
        pieces = [made.octets[0]]
        purposes: list[tokens.Purpose] = []
        for (text, link, behind), octets in zip(made.links, made.octets[1:], strict=True):
            kind = _TOKENS[self.content_type, link.kind]
            begin, end = ends(kind, link.url)
            pieces[-1] += _known_filling((text + begin).encode("ascii"), self.encoding)
            filling = transfer.filling((end + behind).encode("ascii"), self.encoding)
            pieces.append(filling + octets)
            purposes.append(tokens.PURPOSES[kind])
        return tuple(_runs(purposes, pieces))

    def _between_ends(self, half: str) -> bytes:
        """In quoted-printable each of the three is on lines of its own."""
        soft_break = b"=\r\n" if self.encoding == "quoted-printable" else b""
        return soft_break + transfer.filling(half.encode("ascii"), self.encoding) + soft_break

    @cached_property
    def _cuttable(self) -> bool:
        # Others have states, or two codes for one character: whether those can be kept is a
        # question to the whole part (`_patches`).
        charset = self.wanted.charset
        clear = charset == "utf-8" or len(_OCTETS.decode(charset, "replace")) == len(_OCTETS)
        return clear and self.encoding in _CUTTABLE

    def _cut(self, raw: bytes, least: int) -> int:
        """Where the first stretch may end that ends there at least."""
        if not self._cuttable or len(raw) > _LONGEST_CUT:
            return len(raw)
        cut = _CUTS[self.content_type].search(raw, least)
        return cut.end() if cut else len(raw)

    def read_anew(self, raw: bytes, goes_on: bool) -> Stretch | None:
        """A stretch; None where more has to be read together. Raises `LeftAloneError`."""
        _, text = self._text(raw)
        if _PGP in text and _INLINE_PGP[self.content_type].search(text):
            raise LeftAloneError("inline PGP")
        read = find.find_links_of_beginning if goes_on else find.find_links
        found = read(self.content_type, text, self.wanted)
        return None if found is None else Stretch(raw, found)

    def make(self, stretch: Stretch) -> Made:
        """How it leaves. Raises `LeftAloneError`."""
        splices = stretch.found.splices
        links = [(text, link, behind) for _, _, text, link, behind in splices if link is not None]
        patches = self._patches(*self._text(stretch.raw), splices) if splices else []
        return Made(transfer.patched(stretch.raw, self.encoding, patches), links)

    def _text(self, raw: bytes) -> tuple[bytes, str]:
        """The content in octets and as text. Raises `LeftAloneError`."""
        try:
            content = transfer.decode(raw, self.encoding)
        except transfer.TransferError as error:
            raise LeftAloneError(str(error)) from None
        try:
            return content, content.decode(
                self.wanted.charset, charsets.errors(self.wanted.charset)
            )
        except UnicodeError:
            raise LeftAloneError("broken encoding") from None

    def _patches(
        self, content: bytes, text: str, splices: Sequence[Splice]
    ) -> list[transfer.Patch]:
        """Places in the text as places in its octets. Raises `LeftAloneError`.

        The text is encoded again between the splices; octets that do not come out as they went in
        (a charset with states, two codes for one character) would not stay as they are.
        """
        # Where the charset lacks a character, HTML can still name it.
        errors = "xmlcharrefreplace" if self.content_type == "text/html" else "strict"
        cuts = [0, *(place for splice in splices for place in splice[:2]), len(text)]
        try:
            kept = charsets.errors(self.wanted.charset)
            encoded = [
                text[start:end].encode(self.wanted.charset, kept) for start, end in pairwise(cuts)
            ]
            news = [
                splice.text.encode(self.wanted.charset, errors) if splice.link is None else None
                for splice in splices
            ]
        except UnicodeError:
            raise LeftAloneError("broken encoding") from None
        if b"".join(encoded) != content:
            raise LeftAloneError("charset cannot be kept")
        patches: list[transfer.Patch] = []
        place = 0
        for before, gone, new in zip(encoded[::2], encoded[1::2], news, strict=False):
            start = place + len(before)
            place = start + len(gone)
            patches.append(transfer.Patch(start, place, new))
        return patches


# Most tracking URLs of a campaign begin alike.
_known_filling = lru_cache(maxsize=256)(transfer.filling)


def _runs(
    purposes: Sequence[tokens.Purpose], pieces: Sequence[bytes]
) -> Iterator[tuple[tokens.Purpose, tuple[bytes, ...]]]:
    """The pieces with the purposes between them, put together where the same one follows."""
    before, at = pieces[0], 1
    for purpose, same in groupby(purposes):
        end = at + len(list(same))
        yield purpose, (before, *pieces[at:end])
        before, at = b"", end


class _Memory:
    """What was read, for the next mail that has it. Any number of threads may ask.

    Only what comes a second time is remembered: what one mail alone has, a name or a link, would
    push out what all have, and keep the garbage collector busy. A stretch takes some thousand
    octets, and so much again as campaigns have it, so this is seldom more than twenty MB; were all
    full of links, it would be seventy.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._known = lru_cache(maxsize=_KNOWN)(_whole)
        self.with_addition = lru_cache(maxsize=_KNOWN)(_with)
        self.of_campaign = lru_cache(maxsize=2 * _KNOWN)(Reader.of_campaign)

    def read(self, reader: Reader, raw: bytes, goes_on: bool) -> Stretch | None:
        """As `Reader.read_anew`."""
        mark = hash((reader, raw, goes_on))
        if mark in self._seen:
            return self._known(reader, raw, goes_on)
        stretch = reader.read_anew(raw, goes_on)
        found = stretch.found if stretch else TextLinks((), (), 0)
        few = max(len(found.splices), len(found.notes)) <= _MOST_LINKS
        if few and len(raw) <= _LONGEST_KNOWN:
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen.add(mark)
        return stretch


def _whole(reader: Reader, raw: bytes, goes_on: bool) -> Stretch | None:
    stretch = reader.read_anew(raw, goes_on)
    return stretch and replace(stretch, made=reader.make(stretch))


def _with(reader: Reader, stretch: Stretch, addition: Addition) -> Stretch:
    found = with_addition(stretch.found, addition)
    changed = Stretch(stretch.raw, found)
    return changed if stretch.made is None else replace(changed, made=reader.make(changed))


_memory = _Memory()
