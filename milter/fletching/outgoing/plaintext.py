"""The links of a plain text: where a URL begins and ends when nothing marks it.

Here lives the grammar of URLs in running text. All that leaves is splices into the text as it came.
What a mail is, and which URLs are ours to rewrite, may not be known here.
"""

from __future__ import annotations

import re
from collections import deque

from fletching.outgoing.destinations import (
    BARE_UNSUBSCRIBE_TAG,
    IGNORE_CASE,
    PLACEHOLDER,
    UNSUBSCRIBE_TAG,
    Target,
    Wanted,
    judge,
    target,
    without_no_track,
)
from fletching.outgoing.splices import Found, Kind, Ledger

# A scheme behind a letter, a digit or something like "svn+" is part of another word. All begin with
# one of few characters: so the search passes quickly over the rest.
_BEGIN = re.compile(
    r"[h#%](?:"
    rf"(?:(?<=#)#|(?<=%)23%23)unsubscribetag(?:##|%23%23)(?:{UNSUBSCRIBE_TAG.pattern})?"
    r"|(?<=h)(?<![a-z0-9]h)(?<![a-z0-9]\+h)ttps?(\+notrack)?://)",
    IGNORE_CASE,
)
_SCHEME = re.compile(r"https?(?:\+notrack)?://", IGNORE_CASE)
# No URL goes beyond white space and controls, ASCII's < > " \ and grave accent, or what only prose
# has: quotation marks, the ellipsis, CJK and full-width punctuation, characters of no width.
_RUN = re.compile(
    r"[^\x00-\x20<>\"\\`\x7f-\xa0\u00ab\u00ad\u00bb\u1680\u2000-\u200f\u2018-\u201f\u2026"
    r"\u2028-\u202f\u2039\u203a\u205f-\u2060\u3000-\u3003\u3008-\u3011\u3014-\u301f\ufeff"
    r"\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]*+"
)
_BRACKET = re.compile(r"[()\[\]{}]")
_OPENING = {")": "(", "]": "[", "}": "{"}
_TRAILING = ".,;:!?'"
_OPT_OUT = re.compile(r'\[\[\s*data-msys-clicktrack\s*=\s*"0"\s*\]\]', IGNORE_CASE)
_SHOWN = re.compile(r"\S{0,200}+")


def read(text: str, wanted: Wanted) -> Found:
    """The links of a plain text."""
    prose = _Prose(text, wanted)
    prose.read()
    return prose.found()


def read_on(text: str, wanted: Wanted) -> Found | None:
    """The links of a beginning of a plain text, up to the end of a line.

    None where the opt-out mark of a link may go on in the next line.
    """
    return read(text, wanted) if text.rfind("[[") <= text.rfind("]]") else None


class _Prose:
    """One plain text while it is read."""

    def __init__(self, text: str, wanted: Wanted) -> None:
        self._text = text
        self._wanted = wanted
        self._ledger = Ledger()
        # The run of URL characters that is being read, and its brackets with their partners' places
        # (-1: none). Found once for all URLs of a run, or many in one run would be quadratic.
        self._run_end = 0
        self._brackets: deque[tuple[int, int]] = deque()

    def read(self) -> None:
        """Read the text from URL to URL."""
        place = 0
        while (begin := _BEGIN.search(self._text, place)) is not None:
            if begin[0].endswith("/"):
                place = self._url(*begin.span(), begin.span(1))
            else:
                place = self._unsubscribe(*begin.span())

    def found(self) -> Found:
        """All that was found."""
        return Found(self._ledger.splices(), self._ledger.findings(), len(self._text))

    def _url(self, start: int, scheme_end: int, no_track: tuple[int, int]) -> int:
        """Deal with the URL that begins there; the place to read on from is returned."""
        stop = self._stop(start, scheme_end)
        end = self._trimmed(scheme_end, stop)
        url = without_no_track(self._text[start:end])
        opted_out = ""
        if no_track[0] >= 0:
            self._ledger.splice(*no_track, "")
            opted_out = "+notrack"
        if (mark := _OPT_OUT.match(self._text, stop)) is not None:
            self._ledger.splice(*mark.span(), "")
            opted_out = "data-msys-clicktrack=0"
        if opted_out:
            self._ledger.leave(start, url, f"opted out ({opted_out})")
            return end
        if PLACEHOLDER.match(self._text, stop):  # One with a space in it: "{{ name }}".
            self._ledger.leave(start, self._text[start : self._run_end], "placeholder")
            return self._run_end
        found = judge(url, self._wanted)
        if isinstance(found, Target):
            self._ledger.track(start, end, Kind.CLICK, url)
        else:
            self._ledger.leave(start, url, found)
        return end

    def _unsubscribe(self, start: int, tag_end: int) -> int:
        """Deal with the unsubscribe tag there; the place to read on from is returned."""
        scheme = _SCHEME.match(self._text, tag_end)
        end = tag_end
        if scheme is not None:
            end = self._trimmed(scheme.end(), self._stop(start, scheme.end()))
        url = without_no_track(self._text[tag_end:end])
        if isinstance(target(url), Target):
            self._ledger.track(start, end, Kind.UNSUBSCRIBE, url)
        else:
            shown = _SHOWN.match(self._text, start)
            self._ledger.leave(start, shown[0] if shown else url, BARE_UNSUBSCRIBE_TAG)
        return end

    def _stop(self, begin: int, start: int) -> int:
        """Where a URL ends at the latest that begins at ``begin``, its authority at ``start``.

        That is where its run ends, at the first bracket whose partner is not in the URL, or at the
        next apostrophe if one stands before the URL.
        """
        if start >= self._run_end:
            run = _RUN.match(self._text, start)
            self._run_end = run.end() if run else start
            self._brackets = _brackets(self._text, start, self._run_end)
        stop = self._run_end
        if self._text[begin - 1 : begin] == "'":
            apostrophe = self._text.find("'", start, stop)
            stop = stop if apostrophe < 0 else apostrophe
        while self._brackets and self._brackets[0][0] < stop:
            place, partner = self._brackets.popleft()
            if place >= start and not start <= partner < stop:
                return place
        return stop

    def _trimmed(self, start: int, end: int) -> int:
        """Where the URL ends without the punctuation that follows it."""
        while end > start and self._text[end - 1] in _TRAILING:
            end -= 1
        return end


def _brackets(text: str, start: int, end: int) -> deque[tuple[int, int]]:
    """The brackets of a run, in order, each with the place of its partner or -1."""
    found = [*_BRACKET.finditer(text, start, end)]
    partners = [-1] * len(found)
    still_open: list[int] = []
    for index, bracket in enumerate(found):
        opening = _OPENING.get(bracket[0])
        if opening is None:
            still_open.append(index)
        elif still_open and found[still_open[-1]][0] == opening:
            partner = still_open.pop()
            partners[index], partners[partner] = found[partner].start(), bracket.start()
        else:  # Nothing that holds this bracket can be balanced.
            still_open.clear()
    return deque(zip((bracket.start() for bracket in found), partners, strict=True))
