"""The links of an HTML text: found by the tokenizer, replaced in place.

Here lives what is known about HTML: which tags hold links, where in a tag an attribute stands, what
opts a link out, where the pixel may go. Nothing is serialised anew: all that leaves is splices into
the text as it came. What a mail is, and which URLs are ours to rewrite, may not be known here.
"""

from __future__ import annotations

import html as entities
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from turbohtml import Token, TokenType, tokenize

from fletching.links.splices import Found, Kind, Ledger, Splice
from fletching.links.urls import (
    BARE_UNSUBSCRIBE_TAG,
    IGNORE_CASE,
    NO_TRACK_SCHEME,
    UNSUBSCRIBE_TAG,
    Target,
    Wanted,
    begin,
    in_charset,
    judge,
    target,
    without_no_track,
)

# Looked up once: an enumeration's members cost a tenth of all the work when fetched per token.
_TEXT, _START_TAG = TokenType.TEXT, TokenType.START_TAG
_END_TAG, _COMMENT = TokenType.END_TAG, TokenType.COMMENT
_SPACE = "\t\n\f\r "
_RAW_NO_TRACK = re.compile(rf"[\x00-\x20]*+{NO_TRACK_SCHEME.pattern}", NO_TRACK_SCHEME.flags)
_NEWLINE = re.compile(r"\r\n?|\n")
_TAG_NAME = re.compile(r"<[^\t\n\f\r />]+")
# The attribute states of the tokenizer, run over a tag that is known to be complete: separators,
# a name (which may begin with "="), and perhaps a value in either quotes or in none.
_ATTRIBUTE = re.compile(
    r"""
    [\t\n\f\r /]*+
    ( [^\t\n\f\r />] [^\t\n\f\r />=]*+ )
    (?: [\t\n\f\r ]*+ = [\t\n\f\r ]*+ (?: "([^"]*+)" | '([^']*+)' | ([^\t\n\f\r >]*+) ) )?
    """,
    re.VERBOSE,
)
_NAME, _QUOTED = 1, (2, 3)
_CONDITION = re.compile(r"<!--\[if\b[^\]>]*+\]>", IGNORE_CASE)
# Without one of these, the inside of a condition is not worth reading.
_OF_INTEREST = re.compile(r"<(?:a|v:|/?opentag)", IGNORE_CASE)
# The raw text elements, whose content is not shown as the text of a link.
_HIDDEN = frozenset({"script", "style", "title", "noscript", "noembed", "noframes", "iframe"})
# What Outlook draws, and follows the `href` of: the elements of VML that have a shape of their own.
_SHAPES = frozenset(
    f"v:{name}"
    for name in (
        *("arc", "curve", "group", "image", "line"),
        *("oval", "polyline", "rect", "roundrect", "shape"),
    )
)
_LINKS = _SHAPES | {"a", "area"}
_LONGEST_KNOWN = 2000
_PROBE = "<fletching>"
_URL_BEGINS = re.compile(r"https?://|www\.", IGNORE_CASE)
_HOST = re.compile(r"[^/?#]++")
# What is not seen around a text, beside what str.strip() takes for space: soft hyphen, zero-width
# characters, byte order mark.
_UNSEEN = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"


