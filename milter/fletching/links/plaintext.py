"""The links of a plain text: where a URL begins and ends without markup.

Here lives the order in which a text is read, from URL to URL; `url_ends.py` has the characters that
end one. The result is splices into the original text. What a mail is, and which URLs may be
rewritten, may not be known here.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import replace

from fletching.links import url_ends
from fletching.links.flowed import Joined
from fletching.links.splices import LinkCollector, LinkKind, TextLinks
from fletching.links.url_ends import OPENING
from fletching.links.urls import (
    BARE_UNSUBSCRIBE_TAG,
    IGNORE_CASE,
    PLACEHOLDER,
    UNSUBSCRIBE_TAG,
    LinkOptions,
    Target,
    target,
    tracked_target,
    without_no_track,
)

# A scheme behind a letter, a digit or something like "svn+" is part of another word. The pattern
# begins with one of three characters, so that the search is fast.
_BEGIN = re.compile(
    r"[h#%](?:"
    rf"(?:(?<=#)#|(?<=%)23%23)unsubscribetag(?:##|%23%23)(?:{UNSUBSCRIBE_TAG.pattern})?"
    r"|(?<=h)(?<![a-z0-9]h)(?<![a-z0-9]\+h)ttps?(\+notrack)?://)",
    IGNORE_CASE,
)
_SCHEME = re.compile(r"https?(?:\+notrack)?://", IGNORE_CASE)
_RUN = re.compile(rf"[^{url_ends.ENDS}]*+")
# A URL behind one of these is in no other link. They are the most frequent ones.
_SURELY_ALONE = frozenset(' \n\t\r<>"')
_BRACKET = re.compile(url_ends.BRACKET)
_BRACKET_OR_LINK = re.compile(url_ends.BRACKET_OR_LINK, IGNORE_CASE)
# A run with several links has one of these.
_BETWEEN_LINKS = re.compile(r"[,;|:]")
_IN_ANOTHER = "in another link"
_NO_END = "the end of the URL is unclear"
_OPT_OUT = re.compile(r'\[\[\s*data-msys-clicktrack\s*=\s*"0"\s*\]\]', IGNORE_CASE)
_SHOWN = re.compile(r"\S{0,200}+")


def find_links(text: str, options: LinkOptions) -> TextLinks:
    """The links of a plain text."""
    if not options.delsp:
        return _PlainText(text, options).read()
    joined = Joined(text)
    found = _PlainText(joined.text, options).read()
    splices = tuple(joined.taken_apart(found.splices))
    return replace(found, splices=splices, length=len(text))


def find_links_of_beginning(text: str, options: LinkOptions) -> TextLinks | None:
    """The links of the beginning of a plain text, up to a line end.

    None if an opt-out tag ``[[...]]`` may go on in the next line.
    """
    return find_links(text, options) if text.rfind("[[") <= text.rfind("]]") else None


class _PlainText:
    """One plain text while it is read."""

    def __init__(self, text: str, options: LinkOptions) -> None:
        self._text = text
        self._options = options
        self._collector = LinkCollector()
        self._emphasis = url_ends.Emphasis(text)
        # The end of the run of URL characters that is being read, and what may end a URL in it
        # (`_events`). They are found once a run: else many URLs in one run would be quadratic.
        self._run_end = 0
        self._events: deque[tuple[int, int]] = deque()

    def read(self) -> TextLinks:
        """Read the text from URL to URL."""
        at = 0
        while (begin := _BEGIN.search(self._text, at)) is not None:
            start, end = begin.span()
            if not begin[0].endswith("/"):
                at = self._unsubscribe(start, end)
                continue
            alone = start == at or self._text[start - 1] in _SURELY_ALONE
            other = None if alone else self._other(at, start)
            at = other or self._url(start, end, begin.span(1))
        return TextLinks(self._collector.splices(), self._collector.notes(), len(self._text))

    def _url(self, start: int, scheme_end: int, no_track: tuple[int, int]) -> int:
        """Deal with the URL that begins at ``start``. Returns the offset to read on from."""
        stop, end = self._ends(start, scheme_end)
        url = without_no_track(self._text[start : stop if end is None else end])
        opted_out = ""
        if no_track[0] >= 0:
            self._collector.splice(*no_track, "")
            opted_out = "+notrack"
        in_brackets = self._text[stop : stop + 1] in ("[", "{")
        if in_brackets and (tag := _OPT_OUT.match(self._text, stop)) is not None:
            self._collector.splice(*tag.span(), "")
            opted_out = "data-msys-clicktrack=0"
        if opted_out or end is None:
            self._collector.leave(start, url, f"opted out ({opted_out})" if opted_out else _NO_END)
            return stop if end is None else end
        if in_brackets and PLACEHOLDER.match(self._text, stop):  # With a space: "{{ name }}".
            self._collector.leave(start, self._text[start : self._run_end], "placeholder")
            return self._run_end
        found = tracked_target(url, self._options)
        if isinstance(found, Target):
            self._collector.track(start, end, LinkKind.CLICK, url)
        else:
            self._collector.leave(start, url, found)
        return end

    def _unsubscribe(self, start: int, tag_end: int) -> int:
        """Deal with the unsubscribe tag at ``start``. Returns the offset to read on from."""
        scheme = _SCHEME.match(self._text, tag_end)
        end = tag_end
        if scheme is not None:
            stop, known = self._ends(start, scheme.end())
            if known is None:
                self._collector.leave(start, self._text[start:stop], _NO_END)
                return stop
            end = known
        url = without_no_track(self._text[tag_end:end])
        if isinstance(target(url), Target):
            self._collector.track(start, end, LinkKind.UNSUBSCRIBE, url)
        else:
            shown = _SHOWN.match(self._text, start)
            self._collector.leave(start, shown[0] if shown else url, BARE_UNSUBSCRIBE_TAG)
        return end

    def _other(self, at: int, begin: int) -> int | None:
        """The end of the other link, such as a mailto: URI, that contains the URL at ``begin``.

        None if there is none.

        ``at``: the end of what was read before.
        """
        run = _RUN.match(self._text[at:begin][::-1])
        start = begin - (run.end() if run else 0)
        while (link := url_ends.other_link(self._text, start, begin)) is not None:
            known = False
            if link.end() < begin:
                start, known = self._stop(link.start(), link.start())
                if known and start <= begin:
                    continue
            end = start if known else self._stop(link.start(), link.end(), look_inside=False)[0]
            self._collector.leave(begin, self._text[begin:end], _IN_ANOTHER)
            return end
        return None

    def _ends(self, begin: int, start: int) -> tuple[int, int | None]:
        """Where the URL ends at the latest, and where it ends; None if that is unclear.

        It begins at ``begin``, and its authority at ``start``.
        """
        stop, known = self._stop(begin, start)
        end: int | None = stop
        if not known or url_ends.is_odd(self._text[start:stop]):
            end = self._odd_end(begin, start, stop, known)
        if end is None:
            return stop if known else self._stop(begin, start, look_inside=False)[0], None
        return stop, url_ends.trimmed(self._text, begin, start, end)

    def _odd_end(self, begin: int, start: int, stop: int, known: bool) -> int | None:
        """Where the URL ends by the characters in it; None if that is unclear.

        ``known``: it ends at ``stop`` if not before.
        """
        if known and self._text[begin - 1 : begin] == "<" and self._text[stop : stop + 1] == ">":
            return stop
        end = self._emphasis.closed(begin, start, stop)
        if end is not None and (known or end < stop):
            end = url_ends.before_prose(self._text, start, end)
        elif not known:
            return None
        if end is None or end == stop:
            return end
        still_open = any(partner < 0 for _, partner in _events(self._text, start, end))
        return None if still_open or self._text.find("://", end, stop) >= 0 else end

    def _stop(self, begin: int, start: int, look_inside: bool = True) -> tuple[int, bool]:
        """Where the link at ``begin`` ends at the latest, and whether that is certain.

        ``start``: brackets count from there on. The link ends with its run, at the first bracket
        whose partner is not in the link, at the next apostrophe if there is one before it, or where
        another URL follows. With ``look_inside`` False it continues over other URLs.
        """
        if start >= self._run_end:
            run = _RUN.match(self._text, start)
            self._run_end = run.end() if run else start
            self._events = _events(self._text, start, self._run_end)
        stop = self._run_end
        if self._text[begin - 1 : begin] == "'":
            apostrophe = self._text.find("'", start, stop)
            stop = stop if apostrophe < 0 else apostrophe
        inside = start
        while self._events and self._events[0][0] < stop:
            at, partner = self._events.popleft()
            if at < start:
                continue
            if at != partner:
                if not start <= partner < stop or self._text.startswith("[/", at):
                    return at, True  # "[/b]" closes what forums write.
                inside = max(inside, partner)
            elif look_inside and at > start:
                ended = url_ends.ends_before(self._text, start, at)
                if ended is None or (ended and at < inside):
                    return at, False
                if ended:
                    return at, True
        return stop, True


def _events(text: str, start: int, end: int) -> deque[tuple[int, int]]:
    """The offsets of the brackets of a run in order, each with the offset of its partner or -1.

    The beginning of another link is among them, with its own offset in place of a partner.
    """
    kinds = _BRACKET_OR_LINK if _BETWEEN_LINKS.search(text, start, end) else _BRACKET
    found = [*kinds.finditer(text, start, end)]
    if not found:
        return deque()
    partners = [-1] * len(found)
    still_open: list[int] = []
    for index, event in enumerate(found):
        opening = OPENING.get(event[0])
        if len(event[0]) > 1:
            partners[index] = event.start()
        elif opening is None:
            still_open.append(index)
        elif still_open and found[still_open[-1]][0] == opening:
            partner = still_open.pop()
            partners[index], partners[partner] = found[partner].start(), event.start()
        else:  # No pair around this bracket can be balanced.
            still_open.clear()
    return deque(zip((event.start() for event in found), partners, strict=True))
