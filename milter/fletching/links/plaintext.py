"""The links of a plain text: where a URL begins and ends when nothing marks it.

Here lives the grammar of URLs in running text. All that leaves is splices into the text as it came.
What a mail is, and which URLs are ours to rewrite, may not be known here.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import replace

from fletching.links import url_ends
from fletching.links.flowed import Joined
from fletching.links.splices import Found, Kind, Ledger
from fletching.links.url_ends import OPENING
from fletching.links.urls import (
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

# A scheme behind a letter, a digit or something like "svn+" is part of another word. All begin with
# one of few characters: so the search passes quickly over the rest.
_BEGIN = re.compile(
    r"[h#%](?:"
    rf"(?:(?<=#)#|(?<=%)23%23)unsubscribetag(?:##|%23%23)(?:{UNSUBSCRIBE_TAG.pattern})?"
    r"|(?<=h)(?<![a-z0-9]h)(?<![a-z0-9]\+h)ttps?(\+notrack)?://)",
    IGNORE_CASE,
)
_SCHEME = re.compile(r"https?(?:\+notrack)?://", IGNORE_CASE)
_RUN = re.compile(rf"[^{url_ends.ENDS}]*+")
_SURELY_ALONE = frozenset(' \n\t\r<>"')  # What is seen most often.
_BRACKET = re.compile(url_ends.BRACKET)
_BRACKET_OR_LINK = re.compile(url_ends.BRACKET_OR_LINK, IGNORE_CASE)
# One of these stands where a run has links beside or in each other.
_BETWEEN_LINKS = re.compile(r"[,;|:]")
_IN_ANOTHER = "in another link"
_NO_END = "its end cannot be known"
_OPT_OUT = re.compile(r'\[\[\s*data-msys-clicktrack\s*=\s*"0"\s*\]\]', IGNORE_CASE)
_SHOWN = re.compile(r"\S{0,200}+")


def read(text: str, wanted: Wanted) -> Found:
    """The links of a plain text."""
    if not wanted.delsp:
        return _Prose(text, wanted).read()
    joined = Joined(text)
    found = _Prose(joined.text, wanted).read()
    splices = tuple(joined.taken_apart(found.splices))
    return replace(found, splices=splices, length=len(text))


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
        self._emphasis = url_ends.Emphasis(text)
        # The run of URL characters that is being read, and what may end a URL in it (`_events`).
        # Found once for all URLs of a run, or many in one run would be quadratic.
        self._run_end = 0
        self._events: deque[tuple[int, int]] = deque()

    def read(self) -> Found:
        """Read the text from URL to URL, and give all that was found."""
        place = 0
        while (begin := _BEGIN.search(self._text, place)) is not None:
            start, end = begin.span()
            if not begin[0].endswith("/"):
                place = self._unsubscribe(start, end)
                continue
            alone = start == place or self._text[start - 1] in _SURELY_ALONE
            other = None if alone else self._other(place, start)
            place = other or self._url(start, end, begin.span(1))
        return Found(self._ledger.splices(), self._ledger.findings(), len(self._text))

    def _url(self, start: int, scheme_end: int, no_track: tuple[int, int]) -> int:
        """Deal with the URL that begins there; the place to read on from is returned."""
        stop, end = self._ends(start, scheme_end)
        url = without_no_track(self._text[start : stop if end is None else end])
        opted_out = ""
        if no_track[0] >= 0:
            self._ledger.splice(*no_track, "")
            opted_out = "+notrack"
        in_brackets = self._text[stop : stop + 1] in ("[", "{")
        if in_brackets and (mark := _OPT_OUT.match(self._text, stop)) is not None:
            self._ledger.splice(*mark.span(), "")
            opted_out = "data-msys-clicktrack=0"
        if opted_out or end is None:
            self._ledger.leave(start, url, f"opted out ({opted_out})" if opted_out else _NO_END)
            return stop if end is None else end
        if in_brackets and PLACEHOLDER.match(self._text, stop):  # With a space: "{{ name }}".
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
            stop, known = self._ends(start, scheme.end())
            if known is None:
                self._ledger.leave(start, self._text[start:stop], _NO_END)
                return stop
            end = known
        url = without_no_track(self._text[tag_end:end])
        if isinstance(target(url), Target):
            self._ledger.track(start, end, Kind.UNSUBSCRIBE, url)
        else:
            shown = _SHOWN.match(self._text, start)
            self._ledger.leave(start, shown[0] if shown else url, BARE_UNSUBSCRIBE_TAG)
        return end

    def _other(self, place: int, begin: int) -> int | None:
        """The end of the link of another kind that the URL at ``begin`` is in; None: in none.

        ``place``: where what was read before ends.
        """
        run = _RUN.match(self._text[place:begin][::-1])
        start = begin - (run.end() if run else 0)
        while (link := url_ends.other_link(self._text, start, begin)) is not None:
            known = False
            if link.end() < begin:
                start, known = self._stop(link.start(), link.start())
                if known and start <= begin:
                    continue
            end = start if known else self._stop(link.start(), link.end(), look_inside=False)[0]
            self._ledger.leave(begin, self._text[begin:end], _IN_ANOTHER)
            return end
        return None

    def _ends(self, begin: int, start: int) -> tuple[int, int | None]:
        """Where the URL ends at the latest, and where it ends; None where that cannot be known.

        It begins at ``begin``, its authority at ``start``.
        """
        stop, known = self._stop(begin, start)
        end: int | None = stop
        if not known or url_ends.is_odd(self._text[start:stop]):
            end = self._odd_end(begin, start, stop, known)
        if end is None:
            return stop if known else self._stop(begin, start, look_inside=False)[0], None
        return stop, url_ends.trimmed(self._text, begin, start, end)

    def _odd_end(self, begin: int, start: int, stop: int, known: bool) -> int | None:
        """As `_ends`, by what stands in the URL. ``known``: it ends at ``stop`` if not before."""
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
        """Where a link ends at the latest that begins at ``begin``, and whether that is known.

        ``start``: from where on its brackets count. It ends where its run does, at the first
        bracket whose partner is not in it, at the next apostrophe if one stands before it, or
        where another URL follows; with ``look_inside`` False it goes on over those.
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
            place, partner = self._events.popleft()
            if place < start:
                continue
            if place != partner:
                if not start <= partner < stop or self._text.startswith("[/", place):
                    return place, True  # "[/b]" closes what forums write.
                inside = max(inside, partner)
            elif look_inside and place > start:
                ended = url_ends.ends_before(self._text, start, place)
                if ended is None or (ended and place < inside):
                    return place, False
                if ended:
                    return place, True
        return stop, True


def _events(text: str, start: int, end: int) -> deque[tuple[int, int]]:
    """The brackets of a run, in order, each with the place of its partner or -1.

    Where another link begins stands its own place.
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
        else:  # Nothing that holds this bracket can be balanced.
            still_open.clear()
    return deque(zip((event.start() for event in found), partners, strict=True))