class _Mark(NamedTuple):
    """An attribute that opts a link out: with that value, or with any (None)."""

    name: str
    value: str | None = None

    @property
    def text(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"

    def is_set(self, token: Token) -> bool:
        """Whether the tag is opted out by it; where it is repeated, the first one counts."""
        value = token.attr(self.name)
        return value is not None and self.value in (None, value.strip().lower())


_MARKS = {
    mark.name: mark
    for mark in (
        _Mark("data-fletching-track", "off"),
        _Mark("clicktracking", "off"),
        _Mark("data-msys-clicktrack", "0"),
        _Mark("ses:no-track"),
        _Mark("data-pm-no-track"),
        _Mark("mc:disable-tracking"),
        _Mark("data-mautic-disable-tracking"),
    )
}


class _Value(NamedTuple):
    """Where an attribute value stands, without its quotes."""

    start: int
    end: int
    quoted: bool


class _Tag(NamedTuple):
    """What a link's start tag says wherever it stands; places are places in the tag.

    ``marks``: where it is opted out, and ``opted_out`` by what. ``url``: what ``href`` holds.
    """

    href: _Value | None
    url: str
    marks: tuple[tuple[int, int], ...]
    opted_out: str | None


class _Link(NamedTuple):
    """A link that will be rewritten, unless its visible text turns out to be a URL."""

    tag: str
    url: str
    target: Target
    value: _Value
    words: list[str]


class _Lines:
    """Places in the page from the tokenizer's lines and columns.

    The tokenizer counts CRLF, CR and LF as one line end each and columns in characters, so a place
    found by line and column is right whatever line ends the page has. ``offset`` is where the text
    given to the tokenizer stands in the page. Each line's beginning is kept less one character for
    each line before it, which `range` adds: so that it is a sum of what `split` leaves.
    """

    def __init__(self, text: str, offset: int) -> None:
        if text.count("\r") == text.count("\r\n"):  # Four times as fast, and the usual case.
            self._starts = [*accumulate(map(len, text.split("\n")), initial=offset)]
        else:
            ends = (newline.end() - line for line, newline in enumerate(_NEWLINE.finditer(text), 1))
            self._starts = [offset, *(offset + end for end in ends)]

    def range(self, token: Token) -> tuple[int, int]:
        """Where a tag or a comment begins and ends."""
        source = token.source or ""
        line = token.line - 1
        start = self._starts[line] + line + token.col
        newlines = source.count("\n")
        if not newlines:
            return start, start + len(source)
        line += newlines
        return start, self._starts[line] + line + len(source) - source.rfind("\n") - 1


def read(text: str, wanted: Wanted) -> Found:
    """The links of an HTML text."""
    page = _Page(text + _PROBE, wanted)
    if page.read_probed():
        return page.found(len(text))
    # Read again without the probe, which may have completed a tag.
    page = _Page(text, wanted)
    page.read(0, len(text))
    return replace(page.found(len(text)), ends_open=True)


def read_on(text: str, wanted: Wanted) -> Found | None:
    """The links of a beginning of an HTML text, up to the end of a line.

    None where a link, a comment or the like is open there: more of it has to be read together.
    """
    page = _Page(text + _PROBE, wanted)
    if not page.read_probed() or page.ends_in_link:
        return None
    return page.found(len(text))


class _Page:
    """One HTML text while it is read; all places are places in the whole of it."""

    def __init__(self, text: str, wanted: Wanted) -> None:
        self._text = text
        self._wanted = wanted
        self._ledger = Ledger()
        self._open_tag: tuple[int, int] | None = None
        self._body_end: int | None = None
        self.ends_in_link = False

    def read_probed(self) -> bool:
        """Read the page, which ends with the probe; whether a tag may stand there.

        The probe is a tag, and at its place, only where no other, no comment and no raw text is
        open.
        """
        end = len(self._text)
        return self.read(0, end) == end - len(_PROBE)

    def read(self, start: int, end: int, *, conditional: bool = False) -> int | None:
        """Read that stretch of the page; where its last token stands if that is a start tag.

        ``conditional``: it is the inside of one of Outlook's conditional comments.
        """
        text = self._text[start:end]
        lines = _Lines(text, start)
        link: _Link | None = None
        hidden = False
        token = None
        for token in tokenize(text, capture_source=True):
            kind = token.type
            if kind is _TEXT:
                if link is not None and not hidden:
                    link.words.append(token.data or "")
            elif kind is _START_TAG:
                hidden = token.tag in _HIDDEN
                if token.tag in _LINKS:
                    self._settle(link)
                    link = self._link(token, lines)
                elif token.tag == "opentag":
                    self._remove_open_tag(*lines.range(token), conditional)
            elif kind is _END_TAG:
                hidden = False
                if link is not None and token.tag == link.tag:
                    self._settle(link)
                    link = None
                elif token.tag == "body" and not conditional:
                    self._body_end = lines.range(token)[0]
                elif token.tag == "opentag":
                    self._ledger.splice(*lines.range(token), "")
            elif kind is _COMMENT and not conditional:
                self._comment(token, lines)
        self._settle(link)
        self.ends_in_link = link is not None
        if token is None or token.type is not _START_TAG:
            return None
        return lines.range(token)[0]

    def found(self, length: int) -> Found:
        """All that was found in a text of that length."""
        splices = self._ledger.splices()
        pixel_place = None
        if self._open_tag is not None:
            pixel_place = splices.index(Splice(*self._open_tag, ""))
        return Found(splices, self._ledger.findings(), length, pixel_place, self._body_end)

    def _remove_open_tag(self, start: int, end: int, conditional: bool) -> None:
        self._ledger.splice(start, end, "")
        # In a conditional comment only Outlook would load it, and there is one for all readers.
        if self._open_tag is None and not conditional:
            self._open_tag = (start, end)

    def _comment(self, token: Token, lines: _Lines) -> None:
        source = token.source or ""
        if not source.startswith("<!--["):
            return
        start, end = lines.range(token)
        condition = _CONDITION.match(self._text, start, end)
        if condition is not None and _OF_INTEREST.search(source):
            # Of "--!>" a dash stays, which ends no tag.
            closing = 3 if source.endswith(("-->", "--!>")) else 0
            self.read(condition.end(), end - closing, conditional=True)

    def _link(self, token: Token, lines: _Lines) -> _Link | None:
        """Deal with a link's start tag; it is returned where its visible text decides."""
        start, end = lines.range(token)
        source = self._text[start:end]
        tag = _known_tag(source) if len(source) < _LONGEST_KNOWN else _tag(source)
        for mark in tag.marks:
            self._ledger.splice(start + mark[0], start + mark[1], "")
        if tag.href is None:
            return None
        href = _Value(start + tag.href.start, start + tag.href.end, tag.href.quoted)
        return self._href(token, href, tag.url, tag.opted_out)

    def _href(self, token: Token, value: _Value, url: str, opted_out: str | None) -> _Link | None:
        unsubscribe = UNSUBSCRIBE_TAG.match(url)
        if unsubscribe is not None:
            self._unsubscribe(value, url, without_no_track(url[unsubscribe.end() :]))
            return None
        if NO_TRACK_SCHEME.match(url):
            url = self._remove_no_track(value, url)
            opted_out = opted_out or "+notrack"
        found = f"opted out ({opted_out})" if opted_out else judge(url, self._wanted)
        if isinstance(found, str):
            self._ledger.leave(value.start, url, found)
            return None
        has_text = token.tag == "a" or (token.tag in _SHAPES and not token.self_closing)
        if has_text and self._wanted.preserve_visible_urls:
            return _Link(token.tag or "", url, found, value, [])
        self._track(value, Kind.CLICK, url)
        return None

    def _settle(self, link: _Link | None) -> None:
        """Decide about a link whose visible text is now complete."""
        if link is None:
            return
        if _shows_url("".join(link.words), link.target):
            self._ledger.leave(link.value.start, link.url, "visible URL")
        else:
            self._track(link.value, Kind.CLICK, link.url)

    def _unsubscribe(self, value: _Value, tagged: str, url: str) -> None:
        if isinstance(target(url), Target):
            self._track(value, Kind.UNSUBSCRIBE, url)
        else:
            self._ledger.leave(value.start, tagged, BARE_UNSUBSCRIBE_TAG)

    def _track(self, value: _Value, kind: Kind, url: str) -> None:
        destination = in_charset(url, self._wanted.charset)
        quote = "" if value.quoted else '"'
        self._ledger.track(value.start, value.end, kind, destination, quote)

    def _remove_no_track(self, value: _Value, url: str) -> str:
        """Take the suffix off the scheme, in the page and in the URL; the URL is returned."""
        plain = without_no_track(url)
        written = _RAW_NO_TRACK.match(self._text, value.start, value.end)
        if written is not None:
            self._ledger.splice(*written.span(1), "")
        else:  # Written with character references, or broken over lines.
            escaped = entities.escape(plain)
            new = escaped if value.quoted else f'"{escaped}"'
            self._ledger.splice(value.start, value.end, new)
        return plain


def _tag(source: str) -> _Tag:
    """Read a complete start tag."""
    token = next(iter(tokenize(source)))
    attributes = _attributes(source)
    names = [written[_NAME].lower() for written in attributes]
    marks = {name for name in _MARKS.keys() & names if _MARKS[name].is_set(token)}
    return _Tag(
        href=_value(attributes[names.index("href")]) if "href" in names else None,
        url=begin(token.attr("href") or ""),
        marks=tuple(_removals(source, attributes, marks)) if marks else (),
        opted_out=_MARKS[min(marks)].text if marks else None,
    )


# The mails of a campaign have most of their tags in common, to the letter.
_known_tag = lru_cache(maxsize=4096)(_tag)


def _removals(
    source: str, attributes: list[re.Match[str]], marks: set[str]
) -> Iterator[tuple[int, int]]:
    """What to cut so that the marks go."""
    for index, written in enumerate(attributes):
        if written[_NAME].lower() not in marks:
            continue
        following = attributes[index + 1][_NAME] if index + 1 < len(attributes) else ""
        # Before a name that begins with "=" the mark keeps two attributes apart; it stays.
        if not following.startswith("="):
            yield _removal(source, written.start(_NAME), written.end())


def _attributes(source: str) -> list[re.Match[str]]:
    """The attributes of a complete start tag, in order, repeated ones too."""
    name = _TAG_NAME.match(source)
    return [*_ATTRIBUTE.finditer(source, name.end())] if name else []


def _value(attribute: re.Match[str]) -> _Value:
    """Where the value of an attribute is; without one, the empty range behind the attribute."""
    group = attribute.lastindex or _NAME
    if group == _NAME:
        return _Value(attribute.end(), attribute.end(), quoted=False)
    return _Value(*attribute.span(group), quoted=group in _QUOTED)


def _removal(text: str, start: int, end: int) -> tuple[int, int]:
    """What to cut so that the attribute at that range goes and its neighbours stay apart."""
    if text[end] in _SPACE or text[end] == ">":
        while text[start - 1] in _SPACE:
            start -= 1
    return start, end


def _shows_url(words: str, found: Target) -> bool:
    """Whether the visible text of a link is a URL to its reader."""
    words = words.strip().strip(_UNSEEN).strip()
    if _URL_BEGINS.match(words):
        return True
    host = _HOST.match(words)
    if host is None or host[0].lower() not in found.names:
        return False
    without_fragment = found.rest.partition("#")[0]
    path = without_fragment.partition("?")[0]
    rest = words[host.end() :].rstrip("/")
    return rest in ("", path.rstrip("/"), without_fragment.rstrip("/"), found.rest.rstrip("/"))
