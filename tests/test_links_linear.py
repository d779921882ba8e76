"""Links in hostile texts: ten times the text is ten times the work, counted in calls."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest
from fletching.links.api import Kind, Wanted

from tests.link_judges import Rewritten, html, plain

PIXEL = '<img src="https://t.example/open?0" width="1" height="1" alt="">'
WANTED = Wanted(clicks=True, charset="koi8-r")
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


def calls(work: Callable[[], object]) -> int:
    """How many functions were called, Python's own and those in C."""
    count = 0

    def called(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def mint(_kind: Kind, _url: str) -> str:
    return "https://t.example/click?0"


def read_html(text: str) -> Rewritten:
    return html(text, WANTED, mint, PIXEL)


def read_text(text: str) -> Rewritten:
    return plain(text, WANTED, mint)


def read_flowed(text: str) -> Rewritten:
    return plain(text.replace("x", "x \n"), Wanted(clicks=True, delsp=True), mint)


@pytest.mark.parametrize("read", [read_html, read_text, read_flowed])
@pytest.mark.parametrize("piece", REPEATED)
def test_repeated(piece: str, read: Callable[[str], Rewritten]) -> None:
    count = SIZE // len(piece)
    little = calls(lambda: read(piece * count))
    assert calls(lambda: read(piece * count * 10)) < 11 * little + 100


@pytest.mark.parametrize("made", ONCE.values(), ids=ONCE)
def test_one_large_link(made: Callable[[int], str]) -> None:
    small, large = made(200), made(2000)
    little = calls(lambda: read_html(small))
    assert calls(lambda: read_html(large)) < 11 * little + 100
