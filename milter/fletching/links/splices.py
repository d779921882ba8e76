"""The links of one text as values: the splices that rewrite it, and a note about each link.

Here lives what the folder returns, the collector that `html.py` and `plaintext.py` fill, and how
the open pixel is added. All of it is the same for every mail with this text: a splice holds a
`Link` where the tracking URL of a message will be. Which links are rewritten is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple


class LinkKind(StrEnum):
    """What a request for a tracking URL means."""

    CLICK = "click"
    UNSUBSCRIBE = "unsubscribe"
    OPEN = "open"


class Link(NamedTuple):
    """What a tracking URL leads to, and what a request for it means.

    The tracking URL will consist of ``[A-Za-z0-9:/?=._~-]`` only, so that it needs no escapes in an
    attribute value or in text.
    """

    kind: LinkKind
    url: str


class Splice(NamedTuple):
    """Replace ``text[start:end]`` by ``text``; with a link, by ``text``, tracking URL, ``behind``.

    The text on both sides of a tracking URL is ASCII.
    """

    start: int
    end: int
    text: str
    link: Link | None = None
    behind: str = ""


class LinkNote(NamedTuple):
    """One link: its URL, whether it is rewritten, and why."""

    url: str
    rewritten: bool
    reason: str


@dataclass(frozen=True, slots=True)
class TextLinks:
    """What was found in one text.

    ``splices``: from left to right, without overlaps. ``notes``: in the order of the text.
    ``length``: of the text in characters. ``pixel_splice``: the index of the splice that the open
    pixel may take the place of. ``body_end``: the offset of ``</body>``. ``ends_open``: the text
    ends inside a tag, a comment or an element such as style, so that no tag can follow it.
    """

    splices: tuple[Splice, ...]
    notes: tuple[LinkNote, ...]
    length: int
    pixel_splice: int | None = None
    body_end: int | None = None
    ends_open: bool = False

    def __post_init__(self) -> None:
        offsets = [0, *(offset for splice in self.splices for offset in splice[:2]), self.length]
        if any(left > right for left, right in pairwise(offsets)):
            raise ValueError("splices overlap, or are out of order")


class Addition(NamedTuple):
    """What is added to one text of a page: a pixel in place of its open tag, tags at its end."""

    pixel: Splice | None = None
    last: tuple[Splice, ...] = ()


def additions(
    page: Sequence[TextLinks], pixel: Splice | None, last: tuple[Splice, ...]
) -> dict[int, Addition]:
    """What is added to which text of a page. The offsets of ``pixel`` and ``last`` are ignored.

    The pixel replaces the first open tag. Without one it goes to the end of the body, behind
    ``last``. If the page has no ``</body>`` and ends open, nothing is added there.
    """
    added: dict[int, Addition] = {}
    if pixel is not None:
        first = next((at for at, text in enumerate(page) if text.pixel_splice is not None), None)
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


def pixel_fits(page: Sequence[TextLinks]) -> bool:
    """Whether `additions` can add a pixel to a page."""
    return not page[-1].ends_open or any(
        text.pixel_splice is not None or text.body_end is not None for text in page
    )


def with_addition(text: TextLinks, addition: Addition) -> TextLinks:
    """The text with the splices of the addition."""
    splices = list(text.splices)
    if addition.pixel is not None and text.pixel_splice is not None:
        start, end, *_ = splices[text.pixel_splice]
        splices[text.pixel_splice] = addition.pixel._replace(start=start, end=end)
    body_end = text.length if text.body_end is None else text.body_end
    splices += (splice._replace(start=body_end, end=body_end) for splice in addition.last)
    return replace(text, splices=_in_order(splices))


def _in_order(splices: Iterable[Splice]) -> tuple[Splice, ...]:
    return tuple(sorted(splices, key=itemgetter(0, 1)))


class LinkCollector:
    """Collects splices and notes while a text is read.

    They may come in any order: whether a link is rewritten can depend on the text behind it, and
    until then other links may be added.
    """

    def __init__(self) -> None:
        self._splices: list[Splice] = []
        self._notes: list[tuple[int, LinkNote]] = []

    def splice(self, start: int, end: int, text: str) -> None:
        self._splices.append(Splice(start, end, text))

    def leave(self, offset: int, url: str, reason: str) -> None:
        """The link at that offset is not rewritten."""
        self._notes.append((offset, LinkNote(url, False, reason)))

    def track(self, start: int, end: int, kind: LinkKind, url: str, quote: str = "") -> None:
        """The link from ``start`` to ``end`` is rewritten; the tracking URL gets these quotes."""
        self._notes.append((start, LinkNote(url, True, kind)))
        self._splices.append(Splice(start, end, quote, Link(kind, url), quote))

    def splices(self) -> tuple[Splice, ...]:
        """All splices, in order."""
        return _in_order(self._splices)

    def notes(self) -> tuple[LinkNote, ...]:
        """All notes, in order."""
        return tuple(note for _, note in sorted(self._notes, key=itemgetter(0)))
