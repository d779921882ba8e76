"""What an HTML text shows: its links with their visible text, its images, how much text there is.

For those who judge a page and change nothing; `html.py` rewrites links. What a mail is may not be
known here. Nothing raises, and the work is linear in the size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from turbohtml import Token, TokenType, tokenize

from fletching.links.urls import cleaned

# Elements of raw text, which is not shown.
_HIDDEN = frozenset({"script", "style", "title", "noscript", "noembed", "noframes", "iframe"})
_PIXEL = ("0", "1")


class Anchor(NamedTuple):
    """A link: the value of `href`, and its visible text without white space at the ends."""

    url: str
    text: str


class Image(NamedTuple):
    """An image. ``alt``: None without that attribute. ``pixel``: at most one pixel in size."""

    url: str
    alt: str | None
    pixel: bool


@dataclass(frozen=True, slots=True)
class Page:
    """What was read. ``text``: all visible words."""

    links: tuple[Anchor, ...]
    images: tuple[Image, ...]
    text: str


def read_page(text: str) -> Page:
    """The links and images of an HTML text. Conditional comments of Outlook are not read."""
    links: list[Anchor] = []
    images: list[Image] = []
    shown: list[str] = []
    url: str | None = None
    words: list[str] = []
    hidden = False
    for token in tokenize(text):
        if token.type is TokenType.TEXT:
            if not hidden:
                words.append(token.data or "")
                shown += (token.data or "").split()
        elif token.type is TokenType.START_TAG:
            hidden = token.tag in _HIDDEN
            if token.tag == "a" and token.attr("href") is not None:
                _close(links, url, words)
                url = cleaned(token.attr("href") or "")
            elif token.tag == "area" and token.attr("href") is not None:
                links.append(Anchor(cleaned(token.attr("href") or ""), ""))
            elif token.tag == "img":
                images.append(_image(token))
        elif token.type is TokenType.END_TAG:
            hidden = False
            if token.tag == "a":
                _close(links, url, words)
                url = None
    _close(links, url, words)
    return Page(tuple(links), tuple(images), " ".join(shown))


def _close(links: list[Anchor], url: str | None, words: list[str]) -> None:
    """Ends the open link, if there is one."""
    if url is not None:
        links.append(Anchor(url, " ".join("".join(words).split())))
    words.clear()


def _image(token: Token) -> Image:
    size = ((token.attr(name) or "").strip() for name in ("width", "height"))
    is_pixel = all(each.removesuffix("px") in _PIXEL for each in size)
    return Image(cleaned(token.attr("src") or ""), token.attr("alt"), is_pixel)
