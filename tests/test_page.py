"""What an HTML text shows, as `links/page.py` reads it."""

from __future__ import annotations

from fletching.links.page import Anchor, Image, read_page
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every

LINKS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "plain": ('<a href="https://a.example">A</a>', [("https://a.example", "A")]),
    "white space": (
        '<a href=" https://a.exa\nmple ">\n A b\n</a>',
        [("https://a.example", "A b")],
    ),
    "references": ('<a href="?a&amp;b">&lt;</a>', [("?a&b", "<")]),
    "text in elements": ('<a href="#"><b>A</b>b<i>c</i></a>', [("#", "Abc")]),
    "two in a row": ('<a href="1">A</a><a href="2">B</a>', [("1", "A"), ("2", "B")]),
    "not closed": ('<a href="1">A<a href="2">B', [("1", "A"), ("2", "B")]),
    "text outside": ('x<a href="1">A</a>y', [("1", "A")]),
    "no href": ("<a>A</a><a name=x>B</a>", []),
    "script inside": ('<a href="1"><script>x</script>A</a>', [("1", "A")]),
    "area": ('<map><area href="1"></map>', [("1", "")]),
    "image inside": ('<a href="1"><img src=x></a>', [("1", "")]),
}


@for_every(LINKS)
def test_links(html: str, links: list[tuple[str, str]]) -> None:
    assert list(read_page(html).links) == [Anchor(*link) for link in links]


IMAGES = {
    '<img src="a" alt="A">': Image("a", "A", pixel=False),
    '<img src="a">': Image("a", None, pixel=False),
    '<img src="a" alt>': Image("a", "", pixel=False),
    '<img src=a alt="" width=1 height="1">': Image("a", "", pixel=True),
    '<img src=a alt="" width="1px" height="0">': Image("a", "", pixel=True),
    '<img src=a alt="" width=1>': Image("a", "", pixel=False),
    '<img src=a alt="" width=600 height=1>': Image("a", "", pixel=False),
    "<IMG>": Image("", None, pixel=False),
}


@for_every(tuple(IMAGES))
def test_images(html: str) -> None:
    assert read_page(html).images == (IMAGES[html],)


def test_text_is_what_is_shown() -> None:
    html = "<title>T</title><style>s</style><p>A\n b</p>c<!-- d --><script>e</script>&amp;"
    assert read_page(html).text == "A b c &"


@given(st.text(alphabet="<a href='x'>/img!- \n&;"))
def test_no_html_raises(html: str) -> None:
    read_page(html)
