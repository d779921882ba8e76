"""Links in hostile texts: ten times the text is ten times the work, counted in calls."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from fletching.links.splices import LinkKind
from fletching.links.urls import LinkOptions

from tests.cases import for_every
from tests.effort import calls
from tests.link_judges import Rewritten, html, plain

pytestmark = pytest.mark.slow

PIXEL = '<img src="https://t.example/open?0" width="1" height="1" alt="">'
WANTED = LinkOptions(clicks=True, charset="koi8-r")
SIZE = 3_000

REPEATED = [
    "<a ", "<a href=", '<a href="http://x"', '<a href=http://x ses:no-track="', "</a", "<a\r\n",
    "\r", "<!--", "<!--[if mso]>", "<!--[if mso]><a href=http://x><![endif]-->", "<![CDATA[",
    "<script>",
    "<a href=http://x>www", "<a href='##unsubscribetag##http://x'>", "<a href=https+notrack://x>",
    "<a href='&#104;ttps+notrack://x&'>", "<opentag/>", "</body>", "<a href=http://x?é☃>", "&",
    "%%", "(((((", "http://", "##unsubscribetag##", "##unsubscribetag##http://x ", "http://x/(",
    "http://x/)", "http://x/(a)", "[http://x/", "'http://x/)", "http://x/'", "http://x.", "(http://x/))((",
    "http://é",
    "http://x,", "http://x|", "http://x?,", "*http://x*,", "*http://x*.a=", "http://x/1を", "例http://例",
    "a.b/,http://x", "a.b/]http://x", "mailto:", "a:b", "http://x/·1", "_a_", "http://x_ ", ",www.",
    ",a", "1https://x", "[/]http://x",
    "http://x/{{ ", 'http://x/[[data-msys-clicktrack="0"]]', "https+notrack://x ", "x http://x[{]}",
]  # fmt: skip
ONCE = {
    "many attributes": lambda n: "<a " + "".join(f"a{i}=1 " for i in range(n)) + "href=http://x>",
    "many marks": lambda n: "<a " + "ses:no-track " * n + "href=http://x>",
    "many attributes and marks": lambda n: (
        "<a " + "".join(f"a{i} " for i in range(n)) + "clicktracking=off " * n + "href=http://x>"
    ),
    "many values": lambda n: "<a " + "href=http://x " * n + ">",
    "long query": lambda n: "<a href='http://x/?" + "☃" * n + "'>",
    "long visible text": lambda n: "<a href=http://x>" + "x<b>" * n + "</a>",
}


def mint(_kind: LinkKind, _url: str) -> str:
    return "https://t.example/click?0"


def read_html(text: str) -> Rewritten:
    return html(text, WANTED, mint, PIXEL)


def read_text(text: str) -> Rewritten:
    return plain(text, WANTED, mint)


def read_flowed(text: str) -> Rewritten:
    return plain(text.replace("x", "x \n"), LinkOptions(clicks=True, delsp=True), mint)


@for_every([*product(REPEATED, (read_html, read_text, read_flowed))])
def test_repeated_text_takes_linear_time(piece: str, read: Callable[[str], Rewritten]) -> None:
    count = SIZE // len(piece)
    little = calls(lambda: read(piece * count))
    assert calls(lambda: read(piece * count * 10)) < 11 * little + 100


@for_every(ONCE)
def test_one_large_link_takes_linear_time(made: Callable[[int], str]) -> None:
    small, large = made(200), made(2000)
    little = calls(lambda: read_html(small))
    assert calls(lambda: read_html(large)) < 11 * little + 100
