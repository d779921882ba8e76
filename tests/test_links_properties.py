"""What holds of links for any text whatever."""

from __future__ import annotations

import re

from fletching.links.find import find_links
from fletching.links.splices import LinkKind, pixel_fits
from fletching.links.urls import LinkOptions
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.link_judges import (
    EVERYTHING,
    Minting,
    Rewritten,
    Token,
    applied,
    href_of,
    html,
    led_back,
    plain,
    requested,
    sent,
    taken_back,
    tokens,
    with_href,
)

PIXEL = '<img src="https://t.example/open?0" width="1" height="1" alt="">'
CAREFUL = LinkOptions(
    clicks=True,
    own_hosts=frozenset({"t.example"}),
    untracked_hosts=("untracked.example", "*.y"),
)
# What html5lib and the tokenizer in use are meant to read alike: all but what depends on the tree
# (select, frameset, svg, math) and on whether scripts run (noscript).
PIECES = [
    "<a", "<A ", "<area", "<a href=", " href=", " HREF = ", ' href="', " href='", "href",
    "<b", "<p>",
    "http://x/", "https://y.example/a?b&amp;c#d", "HTTP://Z?", "//x", "mailto:a@x", "{{", "#", "?",
    '"', "'", ">", "/>", "/", "=", " ", "\t", "\n", "\r\n", "\r", "\f", "\0", "<", "&", "&amp;",
    "&copy", "&copy;", "&notit;", "&#38", "&#x26;", "&#0;", "é", "\U0001f600", "\ufeff", "\u2028",
    "text", "www.x", "</a>", "</a", "</b>", "</body>", "</body", "<body>", "</html>",
    "<!--", "-->", "--!>", "--", "!", "<!--[if mso]>", "<![endif]-->", "<![if !mso]>", "<!", "<?",
    "<!DOCTYPE html>", "<![CDATA[", "]]>", "<script>", "</script>", "<style>", "</style>",
    "<title>", "</title>", "<textarea>", "</textarea>", "<xmp>", "</xmp>", "<table>",
    "<td>", "</table>",
]  # fmt: skip
OPEN_TAGS = ["<opentag/>", "<OPENTAG", "</opentag>", "<opentag "]
MARKS = [
    " ses:no-track", " clicktracking=off", " clicktracking='on'", ' data-fletching-track="off"',
    " data-pm-no-track=x", " mc:disable-tracking", " data-msys-clicktrack = 0", "+notrack",
    "https+notrack://x/", "ses:no-track", "clicktracking=",
]  # fmt: skip
TAGS = ["##unsubscribetag##", "%23%23unsubscribetag%23%23http://u/"]
PROSE = [
    "http://x/", "https://y.example/a", "HTTP://", "https+notrack://z/", "##unsubscribetag##",
    "www.x",
    '[[data-msys-clicktrack="0"]]', "(", ")", "[", "]", "{", "}", "<", ">", '"', "'", ".", ",", ";",
    "!", " ", "\r\n", "{{", "%%", "*|", "é", "。", "”", "x", "+", "http", "://", "/", "?", "#", "@",
]  # fmt: skip

anything = st.text(st.characters(exclude_categories=()))
pages = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
marked = st.lists(st.sampled_from(PIECES + OPEN_TAGS + MARKS + TAGS) | anything, max_size=30).map(
    "".join
)
prose = st.lists(st.sampled_from(PROSE) | anything, max_size=30).map("".join)
# Tags that are complete, or nearly all random ones would not be.
attributes = st.lists(
    st.sampled_from([*PIECES[:8], *PIECES[11:44], *MARKS]).filter(lambda piece: ">" not in piece),
    max_size=10,
).map("".join)
link_tags = st.builds("<{} {} href{}{}>".format, st.sampled_from(["a", "area"]), attributes,
                  st.sampled_from(["=http://x/", '="http://x/"', "='https+notrack://x/'"]),
                  attributes)  # fmt: skip
wishes = st.builds(
    LinkOptions,
    clicks=st.booleans(),
    own_hosts=st.just(frozenset({"y.example"})),
    untracked_hosts=st.sampled_from([(), ("x",), ("*.example",)]),
    preserve_visible_urls=st.booleans(),
    charset=st.sampled_from(["utf-8", "us-ascii", "iso-8859-2", "shift_jis", "iso-2022-jp"]),
)


