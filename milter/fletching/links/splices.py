"""What reading one text yields: splices, and what was found on the way.

Here live the values that leave this corner, the ledger in which the readers of HTML and of plain
text write down what they find, and how the pixel joins what was found. All but that is the same for
every mail that has the text: the tracking URLs come later. Which links are rewritten is not decided
here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple


class Kind(StrEnum):
    """What asking for a tracking URL means."""

    CLICK = "click"
    UNSUBSCRIBE = "unsubscribe"
    OPEN = "open"


class Link(NamedTuple):
    """What a tracking URL is made for.

    It will have only ``[A-Za-z0-9:/?=._~-]``, so that it needs no escaping in an attribute value or
    in text.
    """

    kind: Kind
    url: str


class Splice(NamedTuple):
    """Replace ``text[start:end]`` by ``text``; with a link, by it, the tracking URL and ``behind``.

    What stands beside a tracking URL is ASCII.
    """

    start: int
    end: int
    text: str
    link: Link | None = None
    behind: str = ""


class Finding(NamedTuple):
    """One link: where it leads, whether it is rewritten, and why."""

    url: str
    rewritten: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """Splices from left to right, none overlapping another, and findings in document order.

    ``length``: of the text, in characters. ``pixel_place``: which of the splices may be the pixel.
    ``body_end``: where the text says that the body ends. ``ends_open``: it ends inside a tag, a
    comment or raw text such as a style, so that nothing put behind it would be a tag.
    """

    splices: tuple[Splice, ...]
    findings: tuple[Finding, ...]
    length: int
    pixel_place: int | None = None
    body_end: int | None = None
    ends_open: bool = False

    def __post_init__(self) -> None:
        places = [0, *(place for splice in self.splices for place in splice[:2]), self.length]
        if any(left > right for left, right in pairwise(places)):
            raise ValueError("splices overlap, or are out of order")


class Addition(NamedTuple):
    """What one text of a page gets: a pixel where its open tag was, tags at the end of its body."""

    pixel: Splice | None = None
    last: tuple[Splice, ...] = ()


def additions(
    page: Sequence[Found], pixel: Splice | None, last: tuple[Splice, ...]
) -> dict[int, Addition]:
    """Which of the texts of a page get something. Where the splices say they stand is no matter.

    The pixel goes where the first open tag asks for it, without one to the end of the body, behind
    ``last``. Where the page does not tell that end and ends open, what belongs there is left out.
    """
    added: dict[int, Addition] = {}
    if pixel is not None:
        asking = (at for at, text in enumerate(page) if text.pixel_place is not None)
        first = next(asking, None)
        if first is None:
            last += (pixel,)
        else:
            added[first] = Addition(pixel)
    if last:
        ends = (at for at in reversed(range(len(page))) if page[at].body_end is not None)
        at = next(ends, len(page) - 1)
        if page[at].body_end is not None or not page[at].ends_open:
            added[at] = added.get(at, Addition())._replace(last=last)
    return added


def has_place(page: Sequence[Found]) -> bool:
    """Whether `additions` finds a place for the pixel in a page."""
    return not page[-1].ends_open or any(
        text.pixel_place is not None or text.body_end is not None for text in page
    )


def added(text: Found, addition: Addition) -> Found:
    """The text with that in it."""
    splices = list(text.splices)
    if addition.pixel is not None and text.pixel_place is not None:
        start, end, *_ = splices[text.pixel_place]
        splices[text.pixel_place] = addition.pixel._replace(start=start, end=end)
    place = text.length if text.body_end is None else text.body_end
    splices += (splice._replace(start=place, end=place) for splice in addition.last)
    return replace(text, splices=_in_order(splices))


def _in_order(splices: Iterable[Splice]) -> tuple[Splice, ...]:
    return tuple(sorted(splices, key=itemgetter(0, 1)))


class Ledger:
    """What one call of `html.read` or `plaintext.read` has found so far.

    Entries may come in any order: whether a link is rewritten can depend on the text that follows
    it, and by then later ranges may be written down.
    """

    def __init__(self) -> None:
        self._splices: list[Splice] = []
        self._findings: list[tuple[int, Finding]] = []

    def splice(self, start: int, end: int, text: str) -> None:
        self._splices.append(Splice(start, end, text))

    def leave(self, place: int, url: str, reason: str) -> None:
        """The link at that place stays as it is."""
        self._findings.append((place, Finding(url, False, reason)))

    def track(self, start: int, end: int, kind: Kind, url: str, quote: str = "") -> None:
        """The link at that place is rewritten."""
        self._findings.append((start, Finding(url, True, kind)))
        self._splices.append(Splice(start, end, quote, Link(kind, url), quote))

    def splices(self) -> tuple[Splice, ...]:
        """All splices, in order."""
        return _in_order(self._splices)

    def findings(self) -> tuple[Finding, ...]:
        """All findings, in order."""
        return tuple(finding for _, finding in sorted(self._findings, key=itemgetter(0)))
