"""What the tests of links judge by: html5lib's reading of HTML, and splices carried out.

html5lib shares no code with the tokenizer in use. It reads a text as a browser does, with the tree
in mind; what it saw on the way is kept token by token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from fletching.links.find import find_links
from fletching.links.splices import (
    LinkKind,
    LinkNote,
    Splice,
    TextLinks,
    additions,
    with_addition,
)
from fletching.links.urls import LinkOptions
from html5lib import HTMLParser  # type: ignore[import-untyped]
from html5lib.constants import tokenTypes  # type: ignore[import-untyped]

KINDS = {number: name for name, number in tokenTypes.items()}
CONDITIONAL = re.compile(r"\[if\b[^\]>]*\]>", re.IGNORECASE)
TRACKER = "https://t.example"

LINK_TAGS = {"a", "area", "v:rect", "v:roundrect"}
EVERYTHING = LinkOptions(clicks=True, preserve_visible_urls=False)

Mint = Callable[[LinkKind, str], str]
"""LinkKind and destination in, tracking URL out."""


class Rewritten(NamedTuple):
    """A rewritten text: its splices with tracking URLs in them, and a note about each link."""

    splices: tuple[Splice, ...]
    notes: tuple[LinkNote, ...]


def html(
    text: str, options: LinkOptions, mint: Mint, pixel: str | None, last: str = ""
) -> Rewritten:
    """A page that is one text, with its pixel."""
    found = find_links("text/html", text, options)
    pixel_splice = None if pixel is None else Splice(0, 0, pixel)
    last_ones = (Splice(0, 0, last),) if last else ()
    for addition in additions([found], pixel_splice, last_ones).values():
        found = with_addition(found, addition)
    return _minted(found, mint)


def plain(text: str, options: LinkOptions, mint: Mint) -> Rewritten:
    """A plain text."""
    return _minted(find_links("text/plain", text, options), mint)


def _minted(found: TextLinks, mint: Mint) -> Rewritten:
    made = {link: mint(*link) for link in dict.fromkeys(s.link for s in found.splices) if link}
    splices = (
        Splice(start, end, text if link is None else f"{text}{made[link]}{behind}")
        for start, end, text, link, behind in found.splices
    )
    return Rewritten(tuple(splices), found.notes)


def applied(text: str, splices: Iterable[Splice]) -> str:
    """The text with the splices carried out."""
    pieces, place = [], 0
    for splice in splices:
        pieces += [text[place : splice.start], splice.text]
        place = splice.end
    return "".join([*pieces, text[place:]])


def taken_back(text: str, splices: Iterable[Splice], original: str) -> str:
    """A rewritten text with its splices undone."""
    shift, back = 0, []
    for splice in splices:
        start = splice.start + shift
        back.append(Splice(start, start + len(splice.text), original[splice.start : splice.end]))
        shift += len(splice.text) - (splice.end - splice.start)
    return applied(text, back)


class Minting:
    """A mint that remembers: the nth URL minted leads to the nth destination."""

    def __init__(self) -> None:
        self.minted: list[tuple[LinkKind, str]] = []

    def __call__(self, kind: LinkKind, url: str) -> str:
        self.minted.append((kind, url))
        path = "click" if kind is LinkKind.CLICK else "unsub"
        return f"{TRACKER}/{path}?{len(self.minted) - 1}"

    def destination(self, tracking: str) -> str | None:
        """Where a tracking URL leads; None for any other URL."""
        match = re.fullmatch(rf"{TRACKER}/(?:click|unsub)\?([0-9]+)", tracking)
        return self.minted[int(match[1])][1] if match else None


class Sent(NamedTuple):
    """A text as it leaves, what was minted for it, and the reasons found, in order."""

    text: str
    minted: list[tuple[LinkKind, str]]
    reasons: list[str]
    done: Rewritten


def sent(rewrite: Callable[[str, Mint], Rewritten], text: str) -> Sent:
    """Rewrite a text and carry it out."""
    mint = Minting()
    done = rewrite(text, mint)
    reasons = [note.reason for note in done.notes]
    return Sent(applied(text, done.splices), mint.minted, reasons, done)


class Token(NamedTuple):
    """One token as html5lib saw it. ``data`` is text, comment or doctype; adjoining text is one."""

    kind: str
    tag: str
    attributes: tuple[tuple[str, str], ...]
    data: str


class _Tee:
    """html5lib's tokenizer, which its parser steers, with a listener to what it yields."""

    def __init__(self, tokenizer: Any, listen: Callable[[dict[str, Any]], None]) -> None:
        self.__dict__.update(tokenizer=tokenizer, listen=listen)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["tokenizer"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["tokenizer"], name, value)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for raw in self.__dict__["tokenizer"]:
            self.__dict__["listen"](raw)
            yield raw


class _Watched(HTMLParser):  # type: ignore[misc]
    """html5lib's parser, keeping the tokens that go into its tree."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Token] = []

    def mainLoop(self) -> None:
        self.seen.clear()  # It starts again when it finds that it began wrongly.
        self.tokenizer: Any = _Tee(self.tokenizer, self._keep)
        super().mainLoop()

    def _keep(self, raw: dict[str, Any]) -> None:
        kind = KINDS[raw["type"]]
        data = raw.get("data")
        if kind in ("StartTag", "EmptyTag"):
            self.seen.append(Token("StartTag", raw["name"], tuple(dict(data or {}).items()), ""))
        elif kind == "EndTag":
            self.seen.append(Token("EndTag", raw["name"], (), ""))
        elif kind in ("Characters", "SpaceCharacters"):
            self._text(str(data))
        elif kind != "ParseError":
            self.seen.append(Token(kind, "", (), str(data or raw.get("name"))))

    def _text(self, data: str) -> None:
        if self.seen and self.seen[-1].kind == "Text":
            self.seen[-1] = self.seen[-1]._replace(data=self.seen[-1].data + data)
        else:
            self.seen.append(Token("Text", "", (), data))


def tokens(text: str) -> list[Token]:
    """The tokens of a text; those inside conditional comments stand where the comment does."""
    parser = _Watched()
    parser.parse(text)
    found: list[Token] = []
    for token in parser.seen:
        condition = CONDITIONAL.match(token.data) if token.kind == "Comment" else None
        if condition is None:
            found.append(token)
        else:
            inside = _Watched()
            inside.parse(token.data[condition.end() :])
            found += [Token("Condition", "", (), condition[0]), *inside.seen]
    return found


def hrefs(text: str) -> list[str]:
    """The href of all links, in order."""
    return [href for token in tokens(text) if (href := href_of(token)) is not None]


def href_of(token: Token) -> str | None:
    """The href of a link; None for any other token."""
    return dict(token.attributes).get("href") if token.tag in LINK_TAGS else None


def with_href(token: Token, href: str) -> Token:
    """The link with another href."""
    attributes = ((name, href if name == "href" else value) for name, value in token.attributes)
    return token._replace(attributes=tuple(attributes))


def led_back(seen: list[Token], mint: Minting) -> list[Token]:
    """The tokens of a rewritten text, each tracking URL replaced by its destination."""
    back = []
    for token in seen:
        destination = mint.destination(href_of(token) or "")
        back.append(token if destination is None else with_href(token, destination))
    return back


def requested(href: str) -> str:
    """What a browser's URL parser makes of a value to begin with."""
    return re.sub(r"[\t\r\n]", "", re.sub(r"\A[\x00-\x20]+|[\x00-\x20]+\Z", "", href))