def holds(text: str, done: Rewritten, mint: Minting) -> None:
    """What every rewriting must be: undone by its splices, and told in full."""
    assert taken_back(applied(text, done.splices), done.splices, text) == text
    assert {url for _, url in mint.minted} == {f.url for f in done.notes if f.rewritten}
    assert len(mint.minted) == len(set(mint.minted))


@given(marked, wishes, st.sampled_from([None, PIXEL]))
def test_any_html_is_rewritten_without_other_changes(
    text: str, options: LinkOptions, pixel: str | None
) -> None:
    mint = Minting()
    done = html(text, options, mint, pixel)
    holds(text, done, mint)
    place = pixel is not None and pixel_fits([find_links("text/html", text, options)])
    assert sum(splice.text == PIXEL for splice in done.splices) == place
    assert options.clicks or all(kind is LinkKind.UNSUBSCRIBE for kind, _ in mint.minted)


@given(prose, wishes)
def test_any_text_is_rewritten_without_other_changes(text: str, options: LinkOptions) -> None:
    mint = Minting()
    done = plain(text, options, mint)
    holds(text, done, mint)
    for _, url in mint.minted:
        assert re.match("https?://[^/]", url, re.IGNORECASE)
        assert not re.search(r"[\x00-\x20<>\"]|[.,;:!?']\Z", url)
        assert balanced(url)


def balanced(url: str) -> bool:
    brackets = re.sub(r"[^()\[\]{}]", "", url)
    while (shorter := re.sub(r"\(\)|\[\]|\{\}", "", brackets)) != brackets:
        brackets = shorter
    return not brackets


@given(st.lists(st.sampled_from(PIECES + TAGS), max_size=30).map("".join))
def test_rewriting_html_again_changes_nothing(text: str) -> None:
    once = sent(lambda page, mint: html(page, CAREFUL, mint, None), text)
    again = sent(lambda page, mint: html(page, CAREFUL, mint, None), once.text)
    assert (again.text, again.minted) == (once.text, [])


@given(prose.filter(lambda text: "notrack" not in text and "clicktrack" not in text))
def test_rewriting_text_again_changes_nothing(text: str) -> None:
    once = sent(lambda page, mint: plain(page, CAREFUL, mint), text)
    again = sent(lambda page, mint: plain(page, CAREFUL, mint), once.text)
    assert (again.text, again.minted) == (once.text, [])


@given(pages | st.lists(pages | link_tags, max_size=8).map("".join))
@settings(max_examples=300)
def test_html5lib_reads_the_same_links(text: str) -> None:
    mint = Minting()
    left = led_back(tokens(applied(text, html(text, EVERYTHING, mint, None).splices)), mint)
    for before, after in zip(tokens(text), left, strict=True):
        marks = marks_of(before)
        assert without(marks, after) == expected(before)
        # Only before a name that begins with "=" a mark must stay.
        names = {name for name, _ in after.attributes}
        assert not marks & names or any(name[0] == "=" for name in names)


OPT_OUT = {
    "ses:no-track": "", "data-pm-no-track": "", "mc:disable-tracking": "",
    "clicktracking": "off", "data-fletching-track": "off", "data-msys-clicktrack": "0",
}  # fmt: skip


def expected(token: Token) -> Token:
    """A token as it must leave, with the destination of a tracked link in its href."""
    marks = marks_of(token)
    kept = without(marks, token)
    href = href_of(kept)
    if href is None:
        return kept
    plain_href = re.sub(r"^([\x00-\x20]*https?)\+notrack(?=://)", r"\1", href, flags=re.IGNORECASE)
    if marks or plain_href != href:
        return with_href(kept, plain_href)
    tracked = re.match(r"https?://(?:x|y\.example|z)(?=[/?#]|$)", requested(href), re.IGNORECASE)
    return with_href(kept, requested(href)) if tracked and "{{" not in href else kept


def marks_of(token: Token) -> set[str]:
    """The marks that opt a link out; none for any other token."""
    return {
        name
        for name, value in token.attributes
        if token.tag in ("a", "area") and OPT_OUT.get(name) in ("", value.strip().lower())
    }


def without(marks: set[str], token: Token) -> Token:
    """The token without the attributes of those names."""
    kept = ((name, value) for name, value in token.attributes if name not in marks)
    return token._replace(attributes=tuple(kept))
