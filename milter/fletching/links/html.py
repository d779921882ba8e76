"""The links of an HTML text: found by the tokenizer, replaced in place.

Here lives which tags are links, how their visible text counts, what Outlook's conditional comments
hold, and where the open pixel may go. Nothing is serialised again: the result is splices into the
original text. What a mail is, and which URLs may be rewritten, may not be known here.
"""

from __future__ import annotations

import html as entities
import re
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from turbohtml import Token, TokenType, tokenize

from fletching.links.html_tags import Value, read_tag
from fletching.links.splices import LinkCollector, LinkKind, Splice, TextLinks
from fletching.links.urls import (
    BARE_UNSUBSCRIBE_TAG,
    IGNORE_CASE,
    NO_TRACK_SCHEME,
    UNSUBSCRIBE_TAG,
    LinkOptions,
    Target,
    in_charset,
    target,
    tracked_target,
    without_no_track,
)

# Looked up once: to fetch the members of an enumeration for each token takes a tenth of the time.
_TEXT, _START_TAG = TokenType.TEXT, TokenType.START_TAG
_END_TAG, _COMMENT = TokenType.END_TAG, TokenType.COMMENT
_RAW_NO_TRACK = re.compile(rf"[\x00-\x20]*+{NO_TRACK_SCHEME.pattern}", NO_TRACK_SCHEME.flags)
_NEWLINE = re.compile(r"\r\n?|\n")
_CONDITION = re.compile(r"<!--\[if\b[^\]>]*+\]>", IGNORE_CASE)
# Only a conditional comment with one of these has to be read.
_OF_INTEREST = re.compile(r"<(?:a|v:|/?opentag)", IGNORE_CASE)
# Elements of raw text, which is not shown as the text of a link.
_HIDDEN = frozenset({"script", "style", "title", "noscript", "noembed", "noframes", "iframe"})
# The elements of VML with a shape of their own: Outlook draws them, and follows their `href`.
_SHAPES = frozenset(
    f"v:{name}"
    for name in (
        *("arc", "curve", "group", "image", "line"),
        *("oval", "polyline", "rect", "roundrect", "shape"),
    )
)
_LINKS = _SHAPES | {"a", "area"}
_PROBE = "<fletching>"
_URL_BEGINS = re.compile(r"https?://|www\.", IGNORE_CASE)
_HOST = re.compile(r"[^/?#]++")
# Characters without a width, beside those that str.strip() removes: soft hyphen, zero-width
# characters, byte order mark.
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"


class _Link(NamedTuple):
    """A link that will be rewritten, unless its visible text is a URL."""

    tag: str
    url: str
    target: Target
    value: Value
    words: list[str]


class _Lines:
    """Offsets into the page from the tokenizer's lines and columns.

    The tokenizer counts CRLF, CR and LF as one line end each, and columns in characters; so line
    and column are right with any line ends. ``offset``: of the tokenized text in the page. The
    beginning of each line is stored less one character for each line before it, so that it is the
    sum of what `split` returns; `range` adds them again.
    """

    def __init__(self, text: str, offset: int) -> None:
        if text.count("\r") == text.count("\r\n"):  # Four times as fast, and the usual case.
            self._starts = [*accumulate(map(len, text.split("\n")), initial=offset)]
        else:
            ends = (newline.end() - line for line, newline in enumerate(_NEWLINE.finditer(text), 1))
            self._starts = [offset, *(offset + end for end in ends)]

    def range(self, token: Token) -> tuple[int, int]:
        """The offsets where a tag or a comment begins and ends."""
        source = token.source or ""
        line = token.line - 1
        start = self._starts[line] + line + token.col
        newlines = source.count("\n")
        if not newlines:
            return start, start + len(source)
        line += newlines
        return start, self._starts[line] + line + len(source) - source.rfind("\n") - 1


def find_links(text: str, options: LinkOptions) -> TextLinks:
    """The links of an HTML text."""
    page = _Page(text + _PROBE, options)
    if page.read_probed():
        return page.found(len(text))
    # Read again without the probe, which may have completed a tag.
    page = _Page(text, options)
    page.read(0, len(text))
    return replace(page.found(len(text)), ends_open=True)


def find_links_of_beginning(text: str, options: LinkOptions) -> TextLinks | None:
    """The links of the beginning of an HTML text, up to a line end.

    None if a tag, a comment, raw text or a link is open there: a longer beginning is needed.
    """
    page = _Page(text + _PROBE, options)
    if not page.read_probed() or page.ends_in_link:
        return None
    return page.found(len(text))


