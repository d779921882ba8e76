"""HTML that ends inside a construct: nothing put at its end may become a part of that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fletching.links.find import find_links
from fletching.links.splices import pixel_fits
from fletching.links.urls import LinkOptions
from hypothesis import given
from hypothesis import strategies as st

from tests.link_judges import html, sent, tokens
from tests.rewriting import ALL, PIXEL, done, many, not_rewritten
from tests.test_links_properties import PIECES

HEADER = b"Content-Type: text/html; charset=utf-8\r\n\r\n"
REASON = "no open pixel: the HTML ends inside a tag, a comment or an element such as style"

# No pixel: what the HTML ends with, behind a link that is tracked.
OPEN = {
    "name of a tag": "<a",
    "name of an end tag": "</p",
    "end tag without a name": "</",
    "between attributes": "<img alt='' ",
    "name of an attribute": "<a hre",
    "before a value": "<a href=",
    "value without quotes": "<a href=http://b.example/",
    "value in double quotes": '<a href="http://b.example/\r\n</body>\r\n</html>\r\n',
    "value in single quotes": "<a href='http://b.example/</body>",
    "value of another tag": '<img src="http://b.example/',
    "behind a value": '<a href="http://b.example/"',
    "slash of a tag": '<area href="http://b.example/" /',
    "comment": "<!-- <a href='http://b.example/'>b</a>",
    "comment, one dash": "<!-- b -",
    "comment just begun": "<!-",
    "condition for Outlook": "<!--[if mso]><v:rect>",
    "declaration": "<!DOCTYPE html",
    "processing instruction": "<?xml ",
    "style": "<style>a { color: red }</body>",
    "end of a style": "<style>a { color: red }</style",
    "script": "<script>document.write('</body>')",
    "script in a comment": "<script><!--<script></script>",
    "title": "<title>b</body>",
    "textarea": "<textarea>b</body>",
    "iframe": "<iframe>b</body>",
    "noembed": "<noembed>b",
    "xmp": "<xmp>b",
    "plaintext": "<plaintext>b</plaintext>",
}

# The pixel has its place: what the HTML ends with, and where it stands.
CLOSED = {
    "text": "b@",
    "less-than sign": "b <@",
    "ampersand": "b &am@",
    "open link": "<a href='ftp://b.example/'>b@",
    "empty end tag": "</>@",
    "closed style": "<style>a {}</style>@",
    "end of the body before it": "b@</body><a href='http://b.example/",
}

TRACKED = '<p><a href="http://a.example/">a</a>'


def read_by_html5lib(page: str, tag: str) -> list[dict[str, str]]:
    return [dict(token.attributes) for token in tokens(page) if token.tag == tag]


@pytest.mark.parametrize("end", OPEN.values(), ids=OPEN)
def test_nothing_is_added_behind_an_open_end(end: str) -> None:
    found = done(HEADER + (TRACKED + end).encode(), replace(ALL, trap=True))
    page = found.message.body.decode()
    assert page.endswith(end)
    for tag in ("a", "area", "img"):
        assert len(read_by_html5lib(page, tag)) == len(read_by_html5lib(TRACKED + end, tag))
    links = [[link.url for link in note.links] for note in found.notes]
    assert links == [["http://a.example/"], []]
    assert found.notes[-1].not_rewritten == REASON


@pytest.mark.parametrize("end", OPEN.values(), ids=OPEN)
def test_page_without_links_is_unchanged(end: str) -> None:
    not_rewritten(HEADER + end.encode(), REASON)


@pytest.mark.parametrize("end", CLOSED.values(), ids=CLOSED)
def test_pixel_is_added_at_a_closed_end(end: str) -> None:
    found = done(HEADER + (TRACKED + end.replace("@", "")).encode())
    page = found.message.body.decode()
    assert page.endswith(end.replace("@", PIXEL))
    assert len(read_by_html5lib(page, "img")) == 1
    assert [note.not_rewritten for note in found.notes] == [""]


def test_pixel_replaces_an_open_tag_before_an_open_end() -> None:
    page = done(HEADER + b"<p><opentag/><a href=", replace(ALL, trap=True)).message.body
    assert page == f"<p>{PIXEL}<a href=".encode()


def test_next_html_part_gets_the_pixel() -> None:
    found = done(many(HEADER + b"<p>1<!--", HEADER + b"<p>2"))
    assert f"<p>1<!--\r\n--=_b\r\n{HEADER.decode()}<p>2{PIXEL}\r\n" in found.message.body.decode()
    assert [note.not_rewritten for note in found.notes] == ["", ""]


def test_end_of_a_long_page_decides() -> None:
    page = b"<table><tr><td>a</td></tr></table>\r\n" * 200
    not_rewritten(HEADER + page + b"<style>", REASON)
    assert PIXEL.encode() in done(HEADER + b"<style></style>" + page).message.body


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_pixel_adds_an_image_and_no_link(text: str) -> None:
    untracked = LinkOptions(clicks=False)
    page = sent(lambda given, mint: html(given, untracked, mint, PIXEL), text).text
    for tag in ("a", "area"):
        assert read_by_html5lib(page, tag) == read_by_html5lib(text, tag)
    assert len(read_by_html5lib(page, "img")) == pixel_fits(
        [find_links("text/html", text, untracked)]
    )