class _Page:
    """One HTML text while it is read. All offsets are offsets into the whole text."""

    def __init__(self, text: str, options: LinkOptions) -> None:
        self._text = text
        self._options = options
        self._collector = LinkCollector()
        self._open_tag: tuple[int, int] | None = None
        self._body_end: int | None = None
        self.ends_in_link = False

    def read_probed(self) -> bool:
        """Read the page, which ends with the probe. Returns whether a tag may begin there.

        The tokenizer finds the probe as a tag at this offset only if no other tag, no comment and
        no raw text is open.
        """
        end = len(self._text)
        return self.read(0, end) == end - len(_PROBE)

    def read(self, start: int, end: int, *, conditional: bool = False) -> int | None:
        """Read the page from ``start`` to ``end``.

        Returns the offset of the last token if that is a start tag.

        ``conditional``: this is the content of one of Outlook's conditional comments.
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
                    self._collector.splice(*lines.range(token), "")
            elif kind is _COMMENT and not conditional:
                self._comment(token, lines)
        self._settle(link)
        self.ends_in_link = link is not None
        if token is None or token.type is not _START_TAG:
            return None
        return lines.range(token)[0]

    def found(self, length: int) -> TextLinks:
        """What was found in the text, which has that length."""
        splices = self._collector.splices()
        pixel_splice = None
        if self._open_tag is not None:
            pixel_splice = splices.index(Splice(*self._open_tag, ""))
        return TextLinks(splices, self._collector.notes(), length, pixel_splice, self._body_end)

    def _remove_open_tag(self, start: int, end: int, conditional: bool) -> None:
        self._collector.splice(start, end, "")
        # Within a conditional comment, only Outlook would load the pixel.
        if self._open_tag is None and not conditional:
            self._open_tag = (start, end)

    def _comment(self, token: Token, lines: _Lines) -> None:
        source = token.source or ""
        if not source.startswith("<!--["):
            return
        start, end = lines.range(token)
        condition = _CONDITION.match(self._text, start, end)
        if condition is not None and _OF_INTEREST.search(source):
            # Of "--!>" a dash remains, which ends no tag.
            closing = 3 if source.endswith(("-->", "--!>")) else 0
            self.read(condition.end(), end - closing, conditional=True)

    def _link(self, token: Token, lines: _Lines) -> _Link | None:
        """Deal with a link's start tag. Returns the link if its visible text decides about it."""
        start, end = lines.range(token)
        source = self._text[start:end]
        tag = read_tag(source)
        for opt_out in tag.opt_outs:
            self._collector.splice(start + opt_out[0], start + opt_out[1], "")
        if tag.href is None:
            return None
        href = Value(start + tag.href.start, start + tag.href.end, tag.href.quoted)
        return self._href(token, href, tag.url, tag.opted_out)

    def _href(self, token: Token, value: Value, url: str, opted_out: str | None) -> _Link | None:
        unsubscribe = UNSUBSCRIBE_TAG.match(url)
        if unsubscribe is not None:
            self._unsubscribe(value, url, without_no_track(url[unsubscribe.end() :]))
            return None
        if NO_TRACK_SCHEME.match(url):
            url = self._remove_no_track(value, url)
            opted_out = opted_out or "+notrack"
        found = f"opted out ({opted_out})" if opted_out else tracked_target(url, self._options)
        if isinstance(found, str):
            self._collector.leave(value.start, url, found)
            return None
        has_text = token.tag == "a" or (token.tag in _SHAPES and not token.self_closing)
        if has_text and self._options.preserve_visible_urls:
            return _Link(token.tag or "", url, found, value, [])
        self._track(value, LinkKind.CLICK, url)
        return None

    def _settle(self, link: _Link | None) -> None:
        """Decide about a link whose visible text is complete."""
        if link is None:
            return
        if _shows_url("".join(link.words), link.target):
            self._collector.leave(link.value.start, link.url, "visible URL")
        else:
            self._track(link.value, LinkKind.CLICK, link.url)

    def _unsubscribe(self, value: Value, tagged: str, url: str) -> None:
        if isinstance(target(url), Target):
            self._track(value, LinkKind.UNSUBSCRIBE, url)
        else:
            self._collector.leave(value.start, tagged, BARE_UNSUBSCRIBE_TAG)

    def _track(self, value: Value, kind: LinkKind, url: str) -> None:
        destination = in_charset(url, self._options.charset)
        quote = "" if value.quoted else '"'
        self._collector.track(value.start, value.end, kind, destination, quote)

    def _remove_no_track(self, value: Value, url: str) -> str:
        """Remove ``+notrack`` from the page and from the URL. Returns the URL."""
        plain = without_no_track(url)
        written = _RAW_NO_TRACK.match(self._text, value.start, value.end)
        if written is not None:
            self._collector.splice(*written.span(1), "")
        else:  # It is written with character references, or over several lines.
            escaped = entities.escape(plain)
            new = escaped if value.quoted else f'"{escaped}"'
            self._collector.splice(value.start, value.end, new)
        return plain


def _shows_url(words: str, found: Target) -> bool:
    """Whether a person takes the visible text of a link for a URL."""
    words = words.strip().strip(_INVISIBLE).strip()
    if _URL_BEGINS.match(words):
        return True
    host = _HOST.match(words)
    if host is None or host[0].lower() not in found.names:
        return False
    without_fragment = found.rest.partition("#")[0]
    path = without_fragment.partition("?")[0]
    rest = words[host.end() :].rstrip("/")
    return rest in ("", path.rstrip("/"), without_fragment.rstrip("/"), found.rest.rstrip("/"))
